"""What of a recorded pass is measured: which tensors, and for which layer."""

import dataclasses
from collections.abc import Callable

import keras

from zoo.telemetry.calls import Call, Recorder, is_floating
from zoo.telemetry.layers import cells_of, owners
from zoo.telemetry.residuals import added_bare, added_by_layer

ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
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
        lookups: (name, indices, rows) of each embedding's calls.
        answers: what the model returned to its training step, a structure; `None` if it cannot be told.
    """

    sites: list[Site]
    tensors: list = dataclasses.field(default_factory=list)
    loops: list[tuple] = dataclasses.field(default_factory=list)
    attentions: list[tuple] = dataclasses.field(default_factory=list)
    residuals: list[tuple] = dataclasses.field(default_factory=list)
    lookups: list[tuple] = dataclasses.field(default_factory=list)
    answers: object = None

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
        made._place_residuals(known, reaches)
        made._place_lookups(known, reaches)
        made._place_answers(recorder, reaches)
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
        named = _names([layer for layer, *_ in recorder.attentions])
        for layer, query, key, mask, causal in recorder.attentions:
            if len(query.shape) != 4 or not (reaches(query) and reaches(key)):
                continue
            mask = self._add(mask) if mask is not None and reaches(mask) else None
            self.attentions.append((named[id(layer)], self._add(query), self._add(key), mask, causal))

    def _place_residuals(self, known: list[Call], reaches: Callable) -> None:
        kernels = {id(site.layer) for site in self.sites if site.has_kernel}
        found: list[tuple] = [(*added, []) for added in added_by_layer(known, kernels)]
        found += added_bare(known, reaches)
        named = _names([call.layer for call, *_ in found])
        for call, branch, total, streams in sorted(found, key=lambda added: added[0].ended):
            places = (self._add(branch), self._add(total), [self._add(t) for t in streams])
            self.residuals.append((named[id(call.layer)], *places))

    def _place_lookups(self, known: list[Call], reaches: Callable) -> None:
        names = {id(site.layer): site.name for site in self.sites if site.layer is not None}
        for call in known:
            known_layer = isinstance(call.layer, keras.layers.Embedding) and id(call.layer) in names
            if known_layer and call.inputs and reaches(call.inputs[0]):
                self.lookups.append((names[id(call.layer)], self._add(call.inputs[0]), call.layer.input_dim))

    def _place_answers(self, recorder: Recorder, reaches: Callable) -> None:
        answers = list(recorder.outcomes.values()) if recorder.answers is None else recorder.answers
        if all(keras.ops.is_tensor(t) and reaches(t) for t in keras.tree.flatten(answers)):
            self.answers = keras.tree.map_structure(self._add, answers)
        elif recorder.answers is None:
            self.answers = [self._add(t) for t in answers if reaches(t)]


def _names(layers: list) -> dict[int, str]:
    """Return the name of each, by its id; where several have one name, their paths."""
    unique = {id(layer): layer for layer in layers}
    names = [layer.name for layer in unique.values()]
    return {key: getattr(a, "path", a.name) if names.count(a.name) > 1 else a.name for key, a in unique.items()}


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
