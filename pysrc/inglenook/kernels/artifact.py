"""`.nkm`: a model as the kernel wants it in memory, so that loading is copying bytes.

    bytes 0..3   "NKM4"
    bytes 4..7   length of the header, uint32 little endian; 16 + length is a multiple of 64
    bytes 8..11  CRC-32 of the header
    bytes 12..15 zero
    header       JSON, padded with spaces
    then         the tensors, each at a multiple of 64 bytes from the end of the header

The header says {"kind": "lm" | "encoder", "words": […], "config": {…}, "sums": […], "tensors": [{"name", "format",
"shape", "offset", "bytes"}, …]}. `sums` are the CRC-32 of each MiB of what follows the header. `words` are the int32
that the kernel's `_open` and `_bytes` functions take; the tensors stand in the order that function wants; offsets count
from the end of the header. Formats: "f32", "f64", and the panels of `pack`. The same input gives the
same bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inglenook.errors import NookError
from inglenook.kernels import pack
from inglenook.types import Json

MAGIC = b"NKM4"
ALIGN = 64
PIECE = 1 << 20
"""Bytes that have a checksum together."""
_FIXED = 16
_LARGEST_HEADER = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the kernel's own layout: `data` is any contiguous array, `shape` what it stands for."""

    name: str
    format: str
    shape: tuple[int, ...]
    data: np.ndarray


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: `bytes` from `offset` on, counted from the end of the header."""

    format: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What an artifact says about itself: where its tensors lie, by name and in the kernel's order. `start` is where
    they begin in the file, `size` how long that is, `sums` the checksums of its pieces."""

    kind: str
    words: list[int]
    places: dict[str, Place]
    start: int
    size: int
    sums: list[int]
    config: Json

    @property
    def offsets(self) -> list[int]:
        """Where the tensors start, as the kernel takes it."""
        return [place.offset for place in self.places.values()]


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
    sums = list(_sums(tensors))
    described = {"kind": kind, "words": words, "config": config, "sums": sums, "tensors": table}
    header = json.dumps(described, separators=(",", ":"), sort_keys=True).encode()
    header += b" " * (-(_FIXED + len(header)) % ALIGN)
    part = out.with_suffix(".part")
    with part.open("wb") as file:
        file.write(MAGIC + struct.pack("<III", len(header), zlib.crc32(header), 0) + header)
        for data in _bytes(tensors):
            file.write(data)
    part.replace(out)


def _bytes(tensors: Iterable[Tensor]) -> Iterator[bytes]:
    for tensor in tensors:
        data = np.ascontiguousarray(tensor.data)
        yield data.tobytes()
        yield b"\0" * (-data.nbytes % ALIGN)


def _sums(tensors: Iterable[Tensor]) -> Iterator[int]:
    """The checksum of each piece of the tensors as they lie in the file."""
    rest = b""
    for data in _bytes(tensors):
        rest += data
        cut = len(rest) // PIECE * PIECE
        for at in range(0, cut, PIECE):
            yield zlib.crc32(memoryview(rest)[at : at + PIECE])
        rest = rest[cut:]
    if rest:
        yield zlib.crc32(rest)


def read_header(path: Path) -> Header:
    """The header of the artifact at `path`. Raises NookError("model-missing" | "model-corrupt")."""
    if not path.is_file():
        raise NookError("model-missing", f"There is no model file {path.name}.", "Run `python3 build.py dev` once.")
    total = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
        length, crc = struct.unpack("<II", fixed[4:12]) if len(fixed) == _FIXED else (0, 0)
        if fixed[:4] != MAGIC or not 0 < length <= min(_LARGEST_HEADER, total) or (_FIXED + length) % ALIGN:
            raise _corrupt(path, "it is no Inglenook model")
        raw = file.read(length)
    if zlib.crc32(raw) != crc:
        raise _corrupt(path, "its header was changed")
    said = json.loads(raw)
    places = {t["name"]: Place(t["format"], tuple(t["shape"]), t["offset"], t["bytes"]) for t in said["tensors"]}
    start = _FIXED + length
    if total - start < max(place.offset + place.bytes for place in places.values()):
        raise _corrupt(path, "it ends too early")
    return Header(said["kind"], said["words"], places, start, total - start, said["sums"], said["config"])


def verify(path: Path, header: Header, data: np.ndarray, first: int = 0, step: int = 1) -> None:
    """Hold every `step`-th piece from piece `first` on against its checksum; `data` is the whole file.

    Raises NookError("model-corrupt").
    """
    for i in range(first, len(header.sums), step):
        at = header.start + i * PIECE
        if zlib.crc32(data[at : at + PIECE].data) != header.sums[i]:
            raise _corrupt(path, f"its part {i + 1} of {len(header.sums)} was changed")


def floats_of(path: Path, header: Header, name: str) -> np.ndarray:
    """A tensor's numbers as the kernel takes them, float32 (float64 for "f64")."""
    place = header.places[name]
    data = np.fromfile(path, np.uint8, place.bytes, offset=header.start + place.offset)
    if place.format in ("f32", "f64"):
        return data.view({"f32": "<f4", "f64": "<f8"}[place.format]).reshape(place.shape)
    rows, columns = place.shape
    padded = -(-rows // pack.ROWS) * pack.ROWS
    return pack.unpack(place.format, data, padded, columns)[:rows]


def _corrupt(path: Path, what: str) -> NookError:
    return NookError("model-corrupt", f"{path.name} is damaged: {what}.", "Remove it and build again.")
