"""The .nook file: pages as one file, written from front to back and read from its end.

    header      "NOOK", version (u16), 0 (u16), the file's own number (8 random bytes)
    commit …    page bytes, directory, footer

    directory   count (u32), bytes of keys (u32), then columns: offset (u64), length (u32), CRC-32 (u32) of each page,
                then the keys (UTF-8, ended by a zero byte each). Offset 0: the page was deleted.
    footer      directory offset (u64), directory length (u32), directory CRC-32 (u32), offset of the footer before
                (u64; 0: this directory lists everything), the file's number, CRC-32 (u32) of the footer so far, "nooK"

All numbers are little-endian. A file is what its last complete commit says, so a writer that is killed loses only what
it never acknowledged. `write` makes one commit with the keys in order: a static server can hand out such a file by
byte ranges (footer, directory, then runs of pages: `index/ranges.py`). `index/log.py` appends commits.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import NamedTuple

import numpy as np

from inglenook.errors import NookError

VERSION = 1
MAGIC, END = b"NOOK", b"nooK"
HEADER = struct.Struct("<4sHH8s")
FOOTER = struct.Struct("<QIIQ8sI4s")
_COUNTS = struct.Struct("<II")

Reader = Callable[[int, int], bytes]
"""read(offset, length) → bytes, fewer where the file ends: a file, an array of bytes, or a server by ranges."""


class Place(NamedTuple):
    """Where a page lies. Offset 0: it was deleted."""

    offset: int
    length: int
    crc: int


class Directory(NamedTuple):
    """What one commit says, and where the footer before it is (0: it lists everything)."""

    places: dict[str, Place]
    before: int


def header(number: bytes) -> bytes:
    """The first bytes of a file; `number` is 8 random bytes."""
    return HEADER.pack(MAGIC, VERSION, 0, number)


def read_header(head: bytes) -> bytes:
    """The file's number. Raises NookError("corrupt" | "newer-format" | "truncated")."""
    if not MAGIC.startswith(head[:4]) or (len(head) >= 4 and head[:4] != MAGIC):
        raise NookError("corrupt", "This is not a .nook file.", "Choose a file that Inglenook exported.")
    if len(head) < HEADER.size:
        raise truncated()
    _, version, _, number = HEADER.unpack(head[: HEADER.size])
    if version > VERSION:
        message = f"This .nook file was written by a newer Inglenook (version {version}; this one reads {VERSION})."
        raise NookError("newer-format", message, "Reload the page, or update Inglenook, and try again.")
    if not version:
        raise _corrupt("it has no version")
    return bytes(number)


def close(places: Mapping[str, Place], offset: int, before: int, number: bytes) -> tuple[bytes, bytes]:
    """Directory and footer of a commit whose directory begins at `offset`."""
    names = b"".join(key.encode() + b"\0" for key in places)
    columns = np.array(list(places.values()), np.uint64).reshape(-1, 3)
    directory = (
        _COUNTS.pack(len(places), len(names))
        + columns[:, 0].astype("<u8").tobytes()
        + columns[:, 1:].T.astype("<u4").tobytes()
        + names
    )
    footer = FOOTER.pack(offset, len(directory), zlib.crc32(directory), before, number, 0, END)
    return directory, footer[:-8] + struct.pack("<I4s", zlib.crc32(footer[:-8]), END)


def read_footer(read: Reader, end: int, number: bytes) -> Directory | None:
    """The commit whose footer ends at byte `end`, None if none does."""
    start = end - FOOTER.size
    footer = read(start, FOOTER.size) if start >= HEADER.size else b""
    if len(footer) < FOOTER.size:
        return None
    offset, length, crc, before, owner, check, magic = FOOTER.unpack(footer)
    if magic != END or check != zlib.crc32(footer[:-8]) or owner != number or offset + length != start:
        return None
    directory = read(offset, length)
    if len(directory) < length or zlib.crc32(directory) != crc:
        return None
    try:
        count, size = _COUNTS.unpack_from(directory)
        offsets = np.frombuffer(directory, "<u8", count, _COUNTS.size)
        lengths, crcs = np.frombuffer(directory, "<u4", 2 * count, _COUNTS.size + count * 8).reshape(2, count)
        keys = directory[len(directory) - size :].decode().split("\0")[:-1]
        columns = zip(offsets.tolist(), lengths.tolist(), crcs.tolist())
        places = map(tuple.__new__, repeat(Place), columns)  # Place(…) without a call in Python for each of many
        return Directory(dict(zip(keys, places, strict=True)), before)
    except (struct.error, ValueError, OverflowError):  # whole, but never written by us
        return None


def directory_at(read: Reader, end: int, number: bytes) -> tuple[dict[str, Place], int]:
    """All pages as the commit that ends at `end` leaves them, and how many directory entries tell it.

    Raises NookError("corrupt") where that commit, or one it builds on, is damaged.
    """
    steps: list[dict[str, Place]] = []
    while True:
        found = read_footer(read, end, number)
        if found is None or (found.before and found.before + FOOTER.size >= end):
            raise _corrupt("its directory is damaged")
        steps.append(found.places)
        if not found.before:
            break
        end = found.before + FOOTER.size
    places: dict[str, Place] = {}
    for step in reversed(steps):
        places |= step
    return {key: place for key, place in places.items() if place.offset}, sum(map(len, steps))


def write(pages: Mapping[str, bytes]) -> bytes:
    """The pages as a .nook file."""
    return b"".join(stream(pages))


def stream(pages: Mapping[str, bytes], number: bytes | None = None) -> Iterator[bytes]:
    """The pages as a .nook file, piece by piece; each page is asked for once, in the order of keys."""
    number = number or os.urandom(8)
    yield header(number)
    places: dict[str, Place] = {}
    offset = HEADER.size
    for key in sorted(pages):
        page = pages[key]
        places[key] = Place(offset, len(page), zlib.crc32(page))
        offset += len(page)
        yield page
    yield from close(places, offset, 0, number)


def read(data: bytes) -> dict[str, bytes]:
    """The pages of a .nook file, every byte checked, keys in order.

    Raises NookError("truncated" | "newer-format" | "corrupt").
    """
    number = read_header(data[: HEADER.size])
    if data[-4:] != END:
        raise truncated()
    places, _ = directory_at(lambda offset, length: data[offset : offset + length], len(data), number)
    if sum(place.length for place in places.values()) > len(data):
        raise _corrupt("its pages overlap")
    pages = {}
    for key in sorted(places):
        offset, length, crc = places[key]
        pages[key] = data[offset : offset + length]
        if len(pages[key]) < length or zlib.crc32(pages[key]) != crc:
            raise _corrupt(f"the checksum of {key} is wrong")
    return pages


def truncated() -> NookError:
    """The error for a file without its end."""
    hint = "Copy or download it again; if it is being written, wait until that is done."
    return NookError("truncated", "This .nook file is cut off: its end is missing.", hint)


def _corrupt(why: str) -> NookError:
    hint = "Use another copy of it, or export it again where it came from."
    return NookError("corrupt", f"This .nook file is damaged: {why}.", hint)
