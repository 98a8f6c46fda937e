"""Pipelines answer like one worker, while they start, while they merge, and afterwards; what is lost says so."""

import threading
import time

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")

from fleet import llama
from inglenook.errors import NookError
from inglenook.fleet.arena import Arena
from inglenook.fleet.cold import hosts as bed
from inglenook.fleet.cold import machine as machines
from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold.channel import Channel
from inglenook.fleet.cold.flight import WorkerLost
from inglenook.fleet.cold.hosts import Hosts
from inglenook.fleet.cold.keeper import Fleet, Keeper
from inglenook.fleet.cold.machine import Here
from inglenook.fleet.cold.network import Network
from inglenook.fleet.cold.pipeline import Pipeline, Source
from inglenook.fleet.cold.plan import Place, Plan, Wanted
from inglenook.fleet.cold.remote import Remote
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.cold.store import Store
from inglenook.fleet.cold.zygote import Zygote
from inglenook.fleet.iteration import Iteration, Piece, Sampling
from inglenook.fleet.manifest import Manifest

PAGES, TOKENS, MOST = 128, 4, 120
PROMPTS = {"a": [3, 1, 4, 1, 5, 9, 2, 6], "b": [2, 7], "c": [1, 1, 2, 3, 5, 8, 13]}
WAYS = {"a": Sampling(), "b": Sampling(temperature=1, seed=5), "c": Sampling()}


@pytest.fixture(scope="module")
def zygote():
    with Zygote(machines.PRELOAD) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def hosts():
    """Without namespaces and as good as not throttled: what is tested is not speed."""
    with Hosts.open(4, 1e9, namespaces=False) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(checkpoint, folder, what one worker writes)."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny").mkdir()
    _, checkpoint = llama.write(folder / "tiny", layers=6, **{"llama.context_length": 256})
    alone = llama.Worker(PAGES, 1 << 14)
    alone.add("tiny", checkpoint)
    truth = {name: alone.write("tiny", name, prompt, MOST, way=WAYS[name]) for name, prompt in PROMPTS.items()}
    return checkpoint, folder, truth


@pytest.fixture
def source(model):
    checkpoint, folder, _ = model
    manifest = Manifest.of(folder / "tiny" / "tiny.gguf", 2000)
    with Store(folder) as store:
        yield Source(checkpoint, manifest, store.url("tiny"))


class Writer:
    """Requests over an executor, a token of each an iteration; prompts in chunks of 5."""

    def __init__(self, executor):
        self.executor, self.arena = executor, Arena(PAGES, TOKENS)
        self.arena.register("tiny", 1)
        self.pages, self.written, self.todo, self.at = {}, {}, {}, {}

    def admit(self, name):
        self.executor.admit(name, WAYS[name])
        if name in self.pages:
            self.arena.give("tiny", self.pages[name])
        self.pages[name], self.written[name], self.todo[name], self.at[name] = [], [], [*PROMPTS[name]], 0

    def iterate(self):
        pieces = []
        for name, todo in self.todo.items():
            tokens = todo[:5]
            more = self.arena.pages_for("tiny", self.at[name] + len(tokens)) - len(self.pages[name])
            self.pages[name] += self.arena.take("tiny", more)
            pieces.append(Piece(name, tuple(tokens), self.at[name], tuple(self.pages[name]), len(tokens) == len(todo)))
        made = self.executor.run(Iteration("tiny", tuple(pieces)))
        for piece in pieces:
            name, count = piece.request, len(piece.tokens)
            self.at[name] += count
            self.todo[name] = [made[name]] if piece.wants else self.todo[name][count:]
            self.written[name] += [made[name]] if piece.wants else []

    def until(self, done, most=400):
        for _ in range(most):
            if done():
                return
            self.iterate()
            time.sleep(0.002)  # leave the workers' fetches some processor
        raise AssertionError("it does not come to that")


def start(source, hosts, zygote, degree, full, **more):
    places = tuple(Place(f"h{i}", full=i < full) for i in range(degree))
    plan = Plan(places, ttft=1, tpot=1, met=True)
    here = {machine.name: machine for machine in on(hosts, zygote)}
    return Pipeline.start(source, plan, here, pages=PAGES, tokens=TOKENS, **more)


def on(hosts, zygote):
    return [Here(host, zygote, b"k" * 32) for host in hosts]


def same(written, truth):
    for name, tokens in written.items():
        assert tokens[:MOST] == truth[name][: len(tokens)], name


