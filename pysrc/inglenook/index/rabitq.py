"""Codes of one bit a dimension, and of four: RaBitQ (Gao and Long, 2405.12497) of residuals to a list's centroid.

Let x be a rotated vector, c its list's centroid, r = x - c, s = sign(r) and w the number of dimensions. With one number
a row, f = |r|² / Σ|r|, the paper's unbiased estimator (section 3.2) of <q - c, r> is f·<s, q - c>, and its error stays
below ε·|q - c|·f·√(1 - u²)·√(w / (w - 1)) but for a probability that falls with e^(-ε²), u = <s, r> / (√w |r|)
(theorem 3.2). So that one table serves all lists, what does not depend on the query moves into a second number:

    <q, x>         ≈ <q, c>         + a + f·<s, q>     a = <c, r> - f·<s, c>
    2<q, x> - |x|² ≈ 2<q, c> - |c|² + a + f·<s, q>     a = -|r|² - 2f·<s, c>, f twice as large

The fine code is the same with levels -7.5 … 7.5 in place of signs (extended RaBitQ, 2409.09913, with one step for all
dimensions: the best for a normal distribution) and f = |r|² / <levels, r>.

A list's rows lie in blocks of 32 for scans in registers (FastScan: André, Kermarrec, Le Scouarnec, VLDB 2015). A block
has 16 bytes for each 4 dimensions, nibbles of 32 rows (bit i is dimension i): byte 2j holds row j and (high) row
16 + j, byte 2j + 1 rows 8 + j and 24 + j. Then come 32 a's and 32 f's, uint16 between the list's least and greatest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.index.codes import ADDRESS, INT, Floats, address, bind
from inglenook.index.kmeans import CENTRE, Centroids

BLOCK = 32
TAIL = 4 * BLOCK
"""Bytes of a block's factors."""
FINE_TAIL = 4
CELL = np.float32(0.3352)
"""The step of 16 equal levels that loses least of a normal distribution (Max 1960, table II)."""
STEPS = 65535

Int32s = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Coded(NamedTuple):
    """Codes of all rows, list by list.

    blocks    uint8 (blocks, 4·width + TAIL); list l has blocks first[l] … first[l + 1] - 1
    fine      uint8 (rows, width / 2 + FINE_TAIL) or None: 32 dimensions in 16 bytes, 16 in the low halves; then a, f
    factors   float32 (lists, 6): least a, step of a, step of f; the same of the fine codes
    spread    float32 (lists,): root mean square of residuals
    noise     errors are at most |q - c|·f·noise, and those of the fine code about |q - c|·f·fine_noise (f of the first)
    """

    blocks: Bytes | None
    fine: Bytes | None
    factors: Floats
    spread: Floats
    noise: float
    fine_noise: float


