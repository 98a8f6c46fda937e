"""What the page asks of prompts: the stages of `inglenook prompt`, with the same reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from inglenook.errors import NookError
from inglenook.platform.browser.workbench.desk import Desk, Emit, Told, report, standing

ALONE = "Only one file can be read at a time here."


async def take(desk: Desk, told: Told, emit: Emit) -> None:
    """A prompt file, tests, or a file of another tool: Taken with the texts of both, and what was lost."""
    from inglenook.prompt import file
    from inglenook.prompt.exchange import formats, promptfoo

    text, name = told["text"], told["name"]
    if text.lstrip().startswith("---") and "{{#seg" in text:
        file.parse(text, name)
        emit({"type": "Taken", "prompt": text, "tests": "", "lost": []})
        return
    made = formats.read(formats.guess(text, name), text, name, _alone)
    if len(made.prompts) > 1:
        raise NookError("prompt-import", f"{name} holds {len(made.prompts)} prompts.", "Bring them one by one.")
    emit({
        "type": "Taken", "prompt": file.show(made.prompts[0]) if made.prompts else "",
        "tests": promptfoo.suite(made.cases) if made.cases else "", "lost": [str(one) for one in made.lost],
    })  # fmt: skip


async def lint(desk: Desk, told: Told, emit: Emit) -> None:
    """Findings of the linter with their places in the text, what cannot be read at all, and the names of the rest."""
    from inglenook.prompt import file
    from inglenook.prompt.lint import lint as found
    from inglenook.prompt.rule import Scene

    findings: list[Told] = []
    demands: Sequence[Any] = ()
    cases: Sequence[Any] | None = None
    if told.get("tests", "").strip():
        try:
            cases = _cases(told["tests"])
        except NookError as error:
            findings.append(_broken("tests", error))
    try:
        prompt = file.parse(told["prompt"], "prompt")
    except NookError as error:
        findings.append(_broken("prompt", error))
    else:
        demands = prompt.requirements
        for one in found(Scene(prompt, cases)):
            line, column = file.place(prompt, one.segment, one.start)
            plain = dataclasses.asdict(one) | {"dimension": one.dimension, "where": "prompt"}
            findings.append(plain | {"line": line, "column": column, "length": one.end - one.start})
    emit({"type": "Findings", "findings": findings, "cases": [one.name for one in cases or ()],
          "requirements": [one.id for one in demands]})  # fmt: skip


async def test(desk: Desk, told: Told, emit: Emit) -> None:
    """Whether a prompt does what it must; with `relations` whether what should not matter does not; with `mutate`
    whether the tests notice when it is broken."""
    from inglenook.prompt import stages

    prompt, cases, answer, judges = _asked(desk, told)
    work = stages.test(
        prompt, cases, answer.name, judges, runs=told.get("runs", 60), related=told.get("relations", False),
        mutated=told.get("mutate", False), seed=told.get("seed", 0), told=standing(emit),
    )  # fmt: skip
    _tell(emit, await desk.run(work, emit, answer))


async def debug(desk: Desk, told: Told, emit: Emit) -> None:
    """The segments that make a prompt fail, or what it lacks; of `versions`, from old to new, the one that broke it."""
    from inglenook.prompt import file, stages
    from inglenook.prompt.ast import named

    prompt, cases, answer, judges = _asked(desk, told)
    if case := told.get("case"):
        cases = named("case", [case], {one.name: one for one in cases})
    how: Told = {"seed": told.get("seed", 0), "told": standing(emit)}
    work: Any
    if versions := told.get("versions"):
        prompts = {name: file.parse(text, name) for name, text in versions}
        work = stages.bisect(prompts, cases, answer.name, judges, **how)
    else:
        work = stages.debug(prompt, cases, answer.name, judges, requirement=told.get("requirement", ""),
                            lacking=told.get("lacking", False), runs=told.get("runs", 200), **how)  # fmt: skip
    _tell(emit, await desk.run(work, emit, answer))


async def build(desk: Desk, told: Told, emit: Emit) -> None:
    """The smallest prompt, and the first of `levels` (the cheapest first), that meet every requirement, by `passes` and
    `patterns`; of the cases no pass sees `held` per cent."""
    from inglenook.prompt import passes, stages, suite
    from inglenook.prompt.build import Rung
    from inglenook.wire.messages import Slo

    levels = told.get("levels") if not told.get("url") else None
    prompt, cases, answer, judges = _asked(desk, told | {"level": None} if levels else told)
    slo, seed, held = Slo(told.get("first"), told.get("token")), told.get("seed", 0), list[Any]()
    if share := told.get("held"):
        cases, held = suite.split(cases, seed, share / 100)
    work = stages.build(
        prompt, cases, [Rung(answer.name, level, slo if slo != Slo() else None) for level in levels or [None]],
        await desk.counter(told), judges, passes=passes.chosen(told.get("passes", ()), told.get("patterns", ())),
        held=held, margin=told.get("margin", 0.1), most=told.get("runs", 60), seed=seed, told=standing(emit),
    )  # fmt: skip
    found = await desk.run(work, emit, answer)
    _tell(emit, found, lock=found.result.text)


async def evolve(desk: Desk, told: Told, emit: Emit) -> None:
    """A prompt rewritten by its failures, if cases that it never saw show that it is better."""
    from inglenook.prompt import stages

    prompt, cases, answer, judges = _asked(desk, told)
    work = stages.evolve(prompt, cases, answer.name, judges, rounds=told.get("rounds", 8), most=told.get("runs", 400),
                         seed=told.get("seed", 0), told=standing(emit))  # fmt: skip
    _tell(emit, await desk.run(work, emit, answer))


async def compare(desk: Desk, told: Told, emit: Emit) -> None:
    """What a prompt does that the one `before` it (none: itself) did not, and the other way round; asked of another
    target, `to`, it is the gate of a model's upgrade."""
    from inglenook.prompt import file

    old = file.parse(told["before"], "before") if told.get("before") else None
    _tell(emit, await _diff(desk, told, emit, old))


