"""In a worker: a run whose program is that of the run before uses what TensorFlow compiled for it.

To trace a small network takes longer than to train it. Such a run makes its model, optimizer and callbacks as any other
does, then lays the values of all their variables into the model of the run before, and goes on with that: what it comes
to is the same, bit for bit. A program is the same if all but its numbers is: what a compiled step has as variables
(weights, random states, what optimizers add up, the learning rate, what `zoo.running.numbers` makes such) and what it
is handed (the batches) may differ. Whatever else differs, or is not known here, is made anew.
"""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from zoo.archive.differences import LABELS, WITHOUT_EFFECT
from zoo.config import resolved
from zoo.startup import drop_kernels

if TYPE_CHECKING:
    import keras

    from zoo.data import Dataset
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes

# Of a config: what decides on initial values and batches alone.
INITIAL = {"seed", "initializer"}
RATE = {"rate_factor", "epochs"}  # and `optimizer.learning_rate`: variables of the optimizer, or of its schedule
# Those that `zoo.running.numbers` makes variables, where they are not 0.
VARYING = {
    "dropout": {"rate"},
    "regularizer": {"l1", "l2", "factor"},
    "clipping": {"clipnorm", "clipvalue", "global_clipnorm"},
    "optimizer": {"weight_decay"},
    "schedule": {"warmup"},
}
BATCHES = {"fold", "label_noise"}  # of `data`
# They leave nothing in a model but values of its variables. One of a person's own may do anything.
CALLBACKS = (
    "zoo.telemetry.gradients.GradientNorms",
    "zoo.telemetry.probe.Probes",
    "zoo.callbacks.StopWhenHopeless",
    "zoo.callbacks.BestModel",
    "zoo.running.sinks.TensorBoard",
    "keras.callbacks.EarlyStopping",
    "keras.callbacks.ReduceLROnPlateau",
    "keras.callbacks.TerminateOnNaN",
)
FIRST = "first_state_of_optimizer"  # the attribute of a model
USES = 32  # of models, between which TensorFlow keeps the kernels of every run's datasets
OTHER_MODELS = ("zoo.models.saved",)  # its file says what is in it


@dataclasses.dataclass
class _Kept:
    """What the run before left: the program that it was, the shapes of its data, and what was compiled for both."""

    program: str
    shapes: list
    data: "Dataset"
    model: "keras.Model"
    norms: "GradientNorms | None"
    probes: "Probes | None"


_many = False
_kept: _Kept | None = None
_uses = 0


def expect_many() -> None:
    """Say that this process does one run after the other, and that nobody looks at a model once its run is over."""
    global _many
    _many = True


def program_of(cfg: DictConfig) -> str | None:
    """Return what the configs of two runs that can use the same compiled model have in common; `None`: it cannot."""
    return common_to(cfg) if _many else None


def common_to(cfg: DictConfig) -> str | None:
    """Return what a config has in common with those of all runs of its program.

    `None` of a run which is like no other: a person's own functions and classes may do anything, and other backends
    compile in ways of their own.
    """
    known = not cfg.preflight and str(cfg.model._target_).startswith("zoo.models.")
    known = known and cfg.model._target_ not in OTHER_MODELS and all(map(_known, _targets(cfg)))
    if not known or any(callback._target_ not in CALLBACKS for callback in cfg.callbacks.values()):
        return None
    content = {key: value for key, value in resolved(cfg).items() if key not in {*WITHOUT_EFFECT, *LABELS, *INITIAL}}
    schedule = content["schedule"]
    scheduled = "_target_" in schedule or schedule.get("warmup")
    if not content["gentler"] and (varies(cfg) or not scheduled):
        content = {key: value for key, value in content.items() if key not in RATE}
        content["optimizer"] = {k: v for k, v in content["optimizer"].items() if k != "learning_rate"}
    if varies(cfg):
        for group, names in VARYING.items():
            content[group] = {k: _any(v) if k in names and v else v for k, v in content[group].items()}
        if "_target_" in schedule:
            content["schedule"] = {k: v if k == "warmup" else _any(v) for k, v in content["schedule"].items()}
    content["data"] = {key: value for key, value in content["data"].items() if key not in BATCHES}
    return json.dumps(content, sort_keys=True, default=str)


def varies(cfg: DictConfig) -> bool:
    """Whether the numbers of a run are variables of its compiled steps, as `zoo.running.numbers` makes them."""
    return cfg.precision == "float32" and not cfg.gentler


def forget_but(program: str | None) -> bool:
    """Let go of what was kept, unless it is of this program; return whether something is."""
    global _kept
    if _kept is not None and _kept.program != program:
        _kept = None
    return _kept is not None


def forget_other_shapes(data: "Dataset") -> bool:
    """Let go of what was kept if it was compiled for data of other shapes; return whether it was."""
    global _kept
    if _kept is None or _kept.shapes == _shapes(data):
        return False
    _kept = None
    return True


