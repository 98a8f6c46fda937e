"""A picture as shapes, in pixels from the upper left corner, and its SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
INK, GREY, PALE = "#222222", "#777777", "#dddddd"
COLOURS = ("#1f5fa8", "#d2691e", "#2e8b57", "#b22222", "#7b4fa3", "#8b6b2e", "#2a9d9d", "#c2577e")


@dataclass(frozen=True, slots=True)
class Line:
    """Straight pieces from point to point."""

    points: tuple[Point, ...]
    colour: str = INK
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    fill: str


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `x`, `y` is its middle, or with another anchor the middle of its start or end."""

    x: float
    y: float
    text: str
    size: int = 12
    anchor: str = "middle"
    colour: str = INK


Shape = Line | Area | Text


@dataclass(slots=True)
class Scene:
    """Shapes, the later ones over the earlier ones, on white."""

    width: int = 640
    height: int = 420
    shapes: list[Shape] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str = INK, width: float = 1.0) -> None:
        self.shapes.append(Line(tuple(points), colour, width))

    def area(self, points: Sequence[Point], fill: str) -> None:
        self.shapes.append(Area(tuple(points), fill))

    def box(self, left: float, top: float, right: float, bottom: float, fill: str) -> None:
        self.area([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def disc(self, x: float, y: float, radius: float, fill: str) -> None:
        self.wedge((x, y), radius, 0.0, 1.0, fill)

    def wedge(self, centre: Point, radius: float, start: float, end: float, fill: str) -> None:
        """A part of a disc, from `start` to `end` turns clockwise from above."""
        x, y = centre
        count = max(2, math.ceil(64 * (end - start)))
        turns = [2 * math.pi * (start + (end - start) * n / count) for n in range(count + 1)]
        rim = [(x + radius * math.sin(turn), y - radius * math.cos(turn)) for turn in turns]
        self.area(rim if end - start >= 1 else [(x, y), *rim], fill)

    def text(self, x: float, y: float, text: str, size: int = 12, anchor: str = "middle", *, colour: str = INK) -> None:
        self.shapes.append(Text(x, y, text, size, anchor, colour))


def svg(scene: Scene) -> str:
    """The picture as an SVG file."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width}" height="{scene.height}" '
        f'viewBox="0 0 {scene.width} {scene.height}" font-family="sans-serif">',
        f'<rect width="{scene.width}" height="{scene.height}" fill="#ffffff"/>',
    ]
    for shape in scene.shapes:
        match shape:
            case Line(points, colour, width):
                parts.append(
                    f'<polyline points="{_path(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
                )
            case Area(points, fill):
                parts.append(f'<polygon points="{_path(points)}" fill="{fill}"/>')
            case Text(x, y, text, size, anchor, colour):
                parts.append(
                    f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
                    f'dominant-baseline="central">{escape(text)}</text>'
                )
    return "\n".join([*parts, "</svg>\n"])


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
