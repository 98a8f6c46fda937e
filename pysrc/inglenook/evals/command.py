"""The command line of the evaluations: `inglenook eval fairness | judge | questions | finance | charts`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.errors import NookError

if TYPE_CHECKING:
    from inglenook.evals.bias import Bias
    from inglenook.evals.calls import Call, Reply, Target
    from inglenook.evals.drive import Progress
    from inglenook.evals.page import Table
    from inglenook.evals.questions import Question

QUESTIONS = Path.home() / ".cache" / "inglenook" / "biaslens"
KEY = "INGLENOOK_API_KEY"


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook eval`."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")

    fairness = _kind(kinds, "fairness", _fairness, "what roles do to a model's prejudices (BiasLens)")
    fairness.add_argument("--fetch", action="store_true", help="get the 32,864 questions from their repository first")
    fairness.add_argument(
        "--questions", type=Path, default=QUESTIONS, metavar="PATH", help="a folder, or a .jsonl file"
    )
    fairness.add_argument("--recorded", type=Path, metavar="FILE", help="no target: verdicts that were recorded")
    fairness.add_argument("--defects", action="store_true", help="what is wrong with the questions, and the recorded")
    fairness.add_argument("--judge", metavar="TARGET", help="who judges why questions (the target itself)")
    fairness.add_argument("--judge-model", default="", metavar="NAME", help="the judge's model at its server")
    fairness.add_argument("--runs", type=positive, default=3, help="how often each is asked (3)")
    fairness.add_argument("--temperature", type=between(0, 100), default=1.0, help="of the answers (1, as published)")
    fairness.add_argument("--no-swap", action="store_true", help="ask choices in one order only")
    _run(fairness)

    judge = _kind(kinds, "judge", _judge, "how far a judge agrees with recorded votes on why answers")
    judge.add_argument("answers", type=Path, help="JSON lines: the id of a question, an answer, its judges' votes")
    judge.add_argument("--questions", type=Path, default=QUESTIONS, metavar="PATH", help="a folder or .jsonl file")
    _run(judge)

    questions = _kind(kinds, "questions", _questions, "write new roles and questions for fairness")
    questions.add_argument("attribute", help="what roles differ by: age, occupation, …")
    questions.add_argument("--role", action="append", default=[], help="a role to write for (again for more)")
    questions.add_argument("--roles", type=positive, default=5, metavar="N", help="how many roles to think of (5)")
    questions.add_argument("--count", type=positive, default=20, help="questions of each kind a role (20)")
    questions.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .jsonl file to write")
    _run(questions, sampled=False)

    about = "questions about financial charts (FinMME); --target reader[:sure][+TARGET] needs no vision model"
    finance = _kind(kinds, "finance", _finance, about)
    finance.add_argument("items", type=Path, help="a .parquet, .arrow or .jsonl file with FinMME's columns")
    finance.add_argument("--blind", action="store_true", help="leave the pictures out")
    finance.add_argument("--as-is", action="store_true", help="send pictures as they are (no Pillow needed)")
    finance.add_argument("--by", action="append", default=[], metavar="COLUMN", help="accuracy by this column, too")
    _run(finance)

    charts = _kind(kinds, "charts", _charts, "draw a synthetic set in FinMME's format (needs inglenook[finance])")
    charts.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write to")
    charts.add_argument("--count", type=positive, default=500, help="questions, three a chart (500)")
    charts.add_argument("--seed", type=int, default=0)


def _kind(kinds: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    kind: argparse.ArgumentParser = kinds.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    kind.set_defaults(command=run)
    return kind


def _run(kind: argparse.ArgumentParser, sampled: bool = True) -> None:
    answering(kind)
    kind.add_argument("--json", action="store_true", help="print JSON")
    if sampled:
        kind.add_argument("--sample", type=positive, metavar="N", help="only so many, drawn with --seed")
        kind.add_argument("--report", type=Path, metavar="FILE", help="an HTML file with the results")


def answering(kind: argparse.ArgumentParser) -> None:
    """The options of all that asks a model: which, how, and where answers are kept."""
    kind.add_argument(
        "--target", default="native", help='"native", "native:LEVEL" or the URL of a server or gateway (native)'
    )
    kind.add_argument("--model", default="", metavar="NAME", help=f"the model at that server; its key is in ${KEY}")
    kind.add_argument("--timeout", type=SECONDS, default=120.0, metavar="S", help="seconds for an answer (120)")
    kind.add_argument("--workers", type=positive, default=1, metavar="N", help="calls at once, servers only (1)")
    kind.add_argument("--rows", type=Path, metavar="FILE", help="keep answers here, and ask only what is not there")
    kind.add_argument("--seed", type=int, default=0)


def positive(said: str) -> int:
    """A count on a command line."""
    if not said.isdecimal() or not 1 <= (count := int(said)) <= 10**9:
        raise argparse.ArgumentTypeError(f"{said} is no whole number from 1 on")
    return count


def between(least: float, most: float) -> Callable[[str], float]:
    """A number on a command line, from `least` to `most`."""

    def number(said: str) -> float:
        if not least <= (value := float(said)) <= most:
            raise argparse.ArgumentTypeError(f"{said} is not from {least:g} to {most:g}")
        return value

    return number


SECONDS = between(0.001, 1e6)


# ── kinds ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _fairness(options: argparse.Namespace) -> int:
    from inglenook.evals import defects, fetch, report
    from inglenook.evals.bias import Bias
    from inglenook.evals.outcome import recorded
    from inglenook.evals.questions import load, stratified

    if options.fetch:
        with _progress() as tell:
            fetch.biaslens(options.questions, report=lambda done, total: tell(f"{done}/{total} files"))
    questions = load(options.questions)
    if options.sample:
        questions = stratified(questions, options.sample, options.seed)
    found = list(defects.in_questions(questions)) if options.defects else []
    if options.recorded:
        chosen = {question.id for question in questions}
        outcomes = [o for o in recorded(load(options.questions), options.recorded) if o.question.id in chosen]
        models = list(dict.fromkeys(outcome.model for outcome in outcomes))
        biases = [Bias.of(model, (o for o in outcomes if o.model == model)) for model in models]
        found += defects.in_outcomes(outcomes) if options.defects else []
    else:
        biases = [] if options.defects else [_asked(options, questions)]
    told = {"models": [bias.told() for bias in biases], "defects": [finding.told() for finding in found]}
    tables: list[Table] = []
    for one in told["models"]:
        tables += [replace(table, title=f"{one['model']}: {table.title}") for table in report.fairness(one)]
    if found:
        tables.append(report.findings(told["defects"]))
    return _show(options, "Fairness (BiasLens)", tables, told)


def _asked(options: argparse.Namespace, questions: list[Question]) -> Bias:
    from inglenook.evals.bias import Bias
    from inglenook.evals.fairness import SETTINGS, Plan, ask

    settings = replace(SETTINGS, temperature=options.temperature)
    plan = Plan(runs=options.runs, swap=not options.no_swap, settings=settings, seed=options.seed)
    with _targets(options) as (target, judge, run):
        bias = Bias(target, judge)
        run(ask(questions, target, judge, plan, bias.add), sum(map(plan.calls, questions)))
    return bias


def _judge(options: argparse.Namespace) -> int:
    from inglenook.evals import judging, report
    from inglenook.evals.questions import load

    judged = judging.load(options.answers, load(options.questions))
    if options.sample:
        judged = _reservoir(iter(judged), options.sample, options.seed)
    with _targets(options) as (_, judge, run):
        agreement = run(judging.calibrate(judged, judge, seed=options.seed), len(judged) * judging.VOTES)
    told = {"judge": judge, **agreement.told()}
    return _show(options, "A judge's agreement with recorded votes", [report.judge(told)], told)


def _questions(options: argparse.Namespace) -> int:
    from inglenook.evals import author

    with _targets(options) as (target, _, run):
        roles = options.role or run(author.roles(options.attribute, options.roles, target, options.seed), 0)
        written = run(author.write(options.attribute, roles, target, options.count, seed=options.seed), 0)
    lines = [
        {"id": q.id, "attr": q.attribute, "role": q.role, "type": q.kind, "q": q.text, "q0": q.plain}
        for q in written.questions
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write(options.output, text)
    told = {"roles": roles, "written": len(lines), "missing": written.missing, "dropped": dict(written.dropped)}
    if options.json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        dropped = ", ".join(f"{count} {reason}" for reason, count in written.dropped.most_common())
        print(f"{options.output}: {len(lines)} questions for {len(roles)} roles, {written.missing} missing.")
        print(f"Not taken: {dropped or 'none'}.")
    return 0


def _finance(options: argparse.Namespace) -> int:
    from inglenook.evals import finance, report
    from inglenook.evals.items import load

    items: Any = _having(load(options.items), options.by)
    if options.sample:
        items = iter(_reservoir(items, options.sample, options.seed))
    plan = finance.Plan(blind=options.blind, official=not options.as_is)
    with _targets(options) as (target, _, run):
        marked = run(finance.ask(items, target, plan), options.sample or 0)
    told = finance.summary(target, marked, options.by)
    synthetic = any(item.more.get("synthetic") for item, _ in marked)
    title = "Synthetic charts in FinMME's format" if synthetic else "Financial charts (FinMME)"
    return _show(options, title, report.finance(told), {"synthetic": synthetic, **told})


def _charts(options: argparse.Namespace) -> int:
    from inglenook.evals.charts import synthetic

    with _progress() as tell:
        path = synthetic.write(options.output, options.count, options.seed, lambda n, all: tell(f"{n}/{all} questions"))
    print(f"{path}: {options.count} synthetic questions in FinMME's format.")
    return 0


def _having(items: Iterator[Any], columns: Sequence[str]) -> Iterator[Any]:
    """The items. Raises NookError("missing-columns") before anything is asked where the first has not these."""
    for first in islice(items, 1):
        if absent := [column for column in columns if column not in first.more]:
            hint = f"Its other columns are {', '.join(sorted(first.more)) or 'none'}."
            raise NookError("missing-columns", f"The first question has no {' and no '.join(absent)}.", hint)
        yield first
    yield from items


def _reservoir(items: Iterator[Any], count: int, seed: int) -> list[Any]:
    """`count` of the items, each as likely, in one pass."""
    from random import Random

    chance = Random(seed)
    kept = list(islice(items, count))
    for at, item in enumerate(items, count):
        place = chance.randint(0, at)
        if place < count:
            kept[place] = item
    return kept


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _targets(options: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[Any, int], Any]]]:
    """The names of the target and the judge, and what runs a core on them."""
    from inglenook.evals import targets

    foldered(*(getattr(options, name, None) for name in ("output", "report")))
    with ExitStack() as stack:
        key = os.environ.get(KEY, "")

        def opened(place: str, model: str) -> Target:
            return stack.enter_context(targets.open(place, model=model, key=key, timeout=options.timeout))

        target = opened(options.target, options.model)
        judge = target
        if getattr(options, "judge", None):
            judge = opened(options.judge, options.judge_model)
        alone = any(one.name.startswith(("native", "reader")) for one in (target, judge))
        answer = lambda call: (target if call.target == target.name else judge)(call)
        yield target.name, judge.name, stack.enter_context(running(options, answer, alone))


@contextmanager
def running(options: argparse.Namespace, answer: Callable[[Call], Reply], alone: bool) -> Iterator[Callable[..., Any]]:
    """What runs a core, of so many calls in `total` if that is known, on what answers: with the workers, rows and
    progress of the options; one call after another where a model of this machine answers `alone`."""
    from inglenook.evals.drive import drive
    from inglenook.evals.rows import Rows

    with ExitStack() as stack:
        rows = stack.enter_context(Rows(options.rows)) if options.rows else None
        tell = stack.enter_context(_progress())

        def report(now: Progress) -> None:
            whole = f"/{max(now.total, now.done)}" if now.total else ""
            tell(f"{now.done}{whole} calls, {now.found} of them kept before, {now.failed} failed")

        def run(work: Any, total: int = 0) -> Any:
            return drive(work, answer, rows, workers=1 if alone else options.workers, total=total, report=report)

        yield run


def _show(options: argparse.Namespace, title: str, tables: Sequence[Table], told: dict[str, Any]) -> int:
    from inglenook.evals import page

    if options.report:
        write(options.report, page.html(title, tables, told))
    print(json.dumps(told, ensure_ascii=False) if options.json else page.text(tables))
    return 0


def foldered(*paths: Path | None) -> None:
    """Raises NookError("no-folder") for a file whose folder is not there: before the work, not after it."""
    for path in paths:
        if path and not path.parent.is_dir():
            raise NookError("no-folder", f"The folder {path.parent} is not there.", "Make it first.")


def write(path: Path, text: str) -> None:
    """The whole file or none of it: what is there stays until the new one is written. A pipe is written to.

    Raises NookError("no-folder" | "unwritable").
    """
    foldered(path)
    there = path.is_file()
    path = path.resolve() if there else path  # a link stays one
    partial = path.with_name(f".{path.name}.part") if there or not path.exists() else path
    try:
        if there:
            path.open("ab").close()  # one that may only be read is not replaced
        partial.write_bytes(text.encode("utf-8", "replace"))
        if there:
            shutil.copymode(path, partial)
        partial.replace(path)
    except OSError as error:
        if partial != path:
            partial.unlink(missing_ok=True)
        hint = "Name another file, or see to its rights and to the room on the disk."
        raise NookError("unwritable", f"{path} could not be written: {error.strerror}.", hint) from None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Tells on stderr how far it is: a line that changes on a terminal, one every ten seconds elsewhere."""
    live, told = sys.stderr.isatty(), time.monotonic()

    def tell(note: str) -> None:
        nonlocal told
        if live:
            print(f"\r\033[K{note}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - told > 10:
            told = time.monotonic()
            print(note, file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
