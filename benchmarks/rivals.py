"""Other ways to the same norms: a second backward pass in Keras, `torch._foreach_norm` in PyTorch.

    python benchmarks/rivals.py

First table: a step of `fit` that sees every layer's gradient norm, by `GradientNorms` and by what other Keras tools do,
a callback that takes the derivatives of each batch again, compiled. Second: the same norms from `.grad` in a loop of
PyTorch, and what they cost there. Last: `steps_per_execution=32`, where `GradientNorms` still sees all steps and a
callback of another kind sees one in 32, beside plain `fit`. All in turns in one process.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch
from overhead import NETS, samples, trainer
from side_by_side import best, interleaved, ratio
from step_time import pytorch_resnet20
from torch import nn

from zoo import GradientNorms


class SecondPass(keras.callbacks.Callback):
    """Takes the gradients of each batch again after its step, and keeps their norms."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch: int):
        super().__init__()
        self.x, self.y, self.batch, self.norms, self.compiled = tf.constant(x), tf.constant(y), batch, [], None

    def on_train_batch_end(self, batch, logs=None):
        if self.compiled is None:
            self.compiled = tf.function(self.derive)
        start = batch * self.batch
        self.norms.append(self.compiled(self.x[start : start + self.batch], self.y[start : start + self.batch]).numpy())

    def derive(self, x, y):
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(x, y, self.model(x, training=True))
        return tf.stack([tf.norm(g) for g in tape.gradient(loss, [v.value for v in self.model.trainable_variables])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    costs = second_pass(args.rounds)
    foreach(args.rounds, costs)
    together(args.rounds)


def second_pass(rounds: int) -> dict[str, float]:
    print("| network | plain, ms a step | `GradientNorms` | second backward pass | second pass / ours |")
    print("| --- | --- | --- | --- | --- |")
    costs = {}
    for key, (name, make, shape, batch, steps) in NETS.items():
        x, y = samples(shape, batch * steps)
        tasks = {
            "plain": trainer(make, shape, batch, steps),
            "ours": trainer(make, shape, batch, steps, callbacks=[GradientNorms()]),
            "second": trainer(make, shape, batch, steps, callbacks=[SecondPass(x, y, batch)]),
        }
        times = {task: measured[:, 0] / steps * 1000 for task, measured in interleaved(tasks, rounds).items()}
        shown = " | ".join(f"{np.median(times[task]):.2f}" for task in tasks)
        print(f"| {name} | {shown} | {ratio(times['second'], times['ours'])} |", flush=True)
        costs[key] = best(times["ours"], times["plain"]) - 1
    return costs


def foreach(rounds: int, costs: dict[str, float]) -> None:
    print("\n| network | PyTorch, ms a step | with `torch._foreach_norm` | its cost | ours |")
    print("| --- | --- | --- | --- | --- |")
    for key, network in (("mlp", pytorch_mlp()), ("resnet", pytorch_resnet20())):
        name, _, shape, batch, steps = NETS[key]
        x, y = map(torch.from_numpy, samples((shape[-1], *shape[:-1]), batch))
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

        def train(seen, network=network, optimizer=optimizer, x=x, y=y, steps=steps) -> None:
            for _ in range(steps):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x), y).backward()
                if seen is not None:
                    seen.append(torch.stack(torch._foreach_norm([p.grad for p in network.parameters()])))
                optimizer.step()

        times = interleaved({"plain": lambda: train(None), "norms": lambda: train([])}, rounds)
        walls = {task: measured[:, 0] / steps * 1000 for task, measured in times.items()}
        shown = " | ".join(f"{np.median(walls[task]):.2f}" for task in walls)
        print(f"| {name} | {shown} | {best(walls['norms'], walls['plain']) - 1:+.1%} | {costs[key]:+.1%} |", flush=True)


def together(rounds: int) -> None:
    print("\n| network | plain `fit`, ms a step | 32 steps a call, every one seen | ratio |")
    print("| --- | --- | --- | --- |")
    for key in ("mlp", "lenet"):
        name, make, shape, batch, steps = NETS[key]
        steps = steps // 32 * 32
        tasks = {
            "plain": trainer(make, shape, batch, steps),
            "together": trainer(make, shape, batch, steps, callbacks=[GradientNorms()], steps_per_execution=32),
        }
        times = {task: measured[:, 0] / steps * 1000 for task, measured in interleaved(tasks, rounds).items()}
        shown = " | ".join(f"{np.median(times[task]):.2f}" for task in tasks)
        print(f"| {name} | {shown} | {ratio(times['together'], times['plain'])} |", flush=True)


def pytorch_mlp() -> nn.Module:
    hidden = [layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(64, 10))


if __name__ == "__main__":
    main()
