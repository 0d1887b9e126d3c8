"""Does each cure that the articles of docs/articles.md name cure anything? Measures, and writes both pages' tables.

    python benchmarks/articles.py            # 5 seeds; about half an hour on two cores; `make articles` is the same
    python benchmarks/articles.py --quick    # 1 seed, 2 epochs, prints only

Each run is a real one (`zoo.running`) on scikit-learn's handwritten digits: an experiment, which ails, and the words
that lay one cure over it. Nothing else differs between the runs of a table but the seed.
"""

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"en": ROOT / "docs" / "articles.md", "zh": ROOT / "docs" / "articles.zh.md"}
PICTURE = ROOT / "docs" / "articles_cosine.svg"
DONE = ROOT / "mlruns" / "articles.jsonl"  # the runs of a measurement that was cut off: the next one goes on from them
BEGIN, END = "<!-- claims: written by benchmarks/articles.py -->", "<!-- end of claims -->"
SEEDS = 5
RUNS_A_PROCESS = 60  # each leaves some MB behind that only the process's end gives back
QUIET = ("tracking=none", "pictures=false", "verbose=0")

# Judged by these, which were fixed before the runs.
TRAINED = 0.9  # test accuracy; guessing has 0.1, a linear model 0.96
ARRIVES = (0.01, 100.0)  # share of the last layer's delta that may reach the first

SETTINGS = {
    "sigmoid_30": {"en": "30 sigmoid layers", "zh": "30 层 sigmoid"},
    "relu_50": {"en": "50 plain ReLU layers", "zh": "50 层普通 ReLU"},
    "large_weights": {"en": "large weights", "zh": "权重过大"},
    "large_rate": {"en": "large rate", "zh": "学习率过大"},
}
VANISHING, EXPLODING = ("sigmoid_30", "relu_50"), ("large_weights", "large_rate")
EVERYWHERE = tuple(SETTINGS)

# (words for train.py, which articles name it, where it can be tried, English, Chinese). Where an article prints a
# number (Adam 0.001, lambda 0.01, global norm 1), it is that one.
CURES = [
    ("", "", EVERYWHERE, "none", "无"),
    ("activation=relu", "000 003 004", ("sigmoid_30",), "activation: ReLU", "激活函数：ReLU"),
    ("activation=leaky_relu", "000", EVERYWHERE, "activation: leaky ReLU", "激活函数：Leaky ReLU"),
    ("activation=elu", "000", EVERYWHERE, "activation: ELU", "激活函数：ELU"),
    ("model.residual=2", "000 002 003 004", EVERYWHERE, "residual connections", "残差连接"),
    ("normalization=batch", "002 003", EVERYWHERE, "batch normalization", "批量归一化"),
    ("regularizer=l2 regularizer.l2=0.005", "000 003 004", EVERYWHERE, "L2 penalty", "L2 惩罚"),
    ("schedule=inverse_time", "000 002 004", EVERYWHERE, "learning-rate decay", "学习率衰减"),
    ("model.depth=60", "000", ("sigmoid_30", "large_weights"), "twice as deep", "层数加倍"),
    ("model.depth=100", "000", ("relu_50",), "twice as deep", "层数加倍"),
    ("model.depth=20", "000", ("large_rate",), "twice as deep", "层数加倍"),
    ("clipping=global_norm", "004", EVERYWHERE, "clipping to global norm 1", "按全局范数 1 裁剪"),
    ("clipping=normalize", "004", EVERYWHERE, "division by the norm", "除以范数"),
    ("optimizer=ema_momentum", "001", EVERYWHERE, "momentum, as printed", "动量（原文公式）"),
    ("optimizer=momentum", "001 003", EVERYWHERE, "momentum, as usual", "动量（通常公式）"),
    ("optimizer=rmsprop optimizer.learning_rate=0.001", "001 003", EVERYWHERE, "RMSprop", "RMSprop"),
    ("optimizer=adam optimizer.learning_rate=0.001", "001 003", EVERYWHERE, "Adam", "Adam"),
    ("initializer=glorot_uniform", "003", EXPLODING, "initialization: Xavier", "初始化：Xavier"),
    ("initializer=he_normal", "003", (*VANISHING, "large_weights"), "initialization: He", "初始化：He"),
    ("dropout.rate=0.2", "003", EVERYWHERE, "dropout 0.2", "Dropout 0.2"),
    ("rate_factor=10", "001", VANISHING, "rate × 10", "学习率 × 10"),
    ("rate_factor=0.1", "001", ("large_weights",), "rate ÷ 10", "学习率 ÷ 10"),
    ("rate_factor=3", "001", ("large_rate",), "rate ÷ 10", "学习率 ÷ 10"),
    (
        "model.residual=2 normalization=batch",
        "003",
        VANISHING,
        "residual connections and batch normalization",
        "残差连接加批量归一化",
    ),
    ("model.depth=5", "", EVERYWHERE, "(for comparison: 5 layers)", "（对照：5 层）"),
    ("activation=relu initializer=he_normal", "003", ("sigmoid_30",), "ReLU and He", "ReLU 加 He"),
]


