"""The check-up of a run's own program: before its first step, and again by what training came to."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.checkup.check import Examination, examined
from zoo.checkup.doctor import judged
from zoo.checkup.program import Program
from zoo.checkup.training import Training
from zoo.telemetry.findings import Verdict
from zoo.telemetry.keras_private import flat_layers

if TYPE_CHECKING:
    import keras

    from zoo.data import Dataset
    from zoo.telemetry.history import GradientHistory
    from zoo.telemetry.probe import Probes

ANSWERING = "compiled_answers"  # the attribute of a model


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
    program = Program(
        model, *data.train, validation, shuffled=True, answering=_answering(model, *data.train[0].shape[1:])
    )
    program.probed = probes.results[0]
    return examined(program, thorough=thorough)


def _answering(model: Any, *shape: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what answers (samples, *shape) in inference, compiled once for all runs that are trained in this model.

    `None` where there may be more to it than one array and the layers' own arithmetic: a model of a person's own, and
    another backend than TensorFlow.
    """
    import keras

    layers = flat_layers(model)
    known = all(type(layer).__module__.startswith(("keras.", "zoo.")) for layer in layers)
    if keras.config.backend() != "tensorflow" or not known or len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    import tensorflow as tf

    compiled = vars(model).get(ANSWERING)
    if compiled is None:

        @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
        def compiled(x: Any) -> Any:
            return tf.cast(model(x, training=False), tf.float32)

        vars(model)[ANSWERING] = compiled  # past Keras' attribute tracking, as nothing of it is tracked
    return lambda x: compiled(x).numpy()


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
