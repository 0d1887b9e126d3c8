"""What of a recorded pass is measured: which tensors, and for which layer."""

import dataclasses
from collections.abc import Callable

import keras

from zoo.telemetry.calls import Call, Recorder, is_floating
from zoo.telemetry.layers import cells_of, owners

ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
STREAMS = 4  # how many inputs back the other term of a sum is looked for
OPERATIONS = ("relu", "sigmoid", "tanh", "softsign", "elu", "selu", "gelu", "silu", "softplus", "softmax")


@dataclasses.dataclass(frozen=True)
class Point:
    """One call of a layer that is measured.

    Attributes:
        keys: of the deltas, one for each output.
        outputs: places in `Plan.tensors` of the outputs; the first is the one that is looked at.
        after: place of the activation that follows the first.
    """

    keys: list[tuple]
    outputs: list[int]
    after: int


@dataclasses.dataclass
class Site:
    """One layer that owns trainable variables.

    Attributes:
        name: as in `Probe.layers`.
        variables: indices in the model's trainable variables.
        has_kernel: whether some of them lie between units.
        activation: name of the function that follows, "" if none does.
        points: its own outputs and the activations that follow them, one a call.
        preactivation: whether the outputs are those before the layer's own softmax or sigmoid.
        layer: itself; `None` for variables that no layer owns.
    """

    name: str
    variables: list[int]
    has_kernel: bool
    activation: str = ""
    points: list[Point] = dataclasses.field(default_factory=list)
    preactivation: bool = False
    layer: keras.layers.Layer | None = None


