"""What is kept of a run: its folder, and its run in the tracking store."""

import json
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from zoo.config import CONF, home
from zoo.errors import explain


class Record:
    """What is kept of a run: the run folder, and its run in the tracking store if tracking is on.

    Nothing is written before `begin`: a mistake in data or model leaves no half-written run, but a job of a sweep that
    fails is recorded all the same.
    """

    def __init__(self, cfg: DictConfig, folder: Path, sweep: str | None, overrides: list[str], choices: dict):
        self.cfg, self.folder, self.sweep, self.overrides = cfg, folder, sweep, overrides
        self.choices = choices
        hidden = ("model=", "data=", "hydra", "tracking", "verbose")
        self.name = " ".join(
            [f"{choices['model']} on {choices['data']}", *(o for o in overrides if not o.startswith(hidden))]
        )
        self.run = None
        self.began = False

    def begin(self, parameters: int | None = None) -> None:
        """Write the config and open the run in the store."""
        if self.cfg.tracking.enabled:
            from zoo.tracking import Store, flatten, origin

            store = Store(home(), self.cfg.tracking.experiment, self.cfg.tracking.uri)
        self.began = True
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.cfg, self.folder / "config.yaml", resolve=True)
        if not self.cfg.tracking.enabled:
            return
        tags = {
            "kind": "run",
            "sweep": self.sweep,
            "experiment": self.choices.get("experiment"),
            "remedy": self.choices.get("remedy"),
            "model": self.choices.get("model"),
            "data": self.choices.get("data"),
            "folder": self.folder,
            "overrides": " ".join(self.overrides),
            **origin(Path(CONF)),
        }
        parent = store.parent_of(self.sweep) if self.sweep else None
        self.run = store.start(self.name[:250], tags, parent)
        config = OmegaConf.to_container(self.cfg, resolve=True)
        self.run.log_params(flatten(config) | ({"parameters": parameters} if parameters is not None else {}))

    def profiles(self, **profiles) -> None:
        """Record (layers,) profiles with step = depth: MLflow lays those of several runs over each other."""
        if self.run is not None:
            self.run.log_points(
                [
                    (f"profile/{name}", value, depth)
                    for name, profile in profiles.items()
                    if profile is not None
                    for depth, value in enumerate(profile, start=1)
                ]
            )

    def finish(self, summary: dict) -> None:
        """Write the summary and close the run."""
        verdict = summary["verdict"]
        if self.run is not None:
            summary["run_id"] = self.run.run_id
            if summary["stopped"]:
                self.run.set_tags({"stopped": "hopeless"})
            self.run.log_metrics(
                {name: v for name, v in summary["metrics"].items() if name.startswith("test_")}
                | {"seconds": summary["seconds"]},
                step=summary["epochs"],
            )
            if verdict:
                self.run.set_tags(
                    {
                        "verdict": verdict["name"],
                        "verdict.layer": verdict["layer"],
                        "verdict.sentence": verdict["sentence"],
                        "mlflow.note.content": f"**{verdict['name']}**: {verdict['sentence']}",
                    }
                )
        self.end("FINISHED", summary)

    def fail(self, error: Exception) -> None:
        """Record the reason for which the run failed, unless nothing was begun and a person stands by to read it."""
        if not self.began and self.sweep is None:
            self.drop()
            return
        reason = explain(error) or f"{type(error).__name__}: {error}"
        if not self.began:
            self.begin()
        if self.run is not None:
            self.run.set_tags({"reason": reason})
        self.end("FAILED", {"reason": reason})

    def end(self, status: str, summary: dict) -> None:
        """Write `summary.json`, send the folder to the store and end the run there with `status`."""
        if not self.began:
            self.drop()
            return
        summary = {"name": self.name, **summary, "status": status, "overrides": self.overrides}
        if self.run is not None:
            summary["run_id"] = self.run.run_id
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=1, default=str) + "\n")
        if status == "FINISHED" and self.cfg.pictures:
            self._draw()
        if self.run is not None:
            self.run.finish(self.folder, status)

    def _draw(self) -> None:
        from zoo.plots import draw_run

        try:
            draw_run(self.folder)
        except Exception as error:  # a picture is not worth a training
            print(f"pictures of {self.folder} could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)

    def drop(self) -> None:
        """Leave nothing of a run that was not begun."""
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
