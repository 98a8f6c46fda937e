"""The kind `flat`: int8 codes of every row are scanned. Each row's score has a proven bound, so with enough candidates
confirmed the answer is exact (`index/quantise.py` has the proof for inner products).

For l2 the kernel's score is 2·q·x - |x|²: the same bounds, twice, less the square; -|q - x|² is that less |q|².
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inglenook.index import kernel
from inglenook.index.flat import PLAIN, ROUNDING
from inglenook.index.form import Form, Raw
from inglenook.index.kernel import WIDEST, Columns, Scanner
from inglenook.index.kind import NOTHING, Allow, Arrays, Built, Found, Steps, Vectors
from inglenook.index.nearest import Ids, Shown, View
from inglenook.index.quantise import stride


class Linear:
    """An index kind that can grow."""

    exact = True

    def __init__(self, form: Form, scanner: Scanner | None = None) -> None:
        self.form, self.count = form, 0
        self._scanner = scanner or (_scanner() if stride(form.dim) <= WIDEST else PLAIN)
        self._longest = 0.0  # no vector is longer, and none that a code stands for
        self._shown = Shown()
        self._columns, self._error, self._squares = self._room(0)

    @property
    def memory(self) -> int:
        return sum(array.nbytes for array in self._columns[:4]) + self._squares.nbytes + self._error.nbytes

    def extend(self, vectors: Vectors) -> None:
        """Append rows."""
        before, self.count = self.count, self.count + len(vectors)
        if self.count > len(self._error):
            self._hold(self._room(max(self.count, len(self._error) * 3 // 2, 256)), before)
        codes = self._scanner.quantise(vectors)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        place = slice(before, self.count)
        self._columns.codes[place], self._columns.scale[place] = codes.codes, codes.scale
        self._error[place], self._squares[place] = codes.error, squares
        if len(vectors):
            self._longest = max(self._longest, float((np.sqrt(squares) + codes.error).max()) * 1.001)

    def trimmed(self) -> Linear:
        """This, without room to grow."""
        self._hold(self._room(self.count), self.count)
        return self

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        if not self.count or want < 1:
            return Found(np.empty(0, np.int32), np.empty(0, np.float32))
        code = self._scanner.quantise(query[None])
        norm = float(np.linalg.norm(query)) * 1.0001
        slack = (float(code.error[0]) + ROUNDING * norm) * self._longest
        shift = 0.0
        if self.form.space == "l2":
            code = code._replace(scale=code.scale * np.float32(2))
            length = max(norm, 1e-6 * self._longest, 1e-30)
            np.multiply(self._squares, -1 / length, out=self._columns.error)
            self._columns.error[:] += 2 * self._error
            shift = float(query.astype(np.float64) @ query)
            slack = 2 * slack + 8 * ROUNDING * (self._longest**2 + shift)
            norm = length
        rows, bounds = self._scanner.scan(self._columns, self.count, code, norm, want=want, allow=allow)
        bounds = bounds + np.float32(slack - shift)
        return Found(rows, bounds, float(bounds[-1]) if len(rows) == want else NOTHING)

    def view(self, raw: Raw, ids: Ids) -> View:
        """Where these rows lie, given their vectors and ids, for `Nearest`."""
        codes, scale, *_ = self._columns
        view = self._shown.view(self.form, (codes, scale, self._error, self._squares), raw, ids)
        view.count, view.longest = self.count, self._longest
        return view

    def arrays(self) -> Arrays:
        n = self.count
        columns = self._columns
        return {
            "codes": columns.codes[:n],
            "scale": columns.scale[:n],
            "error": self._error[:n],
            "squares": self._squares[:n],
        }

    @classmethod
    def from_arrays(cls, form: Form, arrays: Arrays) -> Linear:
        """What `arrays` gave. ValueError or KeyError where they do not fit together."""
        made = cls(form)
        codes, scale, error, squares = (arrays[name] for name in ("codes", "scale", "error", "squares"))
        n = made.count = len(codes)
        if codes.shape != (n, stride(form.dim)) or not (scale.shape == error.shape == squares.shape == (n,)):
            raise ValueError("codes of another shape")
        made._error, made._squares = np.array(error, np.float32), np.array(squares, np.float32)
        slack = made._error if form.space != "l2" else np.empty(n, np.float32)
        ids, none = np.arange(n, dtype=np.int64), np.empty((0, form.dim), np.float32)
        made._columns = Columns(
            np.ascontiguousarray(codes, np.int8), np.ascontiguousarray(scale, np.float32), slack, ids, none
        )
        if n:
            made._longest = float((np.sqrt(made._squares) + made._error).max()) * 1.001
        return made

    def _room(self, rows: int) -> tuple[Columns, NDArray[np.float32], NDArray[np.float32]]:
        error = np.zeros(rows, np.float32)
        slack = error if self.form.space != "l2" else np.empty(rows, np.float32)  # l2's depends on the query
        codes, scale = np.empty((rows, stride(self.form.dim)), np.int8), np.empty(rows, np.float32)
        ids, none = np.arange(rows, dtype=np.int64), np.empty((0, self.form.dim), np.float32)
        return Columns(codes, scale, slack, ids, none), error, np.zeros(rows, np.float32)

    def _hold(self, room: tuple[Columns, NDArray[np.float32], NDArray[np.float32]], count: int = 0) -> None:
        """Use new arrays, with the first `count` rows of the old."""
        columns, error, squares = room
        if count:
            columns.codes[:count], columns.scale[:count] = self._columns.codes[:count], self._columns.scale[:count]
            error[:count], squares[:count] = self._error[:count], self._squares[:count]
        self._columns, self._error, self._squares = columns, error, squares


def build(form: Form, vectors: Vectors, options: Mapping[str, int]) -> Steps:
    """The kind `flat` of vectors, in their order."""
    linear = Linear(form)
    for start in range(0, len(vectors), 4096):
        linear.extend(vectors[start : start + 4096])
        yield min(start + 4096, len(vectors)), len(vectors)
    return Built(linear.trimmed(), None)


def load(form: Form, arrays: Arrays) -> Linear:
    """The kind `flat` from what `arrays` gave."""
    return Linear.from_arrays(form, arrays)


def _scanner() -> Scanner:
    """A compiled kernel of one's own, which remembers where one's arrays are."""
    library = kernel.library()
    return PLAIN if library is None else kernel.Compiled(library)
