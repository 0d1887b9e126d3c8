"""What only torch can do to a step; with KERAS_BACKEND=torch."""

import keras
import numpy as np
import pytest
from autodiff import BACKEND, norm

from zoo import GradientNorms, probe
from zoo.models import mlp

if BACKEND != "torch":
    pytest.skip("run by `make test-torch`", allow_module_level=True)

import torch

from zoo.telemetry.backends.torch import recorder

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 6)).astype("float32"), rng.integers(0, 3, 20)


@pytest.mark.slow
def test_a_step_that_torch_compiles():
    histories = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model, norms = mlp((6,), 3, depth=2, width=5), GradientNorms(updates=True)
        model.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.5), LOSS, jit_compile=jit_compile)
        model.fit(*data(), batch_size=8, shuffle=False, verbose=0, epochs=2, callbacks=[norms])
        histories.append(norms.history)
    for name in ("variable_norms", "losses", "clip_norms", "weight_norms", "update_norms"):
        plain, compiled = (getattr(history, name) for history in histories)
        assert len(compiled) == 6
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30, 1e35, np.inf, np.nan])
def test_norms_over_the_whole_range_by_every_way(size):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((3, 4), (5,), (300, 400), (1,))]
    tensors = [torch.from_numpy((size * a).astype("float32")) for a in arrays]
    expected = [norm(t) for t in tensors]
    ways = {
        "on a processor": recorder.norms(tensors, "cpu"),
        "on an accelerator": torch.stack(torch._foreach_norm(tensors, 2, torch.float64)),
        "without float64": torch.stack([recorder._over_maximum(t) for t in tensors]),
    }
    for way, norms in ways.items():
        rtol = 1e-2 if size == 1e-40 else 1e-5  # below 1e-38 float32 itself has few digits
        np.testing.assert_allclose(norms.double(), expected, rtol=rtol, err_msg=way)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_of_half_precision_and_sparse_gradients(dtype):
    dense = torch.arange(12.0).reshape(4, 3).to(dtype)
    repeated = torch.sparse_coo_tensor([[1, 1, 3]], torch.ones(3, 2), (5, 2))
    norms = recorder.norms([dense, repeated], "cpu")
    np.testing.assert_allclose(norms, [506**0.5, 10**0.5], rtol=1e-5)


def test_norms_of_large_tensors():
    tensor = np.random.default_rng(0).normal(size=(1000, 3000)).astype("float32")
    for array in (tensor, tensor.T):  # the second does not lie in memory in its own order
        np.testing.assert_allclose(recorder.norms([torch.from_numpy(array)], "cpu"), [norm(tensor)], rtol=1e-6)


def test_a_torch_module_within_the_model_keeps_its_state_through_a_probe():
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.TorchModuleWrapper(module, output_shape=(None, 4))(x)))
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    generator = torch.random.get_rng_state()
    assert np.isfinite(probe(model, *data()).delta_norm).all()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), generator)
    norms = GradientNorms()
    model.fit(*data(), batch_size=10, verbose=0, callbacks=[norms])
    assert norms.history.variable_norms.shape == (2, 6) and (norms.history.norms > 0).all()


def test_steps_that_keras_cannot_run_together_are_refused_by_keras():
    model = mlp((6,), 3, depth=1, width=4)
    model.compile(keras.optimizers.SGD(0.1), LOSS, steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution"):
        model.fit(*data(), verbose=0, callbacks=[GradientNorms()])
