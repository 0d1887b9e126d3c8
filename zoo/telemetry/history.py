"""What `GradientNorms` recorded: the gradient norm of every variable at every optimizer step."""

import csv
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from zoo.telemetry.columns import Columns
from zoo.telemetry.language import say
from zoo.telemetry.page.told import Steps, Told, shown_of
from zoo.telemetry.setting import Setting

# What normalization and PReLU train. A layer with nothing else holds no weights between units.
SCALES = {"gamma", "beta", "alpha", "scale", "offset"}


@dataclasses.dataclass(frozen=True, eq=False)
class GradientHistory:
    """Gradient norms of one training.

    All norms are L2 norms, in the units of the loss per unit of the variable, float32, as recorded: a non-finite
    gradient has a non-finite norm.

    Attributes:
        layers: names of the layers that own trainable variables, in forward order.
        variables: paths of the variables that were trained, in the model's order.
        owners: (variables,) int64, the index in `layers` of each variable's layer.
        steps: (steps,) int64, the number of each optimizer step, from 0.
        variable_norms: (steps, variables) float32, before clipping and after unscaling; 0 where a variable has no
            gradient in a step, or was frozen.
        losses: (steps,) float32, each step's loss on its batch, regularization included; NaN where the train step does
            not pass it through `optimizer.scale_loss`.
        clip_norms: (steps, 2) float32, the global norm that entered clipping and the one that left it; NaN where the
            step applied no update (gradient accumulation, an overflow that loss scaling skipped) or did not clip.
            `None` if none did.
        weight_norms: (steps, variables) float32, of each variable before its update; `None` unless asked for.
        update_norms: (steps, variables) float32, of each variable's change; `None` unless asked for.
        epoch_ends: (epochs,) int64, how many steps were recorded when each epoch ended.
        setting: the optimizer and the layers' kinds; `None` in files of earlier versions.
    """

    layers: list[str]
    variables: list[str]
    owners: np.ndarray
    steps: np.ndarray
    variable_norms: np.ndarray
    losses: np.ndarray
    clip_norms: np.ndarray | None = None
    weight_norms: np.ndarray | None = None
    update_norms: np.ndarray | None = None
    epoch_ends: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    setting: Setting | None = None

    def __len__(self) -> int:
        return len(self.steps)

    @functools.cached_property
    def norms(self) -> np.ndarray:
        """(steps, layers) float32: the norm over all trainable variables of each layer."""
        return self._per_layer(self.variable_norms)

    @functools.cached_property
    def global_norm(self) -> np.ndarray:
        """(steps,) float32: the norm over all trainable variables, before clipping."""
        return _root_sum_square(self.variable_norms)

    @property
    def clipped_fraction(self) -> float:
        """Share of the updates whose global norm clipping made smaller; 0 without clipping."""
        if self.clip_norms is None:
            return 0.0
        before, after = self.clip_norms[~np.isnan(self.clip_norms[:, 1])].T
        return float(np.mean(after < before * (1 - 1e-6))) if len(before) else 0.0

    @property
    def left_by_clipping(self) -> float:
        """Share of a step's gradient norm that clipping leaves, in the median; 1 without clipping."""
        if self.clip_norms is None:
            return 1.0
        before, after = self.clip_norms.T
        known = np.isfinite(before) & np.isfinite(after) & (before > 0)
        return float(np.median(after[known] / before[known])) if known.any() else 1.0

    @property
    def nonfinite(self) -> np.ndarray:
        """(layers,) int64: the steps at which each layer's gradient held a NaN or an infinity."""
        return np.count_nonzero(~np.isfinite(self.norms), axis=0)

    @property
    def has_kernel(self) -> np.ndarray:
        """(layers,) bool: whether a layer holds weights between units, as normalization does not; by their names."""
        kernel = np.zeros(len(self.layers), bool)
        for path, owner in zip(self.variables, self.owners, strict=True):
            kernel[owner] |= path.rpartition("/")[2] not in SCALES
        return kernel

    @property
    def update_ratios(self) -> np.ndarray | None:
        """(steps, layers) float32: update norm over weight norm, of each layer; `None` unless recorded."""
        if self.update_norms is None or self.weight_norms is None:
            return None
        return self._per_layer(self.update_norms) / np.maximum(self._per_layer(self.weight_norms), 1e-12)

    def epoch(self, index: int) -> slice:
        """Return the rows of epoch `index` (0 is the first; -1 the last)."""
        index = range(len(self.epoch_ends))[index]
        return slice(int(self.epoch_ends[index - 1]) if index else 0, int(self.epoch_ends[index]))

    @property
    def last_profile(self) -> np.ndarray:
        """(layers,) gradient norms, each the median over the last epoch; over all steps if none has ended."""
        return np.median(self.norms[self.epoch(-1) if len(self.epoch_ends) else slice(None)], axis=0)

    def rows(self, part: slice) -> "GradientHistory":
        """Return the history of those steps alone, without epochs: `history.rows(history.epoch(-1)).norms`."""
        names = ("steps", "variable_norms", "losses", "clip_norms", "weight_norms", "update_norms")
        cut = {name: getattr(self, name)[part] for name in names if getattr(self, name) is not None}
        return dataclasses.replace(self, **cut, epoch_ends=np.zeros(0, np.int64))

    @classmethod
    def of_rows(
        cls,
        rows: np.ndarray,
        *,
        layers: list,
        variables: list,
        owners: list,
        clips: bool,
        updates: bool,
        epoch_ends,
        setting: dict | None = None,
    ) -> "GradientHistory":
        """Make sense of what `GradientNorms` writes.

        Args:
            rows: (steps, columns) float32, as `Columns` has it.
            layers, variables, owners, epoch_ends: as of the history.
            clips, updates: which columns there are.
            setting: fields of the history's.
        """
        columns = Columns(len(variables), clips, updates)
        return cls(
            layers=list(layers),
            variables=list(variables),
            owners=np.array(owners, np.int64),
            steps=np.arange(len(rows), dtype=np.int64),
            variable_norms=rows[:, columns.norms],
            losses=rows[:, columns.loss],
            clip_norms=rows[:, columns.clip_norms] if clips else None,
            weight_norms=rows[:, columns.weight_norms] if updates else None,
            update_norms=rows[:, columns.update_norms] if updates else None,
            epoch_ends=np.array(epoch_ends, np.int64),
            setting=Setting(**setting) if setting else None,
        )

    @classmethod
    def recover(cls, path: str | Path) -> "GradientHistory":
        """Read what `GradientNorms(path=...)` has written so far, of a training that goes on or was cut off.

        Raises:
            FileNotFoundError: if no step was recorded there.
        """
        header = json.loads(header_path(path).read_text())
        columns = len(Columns(len(header["variables"]), header["clips"], header["updates"]))
        rows = np.fromfile(rows_path(path, header.pop("rows", None)), np.float32)
        rows = rows[: len(rows) // columns * columns].reshape(-1, columns)  # without the row that was being written
        header["epoch_ends"] = [end for end in header["epoch_ends"] if end <= len(rows)]
        return cls.of_rows(rows, **header)

    def save(self, path: str | Path) -> None:
        """Write everything to a compressed `.npz` without pickles."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["setting"] = self.setting and self.setting.to_json()
        arrays: dict[str, Any] = {name: np.asarray(a) for name, a in fields.items() if a is not None}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "GradientHistory":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        arrays["layers"] = arrays["layers"].tolist()
        arrays["variables"] = arrays["variables"].tolist()
        if "setting" in arrays:
            arrays["setting"] = Setting.from_json(str(arrays["setting"]))
        return cls(**arrays)

    def to_frame(self):
        """Return a `pandas.DataFrame`: a row for each step, and the columns that `series` names."""
        import pandas

        return pandas.DataFrame(self.series(), index=pandas.Index(self.steps, name="step"))

    def to_csv(self, path: str | Path) -> None:
        """Write the columns of `to_frame`, and the step before them, as comma-separated values."""
        series = self.series()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *series])
            for step, *values in zip(self.steps, *series.values(), strict=True):
                writer.writerow([step, *(f"{value:.9g}" for value in values)])

    def to_tensorboard(self, folder: str | Path) -> Path:
        """Write the columns of `to_frame` as scalars of one event file in `folder`, which is made; return the file."""
        from zoo.telemetry.tensorboard import write_scalars

        return write_scalars(folder, self.steps, self.series())

    def to_html(self, path: str | Path) -> Path:
        """Write a page that shows every layer at every step, and opens without a network; return its path."""
        from zoo.telemetry.page.file import write_page

        facts = [(say("steps"), f"{len(self):,}"), (say("layers"), f"{len(self.layers):,}")]
        return write_page(path, Told(say("gradients of a training"), facts, steps=self.told if len(self) else None))

    @property
    def told(self) -> Steps:
        """What a page shows of it."""
        names = (
            "layers",
            "owners",
            "variable_norms",
            "losses",
            "clip_norms",
            "weight_norms",
            "update_norms",
            "epoch_ends",
        )
        return Steps(shown=shown_of(self.has_kernel), **{name: getattr(self, name) for name in names})

    def _repr_html_(self) -> str:
        """What a notebook shows: the norms of the first step and of the last epoch, a row a layer."""
        from zoo.telemetry.page.notebook import table_shown

        if not len(self):
            return ""
        head = say("{steps:,} steps of {layers:,} layers: gradient norm", steps=len(self), layers=len(self.layers))
        columns = [(say("median over the last epoch"), self.last_profile), (say("step 0"), self.norms[0])]
        return table_shown(head, self.layers, columns)

    def series(self) -> dict[str, np.ndarray]:
        """Return what was recorded of each step by the names that tables and viewers show, (steps,) float32 each.

        `loss`; `gradient_norm` over all variables; `gradient_norm/<layer>`; with clipping `clipped_norm`; with update
        norms `update_ratio/<layer>`.
        """
        series = {"loss": self.losses, "gradient_norm": self.global_norm}
        series |= {f"gradient_norm/{layer}": column for layer, column in zip(self.layers, self.norms.T, strict=True)}
        if self.clip_norms is not None:
            series["clipped_norm"] = self.clip_norms[:, 1]
        if self.update_ratios is not None:
            columns = zip(self.layers, self.update_ratios.T, strict=True)
            series |= {f"update_ratio/{layer}": column for layer, column in columns}
        return series

    def _per_layer(self, values: np.ndarray) -> np.ndarray:
        columns = [_root_sum_square(values[:, self.owners == i]) for i in range(len(self.layers))]
        return np.stack(columns, axis=1) if columns else np.zeros((len(values), 0), np.float32)


def header_path(path: str | Path) -> Path:
    """Where it is written what the rows in `path` are."""
    return Path(path).with_suffix(".json")


def rows_path(path: str | Path, name: str | None) -> Path:
    """Where the rows of `path` lie: in the file `name` beside it while one with more columns takes its place."""
    new = Path(path).with_name(name) if name else Path(path)
    return new if new.exists() else Path(path)


def _root_sum_square(norms: np.ndarray) -> np.ndarray:
    """(steps, n) -> (steps,); in float64, so that norms below 1e-19, whose squares float32 cannot hold, stay."""
    return np.sqrt(np.sum(np.square(norms, dtype=np.float64), axis=1)).astype(np.float32)
