"""What a question asks for, as an operation on named numbers. The grammar is of words that ask, not of whole sentences.

    Question(kind="difference", names=("2019", "2021"), …)    how much higher is 2021 than 2019
    Question(kind="extreme", top=True)                        which is the highest

Names are found by looking for the table's own in the text, so a question may be worded in any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inglenook.evals.charts.reader.table import Table
from inglenook.evals.charts.reader.words import mentioned, number

Kind = Literal[
    "value", "extreme", "threshold", "difference", "growth", "ratio", "sum", "mean", "count", "share", "trend",
    "rank", "range", "statement",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """`names` are the table's that stand in it, in their order there; `top` is whether large is meant, `limit` a number
    to compare with, `place` a rank (1 is first)."""

    kind: Kind
    names: tuple[str, ...] = ()
    top: bool = True
    limit: float | None = None
    place: int = 1


_HIGH = r"\b(?:highest|largest|greatest|biggest|most|maximum|max|peak(?:ed)?|top|leads?|best|strongest|longest)\b"
_LOW = r"\b(?:lowest|smallest|least|fewest|minimum|min|trough|bottom|worst|weakest|shortest)\b"
_MORE = r"\b(?:more|higher|greater|larger|above|over|exceed(?:s|ed|ing)?|at least)\b"
_LESS = r"\b(?:less|lower|fewer|smaller|below|under|at most)\b"
_LIMIT = re.compile(
    rf"(?:{_MORE}|{_LESS})(?:\s+(?:than|or equal to))?\s*([-−]?[$€£¥]?\s*\d[\d,]*(?:\.\d+)?)", re.IGNORECASE
)
_RANKS = {"second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "fifth": 5, "5th": 5}
_COMPARED = "higher|lower|more|less|larger|smaller|greater|fewer"
_WORDS: tuple[tuple[Kind, str], ...] = (
    ("growth", r"growth|grow|grew|grown|rate of (?:change|increase)|cagr|by what percent\w*"),
    ("growth", r"percent(?:age)? (?:change|increase|decrease)"),
    ("ratio", rf"ratio|how many times|times (?:as|{_COMPARED})"),
    ("share", r"what (?:share|percentage|proportion|part) of (?:the )?(?:total|whole|sum|all)"),
    ("mean", r"average|mean"),
    ("difference", rf"difference|gap|spread between|how (?:much|many)\b.*\b(?:{_COMPARED})|differ|exceed|change from"),
    ("sum", r"sum|total of|together|combined|in total|altogether|add(?:ed)? up|come to"),
    ("count", r"how many(?!.*\btimes\b)"),
    ("range", r"range"),
    ("trend", r"trend|over the period|rising|falling|upward|downward"),
)


def parsed(text: str, table: Table, choice: bool) -> Question:
    """The question. `choice` is whether options are given: then it may ask which of them fits."""
    # What the quantity is called, in brackets, names no place of the chart unless nothing outside does.
    said, low = _outside(text), text.casefold()
    names = tuple(mentioned(said, _names(table)))
    match = _LIMIT.search(said)
    limit = number(match[1]) if match else None
    top = not re.search(_LOW, low)
    if choice and limit is not None:
        return Question("threshold", names, not re.search(_LESS, said.casefold()), limit)
    rank = next((place for word, place in _RANKS.items() if re.search(rf"\b{word}\b", low)), 1)
    extreme = re.search(_HIGH, low) or re.search(_LOW, low)
    if choice and (extreme or rank > 1):
        return Question("extreme", names, top, place=rank)
    for kind, pattern in _WORDS:
        if re.search(rf"\b(?:{pattern})\b", said, re.IGNORECASE) and not (
            names and kind in ("range", "trend", "count")
        ):
            return Question(kind, names, top if kind != "count" else not re.search(_LESS, low), limit)
    if choice and re.search(r"\b(?:statements?|true|correct|right|following)\b", low):
        return Question("statement", names)
    if extreme and not names:
        return Question("rank", names, top, place=rank)
    return Question("value", names)


def _names(table: Table) -> Sequence[str]:
    return list(dict.fromkeys([*(row for row in table.series if row), *table.categories]))


def _outside(text: str) -> str:
    return re.sub(r"\([^()]*\)", " ", text)
