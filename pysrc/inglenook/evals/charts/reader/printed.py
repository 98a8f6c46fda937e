"""Numbers that stand in the picture: tables and heat maps, and numbers beside, below or within what they belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.table import Key
from inglenook.evals.charts.reader.words import number

ENOUGH = 0.7  # of the numbers have a name by a rule, or it is not the rule
_SHARE = re.compile(r"(.*?[^\W\d].*?)\s*[:：(（]?\s*([-+−]?\d[\d,]*(?:\.\d+)?)\s*[%％]\s*[)）]?")


def shares(texts: Sequence[Text]) -> dict[Key, float]:
    """Texts that are a name and a percentage, as beside the sectors of a pie."""
    found: dict[Key, float] = {}
    for text in texts:
        if match := _SHARE.fullmatch(text.text.strip()):
            value = number(match[2])
            if value is not None:
                found["", match[1].strip()] = value
    return found if len(found) >= 3 else {}


def grid(texts: Sequence[Text]) -> dict[Key, float]:
    """A table: at least two rows and two columns of numbers, names to the left of the rows, heads over the columns."""
    rows = _rows(texts)
    numbers = [[text for text in row if number(text.text) is not None] for row in rows]
    body = [at for at, row in enumerate(rows) if len(numbers[at]) >= 2 and number(row[0].text) is None]
    if len(body) < 2:
        return {}
    columns = _columns([text for at in body for text in numbers[at]])
    if len(columns) < 2 or sum(len(numbers[at]) for at in body) < ENOUGH * len(columns) * len(body):
        return {}
    heads = _heads(rows[: body[0]], columns)
    found: dict[Key, float] = {}
    for at in body:
        for text in numbers[at]:
            column = min(range(len(columns)), key=lambda n: abs(columns[n] - text.x))
            value = number(text.text)
            if heads[column] and value is not None:
                found[rows[at][0].text, heads[column]] = value
    return found


def beneath(texts: Sequence[Text]) -> dict[Key, float]:
    """Each number under a name of its own, as on the tiles and bubbles of a map: of the names above it the nearest."""
    numbers = [(text, value) for text in texts if (value := number(text.text)) is not None]
    names = [text for text in texts if number(text.text) is None]
    found: dict[Key, float] = {}
    for text, value in numbers:
        above = [
            name
            for name in names
            if 0.4 * text.height < text.y - name.y < 4 * text.height
            and abs(name.x - text.x) < 0.3 * max(name.width, text.width) + 2
        ]
        if above:
            found["", max(above, key=lambda name: name.y).text] = value
    return found if len(found) >= max(3, ENOUGH * len(numbers)) else {}


def beside(texts: Sequence[Text]) -> dict[Key, float]:
    """One number to the right of one name, row by row, as of lying bars and funnels."""
    found: dict[Key, float] = {}
    numbers = 0
    for row in _rows(texts):
        values = [value for text in row if (value := number(text.text)) is not None]
        names = [text for text in row if number(text.text) is None]
        numbers += len(values)
        if len(values) == 1 and len(names) == 1 and number(row[0].text) is None:
            found["", names[0].text] = values[0]
    return found if len(found) >= max(3, ENOUGH * numbers) else {}


def _rows(texts: Sequence[Text]) -> list[list[Text]]:
    """Texts at one height together, each row from the left, rows from the top."""
    rows: list[list[Text]] = []
    for text in sorted(texts, key=lambda one: one.y):
        if rows and abs(text.y - sum(one.y for one in rows[-1]) / len(rows[-1])) < 0.45 * text.height:
            rows[-1].append(text)
        else:
            rows.append([text])
    return [sorted(row, key=lambda one: one.left) for row in rows]


def _columns(numbers: Sequence[Text]) -> list[float]:
    """The middles of columns: numbers that overlap across."""
    columns: list[list[Text]] = []
    for text in sorted(numbers, key=lambda one: one.x):
        if columns and text.left < max(one.x for one in columns[-1]):
            columns[-1].append(text)
        else:
            columns.append([text])
    return [sum(one.x for one in column) / len(column) for column in columns]


def _heads(rows: Sequence[Sequence[Text]], columns: Sequence[float]) -> list[str]:
    """What stands over each column, the lowest row that has a head for most of them."""
    pitch = min(b - a for a, b in pairwise(columns))
    for row in reversed(rows):
        heads = [min(row, key=lambda text: abs(text.x - at)) for at in columns]
        told = [text.text if abs(text.x - at) < 0.5 * pitch else "" for text, at in zip(heads, columns)]
        if sum(map(bool, told)) >= ENOUGH * len(columns) and len(set(told)) > len(columns) / 2:
            return told
    return [f"column {at + 1}" for at in range(len(columns))]
