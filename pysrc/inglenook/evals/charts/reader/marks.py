"""Named marks between two scales, as of scatter plots and matrices; and sectors of a disc."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from inglenook.evals.charts.reader.axes import Axis
from inglenook.evals.charts.reader.colours import APART, Entry, apart
from inglenook.evals.charts.reader.components import Part, components
from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.table import Key
from inglenook.evals.charts.reader.words import plain

_PRODUCT = re.compile(r"([a-z]\w*)\s*[:=]\s*\(?\s*([a-z]+?)\s*(?:times|multipliedby|[x×*])\s*([a-z]+)", re.IGNORECASE)


def marked(
    clean: np.ndarray, back: np.ndarray, names: Sequence[Text], up: Axis, across: Axis | None
) -> dict[Key, float]:
    """For each name its mark's numbers, as rows "y" and (with a scale to the right) "x". The mark is the compact part
    beside the name; where there is none, as in the fields of a matrix, it is the name's own place."""
    marks = [
        part
        for part in components(apart(clean, back) > APART, 12)
        if part.width <= 40 and part.height <= 40 and part.fill > 0.5 and max(part.width, part.height) < 3 * min(
            part.width, part.height
        )
    ]  # fmt: skip
    found: dict[Key, float] = {}
    for name in names:
        mark = _nearest(name, marks)
        x, y = (mark.x, mark.y) if mark else (name.x, name.y)
        found["y", name.text] = _snapped(up.at(y), up, mark is None)
        if across:
            found["x", name.text] = _snapped(across.at(x), across, mark is None)
    return found


def product(title: str, cells: dict[Key, float]) -> dict[Key, float]:
    """What a title defines as the product of the two scales ("score: likelihood times damage"), or nothing."""
    if not _PRODUCT.search(plain(title)):
        return {}
    names = [name for row, name in cells if row == "y"]
    return {("", name): cells["y", name] * cells["x", name] for name in names if ("x", name) in cells}


def sectors(clean: np.ndarray, entries: Sequence[Entry]) -> dict[Key, float]:
    """The shares (in percent) of a legend's colours, where these fill a disc or ring: by their pixels."""
    away = np.stack([apart(clean, entry.colour) for entry in entries])
    first = away.argmin(axis=0)
    near = away.min(axis=0) < APART
    disc = max(components(near, 400), key=lambda part: part.area, default=None)
    if disc is None or not 0.85 < disc.width / disc.height < 1.18:
        return {}
    inside = (slice(disc.top, disc.bottom), slice(disc.left, disc.right))
    counts = [int((near[inside] & (first[inside] == at)).sum()) for at in range(len(entries))]
    return {("", entry.name): 100 * count / sum(counts) for entry, count in zip(entries, counts)}


def _nearest(name: Text, marks: Sequence[Part]) -> Part | None:
    """The mark to the left of a name, to its right, over or under it, nearly touching."""
    tall = name.height
    near = [
        (abs(mark.y - name.y) + max(0.0, name.left - mark.right, mark.left - name.right), mark)
        for mark in marks
        if (abs(mark.y - name.y) < 0.4 * tall and min(abs(name.left - mark.x), abs(mark.x - name.right)) < 1.3 * tall)
        or (abs(mark.x - name.x) < 0.4 * tall and min(abs(name.top - mark.y), abs(mark.y - name.bottom)) < 1.3 * tall)
    ]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _snapped(value: float, axis: Axis, field: bool) -> float:
    """In a field of a matrix the tick is meant."""
    first, *others = axis.numbers
    step = min(after - before for before, after in zip([first, *others], others))
    near = first + round((value - first) / step) * step
    return near if field and abs(near - value) < 0.25 * step else value
