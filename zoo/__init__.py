"""See the gradient of every layer at every step of any Keras model, and learn why a deep network does not train."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.checkup.check import check
    from zoo.checkup.doctor import Doctor
    from zoo.repairing.repair import Repaired, repair
    from zoo.running.make import build
    from zoo.sweeping.alone import train
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.history import GradientHistory
    from zoo.telemetry.language import use_language
    from zoo.telemetry.probe import probe
    from zoo.telemetry.verdict import diagnose

__all__ = [
    "Doctor",
    "GradientHistory",
    "GradientNorms",
    "Repaired",
    "build",
    "check",
    "diagnose",
    "probe",
    "repair",
    "train",
    "use_language",
]

_HOMES = {
    "Doctor": "zoo.checkup.doctor",
    "check": "zoo.checkup.check",
    "Repaired": "zoo.repairing.repair",
    "repair": "zoo.repairing.repair",
    "GradientNorms": "zoo.telemetry.gradients",
    "GradientHistory": "zoo.telemetry.history",
    "probe": "zoo.telemetry.probe",
    "diagnose": "zoo.telemetry.verdict",
    "build": "zoo.running.make",
    "train": "zoo.sweeping.alone",
    "use_language": "zoo.telemetry.language",
}


def __getattr__(name: str):
    """Import a public name when it is first used: `import zoo` itself loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
