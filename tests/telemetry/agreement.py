"""Train networks from fixed weights on fixed batches and write what was recorded: `python agreement.py out.npz mlp`."""

import sys

import keras
import numpy as np
from test_models import recurrent, transformer

from zoo import GradientNorms, diagnose
from zoo.models import alexnet, densenet, lenet, mlp, resnet, vgg
from zoo.telemetry.probe import Probes
from zoo.telemetry.probe_table import MEASURES

CLASSES, STEPS, BATCH = 4, 6, 8

NETWORKS = {
    "mlp": (lambda: mlp((6,), CLASSES, depth=5, width=8, activation="tanh", normalization="layer"), (6,)),
    "resnet": (lambda: resnet((8, 8, 3), CLASSES, depth=8), (8, 8, 3)),
    "densenet": (lambda: densenet((8, 8, 3), CLASSES, depth=7, growth=4), (8, 8, 3)),
    "lenet": (lambda: lenet((12, 12, 1), CLASSES), (12, 12, 1)),
    "alexnet": (lambda: alexnet((8, 8, 3), CLASSES, small=True), (8, 8, 3)),
    # Its last maps are single pixels: batch normalization over 8 of them would magnify the last digit of a float, and a
    # rectifier that is on in one backend and, by a rounding, off in another would show in every norm before it.
    "vgg": (
        lambda: vgg((32, 32, 3), CLASSES, depth=11, small=True, normalization=None, activation="tanh"),
        (32, 32, 3),
    ),
    "recurrent": (recurrent, (5, 7)),
    "transformer": (lambda: transformer(dropout=0.0), (8,)),
}


def record(name: str) -> dict[str, np.ndarray]:
    make, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(STEPS * BATCH, *shape)).astype("float32"), rng.integers(0, CLASSES, STEPS * BATCH)
    model = make()
    if model.inputs[0].dtype == "int32":
        x = rng.integers(0, 11, x.shape)  # tokens
    model.set_weights([_weights(v.path, v.shape, rng) for v in model.weights])
    # On TensorFlow Keras clips an embedding's gradient before the repeated rows are summed.
    clip = None if name == "transformer" else 1.0
    optimizer = keras.optimizers.SGD(0.002, momentum=0.9, global_clipnorm=clip, weight_decay=1e-3)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    norms, probes = GradientNorms(updates=True), Probes(x[:BATCH], y[:BATCH])
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, epochs=2, callbacks=[norms, probes])
    verdict = diagnose(norms.history, probes.results)
    history = norms.history
    arrays = {
        "norms": history.norms,
        "losses": history.losses,
        "update_ratios": history.update_ratios,
        "probe_loss": np.array([p.loss for p in probes.results]),
        **{measure: np.stack([getattr(p, measure) for p in probes.results]) for measure in MEASURES},
        "names": np.array([*history.layers, *probes.results[0].activations, verdict.name, str(verdict.layer)]),
    }
    if clip:
        arrays["clip_norms"] = history.clip_norms
    return {f"{name}/{key}": array for key, array in arrays.items()}


def _weights(path: str, shape: tuple[int, ...], rng) -> np.ndarray:
    around = 1.0 if path.endswith(("gamma", "moving_variance")) else 0.0
    scale = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.1
    return (around + rng.normal(size=shape) * scale).astype("float32")


if __name__ == "__main__":
    arrays = {}
    for name in sys.argv[2:]:
        arrays |= record(name)
        # Keras itself imports TensorFlow, to make a Bidirectional layer.
        assert {"tensorflow", "recurrent"} & {keras.config.backend(), name} or "tensorflow" not in sys.modules
    np.savez(sys.argv[1], **arrays)