def firsts(start: Int32s) -> Int32s:
    """The first block of each list whose rows begin at start (lists + 1)."""
    blocks = -(-np.diff(start) // BLOCK)
    return np.concatenate([[0], np.cumsum(blocks)]).astype(np.int32)


class Encoder:
    """Makes codes, some rows at a time. `start` (lists + 1) says at which row each list begins."""

    def __init__(self, centroids: Centroids, start: Int32s, *, squared: bool, fine: bool, plain: bool = False) -> None:
        self._centroids, self._start, self._squared, self._plain = centroids, start, squared, plain
        self._first = firsts(start)
        rows, width = int(start[-1]), centroids.codes.shape[1]
        self._blocks = np.zeros((int(self._first[-1]), 4 * width + TAIL), np.uint8)
        self._fine = np.zeros((rows, width // 2 + FINE_TAIL), np.uint8) if fine else None
        self._rough, self._exact = np.zeros((rows, 2), np.float32), np.zeros((rows if fine else 0, 2), np.float32)
        self._squares, self._losses = np.zeros(rows, np.float32), np.zeros(3, np.float32)
        self._centres = np.zeros((len(centroids.spacing), 4), np.float32)
        self._centres[:, 0] = centroids.spacing

    def add(self, vectors: Floats, labels: Int32s, rows: Int32s) -> None:
        """Encode rotated vectors (n, width) of the lists `labels` as rows `rows`."""
        types = [ADDRESS, INT, INT, INT, *([ADDRESS] * 12)]
        kernel = bind("nook_encode", None, *types)
        if kernel is None or self._plain:
            return self._add(vectors, labels, rows)
        arrays = (
            self._centroids.codes, self._centres, self._start, self._first, labels, rows, self._blocks, self._fine,
            self._rough, self._exact, self._squares, self._losses,
        )  # fmt: skip
        kernel(address(vectors), *vectors.shape, int(self._squared), *map(address, arrays))

    def _add(self, vectors: Floats, labels: Int32s, rows: Int32s) -> None:
        width, twice = vectors.shape[1], 2.0 if self._squared else 1.0
        centres = self._centroids.values[labels]
        residuals = vectors - centres
        squares = (residuals**2).sum(1)
        sums, lengths = np.abs(residuals).sum(1), np.sqrt(squares)
        base = -squares if self._squared else (centres * residuals).sum(1)
        factor = squares / np.where(sums > 0, sums, 1)
        positive = residuals > 0
        self._rough[rows, 0] = base - twice * factor * np.where(positive, centres, -centres).sum(1)
        self._rough[rows, 1] = twice * factor
        self._squares[rows] = squares
        loss = np.where(squares > 0, 1 - sums**2 / np.where(squares > 0, squares * width, 1), 0)
        self._losses[0] += loss.sum()
        self._losses[2] = max(self._losses[2], loss.max(initial=0))
        slots = rows - self._start[labels]
        nibbles = (positive.reshape(-1, width // 4, 4) * np.array([1, 2, 4, 8], np.uint8)).sum(2).astype(np.uint8)
        j = slots % BLOCK
        columns = 16 * np.arange(width // 4) + (2 * (j & 7) + ((j >> 3) & 1))[:, None]
        blocks = self._first[labels] + slots // BLOCK
        np.bitwise_or.at(self._blocks, (blocks[:, None], columns), nibbles << np.where(j & 16, 4, 0)[:, None])
        if self._fine is None:
            return
        step = CELL * lengths / np.sqrt(np.float32(width))
        inverse = np.where(step > 0, 1 / np.where(step > 0, step, 1), 0).astype(np.float32)
        codes = np.clip(np.floor(residuals * inverse[:, None]) + 8, 0, 15).astype(np.uint8)
        levels = codes - np.float32(7.5)
        product = (levels * residuals).sum(1)
        fitted = np.where(product > 0, squares / np.where(product > 0, product, 1), 0)
        self._exact[rows, 0] = base - twice * fitted * (levels * centres).sum(1)
        self._exact[rows, 1] = twice * fitted
        whole = np.where(product > 0, (levels**2).sum(1) * squares / np.where(product > 0, product, 1) ** 2 - 1, 0)
        self._losses[1] += whole.sum()
        halves = codes.reshape(-1, width // 32, 2, 16)
        self._fine[rows, : width // 2] = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(-1, width // 2)

    def finish(self) -> Coded:
        """The codes, once all rows were added."""
        start, rows, width = self._start, len(self._squares), self._centroids.codes.shape[1]
        counts = np.diff(start)
        lists = np.repeat(np.arange(len(counts)), counts)
        slots = np.arange(rows) - start[lists]
        place = (self._first[lists] + slots // BLOCK, slots % BLOCK)
        factors = np.zeros((len(counts), 6), np.float32)
        tail = np.zeros((len(self._blocks), 2, BLOCK), "<u2")
        tail[place[0], 0, place[1]], tail[place[0], 1, place[1]] = _steps(self._rough, start, lists, factors[:, :3])
        self._blocks[:, 4 * width :] = tail.reshape(len(tail), 2 * BLOCK).view(np.uint8)
        if self._fine is not None:
            columns = np.stack(_steps(self._exact, start, lists, factors[:, 3:]), 1)
            self._fine[:, width // 2 :] = columns.astype("<u2").view(np.uint8)
        spread = np.sqrt(np.bincount(lists, self._squares, len(counts)) / np.maximum(counts, 1)).astype(np.float32)
        mean, fine, worst = (self._losses / np.array([max(rows, 1), max(rows, 1), 1])).tolist()
        wide = (width / (width - 1)) ** 0.5
        return Coded(
            self._blocks, self._fine, factors, spread, (worst**0.5) * wide, (fine * max(1 - mean, 0)) ** 0.5 * wide
        )


def _steps(pairs: Floats, start: Int32s, lists: NDArray[np.intp], factors: Floats) -> tuple[NDArray[np.uint16], ...]:
    """Both columns of pairs (rows, 2) as steps within their list; writes low and steps to factors (lists, 3)."""
    if not len(pairs):
        return np.zeros(0, np.uint16), np.zeros(0, np.uint16)
    used = np.flatnonzero(np.diff(start))
    low = np.zeros(len(factors), np.float32)
    high, most = low.copy(), low.copy()
    low[used] = np.minimum.reduceat(pairs[:, 0], start[used])
    high[used] = np.maximum.reduceat(pairs[:, 0], start[used])
    most[used] = np.maximum.reduceat(pairs[:, 1], start[used])
    factors[:, 0], factors[:, 1], factors[:, 2] = low, (high - low) / STEPS, most / STEPS
    steps = np.where(factors > 0, factors, 1)
    first = np.clip(np.rint((pairs[:, 0] - low[lists]) / steps[lists, 1]), 0, STEPS)
    second = np.clip(np.rint(pairs[:, 1] / steps[lists, 2]), 0, STEPS)
    return first.astype(np.uint16), second.astype(np.uint16)


class Tables(NamedTuple):
    """A query's tables: `entries` uint8 (width / 4, 16) of 0..63; the sum of ±q is low + step·(sum of entries)."""

    entries: Bytes
    low: np.float32
    step: np.float32


def tables(query: Floats) -> Tables:
    """Tables of a rotated query (width,)."""
    groups = query.reshape(-1, 4)
    least = np.abs(groups).sum(1)
    step = np.float32(2) * least.max() / np.float32(63)
    signs = (np.arange(16)[:, None] >> np.arange(4) & 1) * np.float32(2) - np.float32(1)
    sums = groups @ signs.T + least[:, None]
    return Tables(np.rint(sums / (step or 1)).astype(np.uint8), -least.sum(), step)


def nibbles(blocks: Bytes, width: int) -> Bytes:
    """The codes in some blocks, (32·blocks, width / 4): the 4 signs of each group as a number."""
    codes = blocks[:, : 4 * width].reshape(len(blocks), width // 4, 8, 2)
    halves = np.stack([codes & 15, codes >> 4], 1)  # (block, half, group, j, odd): row = 16 half + 8 odd + j
    out: Bytes = halves.transpose(0, 1, 4, 3, 2).reshape(-1, width // 4)
    return out


def estimates(
    blocks: Bytes, width: int, factors: Floats, query: Tables, centre: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Scores of all rows in some blocks of a list, and how far they may be off for ε = 1: both (32·blocks,).

    `centre` is what the centroid scores (see above) and noise·|q - c|. In numpy: the oracle of wasm/codes.c.
    """
    base, error = centre
    codes = nibbles(blocks, width)
    sums = query.entries[np.arange(width // 4), codes].sum(1, dtype=np.int64).astype(np.float32)
    tail = np.ascontiguousarray(blocks[:, 4 * width :]).view("<u2").astype(np.float32).reshape(-1, 2, BLOCK)
    addend, factor = tail[:, 0].ravel() * factors[1], tail[:, 1].ravel() * factors[2]
    scores = np.float32(base + factors[0]) + addend + factor * (query.low + sums * query.step)
    return scores.astype(np.float32), (np.float32(error) * factor).astype(np.float32)


def fine_scores(fine: Bytes, width: int, factors: Floats, query: Floats, base: Floats) -> Floats:
    """Scores of rows by their fine codes (n, width / 2 + FINE_TAIL); factors (n, 6) and base (n,) of their lists."""
    codes = fine[:, : width // 2].reshape(len(fine), width // 32, 1, 16)
    levels = np.concatenate([codes & 15, codes >> 4], 2).reshape(len(fine), width) - np.float32(7.5)
    tail = np.ascontiguousarray(fine[:, width // 2 :]).view("<u2").astype(np.float32)
    turned = levels @ query
    scores = base + (factors[:, 3] + factors[:, 4] * tail[:, 0]) + factors[:, 5] * tail[:, 1] * turned
    return scores.astype(np.float32)


__all__ = ["BLOCK", "CENTRE", "Coded", "Encoder", "Tables", "estimates", "fine_scores", "firsts", "nibbles", "tables"]
