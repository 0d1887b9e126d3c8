"""The ring buffer of gradient norms inside JAX's training step."""

import jax
import keras
import numpy as np
from jax import numpy as jnp

from zoo.telemetry.ring import LARGEST, SMALLEST, Ring, replaced


class JaxRing(Ring):
    """Rows in a buffer that travels with the step's state, behind Keras' own, and is given up to each step in turn.

    Keras never sees it: between the steps it is here, not among the optimizer's variables.
    """

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
            with replaced(
                (self.optimizer, "stateless_apply", self._stateless_apply),
                (self.optimizer, "scale_loss", self._scale_loss),
            ):
                logs, state = keras_step(tuple(state), data)
            for row in self._written:
                if not self._reaches_step(row):
                    raise RuntimeError(
                        "GradientNorms needs optimizer.stateless_apply to be called by train_step itself, not inside "
                        "jax.lax.cond, jax.lax.scan or another transformation."
                    )
                buffer, count = _write(buffer, count, row)
            return logs, (*state, (buffer, count))

        def shardings():
            return (*type(model)._get_state_sharding_spec(model), None)

        with replaced((model, "train_step", train_step), (model, "_get_state_sharding_spec", shardings)):
            model.make_train_function(force=True)
        plain = model.train_function

        def traced(state, iterator):
            self.start()
            logs, (*state, self._state) = plain((*state, self._state), iterator)
            return logs, tuple(state)

        return traced

    def _new_state(self, count: int) -> tuple[jax.Array, jax.Array]:
        state = (jnp.zeros((self.window, self.columns), jnp.float32), jnp.asarray(count, jnp.int32))
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

    def _stateless_apply(self, optimizer_variables, grads, trainable_variables):
        variables = self.optimizer._trainable_variables
        with keras.StatelessScope(list(zip(self.optimizer.variables, optimizer_variables, strict=True))):
            scale = self._scale()
            parts = [self._in_order(grads, variables) / scale, self._loss_of_step()[None]]
            if self.clips:
                parts.append(self._clip_norms([g if g is None else g / scale for g in grads]))

        result = type(self.optimizer).stateless_apply(self.optimizer, optimizer_variables, grads, trainable_variables)

        if self.updates:
            change = [after - before for after, before in zip(result[0], trainable_variables, strict=True)]
            parts += [self._in_order(trainable_variables, variables), self._in_order(change, variables)]
        self._written.append(jnp.concatenate(parts))
        return result

    def _scale_loss(self, loss):
        # Keras calls this within `jax.grad`, whose tracers may not leave it; what carries no gradient is none of them.
        self._loss = jax.lax.stop_gradient(loss)
        return type(self.optimizer).scale_loss(self.optimizer, loss)

    def _loss_of_step(self) -> jax.Array:
        """() float32: the loss; NaN where another transformation (such as rematerialization) holds it back."""
        if self._loss is None or not self._reaches_step(self._loss):
            return jnp.float32(jnp.nan)
        return jnp.asarray(self._loss, jnp.float32)

    def _reaches_step(self, value) -> bool:
        """Whether `value` may be used in the step itself, outside of the transformation that it was computed in."""
        return trace_of(value) is None or trace_of(value) is self._step

    def _clip_norms(self, grads: list) -> jax.Array:
        """(2,) float32: global norm before and after clipping, NaN where this step's update is put off or skipped.

        Clipped here once more (the compiler finds that it is the same): on JAX Keras may clip within `jax.lax.cond`,
        from where nothing gets out.
        """
        known = [g for g in grads if g is not None]
        update = self.inner is self.optimizer or self.optimizer.check_finite(known)
        steps = self.inner.gradient_accumulation_steps
        if steps:
            update &= (self.inner._iterations.value + 1) % steps == 0
            sums = [
                self.inner._accumulated_gradients[self.inner._get_variable_index(v)].value
                for g, v in zip(grads, self.inner._trainable_variables, strict=True)
                if g is not None
            ]
            known = [(g + s) / steps for g, s in zip(known, sums, strict=True)]
        clipped = self.inner._clip_gradients(known)
        pair = jnp.stack([jnp.linalg.norm(norms(known)), jnp.linalg.norm(norms(clipped))])
        return jnp.where(update, pair, jnp.nan)

    def _in_order(self, tensors: list, variables: list) -> jax.Array:
        """(variables,) float32 norms of `tensors`; 0 where a variable has none."""
        known, columns = self.recorded(tensors, variables)
        row = norms(known) if known else jnp.zeros(0)
        if self.complete(columns):
            return row
        return jnp.zeros(len(self.variables)).at[np.array(columns, int)].set(row)

    def _scale(self):
        if self.inner is not self.optimizer:
            return self.optimizer.dynamic_scale.value
        return self.optimizer.loss_scale_factor or 1.0


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
