"""What is wrong with the optimizer's numbers, before they are tried."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.keras_private import source_of_rate, trained_by
from zoo.telemetry.language import say
from zoo.telemetry.layers import inner_of, replaced

ADADELTA = 0.1  # its paper has 1 (Zeiler 2012)
HEAVY = 0.985  # momentum: of 70 steps and more
TIGHT = 1e-2  # clipping that leaves less of a gradient
FADED = 0.02  # of the first rate, within an epoch
ADAM = Cure("Adam", "keras.optimizers.Adam(0.001)", "its step does not depend on the size of the gradient.")


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about the optimizer."""
    optimizer = inner_of(getattr(program.model, "optimizer", None))
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return
    kind, rate = type(optimizer).__name__, rate_at(optimizer, 0)
    yield from _others(program.model, optimizer)
    yield from _schedule(program, optimizer)
    if rate == 0 and not _scheduled(optimizer):
        yield suspect(
            "rate",
            "a learning rate of 0",
            say("the rate of {kind} is 0: no step changes anything.", kind=kind),
            0.97,
            0.99,
            0.5,
            cures=(Cure("rate", "model.optimizer.learning_rate = 0.001", "steps need a length."),),
        )
    default = say(", Keras' default") if np.isclose(rate, 1e-3) else ""
    if kind == "Adadelta" and 0 < rate < ADADELTA:
        yield suspect(
            "optimizer",
            "Adadelta at a low rate",
            say(
                "Adadelta runs at {rate}{default}; its steps are made for a rate of 1 (Zeiler 2012), and begin at a "
                "thousandth of that by themselves.",
                rate=w.number(rate),
                default=default,
            ),
            0.7,
            0.95,
            0.3,
            cures=(Cure("Adadelta", "keras.optimizers.Adadelta(1.0)", "the rate of its paper."), ADAM),
            rate=rate,
        )
    if kind in ("Ftrl", "Adagrad") and rate < 5e-3:
        yield suspect(
            "optimizer",
            f"{kind} at a low rate",
            say(
                "{kind} runs at {rate}{default}, and its steps only get shorter.",
                kind=kind,
                rate=w.number(rate),
                default=default,
            ),
            0.4,
            0.8,
            0.2,
            cures=(Cure(kind, f"keras.optimizers.{kind}(0.05)", "longer steps."), ADAM),
            rate=rate,
        )
    for name in ("momentum", "beta_1"):
        value = getattr(optimizer, name, None)
        if isinstance(value, int | float) and value > HEAVY:
            yield suspect(
                "optimizer",
                "momentum that hardly forgets",
                say(
                    "{name} is {value:g}: a step is a mean over the last {steps:.0f}, and overshoots for as long.",
                    name=name,
                    value=value,
                    steps=1 / max(1 - value, 1e-9),
                ),
                0.5,
                0.85,
                0.2,
                cures=(Cure("momentum", f"{name}=0.9", "the mean of ten steps."),),
                momentum=value,
            )
    epsilon = getattr(optimizer, "epsilon", None)
    if kind in ("Adam", "AdamW", "Nadam", "Adamax") and isinstance(epsilon, int | float) and epsilon > 1e-2:
        yield suspect(
            "optimizer",
            "an epsilon that drowns the gradient",
            say(
                "epsilon is {epsilon:g}, added to the size of each gradient: where gradients are smaller, steps are "
                "as much shorter.",
                epsilon=epsilon,
            ),
            0.4,
            0.8,
            0.15,
            cures=(Cure("epsilon", "epsilon=1e-7", "it is there against a division by 0 alone."),),
            epsilon=epsilon,
        )
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        value = getattr(optimizer, name, None)
        if value and value < TIGHT and kind == "SGD":
            what = say("weight" if name == "clipvalue" else "step")
            yield suspect(
                "optimizer",
                "clipping that leaves nothing",
                say(
                    "{name} is {value:g}: at a rate of {rate} no {what} goes further than {furthest}.",
                    name=name,
                    value=value,
                    rate=w.number(rate),
                    what=what,
                    furthest=w.number(value * rate),
                ),
                0.55,
                0.9,
                0.2,
                cures=(Cure("clipping", f"{name}=1.0", "only what is far too large is cut."),),
                clip=value,
            )
    decay = getattr(optimizer, "weight_decay", None)
    if decay and decay * max(rate, 1e-12) > 5e-3:
        yield suspect(
            "regularization",
            "weight decay that eats the weights",
            say(
                "weight_decay is {decay:g}: each step takes {share} of every weight.",
                decay=decay,
                share=w.share(decay * rate),
            ),
            0.5,
            0.85,
            0.2,
            cures=(Cure("weight decay", "weight_decay=1e-4", "weights keep what they learn."),),
            decay=decay,
        )


