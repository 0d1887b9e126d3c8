"""A training cut off after an epoch and restored, against one that was not; on the backend of KERAS_BACKEND."""

import collections
import io
import os
import pickle
import shutil
import types
import zipfile

import keras
import numpy as np
import pytest

from zoo import GradientHistory, GradientNorms
from zoo.running import checkpoint as module
from zoo.running.checkpoint import PLAIN, Checkpoint
from zoo.telemetry.history import header_path
from zoo.telemetry.probe import Attention, Probes, Residual
from zoo.telemetry.recurrent import TimeProfile

EPOCHS, CUT = 6, 3
GROWING = ["gradients.f32", "history.csv"]
PROBED = "probes.plain"  # the checkpoint's own, which grows too


class Remembers(keras.callbacks.Callback):
    """Has what a person's own callback may have, plain or not."""

    def __init__(self):
        super().__init__()
        self.seen, self.counts, self.lines = [], collections.Counter(), iter("abc")

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, np.float32(logs["loss"]), {"nan": float("nan"), epoch: np.arange(epoch)}))
        self.counts[epoch % 2] += 1


def network() -> keras.Model:
    layers = keras.layers
    hidden = [layers.Dense(8, "relu", name="a"), layers.BatchNormalization(name="b"), layers.Dropout(0.3)]
    hidden += [layers.Dense(6, "tanh", name="c"), layers.Dense(3, name="d")]
    model = keras.Sequential([keras.Input((5,)), *hidden])
    optimizer = keras.optimizers.Adam(0.05, global_clipnorm=1.0)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def training(path, epochs: int):
    """Train up to `epochs`, from the checkpoint in `path` if there is one; return what came of it."""
    keras.utils.set_random_seed(len(list(path.iterdir())))  # a process that goes on begins with another random state
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)).astype("float32"), rng.integers(0, 3, 40)
    rows = path / "gradients.f32"
    model, norms, probes = network(), GradientNorms(path=rows, updates=True), Probes(x[:8], y[:8])
    remembering = [
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.1),
        keras.callbacks.EarlyStopping("loss", patience=EPOCHS, restore_best_weights=True),
        Remembers(),
    ]
    files, whole = [path / name for name in GROWING], [header_path(rows)]
    checkpoint = Checkpoint(path / "checkpoint.npz", remembering, probes, files, whole)
    done, over = checkpoint.restore(model)
    assert not over
    if done:
        norms.resume(done)
    log = keras.callbacks.CSVLogger(path / "history.csv", append=done > 0)
    callbacks = [norms, probes, *remembering, log, checkpoint]
    model.fit(x, y, batch_size=8, epochs=epochs, initial_epoch=done, verbose=0, shuffle=False, callbacks=callbacks)
    return types.SimpleNamespace(
        model=model,
        history=norms.history,
        probes=probes.results,
        done=done,
        told=checkpoint.told,
        callbacks=remembering,
    )


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A folder with what a training left that was cut off."""
    path = tmp_path_factory.mktemp("cut")
    training(path, CUT)
    return path


@pytest.fixture
def parts(cut, tmp_path):
    """One of its own for each test."""
    return shutil.copytree(cut, tmp_path / "parts")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training without a cut, and its folder."""
    path = tmp_path_factory.mktemp("whole")
    return path, training(path, EPOCHS)


def held(value) -> list[bytes]:
    return [part.tobytes() for part in PLAIN.write(value)]


def agree(path, resumed, whole):
    """Two trainings are the same to the last bit, and so is what they left."""
    of_whole, expected = whole
    for variable, other in zip(expected.model.variables, resumed.model.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(other), keras.ops.convert_to_numpy(variable))
    for name in ("variable_norms", "losses", "update_norms", "weight_norms", "clip_norms", "epoch_ends"):
        np.testing.assert_array_equal(getattr(resumed.history, name), getattr(expected.history, name))
    assert list(resumed.history.epoch_ends) == [5 * (e + 1) for e in range(EPOCHS)]
    assert held(resumed.probes[: CUT + 1]) == held(expected.probes[: CUT + 1])
    assert len(resumed.probes) == len(expected.probes)
    for probe, other in zip(resumed.probes, expected.probes, strict=True):
        # The probe is compiled after some times, which rounds otherwise; and that is counted in each process.
        np.testing.assert_allclose(probe.loss, other.loss, rtol=1e-6)
        np.testing.assert_allclose(probe.delta_norm, other.delta_norm, rtol=1e-5)
    assert float(resumed.model.optimizer.learning_rate) == float(expected.model.optimizer.learning_rate) < 0.05
    for callback, other in zip(resumed.callbacks, expected.callbacks, strict=True):
        assert held(module._memory(callback)) == held(module._memory(other))
    for name in GROWING:
        assert (path / name).read_bytes() == (of_whole / name).read_bytes()


