"""The engine doctor: a clean engine is well, a planted fault is found, made small and explained."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from engine import faulty
from engine.faulty import EXAMPLES, Fault, Patch
from inglenook.doctor import asks, cases, causes, exam, interventions, judge, probes, reduce, report, run, symptoms
from inglenook.doctor.asks import Case, Chat, Logits, Template, Together, Tokenize, Within, Write, Written
from inglenook.doctor.engine import Asked, Crash, Hang, ask
from inglenook.doctor.kits import PlainKit
from inglenook.doctor.local import Local
from inglenook.doctor.operations import first_difference
from inglenook.doctor.truth import How, Truth
from inglenook.errors import NookError

QUICK = ("files", "tokens", "template", "scores", "drawn", "stops", "prefixes", "loud", "operations")


@cache
def known(activations: str = "f32") -> tuple[PlainKit, Truth]:
    kit = faulty.kit(activations)
    return kit, kit.truth()


def examined(engine: Any, names: tuple[str, ...], activations: str = "f32", deep: bool = False) -> exam.Report:
    chosen = [probe for probe in probes.PROBES if probe.name in names]
    return run.report(run.examine(engine, known(activations)[1], deep=deep, seconds=10, chosen=chosen))


def signs(made: exam.Report) -> set[str]:
    return {f"{outcome.probe.name}: {finding.sign}" for outcome in made.failed for finding in outcome.findings}


# ── clean engines ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_whoever_waits_hears_what_became_of_each_probe() -> None:
    names = QUICK[:3]
    chosen = [probe for probe in probes.PROBES if probe.name in names]
    items = list(run.examine(Local(known()[0]), known()[1], deep=False, seconds=10, chosen=chosen))
    heard = [item.last.probe.name for item in items if isinstance(item, exam.Told) and item.last]
    assert heard == [probe.name for probe in chosen[:-1]] and items[-1].outcomes[-1].probe is chosen[-1]


def test_a_clean_engine_is_well() -> None:
    names = QUICK if sys.platform == "emscripten" else probes.NAMES  # all of it takes a minute there
    made = examined(Local(known()[0]), names)
    assert not made.failed, report.text(made, "plain")
    told = {outcome.probe.name: outcome.state for outcome in made.outcomes if outcome.probe.name != "layers"}
    assert told == dict.fromkeys(set(names) - {"layers"}, exam.PASSED)
    assert not made.symptoms and not made.suspects
    assert all(outcome.asks for outcome in made.outcomes if outcome.state == exam.PASSED)


@pytest.mark.parametrize("activations", ["f16", "int8"])
def test_so_are_engines_that_round(activations: str) -> None:
    made = examined(Local(known(activations)[0]), QUICK, activations)
    assert not made.failed, report.text(made, "plain")


@pytest.mark.parametrize("switch", sorted({*interventions.SWITCHES} & Local(known()[0]).switches))
def test_no_switch_makes_a_clean_engine_ill(switch: str) -> None:
    kit, truth = known()
    facts = run.knowledge(Local(kit), truth)((switch,))
    engine = Local(kit, (switch,))
    for what in (Case((Write(facts.ids(100, 1), 4), Write(facts.ids(100, 1), 4))), Case((Logits(facts.ids(20, 2)),))):
        work = cases.case(facts, what)
        reply: Any = None
        with pytest.raises(StopIteration) as end:
            while True:
                reply = ask(engine, work.send(reply), 10)
        assert end.value.value == []


# ── planted faults ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [4, 1000])
def test_who_has_to_wait_for_the_processor_now_and_then_is_not_slow(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But who always takes that long is."""
    seen = Counter[Any]()

    def held_up(engine: Any, what: Any, seconds: float) -> Asked:
        seen[what] += 1
        asked = ask(engine, what, seconds)
        waits = 2000.0 * (what == Tokenize("ab" * 12000) or what == Write(facts.ids(150, 31), 8))
        return Asked(asked.value, asked.ms + (waits if seen[what] <= times else 0.0))

    facts = run.knowledge(Local(known()[0]), known()[1])(())
    monkeypatch.setattr(run, "ask", held_up)
    made = examined(Local(known()[0]), ("economy",))
    assert signs(made) == ({"economy: slow", "economy: slow tokens"} if times == 1000 else set())


