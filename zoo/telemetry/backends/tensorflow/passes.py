"""The probe's pass in TensorFlow."""

import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.telemetry.calls import Recorder
from zoo.telemetry.dry_step import Assigned, without_update
from zoo.telemetry.jacobian import singular_values
from zoo.telemetry.keras_private import raw_value
from zoo.telemetry.plan import Plan
from zoo.telemetry.probe_table import SCALE
from zoo.telemetry.reading import Outline

# To trace a pass takes longer than some passes operation by operation: it is traced for the one after these.
UNTRACED = 5


class Pass:
    """The training step over a batch, without its update; it leaves the model's state as it was."""

    def __init__(self, model: keras.Model):
        self.model = model
        self._traced = tf.function(self._run, autograph=False)
        self._count = 0
        self._tracer = self  # that traces
        self._written: dict[int, keras.Variable] = {}
        self._outlines: dict[tuple, Outline] = {}  # of what was traced, which makes none at a later call

    def begin_anew(self) -> None:
        """Run as one that was just made does: what was traced waits until that one would trace."""
        self._count = 0

    def __call__(self, x, y) -> tuple[Outline, dict]:
        """Return an outline and its tensors."""
        self._count += 1
        if self._count <= UNTRACED or self.model.run_eagerly:
            assigned = Assigned()
            try:
                with assigned.watched(_copy):
                    tensors = self._run(x, y)
            finally:  # a batch that does not fit the loss raises after dropout has drawn
                assigned.restore()
            self._written |= {key: variable for key, (variable, _) in assigned.before.items()}
            return self._outline, tensors
        return self._tracer._run_traced(x, y)

    def share(self, other: "Pass") -> None:
        """Let `other`, of the same model, trace for both, and at once: for many it does not take longer."""
        self._tracer, self._count = other._tracer, UNTRACED

    def _run_traced(self, x, y) -> tuple[Outline, dict]:
        traced, count = Assigned(), self._traced.experimental_get_tracing_count()
        with traced.watched(lambda variable: None):
            step = self._traced.get_concrete_function(x, y)
        self._written |= {key: variable for key, (variable, _) in traced.before.items()}
        assigned = Assigned()
        assigned.before = {key: (variable, _copy(variable)) for key, variable in self._written.items()}
        known = {id(raw_value(v)) for v in [*self.model.variables, *self._written.values()]}
        others = [(v, tf.identity(v)) for v in step.variables if id(v) not in known]  # TensorFlow's own
        tensors = self._traced(x, y)
        kind = tuple(None if t is None else (tuple(t.shape), t.dtype) for t in keras.tree.flatten((x, y)))
        if self._traced.experimental_get_tracing_count() > count:
            self._outlines[kind] = self._outline
        assigned.restore()
        for variable, value in others:
            variable.assign(value)
        return self._outlines[kind], tensors

    def _run(self, x, y):
        self._events, self._tapes, self._losses = [], [], []
        self._gradients: list[Any] = [None] * len(self.model.trainable_variables)
        self._place = {}
        for i, variable in enumerate(self.model.trainable_variables):
            self._place |= {id(variable): i, id(raw_value(variable)): i}
        self._recorder = recorder = Recorder(zero=self._zero)
        with (
            _tape("gradient", self._gradient),
            _tape("__enter__", self._enter),
            _tape("__exit__", self._exit),
            recorder.watching(self.model),
            without_update(self.model, "apply", self._apply),
        ):
            self.model.train_step(keras.utils.pack_x_y_sample_weight(x, y))
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        plan = Plan.of(self.model, recorder, lambda t: getattr(t, "graph", None) is graph)
        samples = keras.tree.flatten(x)[0].shape[0]
        self._outline, tensors = Outline.of(plan, self._losses, self._events, self._gradients, samples, _on_host())
        del self._recorder, self._events, self._losses, self._gradients  # they hold every activation
        return tensors

    def _enter(self, original, tape):
        self._tapes.append(tape)
        return original(tape)

    def _exit(self, original, tape, *args):
        self._tapes.remove(tape)
        return original(tape, *args)

    def _zero(self, key, shape, dtype):
        zero = tf.zeros(shape, dtype)
        for tape in self._tapes:
            tape.watch(zero)
        self._recorder.zeros[key] = zero
        return zero

    def _gradient(self, original, tape, target, sources, output_gradients=None, **options):
        flat = tf.nest.flatten(sources)
        trained = {self._place[id(s)] for s in flat if id(s) in self._place}
        if not trained or output_gradients is not None:
            return original(tape, target, sources, output_gradients, **options)
        self._losses.append(tf.add_n([tf.reduce_sum(tf.cast(t, tf.float32)) for t in tf.nest.flatten(target)]))
        wanted = self._recorder.differentiable()
        scale = tf.nest.map_structure(lambda t: tf.fill(tf.shape(t), tf.cast(SCALE, t.dtype)), target)
        found = original(tape, target, [*flat, *wanted.values()], scale, **options)
        deltas = {
            key: tf.convert_to_tensor(d) for key, d in zip(wanted, found[len(flat) :], strict=True) if d is not None
        }
        self._events.append((trained, deltas))
        return tf.nest.pack_sequence_as(sources, [_unscaled(g) for g in found[: len(flat)]])

    def _apply(self, grads, trainable_variables=None):
        variables = self.model.trainable_variables if trainable_variables is None else trainable_variables
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is not None and id(variable) in self._place:
                self._gradients[self._place[id(variable)]] = tf.convert_to_tensor(gradient)

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        return singular_values(self.model, x, _slope)


@contextlib.contextmanager
def _tape(name: str, method):
    """Within it, `method(original, tape, ...)` takes the place of a method of every gradient tape."""
    original = getattr(tf.GradientTape, name)
    setattr(tf.GradientTape, name, lambda tape, *args, **kwargs: method(original, tape, *args, **kwargs))
    try:
        yield
    finally:
        setattr(tf.GradientTape, name, original)


def _copy(variable: keras.Variable) -> tf.Tensor:
    return tf.identity(raw_value(variable))


def _unscaled(gradient):
    if isinstance(gradient, tf.IndexedSlices):  # of an embedding
        return tf.IndexedSlices(gradient.values / SCALE, gradient.indices, gradient.dense_shape)
    return None if gradient is None else gradient / tf.cast(SCALE, gradient.dtype)


def _on_host() -> bool:
    return not tf.config.list_logical_devices("GPU")


def _slope(function, z):
    with tf.GradientTape() as tape:
        tape.watch(z)
        h = function(z)
    return tape.gradient(h, z)
