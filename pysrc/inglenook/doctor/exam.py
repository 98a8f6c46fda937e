"""An examination: the probes one after the other, then what makes a failure vanish, which causes that speaks for, and
the smallest case that still fails. A generator that does no I/O: it yields what to ask of which engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from inglenook.doctor import cases, causes, interventions, probes
from inglenook.doctor.asks import Ask, Case
from inglenook.doctor.cases import Finding, Probing
from inglenook.doctor.causes import Suspect
from inglenook.doctor.engine import Asked, Crash, Hang
from inglenook.doctor.probes import Probe, Unknown
from inglenook.doctor.reduce import reduce
from inglenook.doctor.samples import Facts
from inglenook.doctor.symptoms import seen
from inglenook.errors import NookError

PASSED, FAILED, UNKNOWN = "passed", "failed", "cannot tell"
EXAMINED = 3
"""Failures, of as many probes, that interventions are tried on."""
HANGS = 3
"""Probes that hang before the others are left out."""


@dataclass(frozen=True, slots=True)
class Step:
    """Ask this of the engine with these switches on; `fresh` of one that was asked nothing before."""

    ask: Ask
    switches: tuple[str, ...] = ()
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How far it is: `done` of `total` of a stage, what comes now, and what became of the probe before."""

    stage: str
    done: int
    total: int
    note: str = ""
    last: Outcome | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a probe."""

    probe: Probe
    state: str
    findings: list[Finding] = field(default_factory=list)
    reason: str = ""
    asks: int = 0
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Tried:
    """An intervention on a finding: whether that was gone."""

    probe: str
    sign: str
    switch: str
    gone: bool


@dataclass(slots=True)
class Report:
    """All that came out. `suspects` take the interventions into account, `first` do not; both are empty where nothing
    failed. `case` is the smallest that fails, `shown` what is wrong with it."""

    engine: str
    outcomes: list[Outcome] = field(default_factory=list)
    symptoms: list[str] = field(default_factory=list)
    first: list[Suspect] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    case: Case | None = None
    shown: Finding | None = None

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == FAILED]


Examining: TypeAlias = Generator[Step | Told, Asked | None, Report]
Known: TypeAlias = Callable[[tuple[str, ...]], Facts]
"""What is known of the engine with some switches on."""


def examine(
    name: str, known: Known, tiers: Collection[str], switches: Collection[str], *, deep: bool = True,
    first: bool = False, chosen: Sequence[Probe] = probes.PROBES,
) -> Examining:  # fmt: skip
    """Examine the engine `name`, which answers in `tiers` and has `switches`. With `deep`, failures are followed up;
    with `first` it ends at the first.

    Yields `Step` and is sent its `Asked`, or has thrown into it what that raised; yields `Told`, which has no answer.
    """
    report = Report(name)
    able = [p for p in chosen if p.tier in tiers and set(p.switches) <= set(switches)]
    for done, probe in enumerate(able):
        yield Told("examine", done, len(able), probe.name, report.outcomes[-1] if report.outcomes else None)
        if sum(any(finding.sign == "hang" for finding in outcome.findings) for outcome in report.outcomes) >= HANGS:
            report.outcomes.append(Outcome(probe, UNKNOWN, reason="it hung too often before"))
            continue
        report.outcomes.append((yield from _probed(probe, known, probe.switches, True)))
        if first and report.failed:
            return report
    for probe in chosen:
        if probe not in able:
            why = "the engine does not let one look that deep" if probe.tier not in tiers else "it has no such switch"
            report.outcomes.append(Outcome(probe, UNKNOWN, reason=why))
    signs = observed(report)
    report.symptoms = seen(f.sign for o in report.failed for f in o.findings)
    if signs:
        report.first = report.suspects = causes.rank(signs)
    if signs and deep:
        yield from _follow(report, known, switches)
        gone = [f"gone with: {tried.switch}" for tried in report.tried if tried.gone]
        report.suspects = causes.rank([*signs, *gone])
    return report


def _probed(
    probe: Probe, known: Known, switches: tuple[str, ...], fresh: bool
) -> Generator[Step | Told, Asked | None, Outcome]:
    """Run a probe with the engine switched so."""
    outcome = Outcome(probe, PASSED)
    try:
        outcome.findings = yield from _asking(probe.run(known(switches)), switches, fresh, outcome)
        outcome.state = FAILED if outcome.findings else PASSED
    except Unknown as error:
        outcome.state, outcome.reason = UNKNOWN, str(error)
    return outcome


def _asking(
    probing: Probing, switches: tuple[str, ...], fresh: bool, outcome: Outcome
) -> Generator[Step | Told, Asked | None, list[Finding]]:
    step: Callable[[], Ask] = lambda: next(probing)
    while True:
        try:
            ask = step()
        except StopIteration as end:
            found: list[Finding] = end.value
            return found
        try:
            asked = yield Step(ask, switches, fresh)
            assert asked is not None
            outcome.ms += asked.ms
            step = lambda asked=asked: probing.send(asked)  # type: ignore[misc]
        except (NookError, Crash, Hang) as error:
            step = lambda error=error: probing.throw(error)  # type: ignore[misc]
        outcome.asks += 1
        fresh = False


# ── following up ──────────────────────────────────────────────────────────────────────────────────────────────────


def _follow(report: Report, known: Known, able: Collection[str]) -> Generator[Step | Told, Asked | None, None]:
    """Interventions on the first failures they can tell of, and a reproducer of the first that fails alone."""
    seen = [(outcome.probe, finding) for outcome in report.failed for finding in outcome.findings]
    first = {probe.name: (probe, finding) for probe, finding in reversed(seen) if tells(finding.sign)}
    chosen = list(reversed(first.values()))[:EXAMINED]
    for done, (probe, finding) in enumerate(chosen):
        yield Told("intervene", done, len(chosen), probe.name)
        yield from _intervened(report, probe, finding, known, able)
    for probe, finding in [*chosen, *seen][: 2 * EXAMINED]:
        if finding.case.asks and (yield from _fails(finding.case, finding.sign, known, probe.switches)):
            yield Told("reduce", 0, 1, probe.name)
            report.case = yield from _reduced(finding.case, finding.sign, known, probe.switches)
            report.shown = finding
            return


def _intervened(
    report: Report, probe: Probe, finding: Finding, known: Known, able: Collection[str]
) -> Generator[Step | Told, Asked | None, None]:
    """Try all on one finding: it is gone if nothing else is wrong in its place. Where its case does not fail by itself,
    the whole probe is run again."""
    alone = bool(finding.case.asks) and (yield from _fails(finding.case, finding.sign, known, probe.switches))
    for switch in interventions.SWITCHES:
        if switch not in able:
            continue
        on = (*probe.switches, switch)
        if switch == "no drafts" and "eager drafts" in on:
            on = (switch,)
        if alone:
            still = yield from _fails(finding.case, "", known, on)
        else:
            again = yield from _probed(probe, known, on, True)
            still = again.state != PASSED
        report.tried.append(Tried(probe.name, finding.sign, switch, not still))
    truth = known(()).truth
    for how in interventions.REWRITES if alone and truth else ():
        if truth and (other := interventions.rewritten(finding.case, how, truth)):
            still = yield from _fails(other, "", known, probe.switches)
            report.tried.append(Tried(probe.name, finding.sign, how, not still))


def observed(report: Report) -> list[str]:
    """What was seen, as clues name it: "probe: sign", and of errors and exceptions "refused code", "raised kind"."""
    found = [(outcome.probe.name, finding) for outcome in report.failed for finding in outcome.findings]
    how = {"error": "refused", "crash": "raised"}
    kinds = dict.fromkeys(f"{how[one.sign]} {one.detail}" for _, one in found if one.detail and one.sign in how)
    return [*(f"{name}: {finding.sign}" for name, finding in found), *kinds]


def tells(sign: str) -> bool:
    """Whether interventions say anything of a finding: of what was computed they do, of how it is told they do not."""
    return sign in _COMPUTED or sign.startswith("operation")


_COMPUTED = frozenset(
    {"choice", "text", "differs", "error", "crash", "hang", "length", "logits", "small", "late", "not a number", "end",
     "stop string", "shape", "tokens", "template", "waits", "slow", "memory", "pages", "places"}
)  # fmt: skip


def _fails(
    case: Case, sign: str, known: Known, switches: tuple[str, ...]
) -> Generator[Step | Told, Asked | None, bool]:
    """Whether a case shows the sign ("": any) on a fresh engine."""
    found = yield from _asking(cases.case(known(switches), case), switches, True, Outcome(probes.PROBES[0], PASSED))
    return any(sign in ("", one.sign) for one in found)


def _reduced(
    case: Case, sign: str, known: Known, switches: tuple[str, ...]
) -> Generator[Step | Told, Asked | None, Case]:
    trying = reduce(case)
    try:
        smaller = next(trying)
        while True:
            failed = yield from _fails(smaller, sign, known, switches)
            smaller = trying.send(failed)
    except StopIteration as end:
        made: Case = end.value
        return made


def again(name: str, known: Known, case: Case) -> Examining:
    """Run one case, as a report gave it."""
    probe = Probe("case", probes.PROBES[0].tier, "the case that was given", lambda facts: cases.case(facts, case))
    outcome = yield from _probed(probe, known, (), True)
    signs = [finding.sign for finding in outcome.findings]
    ranked = causes.rank(f"case: {sign}" for sign in signs) if signs else []
    return Report(name, [outcome], seen(signs), ranked, ranked, case=case)
