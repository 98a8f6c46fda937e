"""The kind `ivf`: inverted lists (`index/ivf.py`) as a segment wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inglenook.index.form import Form
from inglenook.index.ivf import IVF
from inglenook.index.kind import Allow, Arrays, Built, Found, Pieces, Rows, Scores, Steps, Vectors
from inglenook.index.making import building

SURE = 1.0
"""How many times a code's error is allowed for where each row that stays costs a page that is read. (On 100,000 MiniLM
embeddings 16 pages a query at the 99th percentile and recall 0.973; with the paper's 1.9 these are 22 and 0.975.)"""
ROUGH = 48, 128
"""Rows that are confirmed for 10 neighbours, at least and at most, where only codes of a bit a dimension are there."""


def build(form: Form, vectors: Vectors, options: Mapping[str, int], state: Arrays | None = None) -> Steps:
    """Lists of vectors. `options`: lists, seed, and whether to have `fine` codes. `state`: see `making.building`."""
    work = building(
        vectors, space=form.space, lists=options.get("lists"), seed=options.get("seed", 0),
        fine=bool(options.get("fine", 1)), state=state,
    )  # fmt: skip
    while True:
        try:
            step = next(work)
        except StopIteration as done:
            ivf: IVF = done.value
            order, ivf.permutation = ivf.permutation, np.zeros(0, np.int64)  # a segment keeps its ids by row
            return Built(Lists(form, ivf), order)
        yield step.done * len(vectors), len(vectors)


def load(form: Form, arrays: Arrays) -> Lists:
    """Lists from what `arrays` gave."""
    return Lists(form, IVF.from_arrays(arrays))


class Lists:
    """An index kind."""

    exact = False

    def __init__(self, form: Form, ivf: IVF) -> None:
        self.form, self.ivf, self.count = form, ivf, ivf.ntotal

    @property
    def memory(self) -> int:
        return self.ivf.memory

    @property
    def paged(self) -> bool:
        return self.ivf.coded.blocks is None

    @property
    def bounds(self) -> NDArray[np.int64]:
        return self.ivf.first * np.int64(self.ivf.block_bytes)

    @property
    def starts(self) -> NDArray[np.int32]:
        return self.ivf.start

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        most, nprobe = self._most(want, k), effort or None
        return self._found(query, *self.ivf.candidates(query, most, k=k, nprobe=nprobe, allow=allow, sure=SURE))

    def lists(self, query: Vectors, *, k: int = 10, allow: Allow | None = None, effort: int = 0) -> Rows:
        return self.ivf.lists(query, effort or None, k=k, allow=allow)

    def among(self, query: Vectors, want: int, pieces: Pieces, *, k: int = 10, allow: Allow | None = None) -> Found:
        return self._found(query, *self.ivf.scan(query, pieces, self._most(want, k), k=k, allow=allow, sure=SURE))

    def _found(self, query: Vectors, rows: Rows, scores: Scores) -> Found:
        return Found(rows, scores - np.float32(query @ query) if self.form.space == "l2" else scores)

    def attach(self, vectors: Vectors) -> None:
        self.ivf.attach(vectors)

    def nearest(
        self, query: Vectors, k: int, want: int, *, allow: Allow | None = None, effort: int = 0
    ) -> tuple[Rows, Scores]:
        most = max(want, self.ivf.dials.want, 0 if self.ivf.coded.fine is not None else ROUGH[1])
        return self.ivf.search(query, k, want=most, nprobe=effort or None, allow=allow, beyond=1)

    def _most(self, want: int, k: int) -> int:
        """How many rows the codes of a bit choose: those that fine codes look at, or those that are read."""
        if self.ivf.coded.fine is not None:
            return max(want, self.ivf.dials.want)
        return max(want, math.ceil(min(max(self.ivf.dials.want // 2, ROUGH[0]), ROUGH[1]) * max(k / 10, 1)))

    def arrays(self) -> Arrays:
        arrays: Arrays = dict(self.ivf.arrays())
        arrays.pop("permutation", None)
        return arrays