@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (4, 1), (4, 2), (3, 3)])
def test_no_token_is_changed_by_pipelines_or_their_merging(source, hosts, zygote, model, layout):
    degree, full = layout
    network = Network({host.name: 1e9 for host in hosts})
    pipeline = start(source, hosts, zygote, degree, full, network=network)
    try:
        writer = Writer(pipeline)
        for name in ("a", "b"):
            writer.admit(name)
        writer.until(lambda: len(writer.written["a"]) >= 3)
        writer.until(lambda: pipeline.merged or len(writer.written["a"]) > 30)
        writer.admit("c")
        writer.until(lambda: len(writer.written["c"]) >= 8 and pipeline.merged)
        same(writer.written, model[2])
        assert len(pipeline.places) == full, "low-memory workers have ended"
        assert degree == 1 or pipeline.moved > 0
        assert not any(network.busy(host.name, pipeline.clock()) for host in hosts)
        assert all(network.offer(host.name, pipeline.clock()) for host in hosts), "claims were given back"
        whole = sum(place.end - place.start for place in source.checkpoint.places.values())
        assert pipeline.reserved == full * whole
    finally:
        pipeline.close()


def test_it_writes_on_while_its_keys_and_values_are_copied(source, zygote, model):
    """Over networks so slow that the copying takes many iterations; one request leaves, its pages become another's."""
    with Hosts.open(2, 400e3, namespaces=False) as slow:
        pipeline = start(source, slow, zygote, 2, 1, merges=False)
        try:
            writer = Writer(pipeline)
            for name in ("a", "b"):
                writer.admit(name)
            writer.until(lambda: len(writer.written["a"]) >= 60)
            pipeline.merges = True
            writer.until(lambda: pipeline._copies, 4000)
            before = len(writer.written["a"])
            pipeline.release("b")
            del writer.todo["b"]
            writer.arena.give("tiny", writer.pages.pop("b"))
            writer.admit("c")  # at the worker that has all layers, in the pages that b had
            writer.until(lambda: pipeline.merged, 4000)
            assert len(writer.written["a"]) > before, "the copying took some iterations"
            writer.until(lambda: len(writer.written["c"]) >= 12)
            assert len(pipeline.places) == 1 and pipeline.moved > 0
            same(writer.written, model[2])
        finally:
            pipeline.close()


def test_a_pipeline_that_is_not_to_merge_stays_one(source, hosts, zygote, model):
    pipeline = start(source, hosts, zygote, 2, 1, merges=False)
    try:
        writer = Writer(pipeline)
        writer.admit("a")
        writer.until(lambda: len(writer.written["a"]) >= 20)
        same(writer.written, model[2])
        assert len(pipeline.places) == 2 and not pipeline.moved and not pipeline.merged
    finally:
        pipeline.close()


def test_a_worker_that_dies_in_its_fetch_is_a_clear_error_and_a_second_start_answers(source, zygote, model):
    with Hosts.open(4, 2e3, namespaces=False) as slow:
        pipeline = start(source, slow, zygote, 4, 1)
        try:
            writer = Writer(pipeline)
            writer.admit("a")
            victim = pipeline._members[2].remote
            threading.Timer(0.5, victim.forked.kill).start()
            with pytest.raises(WorkerLost) as error:
                writer.iterate()
            assert error.value.code == "worker-lost" and error.value.hint and error.value.requests == ("a",)
            assert not any("loaded" in what and victim.host in what for _, what in pipeline.events)
        finally:
            pipeline.close()
    with Hosts.open(4, 1e9, namespaces=False) as hosts:
        pipeline = start(source, hosts, zygote, 2, 1)
        try:
            writer.executor = pipeline
            writer.admit("a")
            writer.until(lambda: len(writer.written["a"]) >= 10)
            same(writer.written, model[2])
        finally:
            pipeline.close()


def test_when_a_stage_dies_before_the_merging_the_whole_worker_goes_on(source, hosts, zygote, model):
    pipeline = start(source, hosts, zygote, 2, 1, merges=False)
    try:
        writer = Writer(pipeline)
        writer.admit("a")
        writer.until(lambda: writer.written["a"])
        pipeline.merges = True
        pipeline._members[1].remote.forked.kill()
        with pytest.raises(WorkerLost) as error:
            for _ in range(3):
                writer.iterate()
        assert error.value.requests == ("a",) and not pipeline.broken
        pipeline.release("a")
        pipeline.step()
        writer.admit("a")
        writer.until(lambda: len(writer.written["a"]) >= 12)
        same(writer.written, model[2])
    finally:
        pipeline.close()


def test_when_the_full_worker_dies_nobody_is_left(source, hosts, zygote):
    pipeline = start(source, hosts, zygote, 2, 1)
    try:
        writer = Writer(pipeline)
        writer.admit("a")
        writer.iterate()
        pipeline._members[0].remote.forked.kill()
        with pytest.raises(WorkerLost):
            for _ in range(3):
                writer.iterate()
        assert pipeline.broken
        with pytest.raises(WorkerLost):
            writer.admit("b")
    finally:
        pipeline.close()


