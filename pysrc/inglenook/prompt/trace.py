"""Requirements traced to segments, tests and results, and all three back: what nothing speaks for, and what speaks for
nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inglenook.prompt.ast import Prompt, nearest
from inglenook.prompt.case import Case, Decision, Result
from inglenook.prompt.requirement import Requirement


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement: the segments that state it, the cases that test it, what their results say.

    `decision` is "fail" if one result fails, "pass" if there are results and all pass, else "undecided"; None if there
    are none.
    """

    requirement: Requirement
    segments: tuple[str, ...]
    cases: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def decision(self) -> Decision | None:
        decisions = {result.decision for result in self.results}
        if not decisions:
            return None
        return "fail" if "fail" in decisions else "pass" if decisions == {"pass"} else "undecided"


@dataclass(frozen=True, slots=True)
class Trace:
    """The matrix. `loose` segments and `idle` cases speak for no requirement; `unknown` are the ids that none has:
    what names it, the id, a guess at what was meant."""

    rows: tuple[Row, ...]
    loose: tuple[str, ...]
    idle: tuple[str, ...]
    unknown: tuple[tuple[str, str, str], ...]

    @property
    def unstated(self) -> tuple[str, ...]:
        """Functional requirements that no segment states. What bounds a quantity needs no words."""
        return tuple(row.requirement.id for row in self.rows if row.requirement.metric == "pass" and not row.segments)

    @property
    def untested(self) -> tuple[str, ...]:
        """Requirements that no case tests."""
        return tuple(row.requirement.id for row in self.rows if not row.cases)


def trace(prompt: Prompt, cases: Sequence[Case] = (), results: Sequence[Result] = ()) -> Trace:
    """The matrix of a prompt. A requirement that bounds a quantity holds in every run, so every case tests it."""
    ids = [one.id for one in prompt.requirements]
    bounding = {one.id for one in prompt.requirements if one.metric != "pass"}
    tests = {case.name: tested(case) | bounding for case in cases}
    rows = tuple(
        Row(
            one,
            tuple(segment.name for segment in prompt.segments if one.id in segment.requirements),
            tuple(name for name, named in tests.items() if one.id in named),
            tuple(result for result in results if one.id in result.requirements),
        )
        for one in prompt.requirements
    )
    named: list[tuple[str, Iterable[str]]] = [
        *((f"segment {segment.name}", segment.requirements) for segment in prompt.segments),
        *((f"case {case.name}", sorted(tested(case))) for case in cases),
    ]
    return Trace(
        rows,
        tuple(segment.name for segment in prompt.segments if not segment.requirements),
        tuple(case.name for case in cases if not tested(case)),
        tuple((what, one, nearest(one, ids)) for what, some in named for one in some if one not in ids),
    )


def tested(case: Case) -> set[str]:
    """The ids that a case, or one of its assertions, names."""
    return {*case.requirements, *(one for assertion in case.assertions for one in assertion.requirements)}