async def _diff(desk: Desk, told: Told, emit: Emit, old: Any) -> Any:
    from inglenook.prompt import stages
    from inglenook.prompt.change import Side

    prompt, cases, answer, judges = _asked(desk, told)
    beside = desk.target(told["to"]) if told.get("to") else answer
    work = stages.diff(
        Side(old or prompt, answer.name), Side(prompt, beside.name), cases, judges, margin=told.get("margin", 0.1),
        most=told.get("runs", 400), seed=told.get("seed", 0), told=standing(emit),
    )  # fmt: skip
    return await desk.run(work, emit, answer, beside)


async def release(desk: Desk, told: Told, emit: Emit) -> None:
    """Hold a prompt against the last release of its `history`; Released with the line of the next, if it may be."""
    from inglenook.prompt import file, release
    from inglenook.prompt.change import Comparison

    history, answer = release.load(told["history"]), desk.target(told)
    prompt, found = file.parse(told["prompt"], "prompt"), Comparison(())
    release.checked(history, prompt.digest, answer.name)
    if history:
        made = await _diff(desk, told, emit, file.parse(history[-1].text, history[-1].version))
        _tell(emit, made)
        found = made.result
    new = release.following(history, prompt.digest, told["prompt"], found, answer.name)
    if not history:
        report(emit, f"{prompt.name} {new.version}", [], dataclasses.asdict(new), note="The first release.")
    emit({"type": "Released", "line": release.dump(new)})


async def history(desk: Desk, told: Told, emit: Emit) -> None:
    """Read the `text` of a history's file; History with whose it is, its lines, and the last version's text."""
    from inglenook.prompt import file, release

    found = release.load(told["text"], told["path"])
    if not found:
        raise NookError(
            "history", f"{told['path']} has no release.", "Choose what `Export it` gave, or the command line."
        )
    last = found[-1]
    name = file.parse(last.text, f"{told['path']}, {last.version}").name
    emit({"type": "History", "name": name, "lines": release.dump(*found), "text": last.text})


async def rollback(desk: Desk, told: Told, emit: Emit) -> None:
    """Take a prompt back to a `version` of its `history`: Released with the line that does."""
    from inglenook.prompt import release

    emit({"type": "Released", "line": release.dump(release.rollback(release.load(told["history"]), told["version"]))})


def _asked(desk: Desk, told: Told) -> tuple[Any, Any, Any, Any]:
    """The prompt, its cases, what answers, and the judges."""
    from inglenook.prompt import file
    from inglenook.prompt.oracle import Judges

    answer = desk.target(told)
    return file.parse(told["prompt"], "prompt"), _cases(told["tests"]), answer, Judges(grader=answer.name)


def _tell(emit: Emit, found: Any, lock: str = "") -> None:
    """What a stage found, as its report."""
    from inglenook.prompt import file
    from inglenook.prompt.report import badge

    report(emit, found.title, list(found.parts), found.plain, badge=badge(found.decision), note=found.note,
           prompt=file.show(found.prompt) if found.prompt else "", lock=lock)  # fmt: skip


def _cases(text: str) -> Any:
    from inglenook.prompt.exchange import promptfoo

    return promptfoo.cases(text, "tests", _alone)[0]


def _alone(path: str) -> str:
    raise NookError("no-file", f"It names another file, {path}, which is not here.", ALONE)


def _broken(where: str, error: NookError) -> Told:
    """An error as a finding: its place is in its message ("prompt:12: …")."""
    head, _, rest = error.message.removeprefix(f"{where}:").partition(":")
    line, message = (int(head), rest.strip()) if head.isdecimal() else (1, error.message)
    return {
        "where": where, "rule": error.code, "severity": "error", "message": message, "hint": error.hint, "line": line,
        "column": 1, "length": 0, "dimension": "",
    }  # fmt: skip
