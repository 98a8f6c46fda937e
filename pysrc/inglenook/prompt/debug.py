"""Why a prompt fails: the segments that make it fail, what it lacks, and the version that broke it.

    reproduce   cases and seeds under which it fails: each is a call that can be asked again, to the letter
    culprits    segments whose going mends it, by `group.bayes` (or `ddmin`, to compare)
    missing     the mirrored search: texts whose coming mends it
    bisect      the first of some versions that fails

A run is one drawn case with the next seed. Cases are drawn with replacement, so that runs are independent also where a
case always answers the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from inglenook.errors import NookError
from inglenook.evals.calls import Work
from inglenook.prompt.ast import Prompt, Role, Segment, escape
from inglenook.prompt.case import Case
from inglenook.prompt.group import Floats, Found, Mask, Search, bayes, ddmin, majority
from inglenook.prompt.oracle import Judges
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.sequential import Claim, Sprt
from inglenook.prompt.suite import NO_JUDGES, Trial, checked, steady, trials
from inglenook.prompt.trace import trace

Blamed: TypeAlias = Callable[[Mapping[str, float]], None]
"""Hears how likely each segment (or text) is to blame, by name."""
TRIES = 3  # seeds of each case, to see whether it fails
REPEATS = 5  # runs that decide a question of ddmin


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a search found, by name: `segments` to take out (texts to put in, where something is `lacking`), how sure
    that is, and a `failing` run of the prompt as it was, whose call can be asked again with its seed."""

    found: Found
    segments: tuple[str, ...]
    failing: Trial | None = None
    mended: Prompt | None = None
    lacking: bool = False


class Runs:
    """Draws the next run: a case at random, a seed that was not used yet (one only where seeds change nothing)."""

    def __init__(
        self, cases: Sequence[Case], target: str, judges: Judges, seed: int, demand: Requirement | None = None
    ) -> None:
        self._cases, self._target, self._judges, self._demand = cases, target, judges, demand
        self._rng, self._seed = np.random.default_rng(seed), seed

    def fails(self, prompt: Prompt) -> Work[bool]:
        """One run; whether it failed. A prompt of which nothing is left fails unasked."""
        if not prompt.segments:
            return True
        case = self._cases[int(self._rng.integers(len(self._cases)))]
        self._seed += 0 if steady(prompt) else 1
        [trial] = yield from trials(prompt, [(case, self._seed)], self._target, self._judges)
        return broke(trial, self._demand)


def broke(trial: Trial, demand: Requirement | None) -> bool:
    """Whether a run failed: its case, or one requirement."""
    return not (trial.kept(demand) if demand else trial.judged.passed)


def reproduce(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    demand: Requirement | None = None, seed: int = 0,
) -> Work[list[Trial]]:  # fmt: skip
    """A failing run of each case that fails in one of three seeds."""
    checked(prompt, cases, judges)
    tries = 1 if steady(prompt) else TRIES
    found = yield from trials(prompt, [(case, seed + i) for case in cases for i in range(tries)], target, judges)
    failing: dict[str, Trial] = {}
    for trial in found:
        if broke(trial, demand):
            failing.setdefault(trial.case.name, trial)
    return list(failing.values())


def culprits(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    parts: Sequence[str] | None = None, most: int = 2, runs: int = 200, seed: int = 0,
    demand: Requirement | None = None, search: Literal["bayes", "ddmin"] = "bayes",
    suspicion: Callable[[str], float] = lambda name: 1.0, told: Blamed | None = None,
) -> Work[Diagnosis]:  # fmt: skip
    """The segments, at most `most`, that make the cases fail; those in `parts` are tried (default: `removable`).

    `demand` narrows "fails" to one requirement; `suspicion` weighs segments beforehand, by a linter's findings, say;
    `told` hears after each run of `bayes` how likely each is to blame.
    Raises NookError("not-failing") if nothing fails, NookError("no-parts") if nothing may go.
    """
    failing = yield from reproduce(prompt, cases, target, judges, demand=demand, seed=seed)
    if not failing:
        raise _nothing()
    names = removable(prompt) if parts is None else list(parts)
    draw = Runs([trial.case for trial in failing], target, judges, seed + TRIES, demand)
    noisy = not (steady(prompt) and len(failing) == 1)
    looking: Search = (
        ddmin(len(names), majority(REPEATS if noisy else 1)) if search == "ddmin" and names
        else bayes(
            len(names), most=most, runs=runs, seed=seed, noisy=noisy, suspicion=[suspicion(one) for one in names],
            told=_named(names, told),
        )
    )  # fmt: skip

    def effect(mask: Mask) -> Work[bool]:
        gone = {name for name, stays in zip(names, mask) if not stays}
        return (yield from draw.fails(prompt.without(gone)))

    found = yield from _searched(looking, effect)
    blamed = tuple(names[part] for part in found.parts)
    mended = prompt.without(blamed if found.how != "together" else blamed[:1]) if blamed else None
    return Diagnosis(found, blamed, failing[0], mended)


