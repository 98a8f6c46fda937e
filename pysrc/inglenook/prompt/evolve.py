"""A prompt that rewrites itself by its failures, behind a gate.

As in GEPA (2507.19457): a writer reads what failed and why and rewrites one segment; what does better on the failed
runs is run on all cases for learning and joins the pool; parents are drawn from those that are best at some case.

Unlike there, what came of it must pass: on cases that evolution never saw, side by side with the prompt as it was, no
requirement may be lost and all cases together must have gained, sequentially tested. Protected segments are not the
writer's to change, slots stay, and every segment keeps its requirements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inglenook import depth
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Message, Settings, Work
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case, Decision
from inglenook.prompt.change import Comparison, Side, compare
from inglenook.prompt.oracle import Judges
from inglenook.prompt.suite import NO_JUDGES, Trial, checked, split, steady, trials
from inglenook.types import Json

SHOWN = 3  # failed runs that a writer is shown
SEEDS = 3  # runs of each case for learning

ASK = """A prompt has these segments:

{segments}

With it, a model failed here:

{failures}

Rewrite one segment so that this does not happen again. Keep what it asks for, and every {{{{name}}}} in it. You may
change: {names}. Answer with JSON: {{"segment": "…", "text": "…"}}"""


@dataclass(frozen=True, slots=True)
class Step:
    """One rewriting: of which segment, the new text, and what became of it: "kept", or why not."""

    segment: str
    text: str
    fate: str


@dataclass(frozen=True, slots=True)
class Evolved:
    """What came out: the better prompt if it was `accepted`, else the one that went in. `best` is what did best on the
    cases for learning, `comparison` the gate's of it, None if nothing got so far."""

    prompt: Prompt
    accepted: bool
    steps: tuple[Step, ...]
    best: Prompt
    comparison: Comparison | None = None

    @property
    def decision(self) -> Decision:
        """That nothing better was found does not say that there is nothing."""
        return "pass" if self.accepted else "undecided"


def evolve(
    prompt: Prompt, cases: Sequence[Case], target: str = "", writer: str = "", judges: Judges = NO_JUDGES, *,
    rounds: int = 8, most: int = 400, margin: float = 0.1, seed: int = 0,
    told: Callable[[Sequence[Step]], None] | None = None,
) -> Work[Evolved]:  # fmt: skip
    """Rewrite a prompt in at most `rounds` rounds; `writer` is the target that writes (default: the same one); `told`
    hears after each what became of all.

    Half of the cases are for learning, the other half for the gate. Raises NookError("few-cases") for fewer than four,
    NookError("no-parts") if every segment is protected.
    """
    checked(prompt, cases, judges)
    learning, held = split(cases, seed)
    names = [one.name for one in prompt.segments if not one.protected]
    if not names:
        raise NookError("no-parts", "Every segment is protected, so nothing may change.", "Free one of them.")
    rng, steps = np.random.default_rng(seed), list[Step]()
    pool = [(prompt, (yield from _scores(prompt, learning, target, judges, seed)))]
    for turn in range(rounds):
        parent, (_, failed) = pool[_parent([scores for _, (scores, _) in pool], rng)]
        if not failed:
            break
        shown = [failed[i] for i in rng.permutation(len(failed))[:SHOWN]]
        [reply] = yield [_ask(parent, shown, names, writer or target, seed + turn)]
        step, child = _rewritten(parent, reply.text, names)
        if child and any(child.digest == other.digest for other, _ in pool):
            step, child = replace(step, fate="it is in the pool already"), None
        if child:
            again = yield from trials(child, [(one.case, one.call.seed) for one in shown], target, judges)
            if not any(one.judged.passed for one in again):
                step, child = replace(step, fate="what failed still fails"), None
        if child:
            pool.append((child, (yield from _scores(child, learning, target, judges, seed))))
        steps.append(step)
        if told:
            told(steps)
    best = max(range(len(pool)), key=lambda i: (sum(pool[i][1][0]), -i))
    if best == 0:
        return Evolved(prompt, False, tuple(steps), prompt)
    found = yield from compare(
        Side(prompt, target), Side(pool[best][0], target), held, judges, margin=margin, most=most, seed=seed + SEEDS
    )
    accepted = not any(one.change == "lost" for one in found.shifts) and found.shifts[0].change == "gained"
    return Evolved(pool[best][0] if accepted else prompt, accepted, tuple(steps), pool[best][0], found)


def _scores(
    prompt: Prompt, cases: Sequence[Case], target: str, judges: Judges, seed: int
) -> Work[tuple[list[float], list[Trial]]]:
    """The mean score of each case, and the runs that failed."""
    seeds = 1 if steady(prompt) else SEEDS
    found = yield from trials(prompt, [(case, seed + i) for case in cases for i in range(seeds)], target, judges)
    marks = [sum(one.judged.score for one in found[i : i + seeds]) / seeds for i in range(0, len(found), seeds)]
    return marks, [one for one in found if not one.judged.passed]


def _parent(scores: Sequence[Sequence[float]], rng: np.random.Generator) -> int:
    """One of the pool, as often as it is the best at a case."""
    table = np.array(scores)
    best = table >= table.max(axis=0) - 1e-9
    return int(rng.choice(len(table), p=best.sum(axis=1) / best.sum()))


def _ask(prompt: Prompt, failed: Sequence[Trial], names: Sequence[str], writer: str, seed: int) -> Call:
    segments = "\n".join(f"[{one.name}] {one.text}" for one in prompt.segments)
    failures = "\n\n".join(
        f"Input: {json.dumps(dict(one.case.values), ensure_ascii=False)}\nAnswer: {one.reply.text[:500]}\n"
        f"Wrong: {one.judged.reason[:300]}" for one in failed
    )  # fmt: skip
    text = ASK.format(segments=segments, failures=failures, names=", ".join(names))
    form: Json = {
        "type": "object", "properties": {"segment": {"enum": list(names)}, "text": {"type": "string"}},
        "required": ["segment", "text"], "additionalProperties": False,
    }  # fmt: skip
    told: Json = {"type": "json_schema", "json_schema": {"name": "rewriting", "schema": form}}
    settings = Settings(max_tokens=400, temperature=0.9, response_format=told)
    return Call(writer, (Message("user", text),), settings, seed)


def _rewritten(prompt: Prompt, said: str, names: Sequence[str]) -> tuple[Step, Prompt | None]:
    """The prompt that a writer's answer makes, or why it makes none."""
    try:
        told = depth.parse(said)
        name, text = str(told["segment"]), str(told["text"])
    except (ValueError, TypeError, KeyError):
        return Step("", said[:200], "the writer wrote no JSON of a segment and a text"), None
    if name not in names:
        return Step(name, text, "it is not the writer's to change"), None
    segment = prompt[name]
    try:
        changed = replace(segment, text=text)
    except NookError as error:
        return Step(name, text, error.message), None
    if set(changed.slots) != set(segment.slots):
        return Step(name, text, "it has other slots than before"), None
    if changed == segment or not text.strip():
        return Step(name, text, "it changes nothing"), None
    return Step(name, text, "kept"), prompt.put(changed)
