"""`.nkm`: a model as the kernel wants it in memory, so that loading is copying bytes.

    bytes 0..3   "NKM1"
    bytes 4..7   length of the header, uint32 little endian; 8 + length is a multiple of 64
    header       JSON, padded with spaces
    then         the tensors, each at a multiple of 64 bytes from the end of the header

The header says {"kind": "lm" | "encoder", "words": […], "config": {…}, "tensors": [{"name", "format", "shape",
"offset", "bytes"}, …]}. `words` are the int32 that the kernel's `_open` and `_bytes` functions take; the tensors stand
in the order that function wants; offsets count from the end of the header. Formats: "f32", "f64", and the panels "q4",
"q7", "q8" of `pack`. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inglenook.errors import NookError
from inglenook.types import Json

MAGIC = b"NKM1"
ALIGN = 64
_LARGEST_HEADER = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the kernel's own layout: `data` is any contiguous array, `shape` what it stands for."""

    name: str
    format: str
    shape: tuple[int, ...]
    data: np.ndarray


@dataclass(frozen=True, slots=True)
class Header:
    """What an artifact says about itself. `start` is where its tensors begin in the file, `size` how long that is."""

    kind: str
    words: list[int]
    offsets: list[int]
    start: int
    size: int
    config: Json = field(default_factory=dict)


def floats(name: str, values: np.ndarray, kind: str = "f32") -> Tensor:
    """A tensor of plain floats, "f32" or "f64"."""
    data = np.ascontiguousarray(values, {"f32": "<f4", "f64": "<f8"}[kind])
    return Tensor(name, kind, data.shape, data)


def word(value: float) -> int:
    """The bits of a float as an int32, as the kernel takes them among `words`."""
    return int(np.float32(value).view(np.int32))


def write(out: Path, kind: str, words: list[int], config: Json, tensors: Iterable[Tensor]) -> None:
    """Write an artifact, whole or not at all."""
    tensors = list(tensors)
    table, offset = [], 0
    for tensor in tensors:
        size = tensor.data.nbytes
        table.append({"name": tensor.name, "format": tensor.format, "shape": tensor.shape, "offset": offset,
                      "bytes": size})  # fmt: skip
        offset += -(-size // ALIGN) * ALIGN
    described = {"kind": kind, "words": words, "config": config, "tensors": table}
    header = json.dumps(described, separators=(",", ":"), sort_keys=True).encode()
    header += b" " * (-(8 + len(header)) % ALIGN)
    part = out.with_suffix(".part")
    with part.open("wb") as file:
        file.write(MAGIC + struct.pack("<I", len(header)) + header)
        for tensor in tensors:
            data = np.ascontiguousarray(tensor.data)
            file.write(data.tobytes())
            file.write(b"\0" * (-data.nbytes % ALIGN))
    part.replace(out)


def read_header(path: Path) -> Header:
    """The header of the artifact at `path`. Raises NookError("model-missing" | "model-corrupt")."""
    if not path.is_file():
        raise NookError("model-missing", f"There is no model file {path.name}.", "Run `python3 build.py dev` once.")
    total = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(8)
        length = struct.unpack("<I", fixed[4:])[0] if len(fixed) == 8 else 0
        if fixed[:4] != MAGIC or not 0 < length <= min(_LARGEST_HEADER, total) or (8 + length) % ALIGN:
            raise _corrupt(path, "it is no Inglenook model")
        raw = file.read(length)
    try:
        said = json.loads(raw)
        kind, words, config = str(said["kind"]), [int(w) for w in said["words"]], dict(said["config"])
        places = [(int(t["offset"]), int(t["bytes"])) for t in said["tensors"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, "its header cannot be read") from error
    size = total - 8 - length
    if any(offset % ALIGN or offset < 0 or count < 0 or offset + count > size for offset, count in places):
        raise _corrupt(path, "it ends too early")
    return Header(kind, words, [offset for offset, _ in places], 8 + length, size, config)


def _corrupt(path: Path, what: str) -> NookError:
    return NookError("model-corrupt", f"{path.name} is damaged: {what}.", "Remove it and build again.")
