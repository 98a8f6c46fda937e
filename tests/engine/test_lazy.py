"""Phased lazy loading: C against plain Python, both against the walk that has everything in memory, and bad pages."""

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.flow import Get
from inglenook.index import kernel, lazy
from inglenook.index.cache import POLICIES, Cache
from inglenook.index.hnsw import HNSW

compiled = pytest.mark.skipif(kernel.library() is None, reason="wasm/lazy.c is not compiled")
SPACES = ["ip", "cosine", "l2"]


def whole(n, dim, seed, space):
    """Small whole numbers: sums are exact in any order, so ties are ties everywhere. Cosine: all are as long."""
    random = np.random.default_rng(seed)
    if space == "cosine":
        return random.choice([-1.0, 1.0], (n, dim)).astype(np.float32)
    return random.integers(-4, 5, (n, dim)).astype(np.float32)


def run(flow, vectors, asked=None):
    """Drive a search over vectors by row; `asked` collects what each Get asked for."""
    try:
        effect = next(flow)
        while True:
            assert isinstance(effect, Get)
            rows = [int(key.removeprefix("v/")) for key in effect.keys]
            assert len(set(rows)) == len(rows) > 0
            if asked is not None:
                asked.append(rows)
            effect = flow.send([vectors[row].tobytes() for row in rows])
    except StopIteration as end:
        return end.value


def key(row):
    return f"v/{row}"


def made(n, space, dim=16):
    vectors = whole(n, dim, 1, space)
    index = HNSW(dim, space, 4, 20)
    index.add(vectors)
    return index, vectors / np.float32(np.sqrt(dim) if space == "cosine" else 1)


@compiled
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("room", [0, 30, 400])
def test_c_is_python(space, policy, room):
    """The same rows, the same fetches, the same vectors kept."""
    index, vectors = made(400, space)
    slow = HNSW.of(index.graph, plain=True)
    caches = [Cache(400, 16, room * 64, policy) for _ in range(2)]
    for query in whole(12, 16, 7, space):
        asked = [], []
        results = [
            run(lazy.search(which, query, 5, 15, cache, key=key), vectors, log)
            for which, cache, log in zip((index, slow), caches, asked)
        ]
        assert asked[0] == asked[1]
        np.testing.assert_array_equal(results[0][0], results[1][0])
        np.testing.assert_array_equal(results[0][1], results[1][1])
        for name in ("slots", "keys", "owners"):
            np.testing.assert_array_equal(getattr(caches[0], name), getattr(caches[1], name), name)
    assert vars(caches[0]).items() >= {"hits": caches[1].hits, "misses": caches[1].misses}.items()


def in_memory(index, vectors, query, k, ef):
    """The oracle: HNSW over the float vectors, all in memory."""
    cache = Cache(len(vectors), vectors.shape[1], vectors.nbytes)
    rows = np.arange(len(vectors), dtype=np.int32)
    cache.put(rows, vectors)
    asked = []
    found = run(lazy.search(index, query, k, ef, cache, key=key), vectors, asked)
    assert not asked
    return found


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
@pytest.mark.parametrize("space", SPACES)
def test_a_warm_cache_needs_nothing_and_gives_the_same(plain, space):
    random = np.random.default_rng(2)
    vectors = random.normal(size=(150, 9)).astype(np.float32)
    if space == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = HNSW(9, space, 4, 30, plain=plain)
    index.add(vectors)
    same = 0
    for query in random.normal(size=(12, 9)).astype(np.float32):
        rows, scores = in_memory(index, vectors, query, 5, 30)
        truth = vectors @ query
        if space == "l2":
            truth = 2 * truth - (vectors * vectors).sum(axis=1)
        if space == "cosine":
            truth /= np.linalg.norm(query)
        np.testing.assert_allclose(scores, truth[rows], rtol=1e-4, atol=1e-5)
        assert (np.diff(scores) <= 0).all()
        for budget in (0, vectors.nbytes // 5, vectors.nbytes):
            cache = Cache(150, 9, budget)
            for _ in range(2):
                found, _ = run(lazy.search(index, query, 5, 30, cache, key=key), vectors)
                same += np.array_equal(found, rows)
            if budget == vectors.nbytes:
                asked = []
                np.testing.assert_array_equal(
                    run(lazy.search(index, query, 5, 30, cache, key=key), vectors, asked)[0], found
                )
                assert not asked
    assert same >= 0.95 * 72  # another order of following may find another row


@compiled
def test_fetches_are_few_and_short():
    """A batch is asked for when it is longer than ef or nothing is left to follow, never a vector at a time."""
    index, vectors = made(3000, "l2")
    cache = Cache(3000, 16, 0)
    for query in whole(10, 16, 9, "l2"):
        asked = []
        run(lazy.search(index, query, 10, 40, cache, key=key), vectors, asked)
        long = [rows for rows in asked if len(rows) > 40]
        assert len(long) >= 3
        assert max(map(len, asked)) <= 40 + 2 * 4
        assert len(asked) < 40
    assert cache.hits == 0
    assert cache.misses > cache.trips > 0


@pytest.mark.parametrize("n", [0, 1, 2])
def test_small(n):
    index, vectors = made(n, "l2")
    cache = Cache(n, 16, 1000)
    rows, scores = run(lazy.search(index, whole(1, 16, 3, "l2")[0], 5, 10, cache, key=key), vectors)
    assert sorted(rows.tolist()) == list(range(n))
    assert len(scores) == n


@compiled
def test_two_searches_at_once():
    """Both wait for the same vectors; what the first brought the second does not bring in twice."""
    index, vectors = made(300, "ip")
    query = whole(1, 16, 5, "ip")[0]
    cache = Cache(300, 16, 64 * 100)
    alone = run(lazy.search(index, query, 5, 15, Cache(300, 16, 64 * 100), key=key), vectors)
    flows = [lazy.search(index, query, 5, 15, cache, key=key) for _ in range(2)]
    asks, done = [next(flow) for flow in flows], [None, None]
    while None in done:
        for at, flow in enumerate(flows):
            if done[at] is None:
                try:
                    asks[at] = flow.send([vectors[int(name[2:])].tobytes() for name in asks[at].keys])
                except StopIteration as end:
                    done[at] = end.value
    for rows, _ in done:
        assert len(rows) == len(alone[0])
    owners = cache.owners[: cache.used]
    assert len(set(owners.tolist())) == len(owners)
    np.testing.assert_array_equal(cache.slots[owners], np.arange(cache.used))
    np.testing.assert_array_equal(cache.vectors[: cache.used], vectors[owners])


@pytest.mark.parametrize("page", [None, b"", b"short", b"x" * 68])
def test_bad_pages(page):
    index, _ = made(20, "ip")
    flow = lazy.search(index, whole(1, 16, 5, "ip")[0], 5, 15, Cache(20, 16, 640), key=key)
    effect = next(flow)
    with pytest.raises(NookError, match="corrupt"):
        flow.send([page] * len(effect.keys))


def test_bad_queries():
    index, _ = made(20, "ip")
    for query, code in (
        (np.zeros(3), "bad-shape"),
        (np.full(16, np.nan), "bad-vector"),
        (np.full(16, 1e30), "bad-vector"),
    ):
        with pytest.raises(NookError, match=code):
            next(lazy.search(index, query, 5, 15, Cache(20, 16, 640), key=key))
