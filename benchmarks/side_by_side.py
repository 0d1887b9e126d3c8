"""What the measurements share: tasks in turns A B C A B C ..., and how their ratios are shown."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def interleaved(tasks: Mapping[str, Callable[[], None]], rounds: int, *, warm_up: int = 2) -> dict[str, np.ndarray]:
    """Run each task once a round, every second round in the other order.

    Args:
        tasks: what is compared.
        rounds: that count.
        warm_up: rounds before them. The first compiles, the second takes up what is compiled.

    Returns:
        (rounds, 2) seconds of each task: on the wall, and of the processor in all threads.
    """
    for task in (*tasks.values(),) * warm_up:
        task()
    times = {name: [] for name in tasks}
    for number in range(rounds):
        for name in list(tasks)[:: -1 if number % 2 else 1]:
            wall, processor = time.perf_counter(), time.process_time()
            tasks[name]()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: np.array(values) for name, values in times.items()}


def ratio(a: np.ndarray, b: np.ndarray) -> str:
    """The median of the rounds' ratios (n,), with the middle half of them."""
    low, middle, high = np.quantile(a / b, [0.25, 0.5, 0.75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def best(a: np.ndarray, b: np.ndarray) -> float:
    """The ratio of the fastest rounds: what noise, which only ever adds, leaves."""
    return float(a.min() / b.min())
