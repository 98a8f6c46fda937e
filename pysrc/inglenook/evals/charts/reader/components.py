"""Connected parts of a mask, 8-connected: two-pass labelling over runs of rows with union-find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inglenook.evals.charts.reader.bounds import Bounds


@dataclass(frozen=True, slots=True)
class Part(Bounds):
    """Pixels that hang together: their bounding box in pixels, their number, and their runs,
    int array of shape (runs, 3): row, first column, end column."""

    left: int
    top: int
    right: int
    bottom: int
    area: int
    runs: np.ndarray

    @property
    def fill(self) -> float:
        """The share of its box that it covers."""
        return self.area / (self.width * self.height)


def components(mask: np.ndarray, least: int = 1) -> list[Part]:
    """The parts of a boolean mask (height, width) with at least so many pixels, from the top down."""
    runs = _runs(mask)
    roots = _joined(runs)
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    found = []
    for members in np.split(order, cuts) if len(order) else []:
        own = runs[members]
        area = int((own[:, 2] - own[:, 1]).sum())
        if area >= least:
            left, right, top, bottom = own[:, 1].min(), own[:, 2].max(), own[0, 0], own[-1, 0] + 1
            found.append(Part(int(left), int(top), int(right), int(bottom), area, own))
    return sorted(found, key=lambda part: (part.top, part.left))


def _runs(mask: np.ndarray) -> np.ndarray:
    """Row, first and end column of every run of set pixels, in reading order."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return np.stack([rows, starts, ends], axis=1)


def _joined(runs: np.ndarray) -> np.ndarray:
    """For each run the smallest number of a run of its part."""
    parent = list(range(len(runs)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    rows, starts, ends = (column.tolist() for column in runs.T)
    above = 0
    for at, row in enumerate(rows):
        # Runs of the row above that end before this one starts touch nothing that follows either.
        while above < at and (rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < starts[at])):
            above += 1
        other = above
        while other < at and rows[other] == row - 1 and starts[other] <= ends[at]:
            one, two = root(other), root(at)
            parent[max(one, two)] = min(one, two)
            other += 1
    return np.array([root(at) for at in range(len(rows))], int)
