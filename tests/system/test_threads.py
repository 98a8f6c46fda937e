"""Threads for building: what they make is what one makes, bit for bit, and what goes wrong in one is heard."""

import threading

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, kernel, threads
from inglenook.index.codes import ADDRESS, INT, bind
from inglenook.index.making import build


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    """A machine with so many processors, whatever it has."""
    monkeypatch.setattr("os.cpu_count", lambda: 8)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 1000])
def test_ranges_make_up_the_whole(n):
    for count in (1, 2, 7, -1):
        with threads.using(count):
            ranges = threads.each(lambda some: (some.start, some.stop), n)
        assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])] and ranges[-1][1] == n
        assert len(ranges) == max(1, min(8 if count < 1 else count, n // 64))
    assert len(threads.each(id, 10_000)) == 1  # nobody wished for more


def test_they_run_at_once():
    meet = threading.Barrier(3, timeout=30)
    with threads.using(3):
        threads.each(lambda some: meet.wait(), 300)


@pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled")
@pytest.mark.parametrize("space", ["cosine", "l2"])
def test_the_same_whatever_their_number(space):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(9000, 48)) + 3 * random.normal(size=(40, 48))[random.integers(40, size=9000)]
    made = []
    for count in (1, 2, 5):
        with threads.using(count):
            made.append(build(vectors.astype(np.float32), space=space).arrays())
    for other in made[1:]:
        assert other.keys() == made[0].keys()
        for name, values in other.items():
            np.testing.assert_array_equal(values, made[0][name], name)


class Copies:
    """Helpers with memory of their own; the second has no room, and every third call fails."""

    count = 3

    def __init__(self, kernel):
        self.kernel, self.calls, self.done = kernel, 0, []

    def begin(self, name, ranges, arguments):
        assert name == "nook_assign"
        for me, rows in enumerate(ranges):
            if me == 1:
                continue
            self.calls += 1
            told = [a._replace(array=a.array[rows].copy()) if isinstance(a, threads.Rows) else a for a in arguments]
            if self.calls % 3:
                self.kernel(*(threads._told(a, slice(0, rows.stop - rows.start)) for a in told))
            self.done.append((rows, told, self.calls % 3))
        self.arguments = arguments
        return ranges[1:2]

    def finish(self):
        failed, done = [], self.done
        self.done = []
        for rows, told, good in done:
            if not good:
                failed.append(rows)
                continue
            for mine, theirs in zip(self.arguments, told, strict=True):
                if isinstance(mine, threads.Rows) and mine.written:
                    mine.array[rows] = theirs.array
        return failed


@pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled")
def test_helpers_with_memory_of_their_own_make_the_same():
    random = np.random.default_rng(0)
    vectors = (
        random.normal(size=(9000, 48)) + 3 * random.normal(size=(40, 48))[random.integers(40, size=9000)]
    ).astype(np.float32)
    alone = build(vectors).arrays()
    types = [ADDRESS, ADDRESS, INT, INT, ADDRESS, ADDRESS, ADDRESS, INT, ADDRESS, ADDRESS]
    helpers = Copies(bind("nook_assign", None, *types))
    threads.enlist(helpers)
    try:
        helped = build(vectors).arrays()
    finally:
        threads.enlist(None)
    assert helpers.calls > 20
    for name, values in helped.items():
        np.testing.assert_array_equal(values, alone[name], name)


def test_errors_of_any_thread_are_raised():
    vectors = np.ones((9000, 8), np.float32)
    vectors[4000] = np.nan
    with threads.using(4), pytest.raises(NookError) as error:
        build(vectors)
    assert error.value.code == "bad-vector" and "4000" in error.value.message
    index = Index("l2", 8)
    index.add_items(np.random.default_rng(0).normal(size=(12_000, 8)), num_threads=3)
    assert len(index) == 12_000 and index.knn_query(index.get_items([77]), 1, num_threads=2)[0].tolist() == [[77]]
