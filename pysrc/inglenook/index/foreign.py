"""Indexes that other libraries wrote.

An hnswlib file (`save_index`; all numbers little-endian, nothing aligned) is a header, then for each element what its
level 0 holds, then for each element its lists of the upper levels:

    header    offset of level 0 (0), room, elements, bytes of an element, offsets of its label and its vector (u64),
              highest level (i32), entry (u32), maxM, maxM0, M (u64), level multiplier (f64), ef_construction (u64)
    element   links (u16), deleted (u8), 0 (u8), maxM0 rows (u32), the vector (f32), the label (u64)
    lists     bytes (u32), then for each level from 1 links (u32) and maxM rows (u32)

The graph is taken over as it is; the space is not in the file. Errors: NookError("corrupt", …).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.graph import LEVELS, MOST_EFFORT, MOST_LINKS
from inglenook.index.hnsw import HNSW

_HEADER = struct.Struct("<6QiI3QdQ")
_LENGTH = struct.Struct("<I")
WIDEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Graph:
    """What a file holds: the graph, float32 vectors (n, dim), labels int64 (n,), and which rows are deleted (n,)."""

    index: HNSW
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    deleted: NDArray[np.bool_]


def hnswlib(data: bytes | memoryview, space: str) -> Graph:
    """Read an hnswlib file; `space` is what the index was made with: "ip", "cosine" or "l2"."""
    if len(data) < _HEADER.size:
        raise _not("it is shorter than a header")
    start, room, n, size, label_at, vector_at, top, entry, most, most0, m, _, effort = _HEADER.unpack_from(data)
    dim, rest = divmod(label_at - vector_at, 4)
    shaped = vector_at == 4 + 4 * most0 and size == label_at + 8 and rest == 0 and start == 0
    if not (shaped and 2 <= m <= MOST_LINKS and most == m and most0 == 2 * m and 1 <= dim <= WIDEST and n <= room):
        raise _not("its header does not add up")
    if top < -1 or top > LEVELS or (n and (top < 0 or entry >= n)) or not 1 <= effort <= MOST_EFFORT:
        raise _not("its levels or its entry are wrong")
    if _HEADER.size + n * (size + _LENGTH.size) > len(data):
        raise _not("it is cut off")
    element = np.dtype([("count", "<u2"), ("deleted", "u1"), ("_", "u1"), ("links", "<i4", (2 * m,)),
                        ("vector", "<f4", (dim,)), ("label", "<i8")])  # fmt: skip
    elements = np.frombuffer(data, element, n, _HEADER.size)
    levels, upper = _upper(data, _HEADER.size + n * size, n, m)
    vectors = np.ascontiguousarray(elements["vector"])
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.einsum("ij,ij->i", vectors, vectors)).all():
            raise _not("a vector is not made of finite numbers")
    index = HNSW(dim, space, m, int(effort))
    graph = index.graph
    graph.append(index.encode(vectors), levels)
    graph.links[:n] = _ended(elements["links"], elements["count"])
    graph.upper[: graph.lists] = _ended(upper[:, 1:], upper[:, 0])
    graph.linked, graph.entry = n, entry if n else -1
    return Graph(HNSW.from_arrays(index.arrays()), vectors, elements["label"].copy(), (elements["deleted"] & 1) == 1)


def _upper(data: bytes | memoryview, at: int, n: int, m: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The level of each element, and the lists of all of them: count, then m rows."""
    width, levels, parts = 4 + 4 * m, np.zeros(n, np.uint8), []
    for row in range(n):
        if at + 4 > len(data):
            raise _not("it is cut off")
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if length:
            level, rest = divmod(length, width)
            if rest or level > LEVELS or at + length > len(data):
                raise _not("the lists of an element do not add up")
            levels[row] = level
            parts.append(data[at : at + length])
            at += length
    if at != len(data):
        raise _not("something follows it")
    return levels, np.frombuffer(b"".join(parts), "<i4").reshape(-1, 1 + m)


def _ended(links: NDArray[np.int32], counts: NDArray[Any]) -> NDArray[np.int32]:
    """Lists with -1 after their last row."""
    width = links.shape[1]
    counts = counts.astype(np.int64) & 0xFFFF  # the upper levels have other things above it
    if len(counts) and counts.max() > width:
        raise _not("a list is longer than there is room")
    kept: NDArray[np.int32] = np.where(np.arange(width) < counts[:, None], links, -1).astype(np.int32)
    if (kept < -1).any() or ((kept == -1) & (np.arange(width) < counts[:, None])).any():
        raise _not("a link leads nowhere")
    return kept


def _not(why: str) -> NookError:
    hint = "Save it again with hnswlib's save_index, and choose that file."
    return NookError("corrupt", f"This is not a whole hnswlib file: {why}.", hint)
