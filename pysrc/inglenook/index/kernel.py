"""The scan of codes: in C (wasm/vectors.c) where that was built, and the same in numpy as its oracle.

`scan` finds the rows whose scores could be highest, `confirm` computes the scores of some rows exactly. Both take the
arrays of `Columns`, which a kernel may look at once and remember by address until they are replaced.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inglenook.index.quantise import Codes, quantise, stride

WIDEST = 4096
"""The longest row of codes, in bytes, that the C kernel takes."""

PLACES = (
    Path("/lib/inglenook/vectors.so"),  # in the tab: web/worker.js puts it there
    Path(__file__).parent.parent / "kernels" / "libvectors.so",
)

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]
Allow = NDArray[np.bool_]


class Columns(NamedTuple):
    """The arrays of an index, C-contiguous: rows 0 … n-1 are in use, the rest is room to grow."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    error: NDArray[np.float32]
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Scanner(Protocol):
    """What an index needs of a kernel."""

    def quantise(self, vectors: NDArray[np.float32]) -> Codes:
        """As `index.quantise.quantise`."""

    def scan(
        self, columns: Columns, n: int, query: Codes, norm: float, *, want: int, allow: Allow | None
    ) -> tuple[Rows, Scores]:
        """The `want` rows with the highest upper bounds, best first (equal bounds: lowest id first), and the bounds.

        A row's bound is dot(codes)·scale_q·scale + norm·error. `allow` is indexed by id; ids beyond it are excluded.
        """

    def confirm(self, columns: Columns, query: NDArray[np.float32], rows: Rows) -> Scores:
        """Inner products of the query with the vectors of `rows`, summed in double and rounded once."""


class Plain:
    """The scan in numpy: the oracle of the C kernel."""

    def quantise(self, vectors: NDArray[np.float32]) -> Codes:
        return quantise(vectors)

    def scan(
        self, columns: Columns, n: int, query: Codes, norm: float, *, want: int, allow: Allow | None
    ) -> tuple[Rows, Scores]:
        dots = np.empty(n, np.float32)
        wide = query.codes[0].astype(np.float64)  # exact, and numpy multiplies doubles faster than integers
        for start in range(0, n, 8192):
            block = columns.codes[start : min(start + 8192, n)]
            dots[start : start + len(block)] = block.astype(np.float64) @ wide
        bounds = dots * (query.scale[0] * columns.scale[:n])
        bounds += np.float32(norm) * columns.error[:n]
        rows = np.arange(n, dtype=np.int32) if allow is None else permitted(columns.ids[:n], allow)
        order = np.lexsort((columns.ids[rows], -bounds[rows]))[:want]
        return rows[order], bounds[rows[order]]

    def confirm(self, columns: Columns, query: NDArray[np.float32], rows: Rows) -> Scores:
        products = columns.vectors[rows].astype(np.float64)
        products *= query
        scores: Scores = products.sum(axis=1).astype(np.float32)
        return scores


class Compiled:
    """The scan in C, of a loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        address, int32, int64, float32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
        self._scan = library.nook_scan
        self._scan.restype = int32
        self._scan.argtypes = [
            address, int32, int32, address, address, address, address, int64, address, float32, float32, int32,
            address, address,
        ]  # fmt: skip
        self._confirm = library.nook_confirm
        self._confirm.restype = None
        self._confirm.argtypes = [address, int32, address, address, int32, address]
        self._quantise = library.nook_quantise
        self._quantise.restype = None
        self._quantise.argtypes = [address, int32, int32, int32, address, address, address]
        self._seen: weakref.ref[object] = weakref.ref(self)
        self._at: tuple[int, ...] = ()

    def quantise(self, vectors: NDArray[np.float32]) -> Codes:
        vectors = np.ascontiguousarray(vectors, np.float32)
        n, dim = vectors.shape
        width = stride(dim)
        codes, scale, error = np.empty((n, width), np.int8), np.empty(n, np.float32), np.empty(n, np.float32)
        addresses = (array.ctypes.data for array in (codes, scale, error))
        self._quantise(vectors.ctypes.data, n, dim, width, *addresses)
        return Codes(codes, scale, error)

    def scan(
        self, columns: Columns, n: int, query: Codes, norm: float, *, want: int, allow: Allow | None
    ) -> tuple[Rows, Scores]:
        codes, scale, error, ids, _ = self._addresses(columns)
        want = min(want, n)
        rows, bounds = np.empty(want, np.int32), np.empty(want, np.float32)
        if allow is not None:
            allow = np.ascontiguousarray(allow, np.bool_)
        found = self._scan(
            codes, columns.codes.shape[1], n, scale, error, ids,
            None if allow is None else allow.ctypes.data, 0 if allow is None else len(allow),
            query.codes.ctypes.data, float(query.scale[0]), norm, want, rows.ctypes.data, bounds.ctypes.data,
        )  # fmt: skip
        return rows[:found], bounds[:found]

    def confirm(self, columns: Columns, query: NDArray[np.float32], rows: Rows) -> Scores:
        vectors = self._addresses(columns)[4]
        rows = np.ascontiguousarray(rows, np.int32)
        scores = np.empty(len(rows), np.float32)
        dim = columns.vectors.shape[1]
        self._confirm(vectors, dim, query.ctypes.data, rows.ctypes.data, len(rows), scores.ctypes.data)
        return scores

    def _addresses(self, columns: Columns) -> tuple[int, ...]:
        if self._seen() is not columns.codes:  # asking numpy costs microseconds each time
            self._seen, self._at = weakref.ref(columns.codes), tuple(array.ctypes.data for array in columns)
        return self._at


def permitted(ids: NDArray[np.int64], allow: Allow) -> Rows:
    """The rows whose id is allowed."""
    known = ids < len(allow)
    return np.flatnonzero(known & allow[np.where(known, ids, 0)] if len(allow) else known).astype(np.int32)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels of this folder, None where there are none (or none that this machine can load).

    Natively the build for AVX2 is taken where the processor has it, unless INGLENOOK_KERNELS=plain.
    """
    for place in PLACES:
        wide = place.with_suffix(".wide.so")
        try:
            if not place.exists():
                continue
            loaded = ctypes.CDLL(str(place))
            if wide.exists() and os.environ.get("INGLENOOK_KERNELS") != "plain" and loaded.models_wide():
                loaded = ctypes.CDLL(str(wide))
        except OSError:
            continue
        return loaded
    return None


@lru_cache(maxsize=1)
def load() -> Compiled | None:
    """The compiled kernel, None where there is none."""
    found = library()
    return Compiled(found) if found else None
