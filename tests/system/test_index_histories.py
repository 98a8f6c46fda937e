"""Random histories of an index, with kills at any write, two tabs and housekeeping in between, against a dictionary.

Nothing that was acknowledged is lost, what was deleted stays deleted, and what `flat` finds is exact at every moment.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.flow import Commit, Effect, Get, Hold, Pause, Scan
from inglenook.index import directory, planner
from inglenook.index import segment as segments
from inglenook.index.collection import Collection
from inglenook.index.form import Form
from inglenook.index.log import Log
from inglenook.index.store import Change, MemoryStore, conflict

DIM = 4
IDS = 12


class Killed(BaseException):
    """The process ends here."""


class Disk:
    """A file in memory that can be cut short: a `Handle`. `left` bytes are taken, then the machine dies; of what was
    not flushed by then only a part is there afterwards."""

    def __init__(self, data=b""):
        self.data, self.flushed, self.left = bytearray(data), len(data), None

    def read(self, offset, length):
        return bytes(self.data[offset : offset + length])

    def gather(self, spans):
        return [self.read(*span) for span in spans]

    def write(self, offset, data):
        taken = data if self.left is None else data[: self.left]
        self.data[offset : offset + len(taken)] = taken
        if self.left is not None:
            self.left -= len(taken)
            if not self.left:
                raise Killed

    def flush(self):
        self.flushed = len(self.data)

    def truncate(self, size):
        del self.data[size:]

    def size(self):
        return len(self.data)

    def close(self):
        pass

    def after_the_kill(self, share):
        lost = int((len(self.data) - self.flushed) * share)
        return Disk(self.data[: len(self.data) - lost])


class LogStore:
    """The container's log as a store."""

    def __init__(self, disk):
        self.log = Log(disk, "disk")

    def get(self, keys):
        return self.log.get(keys)

    def scan(self, prefix):
        return self.log.scan(prefix)

    def commit(self, puts, deletes, expect=None):
        if expect and self.log.get(list(expect)) != list(expect.values()):
            raise conflict("disk")
        self.log.append(puts, deletes)


class Steps:
    """A flow that is run some effects at a time, beside others that want the same locks."""

    def __init__(self, flow, store, locks):
        self.flow, self.store, self.locks, self.answer, self.error = flow, store, locks, None, None
        self.done, self.result = False, None

    def step(self):
        """One effect. False: it waits for another."""
        try:
            item = self.flow.throw(self.error) if self.error else self.flow.send(self.answer)
        except StopIteration as stop:
            self.done, self.result = True, stop.value
            return True
        self.answer = self.error = None
        return self._perform(item)

    def _perform(self, item):
        try:
            match item:
                case Get(keys):
                    self.answer = self.store.get(keys)
                case Scan(prefix):
                    self.answer = self.store.scan(prefix)
                case Change(puts, deletes, expect):
                    self.store.commit(puts, deletes, expect)
                case Commit():
                    raise AssertionError("a commit that builds on nothing")
                case Hold(what):
                    if what in self.locks:
                        self.waiting = item
                        return False
                    self.locks.add(what)
                    self.answer = lambda: self.locks.discard(what)
                case Pause():
                    pass
                case Effect():
                    raise AssertionError(item)
        except NookError as error:
            self.error = error
        return True

    def close(self):
        """Stop, and let go of a lock that the flow was about to be given."""
        self.flow.close()
        if self.answer and callable(self.answer):
            self.answer()

    def run(self, others=()):
        """To the end; where it must wait, the others go on meanwhile."""
        waits = False
        while not self.done:
            if waits:
                for other in others:
                    if not other.done:
                        other.step()
                waits = not self._perform(self.waiting)
            else:
                waits = not self.step()
        return self.result


