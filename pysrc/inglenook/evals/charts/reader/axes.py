"""Scales: which numbers in a picture are the ticks of an axis, and what number a pixel is on it.

Ticks stand in one column or row, and their numbers (or the logarithms) lie on a straight line over their places. The
line is the one that most of them lie on, so a number misread or of something else does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from operator import attrgetter
from typing import Literal

from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.words import number

LEAST, SHARE = 3, 0.6  # ticks on the line: so many, and such a part of the column's numbers
NEAR = 2.0  # pixels beside the line


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale along "y" or "x": the number at place p is `zero + slope * p`, or ten to that power with `log`. `ticks`
    are the texts that it rests on, `start` and `end` the places of the outermost ones (`start < end`)."""

    along: Literal["x", "y"]
    zero: float
    slope: float
    log: bool
    ticks: tuple[Text, ...]

    @property
    def start(self) -> float:
        return min(_place(tick, self.along) for tick in self.ticks)

    @property
    def end(self) -> float:
        return max(_place(tick, self.along) for tick in self.ticks)

    @property
    def span(self) -> float:
        """The numbers' range between the outermost ticks."""
        return abs(self.at(self.end) - self.at(self.start))

    @property
    def numbers(self) -> list[float]:
        """What the ticks say, in rising order."""
        return sorted(value for tick in self.ticks if (value := number(tick.text)) is not None)

    @property
    def step(self) -> float:
        """Pixels from one tick to the next; where some were not read, of the nearest two."""
        places = sorted(_place(tick, self.along) for tick in self.ticks)
        return min(after - before for before, after in pairwise(places))

    def at(self, place: float) -> float:
        value = self.zero + self.slope * place
        return 10**value if self.log else value

    def place(self, value: float) -> float:
        return ((math.log10(value) if self.log else value) - self.zero) / self.slope


def axes(texts: Sequence[Text], along: Literal["x", "y"]) -> list[Axis]:
    """The scales along "y" (columns of ticks, from the left) or "x" (rows, from below)."""
    numbers = [(text, value) for text in texts if (value := number(text.text)) is not None]
    found: list[Axis] = []
    for group in _groups(numbers, along):
        if (axis := _fitted(group, along)) and not any(set(axis.ticks) & set(other.ticks) for other in found):
            found.append(axis)
    if along == "y":
        return sorted(found, key=lambda axis: min(tick.left for tick in axis.ticks))
    return sorted(found, key=lambda axis: -max(tick.bottom for tick in axis.ticks))


def _groups(numbers: list[tuple[Text, float]], along: str) -> list[list[tuple[Text, float]]]:
    """Numbers that stand in a line across: by the right end, the left end or the middle of columns; the middle of rows.
    The largest groups first."""
    groups = []
    for edge in map(attrgetter, ("right", "left", "x") if along == "y" else ("y",)):
        for text, _ in numbers:
            near = 0.45 * text.height
            group = [pair for pair in numbers if abs(edge(pair[0]) - edge(text)) <= near]
            if len(group) >= LEAST and group not in groups:
                groups.append(group)
    return sorted(groups, key=lambda group: -len(group))


def _fitted(group: list[tuple[Text, float]], along: Literal["x", "y"]) -> Axis | None:
    best: tuple[int, float, Axis] | None = None
    for log in (False, True):
        points = [
            (text, _place(text, along), math.log10(value) if log else value)
            for text, value in group
            if value > 0 or not log
        ]
        for (_, p, v), (_, q, w) in combinations(points, 2):
            if abs(p - q) < 8 or v == w:
                continue
            slope = (w - v) / (q - p)
            near = sorted(
                (one for one in points if _beside(one, p, v, slope) <= NEAR),
                key=lambda one: _beside(one, p, v, slope),
            )
            while len(near) > LEAST and not _even(near, log):
                near.pop()  # a number of something else that happens to be close
            if len(near) < LEAST or len(near) < SHARE * len(group) or not _even(near, log):
                continue
            off = sum(_beside(one, p, v, slope) for one in near) + 2 * log
            if best is None or (-len(near), off) < best[:2]:
                slope, zero = _line([one[1] for one in near], [one[2] for one in near])
                best = (-len(near), off, Axis(along, zero, slope, log, tuple(one[0] for one in near)))
    return best[2] if best else None


def _beside(point: tuple[Text, float, float], place: float, value: float, slope: float) -> float:
    """How many pixels a tick is beside the line through another."""
    return abs((point[2] - value) / slope - (point[1] - place))


def _even(near: list[tuple[Text, float, float]], log: bool) -> bool:
    """Ticks are equal steps apart, or several of them where one was not read; the step is a round number."""
    places = sorted((place, value) for _, place, value in near)
    steps = [abs(w - v) for (_, v), (_, w) in pairwise(places)]
    step = min(steps)
    if step <= 0 or any(abs(one / step - round(one / step)) > 0.01 for one in steps):
        return False
    return log or len(near) > LEAST or _round(step)


def _round(step: float) -> bool:
    """One, two, two and a half, three, five or the like times a power of ten."""
    lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
    return any(abs(lead - nice) < 0.01 for nice in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8))


def _line(x: list[float], y: list[float]) -> tuple[float, float]:
    """Slope and zero of the least squares' line."""
    middle, height = sum(x) / len(x), sum(y) / len(y)
    slope = sum((p - middle) * (q - height) for p, q in zip(x, y)) / sum((p - middle) ** 2 for p in x)
    return slope, height - slope * middle


def _place(text: Text, along: str) -> float:
    return text.y if along == "y" else text.x
