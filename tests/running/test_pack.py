"""Runs that are trained as one: each comes to what it comes to by itself, but for the last bits."""

import json
from pathlib import Path

import numpy as np
import pytest
from jobs import VARYING, composed, job_of, varied

from zoo.archive.run import read_columns
from zoo.running import pack, packable, reuse
from zoo.running.callbacks import EndWhenTold
from zoo.running.run import run
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.history import GradientHistory

QUIET = ("tracking=none", "pictures=false")
SMALL = ("model.depth=3", "model.width=16", "data.limit=400", "batch_size=8", "epochs=3", "verbose=0", *QUIET)
ROUNDING = 4 * float(np.finfo(np.float32).eps)
STEPS = 100
CLOSE = 1e-5


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(reuse, "_many", True)
    monkeypatch.setattr(reuse, "_kept", None)
    monkeypatch.setattr("zoo.running.record.shutil.rmtree", lambda *args, **kwargs: None)  # the checkpoint stays
    return tmp_path


def packed(jobs: list[tuple[str, ...]], folder: Path) -> list[float]:
    return pack.run_pack([(composed(*words), job_of(words, folder / str(k))) for k, words in enumerate(jobs)])


def by_themselves(jobs: list[tuple[str, ...]], folder: Path) -> list[float]:
    reuse._kept = None
    return [run(composed(*words), job_of(words, folder / str(k))).value for k, words in enumerate(jobs)]


def summary_in(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def assert_like(found: Path, expected: Path, close: float = CLOSE) -> None:
    """Compare what two runs left, over the first 100 steps."""
    ours, theirs = summary_in(found), summary_in(expected)
    for name in ("status", "epochs", "steps", "stopped", "parameters"):
        assert ours.get(name) == theirs.get(name), name
    for name in ("name", "cause", "layer"):
        assert (ours["verdict"] or {}).get(name) == (theirs["verdict"] or {}).get(name)
    gradients = [GradientHistory.load(folder / "gradients.npz") for folder in (found, expected)]
    assert gradients[0].layers == gradients[1].layers
    assert gradients[0].variables == gradients[1].variables
    np.testing.assert_array_equal(gradients[0].epoch_ends, gradients[1].epoch_ends)
    np.testing.assert_allclose(gradients[0].losses[:STEPS], gradients[1].losses[:STEPS], rtol=close)
    # Where a gradient is nothing but what rounding leaves, as of a bias before a normalization, its bits are chance:
    # some of the last ones of the numbers that cancel each other there.
    largest = gradients[1].global_norm[:STEPS, None]
    for name in ("variable_norms", "norms"):
        ours_, theirs_ = (getattr(history, name)[:STEPS] / largest for history in gradients)
        np.testing.assert_allclose(ours_, theirs_, rtol=close, atol=ROUNDING)
    if gradients[1].clip_norms is not None:
        np.testing.assert_allclose(gradients[0].clip_norms[:STEPS], gradients[1].clip_norms[:STEPS], rtol=close)
    columns = [read_columns(folder / "history.csv") for folder in (found, expected)]
    assert list(columns[0]) == list(columns[1])
    epochs = int(np.searchsorted(gradients[1].epoch_ends, STEPS, side="right"))
    assert epochs
    for name, values in columns[1].items():
        np.testing.assert_allclose(columns[0][name][:epochs], values[:epochs], rtol=close, err_msg=name)


def assert_packed_like_by_themselves(jobs: list[tuple[str, ...]], home: Path, capsys) -> None:
    values = packed(jobs, home / "packed")
    assert "not packed" not in capsys.readouterr().err
    expected = by_themselves(jobs, home / "alone")
    reasons = [summary_in(home / "packed" / str(k)).get("reason") for k in range(len(jobs))]
    np.testing.assert_allclose(values, expected, rtol=1e-3, err_msg=str(reasons))
    for k in range(len(jobs)):
        assert_like(home / "packed" / str(k), home / "alone" / str(k))


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer=sgd", "activation=tanh"),
        ("optimizer=momentum", "activation=gelu", "regularizer=l2", "regularizer.biases=true"),
        ("optimizer=nesterov", "activation=prelu", "regularizer=l1_l2"),
        ("optimizer=adam", "dropout.rate=0.3"),
        ("optimizer=adamw", "schedule=cosine", "schedule.warmup=0.1", "clipping=value", "clipping.clipvalue=0.01"),
        ("optimizer=rmsprop", "clipping=normalize", "activation=swish", "model.residual=1"),
        ("optimizer=adagrad", "clipping=whole_gradient", "initializer=lsuv", "normalization=layer"),
        ("optimizer=lion", "clipping=global_norm", "clipping.global_clipnorm=0.1", "activation=softplus"),
        ("optimizer=ema_momentum", "optimizer.weight_decay=0.01", "clipping=norm", "clipping.clipnorm=0.1"),
        ("optimizer=sgd", "normalization=batch", "activation=tanh", "callbacks.gradient_norms.updates=true"),
        ("optimizer._target_=keras.optimizers.Nadam", "regularizer=orthogonal", "activation=elu"),
        ("optimizer._target_=keras.optimizers.Adamax", "loss=mse"),
        ("optimizer._target_=keras.optimizers.Adadelta", "data=random_binary", "data.limit=null"),
        ("data=diabetes", "data.limit=null", "data.scaling=standardize", "activation=selu"),
        ("activation=sigmoid", "model.depth=20", "callbacks=[gradient_norms,probe,stop_when_hopeless]"),
    ],
    ids=" ".join,
)
def test_a_run_comes_to_what_it_comes_to_by_itself(words, alone, capsys):
    if any("_target_" in word for word in words):
        words += ("~optimizer.beta_1", "~optimizer.beta_2")
    jobs = [(*SMALL, *words, f"seed={seed}") for seed in (1, 2, 3)]
    assert_packed_like_by_themselves(jobs, alone, capsys)