ids = st.lists(st.integers(0, IDS - 1), min_size=1, max_size=6)
operations = st.one_of(
    st.tuples(st.just("add"), ids),
    st.tuples(st.just("add many"), st.integers(0, IDS)),
    st.tuples(st.just("tell"), ids),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("restore"), ids),
    st.tuples(st.just("search"), st.integers(1, IDS + 2)),
    st.tuples(st.just("tidy"), st.integers(1, 30)),
    st.tuples(st.just("merge"), st.none()),
    st.tuples(st.just("stop"), st.none()),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("kill"), st.tuples(st.integers(1, 4000), st.floats(0, 1))),
)
histories = st.lists(st.tuples(st.integers(0, 1), operations), max_size=40)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Everything happens often: heads of eight rows, merges of two, pages of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HEAD_ROWS": 8, "BATCHES": 5, "TIER": 2, "FEW": 2, "MOST_ROWS": 40}.items():
            patch.setattr(planner, name, value)
        patch.setattr(planner, "candidates", lambda k, resident: k)
        for name, value in {"PAGE": 80, "IDS": 16, "BATCH": 160}.items():
            patch.setattr(segments, name, value)
        for name, value in {"CHUNK": 64, "SMALL": 16, "PIECES": 64}.items():
            patch.setattr(directory, name, value)
        yield


