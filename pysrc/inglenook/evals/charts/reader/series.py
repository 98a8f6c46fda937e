"""Charts over places with a legend: each series' pixels are those of its colour.

Thin ones are lines. Thick ones are bars: beside one another, or where most places have several in one column, stacked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inglenook.evals.charts.reader.colours import APART, Entry, apart
from inglenook.evals.charts.reader.plot import ASIDE, THIN, Plot, vertex
from inglenook.evals.charts.reader.table import Key


def several(plot: Plot, entries: Sequence[Entry]) -> tuple[str, dict[Key, float]]:
    """Numbers of each series of a legend at each place: lines, bars side by side, or stacked bars."""
    masks = _nearest(plot, entries)
    stacks = [[_middle(mask, plot.x(place)) for mask in masks] for place in plot.places]
    thick = [[int(column.sum()) > THIN for column in stack] for stack in stacks]
    if sum(map(any, thick)) * 2 < len(thick):
        kind = "line"
    else:
        kind = "stack" if sum(sum(stack) >= 2 for stack in thick) * 2 >= len(thick) else "bar"
    found: dict[Key, float] = {}
    for place, stack in zip(plot.places, stacks):
        for entry, mask, column in zip(entries, masks, stack):
            if kind == "line":
                value = _level(plot, mask, plot.x(place))
            else:
                value = _extent(plot, column) if kind == "stack" else _far(plot, mask, place.x)
            if value is not None:
                found[entry.name, place.text] = value
    return kind, found


def _nearest(plot: Plot, entries: Sequence[Entry]) -> list[np.ndarray]:
    """Masks of the pixels that are each entry's rather than another's or the ground's, within the scale."""
    away = np.stack([apart(plot.pixels, entry.colour) for entry in entries])
    first = away.argmin(axis=0)
    inside = np.zeros(plot.pixels.shape[:2], bool)
    inside[slice(*plot.rows)] = True
    inside &= away.min(axis=0) < 1.4 * APART
    return [np.logical_and(first == at, inside) for at in range(len(entries))]


def _middle(mask: np.ndarray, x: float) -> np.ndarray:
    """The rows that are set at a place, three pixels wide."""
    rows: np.ndarray = mask[:, max(0, round(x) - 1) : round(x) + 2].max(axis=1)
    return rows


def _level(plot: Plot, mask: np.ndarray, x: float) -> float | None:
    """A line's number at a place; where another line covers it, prolonged from the nearest side."""
    here, *beside = (np.flatnonzero(_middle(mask, at)) for at in (x, x - ASIDE, x + ASIDE))
    if len(here):
        sides = [float(np.median(rows)) if len(rows) else None for rows in beside]
        whole = _whole(here)
        return plot.axis.at(vertex(int(here[0]), int(here[-1]) + 1, sides) if whole else float(np.median(here)))
    for off in (4, -4, 7, -7, 10, -10):
        one, other = (np.flatnonzero(_middle(mask, x + off * share)) for share in (1.0, 1.6))
        if len(one) and len(other):
            return plot.axis.at(float(np.median(one) + (np.median(one) - np.median(other)) / 0.6))
    return None


def _whole(rows: np.ndarray) -> bool:
    return bool(rows[-1] - rows[0] < 1.5 * len(rows))


def _extent(plot: Plot, column: np.ndarray) -> float:
    """The length of a part of a stack."""
    rows = np.flatnonzero(column)
    return abs(plot.axis.slope) * float(rows[-1] + 1 - rows[0]) if len(rows) else 0.0


def _far(plot: Plot, mask: np.ndarray, x: float) -> float | None:
    """The end of a series' bar, anywhere within the place's width."""
    half = 0.46 * plot.pitch
    widths = mask[:, max(0, round(x - half)) : round(x + half) + 1].sum(axis=1)
    rows = np.flatnonzero(widths >= 0.5 * max(1, widths.max()))
    if not len(rows) or not widths.any():
        return None
    above, below = plot.base - rows[0], rows[-1] + 1 - plot.base
    return plot.axis.at(rows[0] - 0.5 if above >= below else rows[-1] + 0.5)
