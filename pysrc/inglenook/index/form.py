"""The form of an index's vectors: how long they are, what near means, and as which numbers they are kept.

Scores are higher where nearer: the inner product for `ip` and `cosine` (whose vectors have unit length or are zero),
-|q - x|² for `l2`. Distances are those of hnswlib: 1 - score for `ip` and `cosine`, |q - x|² for `l2`.

Vectors are kept as they come, in `f4`, `f2`, `i1` (int8) or `b1` (bits, eight to a byte as numpy packs them; a bit
counts as +1 or -1, so the order by inner product is the order by Hamming distance), as rows of bytes: (n, width) uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inglenook.errors import NookError

SPACES = ("cosine", "ip", "l2")
DTYPES = {"float32": "f4", "float16": "f2", "int8": "i1", "binary": "b1"}
DIMENSIONS = (2, 4096)

Raw = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Scores = NDArray[np.float32]

_ONE = np.float32(1)


@dataclass(frozen=True, slots=True)
class Form:
    """`space` is "cosine", "ip" or "l2", `dtype` one of "f4", "f2", "i1", "b1"."""

    dim: int
    space: str = "cosine"
    dtype: str = "f4"

    def __post_init__(self) -> None:
        least, most = DIMENSIONS
        if self.space not in SPACES or self.dtype not in DTYPES.values() or not least <= self.dim <= most:
            message = f"There is no index of {self.dim} dimensions, space {self.space!r}, numbers {self.dtype!r}."
            hint = f"Dimensions are {least} to {most}, spaces {', '.join(SPACES)}, numbers {', '.join(DTYPES)}."
            raise NookError("bad-shape", message, hint)

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return {"f4": 4 * self.dim, "f2": 2 * self.dim, "i1": self.dim, "b1": -(-self.dim // 8)}[self.dtype]

    def rows(self, vectors: ArrayLike) -> Raw:
        """Vectors (n, dim), or (dim,) for one, as rows to keep; for `b1` packed bits (n, dim / 8).

        NookError("bad-shape" | "bad-vector").
        """
        given = self._given(vectors)
        if self.dtype == "b1":
            return np.ascontiguousarray(given, np.uint8)
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(given, {"f4": "<f4", "f2": "<f2", "i1": "i1"}[self.dtype])
        self._check(kept if self.dtype != "i1" else given)
        if self.dtype == "f4" and self.space == "cosine":
            kept = _unit(kept)
        return kept.view(np.uint8).reshape(len(kept), self.width)

    def floats(self, rows: Raw) -> Vectors:
        """Rows as the vectors they stand for (n, dim): of unit length, or zero, for cosine."""
        if self.dtype == "b1":
            signs: Vectors = np.unpackbits(rows, axis=1, count=self.dim).astype(np.float32) * 2 - 1
            return self._scaled(signs)
        if self.dtype == "f4":
            plain: Vectors = rows.view("<f4").reshape(len(rows), self.dim)
            return plain
        numbers: NDArray[Any] = rows.view({"f2": "<f2", "i1": "i1"}[self.dtype])
        scaled: Vectors = self._scaled(numbers.astype(np.float32))
        return scaled

    def queries(self, vectors: ArrayLike) -> Vectors:
        """Queries (m, dim), or one, made as the vectors are; not rounded to the numbers that these are kept in."""
        if self.dtype == "b1":
            return self.floats(self.rows(vectors))
        asked = self.asked(vectors)
        _check_finite(asked)
        return self._scaled(asked)

    def asked(self, vectors: ArrayLike) -> Vectors:
        """Queries as float32 (m, dim), for somebody who looks at the numbers and the lengths himself. (Not `b1`.)"""
        given = self._given(vectors)
        if given.dtype == np.float32:
            return np.ascontiguousarray(given)
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(given, np.float32)

    def scores(self, query: Vectors, vectors: Vectors) -> Scores:
        """Exact scores of vectors (n, dim), summed in double: equal vectors have equal scores."""
        if self.space == "l2":
            apart = vectors.astype(np.float64)
            apart -= query
            apart *= apart
            apart_by: Scores = -apart.sum(axis=1).astype(np.float32)
            return apart_by
        products = vectors.astype(np.float64)
        products *= query
        scores: Scores = products.sum(axis=1).astype(np.float32)
        return scores

    def distances(self, scores: Scores) -> NDArray[np.float32]:
        """Scores as hnswlib's distances."""
        return -scores if self.space == "l2" else _ONE - scores

    def _scaled(self, vectors: Vectors) -> Vectors:
        return _unit(vectors) if self.space == "cosine" else vectors

    def _check(self, vectors: NDArray[Any]) -> None:
        """Every number is one that can be kept."""
        if self.dtype == "i1":
            if len(vectors) and not (
                vectors.min() >= -128 and vectors.max() <= 127 and (vectors == np.rint(vectors)).all()
            ):
                raise NookError("bad-vector", "This index keeps int8, and these numbers are others.", "Convert them.")
            return
        _check_finite(vectors)

    def _given(self, vectors: ArrayLike) -> NDArray[Any]:
        """Vectors as an array of two dimensions, as long as this form says."""
        given = np.asarray(vectors)
        given = given[None] if given.ndim == 1 else given
        columns = self.width if self.dtype == "b1" else self.dim
        if given.ndim != 2 or given.shape[1] != columns or given.dtype.kind not in "fiub":
            what = f"packed bits (n, {columns})" if self.dtype == "b1" else f"numbers (n, {columns})"
            message = f"Vectors of this index are {what}; these are {given.dtype} {given.shape}."
            raise NookError("bad-shape", message, "Embed with the model that the index was made with.")
        return given


def _check_finite(vectors: NDArray[Any]) -> None:
    """Every number is finite, and so are sums of their squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float32)
    if not np.isfinite(squares).all():
        row = int(np.flatnonzero(~np.isfinite(squares))[0])
        message = f"Vector {row} is not made of finite numbers, or they are too large."
        raise NookError("bad-vector", message, "Leave it out, or embed it again.")


def _unit(vectors: Vectors) -> Vectors:
    """Unit length; vectors that have it already are left alone, bit for bit, and so is zero."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    off = (np.abs(squares - 1) > 1e-6) & (squares > 0)
    if not off.any():
        return vectors
    return np.where(off[:, None], vectors / np.sqrt(np.where(off, squares, 1))[:, None], vectors).astype(np.float32)