def test_a_stale_page_is_found_and_an_intervention_tells() -> None:
    made = examined(EXAMPLES[1].engine(known()[0]), ("prefixes",), deep=True)
    assert made.failed and made.case
    gone = {tried.switch for tried in made.tried if tried.gone}
    assert {"no prefix cache", "no KV cache"} & gone and "fp32" not in gone
    assert made.suspects[0].cause.name == EXAMPLES[1].cause and made.suspects[0].reasons
    assert len(made.case.asks) == 2, "the one that fills a page, and the one that finds it"
    # the reproducer fails again, and passes on a clean engine
    case = asks.load(json.loads(json.dumps(asks.dump(made.case))))
    for engine, ill in ((EXAMPLES[1].engine(known()[0]), True), (Local(known()[0]), False)):
        again = run.report(run.examine(engine, known()[1], case=case))
        assert bool(again.failed) is ill


def test_a_wrong_mask_is_led_back_to_its_operation() -> None:
    made = examined(EXAMPLES[0].engine(known()[0]), ("scores", "operations"))
    assert "operations: operation mixed values" in signs(made)
    assert made.symptoms == [symptoms.SILENT]
    assert EXAMPLES[0].cause in [suspect.cause.name for suspect in made.suspects[:3]]


def test_interventions_are_tried_on_what_is_computed_and_a_case_is_made_of_the_rest_too() -> None:
    fault = patched("inglenook.completions:_usage", lambda usage: lambda timing: usage(timing) | {"total_tokens": 1})
    made = examined(fault.engine(known()[0]), ("chat",), deep=True)
    assert signs(made) == {"chat: usage"} and not made.tried
    assert made.case and len(made.case.asks) == 1
    assert exam.tells("choice") and exam.tells("operation norm") and not exam.tells("usage")


def test_chance_from_elsewhere_is_seen_by_asking_twice() -> None:
    import random

    def make(pick: Any) -> Any:
        def picked(self: Any, candidates: Any, written: Any = ()) -> Any:
            if self.temperature:
                self._random.seed(random.random())
            return pick(self, candidates, written)

        return picked

    made = examined(patched("inglenook.elastic.sample:Sampler.pick", make).engine(known()[0]), ("drawn",))
    assert {"drawn: choice", "drawn: differs"} <= signs(made)
    assert made.suspects[0].cause.name == "Job context"


def patched(target: str, make: Any) -> Fault:
    return Fault("x", "Misconfiguration", "x", (Patch(target, make),))


