"""Changes to the numbers that a person's own classes are given, of which the largest may weigh a term of the loss."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from zoo.repairing.change import Change, Keyed
from zoo.repairing.copying import given_to
from zoo.repairing.subject import Subject

FACTORS = {"smaller weight": 0.1, "much smaller weight": 0.01}


def changes(subject: Subject) -> Keyed:
    """Yield a smaller number of those that a class of one's own is given; nothing of programs without such a class."""
    for owner, given in _owners(subject):
        numbers = {name: value for name, value in given.items() if isinstance(value, float) and value > 0}
        if not numbers:
            continue
        name = max(numbers, key=lambda name: numbers[name])
        kind = type(owner).__name__
        for key, factor in FACTORS.items():
            value = factor * numbers[name]
            yield (
                key,
                Change(
                    f"{kind}({name}={value:g})",
                    "regularization",
                    "if it weighs a term of the loss, that term outweighs the others.",
                    lambda plan, owner=owner, name=name, value=value: plan.setting(owner.name, **{name: value}),
                    slot="weight",
                    by_hand=f"{kind}(..., {name}={value:g})  # was {numbers[name]:g}",
                ),
            )
        return


def _owners(subject: Subject) -> Iterator[tuple[keras.layers.Layer, Mapping[str, Any]]]:
    if not subject.editable:
        yield subject.model, given_to(subject.model)
        return
    for layer in subject.named.values():
        if type(layer).__module__.split(".")[0] != "keras":
            yield layer, layer.get_config()
