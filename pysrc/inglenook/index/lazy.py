"""Phased lazy loading (WebANNS, 2507.00521, Algorithm 1): the graph in memory, its float vectors only partly.

This is the paper's own way of searching under a memory budget, kept as a mode and as what ours is measured against: a
walk that comes to a row whose vector is not in memory puts the row on a list and goes on without it; the list is
fetched in one batch when it is longer than ef, or when the walk of a level is over. The number of fetches a query needs
grows with what is missing; `index.ivf` needs one.

Vectors of a "cosine" graph have unit length. With everything in memory the answer is that of HNSW over the floats; with
less a walk may follow rows in another order, and finds what that order finds.
"""

from __future__ import annotations

import ctypes
from bisect import insort
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get
from inglenook.index import kernel
from inglenook.index.cache import Cache, Rows, Vectors
from inglenook.index.graph import Graph
from inglenook.index.hnsw import HNSW, NEAR, Compiled
from inglenook.index.walk import neighbours

Payload = Callable[[bytes | None], bytes | memoryview | None]
ORDERS = {"fifo": 0, "lru": 1, "often": 2}
"""What a use does to a row's key (wasm/lazy.c)."""


class Layout(ctypes.Structure):
    """`Lazy` of wasm/lazy.c."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in ("l2", "ef", "level", "size", "at", "lacking", "width", "order", "clock", "used")
    ]
    _fields_ += [
        (name, ctypes.c_void_p) for name in ("graph", "query", "vectors", "slots", "keys", "seen", "pool", "missing")
    ]


def search(
    index: HNSW, query: NDArray[np.floating[Any]], k: int, ef: int, cache: Cache, *, key: Callable[[int], str],
    payload: Payload = lambda page: page,
) -> Flow:  # fmt: skip
    """The k best rows and their scores, best first. Yields one `Get` for each batch of vectors that is missing.

    `key` names the page of a row, `payload` is what of it is the vector, float32 (None: it is damaged).
    NookError("corrupt") if one is missing or has another size.
    """
    walk = walker(index, query, max(ef, k, 1), cache)
    misses = trips = 0
    while True:
        rows = walk.run()
        if not len(rows):
            break
        pages = yield Get([key(row) for row in rows.tolist()])
        vectors = _vectors([payload(page) for page in pages], rows, cache.dim)
        walk.take(vectors)
        cache.put(rows, vectors)
        misses, trips = misses + len(rows), trips + 1
    cache.count(walk.used - misses, misses, trips)
    return walk.best(k)


def walker(index: HNSW, query: NDArray[np.floating[Any]], ef: int, cache: Cache) -> Fast | Plain:
    """A search that has begun: in C where the index walks in C."""
    asked = np.array(query, np.float32)
    if asked.shape != (index.graph.dim,):
        raise NookError("bad-shape", f"A query has {index.graph.dim} numbers.", "Embed it with the index's model.")
    squares = float(asked.astype(np.float64) @ asked.astype(np.float64))
    if not squares <= 3e38:  # nor if it is not a number
        raise NookError("bad-vector", "The query is not made of finite numbers.", "Embed it again.")
    if index.graph.space == "cosine" and squares > 0:
        asked /= np.float32(np.sqrt(squares))
    library = kernel.library()
    if library is not None and isinstance(index.walker, Compiled):
        return Fast(index.walker, library, asked, ef, cache)
    return Plain(index.graph, asked, ef, cache)


class Fast:
    """The walk in C."""

    def __init__(self, compiled: Compiled, library: ctypes.CDLL, query: Vectors, ef: int, cache: Cache) -> None:
        graph = compiled.graph
        self._run, self._take = _functions(library)
        self._cache, self._space = cache, graph.space
        self._pool = np.empty(ef, NEAR)
        self._missing = np.empty(ef + 2 * graph.m + 1, np.int32)
        self._seen = np.empty(graph.linked // 32 + 1, np.uint32)
        self._query = query
        said = self._state = Layout()
        said.l2, said.ef, said.order, said.clock = graph.space == "l2", ef, ORDERS[cache.policy], cache.clock
        said.graph = compiled.address()
        for name, part in (("query", query), ("seen", self._seen), ("pool", self._pool), ("missing", self._missing)):
            setattr(said, name, part.ctypes.data)
        self._arrays: list[NDArray[Any]] = []
        self._point()
        library.nook_lazy_start(ctypes.byref(said))
        cache.clock = said.clock

    @property
    def used(self) -> int:
        """Vectors scored so far."""
        return int(self._state.used)

    def run(self) -> Rows:
        """Walk on; the rows whose vectors it needs now, none when it is done."""
        self._point()
        self._state.clock = self._cache.clock
        lacking = self._run(ctypes.byref(self._state))
        self._cache.clock = self._state.clock
        return self._missing[:lacking].copy()

    def take(self, vectors: Vectors) -> None:
        """The vectors of those rows."""
        self._state.clock = self._cache.clock
        self._take(ctypes.byref(self._state), vectors.ctypes.data)
        self._cache.clock = self._state.clock

    def best(self, k: int) -> tuple[Rows, NDArray[np.float32]]:
        """What was found."""
        pool = self._pool[: min(k, self._state.size)]
        return pool["row"].copy(), _scores(pool["score"], self._query, self._space)

    def _point(self) -> None:
        cache = self._cache
        arrays: list[NDArray[Any]] = [cache.vectors, cache.slots, cache.keys]
        if len(self._arrays) != len(arrays) or any(a is not b for a, b in zip(arrays, self._arrays)):
            self._arrays = arrays
            for name, part in zip(("vectors", "slots", "keys"), arrays):
                setattr(self._state, name, part.ctypes.data)


class Plain:
    """The walk in Python: the oracle of wasm/lazy.c."""

    def __init__(self, graph: Graph, query: Vectors, ef: int, cache: Cache) -> None:
        self.graph, self.used = graph, 0
        self._query, self._ef, self._cache = query, ef, cache
        self._level = max(graph.top, 0)
        self._pool: list[tuple[float, int]] = []
        self._followed: set[int] = set()
        self._seen: set[int] = set()
        self._missing: list[int] = []
        if graph.entry >= 0:
            self._visit(graph.entry)

    def run(self) -> Rows:
        """Walk on; the rows whose vectors it needs now, none when it is done."""
        while True:
            while (row := next((row for _, row in self._pool if row not in self._followed), None)) is not None:
                self._followed.add(row)
                for link in neighbours(self.graph, row, self._level):
                    self._visit(link)
                if len(self._missing) > self._width:
                    return np.array(self._missing, np.int32)
            if self._missing or not self._level:
                return np.array(self._missing, np.int32)
            self._level -= 1
            self._seen, self._followed = {self._pool[0][1]}, set()

    def take(self, vectors: Vectors) -> None:
        """The vectors of those rows."""
        missing, self._missing = self._missing, []
        for row, vector in zip(missing, vectors):
            self._use(row, vector)

    def best(self, k: int) -> tuple[Rows, NDArray[np.float32]]:
        """What was found."""
        pool = self._pool[:k]
        scores = np.array([-value for value, _ in pool], np.float32)
        return np.array([row for _, row in pool], np.int32), _scores(scores, self._query, self.graph.space)

    @property
    def _width(self) -> int:
        return 1 if self._level else self._ef

    def _visit(self, row: int) -> None:
        if row in self._seen:
            return
        self._seen.add(row)
        slot = self._cache.slots[row]
        if slot < 0:
            self._missing.append(row)
        else:
            self._use(row, self._cache.vectors[slot])

    def _use(self, row: int, vector: Vectors) -> None:
        cache, query = self._cache, self._query
        self.used += 1
        if cache.policy == "lru":
            cache.clock += 1
            cache.keys[row] = cache.clock
        elif cache.policy == "often":
            cache.keys[row] += 1
        gap = query - vector
        score = -(gap @ gap) if self.graph.space == "l2" else query @ vector
        insort(self._pool, (-float(score), row))
        del self._pool[self._width :]


def _vectors(pages: list[bytes | memoryview | None], rows: Rows, dim: int) -> Vectors:
    for row, page in zip(rows.tolist(), pages):
        if page is None or len(page) != 4 * dim:
            what = "is missing or damaged" if page is None else "has the wrong size"
            raise NookError("corrupt", f"The vector of row {row} {what}.", "Build the index again.")
    return np.frombuffer(b"".join(page for page in pages if page is not None), np.float32).reshape(len(rows), dim)


def _scores(scores: NDArray[np.float32], query: Vectors, space: str) -> NDArray[np.float32]:
    """-|q - x|² becomes 2q·x - |x|², as everywhere."""
    return scores + np.float32(query @ query) if space == "l2" else scores.copy()


def _functions(library: ctypes.CDLL) -> tuple[Any, Any]:
    run, take = library.nook_lazy_run, library.nook_lazy_take
    run.argtypes, run.restype = [ctypes.c_void_p], ctypes.c_int32
    take.argtypes, take.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    library.nook_lazy_start.argtypes, library.nook_lazy_start.restype = [ctypes.c_void_p], None
    return run, take
