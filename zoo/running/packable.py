"""Which runs can be packed: trained beside each other by one compiled function, as `zoo.running.pack` does."""

from omegaconf import DictConfig, OmegaConf

from zoo.config import resolved

MODELS = ("zoo.models.mlp",)
# They update each entry of a variable by what was of this entry alone, and by numbers that all entries share.
OPTIMIZERS = (
    *(f"keras.optimizers.{name}" for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax")),
    *("keras.optimizers.Nadam", "keras.optimizers.Lion", "zoo.optimizers.EMAMomentum"),
)
CALLBACKS = (  # that look at a training between its epochs alone
    "zoo.telemetry.gradients.GradientNorms",
    "zoo.telemetry.probe.Probes",
    "zoo.callbacks.StopWhenHopeless",
    "zoo.callbacks.BestModel",
    "zoo.running.sinks.TensorBoard",
    "keras.callbacks.EarlyStopping",
    "keras.callbacks.ReduceLROnPlateau",
)
MOST = 24  # members of a pack: more are no faster
# Multiply-adds of a forward pass over a batch, below which most of a step is the calls of its operations.
SMALL = 2e6


def obstacle(cfg: DictConfig, program: str | None) -> str | None:
    """Return what in a run's config keeps it from being packed, in words; `None` if nothing does.

    Args:
        cfg: of the run.
        program: what `reuse.common_to` says of it.
    """
    target = str(cfg.model._target_)
    if target not in MODELS:
        return f"{target.rpartition('.')[2]} is no MLP"
    optimizer = resolved(cfg.optimizer)
    if optimizer["_target_"] not in OPTIMIZERS:
        return f"{optimizer['_target_']} is not known to update each weight by itself"
    for name in ("gradient_accumulation_steps", "use_ema"):
        if optimizer.get(name):
            return f"optimizer.{name} is set"
    for callback in cfg.callbacks.values():
        if callback._target_ not in CALLBACKS:
            return f"{callback._target_} may look at single batches"
    for name in ("constraint", "gentler", "class_weight"):
        if cfg[name]:
            return f"{name} is set"
    if cfg.precision != "float32":
        return f"precision={cfg.precision}"
    if OmegaConf.select(cfg, "data.augmentation") not in (None, "none"):
        return f"data.augmentation={cfg.data.augmentation}"
    for name in ("preflight", "jit_compile", "deterministic"):
        if cfg[name]:
            return f"{name}=true"
    if "${hydra:" in str(OmegaConf.to_container(cfg, resolve=False)):
        return "its config asks Hydra for values"
    return None if program is not None else "there are functions or classes of your own in it"
