"""GGUF v3, the file format of llama.cpp's models: metadata and tensors, read in place.

    gguf = Gguf.open(path)                       # memory-mapped: nothing is read before it is needed
    gguf.metadata["llama.block_count"]           # 30
    gguf.tensor("blk.0.attn_q.weight").shape     # (576, 576): (rows, columns), columns contiguous
    gguf.tensor("blk.0.attn_q.weight").blocks    # structured view (rows, columns // 32), fields d, m, qs
    gguf.tensor("blk.0.attn_q.weight").dequantise()  # float32 (rows, columns)

Quantised rows are cut into blocks of 32 columns. Column j of a block (0 <= j < 16) is the low nibble of `qs[j]`, column
j + 16 its high nibble; Q4_0 is (q - 8) * d, Q4_1 is q * d + m, Q8_0 is q * d with signed bytes.

Source: ggml's docs/gguf.md (format version 3, little endian). Everything that can be wrong with a file ends in
NookError("model-corrupt" | "model-unsupported", …).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.errors import NookError

Value = Any  # a number, bool, str, or (for arrays) a list of str or a numpy array

BLOCK = 32  # columns in a quantised block
_Q4_0 = np.dtype([("d", "<f2"), ("qs", "u1", (16,))])
_Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", (16,))])
_Q8_0 = np.dtype([("d", "<f2"), ("qs", "i1", (BLOCK,))])

# ggml's type number → our name, columns per item, dtype of an item
KINDS: dict[int, tuple[str, int, np.dtype[Any]]] = {
    0: ("F32", 1, np.dtype("<f4")),
    1: ("F16", 1, np.dtype("<f2")),
    2: ("Q4_0", BLOCK, _Q4_0),
    3: ("Q4_1", BLOCK, _Q4_1),
    8: ("Q8_0", BLOCK, _Q8_0),
}

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MAX_DIMS = 4
_MAX_DEPTH = 4


def _corrupt(what: str) -> NookError:
    return NookError("model-corrupt", f"The model file is damaged: {what}.", "Download it again.")


def _unsupported(what: str) -> NookError:
    return NookError(
        "model-unsupported", f"This model file is not supported: {what}.",
        "Use a GGUF version 3 file of the Llama family quantised as F32, F16, Q8_0, Q4_0 or Q4_1.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file. `shape` is numpy's order (rows, columns), `raw` its bytes in the file (uint8
    view), which begin at `start`."""

    name: str
    shape: tuple[int, ...]
    kind: str
    raw: np.ndarray
    start: int = 0

    @property
    def blocks(self) -> np.ndarray:
        """The stored items, not copied: shape (*shape[:-1], columns // 32) of d[, m], qs; plain floats as `shape`."""
        _, per_item, dtype = next(entry for entry in KINDS.values() if entry[0] == self.kind)
        return self.raw.view(dtype).reshape(*self.shape[:-1], self.shape[-1] // per_item)

    def dequantise(self) -> np.ndarray:
        """The values as float32, of `shape`; always a fresh array."""
        blocks = self.blocks
        if self.kind in ("F32", "F16"):
            return blocks.astype(np.float32)
        scale = blocks["d"].astype(np.float32)[..., None]
        if self.kind == "Q8_0":
            values = blocks["qs"].astype(np.float32) * scale
        else:
            packed = blocks["qs"]
            nibbles = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32)
            if self.kind == "Q4_0":
                values = (nibbles - np.float32(8)) * scale
            else:
                values = nibbles * scale + blocks["m"].astype(np.float32)[..., None]
        return values.reshape(self.shape)


class Gguf:
    """A GGUF file's `metadata` (key → value) and `tensors` (name → Tensor, in the order of the file)."""

    def __init__(self, data: bytes | np.ndarray) -> None:
        self._data = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        reader = _Reader(self._data)
        if reader.take(4) != b"GGUF":
            raise _unsupported("it does not start with the letters GGUF")
        version = reader.scalar("I")
        if version != 3:
            raise _unsupported(f"format version {version}")
        count, pairs = reader.scalar("Q"), reader.scalar("Q")
        self.metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = reader.string()
            self.metadata[key] = reader.value(reader.scalar("I"))
        infos = [_info(reader) for _ in range(count)]
        align = self.metadata.get("general.alignment", 32)
        if not isinstance(align, int) or align <= 0 or align & (align - 1):
            raise _corrupt(f"alignment {align!r}")
        start = -(-reader.at // align) * align
        self.tensors = {info[0]: self._place(start, *info) for info in infos}
        if len(self.tensors) != len(infos):
            raise _corrupt("two tensors have one name")

    @classmethod
    def open(cls, path: Path | str) -> Gguf:
        """Map the file at `path`. Raises NookError("model-missing") when there is none."""
        path = Path(path)
        if not path.is_file():
            raise NookError("model-missing", f"There is no model file {path.name}.", "Check the path.")
        if path.stat().st_size == 0:
            raise _corrupt("it is empty")
        return cls(np.memmap(path, np.uint8, "r"))

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`, or NookError("model-unsupported")."""
        try:
            return self.tensors[name]
        except KeyError:
            raise _unsupported(f"it has no tensor {name}") from None

    def _place(self, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
        if kind not in KINDS:
            raise _unsupported(f"tensor {name} has ggml type {kind}")
        label, per_item, dtype = KINDS[kind]
        if shape[-1] % per_item:
            raise _corrupt(f"tensor {name} has {shape[-1]} columns, not a multiple of {per_item}")
        size = math.prod(shape) // per_item * dtype.itemsize
        if start + offset + size > len(self._data):
            raise _corrupt(f"it ends inside tensor {name}")
        return Tensor(name, shape, label, self._data[start + offset : start + offset + size], start + offset)


def _info(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.string()
    dims = reader.scalar("I")
    if not 1 <= dims <= _MAX_DIMS:
        raise _corrupt(f"tensor {name} has {dims} dimensions")
    shape = tuple(reader.scalar("Q") for _ in range(dims))[::-1]
    if not all(shape):
        raise _corrupt(f"tensor {name} is empty")
    return name, shape, reader.scalar("I"), reader.scalar("Q")


class _Reader:
    """A cursor over the header; every read past the end is a NookError."""

    def __init__(self, data: np.ndarray) -> None:
        self._view = data
        self.at = 0

    def take(self, size: int) -> bytes:
        piece = self._view[self.at : self.at + size]
        if len(piece) != size:
            raise _corrupt("it ends inside its header")
        self.at += size
        return piece.tobytes()

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        try:
            return self.take(self.scalar("Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise _corrupt("a string in its header is no UTF-8") from None

    def value(self, kind: int, depth: int = 0) -> Value:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth == _MAX_DEPTH:
            raise _corrupt(f"its header holds a value of type {kind}")
        item, count = self.scalar("I"), self.scalar("Q")
        if item in _SCALARS:
            dtype = np.dtype(_SCALARS[item]).newbyteorder("<")
            return np.frombuffer(self.take(count * struct.calcsize("<" + _SCALARS[item])), dtype)
        return [self.value(item, depth + 1) for _ in range(count)]
