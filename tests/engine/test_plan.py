"""The planner: its pair is the one that trying all pairs finds, and what it refuses cannot be done."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.latency import Cost, Latency
from inglenook.elastic.plan import (
    SHARES,
    Choice,
    Load,
    Place,
    Plan,
    Prompt,
    Quality,
    check,
    choose,
    keeps,
    pays,
    where,
)
from inglenook.errors import NookError
from inglenook.wire.messages import Slo

LADDER = [(1.0, 25.0), (0.8, 30.0), (0.6, 45.0), (0.4, 90.0), (0.2, 400.0)]


def latency(scale: float = 1.0) -> Latency:
    """A ladder like the one that was measured in the tab: the head and a pass' own cost do not shrink."""
    return Latency([Cost(2 * scale, (0.6 + 2.9 * r) * scale, 4e-4, (3 + 9 * r) * scale, 4e-3) for r, _ in LADDER])


def quality() -> Quality:
    return Quality.of({"vocabulary": 49152, "levels": [{"ratio": r, "perplexity": p} for r, p in LADDER]})


def place(**changed: object) -> Place:
    return Place(**{"name": "tab", "latency": latency(), "quality": quality(), **changed})  # type: ignore[arg-type]


def best(slo: Slo, prompt: Prompt, at: Place) -> Plan | None:
    """The oracle: every level with every number of tokens."""
    lowest = prompt.kept(at.quality.least)
    every = [at.pair(prompt, i, k) for i in at.latency.levels for k in {*range(lowest, prompt.tokens), prompt.tokens}]
    kept = [plan for plan in every if keeps(plan, slo)]
    return max(kept, key=lambda plan: (plan.quality, -plan.first_ms, -plan.token_ms), default=None)


milliseconds = st.none() | st.floats(1, 3000)
prompts = st.builds(
    lambda tokens, fixed, cached, answer: Prompt(tokens, min(fixed, tokens), [min(cached, tokens)] * 5, answer),
    st.integers(1, 300), st.integers(0, 60), st.integers(0, 200), st.integers(1, 200),
)  # fmt: skip
tables = st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=5, max_size=5)


loads = st.builds(Load, st.floats(0, 500), st.floats(0, 1.2))


@given(st.builds(Slo, milliseconds, milliseconds), prompts, loads, st.floats(0, 0.5), tables | st.none())
def test_it_finds_what_trying_all_pairs_finds(slo, prompt, load, each, table) -> None:
    measured = Quality(SHARES, table) if table else quality()
    at = place(load=load, squeeze_ms=lambda tokens: 5 + each * tokens, quality=measured)
    wanted = best(slo, prompt, at)
    if wanted is None:
        with pytest.raises(NookError) as refused:
            choose(slo, prompt, at)
        assert refused.value.code == "slo"
    else:
        plan = choose(slo, prompt, at)
        assert keeps(plan, slo)
        assert plan.quality == pytest.approx(wanted.quality, abs=1e-9)


@given(st.floats(1, 60), st.none() | st.floats(0.1, 5), prompts)
def test_what_a_refusal_offers_can_be_had(first, token, prompt) -> None:
    try:
        choose(Slo(first, token), prompt, place())
    except NookError as error:
        offered = {name: float(ms) for name, ms in re.findall(r"(first|token)=([\d.e+]+)ms", error.hint)}
        assert offered.keys() == {"first"} | ({"token"} if token else set())
        assert keeps(choose(Slo(**offered), prompt, place()), Slo(**offered))


def test_more_time_never_makes_it_worse() -> None:
    prompt, before = Prompt(250, 40), 0.0
    for first in range(200, 1200, 20):
        now = choose(Slo(float(first)), prompt, place()).quality
        assert now >= before
        before = now
    assert before == 1.0


def test_without_a_latency_the_whole_model_reads_the_whole_prompt() -> None:
    plan = choose(Slo(), Prompt(300, 40), place())
    assert (plan.level, plan.kept, plan.quality) == (0, 300, 1.0)


def test_a_time_per_token_chooses_the_model_and_leaves_the_prompt() -> None:
    plan = choose(Slo(token=8.0), Prompt(200, 40), place())
    assert plan.level > 0 and plan.kept == 200


def test_what_the_model_has_read_already_is_not_reckoned() -> None:
    prompt = Prompt(400, 400, cached=[390, 0, 0, 0, 0])
    assert choose(Slo(first=120.0), prompt, place()).level == 0
    with pytest.raises(NookError):
        choose(Slo(first=120.0), Prompt(400, 400), place())


def test_a_squeezer_that_takes_longer_than_it_saves_is_left_out() -> None:
    slo, prompt = Slo(first=500.0), Prompt(250, 40)
    assert choose(slo, prompt, place()).kept < 250 or choose(slo, prompt, place()).level > 0
    plan = choose(slo, prompt, place(squeeze_ms=lambda tokens: 10_000.0))
    assert plan.kept == 250 and plan.level > 0


