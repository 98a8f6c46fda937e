"""What charts share: a frame with a scale, ticks, a legend, and numbers as they are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from inglenook.evals.charts.scene import COLOURS, GREY, PALE, Scene

LEFT, TOP, RIGHT, BOTTOM = 70.0, 66.0, 610.0, 360.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a chart says: a number (`quantity` in `unit`) for each label. A reader is right within `tolerance`: 0 where
    numbers are printed, a part of the scale where they have to be read off it. `noun` is what labels are."""

    quantity: str
    unit: str
    noun: str
    values: dict[str, float]
    tolerance: float = 0.0
    ordered: bool = False  # labels follow one another in time
    adds: bool = False  # the numbers can be added up


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what it says."""

    scene: Scene
    facts: Facts


@dataclass(slots=True)
class Frame:
    """A plot's box with a vertical scale from `low` to `high`, which are ticks."""

    scene: Scene
    low: float
    high: float
    left: float = LEFT
    top: float = TOP
    right: float = RIGHT
    bottom: float = BOTTOM
    ticks: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, scene: Scene, values: Sequence[float], zero: bool = True, right: float = RIGHT) -> Frame:
        """Around `values`, and 0 with `zero`; grid and numbers are drawn."""
        ticks = nice(min(values), max(values), zero)
        frame = cls(scene, ticks[0], ticks[-1], right=right, ticks=ticks)
        for tick in ticks:
            y = frame.y(tick)
            scene.line([(frame.left, y), (right, y)], PALE)
            scene.text(frame.left - 8, y, number(tick), 11, "end", colour=GREY)
        scene.line([(frame.left, frame.top), (frame.left, frame.bottom)], GREY)
        return frame

    @property
    def tolerance(self) -> float:
        """How well a number can be read off the scale: three hundredths of it."""
        return 0.03 * (self.high - self.low)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def slot(self, at: int, count: int, share: float = 0.64) -> tuple[float, float]:
        """The left and right end of the `at`-th of `count` places."""
        width = (self.right - self.left) / count
        middle = self.left + width * (at + 0.5)
        return middle - width * share / 2, middle + width * share / 2

    def x(self, at: float, count: int) -> float:
        return self.left + (self.right - self.left) * (at + 0.5) / count

    def labels(self, labels: Sequence[str]) -> None:
        """Under the places, on two rows where they would touch."""
        room = (self.right - self.left) / len(labels)
        tight = any(6.4 * len(label) > room for label in labels)
        for at, label in enumerate(labels):
            self.scene.text(self.x(at, len(labels)), self.bottom + 16 + 15 * (tight and at % 2), label, 11)


def titled(title: str, unit: str) -> Scene:
    scene = Scene()
    scene.text(20, 20, title, 15, "start")
    scene.text(20, 42, f"Unit: {unit}" if unit else "", 11, "start", colour=GREY)
    return scene


def legend(scene: Scene, names: Sequence[str], y: float = 402.0) -> None:
    x = LEFT
    for name, colour in zip(names, COLOURS):
        scene.box(x, y - 5, x + 10, y + 5, colour)
        scene.text(x + 15, y, name, 11, "start")
        x += 30 + 6.6 * len(name)


def nice(low: float, high: float, zero: bool = True, count: int = 5) -> list[float]:
    """Round ticks from below `low` to above `high`."""
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor * count >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def number(value: float) -> str:
    """As charts print it: without decimals from 100 on, with at most two below."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def shown(value: float) -> float:
    """What the printed number says."""
    return float(number(value).replace(",", ""))


def shade(share: float) -> str:
    """From pale to dark blue."""
    mix = [round(pale + (dark - pale) * min(1.0, max(0.0, share))) for pale, dark in ((232, 16), (240, 64), (250, 140))]
    return f"#{mix[0]:02x}{mix[1]:02x}{mix[2]:02x}"
