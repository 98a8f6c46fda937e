"""Cases run until it is known whether a prompt does what it must.

    report = drive(run(prompt, cases, "native"), target, rows)
    report.verdicts["R1"].decision      # pass | fail | undecided, after so many runs

A *trial* is one case with one seed. Each round runs the cases whose verdicts are still open, and theirs alone; the next
seeds are the next numbers, so a second run finds its rows. Where answers do not depend on the seed (temperature 0) a
case is run once: then its verdict is what it did, and a requirement's is its share over the cases, which are all
there are. A test says nothing about cases that are not in it.

Errors hold for a suite and not only for each of its tests (`sequential.together`): that any requirement fails which is
kept has a chance of at most the largest `alpha` among them, and so it is with cases that all keep their claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Work
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case, Decision, Result
from inglenook.prompt.oracle import Judged, Judges, check, judge
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.sequential import Claim, Sprt, Verdict, together
from inglenook.prompt.trace import tested

MOST = 60  # runs of one case
NO_JUDGES = Judges()


@dataclass(frozen=True, slots=True)
class Trial:
    """One case run once: what was asked, what came, what held."""

    case: Case
    call: Call
    reply: Reply
    judged: Judged

    def kept(self, requirement: Requirement) -> bool:
        """Whether this run keeps a requirement: by its quantity, or by what is traced to it."""
        theirs = [
            held.passed for held, assertion in zip(self.judged.held, self.case.assertions)
            if requirement.id in (assertion.requirements or self.case.requirements) and assertion.weight > 0
        ]  # fmt: skip
        whole = self.case.threshold is not None and not any(one.requirements for one in self.case.assertions)
        return requirement.kept(self.reply, self.judged.passed if whole else all(theirs))


@dataclass(frozen=True, slots=True)
class Report:
    """What a suite found: a result for each case and requirement, verdicts by requirement id, every trial's row;
    `failing` has of each result that did not pass its first run that failed."""

    results: tuple[Result, ...]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    trials: int = 0
    failing: Mapping[str, Trial] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """Of all together: requirements decide where there are any, else the cases."""
        decisions = [one.decision for one in (self.verdicts.values() or self.results)]
        return "fail" if "fail" in decisions else "pass" if set(decisions) == {"pass"} else "undecided"


def trials(prompt: Prompt, pairs: Sequence[tuple[Case, int]], target: str, judges: Judges) -> Work[list[Trial]]:
    """Run cases with seeds, each pair once, in one batch, and judge what came."""
    calls = [prompt.call(case.values, target, seed) for case, seed in pairs]
    replies = yield calls
    found = []
    for (case, _), call, reply in zip(pairs, calls, replies):
        found.append(Trial(case, call, reply, (yield from judge(case, reply, judges))))
    return found


def steady(prompt: Prompt) -> bool:
    """Whether its answers do not depend on the seed."""
    return prompt.settings.temperature == 0


def split(cases: Sequence[Case], seed: int, share: float = 0.5) -> tuple[list[Case], list[Case]]:
    """Cases to learn from, and a `share` of them, drawn, that is held back to test on, each in their order; of those
    that speak for the same requirements about that share, too. Raises NookError("few-cases") for fewer than four."""
    if (many := len(cases)) < 4:
        hint = "Write more cases, or draw some (`prompt.inputs`)."
        raise NookError("few-cases", f"{many} cases are too few to learn from some and test on others.", hint)
    drawn: list[int] = np.random.default_rng(seed).permutation(many).tolist()
    drawn.sort(key=lambda i: sorted(tested(cases[i])))
    count = min(max(1, round(share * many)), many - 1)
    held = {drawn[(2 * i + 1) * many // (2 * count)] for i in range(count)}
    return [c for i, c in enumerate(cases) if i not in held], [c for i, c in enumerate(cases) if i in held]


def checked(prompt: Prompt, cases: Sequence[Case], judges: Judges) -> None:
    """Refuse what could not be run, before anything is. Raises NookError."""
    if not cases:
        raise NookError("no-tests", "There is no case to run.", "Write `tests:` with at least one, or import some.")
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise NookError("no-tests", f"Two cases are called {min(twice)}.", "Give each case its own name.")
    for case in cases:
        check(case, judges)
        try:
            prompt.render(case.values)
        except NookError as error:
            raise NookError(
                error.code, f"The case {case.name} does not fit the prompt: {error.message}", error.hint
            ) from None


def run(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    claim: Claim | None = None, most: int = MOST, seed: int = 0, told: Callable[[Report], None] | None = None,
) -> Work[Report]:  # fmt: skip
    """Test a prompt. `claim` is what each case must keep (0.9 against 0.75, errors of 0.05); requirements bring their
    own. `most` bounds the runs of a case; `seed` is the first; `told` hears after each round how everything stands.
    Raises NookError for what cannot be run."""
    checked(prompt, cases, judges)
    bounded = [one for one in prompt.requirements if one.metric != "pass"]
    traced = {
        one.id: {case.name for case in cases if one in bounded or one.id in tested(case)} for one in prompt.requirements
    }  # fmt: skip
    most = 1 if steady(prompt) else most
    shares = together([claim or Claim()] * len(cases))
    gates = {case.name: _Tally(Sprt(share, most)) for case, share in zip(cases, shares)}
    demanded = [one for one in prompt.requirements if traced[one.id]]
    demands = [
        (one, _Tally(Sprt(share, most * len(traced[one.id]))))
        for one, share in zip(demanded, together(list(map(claimed, demanded))))
    ]
    order, count = np.random.default_rng(seed), 0

    def report() -> Report:
        results = [_case(case, gates[case.name], steady(prompt), bool(demands)) for case in cases]
        verdicts = {one.id: _verdict(one, tally, steady(prompt)) for one, tally in demands}
        results += [
            replace(tally.result(f"requirement {one.id}", verdicts[one.id].decision), requirements=(one.id,))
            for one, tally in demands
        ]  # fmt: skip
        tallies = [*gates.values(), *(tally for _, tally in demands)]
        failing = {
            one.case: tally.failing
            for one, tally in zip(results, tallies) if tally.failing and one.decision != "pass"
        }  # fmt: skip
        return Report(tuple(results), verdicts, count, failing)

    for turn in range(most):
        opened = {name for one, tally in demands if tally.gate.open for name in traced[one.id]}
        wanted = [case for case in cases if gates[case.name].gate.open or case.name in opened]
        if not wanted:
            break
        found = yield from trials(prompt, [(case, seed + turn) for case in wanted], target, judges)
        count += len(found)
        for trial in found:
            gates[trial.case.name].add(trial, trial.judged.passed)
        for i in order.permutation(len(found)):
            for one, tally in demands:
                if found[i].case.name in traced[one.id]:
                    tally.add(found[i], found[i].kept(one))
        if told:
            told(report())
    return report()


def claimed(requirement: Requirement) -> Claim:
    """What a requirement demands, as the claim of a test."""
    return Claim(requirement.threshold, requirement.worst, requirement.alpha, requirement.beta)


class _Tally:
    """A gate, and what its runs were."""

    def __init__(self, gate: Sprt) -> None:
        self.gate, self.rows, self.seconds = gate, list[str](), 0.0
        self.failing: Trial | None = None

    def add(self, trial: Trial, kept: bool) -> None:
        if not self.gate.open:
            return
        self.gate.add(int(kept))
        self.rows.append(trial.call.key)
        self.seconds += trial.reply.total_ms / 1e3
        if not kept and not self.failing:
            self.failing = trial

    def result(self, name: str, decision: Decision) -> Result:
        kept = self.gate.scores.get(1, 0)
        message = ""
        if self.failing and decision != "pass":
            message = self.failing.judged.reason or self.failing.reply.error
        return Result(name, decision, self.gate.runs, kept, self.seconds, message, (), tuple(self.rows))


def _case(case: Case, tally: _Tally, sure: bool, beside: bool) -> Result:
    """A case whose answer is always the same is decided by it. Requirements that have verdicts of their own leave the
    cases none to speak for."""
    decision: Decision = tally.gate.decision
    if sure and tally.gate.runs:
        decision = "pass" if tally.gate.scores.get(1, 0) == tally.gate.runs else "fail"
    return replace(tally.result(case.name, decision), requirements=() if beside else tuple(sorted(tested(case))))


def _verdict(requirement: Requirement, tally: _Tally, sure: bool) -> Verdict:
    found = tally.gate.verdict()
    if sure and found.decision == "undecided":
        share = found.mean
        known: Decision = (
            "pass" if share >= requirement.threshold else "fail" if share <= requirement.worst else "undecided"
        )
        return replace(found, decision=known)
    return found
