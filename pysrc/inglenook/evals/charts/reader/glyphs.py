"""Single characters, which detectors of lines of text pass over: the ticks 0 to 9 of an axis, a number within a bar.

This is ours: small parts darker or lighter than what is around them, as tall as the picture's other text, on even
ground. What is none of these is no character; what is may be none either, so the recogniser has to be sure of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inglenook.evals.charts.reader.components import Part, components

Box = tuple[int, int, int, int]
CONTRAST, EVEN = 48.0, 26.0  # of luminance: between a character and its ground; spread within its ground
MOST = 32


def glyphs(pixels: np.ndarray, found: Sequence[Box]) -> list[Box]:
    """Boxes (left, top, right, bottom) of characters beside the lines `found` in a picture (uint8, red first)."""
    if not found:
        return []
    tall = float(np.median([bottom - top for _, top, _, bottom in found]))
    light = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    around = _blurred(light, round(0.8 * tall))
    groups = []
    for mask in (light < around - CONTRAST, light > around + CONTRAST):
        parts = [part for part in components(mask, 3) if 0.3 * tall <= part.height <= 0.9 * tall]
        parts = [part for part in parts if part.width <= tall and not _inside(part, found)]
        groups += [box for box in _lines(parts, 0.3 * tall) if box[2] - box[0] <= 1.6 * tall]
    pad = max(2, round(0.2 * tall))
    boxes = []
    for left, top, right, bottom in groups:
        box = (left - pad, top - pad, right + pad, bottom + pad)
        if min(box) >= 0 and box[2] <= light.shape[1] and box[3] <= light.shape[0] and _even(light, box):
            boxes.append(box)
    return boxes[:MOST]


def _lines(parts: list[Part], gap: float) -> list[Box]:
    """Parts beside one another taken together."""
    lines: list[list[int]] = []
    for part in sorted(parts, key=lambda one: one.left):
        for line in lines:
            if part.left - line[2] <= gap and line[1] <= part.y <= line[3]:
                line[:] = (line[0], min(line[1], part.top), max(line[2], part.right), max(line[3], part.bottom))
                break
        else:
            lines.append([part.left, part.top, part.right, part.bottom])
    return [(left, top, right, bottom) for left, top, right, bottom in lines]


def _inside(part: Part, found: Sequence[Box]) -> bool:
    return any(left <= part.x <= right and top <= part.y <= bottom for left, top, right, bottom in found)


def _even(light: np.ndarray, box: Box) -> bool:
    left, top, right, bottom = box
    crop = light[top:bottom, left:right]
    rim = np.concatenate([crop[0], crop[-1], crop[:, 0], crop[:, -1]])
    return bool(np.abs(rim - np.median(rim)).max() <= EVEN)


def _blurred(light: np.ndarray, radius: int) -> np.ndarray:
    """The median of four corners' and the middle's mean would cost more: the mean of a square."""
    size = 2 * radius + 1
    padded = np.pad(light.astype(np.float64), ((radius + 1, radius), (radius + 1, radius)), mode="edge")
    sums = padded.cumsum(axis=0).cumsum(axis=1)
    total: np.ndarray = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return total / size**2
