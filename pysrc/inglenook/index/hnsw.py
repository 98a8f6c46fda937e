"""HNSW (Malkov and Yashunin, 1603.09320) over int8 codes: the graph for sets that fit in memory.

Codes steer, vectors confirm: walks score codes (wasm/hnsw.c; `index.walk` says the same in plain Python), and whoever
has the float vectors gives them to `search`, which puts the best rows in their exact order.

A graph depends on the vectors, their order, M, ef_construction and the seed; not on how it was cut into calls, save
that where the first vectors added lie far from zero and near each other, codes are of differences from their mean,
unless `centre` was given.
"""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import kernel
from inglenook.index.graph import ADDRESSES, SPACES, Coded, Graph, Layout, coded
from inglenook.index.kernel import WIDEST, Allow, Rows, Scores
from inglenook.index.quantise import stride
from inglenook.index.walk import Plain

NEAR = np.dtype([("score", "<f4"), ("row", "<i4")])
SLICE = 0.008
"""Seconds that a slice of building takes by default."""

ENOUGH, FAR = 32, 0.25
"""Codes are relative to the mean of so many first vectors, where this share of their squared lengths is the mean's."""

Vectors = NDArray[np.floating[Any]]


class HNSW:
    """A graph over `dim`-dimensional vectors; `space` is "cosine" (vectors are normalised), "ip" or "l2".

    Rows are numbered as they come. One call at a time: walks share their notes. `plain` keeps to Python.
    """

    def __init__(
        self, dim: int, space: str = "cosine", M: int = 16, ef_construction: int = 200, seed: int = 100, *,
        capacity: int = 0, centre: NDArray[np.float32] | None = None, plain: bool = False,
    ) -> None:  # fmt: skip
        self.graph = Graph(dim, space, M, ef_construction, seed)
        self.graph.reserve(capacity, capacity // max(M - 1, 1))
        self._centred = centre is not None
        if centre is not None:
            self.graph.centre = np.ascontiguousarray(centre, np.float32)
        self.walker = walker(self.graph, plain=plain)

    @property
    def count(self) -> int:
        """Rows that have codes; `linked` of them can be found."""
        return self.graph.count

    @property
    def linked(self) -> int:
        """Rows in the graph."""
        return self.graph.linked

    @property
    def memory(self) -> int:
        """Bytes held, room to grow and the notes of walks included."""
        return self.graph.memory + self.walker.memory

    def add(self, vectors: Vectors) -> Rows:
        """Put vectors (n, dim) into the graph. Returns their rows. NookError("bad-shape" | "bad-vector")."""
        rows = self.append(vectors)
        self.link()
        return rows

    def append(self, vectors: Vectors) -> Rows:
        """Take vectors (n, dim) in, as codes; `link` or `linking` puts them into the graph. Returns their rows."""
        return self.graph.append(self.encode(vectors))

    def encode(self, vectors: Vectors) -> Coded:
        """The codes of vectors (n, dim). NookError("bad-shape" | "bad-vector")."""
        graph = self.graph
        values: NDArray[np.float32] = np.asarray(vectors, np.float32)
        if values.ndim != 2 or values.shape[1] != graph.dim:
            raise NookError("bad-shape", f"Vectors are (n, {graph.dim}), not {values.shape}.", "Embed them again.")
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", values, values)
        if not np.isfinite(squares).all():
            row = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise NookError("bad-vector", f"Vector {row} is not made of finite numbers.", "Embed it again.")
        if graph.space == "cosine":
            lengths: NDArray[np.float32] = np.sqrt(np.where(squares > 0, squares, np.float32(1)))
            values = values / lengths[:, None]
        if not self._centred and len(values):
            self._centred = True
            middle = values.mean(axis=0, dtype=np.float64)
            if len(values) >= ENOUGH and middle @ middle > FAR * np.einsum("ij,ij->i", values, values).mean():
                graph.centre = middle.astype(np.float32)
        values = values - graph.centre
        return coded(values, (kernel.load() or kernel.Plain()).quantise(values), graph.centre, graph.space)

    def link(self, most: int | None = None) -> int:
        """Put up to `most` waiting rows into the graph. Returns how many still wait."""
        waiting = self.graph.count - self.graph.linked
        more = waiting if most is None else min(most, waiting)
        if more:
            self.graph.own()
            self.walker.insert(more)
        return waiting - more

    def linking(self, seconds: float = SLICE) -> Iterator[int]:
        """Put all waiting rows into the graph, slice by slice; yields the rows linked so far. Stop by not going on."""
        size = 8
        while self.graph.linked < self.graph.count:
            start = time.perf_counter()
            self.link(size)
            took = time.perf_counter() - start
            size = max(1, min(int(size * seconds / max(took, 1e-6)), 2 * size))
            yield self.graph.linked

    def search(
        self, query: Vectors, k: int, ef: int = 64, allow: Allow | None = None, vectors: Vectors | None = None
    ) -> tuple[Rows, Scores]:
        """The k best rows that a walk with `ef` finds and their scores, best first: q·x, and 2q·x - |x|² for l2.

        `allow` (bool, by row) tells which rows may be found; where they are few, all of them are scored. Scores come
        from codes, or where `vectors` (n, dim) are given they are exact, and so is the order of what was found.
        Cosine: give the vectors in unit length. NookError("bad-shape" | "bad-vector").
        """
        if np.shape(query) != (self.graph.dim,):
            raise NookError("bad-shape", f"A query has {self.graph.dim} numbers.", "Embed it with the index's model.")
        if allow is not None and len(allow) < self.graph.linked:
            raise NookError("bad-shape", f"A filter has {self.graph.linked} rows, not {len(allow)}.", "")
        ef = max(ef, k, 1)
        want = k if vectors is None else min(max(ef, 2 * k), max(2 * k, k + 10))
        rows, scores = self.walker.search(query, max(ef, want), want, allow)
        if vectors is not None:
            rows, scores = self.walker.confirm(query, rows, vectors)
        return rows[:k], scores[:k]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file holds of it; see `Graph.arrays`."""
        return self.graph.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, plain: bool = False) -> HNSW:
        """The graph that `arrays` came from; goes on where that was stopped. NookError("corrupt")."""
        return cls.of(Graph.from_arrays(arrays), plain=plain)

    @classmethod
    def of(cls, graph: Graph, *, plain: bool = False) -> HNSW:
        """Walk a graph that is there."""
        made = cls(graph.dim, graph.space, graph.m, graph.effort, graph.seed, plain=plain)
        made.graph, made._centred = graph, graph.count > 0 or bool(graph.centre.any())
        made.walker = walker(graph, plain=plain)
        return made


class Compiled:
    """Walks in C: the graph's arrays by address, and notes for one walk at a time."""

    def __init__(self, graph: Graph, library: ctypes.CDLL) -> None:
        self.graph = graph
        self._insert, self._search, self._confirm = _functions(library)
        self._layout = Layout()
        self._at = ctypes.addressof(self._layout)
        self._held: list[NDArray[Any]] = []
        self._version = -1
        self._pool = np.empty(0, NEAR)
        self._heap = np.empty(0, NEAR)
        self._seen = np.empty(0, np.uint32)
        self._code = np.zeros(stride(graph.dim), np.int8)
        self._query = np.empty(graph.dim, np.float32)
        self._rows, self._scores = np.empty(0, np.int32), np.empty(0, np.float32)
        self._places: tuple[int, int, int] = (0, 0, 0)
        self._whole: weakref.ref[Vectors] | weakref.ref[Compiled] = weakref.ref(self)
        self._whole_at = 0
        self._fit(256, 256)

    @property
    def memory(self) -> int:
        """Bytes of notes."""
        return self._pool.nbytes + self._heap.nbytes + self._seen.nbytes + self._rows.nbytes + self._scores.nbytes

    def insert(self, more: int) -> None:
        self._fit(max(self.graph.effort, 2 * self.graph.m + 1), 0)
        self._insert(self._at, more)
        said, graph = self._layout, self.graph
        graph.linked, graph.entry, graph.top = said.linked, said.entry, said.top
        graph.version = self._version = graph.version + 1

    def search(self, query: Vectors, ef: int, want: int, allow: Allow | None) -> tuple[Rows, Scores]:
        self._query[:] = query
        self._fit(ef, want)
        mask = None if allow is None else np.ascontiguousarray(allow, np.bool_)
        query_at, rows, scores = self._places
        found = self._search(self._at, query_at, ef, want, None if mask is None else mask.ctypes.data, rows, scores)
        if found < 0:
            raise NookError("bad-vector", "The query is not made of finite numbers.", "Embed it again.")
        return self._rows[:found].copy(), self._scores[:found].copy()

    def confirm(self, query: Vectors, rows: Rows, vectors: Vectors) -> tuple[Rows, Scores]:
        whole = self._whole() is vectors
        if not whole and type(vectors) is np.ndarray and vectors.dtype == np.float32 and vectors.flags.c_contiguous:
            self._whole, self._whole_at, whole = weakref.ref(vectors), vectors.ctypes.data, True
        near = vectors if whole else np.ascontiguousarray(vectors[rows], np.float32)
        self._query[:] = query
        self._fit(len(rows), len(rows))
        self._rows[: len(rows)] = rows
        query_at, rows_at, scores_at = self._places
        at = self._whole_at if whole else near.ctypes.data
        self._confirm(self._at, at, whole, query_at, len(rows), rows_at, scores_at)
        return self._rows[: len(rows)].copy(), self._scores[: len(rows)].copy()

    def address(self) -> int:
        """Where wasm/near.h finds the graph as it is now."""
        self._fit(0, 0)
        return self._at

    def code(self) -> tuple[NDArray[np.int8], np.float32, np.float32]:
        """Of the last query: its code, the code's scale, and what was added to its scores."""
        return self._code.copy(), np.float32(self._layout.code_scale), np.float32(self._layout.offset)

    def _fit(self, ef: int, want: int) -> None:
        """Notes large enough, and the addresses of arrays, which change as they grow."""
        graph = self.graph
        if graph.version == self._version and ef <= len(self._pool) and want <= len(self._rows):
            return  # every query comes by here: asking numpy for an address costs microseconds
        self._version, rows = graph.version, len(graph.codes)
        if ef > len(self._pool):
            self._pool = np.empty(ef, NEAR)
        if rows > len(self._heap):
            self._heap, self._seen = np.empty(rows, NEAR), np.zeros(rows // 32 + 1, np.uint32)
        if want > len(self._rows):
            self._rows, self._scores = np.empty(want, np.int32), np.empty(want, np.float32)
        said = self._layout
        said.stride, said.dim, said.space = stride(graph.dim), graph.dim, SPACES.index(graph.space)
        said.m, said.effort = graph.m, graph.effort
        said.linked, said.entry, said.top = graph.linked, graph.entry, graph.top
        arrays = [graph.codes, graph.facts, graph.centre, graph.levels, graph.places, graph.links, graph.upper]
        self._held = [*arrays, self._seen, self._pool, self._heap, self._code]
        for name, part in zip(ADDRESSES, self._held, strict=True):
            setattr(said, name, part.ctypes.data)
        self._places = (self._query.ctypes.data, self._rows.ctypes.data, self._scores.ctypes.data)


def walker(graph: Graph, *, plain: bool = False) -> Compiled | Plain:
    """What walks the graph: C where it was built and the vectors are not too wide for it, else Python."""
    library = kernel.library()
    if plain or library is None or stride(graph.dim) > WIDEST:
        return Plain(graph)
    return Compiled(graph, library)


def _functions(library: ctypes.CDLL) -> tuple[Any, Any, Any]:
    address, int32 = ctypes.c_void_p, ctypes.c_int32
    insert, search, confirm = library.nook_hnsw_insert, library.nook_hnsw_search, library.nook_hnsw_confirm
    insert.restype, insert.argtypes = None, [address, int32]
    search.restype, search.argtypes = int32, [address, address, int32, int32, address, address, address]
    confirm.restype, confirm.argtypes = None, [address, address, int32, address, int32, address, address]
    return insert, search, confirm
