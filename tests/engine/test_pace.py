"""The planner at work: the device is measured when it matters, and answers take a part of the model that is in time."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from engine.harness import CONFIG, of
from engine.test_answer import OWL, TAX, Writer
from inglenook import clock, pace
from inglenook.elastic import resident
from inglenook.elastic.cache import Cache
from inglenook.elastic.latency import Cost
from inglenook.elastic.turns import App, Turns
from inglenook.errors import NookError
from inglenook.flow import Candidates, Effect, Encode, Forward, drive
from inglenook.index import container
from inglenook.search import prompt
from inglenook.wire import messages as wire

QUESTION = "How much did the property tax rise?"
TRUE = [Cost(2, 3.5, 0.002, 12, 0.01), Cost(2, 2.0, 0.002, 8, 0.01), Cost(2, 1.0, 0.002, 5, 0.01)]


LEVELS = [(1.0, 64, 25.0), (0.6, 32, 40.0), (0.3, 32, 110.0)]  # ratio, hidden, perplexity
LADDER = [{"ratio": r, "hidden": [h] * 2, "groups": [2] * 2, "rank": 0, "perplexity": p} for r, h, p in LEVELS]


class Clocked(Writer):
    """A writer on a clock of its own, which goes on while the model runs: as long as `TRUE` says, `slower` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: str = "The council raised it by four percent.") -> None:
        super().__init__(script)
        self.now, self.slower, self.each, self.forgets = 100.0, 1.0, 0.05, False
        self.ran: list[Forward] = []
        self.encoded: list[Encode] = []
        self.turns, self.config = Turns(clock=lambda: self.now), {**CONFIG, "levels": LADDER}
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(resident, "smallest", lambda config: 0)  # parts of the model answer here, and draft nothing

    def perform(self, effect: Effect, emit: Any = None) -> Any:
        if isinstance(effect, Encode):
            self.encoded.append(effect)
            self.now += self.each * sum(map(len, effect.tokens)) / 1e3
        return super().perform(effect, emit)

    def forward(self, effect: Forward) -> Candidates:
        self.ran.append(effect)
        self.now += self.slower * TRUE[effect.level].run(len(effect.tokens), effect.at) / 1e3
        return super().forward(effect)

    def timing(self, question: str = QUESTION, **asked: Any) -> wire.Timing:
        self.ran.clear()
        self.encoded.clear()
        if self.forgets:
            self.library.model.cache = Cache(64)
        [timing] = of(self.run(wire.Ask(question, **asked)), wire.Timing)
        return timing

    @property
    def read(self) -> str:
        """The prompt of the last answer, of which nothing was known before."""
        held: list[int] = []
        for effect in self.ran:
            assert effect.at <= len(held)
            held[effect.at :] = effect.tokens
        return self.tokenizer.decode(held[: self.prompt])


