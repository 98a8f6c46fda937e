"""Turns on a clock of their own: what runs when, for how long one waits, and who may come in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.turns import GROWTH, LAG, PATIENCE, App, Fcfs, Ticket, Turns
from inglenook.errors import NookError
from inglenook.wire.messages import Slo

PREFILL, STEP = 2.0, 10.0  # ms a token of a prompt, ms a written token


def price(tokens: int, at: int) -> float:
    return STEP if tokens == 1 else PREFILL * tokens


@dataclass
class Want:
    """A request of the simulation: it comes at `at` seconds, has a prompt and writes an answer. `stop` seconds after it
    came it is cancelled."""

    app: str = "a"
    at: float = 0.0
    prompt: int = 64
    answer: int = 5
    slo: Slo = field(default_factory=Slo)
    stop: float | None = None
    ticket: Any = None
    times: list[float] = field(default_factory=list)  # when tokens were there
    waits: list[float] = field(default_factory=list)  # of each pass
    ended: float | None = None
    refused: str = ""


class Simulation:
    """Runs requests through turns, one pass at a time, each as long as `price` says; the gap between two passes of a
    request is `think` seconds. `together`: tokens that are written may go along, each for `GROWTH` of a pass."""

    def __init__(
        self, make: Callable[..., Turns], wants: list[Want], apps: dict[str, App] | None = None, think: float = 0.0,
        together: bool = False,
    ) -> None:  # fmt: skip
        self.now, self.think, self.wants, self.together = 0.0, think, wants, together
        self.turns = make(apps, lambda: self.now)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.idle_with_work = 0.0
        self.order: list[Ticket] = []
        for want in wants:
            self.later(want.at, lambda want=want: self.come(want))
            if want.stop is not None:
                self.later(want.at + want.stop, lambda want=want: self.end(want))

    def later(self, when: float, act: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, act))

    def run(self) -> Simulation:
        while self.events:
            self.now, _, act = heapq.heappop(self.events)
            act()
            self.go()
        return self

    def come(self, want: Want) -> None:
        try:
            want.ticket = self.turns.admit(want.app, want.slo, want.prompt + want.answer, self.now)
        except NookError as error:
            want.refused = error.code
            return
        want.ticket.price = price
        self.ask(want, 0)

    def ask(self, want: Want, at: int) -> None:
        ticket = want.ticket
        if ticket.over:
            return
        if at < want.prompt:
            tokens = min(ticket.piece(), want.prompt - at)
            ticket.left = want.prompt - at - tokens
        else:
            tokens, ticket.written = 1, len(want.times)
        self.turns.ask(ticket, tokens, at, kind="token" if self.together and at >= want.prompt else None)

    def go(self) -> None:
        ticket = self.turns.next()
        if not ticket:
            ready = any(t.wants and not t.queued for t in self.turns.tickets.values())
            assert self.turns.running or not ready or isinstance(self.turns, Fcfs)
            return
        self.order.append(ticket)
        joined = self.turns.join()
        some = [next(w for w in self.wants if w.ticket is one) for one in (ticket, *joined)]
        for want in some:
            want.waits.append(self.now - want.ticket.asked)
        ends = [sum(want.ticket.wants) for want in some]
        took = price(*ticket.wants) * (1 + GROWTH * len(joined)) / 1e3
        self.later(self.now + took, lambda: self.passed(list(zip(some, ends))))

    def passed(self, some: list[tuple[Want, int]]) -> None:
        self.turns.done(some[0][0].ticket)
        for want, at in some:
            if not want.ticket.over:
                self.wrote(want, at)

    def wrote(self, want: Want, at: int) -> None:
        if at >= want.prompt:
            want.times.append(self.now)
        if len(want.times) >= want.answer:
            self.end(want)
        elif self.think:
            self.later(self.now + self.think, lambda: self.ask(want, at))
        else:
            self.ask(want, at)

    def end(self, want: Want) -> None:
        if want.ticket and not want.ticket.over:
            want.ticket.leave()
            want.ended = self.now


def first(want: Want) -> float:
    return (want.times[0] - want.at) * 1e3


def per_token(want: Want) -> float:
    return (want.times[-1] - want.times[0]) * 1e3 / (len(want.times) - 1)


slos = st.builds(Slo, st.none() | st.floats(10, 3000), st.none() | st.floats(5, 200))
wanted = st.builds(
    Want, st.sampled_from("abc"), st.floats(0, 3), st.integers(1, 400), st.integers(1, 30), slos,
    st.none() | st.floats(0, 2),
)  # fmt: skip


@pytest.mark.parametrize("make", [Turns, Fcfs])
@settings(max_examples=60)
@given(st.lists(wanted, min_size=1, max_size=12), st.sampled_from([0.0, 0.001]), st.booleans())
def test_the_model_does_not_rest_while_work_waits_and_all_of_it_is_done(
    make, wants: list[Want], think: float, together: bool
) -> None:
    sim = Simulation(
        make,
        [Want(**{f: getattr(w, f) for f in ("app", "at", "prompt", "answer", "slo", "stop")}) for w in wants],
        think=think, together=together,
    ).run()  # fmt: skip
    for want in sim.wants:
        assert want.ended is not None and (len(want.times) == want.answer or want.stop is not None)
        assert want.times == sorted(want.times)
    assert not sim.turns.tickets and sim.turns.running is None and not sim.turns.joined


@settings(max_examples=20)
@given(st.integers(1, 6), st.floats(5, 60), st.floats(0.25, 4))
def test_nobody_starves_behind_streams_that_were_promised_more_than_there_is(streams, token, weight) -> None:
    hogs = [Want("hog", 0.0, 64, 300, Slo(first=1, token=token)) for _ in range(streams)]
    poor = Want("poor", 0.5, 128, 3)
    Simulation(Turns, [*hogs, poor], {"poor": App(weight), "hog": App(open=8)}).run()
    longest = 64 * PREFILL / 1e3
    assert max(poor.waits) <= PATIENCE + LAG + (streams + 1) * longest


@settings(max_examples=60)
@given(st.lists(wanted, min_size=1, max_size=8), st.floats(0, 3))
def test_what_is_due_first_waits_for_one_pass_of_another_at_most(others: list[Want], at: float) -> None:
    others = [Want(w.app, w.at, w.prompt, w.answer, Slo(), w.stop) for w in others]
    urgent = Want("urgent", at, 128, 10, Slo(first=1.0, token=5.0))
    Simulation(Turns, [*others, urgent], {"urgent": App(weight=1e9)}).run()
    assert max(urgent.waits) <= 64 * PREFILL / 1e3 + 1e-9


def test_a_hurried_app_is_not_kept_by_a_summary_and_with_the_plain_way_it_is() -> None:
    found = {}
    for make in (Turns, Fcfs):
        summary = Want("summary", 0.0, 1500, 100)
        complete = Want("complete", 0.3, 64, 8, Slo(first=300, token=60))
        Simulation(make, [summary, complete]).run()
        found[make] = (first(complete), per_token(complete), len(summary.times))
    assert found[Turns][0] <= 300 and found[Turns][1] <= 60
    assert found[Fcfs][0] > 2000
    assert found[Turns][2] == found[Fcfs][2] == 100


def test_pieces_are_small_while_a_stream_has_a_promise() -> None:
    stream = Want("stream", 0.0, 64, 60, Slo(first=400, token=60))
    prompt = Want("prompt", 0.3, 600, 2)
    Simulation(Turns, [stream, prompt]).run()
    assert per_token(stream) <= 60
    sizes = {run.tokens for run in prompt.ticket.runs}
    assert 16 in sizes and max(sizes) <= 64
    alone = Simulation(Turns, [Want(prompt=600)]).run()
    assert {run.tokens for run in alone.wants[0].ticket.runs} == {64, 24, 1}


def test_a_busy_model_is_shared_by_weight() -> None:
    wants = [Want(app, 0.0, 64, 9000, stop=20.0) for app in ("one", "three")]
    Simulation(Turns, wants, {"one": App(weight=1), "three": App(weight=3)}).run()
    one, three = (sum(run.ms for run in want.ticket.runs) for want in wants)
    assert three / one == pytest.approx(3, rel=0.15)


def test_one_app_with_many_requests_has_no_more_than_another_with_one() -> None:
    wants = [*(Want("many", 0.0, 64, 2000, stop=20.0) for _ in range(4)), Want("one", 0.0, 64, 2000, stop=20.0)]
    Simulation(Turns, wants).run()
    many = sum(run.ms for want in wants[:4] for run in want.ticket.runs)
    one = sum(run.ms for run in wants[4].ticket.runs)
    assert one / many == pytest.approx(1, rel=0.15)


def test_requests_above_an_apps_number_queue_in_order_and_more_are_refused() -> None:
    turns = Turns({"a": App(open=1, queue=2)}, lambda: 0.0)
    tickets = [turns.admit("a") for _ in range(3)]
    assert [t.queued for t in tickets] == [False, True, True]
    assert [turns.ahead(t) for t in tickets] == [0, 1, 2]
    with pytest.raises(NookError) as refused:
        turns.admit("a")
    assert refused.value.code == "busy" and refused.value.hint
    assert not turns.admit("b").queued
    woken = []
    turns.changed = lambda: woken.append([t.queued for t in tickets])
    tickets[0].leave()
    tickets[0].leave()
    assert woken == [[False, False, True]]
    for ticket in tickets:
        turns.ask(ticket, 64, 0) if not ticket.over else None
    assert turns.next() is tickets[1]


def test_all_together_have_a_number_too() -> None:
    turns = Turns(clock=lambda: 0.0, most=2)
    tickets = [turns.admit(app) for app in "abc"]
    assert [t.queued for t in tickets] == [False, False, True]
    tickets[1].leave()
    assert not tickets[2].queued


def test_tokens_a_minute_are_counted_given_back_and_grow_again() -> None:
    now = 0.0
    turns = Turns({"a": App(tokens=600)}, lambda: now)
    ticket = turns.admit("a", tokens=500)
    with pytest.raises(NookError) as refused:
        turns.admit("a", tokens=200)
    assert refused.value.code == "quota" and "10 s" in refused.value.hint
    turns.ask(ticket, 100, 0)
    assert turns.next() is ticket
    turns.done(ticket)
    ticket.leave()  # 400 of its tokens were not needed
    turns.admit("a", tokens=500).leave()
    turns.admit("a", tokens=500)
    now = 60.0
    assert turns.admit("a", tokens=600)
    with pytest.raises(NookError) as refused:
        Turns({"a": App(tokens=600)}).admit("a", tokens=601)
    assert refused.value.hint == "Ask for less text."


def test_a_cancelled_request_is_gone_wherever_it_was() -> None:
    now = 0.0
    turns = Turns(clock=lambda: now)
    waiting, running, other = (turns.admit(app) for app in "abc")
    turns.ask(running, 64, 0)
    assert turns.next() is running
    turns.ask(waiting, 64, 0)
    waiting.leave()
    running.leave()
    turns.ask(other, 64, 0)
    assert turns.next() is None  # the pass that runs cannot be taken back
    turns.done(running)
    assert turns.next() is other
    turns.done(other)
    turns.ask(other, 1, 64)
    turns.withdraw(other)
    assert turns.next() is None
    with pytest.raises(NookError):
        turns.ask(waiting, 1, 0)


def test_the_load_tells_what_is_promised_and_what_is_due_earlier() -> None:
    turns = Turns(clock=lambda: 0.0)
    assert turns.load(1.0).busy == turns.load(1.0).share == 0
    stream, early, late = (
        turns.admit("a", Slo(token=40.0)),
        turns.admit("b", Slo(first=200.0)),
        turns.admit("c", Slo(first=9000.0)),
    )
    for ticket in (stream, early, late):
        ticket.price = price
        ticket.left = 64
        turns.ask(ticket, 64, 0)
    assert turns.next() is early
    load = turns.load(1.0)
    assert load.share == pytest.approx(STEP / 40)
    assert load.busy == pytest.approx(128 * PREFILL)  # the pass that runs, and the one after it
    assert turns.load(10.0).busy == pytest.approx(256 * PREFILL)
    assert turns.load(10.0, but=late).busy == pytest.approx(128 * PREFILL)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(16, 300)), min_size=2, max_size=10))
def test_the_plain_way_serves_in_the_order_they_came(came) -> None:
    wants = [Want("a", at, prompt, 3) for at, prompt in came]
    Simulation(Fcfs, wants, {"a": App(open=20)}).run()
    for early, late in pairwise(sorted(wants, key=lambda want: want.ticket.number)):
        assert early.at <= late.at and early.ended <= late.times[0]


@pytest.mark.parametrize("together", [False, True])
def test_who_has_a_small_share_gives_way_and_is_not_starved(together: bool) -> None:
    """A run of the workbench beside a person's question: the question takes hardly longer than alone."""
    apps = {"workbench": App(weight=0.05, open=6)}
    long = [Want("workbench", 0.0, 64, 4000) for _ in range(6 if together else 1)]
    asked = Want("", 5.0, 256, 100)
    Simulation(Turns, [*long, asked], apps, together=together).run()
    alone = Want("", 5.0, 256, 100)
    Simulation(Turns, [alone], apps).run()
    took, would = asked.times[-1] - asked.at, alone.times[-1] - alone.at
    assert took < (1.2 if together else 1.1) * would
    assert any(asked.at < at < asked.times[-1] for at in long[0].times)


