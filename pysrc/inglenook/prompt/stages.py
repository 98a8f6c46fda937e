"""What is done with a prompt, as the command line and a tab both do it: each stage is a core whose result has parts for
people (`report`) and is `plain` for programs. `told` hears tables of how it stands.

    found = drive(test(prompt, cases, "native"), target, rows)
    found.decision, found.parts, found.plain
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, Literal, TypeVar

from inglenook.evals.calls import Work
from inglenook.evals.page import Table
from inglenook.prompt import change, cover, mutate, relations, report, suite
from inglenook.prompt.ast import Prompt, named
from inglenook.prompt.build import Lock, Rung
from inglenook.prompt.build import build as make
from inglenook.prompt.case import Case, Decision
from inglenook.prompt.debug import Diagnosis, culprits, missing
from inglenook.prompt.debug import bisect as halve
from inglenook.prompt.evolve import Evolved
from inglenook.prompt.evolve import evolve as rewrite
from inglenook.prompt.lint import lint
from inglenook.prompt.oracle import Judges
from inglenook.prompt.rule import Scene
from inglenook.prompt.suite import NO_JUDGES
from inglenook.prompt.trace import trace

T = TypeVar("T")
Told = Callable[[Iterable[Table]], None]
SUSPECT = 3.0  # times as much a segment is suspected that the linter found something in


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a stage found: the `result` of its core, and the `prompt` that came of it, if one did."""

    title: str
    result: T
    parts: Iterable[report.Part]
    plain: dict[str, Any]
    decision: Decision
    note: str = ""
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test found."""

    report: suite.Report
    covered: cover.Coverage
    related: Sequence[relations.Related]
    mutation: mutate.Mutation | None


def test(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *, runs: int = suite.MOST,
    related: bool = False, mutated: bool = False, seed: int = 0, told: Told | None = None,
) -> Work[Found[Tested]]:  # fmt: skip
    """Whether a prompt does what it must; whether what should not matter does not (`related`), and whether the tests
    notice when it is broken (`mutated`)."""
    found = yield from suite.run(prompt, cases, target, judges, most=runs, seed=seed, told=_as(report.standing, told))
    held = list[relations.Related]()
    for name in relations.RELATIONS if related else ():
        held += yield from relations.relate(prompt, cases, [name], target, judges, seed=seed)
        _as(report.relations, told)(held)
    mutation = None
    if mutated:
        mutation = yield from mutate.run(prompt, cases, target, judges, seed=seed, told=_as(report.mutants, told))
    covered = cover.coverage(prompt, cases, found, mutation or mutate.Mutation(()))
    parts = report.tested(
        prompt, cases, found, covered, mutation=mutation, related=held, findings=lint(Scene(prompt, cases))
    )
    plain: dict[str, Any] = {
        "decision": found.decision, "results": [asdict(one) for one in found.results],
        "verdicts": {id: asdict(one) for id, one in found.verdicts.items()}, "runs": found.trials,
        "relations": {one.relation: asdict(one.verdict) for one in held},
    }  # fmt: skip
    title = _title(prompt)
    if mutation:
        plain["mutants"] = [
            {"operator": one.mutant.operator, "segment": one.mutant.segment, "fate": one.fate, "case": one.case}
            for one in mutation.outcomes
        ]
        plain |= {"mutation_score": mutation.score, "coverage": asdict(covered)}
        if mutation.score is not None:
            title += f", {mutation.score:.0%} of its mutants killed"
    note = " ".join([f"{found.trials} runs of {len(cases)} cases on {target}.", *_doubts(prompt, cases)])
    return Found(title, Tested(found, covered, held, mutation), parts, plain, found.decision, note)


def _doubts(prompt: Prompt, cases: Sequence[Case]) -> Iterable[str]:
    """Why a verdict may say less than it seems to."""
    for what, id, meant in trace(prompt, cases).unknown:
        yield f"{id} of the {what} is no requirement of the prompt. {meant}"
    for case in cases:
        if not case.assertions and all(one.metric == "pass" for one in prompt.requirements):
            yield f"The case {case.name} asserts nothing: it cannot fail."


def debug(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *, requirement: str = "",
    segments: Sequence[str] = (), lacking: bool = False, search: Literal["bayes", "ddmin"] = "bayes",
    told: Told | None = None, **how: Any,
) -> Work[Found[Diagnosis]]:  # fmt: skip
    """Which of `segments` (none: all that may go) make a prompt fail, the `requirement` or any case; where none does,
    or at once with `lacking`, what is missing. `how` is that of `culprits`. Raises NookError("no-part") for a name that
    there is none of, and what `culprits` raises."""
    wanted = named("requirement", [requirement] * bool(requirement), {one.id: one for one in prompt.requirements})
    names = named("segment", segments, {one.name: one.name for one in prompt.segments})
    suspects = {one.segment for one in lint(Scene(prompt))}
    demand, tell = wanted[0] if wanted else None, _as(report.blamed, told)
    found = None
    if not lacking:
        found = yield from culprits(
            prompt, cases, target, judges, parts=names or None, demand=demand, search=search,
            told=tell, suspicion=lambda name: SUSPECT if name in suspects else 1.0, **how,
        )  # fmt: skip
    if found is None or found.found.how == "always":
        found = yield from missing(prompt, cases, target, judges, demand=demand, told=tell, **how)
    failing = found.failing
    plain = {
        "missing" if found.lacking else "segments": found.segments, **asdict(found.found),
        "failing": failing and {"case": failing.case.name, "seed": failing.call.seed, "row": failing.call.key},
    }  # fmt: skip
    return Found(f"{_title(prompt)}: why it fails", found, report.diagnosed(prompt, found), plain, "fail",
                 f"{found.found.runs} runs on {target}", found.mended)  # fmt: skip


def bisect(
    versions: Mapping[str, Prompt], cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    seed: int = 0, told: Told | None = None,
) -> Work[Found[str]]:  # fmt: skip
    """Which of `versions`, by their names from old to new, is the first that fails."""
    names, verdicts = list(versions), dict[int, bool]()

    def heard(number: int, passes: bool) -> None:
        verdicts[number] = passes
        _as(report.versions, told)(names, verdicts)

    first = yield from halve(list(versions.values()), cases, target, judges, seed=seed, told=heard)
    return Found(f"{names[first]} is the first that fails", names[first], [report.versions(names, verdicts, first)],
                 {"first": names[first], "number": first}, "fail", f"Run on {target}")  # fmt: skip


def diff(
    old: change.Side, new: change.Side, cases: Sequence[Case], judges: Judges = NO_JUDGES, *,
    told: Told | None = None, **how: Any,
) -> Work[Found[change.Comparison]]:  # fmt: skip
    """What a new side does differently; `how` is that of `compare`."""
    found = yield from change.compare(old, new, cases, judges, told=_as(report.shifted, told), **how)
    what, note = f"a {found.level} version" if found.level else "not known yet", f"Run on {new.target}"
    if old.target != new.target:
        what, note = f"{new.target} instead of {old.target}", ""
    return Found(f"{new.prompt.name}: {what}", found, report.compared(old.prompt, new.prompt, found), _compared(found),
                 found.decision, note)  # fmt: skip


def evolve(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *, told: Told | None = None,
    **how: Any,
) -> Work[Found[Evolved]]:  # fmt: skip
    """A prompt rewritten by its failures; `how` is that of `evolve`."""
    found = yield from rewrite(prompt, cases, target, judges=judges, told=_as(report.rewritten, told), **how)
    plain = {"accepted": found.accepted, "steps": [asdict(one) for one in found.steps],
             "comparison": found.comparison and _compared(found.comparison)}  # fmt: skip
    return Found(f"{_title(prompt)}, evolved", found, report.evolved(prompt, found), plain, found.decision,
                 f"Run on {target}", found.prompt if found.accepted else None)  # fmt: skip


def build(
    prompt: Prompt, cases: Sequence[Case], rungs: Sequence[Rung], count: Callable[[str], int],
    judges: Judges = NO_JUDGES, *, told: Told | None = None, **how: Any,
) -> Work[Found[Lock]]:  # fmt: skip
    """The smallest prompt, on the cheapest of `rungs`, that meets every requirement; `how` is that of `build`."""
    lock = yield from make(prompt, cases, rungs, count, judges, told=_as(report.climbed, told), **how)
    return Found(f"{_title(prompt)}, built", lock, report.built(lock), lock.plain(), lock.decision,
                 prompt=lock.prompt if lock.decision == "pass" else None)  # fmt: skip


def _title(prompt: Prompt) -> str:
    return f"{prompt.name} {prompt.version}"


def _compared(found: change.Comparison) -> dict[str, Any]:
    return {"decision": found.decision, "level": found.level, "shifts": [_shift(one) for one in found.shifts],
            "promises": list(found.promises)}  # fmt: skip


def _shift(shift: change.Shift) -> dict[str, Any]:
    plain = {field.name: getattr(shift, field.name) for field in fields(shift)}
    pair = plain.pop("example")
    return plain | {"example": pair and {
        "case": pair[0].case.name, "seed": pair[0].call.seed, "old": pair[0].reply.text, "new": pair[1].reply.text,
    }}  # fmt: skip


def _as(tables: Callable[..., Table | Iterable[Table]], told: Told | None) -> Callable[..., None]:
    """What tells how things stand as tables, if anybody hears."""

    def tell(*now: Any) -> None:
        if told:
            made = tables(*now)
            told([made] if isinstance(made, Table) else made)

    return tell
