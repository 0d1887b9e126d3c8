"""How long a probe takes: the first of a process, the second, and one of many.

    python benchmarks/probes.py

Each network is probed in a process of its own, on 16 samples, after nothing but the making of the network. The sixth
probe is the first that TensorFlow traces; the seventh runs what it traced.
"""

import os
import subprocess
import sys
import time

import keras
import numpy as np

SAMPLES, SIDE, PROBES = 16, 64, 8
IMAGES = ("MobileNetV2", "EfficientNetV2B0", "ConvNeXtTiny")
SEQUENCES = ("LSTM", "bidirectional GRU", "transformer")
NETS = {"tensorflow": ("MLP, 50 x 64", *SEQUENCES, *IMAGES), "jax": ("MLP, 50 x 64", *SEQUENCES)}
NETS["torch"] = (*NETS["jax"], "MobileNetV2")


def network(name: str) -> tuple[keras.Model, np.ndarray]:
    layers, rng = keras.layers, np.random.default_rng(0)
    if name in IMAGES:
        model = getattr(keras.applications, name)(input_shape=(SIDE, SIDE, 3), weights=None, classes=10)
        return model, 255 * rng.random((SAMPLES, SIDE, SIDE, 3), np.float32)
    if name.startswith("MLP"):
        hidden = [layers.Dense(64, "relu") for _ in range(50)]
        model = keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10, "softmax")])
        return model, rng.random((SAMPLES, 64), np.float32)
    inputs = h = keras.Input((20, 16))
    if name == "LSTM":
        h = layers.LSTM(16)(layers.LSTM(16, return_sequences=True)(h))
    elif name == "bidirectional GRU":
        h = layers.Bidirectional(layers.GRU(16))(h)
    else:
        for _ in range(2):
            y = layers.LayerNormalization()(h)
            h = h + layers.MultiHeadAttention(4, 4)(y, y)
            h = h + layers.Dense(16)(layers.Dense(32, "gelu")(layers.LayerNormalization()(h)))
        h = layers.GlobalAveragePooling1D()(h)
    return keras.Model(inputs, layers.Dense(10, "softmax")(h)), rng.random((SAMPLES, 20, 16), np.float32)


def measure(name: str) -> None:
    from zoo.telemetry.probe import Prober

    model, x = network(name)
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = np.arange(SAMPLES) % 10
    prober, seconds = Prober(model), []
    for _ in range(PROBES):
        start = time.perf_counter()
        prober(x, y)
        seconds.append(time.perf_counter() - start)
    print(*seconds)


def main() -> None:
    print("| backend | network | first, s | second, s | sixth, s | eighth, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for backend, names in NETS.items():
        for name in names:
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, __file__, name]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds = [float(word) for word in done.stdout.split()[-PROBES:]]
            shown = " | ".join(f"{seconds[i]:.3f}" for i in (0, 1, 5, 7))
            print(f"| {backend} | {name} | {shown} |", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