def config_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return an optimizer's config; a schedule of one's own may have none: it stands in it as it is."""
    try:
        return optimizer.get_config()
    except Exception:  # whatever a person's own code raises
        inner = inner_of(optimizer)
        schedule = source_of_rate(inner)
        with replaced((inner, "_learning_rate", 0.0)):
            config = optimizer.get_config()
        inner_config(config)["learning_rate"] = schedule
        return config


def inner_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an optimizer's config that the one that takes the steps is made of, as `inner_of` has it."""
    return config["inner_optimizer"]["config"] if "inner_optimizer" in config else config


def rate_at(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    """Return the rate at a step; NaN where it is no number."""
    source = source_of_rate(optimizer)
    try:
        value = source(step) if isinstance(source, keras.optimizers.schedules.LearningRateSchedule) else source
        return float(np.asarray(keras.ops.convert_to_numpy(value)))
    except Exception:  # a schedule of one's own may raise anything
        return np.nan


def _scheduled(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(source_of_rate(optimizer), keras.optimizers.schedules.LearningRateSchedule)


def _schedule(program: Program, optimizer: keras.optimizers.Optimizer) -> Iterator[Suspicion]:
    if not _scheduled(optimizer):
        return
    epoch = max(1, program.count // 32)
    rates = np.array([rate_at(optimizer, step) for step in np.linspace(0, 3 * epoch, 25).astype(int)])
    later = rate_at(optimizer, 30 * epoch)
    if not np.isfinite(rates).all():
        return
    highest, last = float(rates[:9].max()), float(rates[8])  # within an epoch of batches of 32
    if highest <= 0 or last < FADED * highest:
        step = int(np.argmax(rates[:9] < FADED * highest) * 3 * epoch / 24)
        yield suspect(
            "schedule",
            "a rate that falls too soon",
            say(
                "the schedule brings the rate from {highest} to {last} within {epoch} steps, an epoch in batches of "
                "32: what follows hardly moves.",
                highest=w.number(highest),
                last=w.number(last),
                epoch=epoch,
            ),
            0.55,
            0.9,
            0.2,
            cures=(Cure("schedule", "decay_steps of the whole training", "the rate falls as training ends."),),
            highest=highest,
            after_an_epoch=last,
            step=step,
        )
    elif rates[-1] > 5 * rates[0] > 0 and not later < 5 * rates[-1]:  # a warm-up comes to an end
        yield suspect(
            "schedule",
            "a rate that grows",
            say(
                "the schedule raises the rate from {first} to {last} in {steps} steps.",
                first=w.number(float(rates[0])),
                last=w.number(float(rates[-1])),
                steps=3 * epoch,
            ),
            0.45,
            0.8,
            0.2,
            cures=(Cure("schedule", "a decay_rate below 1", "a rate falls as training ends."),),
            first=rates[0],
            last=rates[-1],
        )


def _others(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[Suspicion]:
    """An optimizer that was built for other weights than the model trains."""
    if not optimizer.built or not model.trainable_variables:
        return
    known = {id(v) for v in trained_by(optimizer)}
    missed = [v for v in model.trainable_variables if id(v) not in known]
    if missed and known:
        yield suspect(
            "optimizer",
            "an optimizer of other weights",
            say(
                "the optimizer was built for other weights: {count} of the model's {all}, {first} the first, are not "
                "among them.",
                count=len(missed),
                all=len(model.trainable_variables),
                first=missed[0].path,
            ),
            0.8,
            0.95,
            0.6,
            cures=(
                Cure(
                    "optimizer",
                    "a new optimizer for each model, and compile after freezing",
                    "it keeps a state a weight.",
                ),
            ),
            missed=len(missed),
        )
