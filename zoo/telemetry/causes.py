"""Which of the known causes a sick verdict has: what the first of its cures would change."""

from zoo.telemetry.cures import CLIPPED, LARGE_INPUT, RECTIFIERS
from zoo.telemetry.faults import Fault
from zoo.telemetry.setting import Setting

ALONG = {
    "loss": "loss",
    "output": "output",
    "rows": "inputs",
    "latent": "regularization",
    "use": "code",
    "contest": "rate",
    "time": "initializer",
}
SQUASHING = ("sigmoid", "hard_sigmoid", "tanh", "softsign")


def cause_of(name: str, fault: Fault | None, setting: Setting | None, activations: list[str], **known) -> str:
    """Return the cause, one of `findings.CAUSES`; arguments as of `cures.cures_for`."""
    setting, fault = setting or Setting(), fault or Fault(name, None, "")
    if name == "stalled":
        return "optimizer" if known.get("clipped", 1.0) < CLIPPED else "rate"
    if fault.along in ALONG:
        return ALONG[fault.along]
    if name == "unstable" or (known.get("began") and name in ("dead", "saturated")):
        return "rate"
    if fault.layer in setting.zeros:
        return "initializer"
    if known.get("largest_input", 0.0) > LARGE_INPUT and name in ("saturated", "exploding", "dead"):
        return "inputs"
    if name == "vanishing" and activations:
        squashing = sum(activation in SQUASHING for activation in activations)
        rectifying = sum(activation in RECTIFIERS for activation in activations)
        return "activation" if squashing > rectifying else "initializer" if rectifying else "depth"
    return "initializer"
