"""Plain values on disk: what is read is what was written, and nothing is run."""

import functools
import math

import numpy as np
import pytest

from zoo.running.plain import Plain, PlainFile
from zoo.telemetry.probe import Attention, Residual

EMPTY = np.zeros(0, np.uint8)


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    return a == b


def test_what_is_read_is_what_was_written():
    import ml_dtypes

    halves = np.array([1.5, np.nan, -0.0], ml_dtypes.bfloat16)
    arrays = [
        np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), bool),
    ]
    arrays += [
        np.array(7, np.int8),
        np.array(["a", "ü\0b"]),
        np.array([b"x"]),
        np.array(["2020-01-01"], "M8[D]"),
        halves,
    ]
    arrays += [np.array([1 + 2j], np.complex64), np.array([1, 2], ">u2"), np.arange(9)[::-2]]
    scalars = [
        np.float32("nan"),
        np.float64(0.1),
        np.int64(-(2**63)),
        np.bool_(True),
        np.str_(""),
        np.uint8(3),
        halves[0],
    ]
    words = ["", "\ud800 \u2028 \0", b"", bytes(range(256)), None, True, 2**70, -1, 0.1, -0.0, 5e-324, 1 - 2j]
    value = {
        "numbers": [math.nan, math.inf, -math.inf, *words],
        "nested": ((), [[]], ([1, (2,)],), {}, {"tuple": [1]}, {"dict": {}}),
        1: {True: "a", None: "b", (1, "x"): "c", 2.5: "d", b"k": "e", np.int64(4): "f"},
        "sets": [{1, 2}, frozenset("a"), set()],
        "arrays": arrays,
        "scalars": scalars,
    }
    plain = Plain()
    read = plain.read(*plain.write(value))
    assert same(read, value)
    assert all(array.flags.writeable for array in read["arrays"])


def test_dataclasses_and_functions_are_those_that_are_named():
    plain = Plain([Attention], {"least": min})
    value = [Attention("a", math.inf, 0.5), min]
    assert plain.read(*plain.write(value)) == value
    assert not plain.takes(Residual("a", 0.5)) and not plain.takes(max)
    text, arrays = Plain([Residual], {"most": max}).write([Residual("a", 0.5), max])
    with pytest.raises(KeyError):
        plain.read(text, arrays)


def test_a_file_grows_by_what_is_added(tmp_path):
    file, values = PlainFile(tmp_path / "values", Plain()), [{"a": np.arange(3)}, [], (np.float32(0.1), "ü"), None]
    assert file.read() == []
    file.append(values[:2])
    before = file.path.read_bytes()
    file.append(values[2:])
    file.append([])
    assert file.path.read_bytes()[: len(before)] == before
    assert same(PlainFile(file.path, Plain()).read(), values)


def test_what_is_not_plain_is_refused():
    itself: list = []
    itself.append(itself)
    odd = [object(), print, functools.partial(print), np.array([None]), np.zeros(2, "i4,f4"), range(3), itself]
    for value in odd:
        assert not Plain().takes(value) and not Plain().takes([1, {"a": (value,)}])
    with pytest.raises(TypeError, match="object is no plain value"):
        Plain().write([object()])


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b'{"a": 1, "b": 2}', b'{"call": "print"}', b'{"array": ["O", [1], 0]}', b'{"function": "exec"}'),
        *(b'{"array": ["<f4", [3], 0]}', b'{"array": ["<f4", [-1], 0]}', b'{"scalar": ["i4,O", [1], 0]}', b"[" * 9999),
        *(b'{"dataclass": ["Attention", {"dict": []}]}', b'{"set": [[1]]}', b"\x80\x04N."),
    ],
)
def test_what_was_not_written_here_is_not_read(text):
    with pytest.raises((ValueError, KeyError, TypeError, RecursionError)):
        Plain([Attention]).read(np.frombuffer(text, np.uint8), np.zeros(8, np.uint8))
