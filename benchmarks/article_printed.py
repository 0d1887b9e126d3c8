"""The printed code that still runs, drawn anew many times: what the articles themselves come to today.

It has no seed, so one number says little: docs/articles.md gives mean, deviation, least and most.
"""

import math
import statistics
from collections.abc import Callable

import numpy as np

DRAWS = 20


def simple_net() -> float:
    """Return the loss that article 000's §4 prints last: 100 steps of Adam, each on all 1,000 samples."""
    import keras

    x, y = np.random.rand(1000, 32), np.random.randint(0, 2, (1000, 1))
    widths = ((64, "relu"), (64, "relu"), (1, "sigmoid"))
    model = keras.Sequential([keras.layers.Dense(units, activation=name) for units, name in widths])
    model.compile("adam", "binary_crossentropy")
    loss = math.nan
    for _ in range(100):
        loss = float(model.train_on_batch(x, y))
    keras.backend.clear_session()
    return loss


def ridge() -> float:
    """Return the R² of article 004's §4.1 on what it was fitted to."""
    from sklearn.linear_model import Ridge

    x, y = np.random.rand(100, 10), np.random.rand(100)
    return Ridge(alpha=1.0).fit(x, y).score(x, y)


# Each with what it gives, in English and Chinese.
PRINTED: dict[str, tuple[Callable[[], float], str, str]] = {
    "printed_simple_net": (simple_net, "loss of the last step", "最后一步的损失"),
    "printed_ridge": (ridge, "R²", "R²"),
}
SPREAD = "{mean:.2f} ± {deviation:.2f}"
SENTENCES = {
    "en": f"The printed code, drawn anew {{count}} times: {{what}} {SPREAD}, from {{least:.2f}} to {{most:.2f}}.",
    "zh": f"原文代码，重新抽取 {{count}} 次：{{what}} {SPREAD}，从 {{least:.2f}} 到 {{most:.2f}}。",
}


def drawn(count: int = DRAWS) -> dict[str, list[float]]:
    """Return what each printed code comes to in so many draws."""
    return {name: [round(run(), 6) for _ in range(count)] for name, (run, *_) in PRINTED.items()}


def sentence(name: str, kept: dict, language: str) -> str:
    """Return one line on what a printed code came to."""
    found = kept["printed"].get(name, [])
    if not found:
        return ""
    _, english, chinese = PRINTED[name]
    told = {"mean": statistics.mean(found), "deviation": statistics.stdev(found)}
    what = {"en": english, "zh": chinese}[language]
    return SENTENCES[language].format(count=len(found), what=what, least=min(found), most=max(found), **told)
