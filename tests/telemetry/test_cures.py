"""Cures fit what ran: none that is already so, each with its reason, and overrides that compose."""

import itertools

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from zoo.config import CONF
from zoo.running.make import fitting
from zoo.telemetry.cures import cures_for
from zoo.telemetry.faults import Fault
from zoo.telemetry.setting import Setting

SICK = ("vanishing", "exploding", "dead", "saturated", "stalled", "unstable")
ALONG = ("depth", "time", "samples", "rows", "latent", "use", "contest", "loss")
SETTINGS = [
    Setting(
        optimizer, rate, options, {"dense": "Dense", "out": "Dense"}, {"dense": initializer, "out": "HeNormal"}, *has
    )
    for optimizer, rate, options, initializer, has in itertools.product(
        ("adam", "sgd", "adadelta"),
        (1e-6, 1e-3, 3.0),
        ({}, {"global_clipnorm": 1.0}),
        ("GlorotUniform", "HeNormal"),
        ((False, False), (True, True)),
    )
]


def cures(name, setting, activations=("sigmoid",), along="depth", **known):
    fault = Fault(name, "dense", "", along)
    return cures_for(name, fault, setting, list(activations), rate=setting.rate, **known)


def names(found):
    return [cure.name for cure in found]


@pytest.fixture(scope="module")
def composed():
    with initialize_config_dir(str(CONF), version_base=None):
        yield lambda *words: compose("config", overrides=list(words))


def test_every_override_composes(composed):
    found = set()
    for name, setting, activation in itertools.product(SICK, SETTINGS, ("sigmoid", "relu", "selu", "tanh", "")):
        for began in (False, True):
            found |= set(cures(name, setting, [activation], began=began, clipped=1e-4, largest_input=255.0))
    overrides = {cure.override for cure in found if cure.override}
    assert len(overrides) > 12
    for override in overrides:
        cfg = composed(*override.split())
        assert fitting(cfg, [override]) == [override]


def test_each_cure_says_what_and_why():
    for name, setting, along in itertools.product(SICK, SETTINGS[:4], ALONG):
        for cure in cures(name, setting, along=along, began=True, largest_input=255.0):
            assert cure.name and cure.change and cure.reason.endswith(".")


def test_none_that_is_already_so():
    for setting in SETTINGS:
        everything = [c for name in SICK for c in cures(name, setting, ["relu"], began=True)]
        told = names(everything)
        if setting.normalized:
            assert "batch normalization" not in told
        if setting.residual:
            assert "shortcuts with batch normalization" not in told
        if "global_clipnorm" in setting.options:
            assert "clipping" not in told
        if setting.initializers["dense"] == "HeNormal":
            assert "he normal" not in told
        if setting.optimizer == "adam":
            assert "Adam" not in told
        assert "ReLU" not in told  # all units are rectifiers
        assert not any(c.override == f"optimizer.learning_rate={setting.rate:.2g}" for c in everything)


def test_the_rate_goes_where_it_has_to():
    for setting in SETTINGS:
        for name, right in (("stalled", lambda new, old: new > old), ("unstable", lambda new, old: new < old)):
            rates = [c.override for c in cures(name, setting) if c.override.startswith("optimizer.learning_rate=")]
            assert rates and all(right(float(r.partition("=")[2]), setting.rate) for r in rates)
    assert "optimizer.learning_rate=1" in [c.override for c in cures("stalled", Setting("adadelta", 1e-3))]


def test_along_time():
    plain = Setting("adam", 1e-3, {}, {"dense": "SimpleRNN"}, {"dense": "RandomNormal"})
    told = names(cures("vanishing", plain, along="time"))
    assert told == ["orthogonal recurrent weights", "identity recurrent weights", "gates"]
    assert "clipping" in names(cures("exploding", plain, along="time"))
    assert not any(c.override.startswith("normalization") for c in cures("vanishing", plain, along="time"))


def test_a_saved_model_has_its_layers_for_good(composed):
    remedies = ["normalization=batch", "activation=relu initializer=he_normal", "optimizer.learning_rate=0.01"]
    assert fitting(composed("model=saved", "model.path=x"), remedies) == remedies[2:]
    assert fitting(composed(), [*remedies, "model.residual=2 normalization=batch"])[-1].startswith("model.residual")
    assert fitting(composed("model=vgg11_small"), ["model.residual=2 normalization=batch"]) == []


def test_nothing_known_of_the_rate():
    assert all("nan" not in c.override for name in SICK for c in cures(name, Setting("sgd", np.nan)))
