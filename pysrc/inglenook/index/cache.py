"""Vectors in memory under a budget in bytes: what stays, what goes, and how much is enough.

`Cache` keeps rows of float32 vectors. Every row of the index has a key, and when there is no room the vectors with the
lowest keys go. The policies differ in what a key is:

    "fifo"  when the vector came, as in WebANNS (2507.00521)
    "lru"   when it was used last
    "often" how often it was used, in memory or not, halved from time to time; a vector that would have to go at once
            does not come in (the idea of TinyLFU, Einziger et al. 2017, with exact counts)

`Fit` is WebANNS' Algorithm 2: the smallest cache that holds a latency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

POLICIES = ("fifo", "lru", "often")
OFTEN = 1 << 30
AGE = 16
"""Uses per vector in the cache after which counts are halved."""

Rows = NDArray[np.int32]
Vectors = NDArray[np.float32]


class Cache:
    """Up to `budget` bytes of vectors (float32, `dim` numbers each) of an index of `rows` rows.

    `hits` and `misses` count uses of vectors that were there and that had to be fetched, `trips` the fetches.
    """

    def __init__(self, rows: int, dim: int, budget: int, policy: str = "often") -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy is one of {', '.join(POLICIES)}, not {policy!r}")
        self.dim, self.policy = dim, policy
        self.hits = self.misses = self.trips = 0
        self.slots = np.full(rows, -1, np.int32)
        self.keys = np.zeros(rows, np.int32)
        self.clock = 0
        self._uses = 0  # since counts were halved
        self.used = 0
        self._queue = np.empty(0, np.int32)  # slots to be freed next, and their keys when that was found out
        self._queued = np.empty(0, np.int32)
        self.vectors = np.empty((budget // (4 * dim), dim), np.float32)
        self.owners = np.full(len(self.vectors), -1, np.int32)

    @property
    def room(self) -> int:
        """Vectors it can hold."""
        return len(self.owners)

    @property
    def budget(self) -> int:
        """Bytes of vectors it can hold."""
        return self.vectors.nbytes

    @property
    def memory(self) -> int:
        """All bytes held: vectors and what is known about rows."""
        return self.vectors.nbytes + self.owners.nbytes + self.slots.nbytes + self.keys.nbytes

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows' vectors are there."""
        there: NDArray[np.bool_] = self.slots[rows] >= 0
        return there

    def count(self, hits: int, misses: int, trips: int) -> None:
        """Note what a search did."""
        self.hits += hits
        self.misses += misses
        self.trips += trips
        self._uses += hits + misses
        if self.clock > OFTEN or (self.policy == "often" and self._uses > AGE * max(self.room, 256)):
            self.keys >>= 1
            self.clock >>= 1
            self._uses = 0
            self._queue, self._queued = self._queue[:0], self._queued[:0]

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Keep vectors (n, dim) of rows that were used. Others go for them, or they do not come in."""
        new = self.slots[rows] < 0
        if not new.all():
            rows, vectors = rows[new], vectors[new]
        if self.policy == "fifo":
            self.keys[rows] = np.arange(self.clock + 1, self.clock + 1 + len(rows))
            self.clock += len(rows)
        free = min(self.room - self.used, len(rows))
        order = np.argsort(-self.keys[rows], kind="stable")[: self.room]
        slots = np.arange(self.used, self.used + free, dtype=np.int32)
        if free < len(order):
            victims = self._lowest(len(order) - free)
            comes = self.keys[rows[order[free:]]] >= self.keys[self.owners[victims]]
            victims = victims[comes]
            order = np.concatenate([order[:free], order[free:][comes]])
            self.slots[self.owners[victims]] = -1
            slots = np.concatenate([slots, victims])
        self.used += free
        self.vectors[slots] = vectors[order]
        self.owners[slots] = rows[order]
        self.slots[rows[order]] = slots

    def fit(self, budget: int) -> None:
        """Hold `budget` bytes from now on; where that is less, the vectors with the highest keys stay."""
        room = budget // (4 * self.dim)
        kept = np.argsort(-self.keys[self.owners[: self.used]], kind="stable")[:room]
        owners, vectors = self.owners[kept], self.vectors[kept]
        self.slots.fill(-1)
        self.vectors, self.owners = np.empty((room, self.dim), np.float32), np.full(room, -1, np.int32)
        self.used, self._queue, self._queued = len(kept), self._queue[:0], self._queued[:0]
        self.vectors[: self.used], self.owners[: self.used] = vectors, owners
        self.slots[owners] = np.arange(self.used)

    def _lowest(self, want: int) -> Rows:
        """The slots of the `want` lowest keys, lowest first. Keys only rise: the lowest that did not rise still are."""
        still = self.keys[self.owners[self._queue]] == self._queued
        self._queue, self._queued = self._queue[still], self._queued[still]
        if len(self._queue) < want:
            keys = self.keys[self.owners[: self.used]]
            many = min(self.used, max(2 * want, self.used // 8))
            lowest = np.argpartition(keys, many - 1)[:many] if many < self.used else np.arange(self.used)
            lowest = lowest[np.lexsort((lowest, keys[lowest]))]
            self._queue, self._queued = lowest.astype(np.int32), keys[lowest]
        return self._queue[:want]


@dataclass
class Trial:
    """A measured cache: vectors it holds, fetches and visited vectors of a query, and milliseconds."""

    room: int
    fetches: float
    visited: float
    query_ms: float
    fetch_ms: float


@dataclass
class Fit:
    """WebANNS' Algorithm 2: from the largest cache down, the smallest whose queries fetch no more than θ times.

    θ = max(p·T_query / t_db, T_θ / t_db): fetching may take the share `share` of a query's time, or `target_ms`.
    Fetches are taken to fall linearly from one for every visited vector (a cache of one) to what was measured, and the
    next cache to try is where that line meets θ. Feed `measured` until `next` is None; `best` is the answer. `overrun`
    is for run time: a cache that fetches more than its own θ gives way to the larger one before it.
    """

    most: int
    share: float = 0.8
    target_ms: float = 100.0
    kept: list[tuple[int, float]] = field(default_factory=list)
    next: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.next = self.most

    @property
    def best(self) -> int:
        """Vectors of the smallest cache that was good enough; the largest if none was."""
        return self.kept[-1][0] if self.kept else self.most

    def measured(self, trial: Trial) -> int | None:
        """Take the measurement of `next`. Returns the cache to try next, None when the best is found."""
        limit = max(self.share * trial.query_ms, self.target_ms) / trial.fetch_ms
        if trial.fetches > limit:
            self.next = None
            return None
        self.kept.append((trial.room, limit))
        fall = (trial.visited - trial.fetches) / (1 - trial.room) if trial.room > 1 else 0.0
        size = math.ceil((limit - trial.visited) / fall + 1) if fall else 1
        smaller = max(1, min(size, trial.room - 1))
        self.next = smaller if trial.room > 1 else None
        return self.next

    def overrun(self, fetches: float) -> int | None:
        """At run time: the cache to go back to if a query fetched more than the best cache's θ, else None."""
        if len(self.kept) < 2 or fetches <= self.kept[-1][1]:
            return None
        self.kept.pop()
        return self.best
