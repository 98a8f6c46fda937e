"""How much of a prompt its tests speak for: requirements, segments, slots and constraints.

| what | covered if |
|---|---|
| requirement | it was decided: its test passed or failed |
| segment | a case fails when it is left out (its `drop` mutant is killed) |
| constraint | some change to it is noticed (a mutant of it is killed) |
| slot | each class of its values stands in some case (`inputs.classes`) |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case
from inglenook.prompt.inputs import classes
from inglenook.prompt.mutate import Mutation
from inglenook.prompt.suite import Report

CONSTRAINTS = ("constraint", "format", "guard")


@dataclass(frozen=True, slots=True)
class Share:
    """Of `all` names those that are `covered`; the others are what is `open`."""

    all: tuple[str, ...]
    covered: tuple[str, ...]

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(name for name in self.all if name not in self.covered)

    @property
    def share(self) -> float:
        """1 where there is nothing to cover."""
        return len(self.covered) / len(self.all) if self.all else 1.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """The four shares. Segments and constraints are those that were mutated; slots are "name: class"."""

    requirements: Share
    segments: Share
    constraints: Share
    slots: Share


def coverage(prompt: Prompt, cases: Sequence[Case], report: Report, mutation: Mutation) -> Coverage:
    """From what a suite and its mutants showed."""
    killed = [one.mutant for one in mutation.outcomes if one.fate == "killed"]
    dropped = [one.mutant.segment for one in mutation.outcomes if one.mutant.operator == "drop"]
    tried = {one.mutant.segment for one in mutation.outcomes}
    bounds = [one.name for one in prompt.segments if one.kind in CONSTRAINTS and one.name in tried]
    decided = [id for id, verdict in report.verdicts.items() if verdict.decision != "undecided"]
    partitions = {
        f"{slot.name}: {name}": any(holds(case.values.get(slot.name, slot.default)) for case in cases)
        for slot in prompt.slots for name, holds in classes(slot).items()
    }  # fmt: skip
    return Coverage(
        _share([one.id for one in prompt.requirements], decided),
        _share(dropped, [one.segment for one in killed if one.operator == "drop"]),
        _share(bounds, [one.segment for one in killed]),
        _share(list(partitions), [name for name, there in partitions.items() if there]),
    )


def _share(names: Sequence[str], covered: Sequence[str]) -> Share:
    return Share(tuple(names), tuple(name for name in names if name in covered))
