"""What was found of a prompt, as the parts of a page for people (`evals.page`): by a test, a search for what is wrong,
a comparison of versions, a build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from inglenook.evals.page import Badge, Mark, Passage, Share, Table, Tone
from inglenook.prompt import file
from inglenook.prompt.ast import Prompt, Segment
from inglenook.prompt.build import Lock, Pairing, Step
from inglenook.prompt.case import Case, Decision
from inglenook.prompt.change import Comparison
from inglenook.prompt.cover import Coverage
from inglenook.prompt.debug import Diagnosis
from inglenook.prompt.evolve import Evolved
from inglenook.prompt.evolve import Step as Rewriting
from inglenook.prompt.inputs import classes
from inglenook.prompt.mutate import Fate, Mutation
from inglenook.prompt.relations import Related
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.rule import Finding, Severity
from inglenook.prompt.sequential import Change, evidence
from inglenook.prompt.suite import Report, Trial, claimed, steady
from inglenook.prompt.trace import tested as named
from inglenook.prompt.trace import trace

Part: TypeAlias = Table | Passage
SHOWN = 6  # failing runs
SUSPECTS = 8  # of a search that is under way
LONG = 90  # characters of a text in a table
TONES: Mapping[Decision | Change | Fate | Severity, Tone] = {
    "pass": "good", "fail": "bad", "undecided": "open", "lost": "bad", "gained": "good", "killed": "good",
    "survived": "bad", "error": "bad", "warning": "open",
}  # fmt: skip


def badge(word: Decision | Change | Fate | Severity) -> Badge:
    """A word of a verdict, in its colour."""
    return Badge(word, TONES.get(word, ""))


def tested(
    prompt: Prompt, cases: Sequence[Case], report: Report, covered: Coverage, *,
    mutation: Mutation | None = None, related: Sequence[Related] = (), findings: Sequence[Finding] = (),
) -> Iterator[Part]:  # fmt: skip
    """Of `inglenook prompt test`. Without a `mutation` nothing is told of segments and constraints."""
    if prompt.requirements:
        yield _requirements(prompt, cases, report)
    yield Table(
        "Cases", ("case", "verdict", "kept", "speaks for", "why"),
        [[one.name, badge(result.decision), _of(result.kept, result.runs), ", ".join(sorted(named(one))) or None,
          result.message or None] for one, result in zip(cases, report.results)],
    )  # fmt: skip
    if related:
        yield relations(related)
    if mutation:
        yield mutants(mutation)
    yield _coverage(covered, bool(mutation))
    if prompt.slots:
        yield Table("Slots", ("slot", "type", "values of the class", "tried"),
                    [[slot.name, slot.type, name, Badge("yes", "good") if there else Badge("no", "open")]
                     for slot in prompt.slots for name in classes(slot)
                     for there in [f"{slot.name}: {name}" in covered.slots.covered]])  # fmt: skip
    seen = set[str]()
    for name, trial in report.failing.items():
        if trial.call.key not in seen and len(seen) < SHOWN:
            seen.add(trial.call.key)
            yield _failing(prompt, name, trial)
    if findings:
        yield _lint(prompt, findings)
    yield _template("The prompt", prompt, {
        **dict.fromkeys(covered.segments.open, "open"), **dict.fromkeys(covered.segments.covered, "good"),
    } if mutation else {})  # fmt: skip


def relations(related: Sequence[Related]) -> Table:
    """Of those that were tested; also of a test that is under way."""
    rows = [[one.relation, badge(one.verdict.decision), Share(one.verdict.mean), one.verdict.runs] for one in related]
    return Table("Relations", ("relation", "verdict", "the same", "pairs"), rows,
                 "What changes nothing of the question must change nothing of the answer.")  # fmt: skip


def standing(report: Report) -> Table:
    """Of a test that is under way."""
    rows = [[one.case, badge(one.decision), _of(one.kept, one.runs), one.message or None] for one in report.results]
    return Table("So far", ("case", "verdict", "kept", "why"), rows)


def blamed(shares: Mapping[str, float]) -> Table:
    """Of a search that is under way: how likely each segment (or text to put in) is to blame, the likeliest first."""
    rows = [[name, Share(share)] for name, share in sorted(shares.items(), key=lambda one: -one[1])[:SUSPECTS]]
    return Table("So far", ("segment, or text to put in", "likely"), rows)


def diagnosed(prompt: Prompt, found: Diagnosis) -> Iterator[Part]:
    """Of `inglenook prompt debug`."""
    about, lacking = found.found, found.lacking
    how = {"alone": "by itself", "together": "only together", "either": "each by itself"}.get(about.how, about.how)
    sure = Badge("confirmed", "good") if about.confirmed else Badge("not confirmed", "open")
    yield Table(
        "It is mended by" if lacking else "It fails by",
        ("text to put in" if lacking else "segment", "how", "certainty", "leave one out", "runs"),
        [[name, how, Share(about.certainty), sure, about.runs] for name in found.segments or ("nothing was found",)],
    )
    if found.failing:
        yield _failing(prompt, found.failing.case.name, found.failing, () if lacking else found.segments)
    if found.mended:
        names = {one.name for one in prompt.segments}
        new: dict[str, Tone] = {one.name: "good" for one in found.mended.segments if one.name not in names}
        yield _template("Mended", found.mended, new)


def versions(names: Sequence[str], passes: Mapping[int, bool], first: int | None = None) -> Table:
    """Of `inglenook prompt debug` with several versions, from old to new; also of a search that is under way."""
    rows = [[name, badge("pass" if passes[at] else "fail") if at in passes else None,
             "the first that fails" if at == first else ""] for at, name in enumerate(names)]  # fmt: skip
    return Table("Versions", ("version", "verdict", ""), rows, "Found by halving: only these had to run.")


def compared(old: Prompt, new: Prompt, found: Comparison) -> Iterator[Part]:
    """Of `inglenook prompt diff`."""
    yield shifted(found)
    if found.promises:
        yield Table("What changed in what is promised", ("level", ""), [list(one) for one in found.promises])
    shown = set[tuple[str, str]]()
    for one in found.shifts:
        if one.example and (rows := (one.example[0].call.key, one.example[1].call.key)) not in shown:
            shown.add(rows)
            a, b = one.example
            texts = [*_said("before", old, a), *_said("after", new, b)]
            yield Passage(f"{one.what}: {a.case.name}", texts, f"Seed {a.call.seed}; {one.change}.")
    names = {one.name: one for one in old.segments}
    changed: dict[str, Tone] = {one.name: "open" for one in new.segments if names.get(one.name) != one}
    yield _template("The new prompt", new, changed)


def shifted(found: Comparison) -> Table:
    """What changed in what it does; also of a comparison that is under way."""
    return Table(
        "What changed in what it does", ("", "change", "difference", "95 %", "lost", "gained", "pairs"),
        [[one.what, badge(one.change), f"{one.mean:+.1%}", f"{one.low:+.1%} to {one.high:+.1%}", one.lost, one.gained,
          one.runs] for one in found.shifts],
        "New minus old, over the same cases and seeds. The errors hold for all rows together.",
    )  # fmt: skip


def built(lock: Lock) -> Iterator[Part]:
    """Of `inglenook prompt build`."""
    yield from climbed(lock)
    if lock.requirements:
        fresh = f"cases that no pass saw ({', '.join(lock.held)})" if lock.held else "fresh seeds"
        note = f"Verified with {fresh}"
        if one := lock.verified:
            note += f": {one.lost} lost and {one.gained} gained of {one.runs} pairs"
        yield Table("Requirements of what came out", ("requirement", "verdict", "runs"),
                    [[id, badge(decision), runs] for id, decision, runs in lock.requirements],
                    f"{note}." if lock.held or one else "")  # fmt: skip
    yield _template("What came out", lock.prompt, {})


def climbed(lock: Lock) -> Iterator[Table]:
    """Where a build was tried and what its passes came to; also of one that is under way."""
    yield Table("Where it was tried", ("target", "level", "verdict", "runs"),
                [[one.target, one.level, badge(decision), runs] for one, decision, runs in lock.rungs])  # fmt: skip
    before, after = lock.tokens
    kept = sum(one.kept for one in lock.steps) - lock.back
    yield Table(
        f"Steps: {kept} kept, {before} → {after} tokens",
        ("pass", "what it did", "tokens", "", "why", "lost", "gained", "pairs", "95 %"),
        [[one.by, one.what, f"{one.before}\u00a0→\u00a0{one.after}",
          Badge("kept", "good") if one.kept else Badge("left"), _why(one), *_pairing(one.pairing)]
         for one in lock.steps],
        f"Verification took the last {lock.back} back." if lock.back else "",
    )  # fmt: skip


def _why(step: Step) -> str:
    """A step was left."""
    if step.kept:
        return "no loss"
    if step.pairing is None:
        return "it saves no token"
    return "it may lose too much" if step.pairing.decision == "fail" else "not known: give it more cases"


def evolved(prompt: Prompt, made: Evolved) -> Iterator[Part]:
    """Of `inglenook prompt evolve`."""
    yield rewritten(made.steps, ": better on cases it never saw" if made.accepted else ": nothing better was found")
    if made.comparison:
        yield from compared(prompt, made.best, made.comparison)


def rewritten(steps: Sequence[Rewriting], said: str = "") -> Table:
    """Of an evolution, also one that is under way."""
    rows = [[one.segment or None, Badge("kept", "good") if one.fate == "kept" else Badge("left"),
             "" if one.fate == "kept" else one.fate, _short(one.text)] for one in steps]  # fmt: skip
    return Table(f"Rewritings{said}", ("segment", "", "why", "what was written"), rows,
                 "What is kept does better on the cases for learning; the gate's cases it never saw.")  # fmt: skip


def _pairing(found: Pairing | None) -> list[object]:
    if found is None:
        return [None] * 4
    return [found.lost, found.gained, found.runs, f"{found.low:+.1%} to {found.high:+.1%}"]


def _requirements(prompt: Prompt, cases: Sequence[Case], report: Report) -> Table:
    kept = {one.requirements[0]: one.kept for one in report.results if one.case.startswith("requirement ")}
    rows = list[list[object]]()
    for row in trace(prompt, cases).rows:
        one, verdict = row.requirement, report.verdicts.get(row.requirement.id)
        wanted = f"≥ {one.threshold:.0%}, refused at {one.worst:.0%}"
        traced = [", ".join(row.segments) or None, len(row.cases)]
        if verdict is None:
            rows.append(
                [f"{one.id}: {_about(one)}", Badge("not tested", "open"), *[None] * 3, wanted, None, None, *traced]
            )
            continue
        worth: tuple[float | None, float | None] = (None, None)
        if not steady(prompt):
            worth = evidence(claimed(one), kept[one.id], verdict.runs)
        rows.append([
            f"{one.id}: {_about(one)}", badge(verdict.decision), _of(kept[one.id], verdict.runs),
            Share(verdict.mean), f"{verdict.low:.0%} to {verdict.high:.0%}", wanted, *map(_evalue, worth), *traced,
        ])  # fmt: skip
    return Table(
        "Requirements",
        ("requirement", "verdict", "kept", "share", "95 %", "wanted", "e: too rare", "e: kept", "stated by", "cases"),
        rows,
        "The interval holds whenever one looks. e-values: how many times a bet has grown that the requirement is kept "
        "too rarely, and that it is kept; by chance alone one reaches E in a share 1/E of all tests at most."
        if not steady(prompt) else "Answers do not depend on the seed: each case ran once, and shares are exact.",
    )  # fmt: skip


def _about(one: Requirement) -> str:
    return one.text or ("" if one.limit is None else f"{one.metric} {one.op} {one.limit:g}")


def _of(kept: int, runs: int) -> str:
    """Where no line breaks."""
    return f"{kept}\u00a0of\u00a0{runs}"


def _evalue(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}" if value < 10 else f"{value:.0f}" if value < 1e4 else "> 10,000"


def _coverage(covered: Coverage, mutated: bool) -> Table:
    shares = {"requirements decided": covered.requirements, "classes of slots' values": covered.slots}
    if mutated:
        shares |= {"segments whose loss is noticed": covered.segments, "constraints": covered.constraints}
    return Table(
        "Coverage", ("", "covered", "of", "not covered"),
        [[name, Share(one.share), len(one.all), ", ".join(one.open) or None] for name, one in shares.items()],
        "" if mutated else "Of segments and constraints only mutants tell.",
    )  # fmt: skip


def mutants(mutation: Mutation, all: int = 0) -> Table:
    """What became of them; of how many, where others are to come."""
    fates: tuple[Fate, ...] = ("survived", "equivalent?", "killed")
    rows = [
        [one.mutant.operator, one.mutant.segment, badge(one.fate), one.case or None, one.pairs,
         _now(one.mutant.prompt, one.mutant.segment)]
        for one in sorted(mutation.outcomes, key=lambda one: fates.index(one.fate))
    ]  # fmt: skip
    said = "none to kill" if mutation.score is None else f"{mutation.score:.0%} killed"
    some = f"{len(mutation.outcomes)} of {all}, " if all else ""
    title = f"Mutants: {some}{said}"
    return Table(title, ("operator", "segment", "fate", "by the case", "pairs", "it says then"), rows,
                 "What survives is a change that no case notices. equivalent?: every answer was the same.")  # fmt: skip


def _now(prompt: Prompt, name: str) -> str:
    there: list[Segment] = [one for one in prompt.segments if one.name == name]
    return _short(there[0].text) if there else "(left out)"


def _short(text: str) -> str:
    return text if len(text) <= LONG else text[: LONG - 1] + "…"


def _lint(prompt: Prompt, findings: Iterable[Finding]) -> Table:
    return Table(
        "Findings of the linter", ("", "rule", "dimension", "segment", "line", "what", "what to do"),
        [[badge(one.severity), one.rule, one.dimension, one.segment or None,
          str(file.place(prompt, one.segment, one.start)[0]), one.message, one.hint] for one in findings],
    )  # fmt: skip


def _failing(prompt: Prompt, name: str, trial: Trial, blamed: Sequence[str] = ()) -> Passage:
    """A run, its answer, and marked the segments to blame: those given, else those that state what is broken."""
    broken = {one.id for one in prompt.requirements if one.id in named(trial.case) and not trial.kept(one)}
    names = blamed or [one.name for one in prompt.segments if broken & {*one.requirements}]
    why = trial.judged.reason or trial.reply.error
    note = f"Seed {trial.call.seed}, row {trial.call.key}. {why}"
    return Passage(f"Fails: {name}", _said("", prompt, trial, dict.fromkeys(names, "bad")), note)


def _said(
    side: str, prompt: Prompt, trial: Trial, tones: Mapping[str, Tone] | None = None
) -> list[tuple[str, list[Mark]]]:
    """What was asked, piece by piece as it came from segments and slots, and what was answered."""
    rendered = prompt.render(trial.case.values)
    texts = []
    for message, spans in zip(rendered.messages, rendered.spans):
        pieces, end, content = list[Mark](), 0, str(message.content)
        for span in spans:
            pieces.append(Mark(content[end : span.start]))
            name = f"{span.segment} ← {span.slot}" if span.slot else span.segment
            pieces.append(Mark(content[span.start : span.end], name, (tones or {}).get(span.segment, "")))
            end = span.end
        texts.append((f"{side} {message.role}".strip(), [*pieces, Mark(content[end:])]))
    answer = trial.reply.text or f"({trial.reply.error or 'nothing'})"
    return [*texts, (f"{side} answer".strip(), [Mark(answer, "", "" if trial.judged.passed else "bad")])]


def _template(title: str, prompt: Prompt, tones: Mapping[str, Tone]) -> Passage:
    texts = []
    for role, some in groupby(prompt.segments, lambda one: one.role):
        pieces = list[Mark]()
        for one in some:
            about = " ".join([one.name, one.kind, *one.requirements, *["protected"] * one.protected])
            pieces += [Mark("" if one.glue or not pieces else "\n"), Mark(one.text, about, tones.get(one.name, ""))]
        texts.append((role, pieces))
    return Passage(title, texts, f"{prompt.name} {prompt.version}, {prompt.digest}")
