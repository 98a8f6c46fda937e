"""What lies in memory whole, codes and vectors, is searched in one call of C (wasm/nearest.c): the scan of the codes of
all parts into one heap, and the vectors of the best. `index/searching.py` says the same a step at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.codes import ADDRESS, INT, bind
from inglenook.index.form import Form, Raw, Scores, Vectors
from inglenook.index.kernel import WIDEST, Allow
from inglenook.index.quantise import stride

Ids = NDArray[np.int64]

BAD, UNSURE = -1, -2
WIDER = 8
"""Times as many rows are looked at where the best of the codes do not suffice."""
CANDIDATE = 16
"""Bytes of one on any machine."""
_CODES = {"ip": 0, "cosine": 1, "l2": 2}


class View(ctypes.Structure):
    """Where the rows of a part lie: see wasm/nearest.c."""

    _fields_ = (
        ("count", INT), ("half", INT), ("longest", ctypes.c_float),
        *((name, ADDRESS) for name in ("codes", "scale", "error", "squares", "vectors", "ids", "allow")),
    )  # fmt: skip


class Shown:
    """The view of arrays that are replaced now and then: addresses cost microseconds to ask for."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._view = View()

    def view(self, form: Form, columns: Sequence[NDArray[np.generic]], raw: Raw, ids: Ids) -> View:
        """`columns` are codes, scales, errors and squared lengths; all arrays C-contiguous. How many rows count, and
        how long they are, the caller says."""
        arrays = (*columns, raw, ids)
        if len(arrays) != len(self._of) or any(new is not old for new, old in zip(arrays, self._of)):
            self._of = arrays
            self._view = View(0, int(form.dtype == "f2"), 0.0, *(array.ctypes.data for array in arrays), None)
        return self._view


def masked(ids: Ids, alive: Allow | None, allow: Callable[[Ids], Allow] | None) -> Allow | None:
    """Which rows are alive and allowed, None: all of them."""
    if allow is None:
        return alive
    mask = np.ascontiguousarray(allow(ids), np.bool_)
    return mask if alive is None else mask & alive


class Nearest:
    """Searches views of one form."""

    def __init__(self, form: Form) -> None:
        self._search = bind(
            "nook_nearest", INT, ADDRESS, INT, INT, INT, ADDRESS, INT, INT, ADDRESS, ADDRESS, ADDRESS
        )  # fmt: skip
        self.works = self._search is not None and form.dtype in ("f4", "f2") and stride(form.dim) <= WIDEST
        """Whether there is a kernel that knows vectors of this form."""
        self._dim, self._space = form.dim, _CODES[form.space]
        self._query = np.empty(form.dim, np.float32)
        self._query_at = self._query.ctypes.data
        self._want = self._k = 0

    def search(
        self, views: Sequence[View], masks: Sequence[Allow | None], query: Vectors, k: int, want: int
    ) -> tuple[Ids, Scores]:
        """The k nearest of a query (dim): ids and exact scores, best first, equal scores by id. `masks` tell which rows
        of each view may be found (None: all); `want` bounds are looked at first. NookError("bad-vector")."""
        shown = (View * len(views))(*views)
        for view, mask in zip(shown, masks):
            if mask is not None:
                view.allow = mask.ctypes.data
        rows = sum(view.count for view in views)
        self._query[:] = query
        while True:
            want = min(want, rows)
            self._fit(min(k, rows), want)
            found = self._search(  # type: ignore[misc]
                ctypes.addressof(shown), len(views), self._dim, self._space, self._query_at, want,
                min(k, rows), self._heap_at, self._ids_at, self._scores_at,
            )  # fmt: skip
            if found >= 0:
                return self._ids[:found].copy(), self._scores[:found].copy()
            if found == BAD:
                hint = "Leave it out, or embed it again."
                raise NookError("bad-vector", "A query is not made of finite numbers, or they are too large.", hint)
            want *= WIDER

    @property
    def memory(self) -> int:
        """Bytes held to work in."""
        return self._want * CANDIDATE + self._k * 12

    def _fit(self, k: int, want: int) -> None:
        if want > self._want:
            self._want, self._heap = want, np.empty(want * CANDIDATE, np.uint8)
            self._heap_at = self._heap.ctypes.data
        if k > self._k:
            self._k, self._ids, self._scores = k, np.empty(k, np.int64), np.empty(k, np.float32)
            self._ids_at, self._scores_at = self._ids.ctypes.data, self._scores.ctypes.data
