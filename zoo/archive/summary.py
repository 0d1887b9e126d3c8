"""What a run came to: one type, one reader, one writer."""

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.archive.files import replace_file
from zoo.archive.lock import STATE
from zoo.errors import UserError
from zoo.telemetry.findings import Cure, Finding, Verdict

FILE = "summary.json"
# The metric that stands for a run is the first of these that it has; a preflight, which tests nothing, has the last.
STANDING = ("test_accuracy", "test_rmse", "test_loss", "loss")
COSTS = ("seconds", "parameters")  # of a run, which a search may go by beside metrics


class Status(enum.StrEnum):
    """What became of a run, in MLflow's words."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


def less_is_better(metric: str) -> bool:
    """Whether a metric is an error."""
    return not metric.endswith("accuracy")


class Metric(NamedTuple):
    """One metric of a run."""

    name: str
    value: float

    @property
    def rank(self) -> float:
        """What sorts the best first; a NaN comes last."""
        if math.isnan(self.value):
            return math.inf
        return self.value if less_is_better(self.name) else -self.value


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run came to, as its `summary.json` says.

    Attributes:
        folder: of the run; not in the file.
        name: what a person calls it: model, data and overrides.
        status: what became of it.
        overrides: what its command line set; in a comparison its values of the keys that differ.
        choices: which file of each group was chosen; the first versions wrote none.
        run_id: of the run in the store, if it is recorded there.
        reason: why it did not finish.
        verdict: of `diagnose`; `None` where gradients were not tracked.
        flight: where it stopped being numbers, as in `flight.json`.
        metrics: after the last epoch, and of the test part.
        seconds: that it took.
        epochs, steps: that it did; steps where gradients were tracked.
        parameters: of the model.
        stopped: why it ended before its last epoch: "hopeless", "not finite", "pruned" or `None`.
        arriving: what share of the output's gradient reached the first layer, before the first step and at the end.
        origin: git commit and versions of packages, as the store's tags name them.
        signature: shapes of what the model takes and gives, {"inputs": [-1, 8, 8, 1], "outputs": [-1, 10]}, all of them
            float32; of a run that kept its model.
    """

    folder: Path
    name: str
    status: Status
    overrides: list[str] = dataclasses.field(default_factory=list)
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    run_id: str | None = None
    reason: str | None = None
    verdict: Verdict | None = None
    flight: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    epochs: int = 0
    steps: int | None = None
    parameters: int | None = None
    stopped: str | None = None
    arriving: Sequence[float] | None = None
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)
    signature: Mapping[str, Sequence[int]] | None = None

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.status == Status.FINISHED

    @property
    def metric(self) -> Metric:
        """The test metric that stands for a finished run: accuracy, or the error of a regression."""
        name = next(name for name in STANDING if name in self.metrics)
        return Metric(name, self.metrics[name])

    def measured(self, name: str) -> float:
        """Return a metric or one of `COSTS`; NaN where it has none of that name."""
        value = getattr(self, name) if name in COSTS else self.metrics.get(name)
        return math.nan if value is None else float(value)

    @property
    def word(self) -> str:
        """The verdict's name, "-" without one; what became of the run if it did not finish."""
        if not self.finished:
            return str(self.status)
        return self.verdict.name if self.verdict else "-"

    @property
    def confidence(self) -> float:
        """How certain the verdict is; 0 if there is none, or if it is undecided."""
        return self.verdict.confidence if self.verdict else 0.0

    @property
    def chosen(self) -> dict[str, str]:
        """What the command line set: {"model.depth": "5"}."""
        return dict(o.split("=", 1) for o in self.overrides if "=" in o)

    @classmethod
    def read(cls, folder: str | Path) -> "Summary":
        """Return what a run left; a run without a summary was cut off.

        Raises:
            UserError: if the file is broken.
        """
        folder = Path(folder)
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(folder, folder.name, Status.KILLED)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is broken ({error}): delete the file, or the run's folder.") from error
        try:
            known = _known(cls, content) | {"folder": folder, "status": Status(content["status"])}
            if known.get("verdict"):
                verdict = _known(Verdict, known["verdict"])
                verdict["cures"] = [Cure(**_known(Cure, cure)) for cure in verdict.get("cures", ())]
                verdict["findings"] = [_finding(finding) for finding in verdict.get("findings", ())]
                known["verdict"] = Verdict(**verdict)
            return cls(**{"name": folder.name, **known})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is no run's summary: delete the file, or the run's folder.") from error

    def write(self) -> None:
        """Write the file as a whole: another process finds the old one or the new one."""
        content = dataclasses.asdict(self)
        del content["folder"]
        if not self.finished:
            content = {name: value for name, value in content.items() if value not in (None, {}, 0)}
        replace_file(self.folder / FILE, json.dumps(content, indent=1, default=str) + "\n")


def can_go_on(summary: Summary) -> bool:
    """Whether a run was cut off and may go on: one of a sweep at least in the store, one of its own from an epoch."""
    state = summary.folder / STATE
    alone = (state / "job.json").is_file()
    return summary.status == Status.KILLED and (not alone or (state / "checkpoint.npz").is_file())


def _finding(content: Mapping) -> Finding:
    known: dict[str, Any] = _known(Finding, content)
    known["cures"] = [Cure(**_known(Cure, cure)) for cure in known.get("cures", ())]
    return Finding(**known)


def _known(kind: type, content: Mapping) -> dict[str, Any]:
    """Leave out what a later version may have written besides."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in content.items() if name in names}