# ── passes that run together ──────────────────────────────────────────────────────────────────────────────────────


def test_six_answers_take_the_time_of_two() -> None:
    took = {}
    for together in (False, True):
        wants = [Want("a", 0.0, 64, 50) for _ in range(6)]
        Simulation(Turns, wants, {"a": App(open=6)}, together=together).run()
        took[together] = max(want.ended or 0.0 for want in wants) - 6 * 64 * PREFILL / 1e3
    assert took[False] == pytest.approx(6 * 49 * STEP / 1e3)
    assert took[True] < 0.45 * took[False]
    run = wants[0].ticket.runs[10]
    assert (run.tokens, run.others) == (1, 5) and run.ms == pytest.approx(STEP * (1 + 5 * GROWTH))


def test_nobody_who_would_be_in_time_is_made_late() -> None:
    """A promise that leaves room for one more, and none; and one of whom it is another who waits."""
    for token, most in ((13.0, 1), (11.0, 0)):
        stream = Want("stream", 0.0, 64, 60, Slo(first=400, token=token))
        others = [Want("other", 0.0, 64, 200) for _ in range(4)]
        Simulation(Turns, [stream, *others], together=True).run()
        assert per_token(stream) <= token
        assert max(run.others for run in stream.ticket.runs) <= most
    now = 0.0
    turns = Turns(clock=lambda: now)
    first, second, prompt = turns.admit("a"), turns.admit("a"), turns.admit("b", Slo(first=140.0))
    for ticket in (first, second, prompt):
        ticket.price = price
    turns.ask(first, 1, 64, kind="token")
    assert turns.next() is first
    turns.ask(second, 1, 64, kind="token")
    turns.ask(prompt, 64, 0)  # 128 ms, due at 140: after a pass of 10 it is in time, after one of 12.5 it is not
    assert turns.join() == []
    turns.done(first)


