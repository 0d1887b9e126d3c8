"""Whether frozen layers were trained is told from their weights alone."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo import check
from zoo.checkup.frozen import never_trained


def with_weights(model):
    return [layer for layer in model.layers if layer.weights]


def words(n=2000):
    rng = np.random.default_rng(0)
    x = rng.integers(1, 200, (n, 12))
    return x, (x[:, :4] < 60).any(1).astype("int32")


def reader(embedding):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((12,)), embedding, layers.GlobalAveragePooling1D(), layers.Dense(2, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


LAYERS = {
    "Dense": (lambda: layers.Dense(16, "relu"), (32,)),
    "Dense of He": (lambda: layers.Dense(16, "relu", kernel_initializer="he_normal"), (32,)),
    "Dense without biases": (lambda: layers.Dense(64, "relu", use_bias=False), (32,)),
    "orthogonal": (lambda: layers.Dense(64, "relu", kernel_initializer="orthogonal", use_bias=False), (32,)),
    "Conv2D": (lambda: layers.Conv2D(16, 3), (8, 8, 3)),
    "BatchNormalization": (layers.BatchNormalization, (8,)),
    "Embedding": (lambda: layers.Embedding(500, 32), (6,)),
    "Embedding, normal": (lambda: layers.Embedding(500, 32, embeddings_initializer="normal"), (6,)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_as_they_are_drawn_are_told_from_trained_ones(kind):
    make, shape = LAYERS[kind]
    keras.utils.set_random_seed(0)
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer, layers.Flatten(), layers.Dense(1)])
    assert never_trained([layer])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.default_rng(0).normal(size=(512, *shape)).astype("float32") ** 2
    if "Embedding" in kind:
        x = np.random.default_rng(0).integers(0, 500, (512, *shape))
    model.fit(x, x.reshape(512, -1)[:, :6].prod(1), epochs=20, verbose=0)
    assert not never_trained([layer])


def test_nothing_is_said_where_nothing_is_drawn():
    known = np.random.default_rng(0).uniform(-0.05, 0.05, (200, 16))
    embedding = layers.Embedding(200, 16, embeddings_initializer=keras.initializers.Constant(known), trainable=False)
    model = reader(embedding)
    assert not never_trained([embedding])
    assert not never_trained([])
    assert not check(model, *words()).faults


def test_frozen_embeddings_as_keras_draws_them_are_a_fault_and_known_ones_are_none():
    fresh = check(reader(layers.Embedding(200, 16, trainable=False)), *words())
    assert [f.cause for f in fresh.faults] == ["frozen"]
    assert "never were trained" in fresh.faults[0].sentence

    embedding = layers.Embedding(200, 16)
    taught = reader(embedding)
    taught.fit(*words(), epochs=20, verbose=0)
    embedding.trainable = False
    taught.compile("adam", "sparse_categorical_crossentropy")
    found = check(taught, *words())
    assert not found.faults and "trained before" in str([f.sentence for f in found.findings])


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "ResNet50V2", "EfficientNetB0", "ConvNeXtTiny"])
def test_a_frozen_backbone_without_its_weights_is_seen(name):
    keras.utils.set_random_seed(0)
    backbone = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert never_trained(with_weights(backbone))
    for layer in with_weights(backbone)[:3]:
        layer.set_weights([w + 0.3 * np.abs(w).mean() + 0.01 for w in layer.get_weights()])
    assert not never_trained(with_weights(backbone))
