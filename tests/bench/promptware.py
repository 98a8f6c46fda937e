"""What the tests and the debugger of prompts can be held to: parts of `workbench`.

`gates` and `debugger` run on simulated prompts, whose truth is known and which cost nothing; `planted` on the language
model of this machine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inglenook.errors import NookError
from inglenook.evals.calls import Settings, Target
from inglenook.evals.drive import drive as run_calls
from inglenook.evals.rows import Rows
from inglenook.evals.targets import open as open_target
from inglenook.prompt.ast import Prompt, Segment, Slot, escape
from inglenook.prompt.binomial import fixed
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.debug import culprits
from inglenook.prompt.group import Decide, Mask, Search, bayes, ddmin, drive, majority, sequentially
from inglenook.prompt.sequential import Bets, Claim, Gate, Sprt, bounds
from inglenook.prompt.suite import NO_JUDGES, trials

from buildlib.project import STAMPS

Figures = dict[str, Any]
PROMPTS = 10_000  # simulated ones at each rate
TRIALS = 60  # searches of each kind
FALLS = 0.25  # how often a model must fail for a defect, to have fallen for it
PLANTED = Path(__file__).with_name("planted.jsonl")

VOTES = (1, 3, 5, 9, 15, 25, 41)
ERRORS = (0.1, 0.05, 0.02, 0.01, 0.003, 0.001)


@dataclass(frozen=True)
class World:
    """A prompt of so many parts, of which `makers` make it fail together: with them it does so with rate `seen`, else
    with `noise`; `needed`: a part without which it mostly fails, too."""

    parts: int
    makers: int
    seen: float
    noise: float
    needed: bool = False


WORLDS = (
    World(8, 1, 0.9, 0.1), World(12, 1, 0.9, 0.1), World(24, 1, 0.8, 0.2), World(12, 1, 0.7, 0.05),
    World(12, 2, 0.9, 0.1), World(24, 2, 0.8, 0.2), World(40, 2, 0.85, 0.1), World(12, 1, 0.9, 0.1, True),
)  # fmt: skip


def gates(prompts: int = PROMPTS) -> Figures:
    """Realised errors where they are largest, at the two rates themselves, and runs beside the fixed test's."""
    claim = Claim()
    size, _ = fixed(claim.good, claim.bad, claim.alpha, claim.beta)
    figures: Figures = {}
    kinds: dict[str, tuple[Callable[[], Gate], int]] = {
        "gate": (lambda: Sprt(claim), prompts), "bets": (lambda: Bets(claim, 2000), prompts // 8),
    }  # fmt: skip
    for name, (make, count) in kinds.items():
        rng, runs = np.random.default_rng(2026), []
        wrong: dict[str, int] = {}
        for rate, error in ((claim.good, "fail"), (claim.bad, "pass")):
            decided = []
            for _ in range(count):
                gate = make()
                while gate.open:
                    gate.add(int(rng.random() < rate))
                decided.append(gate.decision)
                runs.append(gate.runs)
            wrong[error] = decided.count(error)  # type: ignore[arg-type]
        figures[f"{name}_false_alarm"] = round(wrong["fail"] / count, 4)
        figures[f"{name}_miss"] = round(wrong["pass"] / count, 4)
        figures[f"{name}_runs_saved"] = round(1 - float(np.mean(runs)) / size, 3)
        figures[f"{name}_prompts"] = 2 * count
    exact = bounds(claim)
    figures |= {
        "gate_fixed_size": size, "gate_false_alarm_exact": round(exact.operate(claim.good)[0], 4),
        "gate_miss_exact": round(1 - exact.operate(claim.bad)[0], 4),
    }  # fmt: skip
    return figures


def debugger(trials: int = TRIALS) -> Figures:
    """Searches on simulated prompts: how often exactly the truth is found, and how many runs that takes beside ddmin.

    At equal accuracy: of ddmin with 1, 3, 5 … runs a question, the cheapest that is right as often; once more for ddmin
    with an SPRT a question that is told the true rates, which nobody knows of a real prompt. Where another part is
    needed ddmin cannot be right (what it keeps must fail by itself), so there is no comparison.
    """
    rows = []
    ratios: dict[str, list[tuple[float, float]]] = {"ddmin": [], "ddmin_told_rates": []}
    for world in WORLDS:
        right, used = _many(world, trials, lambda seed, world=world: bayes(world.parts, seed=seed))  # type: ignore[misc]
        row: dict[str, Any] = {**asdict(world), "exact": right, "runs": used}
        for name, steps in (("ddmin", VOTES), ("ddmin_told_rates", ERRORS)) if not world.needed else ():
            for step in steps:
                decide = majority(int(step)) if name == "ddmin" else sequentially(world.seen, world.noise, step)
                theirs = _many(world, trials, lambda _, world=world, decide=decide: ddmin(world.parts, decide))  # type: ignore[misc]
                if theirs[0] >= right - 0.01:
                    row[name] = {"exact": theirs[0], "runs": theirs[1], "by": step}
                    ratios[name].append((theirs[1], used))
                    break
            else:
                row[name] = "never as accurate"
        print(json.dumps(row), flush=True)
        rows.append(row)
    return {
        "debugger_simulated_exact_share": round(float(np.mean([row["exact"] for row in rows])), 3),
        "debugger_simulated_runs": round(float(np.mean([row["runs"] for row in rows])), 1),
        **{
            f"debugger_simulated_runs_vs_{name}": round(sum(a for a, _ in pairs) / sum(b for _, b in pairs), 2)
            for name, pairs in ratios.items()
        },
        "debugger_simulated": rows,
    }


def _many(world: World, trials: int, make: Callable[[int], Search]) -> tuple[float, float]:
    """How often a search found exactly the truth, and its mean runs."""
    rng, right, runs = np.random.default_rng(7), 0, 0
    for trial in range(trials):
        makers = tuple(sorted(rng.choice(world.parts, world.makers, replace=False).tolist()))
        found = drive(make(trial), _effect(rng, makers, world))
        right, runs = right + (found.parts == makers), runs + found.runs
    return round(right / trials, 3), round(runs / trials, 1)


def _effect(rng: np.random.Generator, makers: tuple[int, ...], world: World) -> Callable[[Mask], bool]:
    other = next(part for part in range(world.parts) if part not in makers) if world.needed else None

    def effect(mask: Mask) -> bool:
        if other is not None and not mask[other] and rng.random() < 0.8:
            return True
        return bool(rng.random() < (world.seen if all(mask[part] for part in makers) else world.noise))

    return effect


# ── on the real model ─────────────────────────────────────────────────────────────────────────────────────────────

PLAIN = (
    ("persona", "You are a helpful assistant."), ("audience", "The reader is a student."),
    ("words", "Use plain words."), ("tone", "Be friendly."), ("place", "You work at a school."),
    ("language", "Answer in English."), ("length", "Answer in one sentence."),
)  # fmt: skip
QUESTIONS = (
    "What is the capital of France?",
    "What do bees make?",
    "Why is the sky blue?",
    "How many days has a week?",
)


def planted() -> Figures:
    """The debugger on prompts of ten segments or so, one or two of which are defects of `planted.jsonl`.

    The defects were written, and their places drawn, before any debugger or model saw them: 17 in each of the six
    dimensions, 12 pairs. A prompt fails if the answer has a defect's marker, a word that has nothing to do with the
    question. The truth are those that make it fail by themselves in three of twelve runs; where there is none, or it
    fails without any, the model did not fall for it and nothing is searched.

    ddmin with five runs a question is run beside it. Its runs at equal accuracy would take days on a model, so they are
    simulated at the rates that it showed: with votes (null where no number of votes is as accurate, as with effects
    that come in less than half of all runs), and with SPRTs that are told the rates. Answers are kept in
    `.build/planted.jsonl`, so this takes up where it was stopped; remove it to ask anew.
    """
    STAMPS.mkdir(exist_ok=True)
    with open_target("native") as target, Rows(STAMPS / "planted.jsonl") as rows:
        return searched(target, rows)


def searched(target: Target, rows: Rows | None = None, most: int | None = None) -> Figures:
    """`planted` on any target, or the first `most` defects of it."""
    defects = [json.loads(line) for line in PLANTED.read_text("utf-8").splitlines()][:most]
    by = defaultdict[str, list[int]](list)
    runs, baseline, worlds, missed = list[int](), list[int](), list[World](), 0
    for defect in defects:
        prompt, cases = _planted(defect)
        names = [one.name for one in prompt.segments if one.name.startswith("planted")]
        rates = {name: _rate(prompt.without({*names} - {name}), cases, target, rows) for name in (*names, "")}
        wanted = {name for name in names if rates[name] >= FALLS}
        if not wanted or rates[""] >= FALLS:
            print(json.dumps({"id": defect["id"], "rates": rates}), flush=True)
            continue
        found = {search: _search(prompt, cases, target, rows, search) for search in ("bayes", "ddmin")}
        ours = found["bayes"]
        right = {search: one is not None and set(one.segments) == wanted for search, one in found.items()}
        if ours is None:  # its first look saw no failure: not found, and no runs to compare
            print(json.dumps({"id": defect["id"], "rates": rates, "right": False, "how": "not seen"}), flush=True)
            by[defect["dimension"] if len(names) == 1 else "two"].append(0)
            missed += 1
            continue
        told = {"right": right["bayes"], "runs": ours.found.runs, "how": ours.found.how, "found": ours.segments}
        print(json.dumps({"id": defect["id"], "rates": rates, **told}), flush=True)
        by[defect["dimension"] if len(names) == 1 else "two"].append(int(right["bayes"]))
        runs.append(ours.found.runs)
        baseline.append(int(right["ddmin"]))
        worlds.append(World(len(PLAIN) + len(names), 1, max(rates.values()), max(0.02, rates[""])))
    share = sum(map(sum, by.values())) / max(1, len(runs) + missed)
    votes = [lambda one, k=k: majority(k) for k in VOTES]  # type: ignore[misc]
    sprts = [lambda one, e=e: sequentially(one.seen, one.noise, e) for e in ERRORS]  # type: ignore[misc]
    ratios = [_beside(worlds, ladder, share, float(np.mean(runs or [1]))) for ladder in (votes, sprts)]
    return {
        "debugger_exact_share": round(share, 3) if runs else None,
        "debugger_runs_vs_ddmin": ratios[0],
        "debugger_runs_vs_ddmin_told_rates": ratios[1],
        "debugger_planted": len(defects), "debugger_fell_for": len(runs) + missed,
        "debugger_runs": round(float(np.mean(runs)), 1) if runs else None,
        "debugger_ddmin_of_five_exact_share": round(float(np.mean(baseline)), 3) if runs else None,
        "debugger_by_dimension": {name: [sum(some), len(some)] for name, some in sorted(by.items())},
    }  # fmt: skip


def _beside(
    worlds: list[World], ladder: Sequence[Callable[[World], Decide]], share: float, runs: float
) -> float | None:
    """How many times `runs` ddmin takes with the first way of deciding that finds the truth as often as `share`."""
    for decide in ladder if worlds else ():
        found = [_many(one, 10, lambda _, one=one: ddmin(one.parts, decide(one))) for one in worlds]  # type: ignore[misc]  # noqa: B023
        if np.mean([right for right, _ in found]) >= share - 0.01:
            return round(float(np.mean([used for _, used in found])) / runs, 2)
    return None


def _search(prompt: Prompt, cases: list[Case], target: Target, rows: Rows | None, search: Any) -> Any:
    """What the search finds; None where none of the runs that it looks at first failed."""
    try:
        return run_calls(culprits(prompt, cases, target.name, search=search), target, rows, patience=0)
    except NookError as error:
        if error.code != "not-failing":
            raise
        return None


def _rate(prompt: Prompt, cases: list[Case], target: Target, rows: Rows | None) -> float:
    """How often it fails, in twelve runs."""
    pairs = [(case, seed) for case in cases for seed in range(3)]
    found = run_calls(trials(prompt, pairs, target.name, NO_JUDGES), target, rows, patience=0)
    return sum(not one.judged.passed for one in found) / len(found)


def _planted(defect: dict[str, Any]) -> tuple[Prompt, list[Case]]:
    segments = [Segment(name, text, "constraint") for name, text in PLAIN]
    for number, one in enumerate(reversed(defect["segments"])):
        segments.insert(one["at"], Segment(f"planted-{number}", escape(one["text"])))
    segments.append(Segment("input", "Question: {{question}}", "input"))
    prompt = Prompt(tuple(segments), (Slot("question"),), settings=Settings(max_tokens=24, temperature=0.7))
    free = Assertion("not-icontains-any", list(defect["markers"]))
    return prompt, [Case(question, {"question": question}, (free,)) for question in QUESTIONS]
