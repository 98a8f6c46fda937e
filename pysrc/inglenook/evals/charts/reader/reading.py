"""From a picture and its texts to a table: which kind of chart it is, and what that kind says.

The rules are tried from the surest to the weakest: marks on a scale, with printed numbers in their place where there
are any; numbers that are printed with their names; lying bars on a scale; sectors of a disc.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from inglenook.evals.charts.reader import columns, marks, printed, series
from inglenook.evals.charts.reader.axes import Axis, axes
from inglenook.evals.charts.reader.colours import APART, Entry, apart, ground, legend, ungridded, wiped
from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.plot import Plot, places
from inglenook.evals.charts.reader.table import Key, Table
from inglenook.evals.charts.reader.words import number

SCALE = 0.01  # of a scale's range: how far a number measured on it may be off
_UNIT = re.compile(r"unit\s*[:：]\s*(.*)", re.IGNORECASE)
# Where red candles rise: it is said, or the picture speaks Chinese, Japanese or Korean.
_RED = re.compile(r"red\W{0,3}(?:close\s*above|up|ris)|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2}", re.IGNORECASE)
_RIGHT = re.compile(r"\b(?:rhs|r\.h\.s|right)\b", re.IGNORECASE)


def read(pixels: np.ndarray, texts: Sequence[Text]) -> Table:
    """The table of a chart (uint8 pixels, red first). Where nothing could be read it has no cells."""
    title, unit, body = _headed(texts)
    table = Table(title=title, unit=unit, texts=tuple(text.text for text in texts))
    back = ground(pixels)
    entries = legend(pixels, [text for text in body if number(text.text) is None], back)
    clean = wiped(pixels, texts)
    if not printed.grid(body):
        _measured(table, clean, back, body, entries)
    for rule in (printed.shares, printed.grid, printed.beneath, printed.beside):
        if not table.cells:
            table.how, table.cells, table.slack = rule.__name__, rule(body), 0.0
    if not table.cells:
        width = pixels.shape[1]
        laid = [Entry(entry.name, entry.colour, _laid(entry.text, width)) for entry in entries]
        _measured(table, np.rot90(clean), back, [_laid(text, width) for text in body], laid)
    if not table.cells and entries:
        table.how, table.cells, table.slack = "sectors", marks.sectors(clean, entries), 1.0
    return table


def _measured(
    table: Table, clean: np.ndarray, back: np.ndarray, texts: Sequence[Text], entries: Sequence[Entry]
) -> None:
    """Fill a table from marks over places, or from named marks, on the first scale upwards."""
    ups = axes(texts, "y")
    if not ups:
        return
    up = ups[0]
    taken = {entry.text for entry in entries} | {tick for axis in ups for tick in axis.ticks}
    free = [text for text in texts if text not in taken and _within(text, ups, clean.shape[1])]
    across = next(iter(axes([text for text in free if text.y > up.end + 4], "x")), None)
    inside = [text for text in free if _between(text, up, across)]
    names = [text for text in inside if number(text.text) is None]
    table.slack = SCALE * up.span
    if len(names) >= 3 and 2 * len(names) >= len(inside):
        cells = marks.marked(clean, back, names, up, across)
        table.how, table.cells = "marks", marks.product(table.title, cells) or cells
        return
    below = places(free, up)
    if len(below) < 2:
        return
    grid = [up.start - up.step, *(tick.y for tick in up.ticks), up.end + up.step]
    plot = Plot(ungridded(clean, grid, back), back, up, below, not _RED.search(" ".join(table.texts)))
    if entries:
        table.how, table.cells = series.several(plot, entries)
    else:
        kind, values = columns.single(plot)
        table.how, table.cells = kind, {("", name): value for name, value in values.items()}
    if len(ups) > 1 and table.how != "stack":
        for key, value in table.cells.items():
            if _RIGHT.search(key[0]):
                table.cells[key] = ups[-1].at(up.place(value))
    _replaced(table, plot, [text for text in inside if text not in names], entries)


def _replaced(table: Table, plot: Plot, numbers: Sequence[Text], entries: Sequence[Entry]) -> None:
    """Put the numbers printed in a plot in the place of measured ones, if most have one; the rest are rounded like
    them."""
    told: dict[Key, float] = {}
    digits = 0
    for text in numbers:
        place = min(plot.places, key=lambda one: abs(one.x - text.x))
        value = number(text.text)
        if value is None or abs(place.x - text.x) > 0.5 * plot.pitch:
            continue
        digits = max(digits, len(text.text.partition(".")[2].rstrip("% ")))
        if not entries:
            told["", place.text] = value
            continue
        rim = plot.pixels[round(text.y), min(round(text.x), plot.pixels.shape[1] - 1)]
        away = [float(apart(entry.colour, rim)) for entry in entries]
        if min(away) < APART:
            told[entries[away.index(min(away))].name, place.text] = value
    if told and 2 * len(told) >= len(table.cells):
        table.how, table.slack = f"{table.how}, printed", 0.0
        table.cells = {key: told.get(key, round(value, digits)) for key, value in (table.cells | told).items()}


def _within(text: Text, ups: Sequence[Axis], width: int) -> bool:
    """Whether a text stands on the plot's side of the scales."""
    for axis in ups:
        left, right = min(tick.left for tick in axis.ticks), max(tick.right for tick in axis.ticks)
        if text.x < right if (left + right) / 2 < width / 2 else text.x > left:
            return False
    return True


def _between(text: Text, up: Axis, across: Axis | None) -> bool:
    """Whether a text stands as far up and down as the ticks go; with a scale below, as far as it."""
    top, bottom = up.start - 12, up.end + 4
    if across:
        top, bottom = top - up.step, min(tick.top for tick in across.ticks)
    return top < text.y < bottom


def _laid(text: Text, width: int) -> Text:
    """Where a text is in the picture turned so that its left side is below."""
    return Text(text.text, text.top, width - text.right, text.bottom, width - text.left, text.sure, text.places)


def _headed(texts: Sequence[Text]) -> tuple[str, str, list[Text]]:
    """Title, unit, and the other texts: the title is the first of the uppermost ones, the unit says that it is one."""
    title = unit = ""
    rest = []
    for text in texts:
        if match := _UNIT.match(text.text):
            unit = match[1].strip()
        elif not title and number(text.text) is None and text.width > 4 * text.height:
            title = text.text
        else:
            rest.append(text)
    return title, unit, rest
