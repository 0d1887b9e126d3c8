"""The tables of docs/articles.md: what `articles.py` measured, in both languages."""

import functools
import math
import statistics

import numpy as np
from article_examples import CURES, EXAMPLES, SEEDS, SETTINGS, Example
from article_printed import PRINTED, sentence
from article_runs import of_experiment

from zoo.report.paired import difference_of

BEGIN, END = "<!-- measured: {} -->", "<!-- end -->"

# Judged by these, which were fixed before the runs.
TRAINED = 0.9  # test accuracy; guessing has 0.1, a linear model 0.96
ARRIVES = (0.01, 100.0)  # share of the last layer's delta that may reach the first

TEXT: dict[str, dict[str, str]] = {
    "en": {
        "cure": "cure",
        "named": "named in",
        "share": "share of delta at the first layer, before → after training",
        "gradient": "gradient norm, first layer, first step",
        "accuracy": "test accuracy",
        "arrives": "gradient arrives",
        "trained": "trained",
        "yes": "yes",
        "no": "no",
        "of": "{} of {}",
        "summary": "Test accuracy, mean ± deviation of {seeds} seeds. **Bold** is cured: each reaches {trained:.2f}, "
        "also with the rounding of a processor without AVX-512 (`ONEDNN_MAX_CPU_ISA=AVX2`), told where it matters.",
        "elsewhere": "{}; with AVX2 {}",
        "command": "Each row: `python train.py experiment={setting}` and the row's words.",
        "words": "words",
        "run": "command",
        "beside": "beside the first row, {metric}",
        "better": "better",
        "worse": "worse",
        "no difference": "no difference seen",
        "when": "Measured {days} with {versions}; mean ± deviation, {seeds} seeds where nothing else is said.",
        "repeats": "{} runs",
    },
    "zh": {
        "cure": "疗法",
        "named": "出处",
        "share": "传到第一层的 delta 占比，训练前 → 训练后",
        "gradient": "第一步时第一层的梯度范数",
        "accuracy": "测试准确率",
        "arrives": "梯度到达",
        "trained": "训练成功",
        "yes": "是",
        "no": "否",
        "of": "{}/{}",
        "summary": "测试准确率，{seeds} 个随机种子的均值 ± 标准差。**粗体**表示治好：每个种子都不低于 {trained:.2f}，"
        "换成没有 AVX-512 的处理器的舍入（`ONEDNN_MAX_CPU_ISA=AVX2`）也是；若因此不同，则一并写出。",
        "elsewhere": "{}；用 AVX2 时 {}",
        "command": "每一行的命令是 `python train.py experiment={setting}` 加上该行的参数。",
        "words": "参数",
        "run": "命令",
        "beside": "与第一行相比，{metric}",
        "better": "更好",
        "worse": "更差",
        "no difference": "看不出差别",
        "when": "测量于 {days}，{versions}；均值 ± 标准差，没有另外说明时为 {seeds} 个随机种子。",
        "repeats": "{} 次运行",
    },
}
METRICS = {
    "loss": ("training loss, last step", "最后一步的训练损失"),
    "train_accuracy": ("training accuracy", "训练准确率"),
    "train_rmse": ("training error (rmse)", "训练误差（rmse）"),
    "test_accuracy": ("test accuracy", "测试准确率"),
    "test_rmse": ("test error (rmse)", "测试误差（rmse）"),
    "val_accuracy": ("validation accuracy", "验证准确率"),
    "val_rmse": ("validation error (rmse)", "验证误差（rmse）"),
    "start": ("share of delta that reaches the first layer", "传到第一层的 delta 占比"),
    "output": ("gradient of one sample at the logits", "单个样本在 logits 处的梯度"),
}
LANGUAGES = ("en", "zh")


def column(metric: str, language: str) -> str:
    """Return what a metric is called at the head of a column."""
    return METRICS[metric][LANGUAGES.index(language)]


def values(row: dict, metric: str) -> list[float]:
    """Return a metric of each repeat of a row that was kept."""
    return [float(run["metrics"].get(metric, "nan")) for run in row["runs"].values()]


def spread(found: list[float]) -> str:
    """Return mean ± deviation; of numbers that differ by orders, in powers of ten, their geometric ones."""
    if not found or any(map(math.isnan, found)):
        return "NaN"
    mean = statistics.mean(found)
    if any(math.isinf(v) for v in found) or (mean and not 1e-2 < abs(mean) < 1e3):
        return number(statistics.median(found))
    deviation = statistics.stdev(found) if len(found) > 1 else 0.0
    digits = 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def compared(row: dict, first: dict, metric: str, language: str) -> str:
    """Return what a row is beside the first: the mean difference of runs of the same repeat, and what it says."""
    text, same = TEXT[language], [key for key in row["runs"] if key in first["runs"]]
    pairs = [[float(one["runs"][key]["metrics"].get(metric, "nan")) for key in same] for one in (row, first)]
    differences = [a - b for a, b in zip(*pairs, strict=True)]
    if not all(map(math.isfinite, differences)):
        finite = [[math.isfinite(v) for v in part] for part in pairs]
        worse = not any(finite[0]) and all(finite[1])
        return text["worse"] if worse else text["no difference"]
    mean, _, low, high = difference_of(*map(np.array, pairs))
    if math.isnan(low):  # not one seed tells another story
        low = high = mean
    if low <= 0 <= high:
        return text["no difference"]
    good = mean < 0 if metric.endswith(("loss", "rmse")) else mean > 0
    return f"{text['better' if good else 'worse']} ({mean:+.3f})"


