"""Metamorphic relations: what must stay the same when something that should not matter is changed.

No right answer is needed. A relation makes of a prompt and a case others; each pair runs side by side, and the relation
holds in a run if both answers are the same (but for case, spaces and marks), or with `verdicts`, if both pass or fail.

| relation | what it changes |
|---|---|
| `spaces`, `case` | white space around and within a text, capital letters |
| `beside` | adds a sentence that has nothing to do with it |
| `lines` | the order of lines of a text of several lines |
| `units` | 3 km are 3000 m |
| `examples` | the order of examples |
| `persona` | leaves the persona out |
| `paraphrase` | other words, given in the case's metadata (`paraphrases`: slot → texts) or by `paraphrases` |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Message, Settings, Work
from inglenook.prompt.ast import Prompt, named
from inglenook.prompt.case import Case
from inglenook.prompt.oracle import Judges
from inglenook.prompt.sequential import Claim, Sprt, Verdict
from inglenook.prompt.suite import NO_JUDGES, Trial, checked, steady, trials

Twin = tuple[Prompt, Case]
MOST = 60  # pairs of runs for a relation
BESIDE = "By the way, the office is closed on Monday."
_UNITS = {
    "km": ("m", 1000), "kg": ("g", 1000), "hours": ("minutes", 60), "hour": ("minutes", 60), "m": ("cm", 100),
    "minutes": ("seconds", 60), "weeks": ("days", 7), "litres": ("ml", 1000), "tonnes": ("kg", 1000),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Related:
    """A relation's verdict, and the first pair of runs that broke it."""

    relation: str
    verdict: Verdict
    broken: tuple[Trial, Trial] | None


def _texts(change: Callable[[str], str]) -> Callable[[Prompt, Case], Iterator[Twin]]:
    """A relation that changes each text of a case by itself, where that makes a difference that the slot takes."""

    def twins(prompt: Prompt, case: Case) -> Iterator[Twin]:
        for slot in prompt.slots:
            value = case.values.get(slot.name)
            if slot.type in ("text", "line") and isinstance(value, str) and (other := change(value)) != value:
                try:
                    slot.spell(other)
                except NookError:
                    continue
                yield prompt, replace(case, values={**case.values, slot.name: other})

    return twins


def _spaces(text: str) -> str:
    return f"  {text.replace('. ', '.  ')} "


def _lines(text: str) -> str:
    return "\n".join(reversed(text.split("\n")))


def _units(text: str) -> str:
    """Whole numbers of larger units told in smaller ones."""

    def told(found: re.Match[str]) -> str:
        unit, factor = _UNITS[found[2]]
        return f"{int(found[1]) * factor} {unit}"

    return re.sub(rf"\b(\d+) ({'|'.join(_UNITS)})\b", told, text)


def _examples(prompt: Prompt, case: Case) -> Iterator[Twin]:
    places = [i for i, one in enumerate(prompt.segments) if one.kind == "example"]
    if len(places) > 1:
        segments = list(prompt.segments)
        for i, j in zip(places, reversed(places)):
            segments[i] = prompt.segments[j]
        yield replace(prompt, segments=tuple(segments)), case


def _persona(prompt: Prompt, case: Case) -> Iterator[Twin]:
    names = [one.name for one in prompt.segments if one.kind == "persona"]
    if names and len(names) < len(prompt.segments):
        yield prompt.without(names), case


def _paraphrase(prompt: Prompt, case: Case) -> Iterator[Twin]:
    given = case.metadata.get("paraphrases")
    for name, texts in given.items() if isinstance(given, Mapping) else ():
        for text in texts:
            yield prompt, replace(case, values={**case.values, name: text})


RELATIONS: dict[str, Callable[[Prompt, Case], Iterator[Twin]]] = {
    "spaces": _texts(_spaces), "case": _texts(str.upper), "beside": _texts(lambda text: f"{text} {BESIDE}"),
    "lines": _texts(_lines), "units": _texts(_units), "examples": _examples, "persona": _persona,
    "paraphrase": _paraphrase,
}  # fmt: skip


def relate(
    prompt: Prompt, cases: Sequence[Case], names: Sequence[str] = (), target: str = "", judges: Judges = NO_JUDGES, *,
    verdicts: bool = False, claim: Claim | None = None, most: int = MOST, seed: int = 0,
) -> Work[list[Related]]:  # fmt: skip
    """Test relations, all that apply or those named. Where seeds change nothing each pair is run once and a relation is
    kept if all pairs are. Raises NookError("no-part") for names that are none."""
    checked(prompt, cases, judges)
    found = []
    for name, make in zip(names or RELATIONS, named("relation", names or RELATIONS, RELATIONS)):
        twins = [(case, twin) for case in cases for twin in make(prompt, case)]
        if twins:
            gate = Sprt(claim or Claim(), most)
            related = _relate(name, prompt, twins, target, judges, verdicts=verdicts, gate=gate, seed=seed)
            found += [(yield from related)]
    return found


def _relate(
    name: str, prompt: Prompt, twins: list[tuple[Case, Twin]], target: str, judges: Judges, *,
    verdicts: bool, gate: Sprt, seed: int,
) -> Work[Related]:  # fmt: skip
    broken: tuple[Trial, Trial] | None = None
    sure = steady(prompt)
    turn = 0
    while gate.open and not (sure and turn == len(twins)):
        case, (other, changed) = twins[turn % len(twins)]
        number = seed + (0 if sure else turn)
        [one] = yield from trials(prompt, [(case, number)], target, judges)
        [two] = yield from trials(other, [(changed, number)], target, judges)
        same = one.judged.passed == two.judged.passed if verdicts else plain(one.reply.text) == plain(two.reply.text)
        same = same and not (one.reply.error or two.reply.error)
        gate.add(int(same))
        broken = broken or (None if same else (one, two))
        turn += 1
    verdict = gate.verdict()
    if sure:
        verdict = replace(verdict, decision="fail" if broken else "pass")
    return Related(name, verdict, broken)


def plain(text: str) -> str:
    """A text as answers are compared: letters and digits alone."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def paraphrases(text: str, count: int, writer: str, seed: int = 0) -> Work[list[str]]:
    """Up to `count` other wordings of a text by a target that writes; what repeats or says nothing is left out."""
    said = f"Say this in other words, with the same meaning, in one line and nothing else:\n{text}"
    settings = Settings(max_tokens=120 + len(text), temperature=0.9)
    replies = yield [Call(writer, (Message("user", said),), settings, seed + i) for i in range(count)]
    found = (reply.text.strip().split("\n")[0] for reply in replies if not reply.error)
    return [one for one in dict.fromkeys(found) if one and plain(one) != plain(text)]
