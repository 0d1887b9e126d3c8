"""What a pass hands back: tensors to measure, or on an accelerator what was measured there."""

import dataclasses
from typing import Any

import keras
import numpy as np

from zoo.telemetry.plan import Plan
from zoo.telemetry.probe_table import measure


@dataclasses.dataclass
class Outline:
    """What of a pass is known without its numbers, which a compiled pass makes anew at each call.

    Attributes:
        plan: of the layers; without its tensors.
        events: for each gradient that the step took, the indices of the variables that it trains by it and the keys of
            its deltas.
        samples: in the batch.
        on_host: whether tensors lie in the processor's own memory.
    """

    plan: Plan
    events: list[tuple[set[int], list[tuple]]]
    samples: int
    on_host: bool

    @classmethod
    def of(cls, plan: Plan, losses: list, events: list[tuple], gradients: list, samples: int, on_host: bool) -> tuple:
        """Part a pass into an outline and the tensors that go with it; arguments as of `measures.measure`.

        Returns:
            The outline, and a structure of tensors for `finish`.
        """
        raw = [*(place for _, place, _ in plan.lookups), *keras.tree.flatten(plan.answers)]
        tensors = {"losses": losses, "raw": {str(p): plan.tensors[p] for p in raw if p is not None}}
        if on_host:
            deltas = [list(found.values()) for _, found in events]
            tensors |= {"values": plan.tensors, "deltas": deltas, "gradients": gradients}
        else:
            tensors["measured"] = measure(plan, plan.tensors, events, gradients, samples, keras.ops)
        plan = dataclasses.replace(plan, tensors=[])
        return cls(plan, [(trained, list(found)) for trained, found in events], samples, on_host), tensors

    def finish(self, tensors: dict) -> tuple[np.ndarray, Any, dict]:
        """Return the losses that the step takes gradients of; what `measures.measure` returns; and by their
        places the tensors that are looked at as they are, such as the model's answers.
        """
        losses, numbers = np.asarray([_array(t) for t in tensors["losses"]], np.float32), tensors.get("measured")
        if self.on_host:
            values, gradients = (
                [None if t is None else _array(t) for t in tensors[k]] for k in ("values", "gradients")
            )
            events = [
                (trained, {key: _array(d) for key, d in zip(keys, deltas, strict=True)})
                for (trained, keys), deltas in zip(self.events, tensors["deltas"], strict=True)
            ]
            with np.errstate(all="ignore"):  # that a number left float32 is what the probe is there to show
                numbers = measure(self.plan, values, events, gradients, self.samples, np)
        raw = {int(place): np.asarray(_array(t)) for place, t in tensors["raw"].items()}
        return losses, keras.tree.map_structure(lambda t: np.asarray(_array(t), np.float32), numbers), raw


def _array(tensor) -> Any:
    if isinstance(tensor, np.ndarray | np.generic):
        return tensor
    try:
        return np.from_dlpack(tensor)  # without a copy, where there is a way
    except (AttributeError, BufferError, RuntimeError, TypeError):  # half precision; what takes part in a gradient
        return keras.ops.convert_to_numpy(tensor)
