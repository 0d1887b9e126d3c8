"""What is compiled once for many runs: each comes to what it comes to by itself, bit for bit."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from jobs import VARYING, composed, job_of, varied

from zoo.running import reuse
from zoo.running.run import Result, run
from zoo.sweeping import workers

SMALL = ("model.depth=2", "model.width=8", "data.limit=300", "epochs=2", "verbose=0", "tracking=none", "pictures=false")
CONVOLUTIONAL = ("model=resnet20", "model.depth=8", *SMALL[2:])
PLATEAU = (
    "+callbacks.plateau={_target_: keras.callbacks.ReduceLROnPlateau, monitor: val_loss, patience: 0, min_delta: 9}",
    "+callbacks.stopping={_target_: keras.callbacks.EarlyStopping, monitor: val_loss, patience: 2,"
    " restore_best_weights: true, min_delta: 9}",
)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(reuse, "_many", False)
    monkeypatch.setattr(reuse, "_kept", None)
    monkeypatch.setattr("zoo.running.record.shutil.rmtree", lambda *args, **kwargs: None)  # the checkpoint stays
    return tmp_path


def done(words: tuple[str, ...], folder: Path) -> Result:
    return run(composed(*words), job_of(words, folder))


def left_by(folder: Path) -> dict:
    """Everything that a run left, but for where it lies and how long it took."""
    found: dict = {"history": (folder / "history.csv").read_bytes()}
    summary = json.loads((folder / "summary.json").read_text())
    found["summary"] = {key: value for key, value in summary.items() if key not in ("seconds", "folder")}
    for path in (*folder.glob("*.npz"), *folder.glob(".state/*.npz")):
        with np.load(path, allow_pickle=True) as file:
            found |= {f"{path.name}/{name}": file[name] for name in file.files}
    return found


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == found[name].dtype
            np.testing.assert_array_equal(found[name], value, name)
        else:
            assert found[name] == value, name


def assert_the_same_by_themselves(jobs: list[tuple[str, ...]], again: list[bool], home: Path) -> None:
    """Do the jobs, each by itself and then one after the other; `again` is whether each uses the model before it."""
    for number, words in enumerate(jobs):
        done(words, home / "alone" / str(number))
    reuse.expect_many()
    before, used = None, []
    for number, words in enumerate(jobs):
        model = done(words, home / "many" / str(number)).model
        used.append(model is before)
        before = model
    assert used == again
    for number in range(len(jobs)):
        assert_same(left_by(home / "many" / str(number)), left_by(home / "alone" / str(number)))


@pytest.mark.parametrize(
    "words",
    [
        ("activation=prelu", "initializer=lsuv", "seed=0"),
        ("normalization=batch", "dropout.rate=0.3", "optimizer=momentum"),
        ("normalization=layer", "optimizer=adagrad", "clipping=global_norm", "regularizer=l2"),
        ("optimizer=rmsprop", "clipping=normalize", "regularizer=orthogonal", "model.residual=1"),
        ("optimizer=adamw", "schedule=cosine", "schedule.warmup=0.2", "constraint=max_norm"),
        ("optimizer=lion", "optimizer.gradient_accumulation_steps=2", "callbacks.gradient_norms.updates=true"),
        ("optimizer=ema_momentum", "precision=mixed_float16", "callbacks=[]"),
        ("optimizer=sgd", "gentler=clipping", "gentler.epoch=1", "loss=mse", "clipping=norm"),
        ("data=random_binary", "data.limit=null", "optimizer=nesterov", "epochs=7"),
        ("data=diabetes", "data.limit=null", "epochs=4", *PLATEAU),
        ("callbacks=[gradient_norms,probe,stop_when_hopeless]", "activation=sigmoid", "model.depth=9", "epochs=4"),
    ],
    ids=lambda words: " ".join(word for word in words if "=" in word and "callbacks." not in word)[:60],
)
def test_a_run_comes_to_the_same_with_what_was_compiled_before(words, alone):
    jobs = [(*SMALL, *words, f"seed={seed}") for seed in (1, 2, 3)]
    assert_the_same_by_themselves(jobs, [False, True, True], alone)


def test_so_does_a_convolutional_one_whatever_its_batches(alone):
    words = (*CONVOLUTIONAL, "data.augmentation=crop_flip", "dropout.rate=0.2")
    jobs = [(*words, "data.folds=3", f"data.fold={fold}", f"data.label_noise={fold / 10}") for fold in range(3)]
    assert_the_same_by_themselves(jobs, [False, True, True], alone)


def test_initial_values_and_a_constant_rate_are_no_part_of_the_program(alone):
    kinds = ("initializer=zeros", "initializer=he_normal", "initializer=mean_field")
    rates = ("rate_factor=0.1", "optimizer.learning_rate=3", "epochs=1")  # of which one leaps beyond the numbers
    jobs = [(*SMALL, "optimizer=momentum", *changes) for changes in zip(kinds, rates, strict=True)]
    jobs.append((*SMALL, "optimizer=momentum"))
    assert_the_same_by_themselves(jobs, [False, True, True, True], alone)


@pytest.mark.parametrize("words", VARYING, ids=" ".join)
def test_nor_are_numbers_that_each_run_has_of_its_own(words, alone):
    jobs = [(*SMALL, *given) for given in varied(words)]
    assert_the_same_by_themselves(jobs, [False, True, True], alone)


def test_what_is_of_another_program_is_made_anew(alone):
    l2, cosine = (*SMALL, "epochs=1", "regularizer=l2"), (*SMALL, "epochs=1", "schedule=cosine")
    jobs = [
        SMALL,
        (*SMALL, "model.width=9"),
        SMALL,
        l2,
        (*l2, "dropout.rate=0.1"),
        cosine,
        (*cosine, "schedule.warmup=0.1"),
        (*cosine, "gentler=rate", "gentler.epoch=0"),
    ]
    assert_the_same_by_themselves(jobs, [False] * len(jobs), alone)


def test_after_an_error_nothing_is_used_again(alone, monkeypatch):
    reuse.expect_many()
    kept = done(SMALL, alone / "many" / "0").model
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr("zoo.running.run.judge", lambda *args: 1 / 0)
        done(SMALL, alone / "many" / "1")
    assert done(SMALL, alone / "many" / "2").model is not kept
    assert_same(left_by(alone / "many" / "2"), left_by(alone / "many" / "0"))


def test_a_run_that_was_cut_off_goes_on_between_two_others(alone, monkeypatch):
    words = (*SMALL, "epochs=3", "normalization=batch", "dropout.rate=0.2", "seed=5")
    done(words, alone / "alone" / "0")
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):

        def ends(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

        cut.setattr("zoo.running.callbacks.EndWhenTold.on_epoch_begin", ends)
        done(words, alone / "many" / "0")
    reuse.expect_many()
    before = done((*words[:-1], "seed=6"), alone / "many" / "1").model
    assert done(words, alone / "many" / "0").model is before
    assert_same(left_by(alone / "many" / "0"), left_by(alone / "alone" / "0"))
    assert done((*words[:-1], "seed=6"), alone / "many" / "2").model is before
    assert_same(left_by(alone / "many" / "2"), left_by(alone / "many" / "1"))


OWN = """
import keras

