"""Lloyd's algorithm on int8 codes, for the centroids of inverted lists.

Vectors are codes of `quantise` (signed bytes and a scale each), centroids codes of 7 bits, whose products with them are
exact integers (wasm/seven.h). A centroid *is* what its code says: nothing is lost later by keeping only the code.
Lists should be about equally long, since the longest make the slowest queries: a centroid that has (nearly) no vectors
takes over part of the fullest one's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.index import threads
from inglenook.index.codes import ADDRESS, INT, Floats, address, bind
from inglenook.index.quantise import Codes
from inglenook.index.threads import Rows

CENTRE = 64
"""The code of zero."""
SLICE = 2048
"""Vectors assigned between two steps of progress."""
THIN, FULL = 0.2, 3.0
"""Clusters below the first share of the average size are taken for halving those above the second."""
LEAF = 4
"""Points whose order is left as it is: they lie on a page in any case."""
POWER = 4
"""Steps of the power method."""


class Centroids(NamedTuple):
    """`codes` uint8 (k, width) of 1..127, `spacing` and `squares` (squared lengths) float32 (k,)."""

    codes: NDArray[np.uint8]
    spacing: Floats
    squares: Floats

    @property
    def values(self) -> Floats:
        """The centroids as numbers, (k, width)."""
        values: Floats = (self.codes.astype(np.float32) - CENTRE) * self.spacing[:, None]
        return values


def part_of(codes: Codes, rows: slice) -> Codes:
    """Some rows of codes."""
    return Codes(codes.codes[rows], codes.scale[rows], codes.error[rows])


def centroids_of(values: Floats) -> Centroids:
    """The centroids nearest to `values` (k, width) that codes can say."""
    spacing = (np.abs(values).max(axis=1, initial=0) / np.float32(CENTRE - 1)).astype(np.float32)
    steps = np.rint(values / np.where(spacing > 0, spacing, 1)[:, None])
    steps = np.clip(steps, 1 - CENTRE, CENTRE - 1)
    squares = (np.einsum("ij,ij->i", steps, steps) * spacing * spacing).astype(np.float32)
    return Centroids((steps + CENTRE).astype(np.uint8), spacing, squares)


def assign(vectors: Codes, centroids: Centroids, *, plain: bool = False) -> tuple[NDArray[np.int32], Floats]:
    """For each vector the nearest centroid (of equals the first), and 2 x·c - |c|², the negative squared distance but
    for |x|². Both of shape (n,)."""
    types = [ADDRESS, ADDRESS, INT, INT, ADDRESS, ADDRESS, ADDRESS, INT, ADDRESS, ADDRESS]
    kernel = bind("nook_assign", None, *types)
    if kernel is None or plain:
        return assigned(vectors, centroids)
    n, width = vectors.codes.shape
    labels, values = np.empty(n, np.int32), np.empty(n, np.float32)
    codes, scale = np.ascontiguousarray(vectors.codes), np.ascontiguousarray(vectors.scale)
    centres = map(np.ascontiguousarray, centroids)
    given = Rows(codes), Rows(scale), "count", width, *centres, len(centroids.codes)
    threads.spread("nook_assign", kernel, n, [*given, Rows(labels, True), Rows(values, True)])
    return labels, values


def assigned(vectors: Codes, centroids: Centroids) -> tuple[NDArray[np.int32], Floats]:
    """`assign` in numpy: the oracle."""
    dots = vectors.codes.astype(np.float64) @ (centroids.codes.astype(np.float64) - CENTRE).T
    unit = np.float32(2) * vectors.scale[:, None] * centroids.spacing
    values = dots.astype(np.float32) * unit - centroids.squares
    labels = values.argmax(axis=1).astype(np.int32)
    return labels, values[np.arange(len(labels)), labels]


def gather(vectors: Codes, labels: NDArray[np.int32], sums: Floats, *, plain: bool = False) -> None:
    """Add each vector to the row of `sums` (k, width) that its label says."""
    kernel = bind("nook_gather", None, ADDRESS, ADDRESS, ADDRESS, INT, INT, ADDRESS)
    if kernel is None or plain:
        np.add.at(sums, labels, vectors.codes * vectors.scale[:, None])
        return
    codes, scale = np.ascontiguousarray(vectors.codes), np.ascontiguousarray(vectors.scale)
    kernel(address(codes), address(scale), address(labels), *codes.shape, address(sums))


def train(
    sample: Codes, k: int, seed: int = 0, iterations: int = 5, *, plain: bool = False
) -> Generator[tuple[int, int], None, Centroids]:
    """`k` centroids (fewer where there are fewer vectors) of a sample, a generator that yields (done, total)."""
    random, n = np.random.default_rng(seed), len(sample.codes)
    k = max(1, min(k, n))
    first = np.sort(random.permutation(n)[:k])
    values = sample.codes[first] * sample.scale[first, None]
    if not n:
        return centroids_of(np.zeros((1, sample.codes.shape[1]), np.float32))
    for iteration in range(iterations):
        centroids = centroids_of(values)
        labels = np.empty(n, np.int32)
        for start in range(0, n, SLICE):
            rows = slice(start, start + SLICE)
            labels[rows] = assign(part_of(sample, rows), centroids, plain=plain)[0]
            yield iteration * n + start, iterations * n
        sums = np.zeros_like(values)
        gather(sample, labels, sums, plain=plain)
        counts = np.bincount(labels, minlength=k)
        values = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        if iteration < iterations - 2:
            _share(values, counts, sample, labels, random)
    centroids = centroids_of(values[counts > 0])
    order = lined(centroids.codes.astype(np.float64) - CENTRE)
    return Centroids(centroids.codes[order], centroids.spacing[order], centroids.squares[order])


def lined(steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of points (k, width), whole numbers, in which neighbours are near: halved, and halved again, across the
    direction in which they differ most.

    What lies in this order on pages needs fewer of them a query. The way is our own. All sums are exact, so the order
    is the same on every machine.
    """
    order = np.arange(len(steps))
    todo = [(0, len(steps))]
    while todo:
        begin, end = todo.pop()
        if end - begin <= LEAF:
            continue
        here = steps[order[begin:end]]
        here = here - np.rint(here.mean(0))
        along = here[np.argmax(np.einsum("ij,ij->i", here, here))]
        for _ in range(POWER):
            along = here.T @ (here @ along)
            along = np.rint(along * (CENTRE / max(np.abs(along).max(), 1)))
        order[begin:end] = order[begin:end][np.argsort(here @ along, kind="stable")]
        middle = (begin + end) // 2
        todo += [(begin, middle), (middle, end)]
    return order


def _share(
    values: Floats, counts: NDArray[np.int64], sample: Codes, labels: NDArray[np.int32], random: np.random.Generator
) -> None:
    """Move centroids of thin clusters to a random member each of the fullest ones."""
    average = len(labels) / len(values)
    thin = np.flatnonzero(counts < THIN * average)
    full = np.argsort(-counts, kind="stable")[: len(thin)]
    for empty, crowded in zip(thin, full):
        if counts[crowded] < 2 or (counts[crowded] < FULL * average and counts[empty]):
            continue
        members = np.flatnonzero(labels == crowded)
        row = members[random.integers(len(members))]
        values[empty] = sample.codes[row] * sample.scale[row]


def balance(counts: NDArray[np.int64]) -> float:
    """How much longer the lists that queries meet are than with equal lists: n·Σ count² / (Σ count)² ≥ 1."""
    total = counts.sum()
    return float(len(counts) * (counts.astype(np.float64) ** 2).sum() / max(total, 1) ** 2)


__all__ = ["Centroids", "assign", "assigned", "balance", "centroids_of", "gather", "part_of", "train"]
