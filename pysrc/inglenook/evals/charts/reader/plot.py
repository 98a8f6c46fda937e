"""A plot over places, such as years or names below it, and what stands in one of its columns of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inglenook.evals.charts.reader.axes import Axis
from inglenook.evals.charts.reader.colours import APART, apart
from inglenook.evals.charts.reader.ocr import Text

EDGE = 1.5  # pixels
ASIDE, WIDTH = 5, 2  # pixels: from a vertex to where it is seen which way its line goes; about half a line's width
THIN = 12  # pixels: no thicker is a line, or the mark in a box


@dataclass(frozen=True, slots=True)
class Span:
    """A run in a column: its rows (`end` exclusive) and colour."""

    start: int
    end: int
    colour: np.ndarray

    @property
    def middle(self) -> float:
        return (self.start + self.end - 1) / 2


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture without its texts, its ground, its scale upwards and its places' texts, from the left. `green_rises`
    is whether a green candle closes above its opening; in East Asia a red one does."""

    pixels: np.ndarray
    back: np.ndarray
    axis: Axis
    places: tuple[Text, ...]
    green_rises: bool = True

    @property
    def pitch(self) -> float:
        """From one place to the next."""
        middles = [place.x for place in self.places]
        return float(np.median(np.diff(middles))) if len(middles) > 1 else 40.0

    @property
    def rows(self) -> tuple[int, int]:
        """The first and end row of the plot: from a little above the scale's upper end down to the places' names."""
        bottom = min(place.top for place in self.places) - 1
        return max(0, round(self.axis.start) - 8), min(len(self.pixels), max(round(bottom), round(self.axis.end) + 4))

    @property
    def base(self) -> float:
        """The row where bars begin: that of 0 if it is in the plot, though its tick was not read; else the lower end of
        the scale."""
        zero = self.axis.end if self.axis.log else self.axis.place(0.0)
        return zero if self.axis.start - self.axis.step - 2 < zero < self.rows[1] + 4 else self.axis.end

    def x(self, place: Text) -> float:
        """Where a place's column is measured: its middle; of the first and last, where areas and lines may end there, a
        little within."""
        return place.x + EDGE * ((place is self.places[0]) - (place is self.places[-1]))

    def spans(self, x: float) -> list[Span]:
        """The runs at `x` from the top, ground and grid left out."""
        at = min(self.pixels.shape[1] - 2, max(1, round(x)))
        column = np.median(self.pixels[:, at - 1 : at + 2], axis=1).astype(np.float32)
        top, bottom = self.rows
        found: list[Span] = []
        start, mean = top, column[top]
        for row in range(top + 1, bottom + 1):
            if row == bottom or apart(column[row], mean) > APART / 2:
                found.append(Span(start, row, np.median(column[start:row], axis=0)))
                start, mean = row, column[min(row, bottom - 1)]
            else:
                mean = mean + (column[row] - mean) / (row + 1 - start)
        return _solid(found, self.back)


def places(texts: Sequence[Text], axis: Axis) -> tuple[Text, ...]:
    """The names under a plot, from the left: those of the row below the scale, and of the next where two rows
    alternate."""
    below = [text for text in texts if text.y > axis.end + 6]
    if not below:
        return ()
    first = min(below, key=lambda text: text.y)
    rows = [[text for text in below if abs(text.y - first.y - down) < 0.5 * first.height] for down in (0, first.height)]
    if len(rows[0]) >= 2 and len(rows[1]) >= 2 and _alternate(rows[0], rows[1]):
        rows[0] += rows[1]
    return tuple(sorted(rows[0], key=lambda text: text.x))


def _alternate(one: list[Text], other: list[Text]) -> bool:
    order = sorted([(text.x, 0) for text in one] + [(text.x, 1) for text in other])
    changes = sum(a[1] != b[1] for a, b in pairwise(order))
    return changes >= 0.8 * (len(order) - 1)


def vertex(start: int, end: int, sides: Sequence[float | None]) -> float:
    """The row of a line's vertex in a column where it covers some rows: at a summit or in a dip (or at an end of the
    line, which is one of them) the outermost of these, else their middle."""
    middle = (start + end - 1) / 2
    known = [side for side in sides if side is not None]
    if end - start <= 2 * WIDTH or not known:
        return middle
    if all(side > middle for side in known):
        return start + WIDTH
    return end - 1 - WIDTH if all(side < middle for side in known) else middle


def _solid(spans: list[Span], back: np.ndarray) -> list[Span]:
    """Without the ground, and without blends: thin runs between two colours, in both of which a part of it is."""
    kept = []
    for before, span, after in zip([None, *spans[:-1]], spans, [*spans[1:], None]):
        one, other = (back if near is None else near.colour for near in (before, after))
        between = apart(one, span.colour) + apart(span.colour, other) < 1.3 * apart(one, other)
        if apart(span.colour, back) > APART / 2 and not (between and span.end - span.start <= 2):
            kept.append(span)
    joined: list[Span] = []
    for span in kept:
        if joined and span.start - joined[-1].end <= 2 and apart(span.colour, joined[-1].colour) < APART:
            joined[-1] = Span(joined[-1].start, span.end, joined[-1].colour)
        else:
            joined.append(span)
    return joined
