"""With the same weights, the published networks give the outputs of keras.applications."""

import keras
import numpy as np
import pytest

from zoo.models import densenet, resnet, vgg


@pytest.mark.parametrize(
    ("family", "depth", "theirs", "side"),
    [
        (vgg, 16, keras.applications.VGG16, 32),
        (resnet, 50, keras.applications.ResNet50, 64),
        (densenet, 121, keras.applications.DenseNet121, 64),
    ],
)
def test_outputs_equal(family, depth, theirs, side):
    keras.utils.set_random_seed(0)
    shape = (side, side, 3)
    theirs = theirs(weights=None, input_shape=shape, classes=7, classifier_activation=None)
    # Moving statistics and offsets away from 0 and 1, or else a layer left out could pass unseen.
    rng = np.random.default_rng(0)
    theirs.set_weights([w * rng.uniform(0.8, 1.2) + rng.uniform(0, 0.05) * (w.ndim == 1) for w in theirs.get_weights()])
    ours = family(shape, 7, depth=depth)
    ours.set_weights(theirs.get_weights())
    images = rng.uniform(-1, 1, (2, *shape)).astype("float32")

    expected = theirs.predict_on_batch(images)

    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.predict_on_batch(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "depth", "theirs"),
    [
        (vgg, 19, keras.applications.VGG19),
        (resnet, 101, keras.applications.ResNet101),
        pytest.param(resnet, 152, keras.applications.ResNet152, marks=pytest.mark.slow),
        (densenet, 169, keras.applications.DenseNet169),
        pytest.param(densenet, 201, keras.applications.DenseNet201, marks=pytest.mark.slow),
    ],
)
def test_weights_stand_in_the_same_order(family, depth, theirs, shapes_alone):
    theirs = theirs(weights=None, input_shape=(32, 32, 3), classes=7)
    ours = family((32, 32, 3), 7, depth=depth)

    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
