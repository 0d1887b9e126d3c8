"""What each family promises beyond its counts: sizes, structure, refusals, and that every choice trains."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hydra.utils import instantiate
from omegaconf import OmegaConf

import zoo.config  # noqa: F401  registers the resolvers that some choices use
from zoo.errors import UserError
from zoo.models import alexnet, densenet, lenet, mlp, resnet, vgg
from zoo.models.alexnet import LocalResponseNormalization

CONF = Path(__file__).resolve().parents[2] / "conf"
RNG = np.random.default_rng(0)

# The smallest member of each family, at a small size.
SMALLEST = {
    "mlp": lambda **c: mlp((6,), 3, depth=3, width=8, residual=2, **c),
    "lenet": lambda **c: lenet((12, 12, 1), 3, **c),
    "alexnet": lambda **c: alexnet((8, 8, 3), 3, small=True, **c),
    "vgg": lambda **c: vgg((32, 32, 3), 3, depth=11, small=True, **c),
    "resnet": lambda **c: resnet((8, 8, 3), 3, depth=8, **c),
    "densenet": lambda **c: densenet((4, 4, 3), 3, depth=7, **c),
}


def choices():
    for group in ("activation", "initializer", "normalization", "regularizer", "constraint"):
        for file in sorted((CONF / group).glob("*.yaml")):
            yield pytest.param(group, file, id=f"{group}-{file.stem}")
    yield pytest.param("dropout", None, id="dropout")


def read(group, file):
    """Return a choice as a function takes it, and what is to be done after building."""
    if group == "dropout":
        return {"dropout": 0.5}, None
    node = OmegaConf.load(file)
    if group == "regularizer":
        node.pop("biases", None)  # of `zoo.running.make`, not of Keras' regularizer
    node = instantiate(node)
    if group == "initializer":
        return {"initializer": node.kernel, "bias_initializer": node.bias}, node.get("after_build")
    return {group: node or None}, None


@pytest.mark.parametrize("family", SMALLEST)
@pytest.mark.parametrize(("group", "file"), list(choices()))
def test_every_family_trains_with_every_choice(family, group, file):
    keras.utils.set_random_seed(0)
    options, after_build = read(group, file)
    model = SMALLEST[family](**options)
    x, y = RNG.uniform(size=(4, *model.input_shape[1:])).astype("float32"), np.array([0, 1, 2, 0])
    if after_build:
        after_build(model, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)  # one step: building a graph takes longer
    before = model.get_layer("logits").get_weights()[1]

    assert np.isfinite(model.train_on_batch(x, y))
    assert np.any(model.get_layer("logits").get_weights()[1] != before)
    assert np.isfinite(model.predict_on_batch(x)).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: resnet((32, 32, 3), 3, depth=18),
        lambda: resnet((32, 32, 3), 3, depth=50),
        lambda: resnet((8, 8, 3), 3, depth=14, preactivation=True),
        lambda: resnet((8, 8, 3), 3, depth=14, preactivation=True, shortcut="B"),
        lambda: resnet((9, 7, 3), 3, depth=8, shortcut="B"),
        lambda: resnet((32, 32, 3), 3, depth=18, shortcut="A"),
        pytest.param(lambda: resnet((32, 32, 3), 3, depth=50, shortcut="plain"), marks=pytest.mark.slow),
        lambda: densenet((4, 4, 3), 3, depth=10, bc=True),
        pytest.param(lambda: densenet((29, 29, 3), 3, depth=121), marks=pytest.mark.slow),
        lambda: lenet((32, 32, 3), 3, pooling="max"),
        pytest.param(lambda: alexnet((67, 67, 3), 3), marks=pytest.mark.slow),
        pytest.param(lambda: vgg((32, 32, 3), 3, depth=11), marks=pytest.mark.slow),
    ],
    ids=["18", "50", "pre", "pre-B", "odd-B", "18-A", "50-plain", "bc", "121", "lenet", "alexnet", "vgg"],
)
def test_larger_members_train_save_and_load(build, tmp_path):
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    x = RNG.uniform(size=(2, *model.input_shape[1:])).astype("float32")
    assert np.isfinite(model.train_on_batch(x, np.array([0, 1])))
    model.save(tmp_path / "model.keras")

    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)

    np.testing.assert_allclose(again.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-4, atol=1e-5)


SIZES = [
    ("lenet", lambda s: lenet(s, 3, initializer="zeros"), 12),
    ("alexnet", lambda s: alexnet(s, 3, initializer="zeros"), 67),
    ("alexnet_small", lambda s: alexnet(s, 3, small=True, initializer="zeros"), 1),
    ("vgg16", lambda s: vgg(s, 3, depth=16, initializer="zeros"), 32),
    ("vgg11_small", lambda s: vgg(s, 3, depth=11, small=True, initializer="zeros"), 32),
    ("resnet20", lambda s: resnet(s, 3, initializer="zeros"), 1),
    ("resnet50", lambda s: resnet(s, 3, depth=50, initializer="zeros"), 1),
    ("densenet40", lambda s: densenet(s, 3, initializer="zeros"), 4),
    ("densenet121", lambda s: densenet(s, 3, depth=121, initializer="zeros"), 29),
]


@pytest.mark.parametrize(("name", "build", "smallest"), SIZES, ids=[s[0] for s in SIZES])
def test_smallest_image_is_taken_and_a_smaller_one_refused(name, build, smallest):
    model = build((smallest, smallest + 3, 1))
    assert model.name == name
    assert np.isfinite(model.predict_on_batch(np.ones((1, smallest, smallest + 3, 1)))).all()
    last_map = [layer.output.shape for layer in model.layers if len(layer.output.shape) == 4][-1]
    assert last_map[1] == 1  # it is the smallest, not merely a small one

    if smallest > 1:
        with pytest.raises(UserError, match=f"{name} takes images of {smallest}x{smallest} pixels or more"):
            build((smallest - 1, 300, 1))


@pytest.mark.parametrize("family", [lenet, alexnet, vgg, resnet, densenet])
def test_vectors_are_refused(family):
    with pytest.raises(UserError, match=r"takes images \(height, width, channels\), not \(64,\): choose model=mlp"):
        family((64,), 3)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: vgg((32, 32, 3), 3, depth=12), "vgg of depth 12: choose 11, 13, 16 or 19"),
        (lambda: resnet((8, 8, 3), 3, depth=21), "resnet of depth 21: choose 18, .*, or 6n"),
        (lambda: resnet((8, 8, 3), 3, shortcut="C"), "shortcut=C: choose A, B or plain"),
        (lambda: densenet((8, 8, 3), 3, depth=41), "densenet of depth 41: choose 121, 169, 201, or 3n"),
        (lambda: densenet((8, 8, 3), 3, depth=43, bc=True), "densenet of depth 43: choose 121, 169, 201, or 6n"),
        (lambda: lenet((28, 28, 1), 3, pooling="mean"), "pooling=mean: choose average or max"),
    ],
)
def test_architectures_that_do_not_exist_are_refused(build, sentence):
    with pytest.raises(UserError, match=sentence):
        build()


@pytest.mark.parametrize("family", SMALLEST)
def test_outputs_are_logits_in_float32_for_any_class_count(family):
    for policy, classes in (("mixed_bfloat16", 1), ("float32", 17)):
        keras.config.set_dtype_policy(policy)
        try:
            inputs = SMALLEST[family]().input_shape[1:]
            build = {"mlp": mlp, "lenet": lenet, "vgg": vgg, "resnet": resnet, "densenet": densenet}.get(family)
            model = build(inputs, classes) if build else alexnet(inputs, classes, small=True)
        finally:
            keras.config.set_dtype_policy("float32")
        assert model.output_shape == (None, classes)
        assert model.output.dtype == "float32"
        assert model.layers[-1].name == "logits"
        assert model.layers[-1].activation is keras.activations.linear


def test_plain_network_has_no_path_around_a_block_and_a_residual_one_has_one_at_each():
    count = lambda model: sum(isinstance(layer, keras.layers.Add) for layer in model.layers)  # noqa: E731

    assert count(resnet((8, 8, 3), 10, depth=20, shortcut="plain")) == 0
    assert count(resnet((8, 8, 3), 10, depth=20)) == 9
    assert count(resnet((8, 8, 3), 10, depth=50)) == 16


def test_option_a_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    model = resnet((6, 6, 3), 10, depth=8)
    before, after = model.get_layer("stage1_block1_activation"), model.get_layer("stage2_block1_shortcut_zeros")
    a, b = keras.Model(model.input, [before.output, after.output]).predict_on_batch(RNG.uniform(size=(2, 6, 6, 3)))

    np.testing.assert_array_equal(b[..., :16], a[:, ::2, ::2])
    assert b.shape[-1] == 32
    assert not b[..., 16:].any()


def test_preactivation_carries_the_input_unchanged_through_a_stage():
    """He et al. 2016, eq. 4: with silent branches, a stage's output is its first sum."""
    model = resnet((8, 8, 3), 10, depth=20, preactivation=True)
    for layer in model.layers:
        if layer.name.endswith("conv2"):
            layer.kernel.assign(layer.kernel * 0)
    names = ["stage2_block1_add", "stage2_block2_add", "stage2_block3_add"]
    sums = keras.Model(model.input, [model.get_layer(n).output for n in names]).predict_on_batch(np.ones((1, 8, 8, 3)))

    assert np.abs(sums[0]).max() > 0
    for later in sums[1:]:
        np.testing.assert_array_equal(later, sums[0])


