"""A model that runs gets more workers when requests pile up, and gives them back."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from inglenook.errors import NookError
from inglenook.fleet.cold import keeper as keepers
from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold.crew import Crew
from inglenook.fleet.cold.flight import Flight, WorkerLost
from inglenook.fleet.cold.keeper import Fleet, Keeper
from inglenook.fleet.cold.plan import Place, Plan, Wanted
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.iteration import Iteration, Piece, Sampling


class Fake:
    """What a crew knows of a pipeline; its workers write 7."""

    def __init__(self, plan=None, *, ready=True):
        self.plan = plan or Plan((Place("h", full=True),), 0, 0, met=True)
        self.ready, self.broken, self.hands, self.used = ready, False, 1, 0.0
        self.held, self.ran, self.dies, self.gone = [], [], False, False

    @property
    def places(self):
        return [] if self.broken else [*self.plan.places]

    @property
    def requests(self):
        return len(self.held)

    def admit(self, request, sampling):
        self.held.append(request)

    def release(self, request):
        self.held.remove(request)

    def begin(self, iteration):
        assert {piece.request for piece in iteration.pieces} <= {*self.held}
        self.ran.append([piece.request for piece in iteration.pieces])
        self.future = Future()
        if not self.dies:
            self.future.set_result(({"tokens": dict.fromkeys(self.ran[-1], 7)}, []))
        return Flight(iteration, [(iteration.pieces, self.future)], [self])

    def ended(self, pieces):
        self.computed = [piece.request for piece in pieces]

    def step(self):
        pass

    def close(self):
        self.gone = True


def iteration(names):
    return Iteration("m", tuple(Piece(name, (1,), 0, (0,), True) for name in names))


def crew_of(*pipelines):
    crew = Crew()
    crew.pipelines += pipelines
    return crew


def test_whose_turn_has_not_come_goes_to_a_worker_that_has_come_meanwhile():
    first, second = Fake(), Fake(ready=False)
    crew = crew_of(first)
    for name in "abcd":
        crew.admit(name, Sampling())
    assert crew.begin(iteration("ab")).finish() == {"a": 7, "b": 7}
    crew.pipelines.append(second)
    crew.begin(iteration("abc")).finish()
    assert first.held == ["a", "b", "c"] and not second.held, "it can't answer yet"
    second.ready = True
    crew.admit("e", Sampling())
    assert crew.begin(iteration("abcde")).finish().keys() == {*"abcde"}
    assert first.ran[-1] == ["a", "b", "c"] and second.ran == [["d", "e"]]
    crew.release("a")
    crew.release("b")
    crew.admit("f", Sampling())
    crew.begin(iteration("cdef")).finish()
    assert first.held == ["c", "f"] and second.held == ["d", "e"], "the fewest"


def test_a_pipeline_of_two_whole_workers_takes_twice_as_many():
    first, second = Fake(), Fake()
    second.hands = 2
    crew = crew_of(first, second)
    for name in "abcdef":
        crew.admit(name, Sampling())
    crew.begin(iteration("abcdef"))
    assert (first.requests, second.requests, crew.hands) == (2, 4, 3)


def test_who_had_a_worker_that_was_lost_is_named_and_nobody_else():
    first, second = Fake(), Fake()
    crew = crew_of(first, second)
    for name in "abc":
        crew.admit(name, Sampling())
    crew.begin(iteration("abc")).finish()
    assert first.computed == second.computed == ["a", "b", "c"]
    second.dies = True
    flight = crew.begin(iteration("abc"))
    assert flight.waiting == [second.future]
    second.broken, second.ready = True, False
    second.future.set_exception(NookError("worker-lost", "It ended.", "Again."))
    with pytest.raises(WorkerLost) as lost:
        flight.finish()
    assert lost.value.requests == ("b",) and not crew.broken and not first.computed
    crew.release("b")
    crew.admit("d", Sampling())
    assert crew.begin(iteration("acd")).finish().keys() == {*"acd"}
    assert first.held == ["a", "c", "d"]
    assert crew.leave(-1) and second.gone and crew.pipelines == [first], "it is of no use"


def test_the_youngest_leave_first_and_one_stays():
    crew = crew_of(*(Fake() for _ in range(4)))
    eldest, busy, loading, young = crew.pipelines
    busy.held, loading.ready = ["a"], False
    crew.step(50)
    assert crew.leave(40) and crew.pipelines == [busy, loading] and young.gone
    busy.held = []
    loading.ready, busy.used, loading.used = True, 60, 60
    assert not crew.leave(59) and crew.leave(60) and crew.pipelines == [busy] and loading.gone
    assert not crew.leave(99), "the last one ends with the model"
    busy.broken = True
    crew.pipelines.append(Fake())
    assert crew.leave(99) and busy.gone and not crew.broken
    assert eldest.gone


def test_what_was_computed_where_everything_ended_is_gone_and_what_was_not_is_kept():
    crew = crew_of(Fake())
    for name in "ab":
        crew.admit(name, Sampling())
    crew.begin(iteration("a"))
    crew.close()
    assert crew.broken
    crew.pipelines.append(Fake())
    assert crew.begin(iteration("b")).finish() == {"b": 7}
    with pytest.raises(WorkerLost) as lost:
        crew.begin(iteration("a"))
    assert lost.value.requests == ("a",)


# ── and what calls for them ───────────────────────────────────────────────────────────────────────────────────────


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keeper(monkeypatch, clock):
    """A keeper of a model of 100 bytes, on hosts of 50 bytes/s, whose workers are fakes that fetch for good."""

    def start(source, plan, machines, *, network, deadline, **more):
        for place in plan.places:
            network.begin(place.host, 100 / plan.degree, deadline, clock())
        return Fake(plan)

    def make(hosts=3, ttft=9.0, memory=150.0):
        names = [f"h{n}" for n in range(hosts)]
        machines = [SimpleNamespace(name=name, problem=None) for name in names]
        fleet = Fleet(machines, memory=dict.fromkeys(names, memory), bandwidth=dict.fromkeys(names, 50.0))
        model = plans.Model(size=100, prefill=0, token=0.01, reserve=0, settle=0)
        demand = Demand(batch=2, window=1, idle_after=10)
        return Keeper("m", None, model, Wanted(ttft, 1), fleet, pages=9, tokens=4, demand=demand, clock=clock)

    monkeypatch.setattr(keepers, "Pipeline", SimpleNamespace(start=start))
    return make


def admitted(keeper, names):
    for name in names:
        keeper.admit(name, Sampling())


def grown(keeper, clock):
    """A second worker was called for by a third request."""
    admitted(keeper, "abc")
    keeper.run(iteration("ab"))
    clock.now = 1
    keeper.grow()


def hosts(keeper):
    return [[place.host for place in pipeline.places] for pipeline in keeper.crew.pipelines]


def test_more_than_a_batch_calls_for_a_worker_on_another_host(keeper, clock):
    keeper = keeper()
    admitted(keeper, "ab")
    clock.now = 5
    keeper.grow()
    assert hosts(keeper) == [["h0"]], "a worker takes two"
    admitted(keeper, "c")
    keeper.run(iteration("ab"))
    keeper.grow()
    assert hosts(keeper) == [["h0"], ["h1"]]
    assert [keeper.fleet.free(name) for name in ("h0", "h1", "h2")] == [50, 50, 150]
    keeper.run(iteration("abc"))
    assert [pipeline.held for pipeline in keeper.crew.pipelines] == [["a", "b"], ["c"]]
    admitted(keeper, "de")
    keeper.grow()
    assert len(hosts(keeper)) == 2, "the window has not passed"
    clock.now = 6
    keeper.grow()
    assert hosts(keeper)[2:] == [["h2"]]


def test_without_room_it_is_tried_again_when_a_window_has_passed(keeper, clock):
    keeper = keeper(hosts=2)
    admitted(keeper, "abc")
    keeper.fleet.hold("somebody", {"h1": 100.0})
    clock.now = 1
    keeper.grow()
    keeper.fleet.hold("somebody", {})
    clock.now = 1.5
    keeper.grow()
    assert hosts(keeper) == [["h0"]]
    clock.now = 2
    keeper.grow()
    assert hosts(keeper) == [["h0"], ["h1"]]
    admitted(keeper, "def")
    clock.now = 3
    keeper.grow()
    assert len(hosts(keeper)) == 2, "a third would share a processor"


def test_what_is_added_is_a_pipeline_where_one_host_is_too_slow(keeper, clock):
    keeper = keeper(hosts=4, ttft=1.5)
    admitted(keeper, "ab")
    keeper.run(iteration("ab"))
    clock.now = 5
    admitted(keeper, "c")
    keeper.grow()
    assert hosts(keeper) == [["h0", "h1"], ["h2", "h3"]]
    assert keeper.fleet.free("h3") == 100, "half of the model"


def test_fetches_under_way_keep_what_they_were_promised(keeper, clock):
    keeper = keeper()
    keeper.fleet.network.begin("h1", 100, 2.5, 0)
    admitted(keeper, "abc")
    clock.now = 1
    keeper.grow()
    assert hosts(keeper) == [["h0"], ["h2"]]


def test_a_worker_that_is_still_starting_is_not_asked_for_twice(keeper, clock):
    keeper = keeper()
    admitted(keeper, "abc")
    for clock.now in (1, 2, 3):
        keeper.grow()
        keeper.crew.pipelines[-1].ready = False
        keeper.tick()
    assert len(hosts(keeper)) == 2


def test_who_was_added_ends_when_nobody_asked_it_for_as_long_as_an_idle_model_lives(keeper, clock):
    grown(keeper := keeper(), clock)
    keeper.run(iteration("abc"))
    keeper.release("c")
    keeper.crew.pipelines[1].used = clock.now = 2
    clock.now = 11
    keeper.tick()
    assert len(hosts(keeper)) == 2
    clock.now = 12
    keeper.tick()
    assert hosts(keeper) == [["h0"]] and keeper.fleet.free("h1") == 150
    keeper.release("a")
    keeper.release("b")
    clock.now = 22
    keeper.tick()
    assert not keeper.running and keeper.fleet.free("h0") == 150


def test_it_ends_at_once_where_another_model_needs_the_room(keeper, clock):
    grown(keeper := keeper(), clock)
    assert keeper.spare() and keeper.fleet.free("h1") == 150 and keeper.running
    assert not keeper.spare()


def test_an_error_that_is_no_want_of_room_is_told(keeper, clock, monkeypatch):
    keeper = keeper()
    admitted(keeper, "abc")
    clock.now = 1

    def fails(*_, **__):
        raise NookError("model-corrupt", "It is damaged.", "Get it again.")

    monkeypatch.setattr(keepers, "Pipeline", SimpleNamespace(start=fails))
    with pytest.raises(NookError):
        keeper.grow()