@pytest.mark.parametrize(
    ("target", "make", "names", "sign"),
    [
        ("inglenook.elastic.sample:Sampler.pick", lambda pick: lambda *a: 1 / 0, ("drawn",), "drawn: crash"),
        ("inglenook.elastic.turns:Turns.next", lambda next: lambda self: None, ("drawn",), "drawn: hang"),
        ("inglenook.elastic.turns:Turns.leave", lambda leave: lambda self, t: None, ("leaks",), "leaks: hang"),
        ("inglenook.elastic.chat:END", lambda end: "<|im_start|>", ("template",), "template: template"),
        ("inglenook.completions:_usage", lambda f: lambda t: f(t) | {"total_tokens": 1.0}, ("chat",), "chat: type"),
        ("inglenook.completions:_number", lambda f: lambda n, v, m: float(v), ("bad requests",),
         "bad requests: accepted"),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_its_sign(target: str, make: Any, names: tuple[str, ...], sign: str) -> None:
    made = examined(patched(target, make).engine(known()[0]), names)
    assert sign in signs(made)
    assert symptoms.symptom(sign.split(": ")[1]) in made.symptoms


def test_what_an_exception_is_tells_of_its_cause() -> None:
    def without(pick: Any) -> Any:
        def picked(*given: Any) -> Any:
            raise ModuleNotFoundError("No module named 'fast'")

        return picked

    made = examined(patched("inglenook.elastic.sample:Sampler.pick", without).engine(known()[0]), ("drawn",))
    assert "raised ModuleNotFoundError" in exam.observed(made)
    assert made.suspects[0].cause.name == "Dependent module"


def test_files_that_differ_are_told() -> None:
    from dataclasses import replace

    other = Fault("x", "Misconfiguration", "x", kit=lambda kit: replace(kit, context=300, pages=3))
    made = examined(other.engine(known()[0]), ("files",))
    assert signs(made) == {"files: setting", "files: room"}


def test_patches_hold_only_while_the_engine_answers() -> None:
    from inglenook.elastic import chat, tools

    before = chat.render, chat.SYSTEM
    fault = Fault("x", "Misconfiguration", "x", (
        Patch("inglenook.elastic.chat:SYSTEM", lambda system: "Be rude."),
        Patch("inglenook.elastic.chat:encode", lambda encode: lambda *a: 1 / 0),
    ))  # fmt: skip
    engine = fault.engine(known()[0])
    with pytest.raises(ZeroDivisionError):
        engine.answer(Template((("user", "x"),)))
    assert (chat.render, chat.SYSTEM) == before and tools.SYSTEM == chat.SYSTEM
    assert chat.encode.__module__ == "inglenook.elastic.chat"
    assert engine.answer(Tokenize("x")) == known()[1].encode("x")


# ── the parts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_causes_are_those_of_the_study() -> None:
    assert len(causes.CAUSES) == 28 and sum(cause.ours for cause in causes.CAUSES) == 9
    totals: dict[str, float] = {}
    for cause in causes.CAUSES:
        totals[cause.category] = totals.get(cause.category, 0) + cause.count
    rounded = {name: round(total) for name, total in totals.items()}
    # of Functionality the named leaves make up all 432
    assert rounded == {
        "Configuration": 242, "Functionality": 432, "Environment": 301, "Resource": 37, "In/output processing": 41,
    }  # fmt: skip
    assert sum(symptoms.SYMPTOMS.values()) == 932 and set(symptoms.ORDER) == set(symptoms.SYMPTOMS)


def test_every_cause_has_clues_and_every_clue_a_probe() -> None:
    spoken = {name for clue in causes.CLUES for name in clue.speaks}
    assert spoken == set(causes.NAMES)
    switches = {*interventions.SWITCHES, *interventions.REWRITES}
    for clue in causes.CLUES:
        where, _, what = clue.pattern.partition(": ")
        if where == "gone with":
            assert what in switches
        elif not what:
            assert where.startswith(("raised ", "refused "))
        else:
            assert any(probe == where or ("*" in where and probe.startswith(where[:-1])) for probe in probes.NAMES)


def test_more_of_a_kind_of_evidence_moves_a_cause_up() -> None:
    alone = causes.rank(["prefixes: choice"])
    more = causes.rank(["prefixes: choice", "gone with: no prefix cache"])
    assert alone[0].cause.name == more[0].cause.name == "Incorrect cache management"
    assert more[0].share > alone[0].share and len(more[0].reasons) == 2
    assert sum(suspect.share for suspect in more) == pytest.approx(1)


def test_a_case_is_made_as_small_as_it_can_be() -> None:
    """What fails is a 7 anywhere before the last token, in the second ask or later."""

    def fails(case: Case) -> bool:
        return any(isinstance(one, Write) and 7 in one.ids[:-1] for one in case.asks)

    case = Case((Tokenize("x"), Write((1, 2), 3), Write((*range(20), 7, *range(50)), 9, 1.0, 0.5, 3, ("a", "b"))))
    work = reduce.reduce(case)
    smaller, tries = next(work), 0
    while True:
        tries += 1
        try:
            smaller = work.send(fails(smaller))
        except StopIteration as end:
            made = end.value
            break
    [left] = made.asks
    assert left.max_tokens == 1 and left.stop == () and left.temperature == 0
    assert len(left.ids) == 2 and left.ids[0] == 7 and tries < 150


def test_cases_survive_json() -> None:
    case = Case(
        (Together((Write((1, 2), 3, stop=("a",)), Chat({"messages": []}))), Within(Tokenize("x", True), "elsewhere"),
         Template((("user", "x"),))), ("role",),
    )  # fmt: skip
    assert asks.load(json.loads(json.dumps(asks.dump(case)))) == case
    for wrong in (3, {}, {"asks": [{"ask": "nothing"}]}, {"asks": [{"ask": "write", "no": 1}]}, {"asks": [{}]}):
        with pytest.raises(NookError) as error:
            asks.load(wrong)
        assert error.value.code == "case" and error.value.hint


RIGHT = Written("ab", [3 + 97 - 33, 3 + 98 - 33], "length", ["a", "b"], 3, 3)


def test_answers_are_held_against_their_own_parts() -> None:
    prompt = Write((1, 2, 3), 2)
    wrong = {
        "stop reason": {"stop": "eos"}, "prompt count": {"prompt_tokens": 2}, "prefill count": {"prefilled": 0},
        "stream": {"pieces": ["ab", ""]}, "length": {"ids": [1, 2, 3]}, "type": {"ids": [1.0, 2]},
        "times": {"ms": {"first_ms": float("nan"), "prefill_ms": 0.0}},
    }  # fmt: skip
    assert judge.complaints(prompt, RIGHT, None) == []
    for sign, change in wrong.items():
        reply = Written(**{name: getattr(RIGHT, name) for name in Written.__slots__} | change)
        assert sign in {one.sign for one in judge.complaints(prompt, reply, None)}, sign


def completion(**changed: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": usage, **changed}


def test_completions_are_held_against_openais_shape() -> None:
    body = Chat({"messages": [{"role": "user", "content": "x"}], "max_tokens": 4})
    assert judge.complaints(body, completion(), None) == []
    for sign, changed in (
        ("format", {"object": "completion"}), ("type", {"created": 1.5}), ("shape", {"choices": []}),
        ("usage", {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 5}}),
        ("type", {"usage": {"prompt_tokens": "5", "completion_tokens": 1, "total_tokens": 6}}),
        ("length", {"usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}}),
    ):  # fmt: skip
        assert sign in {one.sign for one in judge.complaints(body, completion(**changed), None)}, changed


def test_the_truth_explains_what_the_plain_way_writes_and_nothing_else() -> None:
    _, truth = known()
    for how in (How(), How(1.0, 0.9, 3), How(2.0, 1.0, 1)):
        ids, _ = truth.chosen((5, 6, 7), 20, how)
        assert truth.unexplained((5, 6, 7), ids, how) is None
        other = [*ids[:-1], (ids[-1] + 1) % faulty.VOCABULARY]
        found = truth.unexplained((5, 6, 7), other, how)
        assert found is not None and found[0] == len(ids) - 1


def test_small_differences_are_seen_where_nothing_is_rounded() -> None:
    """An engine that says it rounds nothing is held to that."""
    kit, truth = known()
    rows = Local(kit).answer(Logits((4, 5, 6, 7)))
    noted = judge.complaints(Logits((4, 5, 6, 7)), rows.astype(np.float16).astype(np.float32) * np.float32(1.01), truth)
    assert [one.sign for one in noted] == ["small"]
    assert judge.complaints(Logits((4, 5, 6, 7)), rows, truth) == []


def test_the_first_operation_that_differs() -> None:
    right = {
        "embedding": np.ones((2, 3)),
        "0.query": np.arange(6.0).reshape(2, 3),
        "norm": np.arange(6.0).reshape(2, 3),
    }
    found = {name: array.copy() for name, array in right.items()}
    assert first_difference(found, right, 1e-3) is None
    found["0.query"][1, 2] = found["norm"][0, 0] = 9
    told = first_difference(found, right, 1e-3)
    assert told and (told.name, told.kind, told.at) == ("0.query", "query", 1)
    found["0.query"][0, 0] = np.nan
    assert first_difference(found, right, 1e-3).at == 0  # type: ignore[union-attr]


class Odd:
    """An engine that does one thing."""

    name, tiers, switches, damages = "odd", frozenset({"api"}), frozenset[str](), {}

    def __init__(self, act: Any) -> None:
        self.act = act

    def answer(self, ask: Any) -> Any:
        return self.act()

    def switched(self, switches: Any) -> Odd:
        return self

    def close(self) -> None:
        raise OSError("it cannot even be closed")


def test_crashes_and_errors_are_told_apart() -> None:
    def refuse() -> None:
        raise NookError("x", "y.")

    with pytest.raises(NookError):
        ask(Odd(refuse), Tokenize(""), 1)
    with pytest.raises(Crash, match="ZeroDivisionError"):
        ask(Odd(lambda: 1 / 0), Tokenize(""), 1)
    assert ask(Odd(lambda: 3), Tokenize(""), 1).value == 3


def test_an_engine_that_does_nothing_right_is_still_examined_to_the_end() -> None:
    for act in (lambda: 1 / 0, lambda: None, lambda: {}, lambda: []):
        made = run.report(run.examine(Odd(act), None, seconds=2))
        assert made.failed and made.suspects and "Symptom" in report.text(made, "odd")
        json.dumps(report.told(made))


def test_stop_leaves_nothing_open() -> None:
    closed: list[int] = []

    class Closing(Local):
        def switched(self, switches: Any) -> Closing:
            return Closing(self.kit, switches)

        def close(self) -> None:
            closed.append(1)
            super().close()

    items = run.examine(Closing(known()[0]), known()[1])
    for item in items:
        if isinstance(item, exam.Told) and item.done == 1:
            break
    items.close()  # type: ignore[attr-defined]
    assert closed == [1]


def test_a_report_says_what_to_do_next() -> None:
    made = examined(EXAMPLES[1].engine(known()[0]), ("prefixes",), deep=True)
    text = report.text(made, "native")
    for part in ("Symptom:", "Likely causes:", "Incorrect cache management", "because", "Gone with", "--case"):
        assert part in text
    told: Any = report.told(made)
    assert told["reproducer"] and told["causes"][0]["cause"] == "Incorrect cache management"
    assert {one["state"] for one in told["probes"]} == {"failed"}


def test_a_thing_that_waits_for_ever_is_a_hang() -> None:
    import time

    if sys.platform == "emscripten":
        pytest.skip("no threads here")

    def spin() -> None:
        while True:
            time.sleep(0.001)

    with pytest.raises(Hang):
        ask(Odd(spin), Tokenize(""), 0.05)
