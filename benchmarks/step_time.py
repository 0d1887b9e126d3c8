"""Milliseconds a training step: a network of the zoo, the same layers as bare Keras makes them, and PyTorch.

    python benchmarks/step_time.py                 # ResNet-20 and VGG-16 (small), batch 128; needs torch for its column
    python benchmarks/step_time.py --rounds 3

The columns are interleaved, A B C A B C ..., in one process; each figure is the median of the rounds, each ratio the
median of the rounds' ratios. PyTorch runs channels-last with as many threads.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from zoo.models import resnet, vgg

BATCH, SHAPE, CLASSES = 128, (32, 32, 3), 10
NETS = {
    "ResNet-20": lambda: resnet(SHAPE, CLASSES, depth=20),
    "VGG-16 small": lambda: vgg(SHAPE, CLASSES, depth=16, small=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps a round")
    args = parser.parse_args()
    print(
        "| network | zoo, ms | bare Keras, ms | PyTorch, ms | zoo / bare | zoo / PyTorch | spread of the zoo's rounds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, make in NETS.items():
        steppers = {"zoo": keras_step(make()), "bare": keras_step(bare(make()))}
        torch_step = pytorch_step(name)
        if torch_step:
            steppers["torch"] = torch_step
        times = {key: [] for key in steppers}
        for step in steppers.values():
            step(2)  # traces and warms up
        for _ in range(args.rounds):
            for key, step in steppers.items():
                began = time.perf_counter()
                step(args.steps)
                times[key].append((time.perf_counter() - began) / args.steps * 1000)
        median = {key: statistics.median(values) for key, values in times.items()}
        ratio = {key: statistics.median(a / b for a, b in zip(times["zoo"], times[key], strict=True)) for key in times}
        shown = [f"{median[k]:.0f}" if k in median else "-" for k in ("zoo", "bare", "torch")]
        ratios = [f"{ratio[k]:.2f}" if k in ratio else "-" for k in ("bare", "torch")]
        spread = f"{min(times['zoo']):.0f} to {max(times['zoo']):.0f}"
        print(f"| {name} | {' | '.join(shown)} | {' | '.join(ratios)} | {spread} |", flush=True)


def bare(model: keras.Model) -> keras.Model:
    """Return the same layers, made anew by Keras from their configs: no block of the zoo has touched them."""
    return keras.Model.from_config(model.get_config())


def keras_step(model: keras.Model):
    """Return a function that trains `model` for a number of steps, through `fit`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=False)
    rng = np.random.default_rng(0)

    def step(count: int) -> None:
        x = rng.normal(size=(BATCH, *SHAPE)).astype("float32")
        y = rng.integers(0, CLASSES, BATCH)
        for _ in range(count):
            model.train_on_batch(x, y)

    return step


def pytorch_step(name: str):
    """Return the same for PyTorch; `None` where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    from torch import nn

    def conv(inputs, outputs, stride=1):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=name.startswith("VGG")), nn.BatchNorm2d(outputs)
        )

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first, self.second = conv(inputs, outputs, stride), conv(outputs, outputs)
            self.stride, self.extra = stride, (outputs - inputs) // 2

        def forward(self, x):
            h = self.second(torch.relu(self.first(x)))
            if self.stride > 1:  # option A: subsample, pad with zero channels
                x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
            return torch.relu(h + x)

    if name == "ResNet-20":
        layers, channels = [conv(3, 16), nn.ReLU()], 16
        for width in (16, 32, 64):
            for i in range(3):
                layers.append(Block(channels, width, 2 if i == 0 and width > 16 else 1))
                channels = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)]
    else:
        layers, channels = [], 3
        for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [conv(channels, width), nn.ReLU()]
                channels = width
        layers += [nn.Flatten(), nn.Linear(512, CLASSES)]
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    torch.set_num_threads(os.cpu_count())

    def step(count: int) -> None:
        x = torch.randn(BATCH, 3, *SHAPE[:2]).contiguous(memory_format=torch.channels_last)
        y = torch.randint(0, CLASSES, (BATCH,))
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return step


if __name__ == "__main__":
    main()
