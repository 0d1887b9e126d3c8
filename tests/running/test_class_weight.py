"""Weights of classes: what they are, what of them the loss and the gradients have, and what is refused."""

import keras
import numpy as np
import pytest
from jobs import composed

from zoo import GradientNorms
from zoo.config import check
from zoo.errors import UserError
from zoo.losses import constant_loss
from zoo.running.make import class_weights, make_data

WEIGHTS = {0: 1.0, 1: 5.0}


def test_balanced_weights_let_every_class_weigh_alike():
    cfg = composed("data=digits", "class_weight=balanced")
    data = make_data(cfg)
    weights = class_weights(cfg, data)
    counts = np.bincount(data.train[1])
    of_classes = [weights[label] * count for label, count in enumerate(counts)]
    np.testing.assert_allclose(of_classes, data.train_size / 10)
    entropy = constant_loss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), data.train[1], "categorical", weights
    )
    np.testing.assert_allclose(entropy, np.log(10))


def test_gradient_norms_are_those_of_the_weighted_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), np.arange(8) % 2
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    kernel, bias = model.get_weights()
    shares = np.exp(x @ kernel + bias)
    errors = (shares / shares.sum(1, keepdims=True) - np.eye(2)[y]) * np.array([WEIGHTS[label] for label in y])[:, None]
    expected = np.sqrt(np.sum((x.T @ errors / 8) ** 2) + np.sum(errors.mean(0) ** 2))
    norms = GradientNorms()
    model.fit(x, y, batch_size=8, class_weight=WEIGHTS, verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.history.norms[0], [expected], rtol=1e-5)


@pytest.mark.parametrize("word", ["even", "3", "{0:-1}", "{0:a}", "{}", "true"])
def test_what_are_no_weights_is_refused(word):
    with pytest.raises(UserError, match=r"^class_weight=.*: say balanced, or a weight of each class"):
        check(composed(f"class_weight={word}"))


def test_weights_of_no_class_are_refused():
    cfg = composed("data=digits", "class_weight={11:2.0}")
    with pytest.raises(UserError, match="class_weight: there is no class 11: they are 0, 1"):
        class_weights(cfg, make_data(cfg))
    cfg = composed("data=diabetes", "loss=mse", "class_weight=balanced")
    with pytest.raises(UserError, match="regression data have no classes"):
        class_weights(cfg, make_data(cfg))
