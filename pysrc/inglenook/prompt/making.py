"""The command line of what makes prompts better: `inglenook prompt measure | apply | probe | build`.

Exit codes of `probe` and `build` as those of `asking`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.errors import NookError
from inglenook.evals.command import between, positive, write
from inglenook.prompt import asking, given
from inglenook.wire.messages import Slo

if TYPE_CHECKING:
    from inglenook.prompt.build import Lock


def add(kind: Callable[..., argparse.ArgumentParser]) -> None:
    """The options; `kind(name, run, help)` makes a parser."""
    measure = kind("measure", _measure, "the metrics of a prompt's design; with tests, those that are measured, too")
    measure.add_argument("prompt", type=Path)
    measure.add_argument("--window", type=positive, metavar="TOKENS", help="how much the target reads at most")
    measure.add_argument(
        "--runs", type=positive, default=8, metavar="N", help="of a case, to see how its answers vary (8)"
    )
    asking.common(measure, tests=False)

    apply = kind("apply", _apply, "a prompt with a design pattern")
    apply.add_argument("prompt", type=Path)
    apply.add_argument("pattern", help="persona, few-shot, steps, contract, refusal, delimit, guard, reminder, check")
    apply.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the pattern")
    apply.add_argument("-o", "--output", type=Path, metavar="FILE", help="the prompt file (the same, if none is named)")

    probe = kind("probe", _probe, "whether a model can meet a prompt's requirements at all")
    probe.add_argument("prompt", type=Path)
    probe.add_argument("--runs", type=positive, default=60, metavar="N", help="of a case at most (60)")
    asking.common(probe)

    build = kind("build", _build, "the smallest prompt and the cheapest part of a model that meet every requirement")
    build.add_argument("prompt", type=Path)
    build.add_argument("--levels", metavar="N,…", help="parts of the model to try, the cheapest first (what is set)")
    build.add_argument("--slo", metavar="MS,MS", help="the latency asked for: to the first token, for each after it")
    build.add_argument("--pass", dest="passes", action="append", default=[], metavar="NAME", help="only this pass")
    build.add_argument("--pattern", action="append", default=[], metavar="NAME", help="try this pattern, too")
    build.add_argument("--held", type=Path, metavar="FILE", help="cases that no pass sees, to verify with")
    build.add_argument("--margin", type=between(0.001, 1), default=0.1, help="the loss that counts as one (0.1)")
    build.add_argument("--runs", type=positive, default=60, metavar="N", help="of a case at most (60)")
    build.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the built prompt goes")
    build.add_argument("--lock", type=Path, metavar="FILE", help="where the evidence goes, as JSON")
    asking.page(build)
    asking.common(build)


def counter(target: str) -> Callable[[str], int]:
    """How many tokens a text has for a target: by the tokenizer of this machine's model, else about."""
    from inglenook.elastic.tokenizer import Tokenizer
    from inglenook.platform.native.engine import FILES, models_folder
    from inglenook.prompt.build import estimate

    vocabulary = models_folder() / FILES["lm"][1]
    if target.startswith("native") and vocabulary.exists():
        tokenizer = Tokenizer.load(vocabulary.read_bytes())
        return lambda text: len(tokenizer.encode(text, special=False))
    return estimate


def _measure(options: argparse.Namespace) -> int:
    from inglenook.prompt import metrics

    prompt = given.prompt(options.prompt)
    found = metrics.design(prompt, counter(options.target), options.window)
    told = {**dataclasses.asdict(found), "complexity": found.complexity}
    if options.tests:
        cases = given.cases(options.tests)
        with asking.asked(options) as (target, _, judges, run):
            told["determinism"] = run(metrics.determinism(prompt, cases, target, options.runs, options.seed))
            whole = run(metrics.cohesion(prompt, cases, target, judges, seed=options.seed))
        told |= {"passes": whole.whole, "cohesion": whole.score, "lost without": dict(whole.alone)}
        told["beyond the sum"] = {" + ".join(pair): value for pair, value in whole.together.items()}
    if options.json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    for name, value in told.items():
        if isinstance(value, dict):
            value = ", ".join(f"{one} {share:+.0%}" for one, share in value.items() if share) or "nothing"
        print(f"{name:15} {value:.3g}" if isinstance(value, float) else f"{name:15} {value}")
    return 0


