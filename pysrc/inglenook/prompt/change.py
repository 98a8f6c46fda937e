"""What changed between two versions: not in their texts, in what they do.

Both run the same cases with the same seeds, side by side; of each requirement it is told whether it was `lost`,
`gained`, or stayed the `same` within a margin, with an interval of the difference. From that follows the version:

    major   a requirement was lost, or is promised no longer, or values that fitted the slots do not fit now
    minor   a requirement was gained or is new, or there is a new slot that need not be filled
    patch   all stayed the same

The two sides may differ in their target alone: then this is the gate of a model's upgrade.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inglenook.errors import NookError
from inglenook.evals.calls import Work
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case, Decision
from inglenook.prompt.oracle import Judges
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.sequential import Change, Paired
from inglenook.prompt.suite import NO_JUDGES, Trial, checked, steady, trials
from inglenook.prompt.trace import tested

Level: TypeAlias = Literal["major", "minor", "patch"]
MOST = 400  # pairs for a requirement
WHOLE = "all cases"


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt on a target ("": the prompt's own)."""

    prompt: Prompt
    target: str = ""


@dataclass(frozen=True, slots=True)
class Shift:
    """What became of a requirement (by id) or of `all cases`: after `runs` pairs, `lost` and `gained` of them, the
    difference new - old and its interval; `example` is the first pair that was lost, else gained."""

    what: str
    change: Change
    runs: int
    lost: int
    gained: int
    mean: float
    low: float
    high: float
    example: tuple[Trial, Trial] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All shifts, and what changed in what is promised: requirements and slots, each with its level."""

    shifts: tuple[Shift, ...]
    promises: tuple[tuple[Level, str], ...] = ()

    @property
    def decision(self) -> Decision:
        """As a gate: fail if anything was lost, pass if all else is known not to be."""
        changes = {one.change for one in self.shifts}
        return "fail" if "lost" in changes else "undecided" if "undecided" in changes else "pass"

    @property
    def level(self) -> Level | None:
        """Of the next version; None while something that could be lost is undecided."""
        levels = [level for level, _ in self.promises]
        changes = [one.change for one in self.shifts]
        if "major" in levels or "lost" in changes:
            return "major"
        if "undecided" in changes:
            return None
        return "minor" if "minor" in levels or "gained" in changes else "patch"


def compare(
    old: Side, new: Side, cases: Sequence[Case], judges: Judges = NO_JUDGES, *,
    margin: float = 0.1, alpha: float = 0.05, beta: float = 0.05, most: int = MOST, seed: int = 0,
    told: Callable[[Comparison], None] | None = None,
) -> Work[Comparison]:  # fmt: skip
    """Run two sides over cases that both can take. The errors hold for all requirements together (each has its share).
    `told` hears after each round how everything stands.

    Where neither depends on the seed, each case is run once and differences are exact for these cases. Raises NookError
    if a case does not fit one of the prompts.
    """
    for side in (old, new):
        checked(side.prompt, cases, judges)
    kept = [one for one in new.prompt.requirements if one.id in {other.id for other in old.prompt.requirements}]
    speaking = {one.id: [case for case in cases if one.metric != "pass" or one.id in tested(case)] for one in kept}
    kept = [one for one in kept if speaking[one.id]]
    share = 1 + len(kept)
    sure = steady(old.prompt) and steady(new.prompt)
    most = len(cases) if sure else most
    tallies = [_Tally(None, list(cases), Paired(margin, alpha / share, beta / share, most, True))]
    tallies += [_Tally(one, speaking[one.id], Paired(margin, alpha / share, beta / share, most, True)) for one in kept]

    def compared() -> Comparison:
        return Comparison(tuple(one.shift(margin, sure) for one in tallies), tuple(_promises(old.prompt, new.prompt)))

    turn = 0
    while wanted := {case.name for one in tallies if one.gate.open for case in one.cases}:
        pairs = [(case, seed + turn) for case in cases if case.name in wanted]
        before = yield from trials(old.prompt, pairs, old.target, judges)
        after = yield from trials(new.prompt, pairs, new.target, judges)
        for one in tallies:
            for a, b in zip(before, after):
                one.add(a, b)
        turn += 1
        if told:
            told(compared())
        if sure:
            break
    return compared()


class _Tally:
    def __init__(self, requirement: Requirement | None, cases: list[Case], gate: Paired) -> None:
        self.requirement, self.cases, self.gate = requirement, cases, gate
        self.names = {case.name for case in cases}
        self.examples: dict[bool, tuple[Trial, Trial]] = {}

    def add(self, old: Trial, new: Trial) -> None:
        if old.case.name not in self.names or not self.gate.open:
            return
        demand = self.requirement
        a, b = ((one.kept(demand) if demand else one.judged.passed) for one in (old, new))
        self.gate.pair(float(a), float(b))
        if a != b:
            self.examples.setdefault(a, (old, new))

    def shift(self, margin: float, sure: bool) -> Shift:
        gate, (mean, low, high) = self.gate, self.gate.difference()
        change: Change = gate.change
        if sure:  # these cases are all there is
            change, low, high = ("lost" if mean <= -margin else "gained" if mean >= margin else "same"), mean, mean
        example = self.examples.get(change != "gained") or self.examples.get(change == "gained")
        what = self.requirement.id if self.requirement else WHOLE
        return Shift(what, change, gate.runs, gate.lost, gate.gained, mean, low, high, example)


def _promises(old: Prompt, new: Prompt) -> list[tuple[Level, str]]:
    """What is promised less (major) or more (minor)."""
    found: list[tuple[Level, str]] = []
    was, now = ({one.id: one for one in side.requirements} for side in (old, new))
    found += [("major", f"requirement {id} is gone") for id in was if id not in now]
    found += [("minor", f"requirement {id} is new") for id in now if id not in was]
    for id in was.keys() & now.keys():
        if now[id].threshold < was[id].threshold:
            found.append(("major", f"requirement {id} asks for {now[id].threshold:g}, it was {was[id].threshold:g}"))
    slots, before = {slot.name: slot for slot in new.slots}, {slot.name: slot for slot in old.slots}
    found += [("major", f"slot {name} is gone") for name in before if name not in slots]
    for name, slot in slots.items():
        must = slot.required and slot.default is None
        if name not in before:
            found.append(("major" if must else "minor", f"slot {name} is new"))
        elif slot.type != before[name].type or slot.choices != before[name].choices:
            found.append(("major", f"slot {name} takes other values"))
        elif must and not (before[name].required and before[name].default is None):
            found.append(("major", f"slot {name} must be filled now"))
    return sorted(found)


def bump(version: str, level: Level) -> str:
    """The next version. Raises NookError("prompt-version") for what is no version of three numbers."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise NookError("prompt-version", f"{version!r} is no version.", "Write three numbers: 1.0.0.")
    major, minor, patch = map(int, parts)
    return {
        "major": f"{major + 1}.0.0", "minor": f"{major}.{minor + 1}.0", "patch": f"{major}.{minor}.{patch + 1}",
    }[level]  # fmt: skip