@dataclasses.dataclass
class Plan:
    """All that is measured. Numbers are places in `tensors`.

    Attributes:
        sites: the layers, in order.
        tensors: of the pass.
        loops: (name, variables, states, key, backwards) of each recurrent cell's run.
        attentions: (name, query, key, mask or None, causal) of each attention's calls.
        residuals: (name, branch, sum, streams) of each addition that a branch ends in; of what may be a bare `+`, one
            of the streams is the other term.
    """

    sites: list[Site]
    tensors: list = dataclasses.field(default_factory=list)
    loops: list[tuple] = dataclasses.field(default_factory=list)
    attentions: list[tuple] = dataclasses.field(default_factory=list)
    residuals: list[tuple] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, model: keras.Model, recorder: Recorder, reaches: Callable) -> "Plan":
        """Match what was recorded with the layers that own trainable variables.

        Args:
            model: that ran.
            recorder: of the pass.
            reaches: whether a tensor can be used outside of the loop that it may have been made in.
        """
        names, index, layers = owners(model, model.trainable_variables, recorder.order)
        sites = [Site(name, [], False, layer=layer) for name, layer in zip(names, layers, strict=True)]
        for i, owner in enumerate(index):
            sites[owner].variables.append(i)
            between = len(model.trainable_variables[i].shape) > 1
            sites[owner].has_kernel |= between and not isinstance(layers[owner], ACTIVATION_LAYERS)
        made = cls(sites)
        known = [call for call in recorder.calls if call.outputs and all(map(reaches, call.outputs))]
        made._place_sites(recorder, known)
        made._place_loops(recorder, reaches)
        made._place_attentions(recorder, reaches)
        made._place_residuals(known)
        made._place_bare_sums(known, reaches)
        return made

    def _add(self, tensor) -> int:
        if not hasattr(self, "_places"):
            self._places: dict[int, int] = {}
        if id(tensor) not in self._places:
            self._places[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._places[id(tensor)]

    def _place_sites(self, recorder: Recorder, known: list[Call]) -> None:
        reachable = {id(call) for call in known}
        kernels = {id(site.layer) for site in self.sites if site.has_kernel}
        consumers: dict[int, list[Call]] = {}
        for call in known:
            for tensor in call.inputs:
                consumers.setdefault(id(tensor), []).append(call)
        by_layer = {id(site.layer): site for site in self.sites if site.layer is not None}
        taken = set()
        for call in recorder.calls:
            site = by_layer.get(id(call.layer))
            call = _reachable(call, reachable)
            if site is None or call is None or (site.name, call.number) in taken:
                continue
            taken.add((site.name, call.number))
            after = call if activation_of(call.layer) else _following(call, consumers, kernels)
            site.activation = site.activation or activation_of((after or call).layer)
            found = {("output", call.number, i): t for i, t in enumerate(call.outputs) if is_floating(t)}
            if _is_outcome(call, recorder, consumers):
                site.preactivation, found = True, {call.before_key: call.before}
            if found:
                places = list(map(self._add, found.values()))
                site.points.append(Point(list(found), places, self._add((after or call).outputs[0])))

    def _place_loops(self, recorder: Recorder, reaches: Callable) -> None:
        by_layer = {id(site.layer): site for site in self.sites if site.layer is not None}
        for loop in recorder.loops:
            stacked = len(cells_of(loop.layer)) > 1
            site = by_layer.get(id(loop.cell if stacked else loop.layer))
            if site is None or not reaches(loop.states):
                continue
            states = self._add(loop.states)
            self.loops.append((site.name, site.variables, states, loop.key, loop.backwards))
            if stacked:
                site.activation = activation_of(loop.cell)
                site.points.append(Point([loop.key], [states], states))

    def _place_attentions(self, recorder: Recorder, reaches: Callable) -> None:
        for layer, query, key, mask, causal in recorder.attentions:
            if len(query.shape) != 4 or not (reaches(query) and reaches(key)):
                continue
            mask = self._add(mask) if mask is not None and reaches(mask) else None
            self.attentions.append((layer.name, self._add(query), self._add(key), mask, causal))

    def _place_residuals(self, known: list[Call]) -> None:
        """Find additions of which one input went through more layers than the other: that one is the branch."""
        kernels = {id(site.layer) for site in self.sites if site.has_kernel}
        weighty: set[int] = set()  # calls of layers with a kernel, or with such a layer inside
        for call in known:
            inner = call if id(call.layer) in kernels else None
            while inner is not None:
                weighty.add(id(inner))
                inner = inner.within
        depth: dict[int, int] = {}
        for call in known:
            reached = max((depth.get(id(t), 0) for t in call.inputs), default=0) + (id(call) in weighty)
            if type(call.layer).__name__ == "Add" and len(call.inputs) == 2:
                first, second = call.inputs
                one, other = depth.get(id(first), 0), depth.get(id(second), 0)
                if one != other and tuple(first.shape) == tuple(second.shape) and reached:
                    branch = first if one > other else second
                    self.residuals.append((call.layer.name, self._add(branch), self._add(call.outputs[0]), []))
            for tensor in call.outputs:
                depth[id(tensor)] = max(depth.get(id(tensor), 0), reached)

    def _place_bare_sums(self, known: list[Call], reaches: Callable) -> None:
        """Find inputs that no call made, and that may be the sum of the call before and of an earlier input.

        A `+` in a layer's own code is not called as a layer is. Only of sequences, (batch, steps, units): elsewhere it
        is the custom to add by a layer.
        """
        inner = {id(call.within) for call in known}
        moments = [(c.begun, c.inputs[0]) for c in known if c.inputs]
        moments += [(c.ended - 0.5, c.outputs[0]) for c in known if id(c) in inner]
        ended = sorted(known, key=lambda call: call.ended)
        streams: list = []
        explained: set[int] = set()
        number, latest = 0, None
        for moment, tensor in sorted(moments, key=lambda pair: pair[0]):
            while number < len(ended) and ended[number].ended < moment:
                latest = ended[number]
                explained |= {id(t) for t in latest.outputs}
                number += 1
            if len(tensor.shape) != 3 or not reaches(tensor):
                continue
            same = [t for t in streams if tuple(t.shape) == tuple(tensor.shape)]
            if id(tensor) not in explained and same and latest is not None:
                branch = latest.outputs[0]
                if tuple(branch.shape) == tuple(tensor.shape):
                    places = (self._add(branch), self._add(tensor), [self._add(t) for t in same[-STREAMS:]])
                    self.residuals.append((latest.layer.name, *places))
            explained.add(id(tensor))
            if not any(t is tensor for t in streams):
                streams.append(tensor)


def _reachable(call: Call | None, reachable: set[int]) -> Call | None:
    """Return the call itself or, where it ran within a loop, the innermost around it that did not."""
    while call is not None and id(call) not in reachable:
        call = call.within
        if call is not None and isinstance(call.layer, keras.Model):
            return None
    return call


def _is_outcome(call: Call, recorder: Recorder, consumers: dict) -> bool:
    """Whether the layer's own softmax or sigmoid makes what the model returns, and no other layer takes."""
    return call.before is not None and any(id(t) in recorder.outcomes and id(t) not in consumers for t in call.outputs)


def activation_of(layer: keras.layers.Layer) -> str:
    """Return the name of the function that `layer` applies, "" if it applies none."""
    if isinstance(layer, ACTIVATION_LAYERS[1:]):
        return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}[type(layer).__name__]
    if not isinstance(layer, keras.layers.Layer):
        name = type(layer).__name__.lower()
        return name if name in OPERATIONS else ""
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "")
    return "" if name == "linear" and not isinstance(layer, keras.layers.Activation) else name


def _following(call: Call, consumers: dict[int, list[Call]], kernels: set[int]) -> Call | None:
    """Return the first activation that the call's output reaches before another layer with a kernel."""
    seen, queue = set(), [call]
    while queue:
        for tensor in queue.pop(0).outputs:
            for consumer in consumers.get(id(tensor), []):
                if id(consumer) in seen or id(consumer.layer) in kernels:
                    continue
                if activation_of(consumer.layer):
                    return consumer
                seen.add(id(consumer))
                queue.append(consumer)
    return None
