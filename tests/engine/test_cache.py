"""The cache of vectors: what stays under each policy, against a model of a few lines; and the search for its size."""

import numpy as np
import pytest
from inglenook.index.cache import AGE, POLICIES, Cache, Fit, Trial
from inglenook.index.recent import EACH, Recent
from inglenook.index.recent import POLICIES as PAGED

DIM = 3


def vectors_of(rows):
    return np.repeat(np.asarray(rows, np.float32)[:, None], DIM, axis=1)


def use(cache, rows):
    """What a walk does: keys of what is used rise, and what was missing comes in."""
    rows = np.unique(np.asarray(rows, np.int32))
    there = cache.has(rows)
    for row in (*rows[there], *rows[~there]):
        if cache.policy == "lru":
            cache.clock += 1
            cache.keys[row] = cache.clock
        if cache.policy == "often":
            cache.keys[row] += 1
    cache.put(rows[~there], vectors_of(rows[~there]))
    cache.count(int(there.sum()), int((~there).sum()), int((~there).any()))
    return int((~there).sum())


def consistent(cache):
    owners = cache.owners[: cache.used]
    assert cache.used <= cache.room
    assert len(set(owners.tolist())) == cache.used
    np.testing.assert_array_equal(cache.slots[owners], np.arange(cache.used))
    assert np.count_nonzero(cache.slots >= 0) == cache.used
    np.testing.assert_array_equal(cache.vectors[: cache.used], vectors_of(owners))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("room", [0, 1, 7, 50, 200])
def test_policies_are_what_they_say(policy, room):
    """Against a list sorted by key: the same rows are there after each batch."""
    random = np.random.default_rng(room)
    cache = Cache(200, DIM, room * 4 * DIM, policy)
    assert cache.room == room
    kept = {}  # row → key when it was last looked at
    for _ in range(300):
        rows = random.zipf(1.3, random.integers(1, 30)) % 200
        before = {row for row in range(200) if cache.slots[row] >= 0}
        missed = use(cache, rows)
        consistent(cache)
        after = {row for row in range(200) if cache.slots[row] >= 0}
        new = set(rows.tolist()) - before
        assert missed == len(new)
        kept = {row: cache.keys[row] for row in before | new}
        assert len(after) == min(room, len(kept))
        if room and cache._uses:  # right after counts were halved ties are wider
            gone = kept.keys() - after
            assert after <= kept.keys()
            assert not gone or max(kept[row] for row in gone) <= min(kept[row] for row in after)


def test_fifo_lru_and_often_differ_as_they_should():
    for policy, stays in (("fifo", {2, 3, 4}), ("lru", {1, 3, 4}), ("often", {1, 2, 3})):
        cache = Cache(10, DIM, 3 * 4 * DIM, policy)
        for row in (1, 2, 3, 3, 2, 2, 3, 1, 1, 1, 4):
            use(cache, [row])
        have = {row for row in range(10) if cache.slots[row] >= 0}
        if policy == "lru":
            assert have == {1, 3, 4}
        else:
            assert have == stays


def test_often_forgets():
    """What was used much long ago gives way to what is used now."""
    cache = Cache(300, DIM, 20 * 4 * DIM, "often")
    for _ in range(200):
        use(cache, range(20))
    for _ in range(60 * AGE):
        use(cache, range(100, 120))
    assert cache.has(np.arange(100, 120, dtype=np.int32)).all()


def test_often_is_better_than_lru_where_uses_are_uneven():
    missed = {}
    for policy in POLICIES:
        random = np.random.default_rng(1)
        cache = Cache(2000, DIM, 200 * 4 * DIM, policy)
        missed[policy] = sum(use(cache, random.zipf(1.1, 60) % 2000) for _ in range(400))
        assert missed[policy] == cache.misses
        assert cache.trips <= 400
    assert missed["often"] < 0.9 * missed["lru"] < 0.9 * missed["fifo"] * 1.05


@pytest.mark.parametrize("policy", POLICIES)
def test_another_budget(policy):
    cache = Cache(100, DIM, 40 * 4 * DIM, policy)
    for start in range(0, 60, 5):
        use(cache, range(start, start + 5))
    keys = {row: cache.keys[row] for row in range(100) if cache.slots[row] >= 0}
    for room in (40, 13, 0, 25):
        cache.fit(room * 4 * DIM + 3)
        assert cache.room == room
        assert cache.budget == room * 4 * DIM
        consistent(cache)
        best = sorted(keys.values(), reverse=True)[: cache.used]
        assert sorted((int(cache.keys[row]) for row in cache.owners[: cache.used]), reverse=True) == best
    use(cache, range(70, 80))
    consistent(cache)
    assert cache.memory >= cache.budget


