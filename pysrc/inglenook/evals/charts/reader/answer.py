"""Answers computed from a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import fmean

from inglenook.evals.charts.reader.question import parsed
from inglenook.evals.charts.reader.table import Table
from inglenook.evals.charts.reader.words import alike, best, mentioned, number, plain, spelt

Numbers = dict[str, float]


def numerical(text: str, table: Table) -> float | None:
    """The number asked for, or None where the table does not tell."""
    asked = parsed(text, table, choice=False)
    numbers = column(text, table)
    found = [numbers[name] for name in asked.names if name in numbers]
    if not numbers:
        return None
    match asked.kind:
        case "value":
            return found[0] if found else None
        case "difference" | "growth" | "ratio" if len(found) == 2:
            one, other = _ordered(text, found)
            if asked.kind == "difference":
                return one - other
            return None if not other else (one / other if asked.kind == "ratio" else 100 * (one / other - 1))
        case "sum":
            return sum(found or numbers.values())
        case "mean":
            return fmean(found or numbers.values())
        case "share" if found:
            return 100 * found[0] / sum(numbers.values())
        case "count":
            limit = asked.limit
            return float(len(numbers) if limit is None else sum(_beyond(v, limit, asked.top) for v in numbers.values()))
        case "range":
            return max(numbers.values()) - min(numbers.values())
        case "rank":
            ranked = sorted(numbers.values(), reverse=asked.top)
            return ranked[asked.place - 1] if asked.place <= len(ranked) else None
    return found[0] if len(found) == 1 else None


def chosen(text: str, options: Sequence[str], table: Table, several: bool) -> list[int]:
    """The places of the options that fit, none where the table does not tell."""
    asked = parsed(text, table, choice=True)
    numbers = column(text, table)
    values = [_option(option, numbers) for option in options]
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if asked.kind == "threshold" and asked.limit is not None and len(known) >= len(options) - 1 > 0:
        return [at for at, value in known if _beyond(value, asked.limit, asked.top)]
    if asked.kind == "extreme" and len(known) >= len(options) - 1 > 0:
        ranked = sorted(known, key=lambda pair: pair[1], reverse=asked.top)
        return [ranked[asked.place - 1][0]] if asked.place <= len(ranked) else []
    if asked.kind not in ("statement", "threshold", "extreme") and not known and (told := _said(text, options, table)):
        return told
    scores = [_truth(option, table, numbers) for option in options]
    if several:
        return [at for at, score in enumerate(scores) if score is not None and score > 0]
    judged = [(score, -at) for at, score in enumerate(scores) if score is not None]
    return [-max(judged)[1]] if judged and max(judged)[0] > 0 else []


def column(text: str, table: Table) -> Numbers:
    """The numbers that a question is about, by name: those of the only series, or of the category or series that it
    names beside what it compares (in brackets, after "in", "for" or "with"); else the last category's."""
    series = table.series
    if len(series) <= 1:
        return table.row(series[0]) if series else {}
    across, down = table.categories, [row for row in series if row]
    if set(down) == {"x", "y"}:
        return table.row("y")
    scopes = re.findall(r"\(([^()]*)\)", text)
    named = [name for scope in scopes for name in mentioned(scope, across)]
    if named:
        return table.column(named[-1])
    named = [name for scope in scopes for name in mentioned(scope, down)]
    if named:
        return {name: value for name, value in table.row(named[-1]).items() if alike(name, named[-1]) < 1}
    outside = re.sub(r"\([^()]*\)", " ", text)
    rows, columns = mentioned(outside, down), mentioned(outside, across)
    if len(columns) == 1:
        return table.column(columns[0])
    if columns:
        return table.row(rows[0] if len(rows) == 1 else down[0])
    return table.column(across[-1])


def _ordered(text: str, found: list[float]) -> tuple[float, float]:
    """Of two numbers in the text's order, which is taken from which: "from A to B" means B less A, "than" A less B."""
    one, other = found
    backward = re.search(r"\bfrom\b.*\bto\b", text, re.IGNORECASE) and not re.search(r"\bthan\b", text, re.IGNORECASE)
    one, other = (other, one) if backward else (one, other)
    asked = text.casefold()
    lower = re.search(r"how (?:much|many)\s+(?:\w+\s+)?(?:lower|less|fewer|smaller)\b", asked)
    return (other, one) if lower else (one, other)


def _beyond(value: float, limit: float, top: bool) -> bool:
    return value > limit if top else value < limit


def _option(option: str, numbers: Numbers) -> float | None:
    """The number of an option that is a name."""
    name = best(option, numbers)
    return numbers[name] if name is not None else None


def _said(text: str, options: Sequence[str], table: Table) -> list[int]:
    """Options that are numbers: the one nearest to what the question asks for."""
    wanted = numerical(text, table)
    given = [number(option) for option in options]
    told = [(abs(value - wanted), at) for at, value in enumerate(given) if value is not None and wanted is not None]
    return [min(told)[1]] if told else []


_ABOVE = re.compile(r"above|higher|exceed|more|greater|larger|over|outperform|beat|highest|largest|most", re.IGNORECASE)
_BELOW = re.compile(r"below|lower|less|smaller|under|fewer|lowest|smallest|least", re.IGNORECASE)
_EQUAL = re.compile(r"equal|same as|as (?:much|high|large) as", re.IGNORECASE)
_RISE: tuple[tuple[re.Pattern[str], Callable[[float], bool]], ...] = (
    (re.compile(r"rose|risen|increas|grew|grow|upward|climb|gain", re.IGNORECASE), lambda change: change > 0),
    (re.compile(r"fell|fall|decreas|declin|drop|downward|shr[iau]nk|lost", re.IGNORECASE), lambda change: change < 0),
)  # fmt: skip


def _truth(statement: str, table: Table, numbers: Numbers) -> float | None:
    """How true a statement is: below 0 false, above true, the larger the clearer; None where it says nothing that the
    table knows."""
    names = mentioned(statement, list(numbers))
    limit = _number_in(statement, names)
    higher, lower = bool(_ABOVE.search(statement)), bool(_BELOW.search(statement))
    scale = max(map(abs, numbers.values()), default=1.0) or 1.0
    if len(names) == 2 and higher != lower:
        gap = (numbers[names[0]] - numbers[names[1]]) * (1 if higher else -1)
        return gap / scale if limit is None else 0.5 - abs(gap - limit) / scale
    if len(names) == 1 and limit is not None:
        gap = numbers[names[0]] - limit
        if higher != lower:
            return gap * (1 if higher else -1) / scale
        return (0.02 * scale + table.slack - abs(gap)) / scale
    if len(names) == 1 and higher != lower:
        others = [value for name, value in numbers.items() if name != names[0]]
        edge = max(others, default=0.0) if higher else min(others, default=0.0)
        return (numbers[names[0]] - edge) * (1 if higher else -1) / scale
    if len(names) == 2 and _EQUAL.search(statement):
        return (0.02 * scale + table.slack - abs(numbers[names[0]] - numbers[names[1]])) / scale
    ends = [numbers[name] for name in names] if len(names) == 2 else list(numbers.values())
    for words, fits in _RISE:
        if words.search(statement) and len(ends) > 1:
            change = ends[-1] - ends[0]
            return abs(change) / scale if fits(change) else -abs(change) / scale
    return None


def _number_in(statement: str, names: Sequence[str]) -> float | None:
    """The number in a statement that is not part of a name."""
    rest = statement
    for name in names:
        rest = spelt(name).sub(" ", rest)
    match = re.search(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?", rest)
    return number(match[0].rstrip(",")) if match and plain(match[0]) else None
