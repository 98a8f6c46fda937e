"""Charts over places without a legend: bars, lines, areas, boxes, violins and candles.

What stands in a place's column is a stack of runs of one colour each. A stack that begins at the base line is a bar or
an area, and its far end counts; a thin run is a line, and its middle counts; a thin run within another colour is the
mark of a box or violin; wide and narrow rows of one colour are a candle, of which the close counts.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from inglenook.evals.charts.reader.colours import APART, apart
from inglenook.evals.charts.reader.plot import ASIDE, THIN, Plot, Span, vertex


def single(plot: Plot) -> tuple[str, dict[str, float]]:
    """One number a place, where no legend tells series apart: what kind of marks they are, and the numbers."""
    stacks = [plot.spans(plot.x(place)) for place in plot.places]
    kinds = Counter(_kind(plot, plot.x(place), stack) for place, stack in zip(plot.places, stacks) if stack)
    if not kinds:
        return "", {}
    [(kind, _)] = kinds.most_common(1)
    found = {}
    for place, stack in zip(plot.places, stacks):
        if stack and (row := _reading(plot, plot.x(place), stack, kind)) is not None:
            found[place.text] = plot.axis.at(row)
    return kind, found


def _kind(plot: Plot, x: float, stack: list[Span]) -> str:
    if _inner(stack) is not None:
        return "box"
    if _body(plot, x, stack) is not None:
        return "candle"
    based = abs(stack[0].start - plot.base) <= 4 or abs(stack[-1].end - plot.base) <= 4
    return "bar" if based and stack[-1].end - stack[0].start > THIN else "line"


def _reading(plot: Plot, x: float, stack: list[Span], kind: str) -> float | None:
    """The row that counts."""
    top, bottom = stack[0].start, stack[-1].end
    if kind == "bar":
        first = stack[0]
        if bottom - plot.base > plot.base - top:
            return bottom - 0.5
        return first.middle if len(stack) > 1 and first.end - first.start <= 5 else top - 0.5
    if kind == "box":
        mark = _inner(stack)
        return mark.middle if mark else None
    if kind == "candle":
        body = _body(plot, x, stack) or max(stack, key=lambda span: span.end - span.start)
        green = body.colour[1] > body.colour[0]
        return body.start - 0.5 if green == plot.green_rises else body.end - 0.5
    tallest = max(stack, key=lambda span: span.end - span.start)
    sides = [_followed(plot, x + step, tallest) for step in (-ASIDE, ASIDE)]
    return vertex(tallest.start, tallest.end, sides)


def _followed(plot: Plot, x: float, span: Span) -> float | None:
    """The middle of a line a few pixels on: of the runs there of its colour the nearest."""
    near = [other for other in plot.spans(x) if apart(other.colour, span.colour) < 1.5 * APART]
    return min((other.middle for other in near), key=lambda row: abs(row - span.middle), default=None)


def _inner(stack: list[Span]) -> Span | None:
    """A thin run with one and the same other colour above and below it."""
    found = [
        (min(above.end - above.start, below.end - below.start), span)
        for above, span, below in zip(stack, stack[1:], stack[2:])
        if span.end - span.start <= THIN
        and apart(above.colour, below.colour) < APART
        and apart(span.colour, above.colour) > APART
        and min(above.end - above.start, below.end - below.start) >= 4
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _body(plot: Plot, x: float, stack: list[Span]) -> Span | None:
    """The wide rows of a candle: solid, about the place's middle, with a thin line above or below."""
    half = round(0.45 * plot.pitch)
    slot = plot.pixels[:, max(0, round(x) - half) : round(x) + half + 1]
    mask = apart(slot, plot.back) > 1.5 * APART
    widths = mask.sum(axis=1)
    inside = slice(stack[0].start, stack[-1].end)
    widest = int(widths[inside].max())
    if not 8 <= widest < 0.9 * slot.shape[1]:
        return None
    top = bottom = stack[0].start + int(widths[inside].argmax())
    while top > 0 and widths[top - 1] > 0.6 * widest:
        top -= 1
    while bottom + 1 < len(widths) and widths[bottom + 1] > 0.6 * widest:
        bottom += 1
    columns = np.flatnonzero(mask[(top + bottom) // 2])
    solid = len(columns) >= 0.9 * (columns[-1] - columns[0] + 1) and abs(columns.mean() - half) <= 3
    thin = max(3, 0.3 * widest)
    sides = widths[max(0, top - 5) : max(0, top - 2)], widths[bottom + 3 : bottom + 6]
    if not solid or not any(len(side) and side.min() > 0 and side.max() <= thin for side in sides):
        return None
    return Span(top, bottom + 1, np.median(slot[top : bottom + 1, columns].reshape(-1, 3), axis=0))
