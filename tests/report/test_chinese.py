"""What a person reads of flights, cures and sweeps, in Chinese."""

import re
from pathlib import Path

import pytest

from zoo import use_language
from zoo.archive.summary import Status, Summary
from zoo.report.cured import cured_block
from zoo.report.text import duration, flight_lines, progress_line, sweep_table
from zoo.telemetry.findings import Verdict

ENGLISH = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){2,}")
FLIGHT = {
    "variables": ["dense/kernel", "dense/bias"],
    "first": "loss",
    "step": 7,
    "epoch": 0,
    "rises_from": 5,
    "grown": "dense/kernel",
    "finite_after": 3,
    "indices": [1, 2],
    "suspects": [{"index": 2, "row": 9, "step": 7, "largest": 1e30}],
}


@pytest.fixture(autouse=True)
def chinese():
    use_language("zh")
    yield
    use_language("en")


def run(number: int, name: str, accuracy: float, **content) -> Summary:
    verdict = Verdict(name, confidence=0.95, sentence="损失为 2.3。")
    metrics = {"test_accuracy": accuracy, "val_accuracy": accuracy}
    return Summary(Path(str(number)), "mlp", Status.FINISHED, [f"seed={number}"], verdict=verdict, metrics=metrics)


def test_where_a_training_stopped_being_numbers():
    for flight in (FLIGHT, FLIGHT | {"first": "dense/kernel", "grown": None, "indices": [], "suspects": []}):
        lines = flight_lines(flight, None, Path("folder"))
        assert [line[:2] for line in lines] == ["出错", "样本", "记录"]
        assert not ENGLISH.search("\n".join(lines))
    assert "第 7 步，第 1 个 epoch：" in lines[0] and "梯度从第 5 步起增大" in lines[0]


def test_lines_and_table_of_a_sweep():
    runs = [run(0, "vanishing", 0.1), run(1, "healthy", 0.9)]

    line = progress_line(1, 2, runs[1], ["seed"], 75.0)
    table = sweep_table(runs, "多次运行", ["model.depth"])

    assert line == "1/2  seed=1  healthy（健康）  test_accuracy 0.9  0 秒  还要 1 分 15 秒"
    assert "结论" in table and "到达第一层" in table and "vanishing（梯度消失） 0.95" in table
    assert duration(7300) == "2 小时 2 分"


def test_what_cured_a_run():
    runs = [run(0, "vanishing", 0.1), run(1, "healthy", 0.9)]
    one = {
        "words": ["experiment=vanishing"],
        "before": "0",
        "after": "1",
        "changes": ["normalization=batch", "activation=relu"],
        "without": {"activation=relu": 0.2},
        "metric": "val_accuracy",
        "values": {"before": [0.1, 0.1, None], "after": [0.9, 0.8, 0.9]},
        "proved": True,
        "reason": "",
        "command": ["normalization=batch"],
    }
    well = one | {"before": "1", "after": None, "changes": [], "reason": ""}
    block = cured_block([one, one | {"proved": False, "reason": "没有"}, well, well | {"reason": "没有"}], runs)

    assert "治疗前    vanishing（梯度消失） 0.95，val_accuracy 0.1（各种子 0.1, 0.1, 无）：损失为 2.3。" in block
    assert "疗法      normalization=batch\n          activation=relu   （缺了它 val_accuracy 0.2）" in block
    assert "改动      normalization=batch" in block and "未证明    没有" in block and "没有治好  没有" in block
    assert "3 次有病的运行治好了 1 次，1 次没有病；一共做了 2 次运行" in block
    assert not ENGLISH.search(block.replace("python train.py", ""))