def example_table(example: Example, kept: dict, language: str) -> str:
    """Return one example's table in Markdown."""
    text = TEXT[language]
    wanted = dict.fromkeys(setting for name in example.experiments for setting, _ in of_experiment(name))
    known = {(row["experiment"], row["words"]): row for row in kept["rows"]}
    rows = [known[setting] for setting in wanted if setting in known]
    lines = []
    for row in rows:
        command = f"experiment={row['experiment']} {row['words']}".rstrip()
        line = [f"`{command}`", *(spread(values(row, metric)) for metric in example.metrics)]
        if example.by:
            line.append("" if row is rows[0] else compared(row, rows[0], example.by, language))
        lines.append(line)
    header = [text["run"], *(column(metric, language) for metric in example.metrics)]
    header += [text["beside"].format(metric=column(example.by, language))] if example.by else []
    repeats = {len(row["runs"]) for row in rows}
    note = [] if repeats <= {SEEDS} else ["", text["repeats"].format(max(repeats))]
    return "\n".join([table(header, lines), *note])


def find(kept: dict, setting: str, words: str) -> list[dict]:
    """Return the metrics of one cell of the cures' tables, one a seed."""
    row = next((r for r in kept["rows"] if (r["experiment"], r["words"]) == (setting, words)), None)
    if row is None:
        return []
    names = {"start": "start", "end": "end", "gradient": "gradient", "accuracy": "test_accuracy"}
    cell = []
    for run in row["runs"].values():
        cell.append({key: float(run["metrics"].get(name, "nan")) for key, name in names.items()})
        if "elsewhere" in run:
            cell[-1]["elsewhere"] = run["elsewhere"]
    return cell


def cured(cell: list[dict], key: str = "accuracy") -> bool:
    """Whether every seed trained."""
    return all(one[key] >= TRAINED for one in cell)


def accuracy(cell: list[dict], language: str = "en") -> str:
    """Return mean ± deviation; bold where every seed trained, with another processor's rounding too."""

    def told(key: str) -> str:
        found = [one[key] for one in cell]
        return f"{statistics.mean(found):.3f}" + (f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else "")

    if not cured(cell):
        return told("accuracy")
    if all("elsewhere" in one for one in cell) and not cured(cell, "elsewhere"):
        return TEXT[language]["elsewhere"].format(told("accuracy"), told("elsewhere"))
    return f"**{told('accuracy')}**"


def middle(cell: list[dict], key: str) -> float:
    """Return the median over seeds; NaN as soon as half of them are."""
    found = sorted((r[key] for r in cell), key=lambda v: (v != v, v))
    return found[len(found) // 2]


def arrives(cell: list[dict]) -> bool:
    """Tell whether, before training, delta reaches the first layer neither vanished nor exploded."""
    return ARRIVES[0] <= middle(cell, "start") <= ARRIVES[1]


def number(value: float) -> str:
    """0.00012 -> '1e-04', nan -> 'NaN'."""
    return "NaN" if value != value else f"{value:.0e}"


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def cures(kept: dict, language: str) -> str:
    """Return the summary of the cures, and a table for each setting."""
    text, label = TEXT[language], {"en": 3, "zh": 4}[language]
    lines = []
    for name in dict.fromkeys(cure[label] for cure in CURES):
        same = [cure for cure in CURES if cure[label] == name]
        cells = [next((find(kept, s, cure[0]) for cure in same if s in cure[2]), []) for s in SETTINGS]
        lines.append([name, same[0][1], *(accuracy(cell, language) if cell else "" for cell in cells)])
    header = [text["cure"], text["named"], *(title[language] for title in SETTINGS.values())]
    parts = [text["summary"].format(seeds=SEEDS, trained=TRAINED), table(header, lines)]
    for setting, title in SETTINGS.items():
        lines = []
        for cure in CURES:
            cell = find(kept, setting, cure[0]) if setting in cure[2] else []
            if not cell:
                continue
            trained = sum(r["accuracy"] >= TRAINED for r in cell)
            lines.append(
                [
                    cure[label],
                    f"`{cure[0]}`" if cure[0] else "",
                    f"{number(middle(cell, 'start'))} → {number(middle(cell, 'end'))}",
                    number(middle(cell, "gradient")),
                    text["yes"] if arrives(cell) else text["no"],
                    accuracy(cell, language),
                    text["of"].format(trained, len(cell)),
                ]
            )
        header = [text[key] for key in ("cure", "words", "share", "gradient", "arrives", "accuracy", "trained")]
        parts += [f"### {title[language]}", text["command"].format(setting=setting), table(header, lines)]
    return "\n\n".join(parts)


def when(kept: dict, language: str) -> str:
    """Return when and with what it was measured."""
    days = sorted({run["day"] for row in kept["rows"] for run in row["runs"].values()})
    told = days[0] if len(days) == 1 else f"{days[0]} – {days[-1]}" if days else ""
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    return TEXT[language]["when"].format(days=told, versions=versions, seeds=SEEDS)


def filled(page: str, kept: dict, language: str) -> str:
    """Return a page with what was measured between its markers.

    Raises:
        ValueError: for a marker without an end, or that of no table.
    """
    made = {"when": when, "cures": cures}
    made |= {example.name: functools.partial(example_table, example) for example in EXAMPLES}
    made |= {name: functools.partial(sentence, name) for name in PRINTED}
    for name, make in made.items():
        begin = BEGIN.format(name)
        if begin not in page:
            raise ValueError(f"the page lacks {begin}")
        before, _, rest = page.partition(begin)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"the page lacks {END} behind {begin}")
        page = f"{before}{begin}\n\n{make(kept, language)}\n\n{END}{after}"
    return page