def test_dense_block_passes_every_earlier_layer_on():
    model = densenet((8, 8, 3), 10, depth=13, growth=5)
    concat = [model.get_layer(f"block1_layer{i}_concat").output for i in (1, 2, 3)]
    outputs = keras.Model(model.input, concat).predict_on_batch(RNG.uniform(size=(2, 8, 8, 3)))

    assert [y.shape[-1] for y in outputs] == [21, 26, 31]
    for earlier, later in itertools.pairwise(outputs):
        np.testing.assert_array_equal(later[..., : earlier.shape[-1]], earlier)


def test_response_normalization_is_the_papers():
    a = RNG.normal(0, 30, (2, 3, 3, 8)).astype("float32")

    ours = LocalResponseNormalization()(a)

    expected = tf.nn.local_response_normalization(a, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_alexnet_starts_with_the_papers_biases_unless_others_are_chosen():
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}

    def biases(**choices):
        model = alexnet((67, 67, 3), 3, **choices)
        return {v.name for v in model.layers if hasattr(v, "bias") and np.all(v.get_weights()[1] == 1)}

    assert biases(initializer="zeros") == ones
    assert biases(initializer="zeros", bias_initializer="zeros") == set()


def test_normalization_takes_the_place_of_response_normalization():
    def responses(**options):
        model = alexnet((8, 8, 3), 3, small=True, **options)
        return sum(isinstance(layer, LocalResponseNormalization) for layer in model.layers)

    assert responses() == 2
    assert responses(response_normalization=False) == responses(normalization="batch") == 0


