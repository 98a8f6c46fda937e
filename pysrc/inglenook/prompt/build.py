"""The build: the smallest prompt, and the cheapest part of a model, that meet every requirement.

    lock = drive(build(prompt, cases, [Rung("native", level=3), Rung("native", level=0)], count), target, rows)

1. *Choose*: from the cheapest rung up, the prompt's suite is run until one passes (`suite.run`).
2. *Compile*: each pass proposes prompts. One is kept only if "worse than the prompt that was written, by `margin`" is
   refuted over the same cases and seeds (`sequential.Paired`). Answers are kept rows, so a proposal costs its own runs
   alone; and as all are held against the same one, losses do not add up.
3. *Verify*: trying many proposals finds lucky ones. So what came out is held against the original and all requirements
   once more with seeds (and cases, where there are `held`) that no pass saw; if it does not stand, the last kept step
   is taken back, and so on down to the original.

Nothing that is undecided is kept, and a rule whose loss no test could notice is not tried without. That comparisons are
with what was written, and the last step with fresh seeds, is ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from inglenook.evals.calls import Work
from inglenook.prompt import file
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case, Decision
from inglenook.prompt.oracle import Judges
from inglenook.prompt.passes import PASSES, Pass
from inglenook.prompt.sequential import Paired
from inglenook.prompt.suite import NO_JUDGES, Report, checked, run, steady, trials
from inglenook.prompt.trace import trace
from inglenook.wire.messages import Slo

RULES = ("constraint", "format", "guard")
FRESH = 1_000_000  # the seeds of verification begin so far above those that passes saw


@dataclass(frozen=True, slots=True)
class Rung:
    """Where a prompt may run: a target, and of an elastic model the level, or the latency asked for."""

    target: str
    level: int | None = None
    slo: Slo | None = None

    def on(self, prompt: Prompt) -> Prompt:
        """The prompt as it is asked there."""
        settings = prompt.settings
        if self.level is not None:
            settings = replace(settings, level=self.level)
        return replace(prompt, settings=settings if self.slo is None else replace(settings, slo=self.slo))


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two prompts over the same cases and seeds. `low` and `high` bound the new one's share of passes minus the old
    one's (a 95 % confidence sequence)."""

    decision: Decision
    runs: int
    lost: int
    gained: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Step:
    """A proposal: by which pass, what it did, how many tokens before and after, the evidence, whether it was kept.

    Without a pairing it was not tried: it saves no token.
    """

    by: str
    what: str
    before: int
    after: int
    pairing: Pairing | None
    kept: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """What a build came to, with its evidence.

    `decision` is that of the requirements on `rung` (None: none met them). Of the steps that were kept verification
    took the last `back` back; `held` are the cases it had that no pass saw. `tokens` are those of the template, without
    values, before and after. `rows` is a digest of the keys of all calls that the steps rest on.
    """

    decision: Decision
    prompt: Prompt
    original: str
    rung: Rung | None
    tokens: tuple[int, int]
    rungs: tuple[tuple[Rung, Decision, int], ...] = ()
    steps: tuple[Step, ...] = ()
    back: int = 0
    held: tuple[str, ...] = ()
    verified: Pairing | None = None
    requirements: tuple[tuple[str, Decision, int], ...] = ()
    rows: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON: the prompt as its file, and its digest."""
        said = {one: value for one, value in asdict(replace(self, prompt=Prompt(()))).items() if one != "prompt"}
        return {**said, "digest": self.prompt.digest, "prompt": file.show(self.prompt)}

    @property
    def text(self) -> str:
        """As a file."""
        return json.dumps(self.plain(), ensure_ascii=False, indent=1) + "\n"


@dataclass
class _Bench:
    """One build on its rung: what was written, what was kept so far, and the evidence."""

    prompt: Prompt
    rung: Rung
    cases: Sequence[Case]
    judges: Judges
    count: Callable[[str], int]
    gate: Callable[[], Paired]
    most: int
    heard: Callable[[], None]
    versions: list[Prompt] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def compare(self, new: Prompt, cases: Sequence[Case], first: int) -> Work[Pairing]:
        """What was written against `new`: cases in turn, each with the next seed, until it is decided or every case had
        its runs."""
        gate = self.gate()
        rounds = 1 if steady(new) else self.most
        for seed in range(first, first + rounds):
            pairs = [(case, seed) for case in cases]
            before = yield from trials(self.prompt, pairs, self.rung.target, self.judges)
            after = yield from trials(new, pairs, self.rung.target, self.judges)
            self.seen |= {one.call.key for one in (*before, *after)}
            for a, b in zip(before, after, strict=True):
                gate.pair(float(a.judged.passed), float(b.judged.passed))
            if not gate.open:
                break
        _, low, high = gate.difference()
        return Pairing(gate.decision, gate.runs, gate.lost, gate.gained, low, high)

    def attempt(self, one: Pass, seed: int) -> Work[None]:
        """Run one pass to its end; what it keeps becomes the last of `versions`."""
        proposals = one.propose(self.versions[-1])
        proposal = next(proposals, None)
        while proposal is not None:
            what, proposed = proposal
            before, after = tokens(self.versions[-1], self.count), tokens(proposed, self.count)
            pairing = None
            if after < before or not one.saves:
                pairing = yield from self.compare(proposed, self.cases, seed)
            kept = pairing is not None and pairing.decision == "pass"
            self.steps.append(Step(one.name, what, before, after, pairing, kept))
            if kept:
                self.versions.append(proposed)
            self.heard()
            try:
                proposal = proposals.send(kept)
            except StopIteration:
                proposal = None

    def verify(self, cases: Sequence[Case], seed: int, known: Report) -> Work[tuple[Report, Pairing | None, int]]:
        """The last version that stands: its report, its pairing with what was written, how many were taken back. Where
        answers do not depend on the seed and no cases are held back, there is nothing fresh to pair."""
        fresh = not steady(self.prompt) or cases is not self.cases
        for back, version in enumerate(reversed(self.versions[1:])):
            report = yield from run(version, cases, self.rung.target, self.judges, most=self.most, seed=seed)
            if report.decision == "pass" and not fresh:
                return report, None, back
            if report.decision == "pass":
                pairing = yield from self.compare(version, cases, seed)
                if pairing.decision == "pass":
                    return report, pairing, back
        return known, None, len(self.versions) - 1


def build(
    prompt: Prompt, cases: Sequence[Case], rungs: Sequence[Rung], count: Callable[[str], int],
    judges: Judges = NO_JUDGES, *, passes: Sequence[Pass] = PASSES, held: Sequence[Case] = (),
    margin: float = 0.1, alpha: float = 0.05, beta: float = 0.05, most: int = 60, seed: int = 0,
    told: Callable[[Lock], None] | None = None,
) -> Work[Lock]:  # fmt: skip
    """Build a prompt for the first of `rungs` (cheapest first) that meets its requirements; see the module.

    `count` tells how many tokens a text has; `most` bounds the runs of a case; `told` hears after each rung
    and each step of what it would come to so far. Raises what `suite.run` raises.
    """
    checked(prompt, [*cases, *held], judges)
    size = tokens(prompt, count)
    tried: list[tuple[Rung, Decision, int]] = []
    bench: _Bench | None = None

    def heard() -> None:
        if told:
            now, steps = (bench.versions[-1], bench.steps) if bench else (prompt, [])
            sizes = size, tokens(now, count)
            told(Lock("undecided", now, prompt.digest, tried[-1][0], sizes, tuple(tried), tuple(steps)))

    for rung in rungs:
        report = yield from run(rung.on(prompt), cases, rung.target, judges, most=most, seed=seed)
        tried.append((rung, report.decision, report.trials))
        heard()
        if report.decision == "pass":
            break
    else:
        worst: Decision = "fail" if all(decision == "fail" for _, decision, _ in tried) else "undecided"
        return Lock(worst, prompt, prompt.digest, None, (size, size), tuple(tried))
    written = rung.on(prompt)
    bench = _Bench(written, rung, cases, judges, count, lambda: Paired(margin, alpha, beta), most, heard)
    bench.versions.append(_safe(written, cases))
    for one in passes:
        yield from bench.attempt(one, seed)
    report, verified, back = yield from bench.verify(held or cases, seed + FRESH, report)
    final = _restored(bench.versions[-1 - back], written)
    verdicts = tuple((id, verdict.decision, verdict.runs) for id, verdict in report.verdicts.items())
    rows = hashlib.sha256("".join(sorted(bench.seen)).encode()).hexdigest()[:32] if bench.seen else ""
    sizes = size, tokens(final, count)
    return Lock(report.decision, replace(final, target=rung.target), prompt.digest, rung, sizes, tuple(tried),
                tuple(bench.steps), back, tuple(case.name for case in held), verified, verdicts, rows)  # fmt: skip


def estimate(text: str) -> int:
    """About how many tokens a text has, where no tokenizer is there to tell: a fourth of its characters."""
    return (len(text) + 3) // 4


def tokens(prompt: Prompt, count: Callable[[str], int]) -> int:
    """Tokens of all its text, slots empty."""
    return sum(count("".join(literal for literal, _ in one.pieces())) for one in prompt.segments)


def _safe(prompt: Prompt, cases: Sequence[Case]) -> Prompt:
    """The prompt with those segments protected that no test could miss: rules that state no requirement, or one that no
    case tests."""
    untested = {*trace(prompt, cases).untested}
    segments = [
        replace(one, protected=True)
        if untested & {*one.requirements} or (one.kind in RULES and not one.requirements)
        else one
        for one in prompt.segments
    ]
    return replace(prompt, segments=tuple(segments))


def _restored(prompt: Prompt, written: Prompt) -> Prompt:
    """The prompt with segments protected as they were written."""
    known = {one.name: one.protected for one in written.segments}
    return replace(
        prompt, segments=tuple(replace(one, protected=known.get(one.name, False)) for one in prompt.segments)
    )