class World:
    """A disk, two tabs on it, and what should be on it."""

    def __init__(self, space, seed):
        self.form, self.random = Form(DIM, space), np.random.default_rng(seed)
        self.disk, self.truth, self.graves = Disk(), {}, {}
        self.locks = [set(), set()]
        self.start()
        self.run(0, self.tabs[0].create(self.form))
        self.start()

    def start(self):
        """Both tabs open the collection. They share the file, as tabs with a handle each do."""
        self.store = LogStore(self.disk)
        self.tabs = [Collection("a"), Collection("a")]
        self.locks[0].clear(), self.locks[1].clear()
        self.tidying = [None, None]
        if self.store.get([self.tabs[0].keys.manifest])[0] is not None:
            for n in (0, 1):
                assert self.run(n, self.tabs[n].open())

    def run(self, tab, flow):
        steps = Steps(flow, self.store, self.locks[tab])
        other = self.tidying[tab]
        return steps.run([other] if other else [])

    def vectors(self, n):
        """Vectors on a grid: ties and equal ones are frequent."""
        return self.random.integers(-2, 3, (n, DIM)).astype(np.float32)

    def record(self):
        """Metadata, often nothing."""
        return (
            {"n": int(self.random.integers(3)), "at": "ab"[self.random.integers(2)]}
            if self.random.random() < 0.6
            else {}
        )

    def perform(self, tab, name, value):
        collection = self.tabs[tab]
        if name in ("add", "add many"):
            labels = np.arange(value) if name == "add many" else np.array(value)
            vectors = self.vectors(len(labels))
            records = [self.record() for _ in labels] if self.random.random() < 0.7 else None
            self.outcome = self.truth | dict(zip(labels.tolist(), zip(vectors, records or [{}] * len(labels))))
            self.run(tab, collection.add(vectors, labels, records))
        elif name == "tell":
            some = [id_ for id_ in dict.fromkeys(value) if id_ in self.truth]
            changes = [{"n": None} if self.random.random() < 0.2 else self.record() for _ in some]
            changed = {id_: self.truth[id_][1] | change for id_, change in zip(some, changes)}
            self.outcome = self.truth | {
                id_: (self.truth[id_][0], {field: one for field, one in told.items() if one is not None})
                for id_, told in changed.items()
            }
            self.run(tab, collection.update(np.array(some, np.int64), changes))
        elif name == "delete":
            self.graves |= {id_: self.truth[id_][1] for id_ in value if id_ in self.truth}
            self.outcome = {id_: found for id_, found in self.truth.items() if id_ not in value}
            self.run(tab, collection.delete(np.array(value)))
        elif name == "restore":
            self.run(tab, collection.refresh())
            able = [id_ for id_ in dict.fromkeys(value) if collection.graves.find(id_)]
            graves = {id_: (self.grave(collection, id_), self.graves[id_]) for id_ in able}
            self.outcome = self.truth | graves
            self.run(tab, collection.restore(np.array(able, np.int64)))
        elif name == "search":
            self.check(tab, value)
        elif name == "tidy":
            steps = self.tidying[tab]
            if steps is None or steps.done:
                steps = self.tidying[tab] = Steps(collection.maintain(), self.store, self.locks[tab])
            for _ in range(value):
                if not steps.done:
                    steps.step()
        elif name == "merge":
            self.stop(tab)
            self.run(tab, collection.maintain(everything=True))
        elif name == "stop":
            self.stop(tab)
        elif name == "reopen":
            self.disk = Disk(self.disk.data)
            self.start()
        self.truth = self.outcome

    def stop(self, tab):
        if self.tidying[tab]:
            self.tidying[tab].close()
            self.tidying[tab] = None

    def grave(self, collection, id_):
        part, row = collection.graves.find(id_)
        if part.resident is not None:
            return self.form.floats(np.ascontiguousarray(part.resident[row : row + 1]))[0]
        raw, _, _ = Steps(part.everything(), self.store, set()).run()
        return self.form.floats(raw[row : row + 1])[0]

    def step(self, tab, operation):
        name, value = operation
        self.outcome = self.truth
        if name == "kill":
            self.disk.left = value[0]
            self.share = value[1]
            return
        try:
            self.perform(tab, name, value)
        except Killed:
            self.disk = self.disk.after_the_kill(self.share)
            self.start()
            there = self.content(0)
            assert any(same(there, self.unit(state)) for state in (self.truth, self.outcome)), "half of a change"
            self.truth = self.outcome if same(there, self.unit(self.outcome)) else self.truth

    def content(self, tab):
        collection = self.tabs[tab]
        labels = np.sort(self.run(tab, collection.ids()))
        if not len(labels):
            return {}
        found = zip(self.run(tab, collection.get(labels)), self.run(tab, collection.metadata(labels)))
        return dict(zip(labels.tolist(), found))

    def unit(self, state):
        return {id_: (self.form.floats(self.form.rows(vector))[0], told) for id_, (vector, told) in state.items()}

    def check(self, tab, k):
        collection = self.tabs[tab]
        self.run(tab, collection.refresh())
        truth = self.unit(self.truth)
        assert collection.count == len(truth) and sorted(self.run(tab, collection.ids()).tolist()) == sorted(truth)
        assert same(self.content(tab), truth) and not collection.damage
        labels = np.array(sorted(truth), np.int64)
        vectors = np.array([truth[id_][0] for id_ in labels.tolist()], np.float32).reshape(-1, DIM)
        odd = lambda ids: ids % 2 == 1
        told = {"n": {"$gte": 1}, "at": {"$ne": "b"}}
        fits = np.array(
            [found.get("n", 0) >= 1 and found.get("at") != "b" for _, found in map(truth.get, labels.tolist())], bool
        )
        for allow, some in ((None, labels), (odd, labels[odd(labels)]), (told, labels[fits])):
            query = self.vectors(1)
            scores = self.form.scores(self.form.queries(query)[0], vectors[np.isin(labels, some)])
            best = np.lexsort((some, -scores))[:k]
            [hits] = self.run(tab, collection.search(query, k, allow=allow))
            assert hits.ids.tolist() == some[best].tolist()
            assert np.array_equal(hits.scores, scores[best])


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key][0], b[key][0]) and a[key][1] == b[key][1] for key in a)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["cosine", "ip", "l2"]), st.integers(0, 1000), histories)
def test_histories(space, seed, history):
    world = World(space, seed)
    for tab, operation in history:
        world.step(tab, operation)
    world.disk.left = None
    for tab in (0, 1):
        world.check(tab, 5)
        world.stop(tab)
        world.run(tab, world.tabs[tab].maintain())
        world.check(tab, 5)
    world.disk = Disk(world.disk.data)
    world.start()
    world.run(0, world.tabs[0].maintain(everything=True))
    world.check(0, IDS)
    garbage = set(world.store.scan("i/")) - wanted(world.tabs[0])
    assert not garbage, "pages that nobody will ever read"


def wanted(collection):
    """Every page that the manifest speaks of."""
    keys, found = collection.keys, collection.manifest
    assert not found.pending
    parts = {key for part in found.parts for key in keys.all(part)}
    runs = {key for run in found.runs for key in keys.run(run)}
    return parts | runs | {keys.manifest, keys.mirror} | {keys.batch(n) for n in range(found.log, collection._next)}


def test_in_memory_nothing_is_stored():
    store, form = MemoryStore(), Form(DIM)
    collection = Collection("a", durable=False)
    random = np.random.default_rng(0)
    for flow in (
        collection.create(form),
        collection.add(random.normal(size=(30, DIM)), np.arange(30)),
        collection.add(random.normal(size=(3, DIM)), np.arange(3)),
        collection.delete(np.array([5])),
        collection.maintain(everything=True),
    ):
        Steps(flow, store, set()).run()
    assert not store.pages and collection.count == 29 and len(collection.segments) == 1
