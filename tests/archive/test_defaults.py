"""What a run was set to beside what nothing asked for would have had."""

import hydra
import pytest
from conftest import ROOT

from zoo.archive.defaults import default_of, differing_settings
from zoo.config import resolved


def composed(*words: str) -> tuple[dict, dict]:
    """The config and the choices of a command."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        cfg = hydra.compose("config", list(words), return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        return resolved(hydra.compose("config", list(words))), choices


def told(*words: str) -> dict[str, tuple[str, str]]:
    return {key: (value, usual) for key, value, usual in differing_settings(*composed(*words))}


def test_the_default_run_differs_in_nothing():
    assert told() == {} == told("tracking=none", "verbose=0", "pictures=false")


def test_choices_and_values_are_told_beside_their_defaults():
    assert told("optimizer=sgd", "model.depth=12", "seed=3", "activation=tanh") == {
        "activation": ("tanh", "relu"),
        "optimizer": ("sgd", "adam"),
        "model.depth": ("12", "5"),
        "seed": ("3", "0"),
    }


def test_what_an_experiment_sets_is_told_too():
    found = told("experiment=vanishing")
    assert found["model.depth"] == ("30", "5") and found["activation"] == ("sigmoid", "relu")
    assert found["epochs"] == ("10", "20")


def test_a_file_that_begins_with_another_has_its_values():
    assert told("model=resnet110") == {"model": ("resnet110", "mlp"), "normalization": ("batch", "none")}
    assert default_of("model.depth", {"model": "resnet110"}) == "110"


@pytest.mark.parametrize(
    ("key", "default"),
    [("seed", "0"), ("activation", "relu"), ("model.weights", "null"), ("model", "mlp"), ("nothing.known", None)],
)
def test_the_default_of_a_key(key, default):
    assert default_of(key, {}) == default


def test_a_run_without_choices_has_the_values_of_the_usual_ones():
    assert differing_settings({"model": {"depth": 7}, "seed": 0}, {}) == [("model.depth", "7", "5")]
