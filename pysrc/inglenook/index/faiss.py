"""Vectors out of files that faiss wrote (`write_index`).

A file is an index: four letters that tell its class, a header, then what the class has; that may be another index. All
numbers are little-endian, nothing is aligned, and an array is its length (u64), then its items. Read here:

    header          dim (i32), vectors (i64), two unused (i64), trained (u8), metric (i32; 0: inner product, 1: L2)
    IxFI IxF2 IxFl  IndexFlat: header, an array of numbers (f32; its length counts these)
    IxSQ            IndexScalarQuantizer: header, quantiser, an array of bytes
    IxMp IxM2       IndexIDMap, IndexIDMap2: header, index, an array of labels (i64)
    IwFl            IndexIVFFlat: header, lists, probes (u64), index of the centroids, map, inverted lists
    IwSq            IndexIVFScalarQuantizer: as far as the map, then quantiser, bytes of a code (u64), whether codes are
                    of residuals (u8), inverted lists
    IHNf IHNs       IndexHNSWFlat, IndexHNSWSQ: header, five arrays and five numbers of the graph, index of the vectors

    quantiser       type, how its range was found (i32), its argument (f32), dim, bytes of a code (u64), an array (f32)
    map             sort (u8), an array (i64), and of sort 2 an array of pairs (i64)
    inverted lists  "ilar", lists, bytes of a code (u64), "full" and an array of lengths, or "sprs" and an array of
                    pairs of list and length (u64); then of each list its codes and its labels (i64)

Graphs and lists are not taken over: what searches here is made of the vectors. Where a class keeps no vectors but codes
that lose much, such as product quantisation, there is nothing to take.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError

WIDEST = 1 << 16
DEEPEST = 8
"""So many indexes may lie within each other."""
CODES = {0: "u1", 2: "u1", 4: "<f2", 5: "u1", 8: "u1"}
"""Scalar quantisers by type, and how they keep a number: 8 bit, the same of one range, halves, bytes, signed bytes."""
OTHERS = {
    "IxPq": "IndexPQ", "IwPQ": "IndexIVFPQ", "IwQR": "IndexIVFPQR", "IPfs": "IndexPQFastScan", "IHNp": "IndexHNSWPQ",
    "IwPf": "IndexIVFPQFastScan", "IxPT": "IndexPreTransform", "IxRF": "IndexRefine", "IxHe": "IndexLSH",
    "Ixrq": "IndexRaBitQ", "Iwrq": "IndexIVFRaBitQ", "IwFd": "IndexIVFFlatDedup", "INSf": "IndexNSGFlat",
    "IHN2": "IndexHNSW2Level", "IHc2": "IndexHNSWCagra", "IBxF": "IndexBinaryFlat", "IBwF": "IndexBinaryIVF",
    "IBHf": "IndexBinaryHNSW", "IBMp": "IndexBinaryIDMap", "IBM2": "IndexBinaryIDMap2",
    "null": "An index without its vectors",
}  # fmt: skip


class Taken(NamedTuple):
    """What a file has: `space` "ip" or "l2", `vectors` float32 (n, dim), `labels` int64 (n,)."""

    space: str
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]


def read(data: bytes | memoryview) -> Taken:
    """The vectors of a faiss file, by label. NookError("corrupt" | "unsupported-index")."""
    file = _File(memoryview(data))
    taken = _index(file)
    if file.at != len(file.data):
        raise _not("something follows it")
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.einsum("ij,ij->i", taken.vectors, taken.vectors)).all():
            raise _not("a vector is not made of finite numbers")
    order = np.argsort(taken.labels, kind="stable")
    return taken._replace(vectors=taken.vectors[order], labels=taken.labels[order])


class _File:
    """Bytes that are read in order, and never beyond their end."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + form)
        return struct.unpack("<" + form, self._piece(size))

    def word(self) -> str:
        return bytes(self._piece(4)).decode("latin-1")

    def items(self, dtype: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self._piece(count * np.dtype(dtype).itemsize), dtype)

    def array(self, dtype: str) -> NDArray[Any]:
        return self.items(dtype, self.take("Q")[0])

    def _piece(self, size: int) -> memoryview:
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise _not("it is cut off")
        return self.data[start : self.at]


class _Header(NamedTuple):
    dim: int
    rows: int
    metric: int


def _index(file: _File, depth: int = 0) -> Taken:
    """The index that begins here."""
    word = file.word()
    if depth > DEEPEST:
        raise _not("too many indexes lie within each other")
    if word in ("IxFI", "IxF2", "IxFl"):
        head = _header(file)
        return _made(head, file.array("<f4"))
    if word == "IxSQ":
        head = _header(file)
        quantiser = _quantiser(file, head)
        return _made(head, _numbers(quantiser, file.array("u1")))
    if word in ("IxMp", "IxM2"):
        _header(file)
        inner, labels = _index(file, depth + 1), file.array("<i8")
        if len(inner.labels) and not 0 <= inner.labels.min() <= inner.labels.max() < len(labels):
            raise _not("there are vectors without a label")
        return inner._replace(labels=labels[inner.labels].astype(np.int64))
    if word in ("IHNf", "IHNs"):
        _header(file)
        for dtype in ("<f8", "<i4", "<i4", "<u8", "<i4"):
            file.array(dtype)
        file.take("5i")
        return _index(file, depth + 1)
    if word in ("IwFl", "IwSq"):
        return _lists(file, word, depth)
    if word in OTHERS:
        raise _unsupported(f"{OTHERS[word]} cannot be read: it does not keep vectors as they were.")
    if word[:2] in ("Ix", "Iw", "IH", "IB", "IN", "Im"):
        raise _unsupported(f"Indexes of the class {word!r} cannot be read.")
    raise _not("it does not begin as one does")