def _apply(options: argparse.Namespace) -> int:
    from inglenook.prompt import file
    from inglenook.prompt.ast import named
    from inglenook.prompt.patterns import PATTERNS

    [one] = named("pattern", [options.pattern], PATTERNS)
    values = given.values(one.parameters, options.set)
    text = file.show(one.apply(given.prompt(options.prompt), values))
    path = options.output or options.prompt
    write(path, text)
    print(json.dumps({"path": str(path)}) if options.json else path)
    return 0


def _probe(options: argparse.Namespace) -> int:
    from inglenook.prompt.capability import attainable

    prompt, cases = given.prompt(options.prompt), given.cases(options.tests)
    with asking.asked(options) as (target, _, judges, run):
        found = run(attainable(prompt, cases, target, judges, most=options.runs, seed=options.seed))
    if options.json:
        print(json.dumps({id: dataclasses.asdict(one) for id, one in found.items()}, ensure_ascii=False, indent=2))
    else:
        for id, one in found.items():
            print(f"{id}: {one.verdict} on this model: {one.why}")
    verdicts = {one.verdict for one in found.values()}
    return asking.EXITS["fail" if "not attainable" in verdicts else "undecided" if "undecided" in verdicts else "pass"]


def _build(options: argparse.Namespace) -> int:
    from inglenook.prompt import file, passes, stages
    from inglenook.prompt.build import Rung

    prompt, cases, held = given.prompt(options.prompt), given.cases(options.tests), given.cases(options.held)
    some, levels, slo = passes.chosen(options.passes, options.pattern), _levels(options.levels), _slo(options.slo)
    with asking.asked(options) as (target, _, judges, run):
        rungs = [Rung(target, level, slo) for level in levels]
        found: stages.Found[Lock] = run(stages.build(
            prompt, cases, rungs, counter(target), judges, passes=some, held=held, margin=options.margin,
            most=options.runs, seed=options.seed,
        ))  # fmt: skip
    if options.lock:
        write(options.lock, found.result.text)
    if options.output and found.prompt:
        write(options.output, file.show(found.prompt))
    if not asking.shown(options, found, options.prompt):
        _tell(found.result)
    return asking.EXITS[found.decision]


def _tell(lock: Lock) -> None:
    for rung, decision, runs in lock.rungs:
        level = "" if rung.level is None else f" level {rung.level}"
        print(f"{decision:9}  {rung.target}{level}: {runs} runs")
    for step in lock.steps:
        evidence = "it saves no token"
        if step.pairing:
            known = "" if step.pairing.decision != "undecided" else "undecided, give it more cases: "
            evidence = f"{known}{step.pairing.lost} lost and {step.pairing.gained} gained of {step.pairing.runs} pairs"
        print(f"{'kept' if step.kept else 'left':9}  {step.by}: {step.what}: {step.before} → {step.after}, {evidence}")
    if lock.back:
        print(f"verification took the last {lock.back} of what was kept back")
    before, after = lock.tokens
    print(f"{lock.decision}: {before} → {after} tokens, {lock.prompt.digest}")


def _slo(said: str | None) -> Slo | None:
    if said is None:
        return None
    try:
        first, token = map(float, said.split(","))
        return Slo(first, token)
    except ValueError:
        raise NookError("prompt-build", f"--slo {said} is no latency.", "Write --slo 300,40: milliseconds.") from None


def _levels(said: str | None) -> list[int | None]:
    if said is None:
        return [None]
    try:
        return [int(one) for one in said.split(",")]
    except ValueError:
        raise NookError("prompt-build", f"--levels {said} is no list of numbers.", "Write --levels 4,2,0.") from None
