"""The ring buffer of gradient norms inside JAX's training step."""

import functools
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from zoo.telemetry.backends.recorder import LARGEST, SMALLEST, Ring, Tap, by_size
from zoo.telemetry.keras_private import (
    accumulated_gradients,
    batches_applied,
    clipped,
    sharded,
    state_shardings,
    trained_by,
)
from zoo.telemetry.layers import replaced


class Recorder(Ring):
    """Rows in a buffer that travels with the step's state, behind Keras' own, and is given up to each step in turn.

    Keras never sees it: between the steps it is here, not among the optimizer's variables.
    """

    # Of the step that is being traced: what each optimizer would add to its row, the loss, the step's own trace.
    _written: list[tuple[Tap, set[int], jax.Array]]
    _loss: Any
    _step: Any

    def _allocate(self) -> None:
        self._state = self._new_state(0)

    def train_function(self):
        model = self.model
        if keras.config.is_nnx_enabled():
            raise RuntimeError("GradientNorms cannot see the gradients of a step that flax.nnx compiles.")
        if type(model).make_train_function is not keras.Model.make_train_function:
            raise RuntimeError(
                "GradientNorms threads its rows through Keras' own train function on JAX: override train_step instead "
                "of make_train_function."
            )
        keras_step = model.train_step

        def train_step(state, data):
            *state, (buffer, count) = state
            self._written, self._loss, self._step = [], None, trace_of(count)
            changes = []
            for tap in self.taps:
                changes.append((tap.optimizer, "stateless_apply", functools.partial(self._stateless_apply, tap)))
                changes.append((tap.optimizer, "scale_loss", functools.partial(self._scale_loss, tap)))
            with replaced(*changes):
                logs, state = keras_step(tuple(state), data)
            if any(not self._reaches_step(row) for _, _, row in self._written):
                raise RuntimeError(
                    "GradientNorms needs optimizer.stateless_apply to be called by train_step itself, not inside "
                    "jax.lax.cond, jax.lax.scan or another transformation."
                )
            for row in self._rows_of_step():
                buffer, count = _write(buffer, count, row)
            return logs, (*state, (buffer, count))

        def shardings():
            return (*state_shardings(model), None)

        with replaced((model, "train_step", train_step), sharded(model, shardings)):
            model.make_train_function(force=True)
        plain: Any = model.train_function

        def traced(state, iterator):
            self.start()
            with self.noting_order():
                logs, (*state, self._state) = plain((*state, self._state), iterator)
            return logs, tuple(state)

        return traced

    def _new_state(self, count: int) -> tuple[jax.Array, jax.Array]:
        state = (jnp.zeros((self.window, len(self.columns)), jnp.float32), jnp.asarray(count, jnp.int32))
        distribution = keras.distribution.distribution()
        if distribution is None:
            return state
        everywhere = jax.sharding.NamedSharding(distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec())
        return jax.device_put(state, everywhere)

    def _count(self) -> int:
        if any(part.is_deleted() for part in self._state):  # given up to a step that failed on the device
            self._state = self._new_state(self.rows)
        return int(self._state[1])

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self._state[0])[numbers]

    def _stateless_apply(self, tap: Tap, optimizer_variables, grads, trainable_variables):
        variables = trained_by(tap.optimizer)
        with keras.StatelessScope(list(zip(tap.optimizer.variables, optimizer_variables, strict=True))):
            scale = tap.scale()
            scale = 1.0 if scale is None else scale
            parts = [self._in_order(grads, variables) / scale, self._loss_of_step()[None]]
            if self.clips:
                parts.append(self._clip_norms(tap, [g if g is None else g / scale for g in grads]))

        result = type(tap.optimizer).stateless_apply(tap.optimizer, optimizer_variables, grads, trainable_variables)

        if self.updates:
            change = [after - before for after, before in zip(result[0], trainable_variables, strict=True)]
            parts += [self._in_order(trainable_variables, variables), self._in_order(change, variables)]
        self._written.append((tap, set(self.recorded(grads, variables)[1]), jnp.concatenate(parts)))
        return result

    def _rows_of_step(self) -> list[jax.Array]:
        """Return the rows that a step amounts to: those of several optimizers are one as far as they do not overlap."""
        rows, taps, filled = [], set(), set()
        for tap, columns, row in self._written:
            if rows and self.several and tap not in taps and filled.isdisjoint(columns):
                rows[-1] = self._together(rows[-1], row)
            else:
                rows.append(row)
                taps, filled = set(), set()
            taps.add(tap)
            filled |= columns
        return rows

    def _together(self, one: jax.Array, other: jax.Array) -> jax.Array:
        row, loss, clip = one + other, self.columns.loss, self.columns.clip_norms
        row = row.at[loss].set(jnp.where(jnp.isnan(other[loss]), one[loss], other[loss]))
        clips = jnp.stack([one[clip], other[clip]])
        known = jnp.linalg.norm(jnp.where(jnp.isnan(clips), 0.0, clips), axis=0)
        return row.at[clip].set(jnp.where(jnp.isnan(clips).all(axis=0), jnp.nan, known))

    def _scale_loss(self, tap: Tap, loss):
        # Keras calls this within `jax.grad`, whose tracers may not leave it; what carries no gradient is none of them.
        self._loss = jax.lax.stop_gradient(loss)
        return type(tap.optimizer).scale_loss(tap.optimizer, loss)

    def _loss_of_step(self) -> jax.Array:
        """() float32: the loss; NaN where another transformation (such as rematerialization) holds it back."""
        if self._loss is None or not self._reaches_step(self._loss):
            return jnp.float32(jnp.nan)
        return jnp.asarray(self._loss, jnp.float32)

    def _reaches_step(self, value) -> bool:
        """Whether `value` may be used in the step itself, outside of the transformation that it was computed in."""
        return trace_of(value) is None or trace_of(value) is self._step

    def _clip_norms(self, tap: Tap, grads: list) -> jax.Array:
        """(2,) float32: global norm before and after clipping, NaN where this step's update is put off or skipped.

        Clipped here once more (the compiler finds that it is the same): on JAX Keras may clip within `jax.lax.cond`,
        from where nothing gets out.
        """
        known = [g for g in grads if g is not None]
        if not known or not tap.clips:
            return jnp.full(2, jnp.nan)
        update = tap.inner is tap.optimizer or tap.optimizer.check_finite(known)
        steps = tap.inner.gradient_accumulation_steps
        if steps:
            update &= (batches_applied(tap.inner).value + 1) % steps == 0
            variables = [v for g, v in zip(grads, trained_by(tap.inner), strict=True) if g is not None]
            sums = accumulated_gradients(tap.inner, variables)
            known = [(g + s.value) / steps for g, s in zip(known, sums, strict=True)]
        pair = jnp.stack([jnp.linalg.norm(norms(known)), jnp.linalg.norm(norms(clipped(tap.inner, known)))])
        return jnp.where(update, pair, jnp.nan)

    def _in_order(self, tensors: list, variables: list) -> jax.Array:
        """(variables,) float32 norms of `tensors`; 0 where a variable has none."""
        known, columns = self.recorded(tensors, variables)
        row = norms(known) if known else jnp.zeros(0)
        if self.complete(columns):
            return row
        return jnp.zeros(len(self.variables)).at[np.array(columns, int)].set(row)


