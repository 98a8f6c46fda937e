"""How hard queries must look to meet a recall, found out with queries whose neighbours are known.

They are rows of the set itself, moved off by noise of NOISE times their distance to their centroid, so that they are as
strange to the index as real queries are. (On 100,000 MiniLM embeddings, where real questions need 18.7 % of the rows,
this says 19.5 %; the rows as they are would say 16.6 %.) Neighbours come from int8 codes. Both dials follow directly:
the share of rows after which a neighbour's list has been seen, and a neighbour's place among the estimates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.index import threads
from inglenook.index.codes import Floats
from inglenook.index.ivf import IVF, Dials
from inglenook.index.kernel import Columns, Scanner
from inglenook.index.kmeans import part_of
from inglenook.index.quantise import Codes

ASKED, NEIGHBOURS, NOISE = 256, 10, 0.8
MOST = 1024
"""No more rows are confirmed, whatever recall is wanted."""
ALL = 0.8
"""From this share on, all rows are seen."""
SMALL = 1000
"""In sets smaller than this, too: it takes microseconds."""


class Trial:
    """Queries (m, dim) made of rows `own`, which are no neighbours of themselves. `turned` is what of them is compared
    with rows: rotated, and centred for squared distances."""

    def __init__(
        self, queries: Floats, own: NDArray[np.int32], turned: Codes, kernel: Scanner, *, squared: bool
    ) -> None:
        self._queries, self._own, self._turned, self._kernel, self._squared = queries, own, turned, kernel, squared
        self._found: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def compare(self, codes: Codes, squares: Floats, rows: NDArray[np.int32]) -> None:
        """Look for neighbours among some rows: their codes, squared lengths and numbers."""
        slack = squares * np.float32(-0.5 if self._squared else 0)
        columns = Columns(codes.codes, codes.scale, slack, rows.astype(np.int64), np.zeros((0, 0), np.float32))
        want = min(NEIGHBOURS + 1, len(rows))
        numbers = np.zeros((len(self._own), want), np.int32)
        scores = np.zeros((len(self._own), want), np.float32)

        def some(asked: slice) -> None:
            for i in range(asked.start, asked.stop):
                query = part_of(self._turned, slice(i, i + 1))
                best, scores[i] = self._kernel.scan(columns, len(rows), query, 1.0, want=want, allow=None)
                numbers[i] = rows[best]

        some(slice(0, 1))  # by itself: it tells the kernel where the columns are
        threads.each(lambda rest: some(slice(rest.start + 1, rest.stop + 1)), len(self._own) - 1, least=8)
        self._found.append((numbers, scores))

    def dials(self, ivf: IVF, recall: float) -> Dials:
        """What meets a recall: a quarter of what may be missed for rows not confirmed, the rest for lists not seen."""
        if not self._found or ivf.ntotal < 2:
            return Dials()
        numbers = np.concatenate([part for part, _ in self._found], 1)
        scores = np.concatenate([part for _, part in self._found], 1)
        scores[numbers == self._own[:, None]] = -np.inf
        near = min(NEIGHBOURS, ivf.ntotal - 1)
        truth = np.take_along_axis(numbers, np.argsort(-scores, 1, kind="stable")[:, :near], 1)
        rough, most = ivf.rough(), min(MOST, ivf.ntotal)
        counts = np.diff(ivf.start)
        owners = np.searchsorted(ivf.start, truth, side="right") - 1
        seen, places = np.zeros(truth.shape, np.int64), np.zeros(truth.shape, np.int64)
        for i, query in enumerate(self._queries):
            lists = ivf.lists(query, ivf.nlist)
            before = np.zeros(ivf.nlist, np.int64)
            before[lists] = np.cumsum(counts[lists]) - counts[lists]
            seen[i] = before[owners[i]] + 1
            rows, _ = rough.candidates(query, most, nprobe=ivf.nlist)
            place = np.full(ivf.ntotal, most)
            place[rows] = np.arange(1, len(rows) + 1)
            places[i] = place[truth[i]]
        missed = 1 - recall
        want = _reached(places, 1 - missed / 4)
        share = _reached(np.where(places <= want, seen, ivf.ntotal), recall) / ivf.ntotal
        return Dials(1.0 if share > ALL or ivf.ntotal < SMALL else share, max(want, 2 * NEIGHBOURS))


def _reached(values: NDArray[np.int64], share: float) -> int:
    """The least value that this share of values does not exceed."""
    ordered = np.sort(values, axis=None)
    return int(ordered[min(math.ceil(share * ordered.size), ordered.size) - 1])
