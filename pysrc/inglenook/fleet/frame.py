"""A tensor on its way from one worker to another, and how its head is written.

On the wire a frame is 4 bytes of magic, the lengths of its head (4 bytes) and of its data (8), little endian, the head
(JSON: its kind, its shape, what else is said), the data.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.fleet.safetensors import KINDS

MAGIC = b"INF1"
HEAD = 1 << 16  # bytes of a head, at most
DATA = 1 << 30  # bytes of a frame's data, at most
LENGTHS = struct.Struct("<4sIQ")
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """A tensor of a `kind` (safetensors' names) and `shape`, its bytes `data`, and what is `said` of it (JSON)."""

    kind: str
    shape: tuple[int, ...]
    data: memoryview
    said: dict[str, Any]

    @classmethod
    def of(cls, array: np.ndarray, **said: Any) -> Frame:
        """A frame of an array, which is not copied before it is sent: leave it as it is until then."""
        kind = next((kind for kind, dtype in _NUMPY.items() if np.dtype(dtype) == array.dtype), None)
        if kind is None:
            raise NookError("protocol", f"A frame cannot hold {array.dtype}.", f"One of: {', '.join(_NUMPY)}.")
        return cls(kind, array.shape, memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data), said)

    def array(self) -> np.ndarray:
        """The tensor, not copied. Raises NookError("protocol") for a kind that numpy has not."""
        if self.kind not in _NUMPY:
            raise NookError("protocol", f"numpy has no {self.kind}.", "Take it into a tensor.")
        return np.frombuffer(self.data, _NUMPY[self.kind]).reshape(self.shape)

    def head(self) -> bytes:
        """What goes before the data. Raises NookError("too-large")."""
        text = json.dumps({"kind": self.kind, "shape": self.shape, "said": self.said}).encode()
        if len(text) > HEAD or len(self.data) > DATA:
            hint = f"A head has {HEAD:,} bytes at most, its data {DATA:,}."
            raise NookError("too-large", f"A frame had {len(text):,} and {len(self.data):,} bytes.", hint)
        return LENGTHS.pack(MAGIC, len(text), len(self.data)) + text


def read_lengths(first: bytes | bytearray) -> tuple[int, int]:
    """How many bytes of head and of data follow a frame's first bytes. Raises NookError("protocol")."""
    magic, head, data = LENGTHS.unpack(first)
    if magic != MAGIC or head > HEAD or data > DATA:
        raise wrong("it does not begin like one")
    return head, data


def read_head(text: bytes | bytearray, size: int) -> Frame:
    """The frame without its data, which will have `size` bytes. Raises NookError("protocol")."""
    try:
        told = parse(bytes(text))
        kind, shape, said = told["kind"], tuple(told["shape"]), told["said"]
        sound = all(type(number) is int and number >= 0 for number in shape) and isinstance(said, dict)
        if not sound or math.prod(shape) * KINDS[kind] != size:
            raise wrong("it is not as large as its shape says")
    except (ValueError, KeyError, TypeError) as error:
        raise wrong("its head cannot be read") from error
    return Frame(kind, shape, memoryview(b""), said)


def wrong(what: str) -> NookError:
    """The error of what is no frame."""
    return NookError("protocol", f"What came is no frame: {what}.", "Are both sides of the same version?")
