"""Scalars for TensorBoard, without TensorBoard or TensorFlow: an event file is a list of small protocol buffers.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto, and for the records around
them https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import socket
import struct
import time
from pathlib import Path

import numpy as np


def write_scalars(folder: str | Path, steps: np.ndarray, series: dict[str, np.ndarray]) -> Path:
    """Write one event file.

    Args:
        folder: TensorBoard's `--logdir`, or a run below it; made if it is not there.
        steps: (n,) whole numbers.
        series: (n,) numbers by tag.

    Returns:
        The file's path.
    """
    now = time.time()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
    heads = [_field(1, tag.encode()) for tag in series]
    with open(path, "wb") as file:
        file.write(_record(_number(1, now) + _field(3, b"brain.Event:2")))
        for step, *values in zip(steps, *series.values(), strict=True):
            scalars = (
                _field(1, head + b"\x15" + struct.pack("<f", value)) for head, value in zip(heads, values, strict=True)
            )
            file.write(_record(_number(1, now) + b"\x10" + _varint(int(step)) + _field(5, b"".join(scalars))))
    return path


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _number(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _checksum(length)) + content + struct.pack("<I", _checksum(content))


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = _table()


def _checksum(content: bytes) -> int:
    """CRC-32C, masked as in TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