def jobs(seeds: int) -> list[tuple[str, str, int]]:
    """Return (experiment, words, seed) of every run; the longest first, so that both processes end together."""
    found = [
        (setting, words, seed) for words, _, settings, *_ in CURES for setting in settings for seed in range(seeds)
    ]
    depth = {"sigmoid_30": 30, "relu_50": 50, "large_weights": 30, "large_rate": 10}
    return sorted(found, key=lambda job: -depth[job[0]])


def measure(setting: str, words: str, seed: int, *more: str) -> dict:
    """Do one run and return its numbers.

    Returns:
        start, end: share of the last layer's delta that reaches the first, before and after training.
        gradient: norm of the first layer's gradient at the first step.
        accuracy: on the test part.
    """
    import hydra

    import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
    from zoo.config import CONF
    from zoo.running.record import Job
    from zoo.running.run import run

    overrides = [f"experiment={setting}", *words.split(), f"seed={seed}", *QUIET, *more]
    with tempfile.TemporaryDirectory() as folder:
        with hydra.initialize_config_dir(CONF, version_base="1.3"):
            cfg = hydra.compose("config", overrides)
        done = run(cfg, Job(Path(folder), overrides=overrides, choices={"model": "mlp", "data": "digits"}))
    summary, norms = done.summary, done.norms.history.norms
    start, end = summary.arriving
    return {
        "setting": setting,
        "words": words,
        "seed": seed,
        "start": start,
        "end": end,
        "gradient": float(norms[0, 0]),
        "accuracy": summary.metrics["test_accuracy"],
        "verdict": summary.word,
        "seconds": summary.seconds,
    }


def _measure(job: tuple[str, str, int], more: tuple[str, ...]) -> dict:
    return measure(*job, *more)


def measure_all(seeds: int, processes: int, *more: str, known: Path | None = None) -> list[dict]:
    """Do every run that the file `known` does not hold, `processes` at a time; say how far it is."""
    # One core a process: two processes that each spread over both cores would wait for each other.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    rows = [json.loads(line) for line in known.read_text().splitlines()] if known and known.is_file() else []
    if rows:
        print(f"{len(rows)} runs are known from {known}; delete it to measure them anew")
    have = {(r["setting"], r["words"], r["seed"]) for r in rows}
    todo, began = [job for job in jobs(seeds) if job not in have], time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    # Not a ProcessPoolExecutor: on Python 3.11 it waits forever once its processes have had their runs.
    with spawn.Pool(processes, maxtasksperchild=RUNS_A_PROCESS) as pool:
        tasks = pool.imap_unordered(functools.partial(_measure, more=more), todo)
        for done, row in enumerate(tasks, start=1):
            rows.append(row)
            if known:
                with known.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            left = (time.perf_counter() - began) / done * (len(todo) - done) / 60
            print(f"{done}/{len(todo)}  {row['setting']} {row['words']} seed={row['seed']}  {row['verdict']}  ", end="")
            print(f"{row['accuracy']:.3f}  {row['seconds']:.0f} s  {left:.0f} min left", flush=True)
    return rows


# The tables.

TEXT = {
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
        "summary": "Test accuracy, mean ± deviation of {seeds} seeds. **Bold** is cured: each reaches {trained:.2f}.",
        "command": "Each row: `python train.py experiment={setting}` and the row's words.",
        "words": "words",
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
        "summary": "测试准确率，{seeds} 个随机种子的均值 ± 标准差。**粗体**表示治好：每个种子都不低于 {trained:.2f}。",
        "command": "每一行的命令是 `python train.py experiment={setting}` 加上该行的参数。",
        "words": "参数",
    },
}


def find(rows: list[dict], setting: str, words: str) -> list[dict]:
    """Return the runs of one cell, one a seed."""
    return [r for r in rows if (r["setting"], r["words"]) == (setting, words)]