@pytest.fixture
def nook(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    driver = Clocked(monkeypatch)
    driver.open()
    driver.add(owl_md=OWL, tax_md=TAX)
    return driver


def test_without_a_latency_nothing_is_measured_and_the_whole_model_answers(nook: Clocked) -> None:
    timing = nook.timing()
    assert (timing.level, timing.ratio, timing.met) == (0, 1.0, None)
    assert timing.whole_tokens == timing.prompt_tokens > 0 and timing.model == pace.NAME
    assert {effect.level for effect in nook.ran} == {0} and pace.KEY not in nook.pages


def test_the_first_latency_asked_for_measures_the_device_and_the_next_start_has_it(nook: Clocked, monkeypatch) -> None:
    events = nook.run(wire.Ask(QUESTION, slo=wire.Slo(first=60_000)))
    stages = [event.stage for event in of(events, wire.Progress)]
    assert stages.count("measure") == 4
    latency = nook.library.model.latency
    assert latency
    for level, cost in enumerate(TRUE):
        assert latency.prefill(level, 200) == pytest.approx(cost.prefill(200), rel=0.02)
        assert latency.decode(level, 200) == pytest.approx(cost.decode(200), rel=0.02)
    again = Clocked(monkeypatch)
    again.pages = nook.pages
    again.open()
    again.timing(slo=wire.Slo(first=60_000))
    assert 1 not in {effect.top for effect in again.ran} and again.library.model.latency  # no pass of a probe
    again.library.model.latency, again.pages[pace.KEY] = None, b"damaged"
    events = again.run(wire.Ask(QUESTION, slo=wire.Slo(first=60_000)))
    assert "measure" in [event.stage for event in of(events, wire.Progress)]


def test_what_happens_once_is_no_reason_to_refuse_and_makes_the_answer_late(nook: Clocked) -> None:
    slo = wire.Slo(first=1200)
    timing = nook.timing(slo=slo)
    assert timing.load_ms > 1200 and timing.met is False and timing.first_ms > timing.load_ms
    nook.library.model.cache = Cache(64)
    again = nook.timing(slo=slo)
    assert again.met is True and (again.level, again.prompt_tokens) == (timing.level, timing.prompt_tokens)
    assert again.first_ms == pytest.approx(timing.first_ms - timing.load_ms, rel=0.05)


def test_the_sooner_it_must_begin_the_smaller_the_part_and_every_promise_is_kept(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    whole = nook.timing(slo=wire.Slo(first=60_000))
    assert whole.level == 0 and whole.met
    seen = set()
    for first in (2000, 1200, 700, 600, 450, 330):
        nook.library.model.cache = Cache(64)  # each answer reads its prompt itself
        timing = nook.timing(slo=wire.Slo(first=float(first)))
        assert timing.met is True and timing.first_ms <= first
        assert {effect.level for effect in nook.ran} == {timing.level}
        assert timing.slo == wire.Slo(first=float(first)) and timing.whole_tokens == whole.whole_tokens
        seen.add((timing.level, timing.prompt_tokens < timing.whole_tokens))
    assert {level for level, _ in seen} == {0, 1, 2} and {cut for _, cut in seen} == {False, True}


BUILT = "When was the mill of Ann Low built?"
MILL = """# Mills

The mill stands by the river, and the road goes round it. Its wheel drives two stones, one of them cracked. The mill was
built in 1790 by Ann Low. Barley was ground there until the flood of 1932. A heron nests on the roof in most years.

# Weirs

The weir above the mill was built of oak. Eels pass it on wet nights in autumn. The river was lower then than it is
today. Boys from the village dived from its beams. A lease of the fishing was sold by auction."""


@pytest.fixture
def mill(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """A nook of longer passages on a device that was measured; each answer reads its prompt itself."""
    driver = Clocked(monkeypatch, "The mill was built in 1790 by Ann Low.")
    driver.open()
    driver.add(mill_md=MILL, owl_md=OWL)
    driver.run(wire.Levels(measure=True))
    driver.forgets = True
    return driver


def test_a_prompt_is_squeezed_where_that_keeps_the_whole_model_in_time(mill: Clocked) -> None:
    whole = mill.timing(BUILT)
    read, encoded = mill.read, len(mill.encoded)
    assert whole.squeeze_ms == 0 and whole.prompt_tokens == whole.whole_tokens
    squeezed = mill.timing(BUILT, slo=wire.Slo(first=0.75 * whole.first_ms))
    assert (squeezed.level, squeezed.met) == (0, True) and len(mill.encoded) == encoded + 1
    assert squeezed.whole_tokens == whole.whole_tokens > squeezed.prompt_tokens
    assert 0 < squeezed.squeeze_ms < whole.first_ms - squeezed.first_ms
    for said in (BUILT, prompt.RULE, prompt.SYSTEM, "The mill was built in 1790 by Ann Low."):
        assert said in mill.read and said in read
    assert len(mill.tokenizer.encode(mill.read)) == squeezed.prompt_tokens


def test_nothing_is_read_to_squeeze_where_that_costs_more_than_it_saves(mill: Clocked) -> None:
    whole = mill.timing(BUILT)
    encoded = len(mill.encoded)
    mill.library.model.latency.passage = 50.0
    timing = mill.timing(BUILT, slo=wire.Slo(first=0.75 * whole.first_ms))
    assert timing.level > 0 and timing.met and timing.prompt_tokens == timing.whole_tokens
    assert timing.squeeze_ms == 0 and len(mill.encoded) == encoded


def test_where_no_piece_fits_there_is_the_beginning_of_one(mill: Clocked) -> None:
    mill.run(wire.Remove(list(mill.library.entries)))
    mill.add(endless_md="The mill of Ann Low was built " + "and built again " * 16)
    whole = mill.timing(BUILT)
    timing = mill.timing(BUILT, slo=wire.Slo(first=0.33 * whole.first_ms))
    assert timing.prompt_tokens < timing.whole_tokens and timing.squeeze_ms > 0
    assert "The mill of Ann Low was built and" in mill.read


def test_what_reading_really_costs_is_learnt_and_a_plan_it_spoils_is_kept_to(mill: Clocked) -> None:
    whole = mill.timing(BUILT)
    expected = mill.library.model.latency.squeeze(100)
    mill.each = 2.0
    begun = whole.first_ms + 0.9 * sum(map(len, mill.encoded[-1].tokens))  # the search is slower, too
    timing = mill.timing(BUILT, slo=wire.Slo(first=begun))
    assert timing.met is False and timing.squeeze_ms > 100 and timing.tokens
    assert mill.library.model.latency.squeeze(100) > expected


def test_without_an_encoder_a_prompt_is_cut(mill: Clocked) -> None:
    del mill.library.tokenizers["encoder"]
    whole = mill.timing(BUILT)
    timing = mill.timing(BUILT, slo=wire.Slo(first=0.75 * whole.first_ms))
    assert timing.met and (timing.level > 0 or timing.prompt_tokens < timing.whole_tokens)
    assert timing.squeeze_ms == 0 and not mill.encoded and BUILT in mill.read


def test_a_prompt_is_made_once(mill: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    spelled: list[str] = []
    build, squeezed = prompt.build, prompt.squeezed
    monkeypatch.setattr(prompt, "build", lambda *a, **how: spelled.append("whole") or build(*a, **how))
    monkeypatch.setattr(prompt, "squeezed", lambda *a, **how: spelled.append("squeezed") or squeezed(*a, **how))
    whole = mill.timing(BUILT)
    assert spelled == ["whole"]
    mill.timing(BUILT, slo=wire.Slo(first=0.75 * whole.first_ms))
    assert spelled == ["whole", "whole", "squeezed"]


def test_a_time_per_token_is_kept_too(nook: Clocked) -> None:
    for token, level in ((20, 0), (14, 1), (10, 2)):
        timing = nook.timing(slo=wire.Slo(token=float(token)))
        assert (timing.level, timing.met) == (level, True) and timing.token_ms <= token


def test_what_cannot_be_kept_is_refused_with_what_can_after_the_passages(nook: Clocked) -> None:
    events: list[Any] = []
    with pytest.raises(NookError) as refused:
        events += drive(nook.library.handle(wire.Ask(QUESTION, slo=wire.Slo(first=5.0))), nook.perform)
    assert refused.value.code == "slo" and not nook.turns.tickets
    first = float(re.findall(r"first=([\d.]+)ms", refused.value.hint)[0])
    assert nook.timing(slo=wire.Slo(first=first)).met is True
    events = []
    with pytest.raises(NookError):
        for event in drive(nook.library.handle(wire.Ask(QUESTION, slo=wire.Slo(first=5.0))), nook.perform):
            events.append(event)
    assert of(events, wire.Passage) and not of(events, wire.Token)


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan")])
def test_a_latency_that_nobody_means_is_refused_at_once(nook: Clocked, value: float) -> None:
    for request in (
        wire.Ask(QUESTION, slo=wire.Slo(first=value)),
        wire.Chat([wire.Turn("user", "Hi")], slo=wire.Slo(token=value)),
    ):
        with pytest.raises(NookError) as refused:
            nook.run(request)
        assert refused.value.code == "slo" and not nook.ran


def test_answers_correct_the_model_of_the_device_and_it_is_kept_again(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    before, kept = nook.library.model.latency.decode(0, 100), nook.pages[pace.KEY]
    nook.slower = 2.0
    for _ in range(pace.KEEP - 1):
        nook.timing()
    assert nook.pages[pace.KEY] == kept
    nook.timing()
    assert nook.pages[pace.KEY] != kept and not nook.turns.tickets
    for _ in range(60):
        nook.timing()
    assert nook.library.model.latency.decode(0, 100) == pytest.approx(2 * before, rel=0.05)
    assert nook.timing(slo=wire.Slo(token=20.0)).level > 0


def test_a_chat_that_is_too_long_fails_or_forgets_its_oldest_turns_if_it_may(nook: Clocked) -> None:
    nook.context = 512
    system, last = wire.Turn("system", "Be brief."), wire.Turn("user", "And the end?")
    turns = [system, *(wire.Turn("user", f"word {n} " * 20) for n in range(12)), last]
    with pytest.raises(NookError) as refused:
        nook.run(wire.Chat(turns, max_tokens=8))
    assert refused.value.code == "context" and not nook.turns.tickets
    nook.ran.clear()
    [timing] = of(nook.run(wire.Chat(turns, max_tokens=8, truncate=True)), wire.Timing)
    assert timing.prompt_tokens <= 504 < timing.whole_tokens
    read = nook.tokenizer.decode([token for effect in nook.ran for token in effect.tokens])
    assert "Be brief." in read and "And the end?" in read and "word 0" not in read and "word 11" in read
    nook.ran.clear()
    [timing] = of(
        nook.run(wire.Chat([system, wire.Turn("user", "a b " * 2000 + "the end")], truncate=True, max_tokens=8)),
        wire.Timing,
    )
    assert timing.prompt_tokens <= 504 < timing.whole_tokens
    assert "the end" in nook.tokenizer.decode([token for effect in nook.ran for token in effect.tokens])


def test_a_chat_that_goes_on_is_not_reckoned_twice(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    turns = [wire.Turn("user", "tell me more " * 12)]
    [timing] = of(nook.run(wire.Chat(turns)), wire.Timing)
    read = TRUE[0].prefill(timing.prompt_tokens)
    [again] = of(nook.run(wire.Chat(turns, slo=wire.Slo(first=read / 3))), wire.Timing)
    assert again.level == 0 and again.met


def test_the_ladder_tells_levels_and_times_once_they_are_measured(nook: Clocked) -> None:
    [ladder] = nook.run(wire.Levels())
    assert [level.ratio for level in ladder.levels] == [1.0, 0.6, 0.3] and not ladder.measured
    assert all(level.perplexity and not level.cost for level in ladder.levels)
    ladder = nook.run(wire.Levels(measure=True))[-1]
    assert ladder.measured and ladder.model == pace.NAME
    for level, cost in zip(ladder.levels, TRUE, strict=True):
        assert level.first_ms == pytest.approx(cost.prefill(256), rel=0.02)
        assert level.token_ms == pytest.approx(cost.decode(256), rel=0.02)
    runs = len(nook.ran)
    nook.slower = 3.0
    again = nook.run(wire.Levels(measure=True))[-1]
    assert len(nook.ran) > runs and again.levels[0].first_ms == pytest.approx(3 * ladder.levels[0].first_ms, rel=0.02)
    assert nook.library.model.cache.free == nook.library.model.cache.pages


def test_a_plan_says_what_would_answer_here_or_on_a_server(nook: Clocked) -> None:
    [*_, ladder] = nook.run(wire.Levels(measure=True))
    [planned] = nook.run(wire.Plan(256, 64, wire.Slo(first=600.0)))
    assert (planned.where, planned.level, planned.ratio) == ("tab", 1, 0.6) and planned.first_ms <= 600
    fast = [wire.Level(**{**_fields(level), "cost": [c / 20 for c in level.cost]}) for level in ladder.levels]
    [there] = nook.run(wire.Plan(256, 64, wire.Slo(first=600.0), fast, 50.0))
    assert (there.where, there.level) == ("server", 0) and 50 < there.first_ms < 600
    assert there.reason.startswith("the tab would have needed") and not planned.reason
    [here] = nook.run(wire.Plan(256, 64, wire.Slo(), fast, 50.0))
    assert (here.where, here.level) == ("tab", 0)
    for slo, levels in ((wire.Slo(first=1.0), fast), (wire.Slo(first=600.0), [wire.Level(1.0)])):
        with pytest.raises(NookError) as refused:
            nook.run(wire.Plan(256, 64, slo, levels, 50.0))
        assert refused.value.code == "slo"


def _fields(level: wire.Level) -> dict[str, Any]:
    return {name: getattr(level, name) for name in wire.Level.__dataclass_fields__}


def quick(nook: Clocked) -> list[wire.Level]:
    """The levels of a server that is twenty times as fast."""
    [*_, ladder] = nook.run(wire.Levels(measure=True))
    return [wire.Level(**{**_fields(level), "cost": [c / 20 for c in level.cost]}) for level in ladder.levels]


def test_what_the_tab_is_too_slow_for_the_server_is_asked_to_write(nook: Clocked, monkeypatch) -> None:
    server = quick(nook)
    nook.ran.clear()
    asked = wire.Ask(QUESTION, slo=wire.Slo(first=250.0), server=server, delay_ms=40.0, max_tokens=70, seed=7, app="a")
    events = nook.run(asked)
    assert [type(event).__name__ for event in events] == ["Hits", "Passage", "Placed"]
    placed, there = events[-1], events[-1].write
    assert placed.where == "server" and re.fullmatch(r"the tab would have needed \d+ ms|.* s", placed.reason)
    assert not nook.ran and not nook.turns.tickets
    assert (there.question, there.max_tokens, there.seed, there.slo, there.app) == (QUESTION, 70, 7, asked.slo, "a")
    assert 0 < len(there.hits) <= 2 and {hit.document for hit in there.hits} <= {h.document for h in events[0].hits}
    assert [(lead.document, lead.start, lead.end) for lead in there.leads] == [
        (lead.hit.document, lead.start, lead.end) for lead in of(events, wire.Passage)
    ]
    assert there.away_ms == 40 <= there.spent_ms <= placed.first_ms <= 250

    other = Clocked(monkeypatch)
    other.library.where = "server"
    other.open()
    other.slower = 1 / 20
    other.run(wire.Levels(measure=True))
    written = other.run(there)
    [timing] = of(written, wire.Timing)
    assert "".join(event.text for event in of(written, wire.Token)) == "The council raised it by four percent."
    assert of(written, wire.Citation)[0].hit.document == there.hits[0].document
    assert (timing.where, timing.away_ms, timing.search_ms) == ("server", 40, there.search_ms)
    assert there.spent_ms < timing.first_ms <= 250 and timing.met


def test_the_tab_writes_what_it_can_and_always_without_a_server(nook: Clocked) -> None:
    server = quick(nook)
    for slo in (wire.Slo(), wire.Slo(first=60_000.0)):
        events = nook.run(wire.Ask(QUESTION, slo=slo, server=server, delay_ms=1.0))
        assert of(events, wire.Token) and not of(events, wire.Placed)
    nook.library.model.cache = type(nook.library.model.cache)(64)  # as if the prompt was never read
    for offered in ([], server):
        with pytest.raises(NookError) as refused:
            nook.run(wire.Ask(QUESTION, slo=wire.Slo(first=10.0), server=offered, delay_ms=9.0))
        assert refused.value.code == "slo" and not nook.turns.tickets


def test_what_must_be_written_is_written_late(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    hits = of(nook.run(wire.Search(QUESTION)), wire.Hits)[0].hits
    late = wire.Write(QUESTION, hits, slo=wire.Slo(first=250.0), spent_ms=900.0)
    with pytest.raises(NookError) as refused:
        nook.run(late)
    assert refused.value.code == "slo" and not nook.turns.tickets
    events = nook.run(replace(late, must=True))
    [timing] = of(events, wire.Timing)
    assert of(events, wire.Token) and timing.met is False and timing.first_ms > 900 and timing.level == 2
    for spent in (-1.0, float("nan"), float("inf")):
        with pytest.raises(NookError) as refused:
            nook.run(replace(late, spent_ms=spent))
        assert refused.value.code == "request"


def test_a_busy_model_promises_less(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    alone = nook.timing(slo=wire.Slo(first=1500.0, token=25.0))
    other = drive(nook.library.handle(wire.Ask(QUESTION, slo=wire.Slo(token=25.0), app="other")), nook.perform)
    next(event for event in other if isinstance(event, wire.Token))
    nook.library.model.cache = Cache(64)
    beside = nook.timing(slo=wire.Slo(first=1500.0, token=25.0), app="one")
    assert alone.level == 0 and beside.level > 0
    other.close()
    assert not nook.turns.tickets


def test_an_app_has_its_number_of_requests_and_of_tokens(nook: Clocked) -> None:
    nook.turns = Turns({"a": App(open=1, queue=0), "b": App(tokens=100)}, clock=lambda: nook.now)
    first = drive(nook.library.handle(wire.Ask(QUESTION, app="a")), nook.perform)
    next(event for event in first if isinstance(event, wire.Token))
    with pytest.raises(NookError) as refused:
        nook.run(wire.Ask(QUESTION, app="a"))
    assert refused.value.code == "busy"
    with pytest.raises(NookError) as refused:
        nook.run(wire.Ask(QUESTION, app="b"))
    assert refused.value.code == "quota"
    first.close()
    assert of(nook.run(wire.Ask(QUESTION, app="a")), wire.Token)


def test_how_fast_a_device_is_stays_on_it(nook: Clocked) -> None:
    nook.run(wire.Levels(measure=True))
    [blob] = of(nook.run(wire.Export()), wire.Blob)
    assert pace.KEY in nook.pages and pace.KEY not in container.read(blob.data)


def test_the_clock_of_the_tests_is_not_the_machines(nook: Clocked) -> None:
    began = time.perf_counter()
    nook.timing(slo=wire.Slo(first=60_000))
    assert nook.now - 100 > 0.5 > time.perf_counter() - began