def test_unknown_policy():
    with pytest.raises(ValueError, match="policy"):
        Cache(1, 1, 1, "random")


# ── Algorithm 2


def measure(room, *, n=10_000, visited=500.0, fetch_ms=2.0, compute_ms=3.0):
    """The paper's model: fetches fall linearly from `visited` (a cache of one) to none (a cache of all)."""
    fetches = visited * (n - room) / (n - 1)
    return Trial(room, fetches, visited, compute_ms + fetches * fetch_ms, fetch_ms)


def test_the_smallest_cache_that_holds_the_latency_is_found():
    fit = Fit(10_000, share=0.0, target_ms=100.0)
    tried = []
    while fit.next is not None:
        tried.append(fit.next)
        fit.measured(measure(fit.next))
    assert tried[0] == 10_000
    assert measure(fit.best).fetches <= 50
    assert measure(fit.best - 25).fetches > 50
    assert fit.best < 9_010
    assert fit.best in tried


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_share_of_time_spent_fetching_goes_lower(share):
    fit = Fit(10_000, share=share, target_ms=10.0)
    while fit.next is not None:
        fit.measured(measure(fit.next, compute_ms=200))
    said = measure(fit.best, compute_ms=200)
    assert said.fetches * said.fetch_ms <= max(10, share * said.query_ms) * 1.001
    assert fit.best < 9_990


def test_a_cache_that_is_too_slow_at_once_stays_the_largest():
    fit = Fit(100, target_ms=1.0, share=0.1)
    assert fit.measured(Trial(100, 50, 60, 100.0, 2.0)) is None
    assert fit.next is None
    assert fit.best == 100
    assert fit.overrun(1000) is None


def test_fetching_that_costs_nothing_ends_at_one():
    fit = Fit(1000, target_ms=1e9)
    steps = 0
    while fit.next is not None:
        fit.measured(measure(fit.next, n=1000))
        steps += 1
    assert fit.best == 1
    assert steps < 5


def test_rolling_back():
    """At run time, a query that fetches more than was allowed leads back to the cache before."""
    fit = Fit(10_000, share=0.0, target_ms=100.0)
    while fit.next is not None:
        fit.measured(measure(fit.next))
    sizes = [size for size, _ in fit.kept]
    assert len(sizes) >= 2
    assert fit.overrun(49) is None
    assert fit.best == sizes[-1]
    assert fit.overrun(51) == sizes[-2] == fit.best


# ── pages


def filled(policy, trace, room=40):
    """A cache of so many pages after a trace of searches, of which each takes what it needs and gives it back."""
    cache = Recent(room * (100 + EACH), policy)
    for keys in trace:
        here = cache.take(keys)
        cache.back(here)
        cache.put({key: bytes(100) for key in keys if key not in here})
        assert cache.size == len(cache._pages) * (100 + EACH) <= cache.budget
    return cache


def test_pages_that_are_used_often_stay():
    """Of a trace like that of searches, a tenth fewer pages are read than if the oldest went; and what was used much
    long ago goes at last."""
    random = np.random.default_rng(3)
    share = 1 / np.arange(1, 201)
    needs = [random.integers(0, 3000, 12) for _ in share]
    trace = [[str(page) for page in set(needs[n])] for n in random.choice(200, 3000, p=share / share.sum())]
    missed = {policy: filled(policy, trace, 200).misses for policy in PAGED}
    assert missed["often"] < 0.9 * missed["lru"]
    old, new = [str(n) for n in range(30)], [str(n) for n in range(100, 140)]
    cache = filled("often", [*[old] * 300, *[new] * 5000])
    assert sum(key in cache._pages for key in new) > 30


@pytest.mark.parametrize("policy", PAGED)
def test_a_smaller_cache_of_pages(policy):
    cache = filled(policy, [["a", "b"], ["b", "c"], ["b"]], 3)
    assert (cache.hits, cache.misses) == (2, 3)
    cache.fit(100 + EACH)
    assert list(cache._pages) == ["b"] and cache.size == 100 + EACH
    here = cache.take(["b"])
    cache.fit(100)
    cache.back(here)  # there is no room for it any more
    assert cache.size == 0 and not cache._pages
    cache.put({"d": bytes(300)})  # larger than all of it
    cache.fit(0)
    assert cache.size == 0 and not cache.take(["b"])
    with pytest.raises(ValueError, match="policy"):
        Recent(1, "fifo")
