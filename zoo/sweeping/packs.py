"""Which jobs of a sweep are trained as one: those of one program, as `zoo.running.pack` does them."""

import collections
import itertools
import math
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from zoo.errors import UserError
from zoo.running import packable, reuse


def checked(pack: Any) -> int | None:
    """Return how many jobs a pack may have; `None` if that is left to what is fast.

    Raises:
        UserError: if it is neither "auto" nor a number from 1 on.
    """
    if pack == "auto":
        return None
    if isinstance(pack, int) and not isinstance(pack, bool) and pack >= 1:
        return pack
    raise UserError(f"hydra.launcher.pack={pack}: say auto, or how many jobs may be trained as one; 1: none.")


def packs(configs: Sequence[DictConfig], most: int | None, slots: int) -> tuple[list[list[int]], list[str]]:
    """Part the jobs of a sweep.

    Args:
        configs: of each.
        most: jobs of a pack; `None` for as many as are of use.
        slots: that shall all have something to do.

    Returns:
        The places in `configs` of the jobs of each pack, in order; a job that is not packed is one of its own. And why
        jobs of one program are not packed, a line for each reason.
    """
    if most == 1:
        return [[k] for k in range(len(configs))], []
    programs: dict[str, list[int]] = collections.defaultdict(list)
    left_out: dict[str, list[str]] = collections.defaultdict(list)
    single: list[list[int]] = []
    for k, cfg in enumerate(configs):
        program = reuse.common_to(cfg)
        reason = packable.obstacle(cfg, program)
        if reason is None:
            programs[str(program)].append(k)
        else:
            left_out[reason].append(str(program))
            single.append([k])
    found = single
    for places in programs.values():
        found += _parted(places, most or packable.MOST, -(-slots // len(programs)))
    told = [
        f"not packed: {len(of_each)} of {len(configs)} jobs: {reason}"
        for reason, of_each in left_out.items()
        if len({*of_each}) < len(of_each)
    ]
    return sorted(found), told


def _parted(places: list[int], most: int, slots: int) -> list[list[int]]:
    """Part the jobs of one program in even packs, for so many slots if they suffice for packs of two."""
    count = max(math.ceil(len(places) / most), min(slots, len(places) // 2), 1)
    ends = [round(i * len(places) / count) for i in range(count + 1)]
    return [places[first:last] for first, last in itertools.pairwise(ends)]
