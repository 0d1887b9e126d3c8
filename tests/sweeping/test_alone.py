"""One run of its own: in a folder of its own, and called from a program of a person's."""

import json
import sys

import hydra
import pytest

from zoo import train, use_language
from zoo.archive.summary import Summary
from zoo.config import CONF
from zoo.errors import UserError

SMALL = ("epochs=1", "model.depth=1", "model.width=8", "verbose=0", "tracking=none", "pictures=false")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


WRONG = {
    "model.dept=3": "there is no model.dept in this configuration; did you mean model.depth?",
    "activation=rellu": "activation=rellu: no such choice; did you mean activation=relu?",
    "epochs=1.5": "epochs=1.5: it must be a whole number",
    "seed=1,2": "seed=1,2: several values are a sweep",
    "cure=true": "cure=true: zoo.train does one run",
    "-m": "-m: zoo.train does one run",
    "--config-dir=/nowhere": "--config-dir /nowhere: there is no such folder",
    "experiment=activations": "experiment=activations tries activation=sigmoid,tanh,relu",
    "data=npz data.path=/nowhere.npz": "data.path=/nowhere.npz: there is no file",
    "resume=/nowhere": "resume=/nowhere: there is no run",
    "data.limit=1": "data.limit=1: it must be a whole number, 2 or more, or null.",
    "data.limit=2": "data.validation=0.1 needs 2 samples of each class",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_raised_in_one_line_and_nothing_is_left(words, home):
    with pytest.raises(UserError) as caught:
        train(words.split())
    assert str(caught.value).startswith(WRONG[words])
    assert "\n" not in str(caught.value)
    assert not list(home.rglob("*.*"))


def test_one_text_is_no_list_of_words():
    with pytest.raises(UserError, match=r"^zoo.train\('epochs=1'\): give a list of words"):
        train("epochs=1")


def test_it_does_what_the_command_does_and_leaves_a_persons_process_as_it_was(home):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    use_language("zh")
    try:
        with hydra.initialize_config_dir(CONF, version_base="1.3"):  # they may use Hydra themselves
            result = train(overrides=[*SMALL, "activation=tanh"])
            theirs = hydra.compose("config", ["epochs=7"])
        assert theirs.epochs == 7
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
        use_language("en")
    assert result.summary == Summary.read(result.summary.folder)
    assert result.summary.folder.parent == home / "mlruns" / "runs"
    assert result.summary.name == f"mlp on digits {' '.join(SMALL[:3])} pictures=false activation=tanh"
    assert json.loads((result.summary.folder / "summary.json").read_text())["choices"]["activation"] == "tanh"
    assert "损失" in result.summary.verdict.sentence
    assert result.norms.history.norms.shape == (41, 2)
    assert result.model.count_params() == result.summary.parameters == 64 * 8 + 8 + 8 * 10 + 10


def test_a_function_of_the_program_itself_can_be_the_model(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules[__name__])
    assert train([*SMALL[:1], *SMALL[3:], "model._target_=__main__.net"]).summary.parameters == 650


def net(input_shape, classes):
    import keras

    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(inputs)))


def test_the_folder_of_a_run_takes_no_other(tmp_path):
    here = f"hydra.run.dir={tmp_path / 'here'}"
    kept = train([*SMALL, here]).summary
    with pytest.raises(UserError, match="here: a run lies there: give another folder, or delete it"):
        train([*SMALL, here, "seed=1"])
    assert Summary.read(tmp_path / "here") == kept