def taken_up(
    data: "Dataset", model: "keras.Model", norms: "GradientNorms | None", probes: "Probes | None"
) -> "keras.Model | None":
    """Return the model that was kept, made into that of this run; `None` if there is none, or it is another one.

    Args:
        data: of the run; its training stream gets the pipelines that the run before had made.
        model: of the run, compiled, with the weights that it begins with; of what the optimizer adds up it has nothing
            yet, as to make that takes as long as to make the model.
        norms, probes: its callbacks, new ones; they get what those of the run before had compiled.
    """
    global _kept, _uses
    kept, _kept = _kept, None  # until this run has come to its end: after an error nothing is certain
    if kept is None or not _laid(model, kept.model):
        return None
    _uses += 1
    if _uses % USES == 0:
        drop_kernels(seed=0)  # nothing draws from it
    data.stream.take_over(kept.data.stream)
    if norms is not None and kept.norms is not None:
        norms.take_over(kept.norms)
    if probes is not None and kept.probes is not None:
        probes.take_over(kept.probes)
    return kept.model


def begun(model: "keras.Model") -> "keras.Model":
    """Return a model that is compiled and complete, and remember what its optimizer begins with."""
    untyped: Any = model
    attributes = vars(untyped)  # past Keras' attribute tracking, as nothing of it is tracked
    if _many and FIRST not in attributes:
        optimizer: Any = model.optimizer
        attributes[FIRST] = [variable.numpy() for variable in optimizer.variables]
    return model


def keep(
    program: str | None,
    data: "Dataset",
    model: "keras.Model",
    norms: "GradientNorms | None",
    probes: "Probes | None",
) -> None:
    """Keep for the next run what this one, which is over, had compiled; nothing of a program that is `None`."""
    import keras

    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes

    global _kept
    if program is None or keras.config.backend() != "tensorflow":
        return
    _kept = _Kept(program, _shapes(data), data, model, None, None)
    # In new callbacks, for what these recorded is not kept.
    if norms is not None:
        _kept.norms = GradientNorms(updates=norms.updates)
        _kept.norms.take_over(norms)
    if probes is not None:
        _kept.probes = Probes(None)
        _kept.probes.take_over(probes)


def _laid(new: Any, old: Any) -> bool:
    """Give `old` the state of `new`, which was made by the same config; return whether it could be."""
    from zoo.running.checkpoint import variables_of
    from zoo.running.numbers import numbers_of
    from zoo.telemetry.keras_private import flat_layers, source_of_rate
    from zoo.telemetry.layers import inner_of

    rates = source_of_rate(inner_of(new.optimizer)), source_of_rate(inner_of(old.optimizer))
    optimizer = {id(v) for of_one in (new, old) for v in of_one.optimizer.variables}
    variables = tuple([v for v in variables_of(of_one) if id(v) not in optimizer] for of_one in (new, old))
    layers: tuple[list[Any], list[Any]] = flat_layers(new), flat_layers(old)
    kinds = [[(tuple(v.shape), v.dtype, v.trainable) for v in group] for group in variables]
    if kinds[0] != kinds[1] or [*map(type, layers[0])] != [*map(type, layers[1])]:
        return False
    numbers = numbers_of(new), numbers_of(old)
    if getattr(numbers[0], "kinds", None) != getattr(numbers[1], "kinds", None):
        return False
    if numbers[0] is not None and numbers[1] is not None:
        numbers[1].set(numbers[0].values)
    for value, variable in zip(*variables, strict=True):
        variable.assign(value.value)
    for value, variable in zip(vars(old)[FIRST], old.optimizer.variables, strict=True):
        variable.assign(rates[0].value if variable is rates[1] else value)
    for made, layer in zip(*layers, strict=True):
        # Past Keras' attribute tracking, as nothing of these is tracked. The check-up and the verdict ask for them.
        vars(layer).update({name: thing for name, thing in vars(made).items() if name.endswith("_initializer")})
    old.reset_metrics()
    vars(old).pop("history", None)
    return True


def _targets(node: Any) -> list[str]:
    """Return every `_target_` in a config."""
    if OmegaConf.is_list(node):
        return [target for item in node for target in _targets(item)]
    if not isinstance(node, DictConfig):
        return []
    found = [target for key, value in node.items_ex(resolve=False) for target in _targets(value) if key != "_target_"]
    return found + ([str(node._target_)] if node.get("_target_") else [])


def _any(value: Any) -> Any:
    """Return the same for any number, or any list of so many."""
    if isinstance(value, list):
        return [_any(item) for item in value]
    return "a number" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _known(target: str) -> bool:
    return target.startswith(("keras.", "zoo."))


def _shapes(data: "Dataset") -> list:
    """Return of the data what compiled functions depend on."""
    parts = [_shape(part) for part in (data.train, data.validation, data.test)]
    return [data.input_shape, data.classes, data.task, data.train_size, data.batch_size, parts]


def _shape(part: Any) -> list:
    if isinstance(part, tuple):
        return [(array.shape, str(array.dtype)) for array in part]
    return [str(part.element_spec), int(part.cardinality())]