def _lists(file: _File, word: str, depth: int) -> Taken:
    """An index of inverted lists."""
    head = _header(file)
    lists, _ = file.take("QQ")
    centroids = _index(file, depth + 1)
    (sort,) = file.take("B")
    file.array("<i8")
    if sort == 2:
        file.array("V16")
    quantiser, residual = None, False
    if word == "IwSq":
        quantiser = _quantiser(file, head)
        _, residual = file.take("QB")
    vectors, labels = [np.empty((0, head.dim), np.float32)], [np.empty(0, np.int64)]
    for number, codes, ids in _inverted(file, lists):
        if len(codes) % len(ids):
            raise _not("a code has another length than it says")
        values = codes.view("<f4") if quantiser is None and not len(codes) % 4 else _numbers(quantiser, codes)
        if len(values) != len(ids) * head.dim:
            raise _not("a list is not as long as it says")
        values = values.reshape(-1, head.dim)
        if residual:
            at = np.flatnonzero(centroids.labels == number)
            if len(at) != 1 or centroids.vectors.shape[1] != head.dim:
                raise _not("a list has no centroid")
            values = values + centroids.vectors[at[0]]
        vectors.append(values)
        labels.append(ids)
    whole = _made(head, np.concatenate(vectors).reshape(-1))
    return whole._replace(labels=np.concatenate(labels).astype(np.int64))


def _inverted(file: _File, lists: int) -> Any:
    """(number, codes, labels) of each list that is not empty."""
    word = file.word()
    if word == "il00":
        return
    if word != "ilar":
        raise _unsupported(f"Inverted lists of the sort {word!r} lie elsewhere, or in a form that cannot be read.")
    there, size = file.take("QQ")
    if there != lists:
        raise _not("it has more lists, or fewer, than it says")
    word = file.word()
    lengths = file.array("<u8")
    if word == "full" and len(lengths) == lists:
        pairs = enumerate(lengths.tolist())
    elif word == "sprs" and len(lengths) % 2 == 0:
        pairs = zip(lengths[::2].tolist(), lengths[1::2].tolist())  # type: ignore[assignment]
    else:
        raise _not("its lists do not add up")
    for number, count in pairs:
        if count:
            yield number, file.items("u1", count * size), file.items("<i8", count)


def _header(file: _File) -> _Header:
    dim, count, _, _, _, metric = file.take("iqqqBi")
    if not 1 <= dim <= WIDEST or count < 0:
        raise _not("its header does not add up")
    if metric not in (0, 1):
        raise _unsupported(f"The metric of this index (number {metric}) is neither inner product nor L2.")
    return _Header(dim, count, metric)


def _made(head: _Header, numbers: NDArray[Any]) -> Taken:
    if len(numbers) != head.rows * head.dim:
        raise _not("it has more numbers, or fewer, than it says")
    vectors = np.ascontiguousarray(numbers, np.float32).reshape(-1, head.dim)
    return Taken("l2" if head.metric else "ip", vectors, np.arange(head.rows, dtype=np.int64))


class _Quantiser(NamedTuple):
    sort: int
    low: NDArray[np.float32]
    step: NDArray[np.float32]


def _quantiser(file: _File, head: _Header) -> _Quantiser:
    sort, _, _, dim, size = file.take("iifQQ")
    trained = file.array("<f4")
    if sort not in CODES:
        raise _unsupported(f"Scalar quantisers of type {sort} cannot be read: those of 8 bit and half floats can.")
    if dim != head.dim or size != dim * np.dtype(CODES[sort]).itemsize:
        raise _not("its quantiser is of another length")
    needed = {0: 2 * dim, 2: 2}.get(sort, 0)
    if len(trained) < needed:
        raise _not("its quantiser was not trained")
    low, step = np.split(trained[:needed].astype(np.float32), 2)
    return _Quantiser(sort, low, step)


def _numbers(quantiser: _Quantiser | None, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What codes stand for: the middle of their step, as faiss decodes them."""
    if quantiser is None or len(codes) % np.dtype(CODES[quantiser.sort]).itemsize:
        raise _not("a code is cut off")
    values = codes.view(CODES[quantiser.sort]).astype(np.float32)
    if quantiser.sort == 8:
        return np.asarray(values - np.float32(128), np.float32)
    if quantiser.sort in (4, 5):
        return values
    width = max(len(quantiser.low), 1)
    if len(values) % width:
        raise _not("a code is cut off")
    steps = (values.reshape(-1, width) + np.float32(0.5)) / np.float32(255)
    return np.asarray(quantiser.low + steps * quantiser.step, np.float32).reshape(-1)


def _unsupported(message: str) -> NookError:
    hint = "Take its vectors out with reconstruct_n, where it has them, and add them."
    return NookError("unsupported-index", message, hint)


def _not(why: str) -> NookError:
    return NookError("corrupt", f"This is not a whole faiss file: {why}.", "Save it again with faiss.write_index.")
