"""The check-up of a run's own program: before its first step, and again by what training came to."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zoo.checkup.check import Examination, examined
from zoo.checkup.doctor import judged
from zoo.checkup.program import Program
from zoo.checkup.training import Training
from zoo.telemetry.findings import Verdict

if TYPE_CHECKING:
    import keras

    from zoo.data import Dataset
    from zoo.telemetry.history import GradientHistory
    from zoo.telemetry.probe import Probes


def examination_of(
    model: "keras.Model", data: "Dataset", probes: "Probes | None", *, thorough: bool
) -> Examination | None:
    """Look at a program before its first step; `None` for data that are read from files, or without a probe.

    Args:
        model: compiled, with the weights that it begins with.
        data: of the run.
        probes: those of the run, whose first probe is made here.
        thorough: with what takes seconds: trials of other rates, and what plain methods tell.
    """
    if probes is None or not isinstance(data.train, tuple):
        return None
    probes.start(model)
    validation = data.validation if isinstance(data.validation, tuple) and len(data.validation[0]) else None
    program = Program(model, *data.train, validation, shuffled=True)
    program.probed = probes.results[0]
    return examined(program, thorough=thorough)


def with_findings(
    verdict: Verdict,
    examination: Examination | None,
    history: "GradientHistory",
    probes: "Probes | None",
    columns: Mapping[str, np.ndarray],
) -> Verdict:
    """Return the verdict on the gradients with what else was found; of gradients that are well, the fault found.

    Args:
        verdict: on the gradients.
        examination: of the program before its first step; `None` if there was none.
        history: of the steps.
        probes: those of the run.
        columns: (epochs,) of `history.csv`, by the names of the metrics.
    """
    if examination is None or probes is None:
        return verdict
    logs = [{name: float(values[i]) for name, values in columns.items()} for i in range(len(columns["loss"]))]
    training = Training.of(examination.program, verdict, probes.results, history, logs, examination.told)
    found = judged(examination, training)
    return dataclasses.replace(verdict, findings=found.findings) if verdict.sick else found