def accuracy(cell: list[dict]) -> str:
    """Return mean ± deviation; bold where every seed trained."""
    values = [r["accuracy"] for r in cell]
    text = f"{statistics.mean(values):.3f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.3f}"
    return f"**{text}**" if min(values) >= TRAINED else text


def middle(cell: list[dict], key: str) -> float:
    """Return the median over seeds; NaN as soon as half of them are."""
    values = sorted((r[key] for r in cell), key=lambda v: (v != v, v))
    return values[len(values) // 2]


def arrives(cell: list[dict]) -> bool:
    """Tell whether, before training, delta reaches the first layer neither vanished nor exploded."""
    return ARRIVES[0] <= middle(cell, "start") <= ARRIVES[1]


def number(value: float) -> str:
    """0.00012 -> '1e-04', nan -> 'NaN'."""
    return "NaN" if value != value else f"{value:.0e}"


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def render(rows: list[dict], language: str) -> str:
    """Return the summary and a table for each setting, in Markdown."""
    text, seeds = TEXT[language], len({r["seed"] for r in rows})
    label = {"en": 3, "zh": 4}[language]
    names = list(dict.fromkeys(cure[label] for cure in CURES))
    lines = []
    for name in names:
        same = [cure for cure in CURES if cure[label] == name]
        cells = [next((accuracy(find(rows, s, cure[0])) for cure in same if s in cure[2]), "") for s in SETTINGS]
        lines.append([name, same[0][1], *cells])
    header = [text["cure"], text["named"], *(title[language] for title in SETTINGS.values())]
    parts = [text["summary"].format(seeds=seeds, trained=TRAINED), table(header, lines)]
    for setting, title in SETTINGS.items():
        lines = []
        for cure in CURES:
            if setting not in cure[2]:
                continue
            cell = find(rows, setting, cure[0])
            trained = sum(r["accuracy"] >= TRAINED for r in cell)
            lines.append(
                [
                    cure[label],
                    f"`{cure[0]}`" if cure[0] else "",
                    f"{number(middle(cell, 'start'))} → {number(middle(cell, 'end'))}",
                    number(middle(cell, "gradient")),
                    text["yes"] if arrives(cell) else text["no"],
                    accuracy(cell),
                    text["of"].format(trained, len(cell)),
                ]
            )
        header = [text[key] for key in ("cure", "words", "share", "gradient", "arrives", "accuracy", "trained")]
        parts += [f"### {title[language]}", text["command"].format(setting=setting), table(header, lines)]
    return "\n\n".join(parts)


def insert(page: str, tables: str) -> str:
    """Return the page with `tables` between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def draw_cosine(path: Path) -> None:
    """Draw article 002's cosine decay as printed and as meant, as the two configs schedule it."""
    import hydra
    import matplotlib
    from hydra.utils import instantiate

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    import zoo.sweeping.callback  # noqa: F401
    from zoo.config import CONF

    steps = 410
    matplotlib.rcParams["svg.hashsalt"] = "articles"  # the same picture each time
    figure, axes = plt.subplots(figsize=(5, 2.6), layout="constrained")
    for factor, label in ((2, r"$\eta\,(1+\cos(\pi t/T))$"), (1, r"$\eta\,(1+\cos(\pi t/T))/2$")):
        with hydra.initialize_config_dir(CONF, version_base="1.3"):
            cfg = hydra.compose("config", ["experiment=printed_cosine"])
        cfg.steps = steps
        del cfg.schedule.warmup  # ours, not Keras'
        cfg.optimizer.learning_rate *= factor
        schedule = instantiate(cfg.schedule)
        axes.plot(range(steps), [float(schedule(t)) for t in range(steps)], label=label)
    axes.set(xlabel="t", xticks=[0, steps], xticklabels=["0", "T"], yticks=[0, 0.1, 0.2], yticklabels=["0", "η", "2η"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 seed, 2 epochs; print the English tables only")
    parser.add_argument("--processes", type=int, default=(os.cpu_count() or 1) + 1)  # one always waits for something
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    began = time.perf_counter()
    if arguments.quick:
        print(render(measure_all(1, arguments.processes, "epochs=2"), "en"))
    else:
        DONE.parent.mkdir(exist_ok=True)
        rows = measure_all(SEEDS, arguments.processes, known=DONE)
        for language, page in PAGES.items():
            page.write_text(insert(page.read_text(), render(rows, language)))
            print(f"wrote {page.relative_to(ROOT)}")
        draw_cosine(PICTURE)
        DONE.unlink()
    print(f"{(time.perf_counter() - began) / 60:.0f} min")


if __name__ == "__main__":
    main()
