"""Plain values on disk, as JSON and the bytes of arrays: to read them runs no code, which to read a pickle does."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = "biufcSUmM"  # of NumPy's dtypes: all that are numbers, text or times
SELF = (type(None), bool, int, float, str)  # JSON's own; Python's JSON has words for NaN and infinity


class Plain:
    """Writes and reads nested plain values: what is read is equal and of the same types, to the last bit.

    Plain are None, bool, int, float, complex, str and bytes; NumPy's arrays and scalars of numbers, text or times; and
    lists, tuples, sets and dicts (of any keys) of plain values, as such and not as subclasses of theirs. Arrays come
    back in C order and can be written to.

    Args:
        dataclasses: further types that are taken. Each is made anew of its fields.
        functions: further values that are taken, by the name they are written as.
    """

    def __init__(self, dataclasses: Sequence[type] = (), functions: Mapping[str, Callable] | None = None):
        self._dataclasses = {kind.__name__: kind for kind in dataclasses}
        self._functions = dict(functions or {})

    def takes(self, value: object) -> bool:
        """Whether `value` is plain."""
        try:
            self._encoded(value, _Bytes())
        except (TypeError, RecursionError):  # a list may hold itself
            return False
        return True

    def write(self, value: object) -> tuple[np.ndarray, np.ndarray]:
        """Return (bytes,) uint8 twice: the JSON, and what the arrays in `value` hold.

        Raises:
            TypeError: if `value` is not plain.
        """
        parts = _Bytes()
        text = json.dumps(self._encoded(value, parts))
        return np.frombuffer(text.encode(), np.uint8), np.concatenate([np.zeros(0, np.uint8), *parts.arrays])

    def read(self, text: np.ndarray, arrays: np.ndarray) -> Any:
        """Return the value that `write` made both of.

        Raises:
            ValueError: for what `write` did not make. So do KeyError, TypeError and RecursionError.
        """
        return self._decoded(json.loads(text.tobytes()), arrays)

    def _encoded(self, value: Any, parts: "_Bytes") -> Any:
        """Return what JSON takes: lists and `SELF` as they are, all else as {word: what it is made of}."""
        kind = type(value)
        if kind in SELF:
            return value
        if kind is list:
            return [self._encoded(item, parts) for item in value]
        if kind in (tuple, set, frozenset):
            return {kind.__name__: [self._encoded(item, parts) for item in value]}
        if kind is dict:
            return {"dict": [[self._encoded(key, parts), self._encoded(item, parts)] for key, item in value.items()]}
        if kind is complex:
            return {"complex": [value.real, value.imag]}
        if kind is bytes:
            return {"bytes": value.hex()}
        if kind is np.ndarray or isinstance(value, np.generic):
            return {"array" if kind is np.ndarray else "scalar": parts.add(np.asarray(value))}
        if self._dataclasses.get(kind.__name__) is kind:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
            return {"dataclass": [kind.__name__, self._encoded(fields, parts)]}
        for name, function in self._functions.items():
            if value is function:
                return {"function": name}
        raise TypeError(f"{kind.__name__} is no plain value")

    def _decoded(self, value: Any, arrays: np.ndarray) -> Any:
        if isinstance(value, list):
            return [self._decoded(item, arrays) for item in value]
        if not isinstance(value, dict):
            return value
        [(word, content)] = value.items()
        match word:
            case "tuple" | "set" | "frozenset":
                return {"tuple": tuple, "set": set, "frozenset": frozenset}[word](self._decoded(content, arrays))
            case "dict":
                return {self._decoded(key, arrays): self._decoded(item, arrays) for key, item in content}
            case "complex":
                return complex(*content)
            case "bytes":
                return bytes.fromhex(content)
            case "array":
                return _array(arrays, *content)
            case "scalar":
                return _array(arrays, *content)[()]
            case "dataclass":
                return self._dataclasses[content[0]](**self._decoded(content[1], arrays))
            case "function":
                return self._functions[content]
        raise ValueError(f"{word} is no word of plain values")


class _Bytes:
    """The bytes of arrays, one after another."""

    def __init__(self):
        self.arrays: list[np.ndarray] = []
        self.length = 0

    def add(self, array: np.ndarray) -> list:
        """Add an array; return what `_array` finds it by.

        Raises:
            TypeError: of objects, or of fields.
        """
        # The half precisions of `ml_dtypes` are known by their names alone.
        name = array.dtype.name if array.dtype.isbuiltin == 2 else array.dtype.str
        if np.dtype(name) != array.dtype or not _is_plain(array.dtype):
            raise TypeError(f"an array of {array.dtype} is no plain value")
        place = [name, list(array.shape), self.length]
        self.arrays.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        self.length += array.nbytes
        return place


def _array(arrays: np.ndarray, name: str, shape: list[int], start: int) -> np.ndarray:
    """Return a copy of the array of a dtype's `name` and a shape that begins at the byte `start`."""
    dtype = np.dtype(name)
    if not _is_plain(dtype) or min(shape, default=0) < 0 or start < 0:
        raise ValueError(f"{name} {shape} is no plain array")
    held = arrays[start : start + math.prod(shape) * dtype.itemsize]
    return np.frombuffer(held.tobytes(), np.uint8).copy().view(dtype).reshape(shape)


def _is_plain(dtype: np.dtype) -> bool:
    return dtype.kind in KINDS or dtype.isbuiltin == 2


class PlainFile:
    """Plain values in a file that grows: what was written before is not written again.

    Each is two lengths (uint64, of JSON and of arrays) and the bytes of both.

    Args:
        path: of the file; it need not be there.
        plain: what writes and reads a value.
    """

    def __init__(self, path: Path, plain: Plain):
        self.path, self._plain = path, plain

    def append(self, values: Iterable[object]) -> None:
        """Add values at the end.

        Raises:
            TypeError: if one is not plain.
            OSError: if the file cannot be written.
        """
        with open(self.path, "ab") as file:
            for value in values:
                parts = self._plain.write(value)
                file.write(np.array([len(part) for part in parts], "<u8").tobytes())
                file.writelines(part.tobytes() for part in parts)

    def read(self) -> list:
        """Return all values, in order.

        Raises:
            ValueError, KeyError, TypeError: for what `append` did not write.
        """
        data = np.frombuffer(self.path.read_bytes() if self.path.is_file() else b"", np.uint8)
        values = []
        while len(data):
            text, arrays = data[:16].view("<u8").tolist()
            values.append(self._plain.read(data[16 : 16 + text], data[16 + text : 16 + text + arrays]))
            data = data[16 + text + arrays :]
        return values
