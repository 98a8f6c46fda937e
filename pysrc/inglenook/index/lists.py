"""The kind `ivf`: inverted lists (`index/ivf.py`) as a segment wants them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inglenook.errors import NookError
from inglenook.index.form import Form
from inglenook.index.ivf import IVF, SURE
from inglenook.index.kind import Allow, Arrays, Built, Found, Rows, Scores, Steps, Vectors
from inglenook.index.making import building

ROUGH = 100
"""Rows that are confirmed where only codes of a bit a dimension are there."""


def build(form: Form, vectors: Vectors, options: Mapping[str, int]) -> Steps:
    """Lists of vectors. `options`: lists, seed, and whether to have `fine` codes."""
    work = building(
        vectors, space=form.space, lists=options.get("lists"), seed=options.get("seed", 0),
        fine=bool(options.get("fine", 1)),
    )  # fmt: skip
    while True:
        try:
            step = next(work)
        except StopIteration as done:
            ivf: IVF = done.value
            return Built(Lists(form, ivf), ivf.permutation)
        yield step.done * len(vectors), len(vectors)


def load(form: Form, arrays: Arrays) -> Lists:
    """Lists from what `arrays` gave. NookError("corrupt")."""
    try:
        return Lists(form, IVF.from_arrays(arrays))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        message = f"The lists of an index do not fit together ({error})."
        raise NookError("corrupt", message, "What can be read is still searched.") from None


class Lists:
    """An index kind."""

    exact = False

    def __init__(self, form: Form, ivf: IVF) -> None:
        self.form, self.ivf, self.count = form, ivf, ivf.ntotal

    @property
    def memory(self) -> int:
        return self.ivf.memory

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        rows, scores = self.ivf.candidates(query, self._most(want), k=k, nprobe=effort or None, allow=allow, sure=SURE)
        if self.form.space == "l2":
            scores = scores - np.float32(query @ query)
        return Found(rows, scores)

    def attach(self, vectors: Vectors) -> None:
        self.ivf.attach(vectors)

    def nearest(
        self, query: Vectors, k: int, want: int, *, allow: Allow | None = None, effort: int = 0
    ) -> tuple[Rows, Scores]:
        return self.ivf.search(query, k, want=self._most(want), nprobe=effort or None, allow=allow, beyond=1)

    def _most(self, want: int) -> int:
        """How many rows codes choose."""
        return max(want, self.ivf.dials.want, 0 if self.ivf.coded.fine is not None else ROUGH)

    def arrays(self) -> Arrays:
        arrays: Arrays = dict(self.ivf.arrays())
        arrays.pop("permutation", None)  # a segment keeps its ids by row
        return arrays