def test_a_training_that_was_cut_off_takes_the_same_steps(parts, whole):
    resumed = training(parts, EPOCHS)
    assert resumed.done == CUT and resumed.told is None
    agree(parts, resumed, whole)
    assert isinstance(resumed.callbacks[-1].counts, collections.Counter)


def test_a_cut_may_come_between_a_row_and_its_checkpoint(parts, whole, tmp_path):
    later = shutil.copytree(parts, tmp_path / "later")
    training(later, CUT + 1)
    for name in (*GROWING, PROBED, "gradients.json"):
        shutil.copy(later / name, parts / name)
    with open(parts / "gradients.f32", "ab") as file:
        file.write(b"ha")  # and within a row
    assert GradientHistory.recover(parts / "gradients.f32").epoch_ends.tolist() == [5 * (e + 1) for e in range(CUT + 1)]
    training(parts, CUT + 2)  # a second cut: sums of files that were gone on with
    resumed = training(parts, EPOCHS)
    assert resumed.done == CUT + 2 and resumed.told is None
    agree(parts, resumed, whole)


def test_what_says_what_rows_are_comes_from_the_checkpoint(parts):
    before = (parts / "gradients.json").read_bytes()
    (parts / "gradients.json").write_text('{"epoch_ends": [')
    assert checkpoint_in(parts).restore(network()) == (CUT, False)
    assert (parts / "gradients.json").read_bytes() == before


def shorter(path):
    os.truncate(path, path.stat().st_size - 1)


def garbled(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def zeros(path):  # as some file systems leave what was not synced
    path.write_bytes(bytes(path.stat().st_size))


def gone(path):
    path.unlink()


@pytest.mark.parametrize("damage", [shorter, garbled, zeros, gone])
@pytest.mark.parametrize("name", [*GROWING, PROBED])
def test_a_damaged_file_is_seen(name, damage, cut, tmp_path):
    path = shutil.copytree(cut, tmp_path / "parts")
    damage(path / name)
    size = (path / name).stat().st_size if (path / name).exists() else 0
    model, checkpoint = network(), checkpoint_in(path)
    before = [v.copy() for v in model.get_weights()]
    assert checkpoint.restore(model) == (0, False)
    assert checkpoint.told is not None and checkpoint.told.startswith(f"{path / name} is ")
    assert checkpoint.told.endswith(": the run starts from its first epoch") and "\n" not in checkpoint.told
    for value, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)
    assert int(model.optimizer.iterations) == 0 and len(checkpoint.probes.results) == 0
    assert ((path / name).stat().st_size if (path / name).exists() else 0) == size


def checkpoint_in(path) -> Checkpoint:
    callbacks: list = [keras.callbacks.Callback() for _ in range(3)]
    files = [path / name for name in GROWING]
    whole = [path / "gradients.json"]
    return Checkpoint(path / "checkpoint.npz", callbacks, Probes(np.ones((2, 5)), np.ones(2)), files, whole)


def test_a_run_that_starts_anew_is_a_whole_one(parts):
    garbled(parts / "gradients.f32")
    anew = training(parts, 2)
    assert anew.done == 0 and "gradients.f32 is damaged" in anew.told
    assert anew.history.epoch_ends.tolist() == [5, 10]
    assert len((parts / "history.csv").read_text().splitlines()) == 3
    again = training(parts, 3)
    assert again.done == 2 and again.told is None


def test_a_damaged_checkpoint_is_seen(parts):
    path = parts / "checkpoint.npz"
    data, rng = path.read_bytes(), np.random.default_rng(0)
    model, checkpoint = network(), checkpoint_in(parts)
    for length in [0, 1, 30, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        assert checkpoint.restore(model) == (0, False)
        assert checkpoint.told.startswith(f"{path} is damaged")
    path.write_bytes(data)
    assert checkpoint.restore(model) == (CUT, False) and checkpoint.told is None
    expected, seen = held(model.get_weights()), 0
    for place in [*range(40), *rng.integers(0, len(data), 60), *range(len(data) - 40, len(data))]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.integers(8)]) + data[place + 1 :])
        done, _ = checkpoint.restore(model)
        assert done in (0, CUT) and (done == 0) == (checkpoint.told is not None)
        assert held(model.get_weights()) == expected  # some bits, such as those of dates, say nothing
        seen += done == 0
    assert seen > 50


