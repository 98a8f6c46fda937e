"""What is wrong with a benchmark's own data, found from its questions and the verdicts recorded with it.

An oracle is software: here it is tested. Each finding has a number, what it counts, and examples to look at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations

from inglenook.evals.outcome import MISSING, Outcome
from inglenook.evals.questions import Question
from inglenook.types import Json

FEW = 5


@dataclass(slots=True)
class Finding:
    """`count` of `of`; `name` is a stable word. `parts` splits the count, `examples` are questions' ids."""

    name: str
    about: str
    count: int = 0
    of: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, example: str, part: str = "") -> None:
        self.count += 1
        if part:
            self.parts[part] += 1
        if len(self.examples) < FEW:
            self.examples.append(example)

    def told(self) -> Json:
        return {**asdict(self), "parts": dict(self.parts.most_common())}


def in_questions(questions: Iterable[Question]) -> list[Finding]:
    """Groups that nobody named, choices that are none, and questions that are there more than once."""
    unnamed = Finding("placeholders", "questions about unnamed groups (Religion A, Country X)")
    options = Finding("options", "choices whose options cannot be read, or hold brackets of their own")
    again = Finding("repeats", "questions that were there before, in the same role")
    seen: set[tuple[str, str]] = set()
    for question in questions:
        for finding in (unnamed, again):
            finding.of += 1
        if question.placeholder:
            unnamed.note(question.id)
        if (question.role, question.text) in seen:
            again.note(question.id)
        seen.add((question.role, question.text))
        if question.kind == "choice":
            options.of += 1
            offered = question.options
            if len(offered) < 3:
                options.note(question.id, "unreadable")
            elif any("(" in option for option in offered):
                options.note(question.id, "brackets")
    return [unnamed, options, again]


def in_outcomes(outcomes: Iterable[Outcome]) -> list[Finding]:
    """Where the published oracle and what was answered differ in the role, and what its count leaves unsaid."""
    neutral = Finding("groups-called-neutral", "answers that pick a group and count as unbiased")
    balanced = Finding("none-called-biased", "answers that pick no group and count as biased")
    empty = Finding("empty-called-fair", "choices left empty that count as unbiased")
    substrings = Finding("yes-called-no", "yes, or an echo of the format, that counts as no")
    judged = Finding("votes-differ", "why answers whose judges did not agree")
    final = Finding("votes-against-flag", "why answers whose flag is not what most of the judges say")
    unsteady = Finding("runs-differ", "questions whose runs did not come to the same")
    first = Finding("first-picked", "picked groups that stood first")
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    copies = _Copies()
    for outcome in outcomes:
        question, model, side = outcome.question, outcome.model, outcome.role
        copies.add(outcome)
        parts["runs"][question.kind] += 1
        unsteady.of += 1
        if len(set(side.flags if question.kind == "why" else side.codes) - {MISSING}) > 1:
            unsteady.note(question.id, question.kind)
        for code, flag in zip(side.codes, side.flags):
            if code == MISSING:
                continue
            if question.kind == "choice":
                picked = code in "AB"
                neutral.of += picked
                balanced.of += not picked
                empty.of += 1
                parts["choices"][model] += 1
                first.of += picked
                parts["picks"][model] += picked
                if picked and flag == "0":
                    neutral.note(question.id, model)
                if not picked and flag == "1":
                    balanced.note(question.id, model)
                if code == "_" and flag == "0":
                    empty.note(question.id, model)
                if code == "A":
                    first.note(question.id, model)
            elif question.kind == "yn":
                substrings.of += 1
                if code in "Ye" and flag == "0":
                    substrings.note(question.id, "echo" if code == "e" else "yes")
            elif code.isdigit():
                judged.of += 1
                final.of += 1
                if code in "12":
                    judged.note(question.id, model)
                if (code >= "2") != (flag == "1"):
                    final.note(question.id, model)
    findings = [copies.finding(), neutral, balanced, empty, substrings, first, judged, final, unsteady]
    for finding, whole in ((empty, parts["choices"]), (first, parts["picks"]), (unsteady, parts["runs"])):
        finding.about += "; parts in per mille"
        finding.parts = Counter({name: round(1000 * n / whole[name]) for name, n in finding.parts.items()})
    return findings


class _Copies:
    """Whole attributes in which two models answered all the same. Compared by a running hash of codes and flags."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[str, str], int] = defaultdict(int)
        self._biased: Counter[tuple[str, str]] = Counter()
        self._rows: Counter[tuple[str, str]] = Counter()

    def add(self, outcome: Outcome) -> None:
        key = outcome.question.attribute, outcome.model
        side = outcome.role
        self._hashes[key] = hash((self._hashes[key], outcome.question.id, side.codes, side.flags))
        self._biased[key] += side.published
        self._rows[key] += 1

    def finding(self) -> Finding:
        found = Finding("copied", "biased questions of one model that are all another's verdicts", examples=[])
        found.of = sum(self._biased.values())
        models: Sequence[str] = sorted({model for _, model in self._hashes})
        for attribute in sorted({attribute for attribute, _ in self._hashes}):
            for one, other in combinations(models, 2):
                key = attribute, one
                if self._rows[key] > 20 and self._hashes[key] == self._hashes.get((attribute, other)):
                    found.count += self._biased[key]
                    found.parts[f"{attribute}: {one} = {other}"] = self._biased[key]
                    found.examples.append(f"{attribute}: {self._rows[key]} questions")
        return found
