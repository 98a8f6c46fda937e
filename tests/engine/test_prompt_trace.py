"""Requirements: what a run must keep, and which segments, cases and results speak for each."""

from __future__ import annotations

import pytest
from inglenook.errors import NookError
from inglenook.evals.calls import Reply
from inglenook.prompt.ast import Prompt, Segment
from inglenook.prompt.case import Assertion, Case, Result
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.trace import trace

REPLY = Reply("Three short words", first_ms=100, total_ms=500, prompt_tokens=40, completion_tokens=5)


@pytest.mark.parametrize(
    ("metric", "op", "limit", "kept"),
    [
        ("first_ms", "<=", 100, True),
        ("first_ms", "<=", 99, False),
        ("token_ms", "<=", 100, True),
        ("token_ms", "<=", 99, False),
        ("words", ">=", 3, True),
        ("words", ">=", 4, False),
        ("characters", "<=", 17, True),
        ("prompt_tokens", "<=", 39, False),
        ("completion_tokens", ">=", 5, True),
        ("total_ms", "<=", 499, False),
    ],
)
def test_a_quantity_is_bounded_in_each_run_whatever_the_assertions_say(metric, op, limit, kept) -> None:
    requirement = Requirement("N1", metric=metric, op=op, limit=limit)
    assert requirement.kept(REPLY, True) is requirement.kept(REPLY, False) is kept


def test_a_functional_requirement_is_kept_where_its_assertions_hold_and_never_by_a_failed_call() -> None:
    requirement = Requirement("R1", threshold=0.9, margin=0.2)
    assert (requirement.kept(REPLY, True), requirement.kept(REPLY, False)) == (True, False)
    assert not requirement.kept(Reply(error="timeout: no answer"), True)
    assert not Requirement("N1", metric="words", limit=9).kept(Reply(error="timeout: no answer"), True)
    assert requirement.worst == pytest.approx(0.7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "1"}, {"id": "R 1"}, {"metric": "words"}, {"limit": 3}, {"metric": "speed"}, {"op": "<"},
        {"threshold": 1.1}, {"margin": 0}, {"threshold": 0.3, "margin": 0.4}, {"alpha": 0}, {"beta": 0.6},
        {"sort": "x"},
    ],
)  # fmt: skip
def test_a_requirement_that_cannot_be_decided_is_refused(wrong) -> None:
    with pytest.raises(NookError) as refused:
        Requirement(**{"id": "R1", **wrong})
    assert refused.value.code == "prompt-requirement" and refused.value.hint


def test_the_matrix_goes_both_ways() -> None:
    prompt = Prompt(
        (
            Segment("task", "Sort.", requirements=("R1",)),
            Segment("format", "One word.", requirements=("R1", "R9")),
            Segment("rest", "x"),
        ),
        requirements=(Requirement("R1"), Requirement("R2"), Requirement("N1", metric="words", limit=1)),
    )
    cases = [
        Case("a", requirements=("R1",)),
        Case("b", assertions=(Assertion("equals", "x", requirements=("r2",)),)),
        Case("c"),
    ]
    results = [Result("a", "pass", requirements=("R1", "N1")), Result("c", "fail", requirements=("N1",))]
    made = trace(prompt, cases, results)
    first, second, third = made.rows
    assert (first.segments, first.cases, first.decision) == (("task", "format"), ("a",), "pass")
    assert (second.segments, second.cases, second.decision) == ((), (), None)
    assert (third.cases, third.decision) == (("a", "b", "c"), "fail")
    assert (made.unstated, made.untested, made.loose, made.idle) == (("R2",), ("R2",), ("rest",), ("c",))
    assert [pair[:2] for pair in made.unknown] == [("segment format", "R9"), ("case b", "r2")]
    assert trace(prompt, cases, [Result("a", "undecided", requirements=("R1",))]).rows[0].decision == "undecided"
