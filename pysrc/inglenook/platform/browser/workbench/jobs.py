"""What the page asks of the workbench. A job is told what to do as plain JSON, says by `emit` how it goes, and ends
with a report: tables for people, all of it for programs, one HTML file.

What answered is kept as it comes, so a job that was stopped, or whose tab went away, goes on where it was.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inglenook.errors import NookError
from inglenook.evals.page import Table
from inglenook.platform.browser.workbench import prompts, target
from inglenook.platform.browser.workbench.desk import OFTEN, Desk, Emit, Told, report

# ── fairness ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def fairness(desk: Desk, told: Told, emit: Emit) -> None:
    """BiasLens over questions that lie in the store: Asked for each, Report at the end and when it is stopped."""
    from inglenook.evals.bias import Bias
    from inglenook.evals.fairness import SETTINGS, Plan, ask
    from inglenook.evals.report import fairness as tables

    questions = await _questions(desk, told)
    answer = desk.target(told)
    settings = dataclasses.replace(SETTINGS, temperature=told.get("temperature", SETTINGS.temperature))
    plan = Plan(runs=told.get("runs", 3), swap=told.get("swap", True), settings=settings, seed=told.get("seed", 0))
    bias = Bias(answer.name, answer.name)
    done, last = 0, 0.0

    def add(outcome: Any) -> None:
        nonlocal done, last
        done += 1
        bias.add(outcome)
        if time.monotonic() - last > OFTEN or done == len(questions):
            last = time.monotonic()
            question = outcome.question
            emit({
                "type": "Asked", "done": done, "total": len(questions), "role": question.role, "kind": question.kind,
                "question": question.plain, "alone": outcome.alone.verdicts, "in_role": outcome.role.verdicts,
            })  # fmt: skip

    try:
        work = ask(questions, answer.name, answer.name, plan, add)
        await desk.run(work, emit, answer, total=sum(map(plan.calls, questions)), together=True)
    finally:
        if done:
            plain = bias.told()
            whole = "" if done == len(questions) else f", {done} of {len(questions)} questions so far"
            report(emit, f"Fairness (BiasLens){whole}", tables(plain), plain)


async def _questions(desk: Desk, told: Told) -> list[Any]:
    from inglenook.evals.questions import drawn, load, read

    with _files(await desk.store.get([one["key"] for one in told["files"]]), told["files"]) as path:
        if not (sample := told.get("sample")):
            return load(path)
        chosen = set(drawn(read(path), sample, told.get("seed", 0)))
        return [question for at, question in enumerate(read(path)) if at in chosen]


@contextmanager
def _files(pages: Sequence[bytes | None], files: Sequence[Told]) -> Iterator[Path]:
    """Files of the store where a path names them: one alone, or the folder they lie in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for page, one in zip(pages, files, strict=True):
            if page is None:
                raise NookError("no-file", f"{one['path']} is not kept any more.", "Open the questions again.")
            path = folder / one["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(page)
        yield folder if len(files) > 1 else folder / files[0]["path"]


# ── doctor ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def examine(desk: Desk, told: Told, emit: Emit) -> None:
    """The engine of this tab, as deep as `tiers` say: Probed for each probe, Report."""
    from inglenook.doctor import probes, run
    from inglenook.doctor.engine import TIERS
    from inglenook.doctor.exam import Outcome, Report
    from inglenook.doctor.local import Local
    from inglenook.doctor.report import told as plain
    from inglenook.platform.browser.workbench.kit import TabKit

    def load(done: float, total: float) -> None:
        emit({"type": "Loading", "done": done, "total": total})

    kit = TabKit(await target.asked(lambda _, hear: desk.page.lab(hear), "", load))
    chosen = [probe for probe in probes.PROBES if probe.tier in told.get("tiers", TIERS)]

    def probed(outcome: Outcome) -> None:
        found = [{"sign": one.sign, "text": one.text} for one in outcome.findings]
        emit({
            "type": "Probed", "probe": outcome.probe.name, "tier": outcome.probe.tier, "about": outcome.probe.about,
            "state": outcome.state, "reason": outcome.reason, "findings": found, "ms": outcome.ms,
        })  # fmt: skip

    made, shown = None, 0
    engine = Local(kit)
    engine.close()  # others are made of it, one after the other
    for item in run.examine(engine, kit.truth(), few=True, chosen=chosen):
        if isinstance(item, Report):
            made = item
            break
        emit({"type": "Examining", "stage": item.stage, "done": item.done, "total": item.total, "note": item.note})
        if item.last and item.done != shown:
            shown = item.done
            probed(item.last)
        await asyncio.sleep(0)
    assert made
    for outcome in made.outcomes[shown:]:
        probed(outcome)
    tables = [Table("Probes", ("probe", "tier", "result", "what was found"), [
        [o.probe.name, o.probe.tier, o.state, "; ".join(f.text for f in o.findings) or o.reason] for o in made.outcomes
    ])]  # fmt: skip
    if made.suspects:
        rows = [
            [one.cause.name + "*" * one.cause.ours, one.cause.category, f"{one.share:.0%}", "; ".join(one.reasons)]
            for one in made.suspects[:10]
        ]
        note = "* working name of ours for a class that the study of engine bugs has but we could not read."
        tables.append(Table("Likely causes", ("cause", "category", "share", "because"), rows, note))
    title = f"The engine of this tab: {len(made.failed)} of {len(made.outcomes)} probes failed"
    report(emit, title, tables, plain(made))


JOBS: dict[str, Callable[[Desk, Told, Emit], Awaitable[None]]] = {
    "take": prompts.take, "lint": prompts.lint, "test": prompts.test, "debug": prompts.debug, "build": prompts.build,
    "evolve": prompts.evolve, "compare": prompts.compare, "release": prompts.release, "rollback": prompts.rollback,
    "history": prompts.history, "fairness": fairness, "examine": examine,
}  # fmt: skip
