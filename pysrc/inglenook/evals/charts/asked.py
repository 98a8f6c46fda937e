"""Questions about a chart, of FinMME's three types and three cognitive levels, with answers computed from its data.

Only what the picture decides is asked: where two numbers are nearer than a reader could tell, another question is
taken. Right options stand at every place equally often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from inglenook.evals.charts.plot import Facts, number, shown

LEVELS = ("Fine-grained Perception", "Comprehensive Understanding", "Analysis and Reasoning")
READ, WHOLE, REASON = LEVELS


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: `options` are lines "A: …", "" for numbers; `tolerance` is absolute."""

    level: str
    kind: str
    text: str
    answer: str
    options: str = ""
    unit: str = ""
    tolerance: float = 0.0


def questions(chance: Random, facts: Facts) -> Iterator[Asked]:
    """All that can be asked, in a fixed order: reading, the whole, and reasoning, each as number or choice."""
    label = chance.choice(list(facts.values))
    yield _read(facts, label)
    for top in (True, False):
        if asked := _extreme(chance, facts, top):
            yield asked
    if asked := _above(chance, facts):
        yield asked
    if asked := _difference(chance, facts):
        yield asked
    if asked := _compared(chance, facts):
        yield asked
    if facts.adds:
        yield _sum(chance, facts)


def _read(facts: Facts, label: str) -> Asked:
    text = f"What value does the chart show for the {facts.noun} {label} ({facts.quantity})?"
    return Asked(READ, "numerical", text, _plain(facts.values[label]), "", facts.unit, _round(facts.tolerance))


def _extreme(chance: Random, facts: Facts, top: bool) -> Asked | None:
    ranked = sorted(facts.values, key=lambda label: facts.values[label], reverse=top)
    if abs(facts.values[ranked[0]] - facts.values[ranked[1]]) <= facts.tolerance:
        return None
    word = "highest" if top else "lowest"
    text = f"Which {facts.noun} has the {word} value ({facts.quantity})?"
    return _single(chance, WHOLE, text, ranked[0], ranked[1:])


def _above(chance: Random, facts: Facts) -> Asked | None:
    """Which of several lie above a number with room on both sides."""
    labels = chance.sample(list(facts.values), min(5, len(facts.values)))
    ranked = sorted((facts.values[label] for label in labels), reverse=True)
    gaps = [n for n in range(1, len(ranked) - 1) if ranked[n] - ranked[n + 1] > 2 * facts.tolerance]
    if not gaps:
        return None
    cut = chance.choice(gaps)
    limit = shown((ranked[cut] + ranked[cut + 1]) / 2)
    if not ranked[cut + 1] + facts.tolerance < limit < ranked[cut] - facts.tolerance:
        return None
    right = [label for label in labels if facts.values[label] > limit]
    unit = f" {facts.unit}" if facts.unit else ""
    text = f"Which of these have more than {number(limit)}{unit} ({facts.quantity})? Choose all."
    letters = "".join(chr(65 + at) for at, label in enumerate(labels) if label in right)
    return Asked(WHOLE, "multiple_choice", text, letters, _lines(labels))


def _difference(chance: Random, facts: Facts) -> Asked | None:
    one, other = chance.sample(list(facts.values), 2)
    if facts.ordered and list(facts.values).index(one) < list(facts.values).index(other):
        one, other = other, one
    gap = facts.values[one] - facts.values[other]
    if abs(gap) <= 2 * facts.tolerance:
        return None
    text = f"How much higher is the value for {one} than for {other} ({facts.quantity}; negative if it is lower)?"
    return Asked(REASON, "numerical", text, _plain(gap), "", facts.unit, _round(2 * facts.tolerance))


def _compared(chance: Random, facts: Facts) -> Asked | None:
    """Which statement is right: one true one among false ones, all of two labels."""
    true: list[str] = []
    false: list[str] = []
    labels = list(facts.values)
    for _ in range(40):
        one, other = chance.sample(labels, 2)
        gap = facts.values[one] - facts.values[other]
        if abs(gap) > 2 * facts.tolerance:
            (true if gap > 0 else false).append(f"{one} is above {other}")
    true, false = list(dict.fromkeys(true)), list(dict.fromkeys(false))
    if not true or len(false) < 3:
        return None
    text = f"Which statement is right ({facts.quantity})?"
    return _single(chance, REASON, text, true[0], false[:3])


def _sum(chance: Random, facts: Facts) -> Asked:
    labels = chance.sample(list(facts.values), 2)
    total = sum(facts.values[label] for label in labels)
    text = f"How much do {labels[0]} and {labels[1]} come to together ({facts.quantity})?"
    return Asked(REASON, "numerical", text, _plain(total), "", facts.unit, _round(2 * facts.tolerance))


def _single(chance: Random, level: str, text: str, right: str, wrong: list[str]) -> Asked:
    options = chance.sample(wrong, min(3, len(wrong)))
    place = chance.randint(0, len(options))
    options.insert(place, right)
    return Asked(level, "single_choice", text, chr(65 + place), _lines(options))


def _lines(options: list[str]) -> str:
    return "\n".join(f"{chr(65 + at)}: {option}" for at, option in enumerate(options))


def _plain(value: float) -> str:
    return f"{round(value, 2):g}" if abs(value) < 1e5 else f"{value:.0f}"


def _round(value: float) -> float:
    return round(value, 3)
