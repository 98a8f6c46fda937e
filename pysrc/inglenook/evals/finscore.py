"""FinScore (2505.24714), as its paper says and as its script computes: the two differ.

    paper   S = c/n − i/s, not below 0, for items of several answers (c right picks, i wrong picks, s picks; n is "the
            total number of options", or of right ones), 1 or 0 for others; F is the mean over domains of their means;
            FinScore = F (1 − mean of i/s over all items)  (eqs 1 to 4)
    repo    an item is right or wrong as a whole; F as above; FinScore = F (1 − share of wrong ones among
            multiple_choice items whose answer has more than one character)  (eval.py at bc37fdf)

The published scores are those of `repo`: the penalty they imply is larger than any share of wrong picks could be. Under
it guessing beats abstaining, so coverage and abstention are told with every score.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

from inglenook.errors import NookError
from inglenook.evals.items import Item
from inglenook.types import Json

LETTERS = "ABCDEFGHIJKLMN"
_FIRST = re.compile(r"(?i)Answer\s*:\s*([^\s\n]+)")
_LINE = re.compile(r"(?i)Answer\s*:\s*([^\n]*)")
_NOISE = ("**", ":", "$\\boxed{", "}$", "\\$", "$", "{", "\\boxed")
_REFUSED = re.compile(
    r"^(?:n/?a|none|unknown|(?:i )?(?:can(?:no|')t|cannot|do not|don't|am unable)\b.*)?[.\s]*$", re.IGNORECASE
)
Mode = Literal["repo", "paper"]
Count = Literal["options", "gold"]


@dataclass(frozen=True, slots=True)
class Mark:
    """How one item was answered. `answered` is whether anything was, right or wrong; `picks` and `gold` are letters of
    choices; `strict` is whether it is right by the strict reading."""

    kind: str
    domain: str | None
    right: bool
    answered: bool = True
    picks: frozenset[str] = frozenset()
    gold: frozenset[str] = frozenset()
    options: int = 0
    several: bool = False  # the answer's text has more than one character
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """`score` is `fscore` (F) less `penalty`, its share. `coverage` is the share of items that were answered. All are 0
    to 1."""

    mode: Mode
    score: float
    fscore: float
    penalty: float
    accuracy: float
    coverage: float
    abstained: int
    items: int
    strict_accuracy: float
    domains: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, float] = field(default_factory=dict)

    def told(self) -> Json:
        return asdict(self)


def extracted(reply: str) -> str:
    """What the official script takes for the answer: what stands after "Answer:", up to the first space."""
    match = _FIRST.search(reply)
    found = match[1] if match else ""
    for noise in _NOISE:
        found = found.replace(noise, "")
    return found


def strictly(kind: str, reply: str) -> str:
    """The answer of the last "Answer:", all of its line; without one, a reply that is nothing but an answer."""
    found = _LINE.findall(reply.replace("**", ""))
    text = (found[-1] if found else reply if len(reply.split()) <= 3 else "").strip()
    for noise in _NOISE:
        text = text.replace(noise, "")
    text = text.replace("}", "").strip(" .")
    if kind == "numerical":
        number = re.search(r"[-−]?\s*\d[\d,]*(?:\.\d+)?", text)
        return number[0].replace(",", "").replace("−", "-").replace(" ", "") if number else ""
    return "".join(sorted(set(re.findall(r"(?<![A-Za-z])([A-N])(?![A-Za-z])", text)))) or (
        "".join(sorted(set(text))) if re.fullmatch(f"[{LETTERS}]+", text) else ""
    )


def right(item: Item, answer: str, strict: bool = False) -> bool:
    """Whether an answer is the item's, as the official script says: a number within the tolerance, or the same set of
    letters. A number without a tolerance is never right there; strictly it has a tolerance of 0."""
    if item.kind != "numerical":
        return _letters(answer) == _letters(item.answer)
    if item.tolerance is None and not strict:
        return False
    try:
        return abs(_number(answer) - _number(item.answer)) <= (item.tolerance or 0.0)
    except ValueError:
        return False


def mark(item: Item, reply: str) -> Mark:
    """How a reply answers an item."""
    answer, strict = extracted(reply), strictly(item.kind, reply)
    answered = not _REFUSED.match(answer or strict)
    picks = _letters(answer) if answered and item.kind != "numerical" else frozenset()
    gold = frozenset() if item.kind == "numerical" else _letters(item.answer)
    return Mark(
        item.kind, item.domain, right(item, answer), answered, picks, gold,
        max(len(item.choices), len(gold)), len(item.answer) > 1, right(item, strict, strict=True),
    )  # fmt: skip


def finscore(marks: Iterable[Mark], mode: Mode = "repo", n: Count = "options") -> Score:
    """The score of a whole run. Raises NookError("no-items"); without any domain, all items are of one."""
    every = list(marks)
    if not every:
        raise NookError("no-items", "There is nothing to score.", "Answer at least one item.")
    named = any(one.domain is not None for one in every)
    domains: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, list[float]] = defaultdict(list)
    for one in every:
        credit = float(one.right) if mode == "repo" else earned(one, n)
        if one.domain is not None or not named:
            domains[one.domain or "all"].append(credit)
        kinds[one.kind].append(float(one.right))
    means = {domain: _mean(credits_) for domain, credits_ in sorted(domains.items())}
    several = [one for one in every if one.kind == "multiple_choice" and one.several]
    penalty = _mean([float(not one.right) for one in several] if mode == "repo" else [wrong(one) for one in every])
    fscore = _mean(list(means.values()))
    answered = sum(one.answered for one in every)
    return Score(
        mode, fscore * (1 - penalty), fscore, penalty, _mean([float(one.right) for one in every]),
        answered / len(every), len(every) - answered, len(every), _mean([float(one.strict) for one in every]),
        means, {kind: _mean(found) for kind, found in sorted(kinds.items())},
    )  # fmt: skip


def earned(one: Mark, n: Count = "options") -> float:
    """S of equation 1; of an item with one answer, whether it is right."""
    if one.kind != "multiple_choice" or not one.picks:
        return float(one.right)
    whole = one.options if n == "options" else len(one.gold)
    return max(0.0, len(one.picks & one.gold) / whole - wrong(one)) if whole else 0.0


def wrong(one: Mark) -> float:
    """i/s of equation 3: the share of wrong ones among the picks; nothing picked is nothing wrong."""
    if not one.answered:
        return 0.0
    if one.kind != "multiple_choice" or not one.picks:
        return float(not one.right)
    return len(one.picks - one.gold) / len(one.picks)


def _letters(text: str) -> frozenset[str]:
    return frozenset(letter for letter in text.upper() if letter in LETTERS)


def _number(text: str) -> float:
    return float("".join(letter for letter in text if letter.isdigit() or letter in ".-"))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
