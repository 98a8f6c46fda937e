"""Do the tests notice when a prompt is broken? Small changes that should matter, each run against the suite.

| operator | what it does to a segment |
|---|---|
| `drop` | leaves it out |
| `negate` | turns its first instruction round |
| `weaken` | must becomes may, always becomes sometimes, exactly becomes about |
| `number` | changes a number |
| `relabel` | gives an example the answer of another one |
| `swap` | exchanges two examples |
| `format` | asks for another form than the one named |
| `move` | puts it last |
| `distract` | adds an instruction beside the point |
| `recast` | gives the persona another job |

A mutant is *killed* if a case does worse than under the prompt itself, side by side with the same seeds; *equivalent?*
if every answer was the same to the letter; else it *survived*, and names a test that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from inglenook.evals.calls import Work
from inglenook.prompt.ast import Prompt, Segment
from inglenook.prompt.case import Case
from inglenook.prompt.oracle import Judges
from inglenook.prompt.sequential import Paired
from inglenook.prompt.suite import NO_JUDGES, checked, steady, trials

Fate: TypeAlias = Literal["killed", "survived", "equivalent?"]
MOST = 30  # pairs of runs of a case and a mutant

_NEGATIONS = (
    (r"\b[Dd]o not\b|\b[Dd]on't\b|\b[Nn]ever\b", "Always"), (r"\b[Aa]lways\b", "Never"),
    (r"\bmust not\b", "must"), (r"\bmust\b", "must not"), (r"\b[Oo]nly\b", "anything but"),
    (r"\bexactly\b", "anything but"), (r"\bwithout\b", "with"),
    (r"\bshould\b", "should not"), (r"\bis\b", "is not"), (r"\bare\b", "are not"),
)  # fmt: skip
_WEAKER = {
    "must": "may", "always": "sometimes", "never": "rarely", "only": "mostly", "exactly": "about", "all": "some",
    "every": "some", "required": "welcome", "do not": "try not to", "at most": "about", "at least": "about",
}  # fmt: skip
_FORMS = (
    ("JSON", "plain sentences"), ("json", "plain sentences"), ("bullet", "numbered"), ("list", "paragraph"),
    ("one word", "a few words"), ("one sentence", "a paragraph"), ("English", "French"), ("table", "list"),
)  # fmt: skip
_INSTRUCTIVE = ("task", "constraint", "format", "guard")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed prompt: by which operator, in which segment."""

    prompt: Prompt
    operator: str
    segment: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant, the case that killed it ("": none), and how many pairs were run."""

    mutant: Mutant
    fate: Fate
    case: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Mutation:
    """All outcomes. `score` is killed / (all - equivalent?), None if there is none to kill."""

    outcomes: tuple[Outcome, ...]

    @property
    def score(self) -> float | None:
        able = [one for one in self.outcomes if one.fate != "equivalent?"]
        return sum(one.fate == "killed" for one in able) / len(able) if able else None


def mutants(prompt: Prompt) -> Iterator[Mutant]:
    """Every mutant of every segment but the input, in the order of the prompt. No two are the same."""
    seen = {prompt.digest}
    for segment in prompt.segments:
        if segment.kind == "input":
            continue
        for operator, changed in _changed(prompt, segment):
            if changed.segments and changed.digest not in seen:
                seen.add(changed.digest)
                yield Mutant(changed, operator, segment.name)


def _changed(prompt: Prompt, segment: Segment) -> Iterator[tuple[str, Prompt]]:
    def says(text: str) -> Prompt:
        return prompt.put(replace(segment, text=text))

    if segment.slots == ():
        yield "drop", prompt.without([segment.name])
    for pattern, other in _NEGATIONS:
        found = re.search(pattern, segment.text)
        if found and segment.kind in _INSTRUCTIVE:
            yield "negate", says(segment.text[: found.start()] + other + segment.text[found.end() :])
            break
    else:
        if segment.kind in ("constraint", "format", "guard"):
            yield "negate", says(f"Do the opposite of this: {segment.text}")
    for strong, weak in _WEAKER.items():
        softer = re.sub(rf"\b{strong}\b", weak, segment.text, flags=re.IGNORECASE)
        if softer != segment.text and segment.kind in _INSTRUCTIVE:
            yield "weaken", says(softer)
            break
    if segment.kind != "example" and (number := re.search(r"\b\d+\b", segment.text)):
        other = str(int(number[0]) + (1 if int(number[0]) < 5 else int(number[0])))
        yield "number", says(segment.text[: number.start()] + other + segment.text[number.end() :])
    for form, other in _FORMS:
        if segment.kind in _INSTRUCTIVE and form in segment.text:
            yield "format", says(segment.text.replace(form, other))
            break
    if segment.kind == "example":
        yield from _examples(prompt, segment)
    if segment.kind == "persona":
        yield "recast", says("You are a pirate who tells stories.")
    if segment.kind in _INSTRUCTIVE:
        rest = [one for one in prompt.segments if one.name != segment.name]
        yield "move", replace(prompt, segments=(*rest, segment))
        yield "distract", says(f"{segment.text} Also say what the weather is like.")


def _examples(prompt: Prompt, segment: Segment) -> Iterator[tuple[str, Prompt]]:
    """With the next example: their places, or the answer alone (what follows the last colon)."""
    examples = [one for one in prompt.segments if one.kind == "example" and one.role == segment.role]
    other = next((one for one in examples[examples.index(segment) + 1 :]), None)
    if other is None:
        return
    yield "swap", prompt.put(replace(segment, text=other.text)).put(replace(other, text=segment.text))
    (start, mark, end), (_, _, answer) = segment.text.rpartition(":"), other.text.rpartition(":")
    if mark and answer and answer != end:
        yield "relabel", prompt.put(replace(segment, text=f"{start}:{answer}"))


def run(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    alpha: float = 0.05, most: int = MOST, seed: int = 0, chosen: Sequence[Mutant] | None = None,
    told: Callable[[Mutation, int], None] | None = None,
) -> Work[Mutation]:  # fmt: skip
    """Run mutants (all, or those `chosen`) beside the prompt. A mutant that is none is killed with probability `alpha`
    at most: each case is tested with its share of it. Where seeds change nothing, one pair of runs decides. `told`
    hears after each how all stand that ran, and how many there are."""
    checked(prompt, cases, judges)
    some = list(mutants(prompt)) if chosen is None else chosen
    share, outcomes = alpha / len(cases), list[Outcome]()
    for one in some:
        outcomes += [(yield from _run(prompt, one, cases, target, judges, alpha=share, most=most, seed=seed))]
        if told:
            told(Mutation(tuple(outcomes)), len(some))
    return Mutation(tuple(outcomes))


def _run(
    prompt: Prompt, mutant: Mutant, cases: Sequence[Case], target: str, judges: Judges, *,
    alpha: float, most: int, seed: int,
) -> Work[Outcome]:  # fmt: skip
    sure = steady(prompt)
    gates = {case.name: Paired(0.5, alpha, most=1 if sure else most, wholly=True) for case in cases}
    same, pairs = True, 0
    for turn in range(1 if sure else most):
        open_cases = [case for case in cases if gates[case.name].open]
        both = [(case, seed + turn) for case in open_cases]
        old = yield from trials(prompt, both, target, judges)
        new = yield from trials(mutant.prompt, both, target, judges)
        pairs += len(both)
        for before, after in zip(old, new):
            gate = gates[before.case.name]
            gate.pair(float(before.judged.passed), float(after.judged.passed))
            same = same and before.reply.text == after.reply.text
            if gate.change == "lost" or (sure and gate.lost):
                return Outcome(mutant, "killed", before.case.name, pairs)
        if not open_cases:
            break
    return Outcome(mutant, "equivalent?" if same else "survived", "", pairs)
