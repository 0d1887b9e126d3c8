"""Which layer owns which variable."""

import keras


def layers_in_order(model: keras.Model) -> list[keras.layers.Layer]:
    """Return every layer of `model`, nested ones too: in forward order, of subclassed models in order of creation."""
    # Keras has no public walk through nested layers; this one has been there since Keras 3.0.
    return list(model._flatten_layers(recursive=True))


def owners(model: keras.Model, variables: list[keras.Variable]) -> tuple[list[str], list[int]]:
    """Find the layers that own `variables`.

    Returns:
        The names of the owning layers, in forward order and without repeats of a name (a nested layer whose name is
        taken gets its model's name in front), and for each variable the index of its layer.
    """
    wanted = {id(v) for v in variables}
    names, found = [], {}
    for layer in [*layers_in_order(model), model]:
        own = [v for v in layer._trainable_variables if id(v) in wanted and id(v) not in found]
        if own:
            found.update({id(v): len(names) for v in own})
            names.append(_unused(layer, own[0], names))
    for v in variables:  # a variable that a custom optimizer or train step trains, and that no layer owns
        if id(v) not in found:
            found[id(v)] = len(names)
            names.append(v.path)
    return names, [found[id(v)] for v in variables]


def _unused(layer: keras.layers.Layer, variable: keras.Variable, taken: list[str]) -> str:
    name = layer.name
    if name in taken:
        name = variable.path.rpartition("/")[0] or name
    candidate, n = name, 2
    while candidate in taken:
        candidate, n = f"{name}_{n}", n + 1
    return candidate