@pytest.mark.parametrize("where", ["memory", "array", "file"])
def test_a_pickle_is_not_read(where, parts):
    marker, path = parts / "marker", parts / "checkpoint.npz"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    pickled = pickle.dumps(Evil())
    if where == "file":
        path.write_bytes(pickled)
    else:
        with np.load(path) as file:
            arrays = dict(file)
        name = "memory" if where == "memory" else "v0"
        # As versions before this wrote it, and as NumPy writes objects.
        arrays[name] = np.frombuffer(pickled, np.uint8) if where == "memory" else np.array([Evil()], object)
        np.savez(path, **arrays)
    checkpoint = checkpoint_in(parts)
    assert checkpoint.restore(network()) == (0, False)
    assert checkpoint.told.startswith(f"{path} is damaged, or of another version")
    assert not marker.exists()
    pickle.loads(pickled)
    assert marker.exists()  # it would have


def test_a_checkpoint_holds_no_pickle(parts):
    with zipfile.ZipFile(parts / "checkpoint.npz") as file:
        for name in file.namelist():
            np.load(io.BytesIO(file.read(name)), allow_pickle=False)
    with np.load(parts / "checkpoint.npz") as file:
        assert file["memory"].tobytes().startswith(b'{"dict"')


def test_a_checkpoint_of_another_model_is_not_read(parts):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    checkpoint = checkpoint_in(parts)
    assert checkpoint.restore(model) == (0, False)
    assert "is of another model" in checkpoint.told


def test_best_weights_of_before_the_cut_are_restored_after_it(tmp_path):
    x, y = np.ones((8, 5), np.float32), np.zeros(8, int)

    def train(epochs):
        keras.utils.set_random_seed(1)
        model = network()
        stopping = keras.callbacks.EarlyStopping("loss", min_delta=100, patience=4, restore_best_weights=True)
        checkpoint = Checkpoint(tmp_path / "checkpoint.npz", [stopping], None)
        done, over = checkpoint.restore(model)
        epochs = done if over else epochs
        model.fit(x, y, initial_epoch=done, epochs=epochs, verbose=0, callbacks=[stopping, checkpoint])
        return model, stopping, done, over

    first = train(1)[0].get_weights()
    _, stopping, done, _ = train(3)
    assert done == 1 and stopping.wait == 2 and stopping.min_delta == -100  # turned round once, not twice
    model, stopping, done, over = train(9)
    assert (done, over, stopping.stopped_epoch, stopping.best_epoch) == (3, False, 4, 0)
    model, _, done, over = train(9)
    assert (done, over) == (5, True)
    for value, other in zip(model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(value, other)


def test_probes_come_back_equal(parts):
    checkpoint = checkpoint_in(parts)
    checkpoint.restore(network())
    probe = checkpoint.probes.results[-1]
    row = np.array([np.nan, np.inf, 1e-45], np.float32)
    parts_of = {
        "times": [TimeProfile("gru", row, row[::-1])],
        "attentions": [Attention("a", float("nan"), float("inf"))],
        "residuals": [Residual("r", 0.1)],
        "missing": "ü",
    }
    nasty = probe.__class__(**{**vars(probe), **parts_of, "loss": float("-inf"), "jacobian": row[:2]})
    back = PLAIN.read(*PLAIN.write([probe, nasty]))
    assert held(back) == held([probe, nasty])
    for a, b in zip(back, [probe, nasty], strict=True):
        assert (a.setting, a.batch, a.layers, a.missing) == (b.setting, b.batch, b.layers, b.missing)
        assert a.delta_norm.dtype == b.delta_norm.dtype and type(a.loss) is type(b.loss)


def test_half_precision_is_kept(tmp_path):
    def model():
        made = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, dtype="bfloat16")])
        made.compile("sgd", "mse")
        return made

    trained = model()
    trained.fit(np.ones((4, 5)), np.ones((4, 3)), verbose=0, callbacks=[Checkpoint(tmp_path / "c.npz", [], None)])
    other = model()
    assert Checkpoint(tmp_path / "c.npz", [], None).restore(other)[0] == 1
    for a, b in zip(trained.variables, other.variables, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


def test_files_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(f"-> {b}"), replace(a, b)))
    training(tmp_path, 1)
    last = [str(tmp_path / name) for name in (*GROWING, PROBED, "checkpoint.npz.new")]
    assert done[-6:] == [*last, f"-> {tmp_path / 'checkpoint.npz'}", str(tmp_path)]


def test_what_stands_in_a_checkpoint_is_whole(parts):
    before = (parts / "checkpoint.npz").read_bytes()
    (parts / "checkpoint.npz.new").write_bytes(before[: len(before) // 2])  # as a full disk or kill -9 leaves it
    resumed = training(parts, CUT + 1)
    assert len(resumed.history) == int(resumed.model.optimizer.iterations) == 5 * (CUT + 1)
