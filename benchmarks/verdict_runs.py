"""The labelled runs of `verdicts.py`: what ails each, by the way it was made, and what cures exactly that.

Chosen before any verdict was seen. A name is fixed once given: seed and half come from it.
"""

# ruff: noqa: E501

import dataclasses
import hashlib
import zlib

from verdict_record import Recipe

LABELS = ("healthy", "vanishing", "exploding", "dead", "saturated", "stalled", "unstable")


@dataclasses.dataclass(frozen=True)
class Run:
    """One labelled run.

    Attributes:
        label: what it suffers from, by the way it was made.
        recipe: how it is trained.
        cure: the recipe without its fault; `None` for healthy runs.
        other: the recipe with the rate that would cure it if it suffered from its rate only; it must fail as well.
        where: the layer with the fault, where one layer alone has it.
    """

    name: str
    label: str
    recipe: Recipe
    cure: Recipe | None = None
    other: Recipe | None = None
    where: str | None = None


NETS = {
    "mlp": {},
    "conv": {"width": 12, "epochs": 6, "rate": 0.05},
    "lenet": {"data": "digits16", "activation": "tanh", "weights": "lecun_normal", "epochs": 6},
    "resnet": {"depth": 8, "normalization": "batch", "epochs": 5},
    "preresnet": {"depth": 8, "normalization": "batch", "epochs": 5},
    "plain": {"depth": 8, "normalization": "batch", "epochs": 5},
    "densenet": {"depth": 13, "width": 8, "normalization": "batch", "epochs": 6},
}
DATA = {
    "cancer": {"batch": 10},
    "spirals": {},
    "friedman": {"rate": 0.02},
    "mnist": {},
}


def _run(label: str, name: str, cure: dict | None = None, where: str | None = None, **options) -> Run:
    options = NETS[options.get("net", "mlp")] | DATA.get(options.get("data"), {}) | options
    name = f"{label}: {name}"
    recipe = Recipe(**options, seed=zlib.crc32(name.encode()) % 10000)
    cured = other = None
    if cure is not None:
        cured = dataclasses.replace(recipe, **cure, stop_when_trained=True)
    factor = {"vanishing": 10, "exploding": 0.01}.get(label)
    if factor:
        other = dataclasses.replace(recipe, rate=recipe.rate * factor, stop_when_trained=True)
    return Run(name, label, recipe, cured, other, where)


def healthy(name: str, **options) -> Run:
    return _run("healthy", name, **options)


def sick(label: str):
    def make(name: str, cure: dict, where: str | None = None, **options) -> Run:
        return _run(label, name, cure, where, **options)

    return make


vanishing, exploding, dead = sick("vanishing"), sick("exploding"), sick("dead")
saturated, stalled, unstable = sick("saturated"), sick("stalled"), sick("unstable")

ADAM = {"optimizer": "adam", "rate": 1e-3}
MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "rate": 0.01}
RELU = {"activation": "relu", "weights": "he_normal"}
BATCH = {"normalization": "batch"}
SPIRALS = {"data": "spirals", "width": 32}

