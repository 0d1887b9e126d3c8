"""Callbacks that can be pickled and copied while they are in use, and whose copies are found again.

Tuners and scikit-learn copy the callbacks that they are given, train with the copies and drop them.
"""

import copy
import weakref
from typing import Any, ClassVar, Self

from zoo.telemetry.keras_private import without_model


class Copied:
    """Mixin, to stand before `keras.callbacks.Callback`: what its copies recorded can be had from the original.

    A child names in `left_out` the attributes that do not travel beside the model, with the values that stand in their
    places in a copy or pickle, and counts in `recorded` what it holds. It changes the attributes that hold it in place
    and never sets them anew: an original shares them with each of its copies, for it outlives them, and so keeps the
    record alive but neither model nor traced functions.
    """

    left_out: ClassVar[dict[str, object]] = {}
    # An original has the first, a copy the others.
    _copies: list[Self]
    _origins: list[weakref.ref]
    _inherited: int

    def recorded(self) -> int:
        """Return how much was recorded: a number that only grows."""
        raise NotImplementedError

    @property
    def copies(self) -> list[Self]:
        """The copies of this callback, and copies of copies, that recorded something, in the order of their making."""
        return [twin for twin in vars(self).get("_copies", []) if twin.recorded() > twin._inherited]

    @property
    def is_copy(self) -> bool:
        """Whether this is a copy that was made in this process."""
        return "_inherited" in vars(self)

    def the_copy(self, nothing: str, attribute: str) -> Self:
        """Return the one copy that recorded something, for an original asked for `attribute` that recorded nothing.

        Raises:
            RuntimeError: with `nothing` as its text if there is no such copy, and with their number if there are more.
        """
        kind, found = type(self).__name__, self.copies
        if len(found) == 1:
            return found[0]
        if found:
            raise RuntimeError(
                f"This {kind} recorded nothing itself, but {len(found)} copies of it did (tuners and scikit-learn copy "
                f"the callbacks that they are given): each has its own, copies[i].{attribute}, i from 0 to "
                f"{len(found) - 1}."
            )
        made = len(vars(self).get("_copies", []))
        raise RuntimeError(
            nothing + (f" It was copied, but no copy recorded anything (copies: {made})." if made else "")
        )

    def __getstate__(self) -> dict:
        own = {name: value for name, value in vars(self).items() if name not in ("_copies", "_origins", "_inherited")}
        return without_model(own) | {name: value for name, value in self.left_out.items() if name in own}

    def __deepcopy__(self, memo: dict) -> Self:
        twin = _with_state(type(self), copy.deepcopy(self.__getstate__(), memo))
        memo[id(self)] = twin
        origins = [*(origin for origin in vars(self).get("_origins", []) if origin() is not None), weakref.ref(self)]
        kept = _with_state(type(self), twin.__getstate__())  # shares the record, and is nothing else's
        twin._inherited = kept._inherited = twin.recorded()
        twin._origins = origins
        for origin in origins:
            vars(origin()).setdefault("_copies", []).append(kept)
        return twin

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # two callbacks may not write to one record


def _with_state(kind: type, state: dict) -> Any:
    made = object.__new__(kind)
    vars(made).update(state)
    return made
