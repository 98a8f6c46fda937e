"""Debugging and mutation of prompts, on models that are told in a few lines and are noisy on purpose."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Settings
from inglenook.evals.drive import drive
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.cover import coverage
from inglenook.prompt.debug import bisect, culprits, missing, removable, repairs
from inglenook.prompt.inputs import cases as drawn
from inglenook.prompt.inputs import classes, draw, smaller
from inglenook.prompt.mutate import mutants
from inglenook.prompt.mutate import run as mutate
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.suite import run as suite

TEXTS = {
    "persona": "You are a clerk.", "tone": "Be kind.", "lang": "Answer in French.", "order": "Read twice.",
    "form": "Answer with JSON only.", "care": "Mind the date.", "close": "Thank them.",
}  # fmt: skip
KINDS = {"persona": "persona", "form": "format"}


def prompt(temperature: float, **more: str) -> Prompt:
    segments = [
        Segment(name, text, KINDS.get(name, "constraint"))
        for name, text in (TEXTS | more).items()  # type: ignore[arg-type]
    ]
    return Prompt((*segments, Segment("input", "Ticket: {{ticket}}", "input")), (Slot("ticket"),),
                  settings=Settings(temperature=temperature))  # fmt: skip


CASES = [Case(f"c{i}", {"ticket": f"number {i}"}, (Assertion("contains", "{"),)) for i in range(6)]


def model(breaks: Callable[[str], bool], noise: float = 0.08) -> Callable[[Call], Reply]:
    """Writes JSON unless `breaks` says of the prompt's text that it does not, or chance does."""

    def answer(call: Call) -> Reply:
        text = str(call.messages[-1].content)
        slips = zlib.crc32(call.canonical().encode()) % 1000 < noise * 1000
        return Reply("sorry" if breaks(text) != slips else '{"ok": 1}')

    return answer


def test_the_culprit_is_found_with_a_run_that_shows_it_and_a_prompt_without_it() -> None:
    answer = model(lambda text: "French" in text)
    found = drive(culprits(prompt(0.8), CASES, "any"), answer)
    assert found.segments == ("lang",) and found.found.how == "alone" and found.found.confirmed
    assert found.failing and answer(found.failing.call).text == found.failing.reply.text == "sorry"
    assert found.mended and "lang" not in [one.name for one in found.mended.segments]
    assert found.found.runs < 45


def test_who_is_suspected_is_told_after_each_run() -> None:
    heard: list[Mapping[str, float]] = []
    found = drive(culprits(prompt(0.8), CASES, "any", told=heard.append), model(lambda text: "French" in text))
    assert len(heard) == found.found.runs and set(heard[0]) == set(TEXTS)
    assert max(heard[-1], key=heard[-1].__getitem__) == "lang"
    assert heard[0]["lang"] < 0.5 and heard[-1]["lang"] > 0.9


def test_two_that_conflict_are_found_together() -> None:
    answer = model(lambda text: "French" in text and "twice" in text)
    found = [drive(culprits(prompt(0.8), CASES, "any", seed=seed), answer) for seed in range(4)]
    assert sum(set(one.segments) == {"lang", "order"} and one.found.how == "together" for one in found) >= 3


def test_a_steady_model_and_one_case_need_no_repeats() -> None:
    asked: list[str] = []
    breaks = model(lambda text: "Thank" in text, noise=0)

    def answer(call: Call) -> Reply:
        asked.append(call.key)
        return breaks(call)

    found = drive(culprits(prompt(0.0), CASES[:1], "any"), answer)
    assert found.segments == ("close",) and found.found.confirmed and found.found.runs <= 12
    assert len(set(asked)) <= found.found.runs + 1


def test_delta_debugging_finds_the_same_in_the_same_interface() -> None:
    answer = model(lambda text: "French" in text, noise=0)
    found = drive(culprits(prompt(0.8), CASES, "any", search="ddmin"), answer)
    assert found.segments == ("lang",)


def test_protected_segments_and_the_input_are_not_blamed() -> None:
    whole = prompt(0.8).put(Segment("lang", "Answer in French.", "constraint", protected=True))
    assert removable(whole) == [name for name in TEXTS if name != "lang"]
    found = drive(culprits(whole, CASES, "any", seed=4), model(lambda text: "French" in text))
    assert found.segments == () and found.found.how == "always"


