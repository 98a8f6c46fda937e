"""Safetensors, the file format of most published weights: where each tensor lies, so that parts can be fetched alone.

    header = read_header(first_bytes)        # of the file: its first 8 bytes tell how many more are needed
    header.entries["model.norm.weight"]      # Entry(kind="F16", shape=(576,), start=…, end=…): bytes of the file

Format: 8 bytes of length (little endian), a JSON header of that length, the data without gaps. Source: the format's
description at huggingface.co/docs/safetensors. What is wrong with a file ends in NookError("model-corrupt").
"""

from __future__ import annotations

import errno
import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.depth import parse
from inglenook.errors import NookError

KINDS = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of an item, by the format's names."""
LONGEST = 100_000_000  # bytes of a header; the limit of the format's own reader


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its bytes are those from `start` to `end` of the file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. `entries` stand in the order of their bytes, the file has `size` bytes."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    size: int


def header_bytes(first: bytes) -> int:
    """How many bytes from the file's beginning hold its header, by the first 8. Raises NookError("model-corrupt")."""
    if len(first) < 8:
        raise corrupt("it is shorter than a header")
    (length,) = struct.unpack("<Q", first[:8])
    if not 2 <= length <= LONGEST:
        raise corrupt(f"its header would be {length} bytes long")
    return 8 + int(length)


def read_header(data: bytes) -> Header:
    """The header in `data`, a file's first bytes. Raises NookError("model-corrupt")."""
    start = header_bytes(data)
    if len(data) < start:
        raise corrupt("it ends inside its header")
    try:
        said = parse(data[8:start].decode("utf-8"))
        metadata = said.pop("__metadata__", {})
        entries = {name: _entry(name, info, start) for name, info in said.items()}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise corrupt("its metadata is not text")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise corrupt("its header cannot be read") from error
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)))
    at = start
    for name, entry in entries.items():
        if entry.start != at:
            raise corrupt(f"tensor {name} does not begin where the one before it ends")
        at = entry.end
    return Header(entries, metadata, at)


def open_header(path: Path) -> Header:
    """The header of the file at `path`, whose size must be what it says.

    Raises NookError("model-missing" | "model-corrupt").
    """
    if not path.is_file():
        raise NookError("model-missing", f"There is no {path.name} at {path.parent}.", "Check the path.")
    with path.open("rb") as file:
        first = file.read(8)
        header = read_header(first + file.read(header_bytes(first) - 8))
    if path.stat().st_size != header.size:
        raise corrupt(f"{path.name} has {path.stat().st_size} bytes, its header says {header.size}")
    return header


def floats(kind: str, raw: np.ndarray | bytes, shape: Sequence[int]) -> np.ndarray:
    """The values in the bytes `raw`: float32, or float16 as it is stored; not copied if that can be.

    Raises NookError("model-unsupported") for what are no floats.
    """
    data = np.frombuffer(raw, np.uint8) if isinstance(raw, bytes) else raw
    if kind == "BF16":  # the upper half of a float32
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if kind not in ("F32", "F16"):
        raise NookError("model-unsupported", f"Weights of type {kind} are not supported.", "Use F32, F16 or BF16.")
    return data.view({"F32": "<f4", "F16": "<f2"}[kind]).reshape(shape)


def write(
    path: Path, tensors: Iterable[tuple[str, str, Sequence[int]]], values: Iterable[np.ndarray], **metadata: str
) -> None:
    """Write a file of `tensors` (name, kind, shape), and of their `values` as they come, in the same order.

    The file appears when it is whole. Raises NookError("quota") if the disk is full.
    """
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at, sizes = 0, []
    for name, kind, shape in tensors:
        sizes.append(math.prod(shape) * KINDS[kind])
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + sizes[-1]]}
        at += sizes[-1]
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for size, value in zip(sizes, values, strict=True):
                assert value.nbytes == size, (value.shape, value.dtype, size)
                file.write(np.ascontiguousarray(value).data)
        part.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NookError("quota", f"There is no room for {path.name}.", "Free some space on the disk.") from error
    finally:
        part.unlink(missing_ok=True)


def corrupt(what: str) -> NookError:
    """The error of a damaged file."""
    return NookError("model-corrupt", f"The model file is damaged: {what}.", "Get it again.")


def _entry(name: str, info: dict[str, Any], start: int) -> Entry:
    kind, shape, (first, last) = info["dtype"], tuple(info["shape"]), info["data_offsets"]
    whole = all(type(number) is int and number >= 0 for number in (*shape, first, last))
    if not whole or kind not in KINDS or last - first != math.prod(shape) * KINDS[kind]:
        raise corrupt(f"tensor {name} is not as large as its shape says")
    return Entry(kind, shape, start + first, start + last)
