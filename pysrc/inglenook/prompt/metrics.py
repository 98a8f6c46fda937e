"""Metrics of a prompt's design (O7 of arXiv:2503.02400): some are read off it, some are measured by asking a model.

The paper names cohesion, coupling, complexity, memory and a probabilistic determinism score, and gives no formulas;
those here are ours.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from inglenook.evals.calls import Work
from inglenook.prompt.ast import Prompt
from inglenook.prompt.build import tokens
from inglenook.prompt.case import Case
from inglenook.prompt.oracle import Judges
from inglenook.prompt.repetition import repeats
from inglenook.prompt.suite import NO_JUDGES, checked, steady, trials
from inglenook.search.sentences import sentences

_DUTY = re.compile(r"\b(?:must|never|always|do not|don['’]t|only|should|exactly|at (?:most|least))\b", re.IGNORECASE)
PAIRS = 45  # pairs of segments that are left out together at most: those of ten


@dataclass(frozen=True, slots=True)
class Design:
    """What a prompt's text tells.

    `tokens` of its text; `constraints`: sentences that oblige or forbid; `branches`: segments that are there only
    sometimes; `complexity`: constraints, branches and slots together; `coupling`: how many slots a segment uses in the
    mean; `redundancy`: the share of its characters in sentences that stood before; `stable`: the share of its tokens
    before the first slot, which a model reads once; `memory`: the share of the model's window that text, bounded slots
    and answer may take (None: the window is unknown, or a slot has no bound).
    """

    tokens: int
    segments: int
    slots: int
    constraints: int
    branches: int
    coupling: float
    redundancy: float
    stable: float
    memory: float | None

    @property
    def complexity(self) -> int:
        return self.constraints + self.branches + self.slots


def design(prompt: Prompt, count: Callable[[str], int], window: int | None = None) -> Design:
    """Read off the metrics of a prompt's text."""
    segments = prompt.segments
    said = [
        one.text[span.start : span.end] for one in segments if one.kind != "example" for span in sentences(one.text)
    ]
    letters = sum(len(one.text) for one in segments)
    size = tokens(prompt, count)
    first = next((n for n, one in enumerate(segments) if one.slots or one.when), len(segments))
    head = tokens(prompt.only({one.name for one in segments[:first]}), count)
    if first < len(segments) and not segments[first].when:
        head += count(next(iter(segments[first].pieces()))[0])
    texts = [slot for slot in prompt.slots if slot.type in ("text", "line")]
    bounded = window is not None and all(slot.most is not None for slot in texts)
    filled = sum(count("x" * int(slot.most)) for slot in texts if slot.most is not None)
    return Design(
        size, len(segments), len(prompt.slots), sum(bool(_DUTY.search(one)) for one in said),
        sum(bool(one.when) for one in segments),
        sum(len(one.slots) for one in segments) / max(1, len(segments)),
        sum(one.end - one.start for one in repeats(prompt)) / max(1, letters),
        head / max(1, size),
        (size + filled + prompt.settings.max_tokens) / window if bounded and window else None,
    )  # fmt: skip


def determinism(prompt: Prompt, cases: Sequence[Case], target: str = "", runs: int = 8, seed: int = 0) -> Work[float]:
    """1 if every run of a case gives the same answer, 0 if no two do: one minus the entropy of the answers over that of
    `runs` different ones, averaged over the cases. White space at the ends is no difference; failed calls count as one
    answer. Temperature 0 is no reason to skip it: engines differ from run to run too."""
    checked(prompt, cases, NO_JUDGES)
    scores = []
    for case in cases:
        replies = yield [prompt.call(case.values, target, seed + n) for n in range(runs)]
        counts = Counter(reply.text.strip() if not reply.error else reply.error for reply in replies)
        entropy = -sum(n / runs * math.log(n / runs) for n in counts.values())
        scores.append(1 - entropy / math.log(runs) if runs > 1 else 1.0)
    return sum(scores) / len(scores)


@dataclass(frozen=True, slots=True)
class Cohesion:
    """What segments do for the share of passes, alone and together.

    `alone[a]` is what is lost without a; `together[a, b]` what is lost without both beyond the sum of that. Where it
    is positive, each makes up for the other; negative, they work only together. `score` is its mean size over all
    pairs, between 0 (each segment works for itself) and 1.
    """

    whole: float
    alone: Mapping[str, float]
    together: Mapping[tuple[str, str], float]
    score: float


def cohesion(
    prompt: Prompt, cases: Sequence[Case], target: str = "", judges: Judges = NO_JUDGES, *,
    runs: int = 4, seed: int = 0,
) -> Work[Cohesion]:  # fmt: skip
    """Leave out each segment, and each pair of what brings no input in, and see what still passes."""
    checked(prompt, cases, judges)
    names = [one.name for one in prompt.segments if not one.slots]
    pairs = list(combinations(names, 2))[:PAIRS]
    each = 1 if steady(prompt) else runs

    def share(without: Sequence[str]) -> Work[float]:
        asked = [(case, seed + n) for n in range(each) for case in cases]
        found = yield from trials(prompt.without(without), asked, target, judges)
        return sum(one.judged.passed for one in found) / len(found)

    whole = yield from share(())
    alone: dict[str, float] = {}
    for name in names:
        alone[name] = whole - (yield from share((name,)))
    together: dict[tuple[str, str], float] = {}
    for a, b in pairs:
        together[a, b] = whole - (yield from share((a, b))) - alone[a] - alone[b]
    score = sum(min(1.0, abs(value)) for value in together.values()) / max(1, len(together))
    return Cohesion(whole, alone, together, score)