def network(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])

class Own(keras.callbacks.Callback):
    pass
"""


@pytest.mark.parametrize(
    "words",
    [
        ("model._target_=own_functions.network", "data.limit=300"),
        ("+callbacks.own={_target_: own_functions.Own}", "data.limit=300"),
        ("preflight=true",),
    ],
)
def test_what_is_a_persons_own_is_made_anew(words, alone, monkeypatch):
    (alone / "own_functions.py").write_text(OWN)
    monkeypatch.syspath_prepend(alone)
    reuse.expect_many()
    models = [done((*SMALL, *words), alone / "many" / str(number)).model for number in range(2)]
    assert models[0] is not models[1]


def test_a_run_of_its_own_makes_all_anew(alone):
    assert done(SMALL, alone / "0").model is not done(SMALL, alone / "1").model


def held_by_runs(folder: Path) -> list[int]:
    """Return the bytes that this process holds after 40 and 100 runs."""
    import gc

    reuse.expect_many()
    words = (*SMALL, "data.limit=150", "epochs=1", "model.depth=1")
    held = []
    for number in range(1, 101):
        done((*words, f"seed={number}"), folder / "many" / str(number))
        if number in (40, 100):
            gc.collect()
            held.append(workers._memory())
    return held


@pytest.mark.slow
def test_memory_does_not_grow_with_the_runs(alone):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(held_by_runs, (alone,))
    assert after - before < 20 * 2**20
