"""A large build that was stopped, or whose machine died, goes on where it was."""

import numpy as np
import pytest
from inglenook.flow import Commit, Get, Hold, Scan
from inglenook.index import draft, making, merging, planner, segment
from inglenook.index.collection import Collection
from inglenook.index.drive import run
from inglenook.index.form import Form
from inglenook.index.store import Change, MemoryStore

DIM, N = 16, 1200


class Killed(BaseException):
    """The machine dies."""


class Mortal(MemoryStore):
    """A dictionary that counts as storage, takes `left` commits, and counts bytes."""

    left, written = 1 << 30, 0

    def commit(self, puts, deletes, expect=None):
        if not self.left:
            raise Killed
        self.left -= 1
        self.written += sum(map(len, puts.values()))
        super().commit(puts, deletes, expect)


@pytest.fixture
def trained(monkeypatch):
    """Lists from few rows on, commits of a few pages; how often centroids were trained."""
    calls = []
    train = making.train
    monkeypatch.setattr(making, "train", lambda *args, **options: calls.append(1) or train(*args, **options))
    monkeypatch.setattr(planner, "LISTS", 500)
    monkeypatch.setattr(planner, "HEAD_ROWS", 200)
    monkeypatch.setattr(planner, "TIER", 99)
    monkeypatch.setattr(merging, "WRITE", 8 << 10)
    monkeypatch.setattr(segment, "PAGE", 600)
    return calls


def vectors():
    return np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)


def opened(store):
    collection = Collection("a")
    if not run(collection.open(), store):
        run(collection.create(Form(DIM)), store)
    return collection


def filled(store):
    """Several small segments and a head, with metadata."""
    collection = opened(store)
    for start in range(0, N, 150):
        some = slice(start, start + 150)
        run(collection.add(vectors()[some], np.arange(N)[some], {"n": np.arange(N)[some]}), store)
        run(collection.maintain(), store)
    return collection


def answers(collection, store):
    hits = run(collection.search(vectors()[:20], 10), store)
    return [(hit.ids.tolist(), hit.scores.tolist()) for hit in hits]


def whole(collection, store):
    """Nothing is lost, and nothing lies about."""
    assert collection.count == N and not collection.damage and not collection.manifest.pending
    assert np.allclose(
        run(collection.get(np.arange(N)), store), collection.form.floats(collection.form.rows(vectors()))
    )
    keys = collection.keys
    parts = {key for part in collection.manifest.parts for key in keys.all(part)}
    runs = {key for one in collection.manifest.runs for key in keys.run(one)}
    log = {keys.batch(n) for n in range(collection.manifest.log, collection._next)}
    assert set(store.pages) <= parts | runs | log | {keys.manifest, keys.mirror}


def test_killed_at_any_commit_a_merge_goes_on(trained):
    store = Mortal()
    filled(store)
    begun = dict(store.pages)
    trained.clear()
    collection = opened(store)
    store.left, store.written = 1000, 0
    run(collection.maintain(everything=True), store)
    commits, bytes_written, truth = 1000 - store.left, store.written, answers(collection, store)
    whole(collection, store)
    assert commits > 15 and len(trained) == 1
    late = 0
    for left in range(1, commits):
        store = Mortal()
        store.pages, store.left = dict(begun), left
        trained.clear()
        with pytest.raises(Killed):
            run(opened(store).maintain(everything=True), store)
        drafted = "i/a/draft" in store.pages
        done = len(trained) - drafted  # 1 where it died before, or after all was done
        store.left, store.written = 1 << 30, 0
        trained.clear()
        again = opened(store)
        before = answers(again, store)
        assert sum(len(ids) for ids, _ in before) == 200
        run(again.maintain(everything=True), store)
        assert len(trained) == (0 if drafted else done)
        assert answers(again, store) == truth
        whole(again, store)
        late += store.written < 0.5 * bytes_written
    assert late > commits / 4  # what was stored is not stored again


def test_stopped_anywhere_an_add_goes_on(trained):
    """In the same process; between two effects, whatever they are."""
    store = Mortal()
    run(opened(store).add(vectors(), np.arange(N)), store)
    pages, stops = store.pages, 0
    for stop in range(4, 1000, 5):
        store = Mortal()
        collection = opened(store)
        flow = collection.add(vectors(), np.arange(N))
        answer = None
        try:
            for _ in range(stop):
                match flow.send(answer):
                    case Get(keys):
                        answer = store.get(keys)
                    case Scan(prefix):
                        answer = store.scan(prefix)
                    case Change(puts, deletes, expect):
                        answer = store.commit(puts, deletes, expect)
                    case Hold():
                        answer = lambda *_: None
                    case Commit():
                        raise AssertionError
                    case _:
                        answer = None
        except StopIteration:
            break
        flow.close()
        stops += 1
        drafted, trained[:] = "i/a/draft" in store.pages, []
        run(collection.maintain(), store)  # does not take away what the next add may go on from
        run(collection.add(vectors(), np.arange(N)), store)
        assert len(trained) == (not drafted)
        assert collection.count == N
        assert {key for key in store.pages if "/vectors/" in key} >= {key for key in pages if "/vectors/" in key}
        run(collection.maintain(everything=True), store)
        whole(collection, store)
    assert stops > 10


def test_a_draft_of_other_vectors_is_left_alone(trained):
    store = Mortal()
    collection = opened(store)
    store.left = 3  # the two drafts, and the name
    with pytest.raises(Killed):
        run(collection.add(vectors(), np.arange(N)), store)
    store.left = 1 << 30
    again = opened(store)
    trained.clear()
    run(again.add(-vectors(), np.arange(N)), store)
    assert len(trained) == 1 and again.count == N
    assert np.array_equal(run(again.get(np.array([5])), store), again.form.floats(again.form.rows(-vectors()[5:6])))
    run(again.maintain(everything=True), store)
    assert "i/a/draft" not in store.pages and not again.manifest.pending


@pytest.mark.parametrize("page", [None, b"", b"x" * 100, draft.page("a" * 32, {})[:-3]])
def test_a_damaged_draft_is_none(page):
    assert draft.read(page) == ("", {})


def test_a_draft_is_read_as_it_was_written():
    state = {"labels": np.arange(5, dtype=np.int32), "mean": np.ones(3, np.float32)}
    mark, again = draft.read(draft.page("b" * 32, state))
    assert mark == "b" * 32 and all(np.array_equal(again[name], state[name]) for name in state)
    assert draft.stage(again) == draft.DONE and draft.stage({}) == 0
    assert draft.stage({"labels": np.array([3, -1])}) == 1


def test_marks_tell_builds_apart():
    form, ids, raw = Form(4), np.arange(3), np.zeros((3, 16), np.uint8)
    marks = {
        draft.mark(form, {}, ids, raw), draft.mark(Form(4, "l2"), {}, ids, raw),
        draft.mark(form, {"seed": 1}, ids, raw),
        draft.mark(form, {}, ids + 1, raw), draft.mark(form, {}, ids, raw + np.uint8(1)),
    }  # fmt: skip
    assert len(marks) == 5 and all(len(mark) == draft.MARK for mark in marks)
