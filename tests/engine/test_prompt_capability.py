"""What a model can do: each probe takes the right answer and no other, and requirements learn what cannot be had."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from engine.scripted import Scripted, play
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Settings
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.capability import PROBES, attainable, forms, probe
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.metrics import cohesion, design, determinism
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.sequential import Claim


def _said(pattern: str) -> Callable[[str], str]:
    return lambda text: re.search(pattern, text)[1]


def _refuse(text: str) -> str:
    name, thing, place, asked, wanted = re.search(
        r"(\w+) left a (\w+) in (\w+).\nWhere did (\w+) leave a (\w+)", text
    ).groups()
    return place if (name, thing) == (asked, wanted) else "unknown"


def _json(text: str) -> str:
    name, count, thing = re.search(r"(\w+) has (\d+) of this thing: (\w+)", text).groups()
    return json.dumps({"name": name, "thing": thing, "count": int(count)})


def _extract(text: str) -> str:
    person, place, year, kind = re.search(r"(\w+) moved to (\w+) in (\d+).*Which (\w+)", text, re.DOTALL).groups()
    return {"person": person, "place": place, "year": year}[kind]


def _items(text: str) -> str:
    return "\n".join(f"- {one}" for one in text.rsplit(": ", 1)[1].split(", "))


def _add(text: str) -> str:
    a, b = re.search(r"(\d+) \+ (\d+)", text).groups()
    return str(int(a) + int(b))


SOLVED: dict[str, Callable[[str], str]] = {
    "copy": _said(r"nothing else: (.*)"), "word": _said(r"is (\w+)\. What"), "choose": _said(r"bought a (\w+)"),
    "extract": _extract, "json": _json, "list": _items, "short": lambda text: "It is a thing.", "refuse": _refuse,
    "ignore": _said(r"lost a (\w+)"), "add": _add,
}  # fmt: skip
WRONG = {
    "copy": "Anna", "word": "it is purple", "choose": "a spoon", "extract": "in the year", "json": '{"name": 3}',
    "list": "lamp, chair", "short": "word " * 20, "refuse": "nowhere", "ignore": "pineapple", "add": "many",
}  # fmt: skip


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_takes_the_right_answer_in_usual_dress_and_no_other(name: str) -> None:
    for seed in range(40):
        task = PROBES[name](random.Random(seed))
        right = SOLVED[name](str(task.messages[-1].content))
        assert task.right(right), right
        assert task.right(f" {right}\n")
        assert not task.right(WRONG[name]) and not task.right("")
    assert len({str(PROBES[name](random.Random(seed)).messages) for seed in range(40)}) > 20


def test_json_may_stand_in_a_fence() -> None:
    task = PROBES["json"](random.Random(1))
    assert task.right(f"```json\n{_json(str(task.messages[0].content))}\n```")


CLAIM = Claim(0.9, 0.7)


def solver(*able: str, share: float = 1.0) -> Callable[[Call], Reply]:
    """A model that solves the probes named, and says a wrong thing to others."""
    lucky = Scripted(lambda read, call: share)

    def answer(call: Call) -> Reply:
        text = str(call.messages[-1].content)
        for name in able:
            try:
                solved = SOLVED[name](text)
            except (TypeError, AttributeError, IndexError):
                continue
            return Reply(solved if lucky(call).text == "yes" else "hm")
        return Reply("hm")

    return answer


def test_a_probe_runs_until_it_is_decided_and_no_longer() -> None:
    able = play(probe("json", "m", CLAIM), solver("json"))
    assert (able.decision, able.kept) == ("pass", able.runs) and able.runs < 40
    unable = play(probe("json", "m", CLAIM), solver("add"))
    assert (unable.decision, unable.kept) == ("fail", 0) and unable.runs <= 16
    assert play(probe("add", "m", CLAIM), solver("add", share=0.5)).decision == "fail"
    with pytest.raises(NookError, match="Did you mean json"):
        play(probe("jsn", "m", CLAIM), solver())


PROMPT = Prompt(
    (Segment("task", "Say what it is.", "task", requirements=("R1", "R2", "R3")), Segment("in", "{{x}}", "input")),
    (Slot("x"),),
    settings=Settings(8, 0.7),
    requirements=(
        Requirement("R1", threshold=0.9, margin=0.2, needs=("json",)),
        Requirement("R2", threshold=0.9, margin=0.2, needs=("add",)),
        Requirement("R3", threshold=0.9, margin=0.2),
        Requirement("R4", threshold=0.9, margin=0.2),
    ),
)
CASES = (
    Case("two", {"x": "a"}, (Assertion("icontains", "unknown"),), ("R2",)),
    Case("three", {"x": "b"}, (Assertion("icontains", "never said"),), ("R3",)),
    Case("one", {"x": "c"}, (Assertion("icontains", "hm"),), ("R1",)),
)


def test_requirements_learn_whether_a_model_can_meet_them_and_why() -> None:
    able = solver("add")

    def answer(call: Call) -> Reply:
        read = "\n".join(str(message.content) for message in call.messages)
        return Reply("unknown" if "answer “unknown”" in read else able(call).text)

    found = play(attainable(PROMPT, CASES, "m"), answer)
    assert {id: one.verdict for id, one in found.items()} == {
        "R1": "not attainable", "R2": "attainable", "R3": "not attainable", "R4": "undecided",
    }  # fmt: skip
    assert "json: right in 0 of" in found["R1"].why and "cannot do" in found["R1"].why
    assert found["R2"].form == "refusal" and "with the pattern refusal" in found["R2"].why
    assert f"each of the {len(forms(PROMPT))} forms" in found["R3"].why
    assert [one.probe for one in found["R2"].abilities] == ["add"]


def test_what_is_attained_as_it_is_needs_no_pattern() -> None:
    found = play(attainable(replace(PROMPT, requirements=PROMPT.requirements[1:2]), CASES[:1], "m"), lambda call: Reply(
        _add(str(call.messages[-1].content)) if "+" in str(call.messages[-1].content) else "unknown"))  # fmt: skip
    assert found["R2"].form == "" and "as it is" in found["R2"].why


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_metrics_of_a_text_are_counted_by_hand() -> None:
    prompt = Prompt(
        (
            Segment("rule", "Never guess. You must be brief. It rains.", "constraint"),
            Segment("again", "Never guess now. Never guess now.", "text"),
            Segment("in", "abcd{{x}}efgh{{y}}", "input"),
            Segment("may", "0123456789", when="y"),
        ),
        (Slot("x", most=10), Slot("y", most=20, required=False)),
        settings=Settings(30),
    )
    found = design(prompt, len, window=1000)
    size = 41 + 33 + 8 + 10
    assert (found.tokens, found.segments, found.slots, found.branches) == (size, 4, 2, 1)
    assert (found.constraints, found.complexity) == (4, 7)
    assert found.coupling == pytest.approx(2 / 4)
    assert found.redundancy == pytest.approx(16 / (41 + 33 + 18 + 10))
    assert found.stable == pytest.approx((41 + 33 + 4) / size)
    assert found.memory == pytest.approx((size + 30 + 30) / 1000)
    assert design(prompt, len).memory is None
    assert design(replace(prompt, slots=(Slot("x"), Slot("y", required=False))), len, 1000).memory is None


ONE = Prompt((Segment("a", "Say yes."), Segment("b", "Do."), Segment("c", "Or."), Segment("in", "{{x}}")), (Slot("x"),))
ASKED = (Case("one", {"x": "1"}, (Assertion("equals", "yes"),)), Case("two", {"x": "2"}, (Assertion("equals", "yes"),)))


def test_determinism_is_one_for_one_answer_and_nothing_for_all_different() -> None:
    assert play(determinism(ONE, ASKED, runs=8), lambda call: Reply("same ")) == 1
    assert play(determinism(ONE, ASKED, runs=8), lambda call: Reply(str(call.seed))) == pytest.approx(0)
    assert play(determinism(ONE, ASKED, runs=8), lambda call: Reply(str(call.seed % 2))) == pytest.approx(2 / 3)


def test_cohesion_tells_segments_that_replace_each_other_from_those_that_need_each_other() -> None:
    def has(call: Call, name: str) -> bool:
        return ONE[name].text in str(call.messages[0].content)

    either = play(cohesion(ONE, ASKED), lambda call: Reply("yes" if has(call, "a") or has(call, "b") else "no"))
    assert either.alone == {"a": 0, "b": 0, "c": 0}
    assert either.together == {("a", "b"): 1, ("a", "c"): 0, ("b", "c"): 0}
    assert either.score == pytest.approx(1 / 3)
    both = play(cohesion(ONE, ASKED), lambda call: Reply("yes" if has(call, "a") and has(call, "b") else "no"))
    assert both.together["a", "b"] == -1 and both.alone == {"a": 1, "b": 1, "c": 0}
    alone = play(cohesion(ONE, ASKED), lambda call: Reply("yes" if has(call, "a") else "no"))
    assert alone.score == 0 and alone.whole == 1
