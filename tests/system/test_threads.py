"""Threads for building: what they make is what one makes, bit for bit, and what goes wrong in one is heard."""

import threading

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, kernel, threads
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


def test_errors_of_any_thread_are_raised():
    vectors = np.ones((9000, 8), np.float32)
    vectors[4000] = np.nan
    with threads.using(4), pytest.raises(NookError) as error:
        build(vectors)
    assert error.value.code == "bad-vector" and "4000" in error.value.message
    index = Index("l2", 8)
    index.add_items(np.random.default_rng(0).normal(size=(12_000, 8)), num_threads=3)
    assert len(index) == 12_000 and index.knn_query(index.get_items([77]), 1, num_threads=2)[0].tolist() == [[77]]