# fmt: off
RUNS = [
    # Sound in every respect.
    healthy("mlp 5 relu"),
    healthy("mlp 3 tanh", depth=3, activation="tanh", weights="glorot_uniform"),
    healthy("mlp 8 elu rmsprop", depth=8, activation="elu", optimizer="rmsprop", rate=1e-3),
    healthy("mlp 10 gelu adam", depth=10, activation="gelu", **ADAM),
    healthy("mlp 10 tanh momentum", depth=10, activation="tanh", weights="glorot_uniform", **MOMENTUM),
    healthy("mlp 20 selu lecun", depth=20, activation="selu", weights="lecun_normal", rate=0.02),
    healthy("mlp 4 softsign", depth=4, activation="softsign", weights="glorot_uniform"),
    healthy("mlp 20 relu batch norm", depth=20, **BATCH),
    healthy("mlp 12 relu layer norm", depth=12, normalization="layer", rate=0.05),
    healthy("mlp 5 cancer", depth=5, data="cancer", width=32, rate=0.05),
    healthy("mlp 4 tanh spirals", depth=4, activation="tanh", weights="lecun_normal", **SPIRALS, **ADAM | {"rate": 5e-3}),
    healthy("mlp 5 friedman", depth=5, data="friedman"),
    healthy("lenet tanh", net="lenet", rate=0.05),
    healthy("lenet mnist adam", net="lenet", data="mnist", epochs=5, **ADAM),
    healthy("conv 6 relu momentum", net="conv", depth=6, **MOMENTUM),
    healthy("conv 9 relu batch norm", net="conv", depth=9, **BATCH),
    healthy("resnet 8", net="resnet"),
    healthy("resnet 20 adam", net="resnet", depth=20, **ADAM, epochs=3),
    healthy("preresnet 14", net="preresnet", depth=14),
    healthy("densenet 13", net="densenet", **MOMENTUM | {"rate": 0.05}),
    # Healthy, but sick to one fixed threshold or another.
    healthy("loss x 1e-5, mlp adam", loss_scale=1e-5, **ADAM | {"rate": 3e-3}),
    healthy("loss x 1e-4, conv adam", net="conv", depth=6, loss_scale=1e-4, **ADAM | {"rate": 3e-3}),
    healthy("loss x 1e4, small rate", loss_scale=1e4, rate=1e-5),
    healthy("large gradients, clipped", depth=8, weights=5.0, clip=1.0, rate=0.02, epochs=12),
    healthy("large first losses, adam", depth=5, weights=6.0, **ADAM),
    healthy("decay: mlp 6 sigmoid adam", depth=6, activation="sigmoid", weights="glorot_uniform", **ADAM | {"rate": 5e-3}),
    healthy("decay: mlp 12 relu lecun adam", depth=12, weights=1.0, **ADAM),
    healthy("decay: mlp 18 relu glorot adam", depth=18, weights="glorot_uniform", **ADAM | {"rate": 2e-3}),
    healthy("decay: mlp 15 tanh small adam", depth=15, activation="tanh", weights=0.6, **ADAM | {"rate": 2e-3}),
    healthy("decay: mlp 10 swish", depth=10, activation="swish", weights="glorot_uniform", **ADAM),
    healthy("growth: mlp 20 tanh chaotic", depth=20, activation="tanh", weights=1.8, rate=0.01),
    healthy("growth: mlp 12 relu large weights", depth=12, weights=3.0, **ADAM | {"rate": 3e-4}),
    healthy("dead 50 %", edits=(("_1", "bias", "half", -20.0), ("_3", "bias", "half", -20.0))),
    healthy("negative biases", depth=3, bias=-0.3, width=128),
    healthy("dead half of a conv net", net="conv", depth=5, edits=(("conv_2", "bias", "half", -20.0),), rate=0.1),
    healthy("residual 50", depth=50, residual=2, normalization="batch", rate=0.05, epochs=6),
    healthy("residual 60 tanh", depth=60, residual=1, activation="tanh", weights=0.1, rate=0.02, epochs=6),
    healthy(
        "residual 20, branches start at zero",
        depth=21,
        residual=2,
        edits=tuple((f"dense_{i}", "kernel", "fill", 0.0) for i in range(3, 22, 2)),
        activation="tanh",
        weights="lecun_normal",
    ),
    healthy("resnet 8, branches start at zero", net="resnet", edits=(("_conv2_norm", "gamma", "fill", 0.0),)),
    healthy("densenet 13 without normalization", net="densenet", normalization=None, rate=0.05),
    healthy("slow: mlp 5 sgd", rate=2e-3),
    healthy("slow: conv adam", net="conv", depth=4, **ADAM | {"rate": 2e-4}),
    healthy("slow: resnet 8", net="resnet", rate=3e-3),
    healthy("plateau: mlp 3 sigmoid", depth=3, activation="sigmoid", weights="glorot_uniform", rate=0.5, epochs=20),
    healthy("noisy: batch 4", batch=4, epochs=3, rate=0.03),
    healthy("noisy: batch 8, dropout", batch=8, epochs=6, dropout=0.4, rate=0.02),
    healthy("swings: momentum 0.95", depth=4, momentum=0.95, rate=0.03),
    healthy("swings: rate near its limit", depth=3, activation="tanh", weights="lecun_normal", rate=0.5),
    healthy("swings: friedman", data="friedman", depth=3, momentum=0.9, rate=0.02),
    healthy("saturated in part: large weights", depth=2, activation="tanh", weights=9.0, rate=0.05),
    healthy("saturated in part: raw pixels", depth=3, activation="tanh", weights="lecun_normal", x_scale=16.0, rate=0.05),
    healthy("saturated first layer", edits=(("dense_1", "kernel", "scale", 20.0),), activation="tanh", depth=3, **ADAM),
    healthy("recovers: one layer of tiny weights, tanh", depth=10, activation="tanh", weights="lecun_normal", edits=(("dense_5", "kernel", "scale", 1e-5),)),
    healthy("recovers: one conv layer of tiny weights", net="conv", depth=7, edits=(("conv_4", "kernel", "scale", 1e-5),)),
    healthy("recovers from a jump, relu", depth=4, spike=(10, 1, 20.0)),
    healthy("decay: conv 5 sigmoid adam", net="conv", depth=5, activation="sigmoid", weights="glorot_uniform", **ADAM | {"rate": 5e-3}),
    healthy("mlp 30 tanh orthogonal", depth=30, activation="tanh", weights="orthogonal", rate=0.02),
    healthy("recovers from a jump, batch norm", depth=6, spike=(10, 1, 60.0), **BATCH),
    healthy("recovers from a jump", depth=3, activation="tanh", weights="lecun_normal", spike=(12, 2, 20.0)),
    # The gradient dies on its way to the early layers.
    vanishing("mlp 30 sigmoid", RELU | BATCH, depth=30, activation="sigmoid", weights="glorot_uniform"),
    vanishing("mlp 12 sigmoid adam", BATCH, depth=12, activation="sigmoid", weights="glorot_uniform", **ADAM),
    vanishing("mlp 8 sigmoid cancer", RELU, depth=8, activation="sigmoid", weights="glorot_uniform", data="cancer", width=32, rate=0.05),
    vanishing("mlp 40 tanh small", {"weights": "lecun_normal"}, depth=40, activation="tanh", weights=0.5, rate=0.02),
    vanishing("mlp 30 relu glorot", RELU | BATCH, depth=30, weights="glorot_uniform", rate=0.03),
    vanishing("mlp 22 relu lecun", {"weights": "he_normal"}, depth=22, weights=1.0, rate=0.03),
    vanishing("mlp 25 relu lecun momentum", {"weights": "he_normal"}, depth=25, weights=0.8, **MOMENTUM),
    vanishing("mlp 30 swish glorot", BATCH, depth=30, activation="swish", weights="glorot_uniform", rate=0.05),
    vanishing("mlp 25 gelu friedman", BATCH, depth=25, activation="gelu", weights=1.0, data="friedman"),
    vanishing("mlp 8 tanh tiny weights", {"weights": "lecun_normal"}, depth=8, activation="tanh", weights=0.01),
    vanishing("mlp 10 elu tiny weights", {"weights": "lecun_normal"}, depth=10, activation="elu", weights=0.02, rate=0.05),
    vanishing("mlp 24 softsign, no shortcuts", {"residual": 1}, depth=24, activation="softsign", weights=0.5, rate=0.05),
    vanishing("three layers of tiny weights, tanh", {"edits": ()}, None, depth=10, activation="tanh", weights="lecun_normal", edits=tuple((f"dense_{i}", "kernel", "scale", 1e-2) for i in (4, 5, 6))),
    vanishing("two layers of zeros, selu", {"edits": ()}, None, depth=8, activation="selu", weights="lecun_normal", edits=(("dense_4", "kernel", "fill", 0.0), ("dense_5", "kernel", "fill", 0.0)), rate=0.02),
    vanishing("two layers of tiny weights, relu", {"edits": ()}, None, depth=12, edits=(("dense_6", "kernel", "scale", 1e-3), ("dense_7", "kernel", "scale", 1e-3)), rate=0.05),
    vanishing("conv 9 sigmoid", RELU, net="conv", depth=9, activation="sigmoid", weights="glorot_uniform"),
    vanishing("conv 12 relu small weights", {"weights": "he_normal"}, net="conv", depth=12, weights=0.5),
    vanishing("two conv layers of tiny weights", {"edits": ()}, None, net="conv", depth=7, edits=(("conv_4", "kernel", "scale", 1e-3), ("conv_5", "kernel", "scale", 1e-3))),
    vanishing("lenet sigmoid mnist", {"activation": "tanh", "weights": "lecun_normal"}, net="lenet", data="mnist", activation="sigmoid", weights=0.1, rate=0.05, epochs=5),
    vanishing("plain 20 without normalization", BATCH, net="plain", depth=20, normalization=None, weights=0.7, epochs=4),
    vanishing("densenet 22 sigmoid", BATCH | RELU, net="densenet", depth=22, normalization=None, activation="sigmoid", weights=0.2, rate=0.03),
    vanishing("residual, a trunk of tiny weights", {"edits": ()}, None, depth=13, residual=2, activation="tanh", weights=0.3, edits=(("dense_1", "kernel", "scale", 1e-5), ("logits", "kernel", "scale", 1e-5)), rate=0.01),
    # Gradients grow toward the input because of the weights.
    exploding("mlp 10 relu x3", {"weights": "he_normal"}, depth=10, weights=18.0, rate=0.05),
    exploding("mlp 20 relu x2", {"weights": "he_normal"}, depth=20, weights=8.0, rate=0.02),
    exploding("mlp 30 relu momentum", RELU | BATCH, depth=30, weights=5.0, **MOMENTUM),
    exploding("mlp 8 relu unit normal", {"weights": "he_normal"}, depth=8, weights=64.0, rate=0.05),
    exploding("mlp 10 elu", {"weights": "lecun_normal"}, depth=10, activation="elu", weights=30.0, rate=0.05),
    exploding("mlp 15 gelu", {"weights": "he_normal"}, depth=15, activation="gelu", weights=12.0, rate=0.03),
    exploding("mlp 20 selu", {"weights": "lecun_normal"}, depth=20, activation="selu", weights=5.0, rate=0.02),
    exploding("mlp 40 tanh chaotic", {"weights": "lecun_normal"}, depth=40, activation="tanh", weights=3.0, rate=0.02),
    exploding("mlp 30 softsign chaotic", {"weights": 1.0}, depth=30, activation="softsign", weights=25.0, rate=0.02),
    exploding("mlp 12 relu adam", {"weights": "he_normal"}, depth=12, weights=72.0, **ADAM),
    exploding("mlp 10 friedman", {"weights": "he_normal"}, depth=10, weights=10.0, data="friedman"),
    exploding("mlp 6 linear", {"weights": 1.0}, depth=6, activation="linear", weights=25.0, rate=0.02),
    exploding("mlp 14 cancer", {"weights": "he_normal"}, depth=14, weights=9.0, data="cancer", width=32, rate=0.03),
    exploding("one layer x1000", {"edits": ()}, "dense_5", depth=10, edits=(("dense_5", "kernel", "scale", 1000.0),), rate=0.05),
    exploding("one layer x10000, elu", {"edits": ()}, "dense_3", depth=6, activation="elu", weights="lecun_normal", edits=(("dense_3", "kernel", "scale", 10000.0),), rate=0.05),
    exploding("conv 8 relu x3", {"weights": "he_normal"}, net="conv", depth=8, weights=18.0),
    exploding("one conv layer x30000", {"edits": ()}, "conv_3", net="conv", depth=6, edits=(("conv_3", "kernel", "scale", 30000.0),)),
    exploding("residual 40, he, no normalization", {"weights": 0.02}, depth=40, residual=1, rate=0.02),
    exploding("resnet 14 without normalization", BATCH, net="resnet", depth=14, normalization=None, weights=20.0),
    exploding("densenet 13 without normalization", {"weights": "he_normal"}, net="densenet", normalization=None, weights=40.0, rate=0.03),
    exploding("lenet relu mnist", {"weights": "he_normal"}, net="lenet", data="mnist", activation="relu", weights=60.0, rate=0.03, epochs=5),
    # ReLU units that are zero on everything.
    dead("mlp 5, biases -5", {"bias": 0.0}, bias=-5.0),
    dead("mlp 8 adam, biases -3", {"bias": 0.0}, depth=8, bias=-3.0, **ADAM),
    dead("mlp 4 cancer, biases -8", {"bias": 0.0}, depth=4, data="cancer", width=32, bias=-8.0, rate=0.05),
    dead("mlp friedman, biases -6", {"bias": 0.0}, depth=5, data="friedman", bias=-6.0),
    dead("one layer, biases -30", {"edits": ()}, "dense_4", depth=8, edits=(("dense_4", "bias", "fill", -30.0),)),
    dead("one layer, negative weights", {"edits": ()}, "dense_3", depth=6, edits=(("dense_3", "kernel", "negative", 0.0),)),
    dead("one late layer adam, biases -10", {"edits": ()}, "dense_10", depth=12, edits=(("dense_10", "bias", "fill", -10.0),), **ADAM),
    dead("a jump at step 10", {"spike": None}, depth=6, width=16, spike=(10, 1, 60.0)),
    dead("a jump at step 25", {"spike": None}, depth=8, width=16, spike=(25, 1, 100.0), rate=0.05),
    dead("a jump at step 5, conv", {"spike": None}, net="conv", depth=7, spike=(5, 1, 100.0)),
    dead("a jump at step 0", {"spike": None}, depth=7, width=16, spike=(0, 1, 60.0)),
    dead("a jump at step 20, conv", {"spike": None}, net="conv", depth=5, spike=(20, 1, 60.0)),
    dead("conv 6, biases -4", {"bias": 0.0}, net="conv", depth=6, bias=-4.0),
    dead("one conv layer, biases -30", {"edits": ()}, "conv_5", net="conv", depth=7, edits=(("conv_5", "bias", "fill", -30.0),)),
    dead("conv 7 batch norm, one beta -20", {"edits": ()}, "conv_4", net="conv", depth=7, edits=(("conv_4_norm", "beta", "fill", -20.0),), **BATCH),
    dead("lenet mnist, biases -5", {"bias": 0.0}, net="lenet", data="mnist", activation="relu", weights="he_normal", bias=-5.0, rate=0.05, epochs=5),
    dead("resnet 8, all betas -10", {"edits": ()}, net="resnet", edits=(("_norm", "beta", "fill", -10.0),)),
    dead("densenet 13, all betas -10", {"edits": ()}, net="densenet", edits=(("_norm", "beta", "fill", -10.0),)),
    dead("plain 8, one beta -20", {"edits": ()}, "stage2_block1_conv1", net="plain", edits=(("stage2_block1_conv1_norm", "beta", "fill", -20.0),)),
    # Bounded activations at the ends of their range.
    saturated("mlp 4 tanh, biases 6", {"bias": 0.0}, depth=4, activation="tanh", weights="lecun_normal", bias=6.0),
    saturated("mlp 3 sigmoid, biases 12", {"bias": 0.0, "weights": 4.0, **ADAM}, depth=3, activation="sigmoid", weights=4.0, bias=12.0, **ADAM),
    saturated("mlp 3 sigmoid, biases -12", {"bias": 0.0}, depth=3, activation="sigmoid", weights=4.0, bias=-12.0, **ADAM),
    saturated("mlp 5 softsign, biases 60", {"bias": 0.0}, depth=5, activation="softsign", weights="lecun_normal", bias=60.0),
    saturated("mlp 4 tanh cancer, biases -5", {"bias": 0.0}, depth=4, activation="tanh", weights="lecun_normal", bias=-5.0, data="cancer", width=32, rate=0.05),
    saturated("mlp 4 tanh friedman, biases 7", {"bias": 0.0}, depth=4, activation="tanh", weights="lecun_normal", bias=7.0, data="friedman", rate=0.005),
    saturated("one layer, tanh biases 15", {"edits": ()}, "dense_3", depth=6, activation="tanh", weights="lecun_normal", edits=(("dense_3", "bias", "fill", 15.0),)),
    saturated("one late layer, tanh biases -12", {"edits": ()}, "dense_7", depth=8, activation="tanh", weights="lecun_normal", edits=(("dense_7", "bias", "fill", -12.0),), **MOMENTUM),
    saturated("one layer, batch norm beta 20", {"edits": ()}, "dense_4", depth=6, activation="tanh", weights="lecun_normal", edits=(("dense_4_norm", "beta", "fill", 20.0),), **BATCH),
    saturated("mlp 3 tanh, large weights", {"weights": "lecun_normal"}, depth=3, activation="tanh", weights=2000.0, rate=0.02),
    saturated("mlp 4 tanh adam, large weights", {"weights": "lecun_normal"}, depth=4, activation="tanh", weights=5000.0, **ADAM),
    saturated("mlp 4 sigmoid, large weights", {"weights": 8.0, "depth": 2}, depth=4, activation="sigmoid", weights=20000.0, rate=0.05),
    saturated("pixels to 255 and all of them bright, tanh", {"x_scale": 1.0, "x_shift": 0.0}, depth=3, activation="tanh", weights="lecun_normal", x_scale=255.0, x_shift=255.0, rate=0.05),
    saturated("spirals far from the origin, tanh", {"x_shift": 0.0}, depth=3, activation="tanh", weights="lecun_normal", x_shift=1000.0, **SPIRALS, **ADAM | {"rate": 5e-3}),
    saturated("a jump at step 10, tanh", {"spike": None}, depth=4, activation="tanh", weights="lecun_normal", spike=(10, 3, 1000.0), rate=0.05),
    saturated("a jump at step 5, tanh momentum", {"spike": None}, depth=6, activation="tanh", weights="lecun_normal", spike=(5, 3, 3000.0), **MOMENTUM | {"momentum": 0.5}),
    saturated("conv 5 tanh, biases 6", {"bias": 0.0}, net="conv", depth=5, activation="tanh", weights="lecun_normal", bias=6.0),
    saturated("one conv layer, tanh biases 30", {"edits": ()}, "conv_3", net="conv", depth=6, activation="tanh", weights="lecun_normal", edits=(("conv_3", "bias", "fill", 30.0),)),
    saturated("lenet mnist, biases -6", {"bias": 0.0}, net="lenet", data="mnist", bias=-6.0, rate=0.05, epochs=5),
    saturated("lenet, f6 biases 12", {"edits": ()}, "f6", net="lenet", edits=(("f6", "bias", "fill", 12.0),), rate=0.05),
    saturated("resnet 8 tanh, all betas 10", {"edits": ()}, net="resnet", activation="tanh", weights="lecun_normal", edits=(("_norm", "beta", "fill", 10.0),)),
    saturated("densenet 13 tanh, all betas -10", {"edits": ()}, net="densenet", activation="tanh", weights="lecun_normal", edits=(("_norm", "beta", "fill", -10.0),)),
    # A sound net whose rate is far too small.
    stalled("mlp 5 relu", {"rate": 0.1}, rate=1e-5),
    stalled("mlp 4 tanh adam", ADAM, depth=4, activation="tanh", weights="lecun_normal", optimizer="adam", rate=1e-7),
    stalled("mlp 20 relu momentum", {"rate": 0.01}, depth=20, momentum=0.9, rate=1e-7),
    stalled("mlp 10 gelu rmsprop", {"rate": 1e-3}, depth=10, activation="gelu", optimizer="rmsprop", rate=1e-8),
    stalled("mlp 3 sigmoid adam", {"rate": 3e-3}, depth=3, activation="sigmoid", weights="glorot_uniform", optimizer="adam", rate=1e-6),
    stalled("mlp 5 friedman", {"rate": 0.02}, data="friedman", rate=1e-6),
    stalled("mlp 5 cancer", {"rate": 0.05}, data="cancer", width=32, rate=1e-6),
    stalled("spirals selu", {"rate": 5e-3}, **SPIRALS, activation="selu", weights="lecun_normal", optimizer="adam", rate=3e-7),
    stalled("loss x 1e-6, sgd", {"rate": 1e5}, loss_scale=1e-6, rate=0.1),
    stalled("loss x 1e-9, below adam's epsilon", {"loss_scale": 1.0}, loss_scale=1e-9, **ADAM),
    stalled("clipped to 1e-5", {"clip": None}, depth=6, clip=1e-5),
    stalled("a rate that halves in 2 steps", {"growth": 1.0}, depth=4, growth=0.7, rate=0.02),
    stalled("residual 30", {"rate": 0.05}, depth=30, residual=2, normalization="batch", rate=1e-7),
    stalled("conv 6", {"rate": 0.05}, net="conv", depth=6, rate=3e-6),
    stalled("conv 9 batch norm adam", ADAM, net="conv", depth=9, optimizer="adam", rate=1e-8, **BATCH),
    stalled("lenet mnist", {"rate": 0.05}, net="lenet", data="mnist", rate=1e-6, epochs=5),
    stalled("resnet 8", {"rate": 0.1}, net="resnet", rate=1e-6),
    stalled("densenet 13", {"rate": 0.1, "momentum": 0.9}, net="densenet", rate=1e-6, momentum=0.9),
    # A sound net whose rate is too large.
    unstable("mlp 5 relu", {"rate": 0.1}, rate=3.0),
    unstable("mlp 3 tanh", {"rate": 0.1}, depth=3, activation="tanh", weights="lecun_normal", rate=20.0),
    unstable("mlp 6 tanh adam", ADAM, depth=6, activation="tanh", weights="lecun_normal", optimizer="adam", rate=0.3),
    unstable("mlp 5 elu", {"rate": 0.1}, activation="elu", weights="lecun_normal", rate=3.0),
    unstable("mlp 5 leaky relu momentum", {"rate": 0.01}, activation="leaky_relu", momentum=0.95, rate=0.5),
    unstable("mlp 8 elu rmsprop", {"rate": 1e-3}, depth=8, activation="elu", weights="lecun_normal", optimizer="rmsprop", rate=0.1),
    unstable("mlp 3 sigmoid", {"rate": 3e-3}, depth=3, activation="sigmoid", weights="glorot_uniform", optimizer="adam", rate=1.0),
    unstable("mlp 4 friedman", {"rate": 0.02}, depth=4, data="friedman", activation="elu", weights="lecun_normal", rate=1.0),
    unstable("mlp 5 friedman momentum", {"rate": 0.01}, data="friedman", momentum=0.9, rate=0.3),
    unstable("mlp 5 cancer softsign", {"rate": 0.1}, data="cancer", width=32, activation="softsign", weights="lecun_normal", rate=30.0),
    unstable("spirals selu adam", {"rate": 5e-3}, **SPIRALS, activation="selu", weights="lecun_normal", optimizer="adam", rate=0.5),
    unstable("mlp 10 batch norm", {"rate": 0.1}, depth=10, rate=50.0, **BATCH),
    unstable("residual 20 swish", {"rate": 0.02}, depth=20, residual=1, activation="swish", weights=0.1, rate=3.0),
    unstable("a rate that grows", {"growth": 1.0}, depth=4, activation="elu", weights="lecun_normal", rate=0.02, growth=1.25),
    unstable("a rate that grows, adam", {"growth": 1.0}, depth=5, activation="tanh", weights="lecun_normal", growth=1.25, **ADAM),
    unstable("conv 6 elu", {"rate": 0.05}, net="conv", depth=6, activation="elu", weights="lecun_normal", rate=2.0),
    unstable("conv 6 batch norm adam", ADAM, net="conv", depth=6, activation="leaky_relu", optimizer="adam", rate=30.0, **BATCH),
    unstable("lenet", {"rate": 0.05}, net="lenet", rate=20.0),
    unstable("lenet mnist adam", ADAM, net="lenet", data="mnist", optimizer="adam", rate=0.3, epochs=5),
    unstable("resnet 8", {"rate": 0.1}, net="resnet", rate=100.0),
    unstable("densenet 13", {"rate": 0.1}, net="densenet", activation="elu", momentum=0.9, rate=10.0),
]
# fmt: on

QUICK = (  # all of the half for tuning
    "healthy: mlp 5 relu",
    "healthy: conv 6 relu momentum",
    "healthy: dead 50 %",
    "healthy: resnet 8, branches start at zero",
    "vanishing: mlp 8 sigmoid cancer",
    "exploding: mlp 10 friedman",
    "dead: one layer, negative weights",
    "saturated: one layer, tanh biases 15",
    "stalled: mlp 5 cancer",
    "unstable: mlp 5 elu",
)


def half_of(runs: list) -> dict[str, str]:
    """Put each run into tune or final: within a label every second one, in the order of the hashes of their names."""
    halves = {}
    for label in LABELS:
        ordered = sorted((run for run in runs if run.label == label), key=_hash)
        halves |= {run.name: ("tune", "final")[i % 2] for i, run in enumerate(ordered)}
    return halves


def _hash(run) -> str:
    return hashlib.sha256(run.name.encode()).hexdigest()
