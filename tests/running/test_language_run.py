"""`language=zh`: what a run and a sweep print is Chinese, what they record has the same words as before."""

import json
import re

from zoo.repairing.changes import CALLED_FOR
from zoo.telemetry.language import texts

SICK = ("model.depth=12", "activation=sigmoid", "initializer=glorot_uniform", "epochs=2", "verbose=2")
SMALL = ("model.depth=1", "model.width=4", "data.limit=200", "epochs=1", "tracking=none", "pictures=false")
ENGLISH = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){2,}")  # three words: fewer are a layer's or a metric's
CHINESE = re.compile("[一-鿿]")


def without_keras(printed: str) -> list[str]:
    """The lines but for Keras' own, and for the names of runs and folders."""
    lines = [line for line in printed.splitlines() if line and not re.match(r"Epoch |\d+/\d+ - ", line)]
    return [line for line in lines if not line.startswith(("训练 ", "网络 ", "页面 ", "文件 "))]


def english_in(printed: str) -> list[str]:
    lines = without_keras(printed)
    parts = {part.strip(" ,.:;()") for text in texts("zh") for part in re.split(r"\{.*?\}", text)}
    parts = {part for part in parts if " " in part and CHINESE.search(texts("zh").get(part, "一"))}
    return [line for line in lines if ENGLISH.search(line) or any(part in line for part in parts)]


def test_a_run_is_told_in_chinese(train):
    done = train("language=zh", "pictures=true", *SICK)
    summary = json.loads((train.folders()[0] / "summary.json").read_text(encoding="utf-8"))
    verdict = summary["verdict"]

    assert not english_in(done.stdout), done.stdout
    assert "第 0 步   vanishing（梯度消失）：传到最弱一层的梯度只有" in done.stdout
    assert "结论      vanishing（梯度消失）：第一步训练之前，" in done.stdout
    assert "发现      activation（激活函数），隐藏层里的 sigmoid：12 个隐藏层用 sigmoid" in done.stdout
    assert "各层的梯度范数，最后一个 epoch 的中位数，对数刻度" in done.stdout
    assert "language" not in summary["name"] and verdict["name"] == "vanishing" and verdict["cause"] == "activation"
    assert CHINESE.search(verdict["sentence"])
    titles = {finding["title"] for finding in verdict["findings"]}
    assert "sigmoids in hidden layers" in titles and not any(map(CHINESE.search, titles))
    assert {cure["name"] for finding in verdict["findings"] for cure in finding["cures"]} & {"activation"}
    assert titles & set(CALLED_FOR)  # what `repair` would try for them is found by these words
    assert (train.folders()[0] / "gradients.png").is_file()  # without the sentence, for which its font has no letters
    assert not done.stderr
    page = (train.folders()[0] / "run.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in page and verdict["sentence"] in page, "its other language is a click away"
    assert '<span lang="en">before the first step ' in page and "sigmoids in hidden layers" in page


def test_a_preflight_is_told_in_chinese(train):
    done = train("language=zh", "preflight=true", "model.depth=12", "activation=sigmoid")

    assert not english_in(done.stdout), done.stdout
    assert "传回各层输出处的梯度（每个样本），对数刻度" in done.stdout


def test_a_sweep_is_told_in_chinese_and_is_the_same_in_english(train):
    done = train("-m", "seed=0,1", "language=zh", *SMALL)
    again = train("-m", "seed=0,1", *SMALL)

    assert "2 次运行" in done.stdout and "结论" in done.stdout and "undecided（尚不能判断）" in done.stdout
    assert not english_in(done.stdout.split("多次运行")[-1]), done.stdout
    assert "2 runs, 2 of them finished before" in again.stdout and "2 undecided" in again.stdout


def test_another_language_is_one_line(train):
    assert train("language=fr", code=1).stderr == "error: language=fr: choose one of en, zh.\n"
    done = train("verbose=0", code=1, GRADIENT_ZOO_LANGUAGE="fr")
    assert done.stderr == "error: language=fr: choose one of en, zh.\n"
