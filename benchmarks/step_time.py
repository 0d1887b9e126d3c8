"""Milliseconds a training step: a network of the zoo, the same layers as bare Keras makes them, and PyTorch.

    python benchmarks/step_time.py                 # ResNet-20 and VGG-16 (small), batch 128
    python benchmarks/step_time.py --rounds 9

The three take turns in one process, on data in memory; each figure is the median of the rounds, each ratio the median
of the rounds' ratios, with the middle half of them. PyTorch runs channels-last with as many threads.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import torch
from overhead import samples, trainer
from side_by_side import interleaved, ratio
from torch import nn

from zoo.models import resnet, vgg

BATCH, SHAPE, CLASSES = 128, (32, 32, 3), 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    nets = {  # and the steps of a round
        "ResNet-20": (lambda: resnet(SHAPE, CLASSES, depth=20), pytorch_resnet20, 6),
        "VGG-16 small": (lambda: vgg(SHAPE, CLASSES, depth=16, small=True), pytorch_vgg16, 2),
    }
    print("| network | zoo, ms | bare Keras, ms | PyTorch, ms | zoo / bare Keras | zoo / PyTorch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (make, rival, steps) in nets.items():
        tasks = {
            "zoo": trainer(make, SHAPE, BATCH, steps),
            "bare": trainer(lambda make=make: bare(make()), SHAPE, BATCH, steps),
            "torch": pytorch_trainer(rival(), steps),
        }
        times = {task: t[:, 0] / steps * 1000 for task, t in interleaved(tasks, args.rounds).items()}
        shown = " | ".join(f"{np.median(t):.0f}" for t in times.values())
        ratios = " | ".join(ratio(times["zoo"], times[task]) for task in ("bare", "torch"))
        print(f"| {name} | {shown} | {ratios} |", flush=True)


def bare(model: keras.Model) -> keras.Model:
    """Return the same layers, made anew by Keras from their configs: no block of the zoo has touched them."""
    return keras.Model.from_config(model.get_config())


def pytorch_trainer(model: nn.Module, steps: int):
    """Return a function that trains `model` for `steps` steps."""
    x, y = map(torch.from_numpy, samples((SHAPE[2], *SHAPE[:2]), BATCH * steps))
    x, model = (moved.to(memory_format=torch.channels_last) for moved in (x, model))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def train() -> None:
        for batch, classes in zip(x.split(BATCH), y.split(BATCH), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), classes).backward()
            optimizer.step()

    return train


def convolution(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Sequential:
    """A 3 x 3 convolution and batch normalization."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block with an option A shortcut: subsample, pad with zero channels (He et al. 2015, sec. 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first, self.second = convolution(inputs, outputs, stride), convolution(outputs, outputs)
        self.stride, self.extra = stride, (outputs - inputs) // 2

    def forward(self, x):
        h = self.second(torch.relu(self.first(x)))
        if self.stride > 1:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return torch.relu(h + x)


def pytorch_resnet20() -> nn.Module:
    layers, channels = [convolution(3, 16), nn.ReLU()], 16
    for width in (16, 32, 64):
        for i in range(3):
            layers.append(Block(channels, width, 2 if i == 0 and width > 16 else 1))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


def pytorch_vgg16() -> nn.Module:
    layers, channels = [], 3
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [convolution(channels, width, bias=True), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, CLASSES))


if __name__ == "__main__":
    main()
