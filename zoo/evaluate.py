"""Test the model that a run left: on the run's own test part, or on other data.

python -m zoo.evaluate RUN_FOLDER
python -m zoo.evaluate RUN_FOLDER data=table data.path=FILE.csv data.target=COLUMN
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = ("data", "batch_size")  # of which words may be given


def main() -> None:
    """Test what the command line names; exit with 1 for a mistake in it."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.evaluate", description="Test the model that a run left, on its own test part or other data."
    )
    parser.add_argument("run", type=Path, help="run folder, or a .keras file in one")
    told = "data=NAME, data.KEY=VALUE: other data, scaled and labelled as the run's; of a file all samples"
    parser.add_argument("words", nargs="*", metavar="data=...", help=told)
    arguments = parser.parse_args()
    from zoo.errors import reported

    with reported():
        print(evaluate(arguments.run, arguments.words))


def evaluate(run: Path, words: list[str]) -> str:
    """Return a block of what the model of a run comes to.

    Args:
        run: its folder, or one of the models in it.
        words: of the command line, about the data alone; none for the run's own test part.

    Raises:
        UserError: for a folder without a model, data that cannot be used, or words about anything else.
    """
    from zoo.errors import UserError
    from zoo.keys import model_file

    for word in words:
        if word.lstrip("+").partition("=")[0].partition(".")[0] not in KEYS or "=" not in word:
            raise UserError(f"{word}: a test takes data=NAME and data.KEY=VALUE; all else is as the run had it.")
    file = model_file(str(run))
    folder = file.parent
    if (folder / "sweep.json").is_file():
        raise UserError(f"{run} is a sweep: give the folder of one of its runs, such as {run / '0'}.")
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{run}: there is no run; give the folder of one, such as mlruns/runs/DATE.")
    if not file.is_file():
        raise UserError(f"{run}: that run kept no {file.name} (tracking.models=all has each run of a sweep keep its).")
    cfg, content = _config_of(folder, words), _data_of(folder)
    return _tested(file, cfg, content, other=bool(words))


def _config_of(folder: Path, words: list[str]) -> "DictConfig":
    """Return the config of a run with other data."""
    from omegaconf import OmegaConf

    from zoo.archive.summary import Summary
    from zoo.config import check_files, composed

    cfg: Any = OmegaConf.create((folder / "config.yaml").read_text(encoding="utf-8"))
    if words:
        summary = Summary.read(folder)
        own = [f"data={summary.choices.get('data')}", *(w for w in summary.overrides if w.startswith("data."))]
        given = composed(words if any(word.startswith("data=") for word in words) else [*own, *words])
        cfg.data, cfg.batch_size = given.data, given.batch_size
    without_files: Any = OmegaConf.merge(cfg, {"model": {"path": None, "weights": None}})
    check_files(without_files)
    return cfg


def _data_of(folder: Path) -> dict[str, Any]:
    """Return what a run left about its data."""
    from zoo.archive.run import data_of
    from zoo.errors import UserError

    content = data_of(folder)
    if not content:
        raise UserError(f"{folder} has no whole data.json, which says how its data were scaled: do the run again.")
    return content


def _tested(file: Path, cfg: "DictConfig", content: dict[str, Any], other: bool) -> str:
    from zoo.archive.summary import Summary
    from zoo.data.prepare import Fitted
    from zoo.report.text import tested_block
    from zoo.running import make
    from zoo.startup import import_keras, start
    from zoo.telemetry.language import use_language

    use_language(cfg.get("language", "en"))
    import_keras()
    from zoo.models.saved import loaded

    start(seed=cfg.seed, precision=cfg.precision, deterministic=cfg.deterministic)
    data = make.make_data(cfg, fitted=Fitted.of_json(content)) if other else make.make_data(cfg)
    model: Any = loaded(file)
    loss, metric = make.loss_and_metric(cfg, data.task)
    model.compile(loss=loss, metrics=[metric])
    with data.reading():
        metrics = model.evaluate(**data.test_arguments(), verbose=0, return_dict=True)
    return tested_block(file, data.name, data.samples["test"], metrics, Summary.read(file.parent))


if __name__ == "__main__":
    main()