def trace_of(value):
    """The transformation that a tracer belongs to; `None` for an array. JAX has no public way to ask."""
    return getattr(value, "_trace", None)


@jax.jit(donate_argnums=(0, 1))
def _write(buffer, count, row):
    return jax.lax.dynamic_update_slice(buffer, row[None], (count % len(buffer), 0)), count + 1


@jax.jit
def norms(tensors: list) -> jax.Array:
    """L2 norm of each tensor: (n,) float32, right over the whole range of float32."""
    tensors = [jnp.asarray(t, jnp.float32) for t in tensors]
    small = _guarded if jax.default_backend() == "tpu" else _doubled  # it has no float64
    return by_size(tensors, [t.size for t in tensors], small, _guarded, jnp.concatenate, jnp.take)


def _doubled(tensors: list) -> jax.Array:
    """In float64 no square of a float32 leaves the range, so that no branch need copy all gradients.

    Those of one size are multiplied with themselves at once: a call of its own for each, and a sum of its own, whose
    additions wait for each other, would take twice as long.
    """
    sizes: dict[int, list[int]] = {}
    for i, tensor in enumerate(tensors):
        sizes.setdefault(tensor.size, []).append(i)
    order = [i for places in sizes.values() for i in places]
    with jax.enable_x64(True):
        squares = []
        for places in sizes.values():
            stack = jnp.stack([jnp.reshape(tensors[i], -1) for i in places])
            squares.append(jnp.einsum("ij,ij->i", stack, stack, preferred_element_type=jnp.float64))
        row = jnp.sqrt(jnp.concatenate(squares)).astype(jnp.float32)
    return row[np.argsort(order)] if order != sorted(order) else row


def _guarded(tensors: list) -> jax.Array:
    """Squares of float32, and where those have left its range each tensor again, over its largest entry."""
    squares = jnp.stack([jnp.sum(jnp.square(t)) for t in tensors])
    return jax.lax.cond(
        jnp.all((squares > SMALLEST) & (squares < LARGEST)),
        lambda: jnp.sqrt(squares),
        lambda: jnp.stack([_careful_norm(t) for t in tensors]),
    )


def _careful_norm(tensor: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(tensor))
    divisor = jnp.where(jnp.isfinite(largest) & (largest > 0), largest, 1.0)
    return divisor * jnp.sqrt(jnp.sum(jnp.square(tensor / divisor)))
