"""Colours: the ground, how far two are apart, text painted over, and the legend's patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inglenook.evals.charts.reader.components import components
from inglenook.evals.charts.reader.ocr import Text

APART = 48.0  # Euclidean, of 0 to 255 a channel: JPEG moves a flat colour by less


def ground(pixels: np.ndarray) -> np.ndarray:
    """The commonest colour, float (3,): the mean of the fullest of 16 x 16 x 16 boxes."""
    boxes = pixels.reshape(-1, 3) >> 4
    keys = (boxes[:, 0].astype(np.int32) << 8) | (boxes[:, 1].astype(np.int32) << 4) | boxes[:, 2]
    most = np.bincount(keys, minlength=4096).argmax()
    mean: np.ndarray = pixels.reshape(-1, 3)[keys == most].mean(axis=0)
    return mean


def apart(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The distance of each pixel (…, 3) from a colour."""
    distance: np.ndarray = np.sqrt(((pixels.astype(np.float32) - colour) ** 2).sum(axis=-1))
    return distance


def wiped(pixels: np.ndarray, texts: Sequence[Text]) -> np.ndarray:
    """The picture without its texts: each box has the median colour of its rim."""
    clean = pixels.copy()
    for text in texts:
        left, top, right, bottom = (int(side) for side in (text.left, text.top, text.right, text.bottom))
        crop = pixels[top:bottom, left:right]
        if crop.size:
            rim = np.concatenate([crop[0], crop[-1], crop[:, 0], crop[:, -1]])
            clean[top:bottom, left:right] = np.median(rim, axis=0)
    return clean


def ungridded(pixels: np.ndarray, rows: Sequence[float], back: np.ndarray) -> np.ndarray:
    """The picture without grid lines: what is of the line's colour in these rows and the two beside each is ground. A
    line is light grey."""
    clean = pixels.copy()
    for row in rows:
        band = clean[max(0, round(row) - 2) : round(row) + 3]
        for line in band:
            off = (apart(line, back) > 16) & (np.ptp(line, axis=1) < 18) & (line.mean(axis=1) > 150)
            if off.sum() > 0.05 * len(line):
                line[off & (apart(line, np.median(line[off], axis=0)) < 24)] = back
    return clean


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a legend: a name, its patch's colour (float, (3,)), and where it stands."""

    name: str
    colour: np.ndarray
    text: Text


def legend(pixels: np.ndarray, texts: Sequence[Text], back: np.ndarray) -> list[Entry]:
    """Names with a patch of colour before them, at least two in one row or column, no two of a colour."""
    marks = [part for part in components(apart(pixels, back) > APART, 8) if part.height <= 24 and part.width <= 48]
    entries: list[tuple[Entry, float, float]] = []
    for text in texts:
        tall = text.height
        near = [
            mark
            for mark in marks
            if text.left - 1.8 * tall <= mark.x <= text.left + 0.25 * tall
            and abs(mark.y - text.y) <= 0.3 * tall
            and 0.15 * tall <= mark.height <= 1.1 * tall
            and mark.width >= 0.35 * tall
            and mark.right <= text.left + 0.45 * tall
            and mark.fill >= 0.7
        ]
        if near:
            mark = max(near, key=lambda part: part.area)
            inner = pixels[mark.top : mark.bottom, mark.left : mark.right].reshape(-1, 3)
            entries.append((Entry(text.text, np.median(inner, axis=0), text), mark.x, mark.y))
    groups = [[e for e, x, y in entries if abs(y - row) <= 4] for _, _, row in entries]
    groups += [[e for e, x, y in entries if abs(x - column) <= 4] for _, column, _ in entries]
    best = max(groups, key=len, default=[])
    distinct = all(apart(one.colour, other.colour) > APART / 2 for one in best for other in best if one is not other)
    return best if len(best) >= 2 and distinct else []
