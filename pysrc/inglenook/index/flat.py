"""Exact nearest neighbours by scanning everything: the index for tens of thousands of passages, and the oracle beyond.

A query goes in two steps, so that the vectors may one day lie in storage and not in memory:

    candidates(query, want)  int8 codes are scanned for the rows whose scores could be highest
    confirm(query, rows)     their exact scores, from the float vectors

The codes' error is known (`quantise`), so each row has a proven upper bound. If the k-th exact score is no lower than
the highest bound a row outside the candidates can have, the answer is exact; if not, the search is widened. This is
the threshold algorithm of Fagin, Lotem and Naor (2003) with codes as the index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.kernel import WIDEST, Allow, Columns, Plain, Rows, Scanner, Scores, load, permitted
from inglenook.index.quantise import stride

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]

FIRST = 64
"""How many candidates are confirmed at first; enough in nearly every query on text embeddings."""
ROUNDING = 1e-6
"""Relative slack for the float32 arithmetic of bounds."""
PLAIN = Plain()


class Flat:
    """An index of `dim`-dimensional vectors. `space` is "cosine" (vectors are normalised) or "ip" (inner product).

    Ids are small non-negative integers, best without large gaps: filters are arrays indexed by id. `kernel` is the
    scanner to use; by default the compiled one, or float32 numpy where there is none.
    """

    def __init__(self, dim: int, space: str = "cosine", kernel: Scanner | None = None) -> None:
        if space not in ("cosine", "ip"):
            raise ValueError(f"space is cosine or ip, not {space!r}")
        self.dim, self.space, self.count = dim, space, 0
        self._kernel = kernel or (load() if stride(dim) <= WIDEST else None)
        self._row = np.full(0, -1, np.int32)  # row of each id, -1 if absent
        self._longest = 0.0  # upper bound of the vectors' lengths
        self._columns = self._room(0)

    @property
    def memory(self) -> int:
        """Bytes held, room to grow included."""
        return sum(array.nbytes for array in self._columns) + self._row.nbytes

    @property
    def ids(self) -> Ids:
        """The ids in the index, in no particular order."""
        return self._columns.ids[: self.count].copy()

    def add_items(self, vectors: NDArray[np.floating], ids: NDArray[np.integer]) -> None:
        """Add vectors (n, dim) under ids (n,). A known id's vector is replaced; of equal ids the last counts."""
        vectors, ids = np.asarray(vectors, np.float32), np.asarray(ids, np.int64)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or ids.shape != vectors.shape[:1]:
            raise ValueError(f"vectors are (n, {self.dim}) and ids (n,), not {vectors.shape} and {ids.shape}")
        if not len(ids):
            return
        if ids.min() < 0:
            raise ValueError("ids are not negative")
        vectors = self._prepared(vectors)
        if not (ids[1:] > ids[:-1]).all():
            ids, last = np.unique(ids[::-1], return_index=True)
            vectors = vectors[::-1][last]
        if ids[-1] >= len(self._row):
            grown = np.full(max(int(ids[-1]) + 1, len(self._row) * 3 // 2), -1, np.int32)
            grown[: len(self._row)] = self._row
            self._row = grown
        rows = self._row[ids]
        new = rows < 0
        added = int(np.count_nonzero(new))
        rows[new] = np.arange(self.count, self.count + added, dtype=np.int32)
        self._fit(self.count + added)
        where = rows if added < len(rows) else slice(self.count, self.count + added)
        codes = (self._kernel or PLAIN).quantise(vectors)
        pairs: list[tuple[NDArray[np.generic], NDArray[np.generic]]]
        pairs = list(zip(self._columns, (*codes, ids, vectors)))
        for column, values in pairs:
            column[where] = values
        self._row[ids] = rows
        self.count += added
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        self._longest = max(self._longest, float((lengths + codes.error).max()) * 1.001)

    def mark_deleted(self, ids: NDArray[np.integer]) -> None:
        """Forget ids; those not here are ignored. The last rows move into the holes, so scans stay dense."""
        ids = np.unique(np.asarray(ids, np.int64))
        ids = ids[(ids >= 0) & (ids < len(self._row))]
        rows = self._row[ids]
        ids, rows = ids[rows >= 0], rows[rows >= 0]
        kept = self.count - len(rows)
        tail = np.ones(len(rows), bool)
        tail[rows[rows >= kept] - kept] = False
        movers, holes = np.flatnonzero(tail) + kept, rows[rows < kept]
        self._row[ids] = -1
        for column in self._columns:
            column[holes] = column[movers]
        self._row[self._columns.ids[holes]] = holes
        self.count = kept
        if kept < len(self._columns.ids) // 4:
            self._fit(kept, shrink=True)

    def knn_query(self, query: NDArray[np.floating], k: int, allow: Allow | None = None) -> tuple[Ids, Scores]:
        """The k nearest: ids and scores (cosine or inner product), best first, equal scores by id. Fewer if fewer
        are there or allowed. `allow` (bool) is indexed by id; ids beyond its end are excluded."""
        query = self._question(query)
        if self._kernel is None:
            return self.exact(query, k, allow)
        first = max(FIRST, 4 * k)
        for want in (first, first * 8, first * 64):
            rows, ceiling = self.candidates(query, want, allow)
            scores = self.confirm(query, rows)
            best = self._best(rows, scores, k)
            if len(rows) < want or want >= self.count or not k or scores[best[-1]] > ceiling:
                return self._columns.ids[rows[best]], scores[best]
        return self.exact(query, k, allow)

    def candidates(self, query: Vectors, want: int, allow: Allow | None = None) -> tuple[Rows, float]:
        """The `want` rows that could score highest, and a ceiling: no other row's score is above it."""
        kernel = self._kernel or PLAIN
        code = kernel.quantise(query[None])
        norm = float(np.linalg.norm(query)) * 1.0001
        rows, bounds = kernel.scan(self._columns, self.count, code, norm, want=want, allow=allow)
        if not len(rows):
            return rows, float("-inf")
        slack = (float(code.error[0]) + ROUNDING * norm) * self._longest
        return rows, float(bounds[-1]) + slack

    def confirm(self, query: Vectors, rows: Rows) -> Scores:
        """Exact scores of rows."""
        return (self._kernel or PLAIN).confirm(self._columns, query, rows)

    def exact(self, query: NDArray[np.floating], k: int, allow: Allow | None = None) -> tuple[Ids, Scores]:
        """`knn_query` without codes: a float32 scan in numpy. The oracle, and the way where no kernel is."""
        query, n = self._question(query), self.count
        ids, vectors = self._columns.ids[:n], self._columns.vectors[:n]
        rough = vectors @ query
        rows = np.arange(n, dtype=np.int32) if allow is None else permitted(ids, allow)
        if len(rows) > k > 0:  # float32 sums differ by their order: keep all that might be among the best
            rough = rough[rows]
            limit = np.partition(rough, -k)[-k] - np.float32(1e-5) * self._longest * np.linalg.norm(query)
            rows = rows[rough >= limit]
        scores = self.confirm(query, rows)
        order = self._best(rows, scores, k)
        return ids[rows[order]], scores[order]

    def _best(self, rows: Rows, scores: Scores, k: int) -> NDArray[np.intp]:
        return np.lexsort((self._columns.ids[rows], -scores))[:k]

    def _question(self, query: NDArray[np.floating]) -> Vectors:
        if query.shape != (self.dim,):
            raise ValueError(f"a query has shape ({self.dim},), not {query.shape}")
        return np.ascontiguousarray(self._prepared(np.asarray(query, np.float32)[None])[0])

    def _prepared(self, vectors: Vectors) -> Vectors:
        """Unit length if the space asks for it (vectors that have it already are left alone, bit for bit)."""
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not np.isfinite(squares).all():
            raise NookError("bad-vector", "A vector is not made of finite numbers.", "Embed the passages again.")
        off = (np.abs(squares - 1) > 1e-6) & (squares > 0)
        if self.space == "ip" or not off.any():
            return vectors
        return np.where(off[:, None], vectors / np.sqrt(np.where(off, squares, 1))[:, None], vectors)

    def _room(self, rows: int) -> Columns:
        return Columns(
            np.empty((rows, stride(self.dim)), np.int8),
            np.empty(rows, np.float32),
            np.empty(rows, np.float32),
            np.empty(rows, np.int64),
            np.empty((rows, self.dim), np.float32),
        )

    def _fit(self, rows: int, shrink: bool = False) -> None:
        held = len(self._columns.ids)
        if rows <= held and not shrink:
            return
        new = self._room(rows if shrink else max(rows, held * 3 // 2, 256))
        pairs: list[tuple[NDArray[np.generic], NDArray[np.generic]]] = list(zip(self._columns, new))
        for before, after in pairs:
            after[: self.count] = before[: self.count]
        self._columns = new
