"""Requests with latencies asked for, as the authors of ELMS recorded them (2409.09071, section 5), replayed in the tab.

A request is a question with choices, a length of prompt and an SLO relative to the whole model: (first token, further
tokens). The prompt is filled up to that length with solved questions of the same set; of these the first are left out
where less of the prompt is read. An answer is right if its choice is the likeliest by mean log-probability of its
tokens, and in time if both latencies, measured in the page, are within `SCALE` times the SLO.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from inglenook.elastic import plan
from inglenook.elastic.latency import Cost, Latency, Run
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError
from inglenook.kernels.artifact import read_header
from inglenook.platform.native.models import LanguageModel
from inglenook.train import tasks
from inglenook.train.tasks import Task
from inglenook.wire.messages import Slo
from resident import LM, TOKENIZER, page

from buildlib.project import ROOT, say

DATA = ROOT.parent / "shared" / "data" / "elms"
SETS = ("arc_e", "obqa", "piqa", "sciq")
"""The others are orders to a telephone, with dozens of choices."""
SCALE = 1.25
WRITTEN = 8
MOST = 700
"""Tokens of a prompt."""
CALIBRATED = ((64, 448), (1, 512), (1, 64), (64, 0), (16, 0))
"""Passes by whose times a level is known: tokens, position. What comes after a pass is forgotten, so they go back."""
RUN = """async ([tokens, at, level]) => {
  const begun = performance.now();
  self.best = await kernels.forward(Int32Array.from(tokens), at, 64, { level });
  return performance.now() - begun;
}"""
ANSWER = """async ([tokens, choices, level, written]) => {
  const begun = performance.now();
  let best;
  for (let at = 0; at < tokens.length; at += 64) {
    best = await kernels.forward(Int32Array.from(tokens.slice(at, at + 64)), at, 64, { level });
  }
  const first = performance.now() - begun;
  for (let i = 0; i < written; i++) {
    best = await kernels.forward(best.ids.slice(0, 1), tokens.length + i, 64, { level });
  }
  const token = (performance.now() - begun - first) / written;
  const scores = [];
  for (const choice of choices) {
    const found = await kernels.score(Int32Array.from([tokens.at(-1), ...choice]), tokens.length - 1, { level });
    scores.push(found.reduce((sum, score) => sum + score, 0) / choice.length);
  }
  return { first, token, scores };
}"""


@dataclass(frozen=True)
class Request:
    """A question with a prompt of so many `tokens`; `slo` relative to the whole model."""

    task: Task
    slo: tuple[float, float]
    tokens: int

    @property
    def solved(self) -> str:
        return f"{self.task.prompt}{self.task.choices[self.task.right]}\n\n"


def requests(path: Path) -> list[Request]:
    """Those of a trace that have few choices."""
    entries = json.loads(path.read_text("utf-8"))
    asked = [(tasks.question(entry), entry) for entry in entries]
    return [
        Request(task, (slo[0], slo[1]), int(tokens))
        for task, (_, _, _, slo, tokens, _) in asked
        if task and task.name in SETS
    ]


@dataclass
class Asked:
    """A question in tokens: solved ones of its set before it, which may be dropped from the first on."""

    request: Request
    tokenizer: Tokenizer
    others: Sequence[Request]

    @cached_property
    def own(self) -> list[int]:
        return self.tokenizer.encode(self.request.task.prompt, special=False)

    @cached_property
    def choices(self) -> list[list[int]]:
        return [self.tokenizer.encode(choice, special=False) for choice in self.request.task.choices]

    @cached_property
    def examples(self) -> list[list[int]]:
        room = min(self.request.tokens, MOST) - len(self.own)
        found: list[list[int]] = []
        for other in self.others:
            ids = self.tokenizer.encode(other.solved, special=False)
            room -= len(ids)
            if room < 0:
                break
            if other.task.prompt != self.request.task.prompt:
                found.append(ids)
        return found

    @property
    def prompt(self) -> plan.Prompt:
        whole = len(self.own) + sum(map(len, self.examples))
        return plan.Prompt(whole, len(self.own), answer=WRITTEN)

    def kept(self, most: int) -> list[int]:
        """At most so many tokens, the question whole."""
        out, room = list(self.own), most - len(self.own)
        for example in reversed(self.examples):
            room -= len(example)
            if room < 0:
                break
            out = [*example, *out]
        return out


class Replay:
    """A page with the model, what its levels take, and what was answered."""

    def __init__(self, opened: Any, levels: Sequence[float]) -> None:
        self.opened, self.ratios = opened, levels
        self.quality = plan.Quality.of(read_header(LM).config)
        self._answers: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.latency = Latency([self._cost(level) for level in range(len(levels))])

    def _cost(self, level: int) -> Cost:
        filler = [1000 + i for i in range(64)]
        for at in range(0, 512, 64):
            self.opened.evaluate(RUN, [filler, at, level])
        took = lambda n, at: min(self.opened.evaluate(RUN, [filler[:n], at, level]) for _ in range(4))
        return Cost.fit([Run(n, at, took(n, at)) for n, at in CALIBRATED])

    def slo(self, asked: Asked) -> Slo:
        """In milliseconds on this device."""
        first, token = asked.request.slo
        whole = asked.prompt
        return Slo(
            SCALE * first * self.latency.costs[0].prefill(whole.tokens),
            SCALE * token * self.latency.costs[0].decode(whole.tokens),
        )

    def answer(self, number: int, asked: Asked, level: int, kept: int) -> dict[str, Any]:
        """What the page measured, once for each pair: `first`, `token`, `right`."""
        tokens = asked.kept(kept)
        key = (number, level, len(tokens))
        if key not in self._answers:
            found = self.opened.evaluate(ANSWER, [tokens, asked.choices, level, WRITTEN])
            found["right"] = asked.request.task.answered(found["scores"])
            self._answers[key] = found
        return self._answers[key]

    def planned(self, asked: Asked, slo: Slo, levels: int) -> plan.Plan:
        """By the planner, of the first `levels`; where it refuses, the fastest pair."""
        place = plan.Place("tab", Latency(self.latency.costs[:levels]), self.quality)
        try:
            return plan.choose(slo, asked.prompt, place)
        except NookError as error:
            if error.code != "slo":
                raise
            return plan.fastest(slo, asked.prompt, place)


def measure(driver: Any, most: int) -> dict[str, Any]:
    """Attainment and accuracy of every way to choose, over the same requests."""
    ratios = _ratios()
    tokenizer = Tokenizer.load(TOKENIZER.read_bytes())
    found = requests(DATA / "trace_0.json")
    chosen = found[:: max(1, len(found) // most)][:most]
    all_asked = [Asked(one, tokenizer, [o for o in found if o.task.name == one.task.name]) for one in chosen]
    with page(driver) as (opened, _):
        replay = Replay(opened, ratios)
        pair = lambda made: (made.level, made.kept)
        ways: dict[str, Callable[[Asked, Slo], tuple[int, int]]] = {
            "planner": lambda asked, slo: pair(replay.planned(asked, slo, len(ratios))),
            "prompt alone": lambda asked, slo: pair(replay.planned(asked, slo, 1)),
        }
        for level, ratio in enumerate(ratios):
            ways[f"fixed {ratio:.2f}"] = lambda asked, slo, level=level: (level, asked.prompt.tokens)
        rows = {name: _row(replay, all_asked, way) for name, way in ways.items()}
    for name, row in rows.items():
        say(f"  {name}: {row}")
    ours = rows["planner"]
    fixed = [row for name, row in rows.items() if name.startswith("fixed")]
    equal = [row for row in fixed if row["attainment"] >= ours["attainment"]] or [
        max(fixed, key=lambda row: row["attainment"])
    ]
    return {
        "slo_accuracy_gain_over_best_fixed": round(100 * (ours["accuracy"] - max(r["accuracy"] for r in equal)), 1),
        "slo_attainment": ours["attainment"],
        "slo": {"requests": len(chosen), "scale": SCALE, **rows},
    }


def _row(replay: Replay, all_asked: Sequence[Asked], way: Callable[[Asked, Slo], tuple[int, int]]) -> dict[str, float]:
    right, met = [], []
    for number, asked in enumerate(all_asked):
        slo = replay.slo(asked)
        said = replay.answer(number, asked, *way(asked, slo))
        right.append(said["right"])
        met.append(said["first"] <= (slo.first or 0) and said["token"] <= (slo.token or 0))
    return {
        "accuracy": round(float(np.mean(right)), 3),
        "attainment": round(float(np.mean(met)), 3),
        "right_in_time": round(float(np.mean(np.logical_and(right, met))), 3),
    }


def choices(most: int) -> dict[str, Any]:
    """Accuracy above chance at ratios near 80 and 50 %, as a share of the whole model's: without examples, natively."""
    ratios = _ratios()
    tokenizer = Tokenizer.load(TOKENIZER.read_bytes())
    chosen = [task for task in tasks.read(DATA / "trace_0.json") if task.name in SETS][:most]
    chance = float(np.mean([task.chance for task in chosen]))
    model = LanguageModel(LM)
    above: dict[int, float] = {}
    told = {}
    for level in sorted({0, _near(ratios, 0.8), _near(ratios, 0.5)}):

        def score(prompt: list[int], choice: list[int], level: int = level) -> tuple[np.ndarray, bool]:
            model.forward(prompt[:-1], 0, 1, level=level)
            return model.score([prompt[-1], *choice], len(prompt) - 1, level=level), False

        right = [tasks.correct(task, tokenizer, score) for task in chosen]
        by_set = {name: np.mean([r for task, r in zip(chosen, right) if task.name == name]) for name in SETS}
        told[f"{ratios[level]:.2f}"] = {name: round(float(value), 3) for name, value in by_set.items()}
        above[level] = float(np.mean(right)) - chance
    model.close()
    share = lambda ratio: round(above[_near(ratios, ratio)] / above[0], 3) if _near(ratios, ratio) else None
    return {"task_share_at_80": share(0.8), "task_share_at_50": share(0.5), "task_accuracy": told}


def _ratios() -> list[float]:
    told: Any = read_header(LM).config.get("levels")
    return [float(level["ratio"]) for level in told]


def _near(ratios: Sequence[float], wanted: float) -> int:
    return min(range(len(ratios)), key=lambda i: abs(ratios[i] - wanted))
