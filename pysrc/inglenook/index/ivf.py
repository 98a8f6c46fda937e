"""Inverted lists: the index for large sets.

Vectors are put into lists by their nearest centroid, and a query looks into the lists that may hold its neighbours.
Codes of one bit a dimension (`rabitq`) pick rows, finer codes, where there is memory for them, put these in order, and
the vectors themselves, which may lie in storage, decide: *codes steer, vectors confirm*.

Rows are numbered list by list; `permutation` tells which vector each row was. A list's rows are neighbours in the codes
and, if vectors are stored in the order of rows, there too, so that reading them is one piece each.

Lists are taken by <q, c> + SLOPE·|q - c|·spread, best first (for squared distances by twice that, less |c|² + spread²);
spread is the root mean square of the list's residuals. This formula is our own. How many lists: until a share of all
rows was seen that met the recall asked for when the index was built (index/making.py). Of few allowed rows, or for many
neighbours, a greater share is needed: it grows with SPREAD_OUT, and what is not allowed does not count as seen. So a
filter that leaves one corner of the set leads there.

    ivf = making.build(vectors, space="cosine")
    rows, scores = ivf.candidates(query)               # codes in memory; then read these rows' vectors
    lists = ivf.lists(query)                           # codes in storage: read blocks ivf.first[l] … ivf.first[l + 1]
    rows, scores = ivf.scan(query, Pieces(lists, pages, which, offsets))
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import probe
from inglenook.index.inverted import Dials, Inverted
from inglenook.index.kernel import Allow, Rows, Scores
from inglenook.index.kind import Pieces
from inglenook.index.rabitq import BLOCK, Int32s

SLOPE = 0.25
SPREAD_OUT = 0.4
"""Of a tenth of the rows, a share greater by this power of ten is looked at. (Measured on MiniLM embeddings: 0.35.)"""
FEW, MANY = 1024, 128
"""Where rows are filtered, at least so many are seen and confirmed: they may lie anywhere, and all equally far."""
SURE = 1.9
"""How many times a code's error is allowed for where bounds drop rows (RaBitQ's ε, section 5.2.4)."""


class IVF(Inverted):
    """Inverted lists that can be asked. `making.build` makes one, `from_arrays` of what `arrays` gave.

    `plain` asks numpy in place of the compiled kernel.
    """

    exact: NDArray[np.floating] | None = None
    _last: tuple[object, probe.Effort] = (None, probe.Effort(0, 0))

    @property
    def memory(self) -> int:
        """Bytes held, with what a query works in; attached vectors not counted."""
        return super().memory + self._probe.memory

    @property
    def looked(self) -> tuple[int, int]:
        """How many lists the last query looked into, and how many (allowed) rows it saw."""
        return self._probe.looked

    def candidates(
        self, query: NDArray[np.floating], want: int | None = None, *, k: int = 10, nprobe: int | None = None,
        allow: Allow | None = None, sure: float = 0,
    ) -> tuple[Rows, Scores]:  # fmt: skip
        """The rows whose estimated scores are best, `want` of them, best first, and these scores: q·x, or for "l2"
        2q·x - |x|².

        `nprobe` limits the lists in place of the share of rows. `allow` is indexed by row. With `sure` (`SURE` is what
        the paper takes) rows are left out that are not among the `k` best unless codes err by more than `sure` times
        their bound. Raises NookError("bad-vector" | "bad-shape") for a bad query.
        """
        return self._probe.search(self._asked(query), self._effort(want, k, nprobe, allow, sure))

    def search(
        self, query: NDArray[np.floating], k: int, *, want: int | None = None, nprobe: int | None = None,
        allow: Allow | None = None, sure: float = SURE, beyond: int = 0,
    ) -> tuple[Rows, Scores]:  # fmt: skip
        """The `k` nearest rows and their exact scores, q·x or -|q - x|², from the vectors that were attached; and so
        many `beyond` these, which nobody looks further for."""
        if self.exact is None:
            raise ValueError("attach the vectors first")
        effort = self._effort(None if want is None else max(want, k + beyond), k, nprobe, allow, sure)
        if beyond:
            effort = effort._replace(k=k + beyond)
        return self._probe.search(self._asked(query), effort, self.exact)

    def lists(
        self, query: NDArray[np.floating], nprobe: int | None = None, *, k: int = 10, allow: Allow | None = None
    ) -> Int32s:
        """The lists that a query looks into, most promising first: at most `nprobe`, or as many as `candidates`."""
        effort = self._effort(None, k, nprobe, allow)
        opened = None
        if allow is not None and self.ntotal:
            opened = np.add.reduceat(allow, self.start[:-1], dtype=np.int32)
        return self._probe.lists(self._asked(query), effort.most, effort.enough, opened)

    def scan(
        self, query: NDArray[np.floating], pieces: Pieces, want: int | None = None, *, k: int = 10,
        allow: Allow | None = None, sure: float = 0,
    ) -> tuple[Rows, Scores]:  # fmt: skip
        """`candidates` among some lists, given their blocks. ValueError where these are too short."""
        size = (self.first[pieces.lists + 1] - self.first[pieces.lists]).astype(np.int64) * self.block_bytes
        lengths = np.fromiter(map(len, pieces.pages), np.int64, len(pieces.pages))
        if (pieces.offsets < 0).any() or (pieces.offsets + size > lengths[pieces.which]).any():
            raise ValueError("these are not the blocks of these lists")
        return self._probe.scan(self._asked(query), pieces, self._effort(want, k, None, allow, sure))

    def attach(self, vectors: NDArray[np.floating] | None) -> None:
        """Keep vectors in memory for `search`: (ntotal, dim), float32 or float16, in the order of rows; for cosine
        float32 of unit length, float16 of any."""
        if vectors is not None and (vectors.shape != (self.ntotal, self.dim) or vectors.dtype.char not in "ef"):
            raise ValueError("attach float16 or float32 vectors in the order of rows")
        self.exact = None if vectors is None else np.ascontiguousarray(vectors)

    def rough(self) -> IVF:
        """The same without fine codes and vectors."""
        return IVF(
            dim=self.dim, space=self.space, rotation=self.rotation, mean=self.mean, centroids=self.centroids,
            start=self.start, permutation=self.permutation, coded=self.coded._replace(fine=None), dials=self.dials,
            plain=self._plain,
        )  # fmt: skip

    def _asked(self, query: NDArray[np.floating]) -> NDArray[np.floating]:
        if query.shape != (self.dim,):
            hint = "Ask with a vector of the model that the index was made with."
            raise NookError("bad-shape", f"A query has shape ({self.dim},), not {query.shape}.", hint)
        return query

    def _effort(
        self, want: int | None, k: int, nprobe: int | None, allow: Allow | None, sure: float = 0
    ) -> probe.Effort:
        if allow is not None:
            return self._planned(want, k, nprobe, allow, sure)
        asked = want, k, nprobe, sure, self.dials
        if asked != self._last[0]:  # most queries ask as the one before
            self._last = asked, self._planned(want, k, nprobe, None, sure)
        return self._last[1]

    def _planned(self, want: int | None, k: int, nprobe: int | None, allow: Allow | None, sure: float) -> probe.Effort:
        total = count = self.ntotal
        if allow is not None:
            if allow.shape != (total,) or allow.dtype != np.bool_:
                raise ValueError(f"allow is bool, one for each of {total} rows")
            count = int(np.count_nonzero(allow))
        many, share = max(k / 10, 1), self.dials.share
        if want is None:
            want = max(math.ceil(self.dials.want * many), k, 0 if allow is None else MANY)
        want = min(want, max(total, 1))
        if nprobe is not None:
            return probe.Effort(want, k, nprobe, total + 1, allow, sure)
        if share < 1:
            share *= (many * total / max(count, 1)) ** SPREAD_OUT
        least = 2 * want if allow is None else max(2 * want, FEW)
        enough = math.ceil(max(share * count, least)) if share < 1 else total + 1
        return probe.Effort(want, k, self.nlist, enough, allow, sure)

    @cached_property
    def _probe(self) -> probe.Probe:
        return probe.make(self, SLOPE, self._plain)


__all__ = ["BLOCK", "IVF", "SURE", "Dials"]
