"""The command line of what asks a model: `inglenook prompt test | debug | diff | evolve | rollback`.

Answers are kept with `--rows FILE`, so a second run, or one that was stopped, asks only what is not there.

Exit codes: 0 it passes; 1 it fails (or an error, told in one line); 3 the runs ended before that was known.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from inglenook.errors import NookError
from inglenook.evals.command import KEY, answering, between, foldered, positive, running, write
from inglenook.prompt import given

if TYPE_CHECKING:
    from inglenook.evals.calls import Call, Reply
    from inglenook.prompt.case import Case
    from inglenook.prompt.oracle import Judges
    from inglenook.prompt.stages import Found

ENCODER = "encoder"
EXITS: dict[str, int] = {"pass": 0, "fail": 1, "undecided": 3}


def add(kind: Callable[..., argparse.ArgumentParser]) -> None:
    """The options; `kind(name, run, help)` makes a parser."""
    test = kind("test", _test, "whether a prompt does what it must, in as many runs as that takes to know")
    test.add_argument("prompt", type=Path)
    test.add_argument("--runs", type=positive, default=60, metavar="N", help="of a case at most (60)")
    test.add_argument("--mutate", action="store_true", help="whether the tests notice when the prompt is broken, too")
    test.add_argument("--relations", action="store_true", help="whether what should not matter does not, too")
    test.add_argument("--junit", type=Path, metavar="FILE", help="results for continuous integration")
    page(test)
    common(test)

    debug = kind("debug", _debug, "which segments make a prompt fail; of several prompts, which version broke it")
    debug.add_argument("prompts", nargs="+", type=Path, metavar="PROMPT", help="one, or versions from old to new")
    debug.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case (again for more)")
    debug.add_argument("--requirement", default="", metavar="ID", help="only failures of this requirement")
    debug.add_argument("--segment", action="append", default=[], metavar="NAME", help="suspect these only")
    debug.add_argument("--missing", action="store_true", help="search for what is missing, not for what is wrong")
    debug.add_argument("--search", choices=("bayes", "ddmin"), default="bayes", help="how (bayes)")
    debug.add_argument("--runs", type=positive, default=200, metavar="N", help="at most (200)")
    debug.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the mended prompt")
    page(debug)
    common(debug)

    diff = kind("diff", _diff, "what a new version does differently, and what version that makes it")
    diff.add_argument("old", type=Path)
    diff.add_argument("new", type=Path)
    diff.add_argument("--to", metavar="TARGET", help="run the new side there: the gate of a model's upgrade")
    diff.add_argument("--to-model", metavar="NAME", help="the new side's model, at --to or at the same server")
    diff.add_argument("--margin", type=between(0.001, 1), default=0.1, help="the difference that counts (0.1)")
    diff.add_argument("--runs", type=positive, default=400, metavar="N", help="pairs for a requirement at most (400)")
    diff.add_argument("--release", type=Path, metavar="FILE", help="put the new version into this history, if it may")
    page(diff)
    common(diff)

    evolve = kind("evolve", _evolve, "rewrite a prompt by its failures; taken only if unseen cases show that it helps")
    evolve.add_argument("prompt", type=Path)
    evolve.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where the better one goes")
    evolve.add_argument("--writer", metavar="TARGET", help="who rewrites (the target itself)")
    evolve.add_argument("--rounds", type=positive, default=8, metavar="N", help="rewritings at most (8)")
    evolve.add_argument("--runs", type=positive, default=400, metavar="N", help="pairs for the gate at most (400)")
    page(evolve)
    common(evolve)

    back = kind("rollback", _rollback, "take a prompt back to a released version, as a new release")
    back.add_argument("history", type=Path)
    back.add_argument("version")
    back.add_argument("-o", "--output", type=Path, required=True, metavar="PROMPT", help="the prompt file to write")


def common(parser: argparse.ArgumentParser, tests: bool = True) -> None:
    """The options of all that asks a model; with `tests` the cases must be named."""
    parser.add_argument("--tests", type=Path, required=tests, metavar="FILE", help="the cases")
    parser.add_argument("--grader", metavar="TARGET", help="who judges llm-rubric")
    parser.add_argument("--allow-code", action="store_true", help="let python assertions of the tests run")
    answering(parser)


def page(parser: argparse.ArgumentParser) -> None:
    """The option of what makes a page for people."""
    parser.add_argument("--html", type=Path, metavar="FILE", help="a report for people: one file, without scripts")


# ── verbs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _test(options: argparse.Namespace) -> int:
    from inglenook.prompt import stages
    from inglenook.prompt.junit import junit

    prompt, cases = given.prompt(options.prompt), _cases(options)
    with asked(options) as (target, _, judges, run):
        found: stages.Found[stages.Tested] = run(stages.test(
            prompt, cases, target, judges, runs=options.runs, related=options.relations, mutated=options.mutate,
            seed=options.seed,
        ))  # fmt: skip
    tested = found.result
    if options.junit:
        write(options.junit, junit(prompt.name, tested.report.results))
    if shown(options, found, options.prompt):
        return EXITS[found.decision]
    for one in tested.report.results:
        print(f"{one.decision:9}  {one.case}: {one.kept} of {one.runs} kept{_because(one.message)}")
    for held in tested.related:
        verdict = held.verdict
        print(f"{verdict.decision:9}  relation {held.relation}: {verdict.mean:.0%} of {verdict.runs} the same")
    if mutation := tested.mutation:
        for outcome in mutation.outcomes:
            print(f"{outcome.fate:11}  {outcome.mutant.operator} {outcome.mutant.segment}{_because(outcome.case)}")
        said = "none to kill" if mutation.score is None else f"{mutation.score:.0%} killed"
        parts = ", ".join(
            f"{name} {share.share:.0%}" + (f" (not: {', '.join(share.open)})" if share.open else "")
            for name, share in (
                (field.name, getattr(tested.covered, field.name)) for field in dataclasses.fields(tested.covered)
            )
        )
        print(f"mutants: {said}; covered: {parts}")
    print(f"{options.prompt}: {found.decision}, {found.note}")
    return EXITS[found.decision]


def _debug(options: argparse.Namespace) -> int:
    from inglenook.prompt import file, stages
    from inglenook.prompt.ast import named
    from inglenook.prompt.debug import Diagnosis

    prompts, cases = {str(path): given.prompt(path) for path in options.prompts}, _cases(options)
    if options.case:
        cases = named("case", options.case, {case.name: case for case in cases})
    with asked(options) as (target, _, judges, run):
        if len(prompts) > 1:
            first: stages.Found[str] = run(stages.bisect(prompts, cases, target, judges, seed=options.seed))
            if not shown(options, first):
                print(f"{first.result} is the first that fails")
            return EXITS[first.decision]
        [(path, prompt)] = prompts.items()
        found: stages.Found[Diagnosis] = run(stages.debug(
            prompt, cases, target, judges, requirement=options.requirement, segments=options.segment,
            lacking=options.missing, search=options.search, runs=options.runs, seed=options.seed,
        ))  # fmt: skip
    if options.output and found.prompt:
        write(options.output, file.show(found.prompt))
    if shown(options, found, path):
        return EXITS[found.decision]
    about, one = found.result.found, found.result.failing
    if one:
        print(f"{one.case.name} fails with seed {one.call.seed} (row {one.call.key}): {one.judged.reason}")
    sure = f"{about.certainty:.0%} sure, {'confirmed' if about.confirmed else 'not confirmed'}"
    how = {"alone": "", "together": " together", "either": " each by itself"}.get(about.how, "")
    if not found.result.segments:
        print(f"nothing was found in {about.runs} runs ({about.how}, {sure})")
    elif found.result.lacking:
        print(f"it is mended{how} by ({sure}, {about.runs} runs):", *found.result.segments, sep="\n  ")
    else:
        print(f"it fails{how} by: {', '.join(found.result.segments)} ({sure}, {about.runs} runs)")
    return EXITS[found.decision]


def _diff(options: argparse.Namespace) -> int:
    from inglenook.prompt import release, stages
    from inglenook.prompt.change import Comparison, Side

    old, new, cases = given.prompt(options.old), given.prompt(options.new), _cases(options)
    other = options.to or options.target, options.to_model or ("" if options.to else options.model)
    with asked(options, other) as (target, beside, judges, run):
        found: stages.Found[Comparison] = run(stages.diff(
            Side(old, target), Side(new, beside), cases, judges, margin=options.margin, most=options.runs,
            seed=options.seed,
        ))  # fmt: skip
    if options.release:
        history = release.load(given.text(options.release), str(options.release)) if options.release.exists() else []
        following = release.following(history, new.digest, given.text(options.new), found.result, beside)
        write(options.release, release.dump(*history, following))
    if shown(options, found, options.old, options.new):
        return EXITS[found.decision]
    for one in found.result.shifts:
        print(f"{one.change:9}  {one.what}: {one.mean:+.1%} [{one.low:+.1%}, {one.high:+.1%}], "
              f"{one.lost} lost and {one.gained} gained of {one.runs} pairs")  # fmt: skip
        if one.example:
            a, b = one.example
            print(f"           {a.case.name}, seed {a.call.seed}: {a.reply.text[:60]!r} → {b.reply.text[:60]!r}")
    for kind, said in found.result.promises:
        print(f"{kind:9}  {said}")
    level = found.result.level
    print(f"{options.new}: " + (f"a {level} version" if level else "not known yet; give it more runs"))
    return EXITS[found.decision]


def _evolve(options: argparse.Namespace) -> int:
    from inglenook.prompt import file, stages
    from inglenook.prompt.evolve import Evolved

    prompt, cases = given.prompt(options.prompt), _cases(options)
    other = options.writer or options.target, "" if options.writer else options.model
    with asked(options, other) as (target, writer, judges, run):
        found: stages.Found[Evolved] = run(stages.evolve(
            prompt, cases, target, judges, writer=writer, rounds=options.rounds, most=options.runs, seed=options.seed
        ))  # fmt: skip
    if found.prompt:
        write(options.output, file.show(found.prompt))
    if not shown(options, found, options.prompt):
        for one in found.result.steps:
            print(f"{one.segment or '?'}: {one.fate}: {one.text[:80]!r}")
        print(f"{options.output}: better on cases it never saw" if found.prompt else "nothing better was found")
    return EXITS[found.decision]


def _rollback(options: argparse.Namespace) -> int:
    from inglenook.prompt import release

    history = release.load(given.text(options.history), str(options.history))
    back = release.rollback(history, options.version)
    write(options.output, back.text)
    write(options.history, release.dump(*history, back))
    print(json.dumps(dataclasses.asdict(back), ensure_ascii=False) if options.json else f"{back.version}: {back.note}")
    return 0


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _cases(options: argparse.Namespace) -> list[Case]:
    return list(given.cases(options.tests))


def shown(options: argparse.Namespace, found: Found[Any], *about: Path | str) -> bool:
    """Write the page that is wanted, its note with what it is `about`; print JSON, and say whether that is wanted."""
    if options.html:
        from inglenook.evals.page import html
        from inglenook.prompt.report import badge

        note = ", ".join(filter(None, [found.note, *map(str, about)]))
        write(options.html, html(found.title, list(found.parts), found.plain, badge(found.decision), note))
    if options.json:
        print(json.dumps(found.plain, ensure_ascii=False, indent=2))
    return bool(options.json)


def _because(said: str) -> str:
    return f" ({said})" if said else ""


@contextmanager
def asked(
    options: argparse.Namespace, other: tuple[str, str] | None = None
) -> Iterator[tuple[str, str, Judges, Callable[[Any], Any]]]:
    """The names of the target and of the `other` one (a place and a model), the judges, and what runs a core on all."""
    from inglenook.evals import targets
    from inglenook.prompt.oracle import Judges

    foldered(*(getattr(options, name, None) for name in ("output", "html", "junit", "lock", "release")))
    with ExitStack() as stack:
        key = os.environ.get(KEY, "")
        known: dict[str, Callable[[Call], Reply]] = {}
        names: dict[tuple[str, str], str] = {}

        def opened(place: str, model: str) -> str:
            if (place, model) not in names:
                target = targets.open(place, model=model, key=key, timeout=options.timeout)
                names[place, model] = target.name
                known[target.name] = stack.enter_context(target)
            return names[place, model]

        target = opened(options.target, options.model)
        beside = opened(*other) if other else target
        grader = opened(options.grader, "") if options.grader else ""
        known[ENCODER] = stack.enter_context(_Encoder())
        alone = any(name.startswith("native") for name in known)
        run = stack.enter_context(running(options, lambda call: known[call.target](call), alone))
        yield target, beside, Judges(grader, ENCODER, options.allow_code), run


class _Encoder:
    """The encoder of this machine as a target: a text's vector as a JSON list. Loaded at the first call."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._tokenizer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def __call__(self, call: Call) -> Reply:
        from inglenook.evals.calls import Reply

        if self._engine is None:
            from inglenook.embed.tokenizer import WordPiece
            from inglenook.platform.native.engine import FILES, models_folder
            from inglenook.platform.native.models import Encoder

            weights, vocabulary = (models_folder() / name for name in FILES["encoder"])
            if not weights.exists():
                hint = "Run `python3 build.py dev` once in the source tree, or set INGLENOOK_MODELS."
                raise NookError("model-missing", f"The model file {weights.name} is not on this machine.", hint)
            self._engine, self._tokenizer = Encoder(weights), WordPiece.load(vocabulary.read_bytes())
        tokens = self._tokenizer.encode(str(call.messages[-1].content))
        return Reply(json.dumps([round(float(x), 6) for x in self._engine.encode([list(tokens)])[0]]))