def missing(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    texts: Sequence[Segment] | None = None, most: int = 2, runs: int = 200, seed: int = 0,
    demand: Requirement | None = None, told: Blamed | None = None,
) -> Work[Diagnosis]:  # fmt: skip
    """The texts, at most `most`, that mend the prompt when they are put in; of `texts` (default: `repairs`)."""
    failing = yield from reproduce(prompt, cases, target, judges, demand=demand, seed=seed)
    if not failing:
        raise _nothing()
    candidates = repairs(prompt, cases) if texts is None else list(texts)
    draw = Runs([trial.case for trial in failing], target, judges, seed + TRIES, demand)
    noisy = not (steady(prompt) and len(failing) == 1)

    def put(chosen: Sequence[Segment]) -> Prompt:
        before = next((one.name for one in prompt.segments if one.kind == "input"), None)
        whole = prompt
        for one in chosen:
            whole = whole.put(one, before)
        return whole

    def effect(mask: Mask) -> Work[bool]:
        return not (yield from draw.fails(put([one for one, comes in zip(candidates, mask) if comes])))

    looking = bayes(len(candidates), most=most, failure=False, runs=runs, seed=seed, noisy=noisy,
                    told=_named([one.text for one in candidates], told))  # fmt: skip
    found = yield from _searched(looking, effect)
    chosen = [candidates[part] for part in found.parts]
    helping = chosen if found.how == "together" else chosen[:1]
    return Diagnosis(found, tuple(one.text for one in chosen), failing[0], put(helping) if helping else None,
                     lacking=True)  # fmt: skip


def _searched(search: Search, effect: Callable[[Mask], Work[bool]]) -> Work[Found]:
    """A search whose runs are calls."""
    try:
        mask = next(search)
        while True:
            mask = search.send((yield from effect(mask)))
    except StopIteration as end:
        found: Found = end.value
        return found


def _named(names: Sequence[str], told: Blamed | None) -> Callable[[Floats], None] | None:
    return told and (lambda shares: told(dict(zip(names, shares.tolist(), strict=True))))


def _nothing() -> NookError:
    return NookError(
        "not-failing", "None of the cases failed, so there is nothing to find.", "Name a case that does, or add one."
    )


def removable(prompt: Prompt) -> list[str]:
    """The segments that may be blamed: those nobody protected, and that are not the input itself."""
    return [one.name for one in prompt.segments if not one.protected and one.kind != "input"]


def repairs(prompt: Prompt, cases: Sequence[Case]) -> list[Segment]:
    """What could be missing: requirements that no segment states, and what the assertions ask for, in words."""
    unstated = set(trace(prompt).unstated)
    texts = [one.text for one in prompt.requirements if one.id in unstated and one.text]
    texts += [
        text for case in cases for assertion in case.assertions for text in _said(assertion.type, assertion.value)
    ]
    wanted = {str(one.value) for case in cases for one in case.assertions if one.type == "equals"}
    if 1 < len(wanted) <= 12:
        texts.append(f"Answer with exactly one of these and nothing else: {', '.join(sorted(wanted))}.")
    texts += [
        "Use only what is given here.",
        "Answer in one short sentence.",
        "Think about each part before you answer.",
    ]
    taken = {one.name for one in prompt.segments}
    names = (f"repair-{i}" for i in range(1, 10_000) if f"repair-{i}" not in taken)
    role: Role = next((one.role for one in prompt.segments if one.kind in ("task", "constraint", "format")), "user")
    return [Segment(name, escape(text), "constraint", role) for name, text in zip(names, dict.fromkeys(texts))]


def _said(kind: str, value: object) -> Iterator[str]:
    """An assertion as an instruction."""
    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "{{" in told:
        return
    match kind:
        case "is-json" | "contains-json":
            yield "Answer with JSON only: nothing before it, nothing after it."
            if isinstance(value, dict):
                yield f"Your answer is JSON that fits this schema: {told}"
        case "starts-with":
            yield f"Begin your answer with: {told}"
        case "contains" | "icontains":
            yield f"Your answer must contain: {told}"
        case "contains-any" | "icontains-any":
            yield f"Your answer must contain one of: {told}"
        case "contains-all" | "icontains-all":
            yield f"Your answer must contain all of: {told}"
        case "not-contains" | "not-icontains":
            yield f"Never write: {told}"
        case "regex":
            yield f"Your answer must match this pattern: {told}"
        case "llm-rubric":
            yield f"Your answer is judged by this rule: {told}"
        case "cost" | "latency":
            yield "Be brief: at most two sentences."


def bisect(
    versions: Sequence[Prompt], cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    claim: Claim | None = None, seed: int = 0, told: Callable[[int, bool], None] | None = None,
) -> Work[int]:  # fmt: skip
    """The number of the first version that fails, of versions from old to new of which the first passes and the last
    fails: halving, each question an SPRT whose errors add up to those of `claim`. `told` hears of each that was run
    whether it passes. Raises NookError("not-failing") if the two ends are not so."""
    claim = claim or Claim()
    for version in versions:
        checked(version, cases, judges)
    asked = 2 + math.ceil(math.log2(max(2, len(versions))))
    share = Claim(claim.good, claim.bad, claim.alpha / asked, claim.beta / asked)

    def passes(number: int) -> Work[bool]:
        draw, gate = Runs(cases, target, judges, seed), Sprt(share)
        while gate.open:
            gate.add(int(not (yield from draw.fails(versions[number]))))
        if told:
            told(number, gate.decision == "pass")
        return gate.decision == "pass"

    good, bad = 0, len(versions) - 1
    if len(versions) < 2 or not (yield from passes(good)) or (yield from passes(bad)):
        hint = "Begin with a version that works, end with one that does not."
        raise NookError("not-failing", "The first version must pass and the last must fail.", hint)
    while bad - good > 1:
        middle = (good + bad) // 2
        if (yield from passes(middle)):
            good = middle
        else:
            bad = middle
    return bad
