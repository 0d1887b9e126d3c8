"""What stands where in a row of gradient norms."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Columns:
    """A row: each variable's norm, the loss, two clip norms if `clips`, and if `updates` weight and update norms.

    Attributes:
        variables: how many there are.
        clips: whether the global norm before and after clipping is there.
        updates: whether each variable's weight norm and update norm are there.
    """

    variables: int
    clips: bool
    updates: bool

    def __len__(self) -> int:
        return self.variables * (1 + 2 * self.updates) + 1 + 2 * self.clips

    @property
    def norms(self) -> slice:
        """The variables' norms."""
        return slice(0, self.variables)

    @property
    def loss(self) -> int:
        """The loss."""
        return self.variables

    @property
    def clip_norms(self) -> slice:
        """The global norm before and after clipping."""
        return slice(self.variables + 1, self.variables + 1 + 2 * self.clips)

    @property
    def weight_norms(self) -> slice:
        """The variables' weight norms."""
        return slice(self.clip_norms.stop, self.clip_norms.stop + self.variables * self.updates)

    @property
    def update_norms(self) -> slice:
        """The variables' update norms."""
        return slice(self.weight_norms.stop, len(self))

    def blank(self) -> np.ndarray:
        """Return a row, (columns,) float32, in which nothing has happened: no gradient, no loss, no update."""
        row = np.zeros(len(self), np.float32)
        row[self.loss] = row[self.clip_norms] = np.nan
        return row

    def moved(self, rows: np.ndarray, to: "Columns", places: list[int]) -> np.ndarray:
        """Bring rows of these columns into `to`, which has all of them.

        Args:
            rows: (n, columns) float32.
            to: the columns wanted; what `rows` lack is as in `blank`.
            places: for each variable here its place there.
        """
        if self == to and places == list(range(self.variables)):
            return rows
        moved = np.tile(to.blank(), (len(rows), 1))
        moved[:, to.loss] = rows[:, self.loss]
        if self.clips:
            moved[:, to.clip_norms] = rows[:, self.clip_norms]
        moved[:, np.array(places, int)] = rows[:, self.norms]
        if self.updates:
            moved[:, np.array(places, int) + to.weight_norms.start] = rows[:, self.weight_norms]
            moved[:, np.array(places, int) + to.update_norms.start] = rows[:, self.update_norms]
        return moved