def test_who_leaves_within_a_pass_is_in_it_to_its_end() -> None:
    turns = Turns(clock=lambda: 0.0)
    first, second, third = (turns.admit("a") for _ in range(3))
    for ticket in (first, second):
        turns.ask(ticket, 1, 64, kind="token")
    assert turns.next() is first and turns.join() == [second]
    second.leave()
    turns.ask(third, 1, 64, kind="token")
    assert turns.next() is None
    turns.done(first)
    assert second.runs[0].others == 1 and not turns.joined
    assert turns.next() is third and turns.join() == []


def test_one_of_an_app_reads_and_the_next_begins_when_it_writes() -> None:
    wants = [Want("bench", 0.0, 128, 20) for _ in range(4)]
    sim = Simulation(Turns, wants, {"bench": App(open=3, reading=1)}, together=True).run()
    firsts = [want.ticket for want in wants]
    began = [sim.order.index(ticket) for ticket in firsts]
    assert began == sorted(began)
    for one, two in pairwise(wants):
        assert two.ticket.runs[0].at == 0 and two.times[0] > one.times[0]
        assert one.times[0] <= two.times[0] - 128 * PREFILL / 1e3 + 1e-9
    assert wants[3].times[0] > min(want.ended or 0.0 for want in wants[:3])  # three at once
