"""Suites: assertions say what promptfoo's say, and a prompt is run as long as it takes to know."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Settings
from inglenook.evals.drive import drive
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.oracle import Judged, Judges, check, judge
from inglenook.prompt.requirement import Requirement
from inglenook.prompt.schema import faults
from inglenook.prompt.sequential import Sprt
from inglenook.prompt.suite import Report, claimed, run

ADULT = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 18}}, "required": ["age"]}


def chance(call: Call) -> float:
    """A number between 0 and 1 that the call decides."""
    return (zlib.crc32(call.canonical().encode()) % 10_000) / 10_000


def judged(assertion: Assertion, text: str, **reply: object) -> Judged:
    case = Case("one", {"city": "Oslo"}, (assertion,))
    return drive(judge(case, Reply(text, **reply), Judges(code=True)), lambda call: Reply())  # type: ignore[arg-type]


HOLD = [
    ("equals", "Oslo", "Oslo", "Oslo."),
    ("equals", {"a": [1, True]}, '{"a": [1.0, true]}', '{"a": [1, 1]}'),
    ("contains", "{{city}}", "in Oslo", "in oslo"),
    ("icontains", "{{ city }}", "in oslo", "in Bergen"),
    ("contains-any", ["x", "y"], "a y", "a z"),
    ("contains-all", "x, y", "y x", "x alone"),
    ("icontains-all", ["X"], "x", "y"),
    ("starts-with", "Yes", "Yes, sir", "No. Yes"),
    ("regex", r"\d{4}-\d\d", "on 2024-05", "in May"),
    ("is-json", None, "[1, 2]", "[1, 2] ok"),
    ("is-json", ADULT, '{"age": 18}', '{"age": 17}'),
    ("contains-json", ADULT, 'Sure {"x": 1}, or {"age": 20}!', 'Sure {"age": "20"}!'),
    ("python", "len(output) < 4 and context['vars']['city'] == 'Oslo'", "abc", "abcd"),
    ("python", "if 'a' in output:\n    return {'pass': True, 'score': 0.5}\nreturn False", "a", "b"),
]


@pytest.mark.parametrize(("kind", "value", "good", "bad"), HOLD)
def test_assertions_hold_and_do_not_and_the_other_way_round(kind, value, good, bad) -> None:
    assert judged(Assertion(kind, value), good).passed
    wrong = judged(Assertion(kind, value), bad)
    assert not wrong.passed and wrong.reason
    assert not judged(Assertion(f"not-{kind}", value), good).passed
    assert judged(Assertion(f"not-{kind}", value), bad).passed


def test_latency_and_cost_are_milliseconds_and_tokens() -> None:
    for kind, reply in (("latency", {"total_ms": 100.0}), ("cost", {"prompt_tokens": 60, "completion_tokens": 40})):
        assert judged(Assertion(kind, threshold=100), "", **reply).passed
        assert not judged(Assertion(kind, threshold=99), "", **reply).passed


def test_weights_and_thresholds_decide_as_in_promptfoo() -> None:
    yes, no = Assertion("contains", "a"), Assertion("contains", "z", weight=2)
    free = Assertion("contains", "z", weight=0)

    def of(*assertions: Assertion, threshold: float | None = None) -> Judged:
        return drive(
            judge(Case("one", {}, assertions, threshold=threshold), Reply("a"), Judges()), lambda call: Reply()
        )

    assert not of(yes, no).passed and of(yes, no).score == pytest.approx(1 / 3)
    assert of(yes, no, threshold=0.3).passed and not of(yes, no, threshold=0.4).passed
    assert of(yes, free).passed and of(yes, free).score == 1
    assert of().passed


def test_graders_and_encoders_are_asked_in_one_batch_and_silence_is_no_praise() -> None:
    seen: list[Call] = []

    def answer(call: Call) -> Reply:
        seen.append(call)
        if call.target == "encoder":
            return Reply(json.dumps([1.0, 0.0] if "near" in str(call.messages) else [0.6, 0.8]))
        return Reply(json.dumps({"reason": "it is", "pass": "polite" in str(call.messages[-1].content)}))

    judges = Judges("grader", "encoder")
    case = Case("one", {}, (Assertion("llm-rubric", "is polite"), Assertion("similar", "near", threshold=0.5)))
    result = drive(judge(case, Reply("far"), judges), answer)
    assert result.passed and [one.score for one in result.held] == [1, pytest.approx(0.6)]
    assert {call.target for call in seen} == {"grader", "encoder"} and len(seen) == 3
    for kind in ("llm-rubric", "not-llm-rubric", "similar", "not-similar"):
        silent = drive(judge(Case("one", {}, (Assertion(kind, "x"),)), Reply("y"), judges), lambda call: Reply("hm"))
        assert not silent.passed and "not judged" in silent.reason


@pytest.mark.parametrize(
    ("assertion", "says"),
    [
        (Assertion("javascript", "output.length"), "python"),
        (Assertion("python", "True"), "--allow-code"),
        (Assertion("contian", "x"), "contain"),
        (Assertion("regex", "("), "brackets"),
        (Assertion("latency"), "milliseconds"),
        (Assertion("llm-rubric", "x"), "--grader"),
        (Assertion("is-json", {"typo": 1}), "2020-12"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_runs(assertion, says) -> None:
    with pytest.raises(NookError) as refused:
        check(Case("one", {}, (assertion,)), Judges())
    assert says in refused.value.hint


SCHEMAS = [
    ({"type": ["integer", "null"]}, [1, 1.0, None], [True, "1", 1.5]),
    ({"enum": [1, "a"]}, [1, "a"], [True, "b"]),
    ({"items": {"type": "string"}, "minItems": 1, "uniqueItems": True}, [["a"]], [[], [1], ["a", "a"]]),
    ({"properties": {"a": True}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
    ({"oneOf": [{"minimum": 3}, {"maximum": 5}]}, [1, 9], [4]),
    ({"not": {"type": "string"}}, [1], ["a"]),
    ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, [{}, {"a": 1, "b": 1}], [{"a": 1}]),
    ({"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["v"]}}, "$ref": "#/$defs/n"},
     [{"v": 1, "next": {"v": 2}}], [{"v": 1, "next": {}}]),
    ({"type": "string", "format": "date"}, ["2024-02-29"], ["2023-02-29"]),
    ({"multipleOf": 0.1}, [0.3], [0.35]),
    ({"contains": {"const": 1}, "maxContains": 1}, [[1, 2]], [[2], [1, 1]]),
    ({"patternProperties": {"^x": {"type": "number"}}}, [{"x1": 1, "y": "a"}], [{"x1": "a"}]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), SCHEMAS)
def test_schemas_allow_what_they_say(schema, good, bad) -> None:
    assert [list(faults(schema, value)) for value in good] == [[] for _ in good]
    assert all(list(faults(schema, value)) for value in bad)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_a_value_is_its_own_constant(value: object) -> None:
    assert not list(faults({"const": value}, json.loads(json.dumps(value))))


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def prompt(temperature: float, *requirements: Requirement) -> Prompt:
    segments = (Segment("task", "Where is {{place}}?", "task", requirements=tuple(one.id for one in requirements)),)
    return Prompt(segments, (Slot("place"),), settings=Settings(temperature=temperature), requirements=requirements)


def cases(count: int, **given: object) -> list[Case]:
    return [Case(f"case {i}", {"place": f"p{i}"}, (Assertion("contains", "here"),), **given) for i in range(count)]  # type: ignore[arg-type]


def flaky(rates: Callable[[Call], float]) -> Callable[[Call], Reply]:
    return lambda call: Reply("it is here" if chance(call) < rates(call) else "no idea", total_ms=5.0)


def test_each_case_runs_until_it_is_decided() -> None:
    rates = {"p0": 0.98, "p1": 0.3, "p2": 0.97}

    def rate(call: Call) -> float:
        return next(value for place, value in rates.items() if place in str(call.messages))

    report: Report = drive(run(prompt(1.0), cases(3), "any"), flaky(rate))
    assert [one.decision for one in report.results] == ["pass", "fail", "pass"]
    assert report.results[1].runs < min(report.results[0].runs, report.results[2].runs) <= 60
    assert report.trials == sum(one.runs for one in report.results) == sum(len(set(one.rows)) for one in report.results)
    assert report.decision == "fail" and report.results[1].message


def test_requirements_are_decided_over_all_their_cases() -> None:
    good = Requirement("R1", "says where", threshold=0.9, margin=0.2)
    fast = Requirement("R2", "fast", metric="total_ms", limit=1.0)
    report: Report = drive(
        run(prompt(1.0, good, fast), cases(4, requirements=("R1",)), "any"), flaky(lambda call: 0.97)
    )
    assert report.verdicts["R1"].decision == "pass" and report.verdicts["R2"].decision == "fail"
    assert report.verdicts["R2"].runs < report.verdicts["R1"].runs
    named = {one.case: one.requirements for one in report.results}
    assert named["requirement R1"] == ("R1",) and named["case 0"] == ()


def test_where_the_seed_changes_nothing_each_case_runs_once_and_shares_are_exact() -> None:
    asked: list[Call] = []

    def answer(call: Call) -> Reply:
        asked.append(call)
        return Reply("here" if "p3" not in str(call.messages) else "gone")

    wanted = (
        Requirement("R1", "says where", threshold=0.8, margin=0.2),
        Requirement("R2", "x", threshold=0.7, margin=0.2),
    )
    report: Report = drive(run(prompt(0.0, *wanted), cases(4, requirements=("R1", "R2")), "any"), answer)
    assert len(asked) == 4
    assert [one.decision for one in report.results[:4]] == ["pass", "pass", "pass", "fail"]
    assert report.verdicts["R1"].decision == "undecided"  # three of four: between 0.6 and 0.8
    assert report.verdicts["R2"].decision == "pass"


def test_a_suite_that_is_well_fails_as_rarely_as_one_requirement_may() -> None:
    """Eight requirements at the worst rate that is good, over the same runs: each by itself with 5 % would fail a suite
    far more often than that."""
    wanted = tuple(Requirement(f"R{i}", "says it", threshold=0.9, margin=0.2) for i in range(8))
    segments = (Segment("task", "Where is {{place}}?", "task"),)
    made = Prompt(segments, (Slot("place"),), settings=Settings(temperature=1.0), requirements=wanted)
    asserts = tuple(Assertion("contains", f"({i})", requirements=(f"R{i}",)) for i in range(8))
    some = [Case("one", {"place": "p"}, asserts, tuple(one.id for one in wanted))]

    def answer(call: Call) -> Reply:
        lots = np.random.default_rng([call.seed, 5]).random(8)
        return Reply("".join(f"({i})" for i in range(8) if lots[i] < 0.9))

    suites, alone, failed, misread = 120, 0, 0, 0
    for i in range(suites):
        report: Report = drive(run(made, some, "any", seed=1000 * i, most=400), answer)
        failed += report.decision == "fail"
        misread += report.decision == "undecided"
        for one in wanted[:8]:
            gate = Sprt(claimed(one))
            while gate.open:
                gate.add(int(f"({one.id[1:]})" in answer(Call("any", (), seed=1000 * i + gate.runs)).text))
            if gate.decision == "fail":
                alone += 1
                break
    assert failed / suites <= 0.05 + 0.04 and not misread
    assert alone / suites > 0.15, "without shares"


def test_a_run_that_failed_is_kept_for_what_did_not_pass() -> None:
    report: Report = drive(run(prompt(0.0), cases(3), "any"), lambda call: Reply("here" if "p1" in str(call) else "no"))
    assert set(report.failing) == {"case 0", "case 2"}
    assert all(trial.case.name == name and not trial.judged.passed for name, trial in report.failing.items())


def test_whoever_waits_hears_after_each_round_how_it_stands() -> None:
    heard: list[Report] = []
    report: Report = drive(run(prompt(0.7), cases(2), "any", told=heard.append), lambda call: Reply("here"))
    assert heard[-1] == report and report.decision == "pass"
    assert [one.trials for one in heard] == [*range(2, report.trials + 1, 2)]
    assert {one.decision for one in heard[0].results} == {"undecided"}


def test_bad_suites_are_refused_before_anything_runs() -> None:
    for some, code in (
        ([], "no-tests"),
        ([*cases(1), *cases(1)], "no-tests"),
        ([Case("a", {"plaice": 1})], "prompt-slot"),
    ):
        with pytest.raises(NookError) as refused:
            next(run(prompt(0.0), some, "any"))
        assert refused.value.code == code and refused.value.hint