@given(st.builds(Slo, milliseconds, milliseconds), prompts, loads, st.floats(0, 3))
def test_squeezing_pays_where_it_lets_more_of_the_model_answer(slo, prompt, load, each) -> None:
    at = place(load=load, squeeze_ms=lambda tokens: 5 + each * tokens)
    inside = lambda kept: [i for i in at.latency.levels if keeps(at.pair(prompt, i, kept), slo)]
    whole = inside(prompt.tokens)
    less = [i for k in range(prompt.kept(at.quality.least), prompt.tokens) for i in inside(k)]
    assert pays(slo, prompt, at) == (min(less, default=9) < min(whole, default=9))


def test_a_busy_model_gives_less_and_refuses_when_it_has_no_time_left() -> None:
    slo, prompt = Slo(first=900.0, token=40.0), Prompt(200, 40)
    alone, busy = choose(slo, prompt, place()), choose(slo, prompt, place(load=Load(100.0, 0.4)))
    assert busy.quality < alone.quality
    with pytest.raises(NookError):
        choose(slo, prompt, place(load=Load(0.0, 1.0)))


def test_the_tab_answers_unless_the_server_does_better() -> None:
    server = place(name="server", latency=latency(0.1), delay=60.0)
    prompt = Prompt(250, 40)
    assert where(Slo(), prompt, [place(), server]) == Choice("tab", choose(Slo(), prompt, place()))
    there = where(Slo(first=300.0), prompt, [place(), server])
    assert there.place == "server" and there.plan.level == 0 and there.plan.first_ms > 60
    assert where(Slo(first=300.0), prompt, [place()]).place == "tab"
    far = place(name="far", latency=latency(0.1), delay=2000.0)
    assert where(Slo(first=300.0), prompt, [place(), far]).place == "tab"
    with pytest.raises(NookError) as refused:
        where(Slo(first=20.0), prompt, [place(), server])
    assert "could be kept" in refused.value.hint


def test_the_reason_tells_what_the_tab_would_have_needed_to_answer_as_well() -> None:
    server, prompt = place(name="server", latency=latency(0.1), delay=60.0), Prompt(250, 40)
    whole = place().pair(prompt, 0, 250)
    chosen = where(Slo(first=300.0), prompt, [place(), server])
    assert chosen.reason == f"the tab would have needed {whole.first_ms:.0f} ms"
    slow = place(latency=latency(3.0))
    assert where(Slo(first=300.0), prompt, [slow, server]).reason == "the tab would have needed 2.8 s"
    by_token = where(Slo(first=1500.0, token=5.0), prompt, [place(), server])
    assert by_token.reason == f"the tab would have needed {whole.token_ms:.0f} ms a token"
    poor = place(quality=Quality([1.0], [[0.5]] * 5))
    assert where(Slo(), prompt, [poor, server]).reason == "the tab cannot answer as well"


@given(st.builds(Slo, milliseconds, milliseconds), prompts, loads, st.floats(0.05, 3), st.floats(0, 500))
def test_the_server_is_taken_only_for_a_better_answer_in_time(slo, prompt, load, scale, delay) -> None:
    tab, server = place(load=load), place(name="server", latency=latency(scale), delay=delay)
    new = replace(prompt, cached=())
    here, there = best(slo, prompt, tab), best(slo, new, server)
    if here is None and there is None:
        with pytest.raises(NookError):
            where(slo, prompt, [tab, server])
        return
    choice = where(slo, prompt, [tab, server])
    assert keeps(choice.plan, slo)
    assert choice.plan.quality == pytest.approx(max(plan.quality for plan in (here, there) if plan), abs=1e-9)
    if choice.place == "server":
        assert here is None or choice.plan.quality > here.quality
        assert "the tab would have needed" in choice.reason
    else:
        assert not choice.reason


def test_what_the_tab_has_read_already_counts_for_the_tab_alone() -> None:
    prompt, slo = Prompt(400, 400, cached=[390] * 5), Slo(first=120.0)
    assert where(slo, prompt, [place(), place(name="server")]).place == "tab"
    with pytest.raises(NookError):
        where(slo, prompt, [place(latency=latency(9.0)), place(name="server")])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), -0.0])
@pytest.mark.parametrize("name", ["first", "token"])
def test_a_latency_that_nobody_means_is_refused(name: str, value: float) -> None:
    with pytest.raises(NookError) as refused:
        choose(Slo(**{name: value}), Prompt(10), place())
    assert refused.value.code == "slo" and refused.value.hint
    assert check(Slo(5, 5)) == Slo(5, 5)


def test_qualities_are_those_measured_and_a_torn_table_is_refused() -> None:
    told = {"quality": {"shares": [1, 0.5], "levels": [[1, 0.9], [0.7, 0.5]]}}
    assert Quality.of(told).expect(1, 0.75) == pytest.approx(0.6)
    with pytest.raises(NookError):
        Quality([1, 0.5], [[1.0]])
    with pytest.raises(NookError):
        Quality([0.5, 1], [[0.9, 1.0]])
    guessed = quality()
    values = [guessed.expect(i, 1.0) for i in range(5)]
    assert values[0] == 1.0 and values == sorted(values, reverse=True) and values[-1] > 0
    assert Quality.of({}).expect(0, 1.0) == 1.0
