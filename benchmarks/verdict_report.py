"""Reads the recorded runs, asks every tool, and prints the tables of `verdicts.py`."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
from other_tools import TOOLS, View
from verdict_runs import LABELS, Run

from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probes_file import load_probes
from zoo.telemetry.verdict import Verdict, diagnose

OURS = "gradient-zoo"
VIEWS = {"1 epoch": 1, "2 epochs": 2, "all": None}
CERTAIN = 0.95


class Recorded:
    """One recorded run, to be seen up to any step.

    Args:
        run: of `verdict_runs.py`, or of `verdict_sequences.py`: those have no baseline and nothing for other tools.
        folder: what was recorded.
    """

    def __init__(self, run, folder: Path):
        result = json.loads((folder / "result.json").read_text())
        self.run = run
        self.history = GradientHistory.load(folder / "history.npz")
        self.probes = load_probes(folder / "probes.npz")
        self.plain = isinstance(run, Run)
        self.losses, self.accuracy = result["losses"], result.get("accuracy", [])
        self.baseline, self.seconds = result["baseline"] if self.plain else None, result["seconds"]
        if self.plain:
            with np.load(folder / "extras.npz", allow_pickle=False) as file:
                self.extras = dict(file)
        ends = [int(end) for end in self.history.epoch_ends]
        self.ends = ends
        self.grid = [0, *range(10, ends[0], 10), *ends]
        self._verdicts: dict[int, Verdict] = {}

    def verdict(self, steps: int) -> Verdict:
        """What `diagnose` says after `steps` steps."""
        if steps not in self._verdicts:
            prefix_history, prefix_probes, prefix_losses = self.prefix(steps)
            self._verdicts[steps] = diagnose(
                history=prefix_history, probes=prefix_probes, losses=prefix_losses, baseline=self.baseline
            )
        return self._verdicts[steps]

    def prefix(self, steps: int) -> tuple:
        """Return history, probes and epoch losses as they were after `steps` steps."""
        history = self.history
        rows = {
            name: getattr(history, name)[:steps]
            for name in ("steps", "variable_norms", "losses", "clip_norms", "weight_norms", "update_norms")
            if getattr(history, name) is not None
        }
        epochs = sum(end <= steps for end in self.ends)
        prefix = dataclasses.replace(history, **rows, epoch_ends=history.epoch_ends[:epochs])
        return prefix, self.probes[: 1 + epochs], self.losses[:epochs]

    def view(self, epochs: int | None) -> View:
        """What the other tools see after `epochs` epochs (`None`: all)."""
        epochs = min(epochs or len(self.ends), len(self.ends))
        history, probes, losses = self.prefix(self.ends[epochs - 1])
        fixed = ("kernels", "functions", "epochs")
        last = int(np.searchsorted(self.extras["epochs"], epochs, side="right")) - 1
        extras = {name: a if name in fixed else a[last] for name, a in self.extras.items()}
        return View(
            history=history,
            probes=probes,
            losses=losses,
            accuracy=self.accuracy[:epochs],
            baseline=self.baseline,
            chance=math.exp(-self.baseline / self.run.recipe.loss_scale),
            clip=self.run.recipe.clip,
            extras=extras,
        )

    def says(self, tool: str, epochs: int | None) -> str:
        """The label that `tool` gives after `epochs` epochs."""
        if tool == OURS:
            return self.verdict(self.ends[min(epochs or len(self.ends), len(self.ends)) - 1]).name
        return TOOLS[tool](self.view(epochs))


def report(recorded: list[Recorded], title: str, *, stop: bool, json_path: Path | None) -> None:
    """Print the tables for the recorded runs; write every figure to `json_path`."""
    plain = [r for r in recorded if r.plain]
    sequences = [r for r in recorded if not r.plain]
    counts = {label: sum(r.run.label == label for r in recorded) for label in LABELS}
    figures: dict = {"half": title, "runs": counts, "tools": {}}
    print(f"\n{len(plain)} runs of feed-forward nets ({title})\n")
    _print_scores((OURS, *TOOLS), plain, figures["tools"])
    if sequences:
        print(f"\n{len(sequences)} runs of recurrent, attention and generative nets ({title})\n")
        _print_scores((OURS,), sequences, figures.setdefault("sequences", {}))
        print(f"\nBoth together ({title})\n")
        _print_scores((OURS,), recorded, figures.setdefault("both", {}))
    for tool, runs in ((OURS, recorded), *((tool, plain) for tool in TOOLS)):
        print(f"\n{tool} after 1 epoch (rows: what the run has, columns: what is said)\n")
        _print_confusion(scores([r.run.label for r in runs], [r.says(tool, 1) for r in runs], 1)["confusion"])
    figures["confidence"] = confidences(recorded)
    figures["odd_sentences"] = odd_sentences(recorded)
    figures |= early(recorded)
    if title != "final":  # the names of the held-out runs' mistakes stay unseen
        print()
        for r in recorded:
            first, last = r.verdict(r.ends[0]), r.verdict(r.ends[-1])
            if {first.name, last.name} != {r.run.label}:
                print(f"  {r.run.name}: {first.name} after 1 epoch, {last.name} at the end")
    if stop:
        figures["stop"] = stopping(recorded)
    if json_path:
        json_path.write_text(json.dumps(figures, indent=1) + "\n")


# What no sentence holds: ratios beyond 1e12, what is no number, percentages beyond 1000, "1 steps".
ODD = re.compile(r"\b(nan|inf|None)\b|e\+(1[3-9]|[2-9]\d)|-\d+ ?%|\d{4,} ?%|\b1 steps", re.IGNORECASE)


def odd_sentences(recorded: list[Recorded]) -> list[str]:
    """Print how many sentences the runs produce, at every step that is judged, and return those that are odd."""
    sentences = {r.verdict(step).sentence for r in recorded for step in r.grid}
    odd = sorted(sentence for sentence in sentences if ODD.search(sentence))
    print(f"\n{len(sentences)} sentences, of which {len(odd)} are odd.")
    for sentence in odd:
        print("  " + sentence)
    return odd


def _print_scores(tools: tuple, runs: list[Recorded], figures: dict) -> None:
    truth = [r.run.label for r in runs]
    print("| tool | sees | right | undecided | macro F1 | false alarms | sick called healthy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for tool in tools:
        for view, epochs in VIEWS.items():
            score = scores(truth, [r.says(tool, epochs) for r in runs], epochs)
            figures.setdefault(tool, {})[view] = score
            print(
                f"| {tool} | {view} | {score['right']} of {len(runs)} | {score['undecided']} | "
                f"{score['macro_f1']:.3f} | {score['false_alarms']} of {truth.count('healthy')} | "
                f"{score['sick_called_healthy']} of {len(runs) - truth.count('healthy')} |"
            )


def confidences(recorded: list[Recorded]) -> dict[str, list[int]]:
    """Print and return how often a word with each confidence is right: at step 0, after 1 epoch, 2 and all."""
    found: dict[str, list[int]] = {}
    for r in recorded:
        ends = [r.ends[min(epochs or len(r.ends), len(r.ends)) - 1] for epochs in VIEWS.values()]
        for step in [0, *ends]:
            verdict = r.verdict(step)
            if verdict.name != "undecided":
                told = f"{verdict.confidence:.2f}" + ("" if step else ", before the first step")
                count = found.setdefault(told, [0, 0])
                count[0] += verdict.name == r.run.label
                count[1] += 1
    print("\n| confidence | right | at least (95 % interval) |\n| --- | --- | --- |")
    for told, (right, total) in sorted(found.items(), reverse=True):
        print(f"| {told} | {right} of {total} | {wilson(right, total):.2f} |")
    return found


def wilson(right: int, total: int, z: float = 1.96) -> float:
    """Return the lower end of the interval of a share (Wilson 1927)."""
    share = right / total
    spread = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return (share + z**2 / (2 * total) - spread) / (1 + z**2 / total)


def scores(truth: list[str], said: list[str], epochs: int | None) -> dict:
    """Return the confusion matrix and what follows from it. Macro F1 is over the labels that occur.

    After one epoch an undecided run is not counted as wrong: it is left out of F1.
    """
    columns = [*LABELS, *sorted({"undecided", *said} - set(LABELS))]
    confusion = {a: dict.fromkeys(columns, 0) for a in LABELS}
    for a, b in zip(truth, said, strict=True):
        confusion[a][b] += 1
    f1 = {}
    for label in set(truth):
        row = confusion[label]
        judged = sum(row.values()) - (row["undecided"] if epochs == 1 else 0)
        f1[label] = 2 * row[label] / max(judged + sum(row[label] for row in confusion.values()), 1)
    healthy = confusion["healthy"]
    return {
        "right": sum(a == b for a, b in zip(truth, said, strict=True)),
        "macro_f1": float(np.mean(list(f1.values()))),
        "f1": f1,
        "undecided": sum(name == "undecided" for name in said),
        "false_alarms": sum(healthy.values()) - healthy["healthy"] - healthy["undecided"],
        "sick_called_healthy": sum(row["healthy"] for row in confusion.values()) - healthy["healthy"],
        "confusion": confusion,
    }


def _print_confusion(confusion: dict) -> None:
    columns = list(next(iter(confusion.values())))
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for label, row in confusion.items():
        print(f"| {label} | " + " | ".join(str(n or "") for n in row.values()) + " |")


def early(recorded: list[Recorded]) -> dict:
    """Print and return how early our verdict is final, and how often it names the layer with the fault."""
    final = {"healthy": [], "sick": []}
    by_step: dict[int, list[bool]] = {}
    layer = []
    for r in recorded:
        names = [r.verdict(step).name for step in r.grid]
        changed = [i for i, name in enumerate(names) if name != names[-1]]
        final["healthy" if r.run.label == "healthy" else "sick"].append(r.grid[changed[-1] + 1 if changed else 0])
        for step in (0, 10, 20, 40):
            by_step.setdefault(step, []).append(r.verdict(min(step, r.ends[0])).name == r.run.label)
        if r.run.where and r.verdict(r.ends[0]).name == r.run.label:
            said = r.verdict(r.ends[0]).layer
            layers = r.history.layers
            near = said in layers and abs(layers.index(said) - layers.index(r.run.where)) <= 1
            layer.append((said == r.run.where, near))
    everyone = final["healthy"] + final["sick"]
    print(
        f"\nThe verdict is final at step {np.median(everyone):.0f} (median; sick runs {_median(final['sick'])}, "
        f"healthy {_median(final['healthy'])}; 90 % by step {np.percentile(everyone, 90):.0f})."
    )
    right = {step: sum(ok) for step, ok in by_step.items()}
    print("Right after " + ", ".join(f"{step} steps: {n}" for step, n in right.items()) + f" of {len(recorded)}.")
    exact, near = (sum(pair[i] for pair in layer) for i in (0, 1))
    if layer:
        print(f"Where one layer has the fault it is named in {exact} of {len(layer)} runs, or its neighbour in {near}.")
    return {
        "final_step": {kind: _median(steps) for kind, steps in final.items()} | {"all": _median(everyone)},
        "right_after_steps": right,
        "layer": {"runs": len(layer), "named": exact, "within_one": near},
    }


def _median(steps: list[int]) -> float | None:
    return float(np.median(steps)) if steps else None


def stopping(recorded: list[Recorded]) -> dict:
    """Print and return what stopping each run at its first certain verdict would save and spoil."""
    total = saved = stopped = wrongly = 0
    for r in recorded:
        total += r.seconds
        for step in r.grid:
            verdict = r.verdict(step)
            if verdict.name not in ("healthy", "undecided") and getattr(verdict, "confidence", 0.0) >= CERTAIN:
                stopped += 1
                wrongly += r.run.label == "healthy"
                saved += r.seconds * (1 - step / r.ends[-1])
                break
    sick = sum(r.run.label != "healthy" for r in recorded)
    print(
        f"\nStopping certain runs saves {saved / total:.0%} of the sweep's time: "
        f"{stopped - wrongly} of {sick} sick runs are stopped, and {wrongly} healthy ones."
    )
    return {"saved": saved / total, "sick": sick, "stopped": stopped, "wrongly": wrongly}
