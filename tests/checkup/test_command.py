"""`python -m zoo.check`: of a recorded run, and of a saved model with its data."""

import json

import keras
import numpy as np
import pytest


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8)).astype("float32")
    np.savez(tmp_path / "sound.npz", x=x, y=(x[:, 0] > 0).astype(int))
    np.savez(tmp_path / "beyond.npz", x=x, y=2 + (x[:, 0] > 0).astype(int))
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(tmp_path / "model.keras")
    return tmp_path


def test_a_saved_model_and_its_data(train, files):
    sound = train.module("zoo.check", str(files / "model.keras"), "--data", str(files / "sound.npz"), "--json")
    beyond = train.module("zoo.check", str(files / "model.keras"), "--data", str(files / "beyond.npz"), "--json")

    assert (sound.returncode, beyond.returncode) == (0, 3), sound.stderr + beyond.stderr
    found = json.loads(beyond.stdout)
    assert found["schema"] == 1 and found["verdict"] is None
    first = found["findings"][0]
    assert first["cause"] == "labels" and first["fault"] and first["cures"][0]["change"]
    assert not any(finding["fault"] for finding in json.loads(sound.stdout)["findings"])


def test_a_recorded_run(train):
    train("epochs=2", "model.width=8", "verbose=0", "pictures=false")
    (folder,) = train.folders("runs")

    told = train.module("zoo.check", str(folder), "--json")

    assert told.returncode in (0, 3), told.stderr
    verdict = json.loads(told.stdout)["verdict"]
    assert verdict == {key: json.loads((folder / "summary.json").read_text())["verdict"][key] for key in verdict}


@pytest.mark.parametrize("words", [["nothing"], ["model.keras"], ["model.keras", "--data", "model.keras"], ["."]])
def test_a_mistake_is_one_line(train, files, words):
    done = train.module("zoo.check", *[str(files / word) if word[0] != "-" else word for word in words])

    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