def test_damaged_weights_are_a_typed_error_for_whoever_waits(source, hosts, zygote):
    manifest = Manifest(source.manifest.file, source.manifest.size, 2000, ("0" * 64,) * len(source.manifest.sums))
    pipeline = start(Source(source.checkpoint, manifest, source.url), hosts, zygote, 2, 1)
    try:
        writer = Writer(pipeline)
        with pytest.raises(NookError) as error:
            writer.admit("a")
            writer.iterate()
        assert error.value.code == "model-corrupt" and error.value.hint
    finally:
        pipeline.close()


def test_a_worker_turns_away_who_has_no_key(source, hosts, zygote):
    worker = Remote.start(Here(hosts[0], zygote, b"k" * 32))
    try:
        with pytest.raises(NookError) as error:
            Channel.connect(worker.address, b"x" * 32)
        assert error.value.code == "worker-lost"
        assert worker.ask("status").result(10)[0]["received"] == 0
    finally:
        worker.kill()


@pytest.mark.skipif(not bed.available(), reason="network namespaces need root, ip and tc")
def test_across_hosts_in_namespaces(model, zygote):
    checkpoint, folder, truth = model
    with Hosts.open(3, 4e6, namespaces=True) as hosts, Store(folder, (hosts.gateway, 0)) as store:
        source = Source(checkpoint, Manifest.of(folder / "tiny" / "tiny.gguf", 2000), store.url("tiny"))
        pipeline = start(source, hosts, zygote, 3, 1)
        try:
            writer = Writer(pipeline)
            for name in PROMPTS:
                writer.admit(name)
            writer.until(lambda: pipeline.merged and len(writer.written["a"]) >= 5)
            same(writer.written, truth)
        finally:
            pipeline.close()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_from_nothing_and_back_on_demand(source, hosts, zygote, model):
    """The first request starts workers, an idle clock ends them, the next request starts them again."""
    clock = Clock()
    size = sum(place.end - place.start for place in source.checkpoint.places.values())
    names = [host.name for host in hosts]
    fleet = Fleet(
        on(hosts, zygote),
        memory=dict.fromkeys(names, 3.0 * size), bandwidth=dict.fromkeys(names, float(size)),
    )  # fmt: skip
    known = plans.Model(size=size, prefill=0.01, token=0.01, reserve=size, settle=0.1)
    keeper = Keeper(
        "tiny", source, known, Wanted(ttft=0.5, tpot=1), fleet, pages=PAGES, tokens=TOKENS,
        demand=Demand(idle_after=10), clock=clock,
    )  # fmt: skip
    try:
        for _ in range(2):
            assert not keeper.running and fleet.free("h0") == 3 * size
            writer = Writer(keeper)
            writer.admit("a")
            [pipeline] = keeper.crew.pipelines
            assert pipeline.plan.degree == 3, "a third of the model is in time, a half is not"
            assert sum(fleet.free(name) < 3 * size for name in names) == 3
            writer.until(lambda w=writer, p=pipeline: len(w.written["a"]) >= 6 and p.merged)
            same(writer.written, model[2])
            assert sum(fleet.free(name) < 3 * size for name in names) == 1, "low-memory workers gave theirs back"
            keeper.release("a")
            clock.now += 9
            keeper.tick()
            assert keeper.running
            clock.now += 2
            keeper.tick()
    finally:
        keeper.stop()
    assert not keeper.running


def test_a_keeper_starts_anew_after_its_workers_were_lost(source, hosts, zygote, model):
    size = sum(place.end - place.start for place in source.checkpoint.places.values())
    names = [host.name for host in hosts]
    fleet = Fleet(
        on(hosts, zygote),
        memory=dict.fromkeys(names, 3.0 * size), bandwidth=dict.fromkeys(names, 1e9),
    )  # fmt: skip
    known = plans.Model(size=size, prefill=0.01, token=0.01, reserve=size, settle=0.1)
    keeper = Keeper("tiny", source, known, Wanted(ttft=5, tpot=1), fleet, pages=PAGES, tokens=TOKENS)
    try:
        writer = Writer(keeper)
        writer.admit("a")
        writer.iterate()
        keeper.crew.pipelines[0]._members[0].remote.forked.kill()
        with pytest.raises(WorkerLost):
            writer.iterate()
        keeper.release("a")
        writer.admit("a")
        writer.until(lambda: len(writer.written["a"]) >= 6)
        same(writer.written, model[2])
        with pytest.raises(NookError) as error:
            Keeper(
                "huge", source, plans.Model(size=9 * size, prefill=0, token=0, reserve=0), Wanted(1, 1), fleet,
                pages=PAGES, tokens=TOKENS,
            ).admit("a", Sampling())  # fmt: skip
        assert error.value.code == "fleet-full"
    finally:
        keeper.stop()