@pytest.mark.parametrize("words", VARYING, ids=" ".join)
def test_so_does_one_whose_numbers_are_its_own(words, alone, capsys):
    jobs = [(*SMALL, *given) for given in varied(words)]
    assert_packed_like_by_themselves(jobs, alone, capsys)


def test_what_befalls_one_run_touches_no_other(alone, capsys, monkeypatch):
    """One leaps beyond the numbers, one is stopped early, one has fewer epochs, one breaks in its second epoch."""
    stopping = (
        "+callbacks.stopping={_target_: keras.callbacks.EarlyStopping, monitor: val_loss, patience: 1,"
        " min_delta: 0.05, restore_best_weights: true}"
    )
    words = (*SMALL, "optimizer=momentum", "activation=tanh", stopping, "epochs=4")
    jobs = [(*words, f"seed={seed}") for seed in (1, 2, 3, 4, 5)]
    jobs[1] += ("optimizer.learning_rate=3e38",)
    jobs[2] += ("optimizer.learning_rate=1e-6",)
    jobs[3] += ("epochs=2",)
    broken = alone / "packed" / "4"

    def append(self, rows):
        if self.path is not None and broken in self.path.parents and len(self.history):
            raise ZeroDivisionError("broken here")
        return appended(self, rows)

    appended = GradientNorms.append
    monkeypatch.setattr(GradientNorms, "append", append)
    values = packed(jobs, alone / "packed")
    assert "not packed" not in capsys.readouterr().err
    by_themselves(jobs[:4], alone / "alone")
    for k in range(4):
        assert_like(alone / "packed" / str(k), alone / "alone" / str(k))
    found = [summary_in(alone / "packed" / str(k)) for k in range(5)]
    assert found[1]["stopped"] == "not finite" and (alone / "packed" / "1" / "flight.json").is_file()
    assert [one["epochs"] for one in found[:4]] == [4, 1, 2, 2]
    assert found[4]["status"] == "FAILED" and found[4]["reason"] == "ZeroDivisionError: broken here"
    assert len(GradientHistory.load(broken / "gradients.npz")) == 45
    assert np.isnan(values[4])


def test_runs_that_were_cut_off_go_on_from_their_own_epochs(alone, capsys, monkeypatch):
    words = (
        *SMALL,
        "normalization=batch",
        "activation=tanh",
        "dropout.rate=0.2",
        "optimizer=momentum",
        "data.limit=200",
        "verbose=1",
    )
    jobs = [(*words, f"seed={seed}") for seed in (1, 2, 3)]
    ended = []
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):

        def ends(self, epoch, logs=None):
            ended.append(epoch)
            if len(ended) == 5:  # the second run's second epoch, or in another order no later than that
                raise KeyboardInterrupt

        cut.setattr(EndWhenTold, "on_epoch_begin", ends)
        packed(jobs, alone / "packed")
    assert {summary_in(alone / "packed" / str(k))["status"] for k in range(3)} == {"KILLED"}
    capsys.readouterr()
    packed(jobs, alone / "packed")
    assert "not packed: 2: they go on from other epochs" in capsys.readouterr().err
    by_themselves(jobs, alone / "alone")
    for k in range(3):
        assert_like(alone / "packed" / str(k), alone / "alone" / str(k))


def test_what_is_of_another_shape_or_not_faster_is_trained_by_itself(alone, capsys):
    words = (*SMALL, "epochs=1", "verbose=1", "data.folds=7", "data.limit=363")
    jobs = [(*words, f"data.fold={fold}") for fold in (0, 5, 6)]
    packed(jobs, alone / "packed")
    assert "not packed: 2: " in capsys.readouterr().err
    by_themselves(jobs, alone / "alone")
    for k in range(3):
        assert_like(alone / "packed" / str(k), alone / "alone" / str(k))
    packed([(*SMALL, "epochs=1", "verbose=1", "model.width=600", f"seed={seed}") for seed in (1, 2)], alone / "wide")
    assert "not packed: 0, 1: a step of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("seed=1",), None),
        (("rate_factor=2", "dropout.rate=0.5", "schedule=cosine", "clipping=normalize"), None),
        (("model=lenet",), "lenet is no MLP"),
        (("optimizer.gradient_accumulation_steps=2",), "optimizer.gradient_accumulation_steps is set"),
        (("constraint=max_norm",), "constraint is set"),
        (("precision=mixed_float16",), "precision=mixed_float16"),
        (("deterministic=true",), "deterministic=true"),
        (("+callbacks.own={_target_: keras.callbacks.TerminateOnNaN}",), "may look at single batches"),
    ],
)
def test_a_config_says_what_keeps_its_run_from_being_packed(words, reason):
    found = packable.obstacle(cfg := composed(*words), reuse.common_to(cfg))
    assert found is None if reason is None else found is not None and reason in found
