"""Each schedule's curve against its formula, composed as a user would."""

import hydra
import keras
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from zoo import schedules
from zoo.config import CONF

RATE, STEPS = 0.4, 100
T = np.arange(STEPS)

FORMULAS = {
    "exponential": RATE * 0.999**T,
    "linear": RATE * (1 - T / STEPS),
    "cosine": RATE * (1 + np.cos(np.pi * T / STEPS)) / 2,
    "inverse_time": RATE / (1 + 0.01 * T),
    "inverse_scaling": RATE / (T + 1) ** 0.25,
    "step": RATE * np.where(T < 50, 1, np.where(T < 75, 0.1, 0.01)),
}


def composed(name: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("config", [f"schedule={name}", f"optimizer.learning_rate={RATE}", f"steps={STEPS}"])
    node = OmegaConf.to_container(cfg.schedule, resolve=True)
    assert node.pop("warmup") == 0
    return instantiate(node)


@pytest.mark.parametrize("name", FORMULAS)
def test_curve_is_its_formula(name):
    schedule = composed(name)
    curve = [float(schedule(keras.ops.convert_to_tensor(t))) for t in T]
    np.testing.assert_allclose(curve, FORMULAS[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [*FORMULAS, None])
def test_warmup_rises_linearly_to_the_schedule(name):
    schedule = composed(name) if name else RATE
    plain = FORMULAS[name] if name else np.full(STEPS, RATE)
    warm = schedules.Warmup(schedule, 10)
    curve = [float(warm(keras.ops.convert_to_tensor(t))) for t in T]
    np.testing.assert_allclose(curve, plain * np.minimum(1, (T + 1) / 11), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [*FORMULAS, None])
@pytest.mark.parametrize("warmup", [0, 10])
def test_a_later_warmup_rises_to_a_share_of_the_schedule_from_a_step_on(name, warmup):
    schedule = composed(name) if name else RATE
    plain = FORMULAS[name] if name else np.full(STEPS, RATE)
    later = schedules.Warmup(schedule, warmup, 60, 0.1)
    curve = [float(later(keras.ops.convert_to_tensor(t))) for t in T]
    share = 0.1 * np.minimum(1, (T - 60 + 1) / (warmup + 1))
    np.testing.assert_allclose(curve, plain * np.where(T < 60, 1, share), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "schedule", [schedules.InverseScaling(0.1, 0.5), schedules.Warmup(0.1, 5), schedules.Warmup(0.1, 2, 3, 0.1)]
)
def test_a_saved_model_keeps_its_schedule(schedule, tmp_path):
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(schedule), "mse", jit_compile=False)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(float(loaded.optimizer.learning_rate), float(schedule(4)), rtol=1e-6)
