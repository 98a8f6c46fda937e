"""Passes and builds: what is proposed, what is kept, and that losses are not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from engine.scripted import Scripted, play
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Settings
from inglenook.prompt import file
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.build import FRESH, Lock, Rung, build, tokens
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.lint import lint
from inglenook.prompt.passes import PASSES, Pass, pattern
from inglenook.prompt.patterns import PATTERNS
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.rule import Scene
from inglenook.wire.messages import Slo

PROMPT = Prompt(
    (
        Segment("persona", "You are a very careful clerk who has worked for many years.", "persona", "system"),
        Segment("task", "Please say whether the ticket is about money.", "task", requirements=("R1",), protected=True),
        Segment("input", "Ticket: {{ticket}}", "input"),
        Segment("again", "Answer with yes or with no. Answer with yes or with no.", "format", requirements=("R1",)),
        Segment("legal", "Never promise a refund.", "constraint"),
        Segment("shown", "Input: a bill\nOutput: yes\n\nInput: a chain\nOutput: no", "example"),
    ),
    (Slot("ticket"),),
    settings=Settings(4, 0.7),
    requirements=(Requirement("R1", threshold=0.9, margin=0.2),),
)
CASES = tuple(Case(f"case {n}", {"ticket": f"bill {n}"}, (Assertion("equals", "yes"),), ("R1",)) for n in range(10))
COUNT = len
BY_NAME = {one.name: one for one in PASSES}


def steps(one: Pass, prompt: Prompt, keep: bool = True) -> list[Prompt]:
    """What a pass proposes if all, or nothing, is kept."""
    proposals = one.propose(prompt)
    made = []
    try:
        made.append(next(proposals)[1])
        while True:
            made.append(proposals.send(keep)[1])
    except StopIteration:
        return made


def test_compress_takes_filler_then_segments_but_no_task_input_or_protected_one() -> None:
    made = steps(BY_NAME["compress"], PROMPT)
    assert made[0]["task"].text == PROMPT["task"].text  # it is protected
    assert {one.name for one in made[-1].segments} == {"task", "input", "shown"}
    free = PROMPT.put(replace(PROMPT["task"], protected=False))
    assert steps(BY_NAME["compress"], free)[0]["task"].text == "Say whether the ticket is about money."


def test_examples_go_one_by_one_from_the_last() -> None:
    first, second = steps(BY_NAME["examples"], PROMPT)
    assert first["shown"].text.strip() == "Input: a bill\nOutput: yes"
    assert "shown" not in [one.name for one in second.segments]
    assert [one["shown"].text.count("Input") for one in steps(BY_NAME["examples"], PROMPT, keep=False)] == [1, 1]


def test_order_puts_what_never_changes_first_and_harden_marks_what_comes_from_outside() -> None:
    [moved] = steps(BY_NAME["order"], PROMPT)
    assert [one.name for one in moved.segments] == ["persona", "task", "again", "legal", "shown", "input"]
    marked, told = steps(BY_NAME["harden"], PROMPT)
    assert marked["input"].text == "Ticket: <ticket>{{ticket}}</ticket>"
    assert "<ticket>" in told["guard"].text and told["guard"].kind == "guard"
    assert "I202" not in {one.rule for one in lint(Scene(marked))}


def test_normalise_and_deduplicate_are_repairs_of_the_linter() -> None:
    ragged = PROMPT.put(Segment("list", "- a  \n* b", "text"))
    assert steps(BY_NAME["normalise"], ragged)[-1]["list"].text == "- a\n- b"
    [once] = steps(BY_NAME["deduplicate"], PROMPT)
    assert once["again"].text == "Answer with yes or with no."


PIECES = ["Please sort. ", "Sort the tickets. ", "{{x}}", "\n", "- a\n", "* b\n", "In order to go. "]
TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
KINDS = st.sampled_from(["task", "context", "constraint", "example", "input", "text"])


@given(st.lists(st.tuples(TEXT, st.booleans(), KINDS), min_size=1, max_size=5), st.sampled_from(PASSES), st.booleans())
def test_passes_end_keep_protected_text_and_every_slot_and_save_what_they_say(parts, one, keep) -> None:
    prompt = Prompt(
        tuple(Segment(f"s{n}", text, kind, protected=locked) for n, (text, locked, kind) in enumerate(parts)),
        (Slot("x"),),
    )
    for made in steps(one, prompt, keep):
        texts = {segment.name: segment.text for segment in made.segments}
        assert all(texts.get(segment.name) == segment.text for segment in prompt.segments if segment.protected)
        used = {name for segment in made.segments for name in segment.slots}
        assert used == {name for segment in prompt.segments for name in segment.slots}
        assert file.parse(file.show(made)) == made


# ── builds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rate(read: str, call: Call) -> float:
    """A model for which the format is all that counts; its small half is bad at everything."""
    if call.settings.level == 3:
        return 0.5
    return 0.97 if "Answer with yes or with no." in read else 0.4


def test_a_build_finds_the_cheapest_rung_and_the_smallest_prompt_that_hold() -> None:
    model = Scripted(rate)
    rungs = [Rung("native", 3), Rung("native", 1, Slo(300)), Rung("native", 0)]
    lock = play(build(PROMPT, CASES, rungs, COUNT), model)
    assert (lock.decision, lock.rung) == ("pass", rungs[1])
    assert [(one.level, decision) for one, decision, _ in lock.rungs] == [(3, "fail"), (1, "pass")]
    names = [one.name for one in lock.prompt.segments]
    assert "persona" not in names and "shown" not in names  # they do nothing
    assert lock.prompt["again"].text == "Answer with yes or with no."  # said once is enough, not at all is not
    assert "legal" in names and not lock.prompt["legal"].protected  # no test could notice its loss
    assert lock.prompt["task"] == PROMPT["task"]
    assert lock.prompt.settings.level == 1 and lock.prompt.settings.slo == Slo(300)
    assert lock.tokens == (tokens(PROMPT, COUNT), tokens(lock.prompt, COUNT)) and lock.tokens[1] < 0.8 * lock.tokens[0]
    assert all(one.pairing is not None and one.pairing.decision == "pass" for one in lock.steps if one.kept)
    refused = next(one for one in lock.steps if one.what == "without again")
    assert not refused.kept and refused.pairing.decision == "fail" and refused.pairing.lost > refused.pairing.gained
    assert lock.verified is not None and lock.verified.decision == "pass" and lock.verified.low > -0.1
    assert lock.requirements[0][:2] == ("R1", "pass")
    assert lock.original == PROMPT.digest


def test_a_second_build_asks_nothing_new_and_its_lock_is_json() -> None:
    model = Scripted(rate)
    first = play(build(PROMPT, CASES, [Rung("native", 0)], COUNT), model)
    asked = len(model.asked)
    again = play(build(PROMPT, CASES, [Rung("native", 0)], COUNT), model)
    assert len(model.asked) == asked and again == first
    said = json.loads(json.dumps(first.plain()))
    assert said["digest"] == first.prompt.digest == file.parse(said["prompt"]).digest
    assert said["steps"] and said["rows"] == first.rows


def test_what_no_rung_meets_is_left_as_it_was_written() -> None:
    lock = play(build(PROMPT, CASES, [Rung("native", 3)], COUNT), Scripted(rate))
    assert lock == Lock("fail", PROMPT, PROMPT.digest, None, lock.tokens, lock.rungs)
    assert lock.tokens[0] == lock.tokens[1]


def test_verification_takes_back_what_only_seemed_to_hold() -> None:
    def changing(read: str, call: Call) -> float:
        return 0.97 if "careful clerk" in read or call.seed < FRESH else 0.5

    lock = play(build(PROMPT, CASES, [Rung("native", 0)], COUNT), Scripted(changing))
    assert any(one.kept and one.what == "without persona" for one in lock.steps)
    assert lock.back > 0 and "persona" in [one.name for one in lock.prompt.segments]
    assert lock.decision == "pass"


def test_where_answers_do_not_depend_on_the_seed_cases_that_are_held_back_verify() -> None:
    cold = replace(PROMPT, settings=Settings(4))
    many = tuple(Case(f"c{n}", {"ticket": f"bill {n}"}, CASES[0].assertions, ("R1",)) for n in range(120))

    def overfit(read: str, call: Call) -> float:
        number = int(re.search(r"bill (\d+)", read)[1])
        return 1.0 if "careful clerk" in read or number < 60 else 0.5

    free = play(build(cold, many[:60], [Rung("native")], COUNT), Scripted(overfit))
    held = play(build(cold, many[:60], [Rung("native")], COUNT, held=many[60:]), Scripted(overfit))
    assert free.back == 0 and free.verified is None and "persona" not in [one.name for one in free.prompt.segments]
    assert held.back > 0 and "persona" in [one.name for one in held.prompt.segments]


def test_a_loss_of_twice_the_margin_is_hardly_ever_kept() -> None:
    """beta is 0.05 a proposal: of 60 models that lose 0.2 without a segment, more than 8 have one of 1e-3."""
    hint = Segment("hint", "Money is billing.", "context")
    lone = replace(PROMPT, segments=(PROMPT["task"], PROMPT["input"], hint))
    kept = 0
    for n in range(60):
        model = Scripted(lambda read, call: 0.95 if "Money is billing" in read else 0.75, salt=str(n))
        lock = play(build(lone, CASES, [Rung("native")], COUNT, passes=[BY_NAME["compress"]], most=20), model)
        kept += "hint" not in [one.name for one in lock.prompt.segments]
    assert kept <= 8


def test_a_build_without_cases_is_refused() -> None:
    with pytest.raises(NookError):
        play(build(PROMPT, (), [Rung("native")], COUNT), Scripted(rate))


# ── patterns ──────────────────────────────────────────────────────────────────────────────────────────────────────

GIVEN = {
    "persona": {"text": "You are a clerk with {{braces}}."},
    "few-shot": {"examples": [{"input": "a", "output": {"x": 1}}]},
    "contract": {"schema": {"type": "object", "properties": {"queue": {"type": "string"}}}},
    "check": {"rule": "the answer is in the text."},
}


@pytest.mark.parametrize("name", PATTERNS)
def test_each_pattern_changes_the_prompt_once(name: str) -> None:
    given = GIVEN.get(name, {})
    made = PATTERNS[name].apply(PROMPT, given)
    assert made != PROMPT and PATTERNS[name].apply(made, given) == made
    assert file.parse(file.show(made)) == made
    made.render({"ticket": "x"})


def test_patterns_put_their_segments_where_they_work() -> None:
    few = PATTERNS["few-shot"].apply(PROMPT, GIVEN["few-shot"])
    names = [one.name for one in few.segments]
    assert names.index("few-shot") == names.index("input") - 1
    assert few["few-shot"].text == 'Input: a\nOutput: {"x": 1}\n'
    first = PATTERNS["persona"].apply(PROMPT.without({"persona"}), GIVEN["persona"])
    assert first.segments[0].role == "system" and first.render({"ticket": ""}).messages[0].content.endswith(
        "{{braces}}."
    )
    assert PATTERNS["contract"].apply(PROMPT, GIVEN["contract"]).settings.response_format["type"] == "json_schema"
    assert PATTERNS["reminder"].apply(PROMPT)["reminder"].text.startswith("Remember: Answer with yes")
    assert PATTERNS["refusal"].apply(PROMPT, {"answer": "none"})["refusal"].text.count("none") == 1


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("persona", {}, "needs text"),
        ("persona", {"txt": "x"}, "Did you mean text"),
        ("persona", {"text": 3}, "3 is no value"),
        ("few-shot", {"examples": [{"in": 1}]}, "no examples"),
        ("contract", {"schema": {"type": "string"}}, "no schema of an object"),
    ],
)
def test_patterns_refuse_what_does_not_fit(name, values, said) -> None:
    with pytest.raises(NookError, match=said):
        PATTERNS[name].apply(PROMPT, values)


def test_a_pattern_as_a_pass_is_kept_only_where_it_does_no_harm() -> None:
    harmful = Scripted(lambda read, call: 0.5 if "step by step" in read else 0.97)
    lock = play(build(PROMPT, CASES, [Rung("native")], COUNT, passes=[pattern("steps"), pattern("delimit")]), harmful)
    assert [(one.by, one.kept) for one in lock.steps] == [("pattern steps", False), ("pattern delimit", True)]
