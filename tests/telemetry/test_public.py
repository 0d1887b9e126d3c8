"""Models that nobody here made, with the heads that people give them: keras.applications and keras_hub."""

import keras
import numpy as np
import pytest
from autodiff import BACKEND, norm, value_and_gradients
from test_matrix import Zeros, state_kept
from test_models import check_step_and_probe

BATCH, CLASSES = 8, 4
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, CLASSES, BATCH)
TOKENS = {
    "token_ids": RNG.integers(1, 50, (BATCH, 10)),
    "padding_mask": np.ones((BATCH, 10), "int32"),
    "segment_ids": np.zeros((BATCH, 10), "int32"),
}


def images(size: int) -> np.ndarray:
    return 128 + 64 * np.random.default_rng(0).normal(size=(BATCH, size, size, 3)).astype("float32")


def application(name: str, size=64):
    make = getattr(keras.applications, name)
    return make(input_shape=(size, size, 3), weights=None, classes=CLASSES), images(size)


def backbone(name: str, **sizes):
    models = pytest.importorskip("keras_hub").models
    body = getattr(models, name)(**sizes)
    x = {key: TOKENS[key] for key in body.input} if isinstance(body.input, dict) else images(16) / 128
    output = body.output["sequence_output"] if isinstance(body.output, dict) else body.output
    pooled = keras.layers.GlobalAveragePooling1D()(output)
    return keras.Model(body.input, keras.layers.Dense(CLASSES, "softmax", name="head")(pooled)), x


SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
TEXT = {"vocabulary_size": 60, "intermediate_dim": 32, "dropout": 0.0}
# Each with some layers whose delta is taken by hand.
APPLICATIONS = {
    "MobileNetV2": "Conv1 block_6_expand Conv_1 predictions",
    "EfficientNetV2B0": "stem_conv block4a_se_reduce block6c_project_conv predictions",
    "ResNet50": "conv1_conv conv2_block1_0_conv conv4_block2_2_conv predictions",
}
BACKBONES = {
    # The backbone, how many attentions it has, and how many sums of a branch and a stream.
    "BertBackbone": (SMALL | TEXT | {"max_sequence_length": 12}, 2, 4),
    "GPT2Backbone": (SMALL | TEXT | {"max_sequence_length": 12}, 2, 5),
    "ViTBackbone": (SMALL | {"image_shape": (16, 16, 3), "patch_size": 4, "mlp_dim": 32}, 2, 4),
    "LlamaBackbone": (
        {"vocabulary_size": 60, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
        | {"intermediate_dim": 32},
        2,
        4,
    ),
}


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy())
    return model


def deltas_by_hand(model: keras.Model, x, names: list[str]) -> dict[str, float]:
    """Return the delta of layers that are called once: the gradient by a zero that is added to their output."""
    x, y = keras.tree.map_structure(keras.ops.convert_to_tensor, (x, LABELS))
    zeros = Zeros(model, names, [name for name in names if name in ("predictions", "head")])

    def loss():
        return model.loss(y, model(x, training=True))

    with state_kept(model):
        zeros.look(loss)
    with state_kept(model), zeros.added():
        _, grads = value_and_gradients(loss, zeros.zeros)
    return {name: BATCH * norm(g) / np.sqrt(BATCH) for (name, _), g in zip(zeros.shapes, grads, strict=True)}


def called(model: keras.Model, x) -> list[str]:
    """Return the layers of a flat model that have something to train, in the order of their calls."""
    names: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for layer in model.layers:
            if layer.trainable_weights:
                patch.setattr(layer, "call", lambda *a, c=layer.call, n=layer.name, **k: names.append(n) or c(*a, **k))
        model(x[:1])
    return names


def check_deltas(first, deltas: dict[str, float]) -> None:
    measured = dict(zip(first.layers, first.delta_norm, strict=True))
    np.testing.assert_allclose([measured[name] for name in deltas], list(deltas.values()), rtol=1e-4)


@pytest.fixture
def double():
    """In single precision these nets, with random weights, make of two orders of adding two answers."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere the transformers tell; XLA compiles these for minutes")
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name, double):
    model, x = application(name)
    deltas = deltas_by_hand(compiled(model), x, APPLICATIONS[name].split())
    first, *_ = check_step_and_probe(model, x, LABELS)
    assert first.layers == called(model, x)
    assert first.measured.all() and first.preactivation.tolist() == [False] * (len(first.layers) - 1) + [True]
    assert 1e-3 < first.arriving < 1e3
    check_deltas(first, deltas)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(name):
    sizes, attentions, residuals = BACKBONES[name]
    model, x = backbone(name, **sizes)
    deltas = deltas_by_hand(compiled(model), x, ["head"])
    first, _, history = check_step_and_probe(model, x, LABELS)
    check_deltas(first, deltas)
    assert first.measured.all() and (first.delta_norm > 0).all() and (first.gradient_norm > 0).all()
    numbers = [number for path in history.variables if (number := block_of(path)) is not None]
    by_layer = [block_of(history.variables[list(history.owners).index(i)]) for i in range(len(history.layers))]
    inside = [number for number in by_layer if number is not None]
    assert set(inside) == set(numbers) == {1, 2} and inside == sorted(inside)  # block after block
    assert by_layer[0] is None and history.layers[-1] == "head"
    assert len(first.attentions) == attentions and len(first.residuals) == residuals
    assert all(0.5 < a.entropy <= 1.0001 for a in first.attentions)  # fresh ones look everywhere
    assert all(0 < r.share <= 1.5 for r in first.residuals)


def block_of(path: str) -> int | None:
    """Return the number of the transformer block that a variable lies in, from 1."""
    for part in path.split("/"):
        if part.startswith(("transformer_layer_", "transformer_block_")):
            number = int(part.rpartition("_")[2])
            return number + part.startswith("transformer_layer_")
    return None
