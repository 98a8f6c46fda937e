"""Versions side by side, evolution behind its gate, relations, chains, history: on models told in a few lines."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Settings
from inglenook.evals.drive import drive
from inglenook.evals.rows import Rows
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.chain import Link, recorded
from inglenook.prompt.chain import run as chain
from inglenook.prompt.change import Comparison, Shift, Side, bump, compare
from inglenook.prompt.evolve import evolve
from inglenook.prompt.monitor import Monitor
from inglenook.prompt.relations import RELATIONS, paraphrases, plain, relate
from inglenook.prompt.release import dump, following, load, rollback
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.suite import NO_JUDGES, split, trials

Model = Callable[[Call], Reply]


def prompt(temperature: float = 0.8, **texts: str) -> Prompt:
    segments = {"who": "You are a clerk.", "task": "Say where it is.", **texts}
    return Prompt(
        (*(Segment(name, text, "persona" if name == "who" else "constraint") for name, text in segments.items()),
         Segment("input", "{{place}}", "input", protected=True)),
        (Slot("place"),), settings=Settings(temperature=temperature),
        requirements=(Requirement("R1", "says where"), Requirement("R2", "short", metric="words", limit=3)),
    )  # fmt: skip


CASES = [Case(f"c{i}", {"place": f"p{i}"}, (Assertion("contains", "here"),), ("R1",)) for i in range(8)]


def model(rate: Callable[[str], float], long: Callable[[str], bool] = lambda text: False) -> Model:
    def answer(call: Call) -> Reply:
        text = " ".join(str(one.content) for one in call.messages) + call.target
        chance = zlib.crc32(f"{call.seed}{call.messages[-1].content!s:.40}".encode()) % 1000 / 1000
        return Reply(("here" if chance < rate(text) else "gone") + (" or so I think it is" if long(text) else ""))

    return answer


def by(found: Comparison) -> dict[str, Shift]:
    return {one.what: one for one in found.shifts}


def test_what_was_lost_is_told_with_an_example_and_makes_a_major_version() -> None:
    worse = prompt(extra="Be vague.")
    found = drive(compare(Side(prompt(), "any"), Side(worse, "any"), CASES),
                  model(lambda text: 0.4 if "vague" in text else 0.95))  # fmt: skip
    shifts = by(found)
    assert shifts["R1"].change == "lost" and shifts["R2"].change == "same"
    assert found.decision == "fail" and found.level == "major" and bump("1.2.3", "major") == "2.0.0"
    assert shifts["R1"].low <= shifts["R1"].mean <= shifts["R1"].high < 0 and shifts["R1"].lost > shifts["R1"].gained
    example = shifts["R1"].example
    assert example and example[0].judged.passed and not example[1].judged.passed
    assert example[0].call.seed == example[1].call.seed and example[0].case == example[1].case


def test_gains_are_minor_and_rewordings_are_patches() -> None:
    better = prompt(extra="Be exact.")
    found = drive(compare(Side(prompt(), "any"), Side(better, "any"), CASES),
                  model(lambda text: 0.99 if "exact" in text else 0.5))  # fmt: skip
    assert by(found)["R1"].change == "gained" and found.level == "minor" and found.decision == "pass"
    same = drive(compare(Side(prompt(), "any"), Side(prompt(who="You are our clerk."), "any"), CASES),
                 model(lambda text: 0.9))  # fmt: skip
    assert {one.change for one in same.shifts} == {"same"} and same.level == "patch"
    assert (bump("1.2.3", "minor"), bump("1.2.3", "patch")) == ("1.3.0", "1.2.4")


def test_a_models_upgrade_is_gated_by_the_same_comparison() -> None:
    answer = model(lambda text: 0.9, long=lambda text: "new" in text)
    found = drive(compare(Side(prompt(), "old"), Side(prompt(), "new"), CASES), answer)
    assert by(found)["R2"].change == "lost" and by(found)["R1"].change == "same" and found.decision == "fail"


def test_steady_sides_are_compared_case_by_case_once() -> None:
    asked: list[Call] = []

    def answer(call: Call) -> Reply:
        asked.append(call)
        vague = "vague" in str(call.messages) and "p3" in str(call.messages)
        return Reply("gone" if vague else "here")

    sides = Side(prompt(0.0), "any"), Side(prompt(0.0, extra="Be vague."), "any")
    found = drive(compare(*sides, CASES, margin=0.1), answer)
    assert len(asked) == 16 and by(found)["R1"].change == "lost" and by(found)["R1"].mean == -1 / 8
    assert by(drive(compare(*sides, CASES, margin=0.2), answer))["R1"].change == "same"


def test_too_few_runs_leave_it_open_and_release_nothing() -> None:
    found = drive(
        compare(Side(prompt(), "any"), Side(prompt(extra="x"), "any"), CASES, most=8), model(lambda text: 0.8)
    )
    assert found.level is None and found.decision == "undecided"
    first = following([], "d", "text", found)
    with pytest.raises(NookError) as refused:
        following([first], "e", "other", found)
    assert refused.value.code == "not-released" and "R1" in refused.value.message


def test_promises_count_as_well() -> None:
    base = prompt(0.0)

    def level(new: Prompt) -> str | None:
        return drive(compare(Side(base, "any"), Side(new, "any"), CASES), lambda call: Reply("here")).level

    assert level(base) == "patch"
    assert level(replace(base, requirements=base.requirements[:1])) == "major"
    assert level(replace(base, requirements=(*base.requirements, Requirement("R3", "kind")))) == "minor"
    assert level(replace(base, slots=(*base.slots, Slot("note", required=False)))) == "minor"
    assert (
        level(replace(base, requirements=(replace(base.requirements[0], threshold=0.5), base.requirements[1])))
        == "major"
    )
    with pytest.raises(NookError):
        bump("1.2", "minor")


def test_the_history_goes_forward_and_back_and_survives_a_torn_line() -> None:
    better = prompt(extra="Be exact.")
    found = drive(compare(Side(prompt(), "any"), Side(better, "any"), CASES),
                  model(lambda text: 0.99 if "exact" in text else 0.5))  # fmt: skip
    first = following([], prompt().digest, "one", found)
    second = following([first], better.digest, "two", found)
    third = rollback([first, second], first.version)
    assert [one.version for one in (first, second, third)] == ["1.0.0", "1.1.0", "2.0.0"]
    assert third.text == "one" and third.digest == first.digest and "1.1.0" in third.note
    assert second.evidence["R1"].startswith("gained")
    text = "".join(map(dump, (first, second, third)))
    assert load(text) == [first, second, third] == load(text + '{"version": "3')
    with pytest.raises(NookError) as refused:
        load('{"a": 1}\n' + text, "h.jsonl")
    assert "h.jsonl:1" in refused.value.message
    with pytest.raises(NookError):
        load(json.dumps({"version": 1, "digest": "a", "text": "b"}) + "\n" + text)
    with pytest.raises(NookError):
        rollback([first], "9.9.9")
    with pytest.raises(NookError) as refused:
        following([first], first.digest, "one", found)
    assert refused.value.code == "not-released" and "1.0.0 already" in refused.value.message
    assert following([first], first.digest, "one", found, "another model").version == "1.1.0"


# ── evolution ─────────────────────────────────────────────────────────────────────────────────────────────────────


def writes(segment: str, text: str, rate: Callable[[str], float]) -> tuple[Model, list[Call]]:
    """A model that also is the writer, which always proposes the same."""
    asked: list[Call] = []
    plainly = model(rate)

    def answer(call: Call) -> Reply:
        if call.target == "writer":
            asked.append(call)
            return Reply(json.dumps({"segment": segment, "text": text}))
        return plainly(call)

    return answer, asked


MANY = [Case(f"c{i}", {"place": f"p{i}"}, (Assertion("contains", "here"),), ("R1",)) for i in range(16)]


def test_what_helps_on_cases_never_seen_is_accepted() -> None:
    answer, asked = writes("task", "Be exact.", lambda text: 0.97 if "exact" in text else 0.4)
    found = drive(evolve(prompt(), MANY, "any", "writer"), answer)
    assert found.accepted and found.prompt["task"].text == "Be exact." and found.prompt["input"] == prompt()["input"]
    assert found.comparison and found.comparison.shifts[0].change == "gained"
    shown = "".join(str(call.messages) for call in asked)
    assert "Answer: gone" in shown
    held = {case.name for case in split(MANY, 0)[1]}
    assert not any(f'"{case.values["place"]}"' in shown for case in MANY if case.name in held)


def test_cases_are_held_back_of_each_requirement() -> None:
    cases = [Case(f"c{i}", requirements=("R1" if i < 12 else "R2",)) for i in range(16)]
    for seed, (share, some) in enumerate([(0.5, (6, 2)), (0.25, (3, 1))]):
        learning, held = split(cases, seed, share)
        assert sorted([*learning, *held], key=cases.index) == cases and learning == sorted(learning, key=cases.index)
        assert tuple(sum(name in case.requirements for case in held) for name in ("R1", "R2")) == some
    assert len(split(cases, 0, 0.01)[1]) == len(split(cases, 0, 0.99)[0]) == 1
    assert split(cases, 1) != split(cases, 2) and split(cases, 1) == split(cases, 1)


def test_what_only_seems_to_help_is_not() -> None:
    held = {str(case.values["place"]) for case in split(MANY, 0)[1]}

    def rate(text: str) -> float:
        known = not any(text.endswith(f"{place}any") for place in held)
        return 0.97 if "exact" in text and known else 0.4

    answer, _ = writes("task", "Be exact.", rate)
    found = drive(evolve(prompt(), MANY, "any", "writer", most=120), answer)
    assert found.comparison and not found.accepted and found.prompt == prompt()


def test_what_loses_a_requirement_is_not_accepted() -> None:
    quick, _ = writes("task", "Be exact.", lambda text: 0.97 if "exact" in text else 0.4)

    def answer(call: Call) -> Reply:
        reply = quick(call)
        exact = call.target == "any" and "exact" in str(call.messages)
        return replace(reply, text=reply.text + " and much more than was asked") if exact else reply

    found = drive(evolve(prompt(), MANY, "any", "writer"), answer)
    assert not found.accepted and found.comparison and found.comparison.decision == "fail"


@pytest.mark.parametrize(
    ("segment", "text", "fate"),
    [
        ("input", "{{place}} exact", "not the writer's"),
        ("task", "exact {{place}}", "other slots"),
        ("task", "exact {{", "no slot"),
        ("task", "  ", "changes nothing"),
        ("task", "Be calm.", "still fails"),
    ],
)
def test_what_a_writer_may_not_do_is_refused(segment: str, text: str, fate: str) -> None:
    answer, _ = writes(segment, text, lambda text: 0.97 if "exact" in text else 0.0)
    found = drive(evolve(prompt(), MANY, "any", "writer", rounds=2), answer)
    assert not found.accepted and found.prompt == prompt() and all(fate in one.fate for one in found.steps)


def test_evolution_needs_cases_and_something_to_change() -> None:
    for one, cases, code in (
        (prompt(), CASES[:3], "few-cases"),
        (prompt().only(["input"]), CASES, "no-parts"),
    ):
        with pytest.raises(NookError) as refused:
            drive(evolve(one, cases, "any"), lambda call: Reply("gone"))
        assert refused.value.code == code and refused.value.hint


# ── in use, relations, chains ─────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_in_use_raises_an_alarm_when_it_gets_worse() -> None:
    watch, alarms = Monitor(prompt(), 1 / 200), []
    for seed in range(400):
        worse = 0.5 if seed >= 150 else 0.99
        [trial] = drive(
            trials(prompt(), [(CASES[seed % 8], seed)], "any", NO_JUDGES), model(lambda text, rate=worse: rate)
        )
        alarms += [(seed, alarm) for alarm in watch.add(trial)]
        if alarms:
            break
    assert alarms and 150 <= alarms[0][0] < 180 and alarms[0][1].id == "R1"


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_relations_hold_or_break(temperature: float) -> None:
    """A model that reads letters literally and leans on its persona, and minds nothing else."""

    def answer(call: Call) -> Reply:
        text = " ".join(str(one.content) for one in call.messages)
        return Reply(("Yes, here." if "clerk" in text else "no") + (" LOUD" if "IN " in text else ""))

    whole = prompt(temperature, one="Q: a\nA: x", two="Q: b\nA: y")
    whole = whole.put(replace(whole["one"], kind="example")).put(replace(whole["two"], kind="example"))
    case = Case("c", {"place": "in town\n3 km off"}, (Assertion("contains", "here"),),
                metadata={"paraphrases": {"place": ["3 km from town"]}})  # fmt: skip
    found = {one.relation: one for one in drive(relate(whole, [case], target="any"), answer)}
    assert set(found) == set(RELATIONS)
    assert {name for name, one in found.items() if one.verdict.decision == "fail"} == {"case", "persona"}
    assert all(one.verdict.decision == "pass" for name, one in found.items() if name not in ("case", "persona"))
    broken = found["case"].broken
    assert broken and broken[1].call.messages[-1].content != broken[0].call.messages[-1].content
    assert "3000 m" in str(next(RELATIONS["units"](whole, case))[1].values)
    verdicts = drive(relate(whole, [case], ["case"], "any", verdicts=True), answer)
    assert verdicts[0].verdict.decision == "pass"  # loud, but here
    with pytest.raises(NookError):
        next(relate(whole, [case], ["spice"]))


def test_relations_give_slots_what_they_take() -> None:
    slots = (Slot("place", "line", most=10),)
    whole, case = replace(prompt(0.0), slots=slots), Case("c", {"place": "in town"}, (Assertion("contains", "here"),))
    found = drive(relate(whole, [case], target="any"), lambda call: Reply("here"))
    assert [one.relation for one in found] == ["spaces", "case", "persona"]


def test_paraphrases_are_other_words() -> None:
    said = iter(["Where is it?", "where  is IT", "Tell me the place.\nOr so", ""])
    assert drive(paraphrases("Where is it?", 4, "any"), lambda call: Reply(next(said))) == ["Tell me the place."]
    assert plain("Hé, Du!") == "hé du"


def test_a_chain_passes_on_what_it_wrote_and_can_be_replayed(tmp_path) -> None:
    ask = Prompt((Segment("a", "Name of {{thing}}?"),), (Slot("thing"),))
    tell = Prompt((Segment("b", "Greet {{name}} about {{thing}}."),), (Slot("name"), Slot("thing")))
    links = [Link("naming", ask), Link("greeting", tell, {"name": "naming"})]
    case = Case("c", {"thing": "rain"}, (Assertion("contains", "Rainer"),))

    def answer(call: Call) -> Reply:
        text = str(call.messages[-1].content)
        return Reply("Rainer" if text.startswith("Name") else f"Hello: {text}")

    with Rows(tmp_path / "rows.jsonl") as rows:
        first = drive(chain(links, case, "any"), answer, rows)
        again = drive(chain(links, case, "any"), recorded, rows)
        assert first == again and first.judged.passed and set(first.calls) == {"naming", "greeting"}
        with pytest.raises(NookError) as refused:
            drive(chain(links, replace(case, values={"thing": "snow"}), "any"), recorded, rows)
        assert refused.value.code == "not-recorded" and "snow" in refused.value.message
    stubbed = drive(chain(links, case, "any", stubs={"naming": "Sunny"}), answer)
    assert (
        not stubbed.judged.passed and set(stubbed.calls) == {"greeting"} and "Sunny" in stubbed.replies["greeting"].text
    )
    broken = drive(chain(links, case, "any"), lambda call: Reply(error="timeout: too slow"), patience=0)
    assert broken.broke == "naming" and not broken.judged.passed and "greeting" not in broken.replies
    for some, values, stubs in (
        ([], {}, {}),
        ([Link("greeting", tell, {"name": "naming"})], {"thing": "x"}, {}),
        (links, {"thing": "x"}, {"nameing": "y"}),
        ([Link("thing", ask)], {"thing": "x"}, {}),
    ):
        with pytest.raises(NookError) as refused:
            next(chain(some, Case("c", values), "any", stubs=stubs))
        assert refused.value.code == "chain" and refused.value.hint