def test_without_normalization_convolutions_have_biases():
    for family in (resnet, densenet):
        published, bare = family((8, 8, 3), 3), family((8, 8, 3), 3, normalization=None)
        assert not any(layer.use_bias for layer in published.layers if isinstance(layer, keras.layers.Conv2D))
        assert all(layer.use_bias for layer in bare.layers if isinstance(layer, keras.layers.Conv2D))


def test_mean_field_draws_weights_and_biases_with_the_variances_it_is_given():
    keras.utils.set_random_seed(0)
    node = OmegaConf.load(CONF / "initializer" / "mean_field.yaml")
    node.sigma_w2, node.sigma_b2 = 1.5, 0.2
    node = instantiate(node)
    model = mlp((400,), 400, depth=0, initializer=node.kernel, bias_initializer=node.bias)
    kernel, bias = model.get_weights()

    assert np.var(kernel) == pytest.approx(1.5 / 400, rel=0.02)
    assert np.var(bias) == pytest.approx(0.2, rel=0.25)
    assert np.mean(kernel**4) / np.var(kernel) ** 2 == pytest.approx(3, rel=0.03)  # a Gaussian with its tails


def test_mlp_shortcuts_are_identities():
    """With silent layers on the way, a residual network's output is its first hidden layer's."""
    model = mlp((4,), 3, depth=7, width=6, residual=2, activation="linear")
    for layer in model.layers[3:-1]:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.assign(layer.kernel * 0)
    names = ["dense_1_activation", "add_3", "add_5", "add_7"]
    outputs = keras.Model(model.input, [model.get_layer(n).output for n in names]).predict_on_batch(np.ones((1, 4)))

    for later in outputs[1:]:
        np.testing.assert_array_equal(later, outputs[0])