def test_one_requirement_is_debugged_by_itself() -> None:
    wanted = Requirement("R1", "has an ok"), Requirement("R2", "short", metric="characters", limit=3)
    whole = replace(prompt(0.8), requirements=wanted)
    cases = [replace(case, requirements=("R1",)) for case in CASES]
    found = drive(culprits(whole, cases, "any", demand=wanted[1]), model(lambda text: False))
    assert found.found.how == "always"  # every answer is longer than three characters, whatever is left out
    found = drive(culprits(whole, cases, "any", demand=wanted[0]), model(lambda text: "Thank" in text))
    assert found.segments == ("close",)


def test_what_is_missing_is_found_among_what_the_tests_ask_for() -> None:
    whole = prompt(0.8).without(["form"])
    cases = [replace(case, assertions=(Assertion("is-json"),)) for case in CASES]
    assert any("JSON" in one.text for one in repairs(whole, cases))
    found = drive(missing(whole, cases, "any"), model(lambda text: "JSON" not in text))
    assert len(found.segments) == 1 and "JSON" in found.segments[0] and found.found.confirmed
    assert found.mended
    texts = [one.text for one in found.mended.segments]
    assert found.segments[0] in texts and texts[-1].startswith("Ticket")  # before the input


def test_a_requirement_that_nothing_states_is_a_repair() -> None:
    whole = replace(prompt(0.0), requirements=(Requirement("R9", "Name the {{city}}."),))
    [first, *_] = repairs(whole, CASES)
    assert Prompt((first,)).render().messages[0].content == "Name the {{city}}."


def test_the_version_that_broke_it_is_found() -> None:
    versions = [prompt(0.8, note=f"Note {i}.") for i in range(9)]
    for broken in (1, 5, 8):
        answer = model(lambda text, broken=broken: int(re.findall(r"Note (\d)", text)[0]) >= broken, noise=0.04)
        heard: dict[int, bool] = {}
        assert drive(bisect(versions, CASES, "any", told=heard.__setitem__), answer) == broken
        assert all(passes == (number < broken) for number, passes in heard.items()) and len(heard) <= 6


def test_nothing_to_find_is_said() -> None:
    fine, none = model(lambda text: False, noise=0), prompt(0.8).only(["input"])
    for work, code in (
        (culprits(prompt(0.8), CASES, "any"), "not-failing"),
        (missing(prompt(0.8), CASES, "any"), "not-failing"),
        (bisect([prompt(0.8), prompt(0.8)], CASES, "any"), "not-failing"),
        (culprits(prompt(0.8), [], "any"), "no-tests"),
    ):
        with pytest.raises(NookError) as refused:
            drive(work, fine)
        assert refused.value.code == code and refused.value.hint
    with pytest.raises(NookError) as refused:
        drive(culprits(none, CASES, "any"), model(lambda text: True, noise=0))
    assert refused.value.code == "no-parts"


# ── mutation and coverage ─────────────────────────────────────────────────────────────────────────────────────────

BROAD = Prompt(
    (
        Segment("who", "You are a clerk.", "persona", "system"),
        Segment("must", "You must answer with exactly 2 words.", "constraint", requirements=("R1",)),
        Segment("form", "Write JSON.", "format"),
        Segment("first", "Q: a\nA: yes", "example"),
        Segment("second", "Q: b\nA: no", "example"),
        Segment("input", "Q: {{q}}", "input"),
    ),
    (Slot("q"),),
    requirements=(Requirement("R1", "two words"), Requirement("R2", "kind")),
)


