"""Which jobs of a sweep are trained as one."""

import pytest
from jobs import composed

from zoo.errors import UserError
from zoo.sweeping.packs import checked, packs


def seeds(count: int, *words: str) -> list:
    return [composed(*words, f"seed={seed}") for seed in range(count)]


def test_jobs_of_one_program_are_parted_so_that_every_slot_has_some():
    assert packs(seeds(5), None, slots=2)[0] == [[0, 1], [2, 3, 4]]
    assert packs(seeds(5), None, slots=1)[0] == [[0, 1, 2, 3, 4]]
    assert packs(seeds(3), None, slots=8)[0] == [[0, 1, 2]]  # none would have another beside it
    assert [len(pack) for pack in packs(seeds(5), 2, slots=1)[0]] == [2, 1, 2]
    assert [len(pack) for pack in packs(seeds(50, "model.depth=1"), None, slots=1)[0]] == [17, 16, 17]


def test_jobs_of_other_programs_are_not_beside_each_other():
    configs = [composed(f"model.depth={depth}", f"rate_factor={factor}") for factor in (1, 2) for depth in (2, 3)]
    assert packs(configs, None, slots=2) == ([[0, 2], [1, 3]], [])


def test_none_is_packed_where_that_is_asked_for():
    assert packs(seeds(4), 1, slots=1) == ([[0], [1], [2], [3]], [])


def test_what_cannot_be_packed_is_told_with_the_reason():
    found, told = packs([*seeds(2), *seeds(2, "model=lenet")], None, slots=1)
    assert found == [[0, 1], [2], [3]]
    assert told == ["not packed: 2 of 4 jobs: lenet is no MLP"]
    others = [composed("model=lenet", f"activation={name}") for name in ("relu", "tanh")]
    assert packs(others, None, slots=1) == ([[0], [1]], [])  # each is of another program


@pytest.mark.parametrize("pack", [0, -1, "all", 2.5, True, None])
def test_a_pack_that_is_none_is_refused(pack):
    with pytest.raises(UserError, match=r"hydra.launcher.pack"):
        checked(pack)
    assert checked("auto") is None and checked(3) == 3
