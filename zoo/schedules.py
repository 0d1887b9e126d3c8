"""Learning-rate schedules that Keras lacks. t counts optimizer steps from 0."""

from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule


@keras.saving.register_keras_serializable("zoo")
class InverseScaling(LearningRateSchedule):
    """Return rate / (t + 1)^power: scikit-learn's "invscaling", whose t begins at 1.

    Args:
        initial_learning_rate: of the first step.
        power: exponent of t; 0 is a constant rate.
    """

    def __init__(self, initial_learning_rate: float, power: float = 0.25):
        self.initial_learning_rate = initial_learning_rate
        self.power = power

    def __call__(self, step):
        t: Any = keras.ops.cast(step, "float32")
        return self.initial_learning_rate / (t + 1.0) ** self.power

    def get_config(self) -> dict:
        return {"initial_learning_rate": self.initial_learning_rate, "power": self.power}


@keras.saving.register_keras_serializable("zoo")
class Warmup(LearningRateSchedule):
    """Let the rate of `schedule` rise linearly over the first steps (Goyal et al. 2017, sec. 2.2).

    In step t < `steps` the rate is (t + 1) / (steps + 1) of what the schedule says.

    Args:
        schedule: a schedule, or a number for a constant rate.
        steps: how many steps the rise takes; 0: none.
        first: the step with which it begins: t counts from there, and before it the rate is the schedule's.
        factor: share of the schedule's rate that it rises to.
    """

    def __init__(self, schedule: LearningRateSchedule | float, steps: int, first: int = 0, factor: float = 1.0):
        self.schedule, self.steps, self.first, self.factor = schedule, steps, first, factor

    def __call__(self, step):
        rate: Any = self.schedule(step) if callable(self.schedule) else self.schedule
        t: Any = keras.ops.cast(step, "float32")
        since = t - self.first
        share: Any = keras.ops.minimum((since + 1.0) / (self.steps + 1.0), 1.0)
        return rate * keras.ops.where(since < 0, 1.0, self.factor * share)

    def get_config(self) -> dict:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps, "first": self.first, "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict) -> "Warmup":
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})


def step(initial_learning_rate: float, steps: int, at: list[float], factor: float) -> LearningRateSchedule:
    """Multiply the rate by `factor` at the given shares of a run of `steps` steps.

    Args:
        initial_learning_rate: until the first drop.
        steps: of the whole run.
        at: shares of the run, rising, each in (0, 1).
        factor: of each drop.
    """
    values = [initial_learning_rate * factor**i for i in range(len(at) + 1)]
    # Keras' boundary is the last step of the old rate.
    return keras.optimizers.schedules.PiecewiseConstantDecay([round(share * steps) - 1 for share in at], values)