def test_every_operator_changes_something_and_nothing_twice() -> None:
    made = list(mutants(BROAD))
    assert {one.operator for one in made} == {
        "drop", "negate", "weaken", "number", "relabel", "swap", "format", "move", "distract", "recast",
    }  # fmt: skip
    digests = [one.prompt.digest for one in made]
    assert len(set(digests)) == len(digests) and BROAD.digest not in digests
    assert all(one.prompt["input"] == BROAD["input"] for one in made)
    texts = {(one.operator, one.segment): one.prompt for one in made}
    assert texts["negate", "must"]["must"].text == "You must not answer with exactly 2 words."
    assert texts["weaken", "must"]["must"].text == "You may answer with exactly 2 words."
    assert texts["number", "must"]["must"].text == "You must answer with exactly 3 words."
    assert texts["relabel", "first"]["first"].text == "Q: a\nA: no"


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_mutants_are_killed_survive_or_look_equivalent(temperature: float) -> None:
    """A model that minds the constraint and the form, reads the persona into its words, and sees nothing else."""

    def answer(call: Call) -> Reply:
        text = " ".join(str(one.content) for one in call.messages)
        right = "must answer with exactly 2" in text and "Write JSON." in text
        return Reply(("{} yes" if right else "no") + (" sir" if "clerk" in text else ""))

    whole = replace(BROAD, settings=Settings(temperature=temperature))
    cases = [Case(f"c{i}", {"q": "é" * i}, (Assertion("contains", "{}"),), ("R1",)) for i in range(2)]
    found = drive(mutate(whole, cases, "any"), answer)
    fates = {(one.mutant.operator, one.mutant.segment): one.fate for one in found.outcomes}
    assert fates["drop", "must"] == fates["negate", "must"] == fates["format", "form"] == "killed"
    assert fates["drop", "who"] == fates["recast", "who"] == "survived"
    assert fates["swap", "first"] == fates["drop", "second"] == "equivalent?"
    killed, survived = (sum(fate == one for fate in fates.values()) for one in ("killed", "survived"))
    assert found.score == killed / (killed + survived)
    covered = coverage(whole, cases, drive(suite(whole, cases, "any"), answer), found)
    assert covered.requirements.covered == ("R1",) and covered.requirements.open == ("R2",)
    assert set(covered.segments.covered) == {"must", "form"} and "who" in covered.segments.open
    assert covered.constraints.share == 1
    assert "q: not ASCII" in covered.slots.covered and "q: long" in covered.slots.open


def test_noise_alone_kills_as_rarely_as_promised() -> None:
    rng, killed = np.random.default_rng(5), 0
    whole = replace(BROAD, settings=Settings(temperature=1.0))
    some = [next(one for one in mutants(whole) if one.operator == "distract")] * 60
    cases = [Case("c", {"q": "x"}, (Assertion("contains", "yes"),))]
    found = drive(
        mutate(whole, cases, "any", chosen=some, most=20), lambda call: Reply("yes" if rng.random() < 0.7 else "no")
    )
    killed = sum(one.fate == "killed" for one in found.outcomes)
    assert killed <= 6


# ── inputs ────────────────────────────────────────────────────────────────────────────────────────────────────────

SLOTS = (
    Slot("text"), Slot("line", "line", most=30), Slot("count", "integer", least=0, most=9), Slot("share", "number"),
    Slot("on", "boolean"), Slot("kind", "choice", choices=("a", "b")), Slot("data", "json"),
    Slot("note", required=False),
    Slot("long", least=50, most=60),
)  # fmt: skip


def test_drawn_inputs_fit_and_reach_every_class() -> None:
    whole = Prompt(tuple(Segment(slot.name, f"{{{{{slot.name}}}}}") for slot in SLOTS), SLOTS)
    found = drawn(whole, (Assertion("contains", ""),), 150, seed=3)
    assert found == drawn(whole, (Assertion("contains", ""),), 150, seed=3) != drawn(whole, (), 150, seed=4)
    for case in found:
        whole.render(case.values)
    for slot in SLOTS:
        for name, holds in classes(slot).items():
            assert any(holds(case.values.get(slot.name)) for case in found), f"{slot.name}: {name}"
    with pytest.raises(NookError):
        draw(Slot("x", "integer", least=3.2, most=3.4), np.random.default_rng(0))


def test_what_fails_gets_smaller_and_still_fails() -> None:
    whole = Prompt((Segment("a", "{{text}} {{count}}"),), (SLOTS[0], Slot("count", "integer")))
    values: dict[str, object] = {"text": "some words and a { in between", "count": 977}

    def fails(some: dict[str, object]) -> bool:
        return "{" in str(some["text"]) and int(str(some["count"])) > 10

    while better := next((one for one in smaller(whole, values) if fails(one)), None):
        values = better
    assert values["text"] == "{" and 10 < int(str(values["count"])) <= 21
