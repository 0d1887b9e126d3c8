"""The probe's pass in JAX."""

import contextlib
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from zoo.telemetry.backends.jax.recorder import trace_of
from zoo.telemetry.calls import Recorder
from zoo.telemetry.dry_step import without_update
from zoo.telemetry.jacobian import singular_values
from zoo.telemetry.plan import Plan
from zoo.telemetry.probe_table import SCALE
from zoo.telemetry.reading import Outline

# A pass through a smaller model takes milliseconds, which XLA's optimizations would take seconds to make fewer of.
SMALL = 500_000  # parameters


class Pass:
    """The training step over a batch, without its update; it is stateless, so the model's state stays as it was."""

    def __init__(self, model: keras.Model):
        self.model = model
        small = _on_host() and model.count_params() < SMALL
        self._compiled = jax.jit(self._run, compiler_options={"xla_backend_optimization_level": 0} if small else None)

    def begin_anew(self) -> None:
        """Run as one that was just made does: it does so already."""

    def share(self, other: "Pass") -> None:
        """Nothing is shared here."""

    def __call__(self, x, y) -> tuple[Outline, dict]:
        """Return an outline and its tensors."""
        model = self.model
        model.jax_state_sync()
        groups = (model.trainable_variables, model.non_trainable_variables)
        tensors = self._compiled([[v.value for v in group] for group in groups], x, y)
        # Metrics that the step makes, as the losses of several outputs, hold what was traced: a later pass would fail.
        for variable in model.metrics_variables:
            if isinstance(variable.value, jax.core.Tracer):
                variable.assign(jnp.zeros(variable.shape, variable.dtype))
        return self._outline, tensors

    def _run(self, state, x, y):
        trainable, others = state
        # The step asks for these too, but no gradient depends on them. As arguments they would have the pass compiled
        # anew after the first step, which makes the optimizer's slots and the metrics.
        rest = [[v.value for v in group] for group in (self.model.optimizer.variables, self.model.metrics_variables)]
        self._place = {id(value): i for i, value in enumerate(trainable)}
        self._gradients = [None] * len(trainable)
        self._losses, self._events = [], []
        self._recorder = Recorder(self._shift, self._zero)
        self._zeros: dict[tuple, Any] = {}
        with (
            _differentiation(self._value_and_grad),
            self._recorder.watching(self.model),
            without_update(self.model, "stateless_apply", self._apply),
        ):
            self.model.train_step((trainable, others, *rest), keras.utils.pack_x_y_sample_weight(x, y))
        plan = Plan.of(self.model, self._recorder, self._reaches(jax.tree_util.tree_leaves((state, x))[0]))
        samples = keras.tree.flatten(x)[0].shape[0]
        self._outline, tensors = Outline.of(plan, self._losses, self._events, self._gradients, samples, _on_host())
        del self._recorder, self._events, self._losses, self._gradients  # they hold the trace
        return tensors

    def _shift(self, key, tensor):
        return tensor + self._zeros[key] if key in self._zeros else tensor

    def _zero(self, key, shape, dtype):
        self._recorder.zeros[key] = self._zeros.get(key, jnp.zeros(shape, dtype))
        return self._recorder.zeros[key]

    def _value_and_grad(self, original, function, argnums, has_aux, options):
        """Differentiate what the step differentiates, by its variables and by a zero added to each layer's output."""
        numbers = argnums if isinstance(argnums, tuple | list) else (argnums,)

        def differentiate(*args, **kwargs):
            leaves = jax.tree_util.tree_leaves([args[n] for n in numbers])
            trained = {self._place[id(leaf)] for leaf in leaves if id(leaf) in self._place}
            if not trained:
                return original(function, argnums, has_aux, **options)(*args, **kwargs)
            recorder, mark, shapes, inside = self._recorder, self._recorder.mark(), {}, []

            def look(args):
                value = function(*args, **kwargs)
                reached = self._reaches(value[0] if has_aux else value)
                wanted = recorder.differentiable()
                shapes.update({k: (t.shape, t.dtype) for k, t in wanted.items() if reached(t)})

            def shifted(zeros, *args):
                self._zeros = zeros
                out = function(*args, **kwargs)
                self._zeros = {}
                value, aux = out if has_aux else (out, None)
                reached = self._reaches(value)
                tensors = {key: t for key, t in recorder.tensors_since(mark).items() if reached(t)}
                inside[:] = tensors
                return value * SCALE, (value, aux, list(tensors.values()))

            # JAX differentiates with respect to what a function is given, not to what it computes on its way: so a zero
            # is added to every output whose gradient is wanted. A first look, without computing, tells which ones.
            jax.eval_shape(look, args)
            recorder.forget(mark)
            zeros = {key: jnp.zeros(*shape) for key, shape in shapes.items()}
            inner = original(shifted, (0, *(n + 1 for n in numbers)), True, **options)
            (_, (value, aux, tensors)), (deltas, *gradients) = inner(zeros, *args)
            recorder.substitute(mark, dict(zip(inside, tensors, strict=True)))
            self._losses.append(jnp.asarray(value, jnp.float32))
            self._events.append((trained, deltas))
            gradients = jax.tree_util.tree_map(lambda g: g / SCALE, gradients)
            gradients = tuple(gradients) if isinstance(argnums, tuple | list) else gradients[0]
            return (value, aux) if has_aux else value, gradients

        return differentiate

    @staticmethod
    def _reaches(value):
        """Tell of tensors whether they may be used where `value` is, outside of loops and other transformations."""
        return lambda tensor: trace_of(tensor) in (None, trace_of(value))

    def _apply(self, optimizer_variables, grads, trainable_variables):
        for gradient, value in zip(grads, trainable_variables, strict=True):
            if gradient is not None and id(value) in self._place:
                self._gradients[self._place[id(value)]] = gradient
        return trainable_variables, optimizer_variables

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        return singular_values(self.model, x, _slope)


@contextlib.contextmanager
def _differentiation(method):
    """Within it, `method` makes the functions of `jax.value_and_grad` and `jax.grad`."""
    plain, gradient = jax.value_and_grad, jax.grad

    def value_and_grad(fun, argnums=0, has_aux=False, **options):
        return method(plain, fun, argnums, has_aux, options)

    def grad(fun, argnums=0, has_aux=False, **options):
        both = method(plain, fun, argnums, has_aux, options)

        def of(*args, **kwargs):
            value, gradients = both(*args, **kwargs)
            return (gradients, value[1]) if has_aux else gradients

        return of

    jax.value_and_grad, jax.grad = value_and_grad, grad
    try:
        yield
    finally:
        jax.value_and_grad, jax.grad = plain, gradient


def _on_host() -> bool:
    return jax.default_backend() == "cpu"


def _slope(function, z):
    return jax.grad(lambda z: jnp.sum(function(z)))(z)
