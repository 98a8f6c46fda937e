"""Building from a stream of chunks: acknowledged one by one, stopped and killed anywhere, gone on with."""

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, planner
from inglenook.index.store import MemoryStore
from inglenook.index.stream import rest
from inglenook.wire.messages import Progress

DIM, N, CHUNK = 8, 400, 37


class Killed(BaseException):
    """The machine dies."""


class Mortal(MemoryStore):
    """A dictionary that counts as storage and takes `left` commits."""

    left = 1 << 30

    def commit(self, puts, deletes, expect=None):
        if not self.left:
            raise Killed
        self.left -= 1
        super().commit(puts, deletes, expect)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Heads and merges of a few rows."""
    for name, value in {"HEAD_ROWS": 60, "BATCHES": 20, "TIER": 3}.items():
        monkeypatch.setattr(planner, name, value)


VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)


def chunks(start, asked=None):
    """Chunks from vector number `start` on."""
    if asked is not None:
        asked.append(start)
    for first in range(start, N, CHUNK):
        yield VECTORS[first : first + CHUNK]


def opened(store=None):
    return Index("l2", DIM, store=store) if store is not None else Index("l2", DIM)


def test_chunks_are_added_as_they_come_and_memory_holds_no_more():
    index, heard = opened(Mortal()), []
    assert index.add_stream(chunks, progress=heard.append) == N
    assert np.array_equal(index.get_items(np.arange(N)), VECTORS)
    taken = [event.done for event in heard if isinstance(event, Progress) and event.stage == "add"]
    assert taken == [min(N, n) for n in range(CHUNK, N + CHUNK, CHUNK)]
    assert len(index._made().segments) < 6  # merged meanwhile


def test_killed_at_any_commit_it_goes_on_where_it_was():
    died = 0
    for commits in range(200):
        store, asked = Mortal(), []
        store.left = commits
        try:
            opened(store).add_stream(chunks)
            break
        except Killed:
            died += 1
        store.left = 1 << 30
        again = opened(store)
        kept = len(again)
        assert again.add_stream(lambda start, asked=asked: chunks(start, asked)) == N
        assert asked[0] % CHUNK == 0 and kept - CHUNK <= asked[0] <= kept  # a chunk at most is put twice
        assert again.get_ids_list() == list(range(N)) and np.array_equal(again.get_items(np.arange(N)), VECTORS)
    assert died > 20


def test_stopped_by_its_hearer_or_its_source():
    index = opened(Mortal())

    def stop(event):
        if event.stage == "add" and event.done >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add_stream(chunks, progress=stop)
    assert len(index) == 3 * CHUNK

    def broken(start):
        yield from list(chunks(start))[:2]
        raise OSError("the line is dead")

    with pytest.raises(OSError, match="dead"):
        index.add_stream(broken)
    assert len(index) == 5 * CHUNK
    assert index.add_stream(chunks(0)) == N == len(index)  # an iterator: what is there is skipped
    assert index.add_stream(chunks) == N == len(index)


def test_streams_have_names_ids_and_metadata():
    index = opened(Mortal())
    index.add_items(VECTORS[:5], np.arange(1000, 1005))
    assert index.add_stream([VECTORS[:10], VECTORS[10:15]], stream="a") == 15
    told = [(VECTORS[20:22], [7, 8], [{"n": 1}, {"n": 2}]), (VECTORS[22:23], [9], {"n": [3]}), (VECTORS[23],)]
    assert index.add_stream(told, stream="b") == 4
    assert index.add_stream(told, stream="b") == 4 and len(index) == 24
    assert index.get_ids_list() == [7, 8, 9, *range(1000, 1020), 1023]
    assert index.get_metadata([7, 8, 9]) == [{"n": 1}, {"n": 2}, {"n": 3}]
    with pytest.raises(NookError) as error:
        index.add_stream([(VECTORS[:2], [1, 2], None, 4)], stream="c")
    assert error.value.code == "bad-shape" and len(index) == 24
    index._run(index._made().drop())
    assert not index._store.pages


def test_in_memory_it_begins_anew_each_time():
    index = opened()
    assert index.add_stream(chunks) == N == len(index)
    assert index.add_stream([VECTORS[:3]]) == 3 and len(index) == N + 3


def test_a_damaged_note_of_how_far_it_was_means_from_the_start():
    store = Mortal()
    opened(store).add_stream(chunks)
    store.pages["i/index/taken"] = b"x" + store.pages["i/index/taken"][1:]
    asked = []
    again = opened(store)
    again.add_stream(lambda start: chunks(start, asked))
    assert asked == [0] and len(again) == 2 * N  # under new ids: nobody knows the old ones


@pytest.mark.parametrize("metadata", [[{"n": n} for n in range(6)], {"n": list(range(6))}, None])
def test_the_rest_of_a_chunk(metadata):
    (vectors, ids, left), more = rest((VECTORS[:6], np.arange(6), metadata), 4)
    assert np.array_equal(vectors, VECTORS[4:6]) and ids.tolist() == [4, 5] and more == 0
    assert left in ([{"n": 4}, {"n": 5}], {"n": [4, 5]}, None)
    (vectors, _, _), more = rest(VECTORS[:3], 8)
    assert vectors.shape == (0, DIM) and more == 5
