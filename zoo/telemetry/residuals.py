"""Where a branch is added to a stream."""

from collections.abc import Callable, Iterator

from zoo.telemetry.calls import Call

STREAMS = 4  # how many inputs back the other term of a sum is looked for


def added_by_layer(known: list[Call], kernels: set[int]) -> Iterator[tuple]:
    """Find additions (layers, or operations of a functional model) of which one input went through more layers.

    Args:
        known: the calls of a pass.
        kernels: ids of the layers with a kernel.

    Yields:
        The call that adds, the branch, the sum.
    """
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
            if one != other and tuple(first.shape) == tuple(second.shape):
                yield call, first if one > other else second, call.outputs[0]
        for tensor in call.outputs:
            depth[id(tensor)] = max(depth.get(id(tensor), 0), reached)


def added_bare(known: list[Call], reaches: Callable) -> Iterator[tuple]:
    """Find tensors that no call made, and that may be the sum of the last call's output and of an earlier input.

    A `+` in a layer's own code is not called as a layer is. Only of sequences, (batch, steps, units): elsewhere it is
    the custom to add by a layer.

    Yields:
        The call that the branch ends with, the branch, what may be the sum, and those of which one may be its other
        term.
    """
    outer = {id(call.within) for call in known}
    moments = [(call.begun, call.inputs[0]) for call in known if call.inputs]
    # What a layer gives is looked at just before its own end, when the last call is one that it made itself.
    moments += [(call.ended - 0.5, call.outputs[0]) for call in known if id(call) in outer]
    ended = iter(sorted(known, key=lambda call: call.ended))
    streams: list = []
    explained: set[int] = set()
    latest, coming = None, next(ended, None)
    for moment, tensor in sorted(moments, key=lambda pair: pair[0]):
        while coming is not None and coming.ended < moment:
            latest, coming = coming, next(ended, None)
            explained |= {id(t) for t in latest.outputs}
        if len(tensor.shape) != 3 or not reaches(tensor):
            continue
        same = [t for t in streams if tuple(t.shape) == tuple(tensor.shape)]
        if id(tensor) not in explained and same and latest is not None:
            branch = latest.outputs[0]
            if tuple(branch.shape) == tuple(tensor.shape):
                yield latest, branch, tensor, same[-STREAMS:]
        explained.add(id(tensor))
        if not any(t is tensor for t in streams):
            streams.append(tensor)
