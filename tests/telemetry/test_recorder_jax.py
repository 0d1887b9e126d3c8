"""What only JAX can do to a step; with KERAS_BACKEND=jax."""

import keras
import numpy as np
import pytest
from autodiff import BACKEND, norm

from zoo import GradientNorms, probe
from zoo.telemetry.probe import Probes

if BACKEND != "jax":
    pytest.skip("run by `make test-jax`", allow_module_level=True)

import jax
from jax import numpy as jnp

from zoo.telemetry.backends.jax.recorder import norms as jax_norms

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 6)).astype("float32"), rng.integers(0, 3, 16)


def network(kind=keras.Model) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    model = kind(x, keras.layers.Dense(3)(keras.layers.Dense(5, activation="tanh")(x)))
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    return model


def fit(model, *callbacks, **options):
    model.fit(*data(), batch_size=8, shuffle=False, verbose=0, callbacks=list(callbacks), **options)


def test_the_optimizer_never_holds_the_buffer():
    model, norms, sizes = network(), GradientNorms(), []
    counting = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: sizes.append(
            (len(model.optimizer.variables), len(model._jax_state["optimizer_variables"]))
        )
    )
    fit(model, norms, counting, epochs=2)
    assert sizes == [(2, 2)] * 4  # iterations and learning rate
    assert len(norms.history) == 4


class Nested(keras.Model):
    """A step whose loss, or whose update, lies within another transformation."""

    kind = "checkpoint"

    def train_step(self, state, batch):
        trainable, others, of_optimizer, metrics = state
        x, y = batch
        function = self.compute_loss_and_updates
        if self.kind == "checkpoint":
            function = jax.checkpoint(
                lambda trainable: self.compute_loss_and_updates(
                    trainable, others, metrics, x, y, None, training=True, optimizer_variables=of_optimizer
                )[0]
            )
            loss, grads = jax.value_and_grad(function)(trainable)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, grads, trainable)
        else:
            loss, grads = jax.value_and_grad(
                lambda trainable: function(
                    trainable, others, metrics, x, y, None, training=True, optimizer_variables=of_optimizer
                )[0]
            )(trainable)
            trainable, of_optimizer = jax.lax.cond(
                loss < 1e6,
                lambda: tuple(self.optimizer.stateless_apply(of_optimizer, grads, trainable)),
                lambda: (trainable, of_optimizer),
            )
        return {"loss": loss}, (trainable, others, of_optimizer, metrics)


def test_a_loss_that_cannot_be_reached_is_nan_and_the_norms_are_right():
    plain, nested = GradientNorms(), GradientNorms()
    fit(network(), plain)
    fit(network(Nested), nested)
    np.testing.assert_allclose(nested.history.variable_norms, plain.history.variable_norms, rtol=1e-6)
    assert np.isfinite(plain.history.losses).all() and np.isnan(nested.history.losses).all()


def test_an_update_that_cannot_be_reached_is_refused():
    kind = type("Conditional", (Nested,), {"kind": "cond"})
    model = network(kind)
    with pytest.raises(RuntimeError, match="stateless_apply"):
        fit(model, GradientNorms())
    assert not hasattr(model.train_function, "recorder")


def test_a_train_function_of_ones_own_is_refused():
    class Own(keras.Model):
        def make_train_function(self, force=False):
            return super().make_train_function(force)

    with pytest.raises(RuntimeError, match="train_step"):
        fit(network(Own), GradientNorms())


def test_data_parallel_training_records_the_norms_of_the_whole_batch():
    if len(jax.devices()) < 2:
        pytest.skip("one device: set XLA_FLAGS=--xla_force_host_platform_device_count=2")
    plain, parallel = GradientNorms(), GradientNorms(updates=True)
    fit(network(), plain, epochs=2)
    with keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:2]).scope():
        fit(network(), parallel, epochs=2)
    assert len(parallel.history) == 4
    np.testing.assert_allclose(parallel.history.variable_norms, plain.history.variable_norms, rtol=1e-5)


def test_norms_of_large_tensors():
    tensor = np.random.default_rng(0).normal(size=(1000, 3000)).astype("float32")
    np.testing.assert_allclose(jax_norms([jnp.asarray(tensor)]), [norm(tensor)], rtol=1e-6)


def test_a_model_of_several_outputs_is_probed_again_before_its_first_step():
    # Keras makes a metric of each output's loss within the first step, where JAX traces.
    given = keras.Input((4,))
    hidden = keras.layers.Dense(8, "relu")(given)
    model = keras.Model(given, {name: keras.layers.Dense(1, name=name)(hidden) for name in ("one", "two")})
    model.compile("sgd", {"one": "mse", "two": "mae"})
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    y = {"one": x[:, :1], "two": x[:, 1:2]}

    first, probes = probe(model, x, y), Probes(x, y)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[probes])

    np.testing.assert_allclose(probes.results[0].delta_rms, first.delta_rms, rtol=1e-5)
    assert len(probes.results) == 3 and probes.results[2].loss < first.loss
