"""Inverted lists: C against numpy, both against all vectors, with filters, from storage, and made in slices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.index import kernel
from inglenook.index.inverted import Dials
from inglenook.index.ivf import IVF, SURE
from inglenook.index.kind import Pieces
from inglenook.index.making import build, building

compiled = pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled")
SPACES = ["ip", "l2", "cosine"]


def clusters(n, dim, seed=0, k=20):
    """Vectors about some centres, as embeddings are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(dim).standard_normal((k, dim))
    return (centres[random.integers(0, k, n)] + 0.7 * random.standard_normal((n, dim))).astype(np.float32)


def scores_of(vectors, query, space):
    vectors, query = vectors.astype(float), query.astype(float)
    if space == "l2":
        return -((vectors - query) ** 2).sum(1)
    if space == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)[:, None]
        query = query / np.linalg.norm(query)
    return vectors @ query


def ordered(ivf, vectors):
    """The vectors to attach."""
    rows = vectors[ivf.permutation]
    return rows / np.maximum(np.linalg.norm(rows, axis=1), 1e-30)[:, None] if ivf.space == "cosine" else rows


def twins(ivf):
    """The same index, asked by numpy."""
    return IVF.from_arrays(ivf.arrays(), plain=True)


def recall(ivf, vectors, queries, allow=None, k=10, **how):
    hits = total = 0
    for query in queries:
        scores = scores_of(vectors, query, ivf.space)
        if allow is not None:
            scores = np.where(allow, scores, -np.inf)
        truth = np.argsort(-scores, kind="stable")[: min(k, np.isfinite(scores).sum())]
        rows, _ = ivf.candidates(query, k=k, allow=None if allow is None else allow[ivf.permutation], **how)
        hits, total = hits + len(np.intersect1d(ivf.permutation[rows], truth)), total + len(truth)
    return hits / total


@compiled
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 400), dim=st.sampled_from([2, 17, 64, 130]), lists=st.integers(1, 9), want=st.integers(1, 80),
    space=st.sampled_from(SPACES), fine=st.booleans(), exact=st.booleans(), sure=st.sampled_from([0.0, SURE]),
    allowed=st.sampled_from([None, 0.0, 0.02, 0.5, 0.9]), share=st.sampled_from([0.2, 1.0]), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_kernel_is_numpy(*, n, dim, lists, want, space, fine, exact, sure, allowed, share, seed):
    """The same rows but where estimates are equal to float32's precision."""
    vectors = clusters(n, dim, seed)
    ivf = build(vectors, space=space, lists=lists, fine=fine, seed=seed)
    ivf.dials = Dials(share, want)
    plain = twins(ivf)
    assert plain.dials == ivf.dials
    allow = None if allowed is None else np.random.default_rng(seed).random(n) < allowed
    for asked in (ivf, plain):
        asked.attach(ordered(ivf, vectors) if exact else None)
    for query in clusters(3, dim, seed + 1):
        how = {"k": 5, "allow": allow, "sure": sure}
        (rows, scores), (plain_rows, plain_scores) = (
            asked.search(query, want=want, **how) if exact else asked.candidates(query, want, **how)
            for asked in (ivf, plain)
        )
        size = np.abs(scores_of(vectors, query, space)).max() + query @ query + 1
        mine, theirs = (asked.lists(query, k=5, allow=allow) for asked in (ivf, plain))
        if not np.array_equal(mine, theirs):  # those that promise the same may change places, and others be enough
            promises, least = plain._probe.promises(query), min(len(mine), len(theirs))
            np.testing.assert_allclose(promises[mine[:least]], promises[theirs[:least]], atol=5e-3 * size)
            continue
        assert len(rows) == len(set(rows.tolist())) and (np.diff(scores) <= 0).all()
        assert allow is None or allow[rows].all()
        assert abs(len(rows) - len(plain_rows)) <= 2
        both, mine, theirs = np.intersect1d(rows, plain_rows, return_indices=True)
        assert len(both) >= 0.9 * len(rows) - 2
        np.testing.assert_allclose(scores[mine], plain_scores[theirs], atol=2e-3 * size)
        if exact:
            np.testing.assert_allclose(
                scores, scores_of(vectors[ivf.permutation[rows]], query, space), atol=1e-5 * size
            )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("n", "dim"), [(1, 64), (31, 7), (32, 64), (33, 300), (3000, 2), (3000, 96), (200, 4096)])
def test_recall_is_what_was_asked_for(space, n, dim):
    vectors = clusters(n, dim, 1)
    ivf = build(vectors, space=space)
    assert ivf.ntotal == n and sorted(ivf.permutation.tolist()) == list(range(n))
    assert (np.diff(ivf.start) > 0).all() and ivf.start[-1] == n
    queries = clusters(40, dim, 2)
    assert recall(ivf, vectors, queries) >= 0.93
    assert recall(ivf, vectors, queries, nprobe=ivf.nlist) >= 0.97
    ivf.attach(ordered(ivf, vectors))
    for query in queries[:5]:
        rows, scores = ivf.search(query, 10, nprobe=ivf.nlist)
        best = np.sort(scores_of(vectors, query, space))[::-1][:10]
        assert len(rows) == min(n, 10)
        assert scores[0] == pytest.approx(best[0], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
def test_filters_keep_recall(space, share):
    vectors, queries = clusters(6000, 48, 3, k=60), clusters(30, 48, 4, k=60)
    ivf = build(vectors, space=space)
    allow = np.random.default_rng(5).random(len(vectors)) < share
    assert recall(ivf, vectors, queries, allow) >= 0.93


@pytest.mark.parametrize("space", SPACES)
def test_filters_that_leave_a_far_corner(space):
    """All that is allowed lies in a few lists to which the query would not come by itself."""
    vectors, queries = clusters(6000, 48, 3, k=60), clusters(20, 48, 4, k=60)
    ivf, recalls = build(vectors, space=space), []
    for query in queries:
        centre = vectors[np.argmin(scores_of(vectors, query, space))]
        allow = np.zeros(len(vectors), bool)
        allow[np.argsort(-scores_of(vectors, centre, "l2"))[:300]] = True
        recalls.append(recall(ivf, vectors, query[None], allow))
    assert np.mean(recalls) >= 0.93


def test_nothing_allowed():
    ivf = build(clusters(200, 16))
    rows, scores = ivf.candidates(clusters(1, 16)[0], allow=np.zeros(200, bool))
    assert len(rows) == len(scores) == 0
    assert len(ivf.lists(clusters(1, 16)[0], allow=np.zeros(200, bool))) == 0


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
@pytest.mark.parametrize("fine", [True, False])
def test_codes_from_storage(space, plain, fine):
    """Lists, then their blocks, then rows: the same as with the codes in memory."""
    ivf = build(clusters(900, 70, 6), space=space, lists=12, fine=fine)
    ivf.dials = Dials(0.4, 60)
    arrays = ivf.arrays()
    stored = arrays.pop("blocks")
    bare = IVF.from_arrays(arrays, plain=plain)
    allow = np.random.default_rng(1).random(900) < 0.3
    for query in clusters(6, 70, 7):
        for chosen in (None, allow):
            lists = bare.lists(query, allow=chosen)
            pages = [stored[bare.first[n] : bare.first[n + 3]].tobytes() for n in (0, 3, 6, 9)]  # of three lists each
            offsets = (bare.first[lists] - bare.first[lists // 3 * 3]) * np.int64(bare.block_bytes)
            pieces = Pieces(lists, pages, lists // 3, offsets)
            got, want = bare.scan(query, pieces, allow=chosen), ivf.candidates(query, allow=chosen)
            if plain:
                assert len(np.intersect1d(got[0], want[0])) >= 0.95 * len(want[0])
            else:
                np.testing.assert_array_equal(got[0], want[0])
                np.testing.assert_array_equal(got[1], want[1])
    with pytest.raises(ValueError, match="not the blocks"):
        bare.scan(query, pieces._replace(pages=[page[:-1] for page in pages], offsets=offsets + 1))


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
def test_nothing_and_equals(plain):
    for space in SPACES:
        empty = IVF.from_arrays(build(np.zeros((0, 12), np.float32), space=space).arrays(), plain=plain)
        assert empty.ntotal == 0 and len(empty.candidates(np.ones(12, np.float32))[0]) == 0
        same = build(np.tile(clusters(1, 12), (100, 1)), space=space)
        assert same.nlist == 1
        rows, scores = IVF.from_arrays(same.arrays(), plain=plain).candidates(clusters(1, 12)[0], 7)
        assert rows.tolist() == list(range(7)) and np.ptp(scores) == 0  # of equals the first
        zeros = build(np.zeros((40, 12), np.float32), space=space)
        rows, scores = IVF.from_arrays(zeros.arrays(), plain=plain).candidates(np.zeros(12, np.float32), 9)
        assert rows.tolist() == list(range(9)) and not scores.any()


def test_same_seed_same_bytes():
    vectors = clusters(700, 40, 9)
    first, again = (build(vectors.astype(np.float16), seed=4).arrays() for _ in range(2))
    assert first.keys() == again.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(first["bits"], build(vectors, seed=5).arrays()["bits"])


def test_a_build_goes_on_where_it_was():
    """Stopped at any step, with its state kept, it ends as one that was not."""
    vectors = clusters(9000, 24, 2)
    whole = build(vectors, lists=30).arrays()
    steps = list(building(vectors, lists=30))
    done = [step.done for step in steps]
    assert done == sorted(done) and done[0] > 0 and done[-1] == 1
    assert [*dict.fromkeys(step.stage for step in steps)] == ["train", "assign", "encode", "tune"]
    for stop in {1, len(steps) // 2, len(steps) - 3, *range(len(steps) - 8, len(steps) - 5)}:
        state = {}
        work = building(vectors, lists=30, state=state)
        for _ in range(stop):
            next(work)
        work.close()
        state = {name: array.copy() for name, array in state.items()}  # as if stored and read again
        work = building(vectors, lists=30, state=state)
        with pytest.raises(StopIteration) as end:
            while True:
                next(work)
        for name, array in end.value.value.arrays().items():
            np.testing.assert_array_equal(array, whole[name])


class Slices:
    """Vectors that can only be read by slices."""

    def __init__(self, vectors):
        self._vectors, self.shape = vectors, vectors.shape

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._vectors[rows]


def test_vectors_are_read_by_slices():
    vectors = clusters(500, 20)
    mine, theirs = build(Slices(vectors)).arrays(), build(vectors).arrays()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_bad_input():
    vectors = clusters(300, 16)
    vectors[257, 3] = np.nan
    with pytest.raises(NookError, match="257") as caught:
        build(vectors)
    assert caught.value.code == "bad-vector"
    ivf = build(clusters(300, 16))
    for bad in (np.nan, np.inf):
        for asked in (ivf, twins(ivf)):
            with pytest.raises(NookError) as caught:
                asked.candidates(np.full(16, bad, np.float32))
            assert caught.value.code == "bad-vector"
            with pytest.raises(NookError):
                asked.lists(np.full(16, bad, np.float32))
    with pytest.raises(NookError) as caught:
        ivf.candidates(np.ones(15, np.float32))
    assert caught.value.code == "bad-shape"
    with pytest.raises(NookError):
        build(np.ones((5, 1), np.float32))
    with pytest.raises(ValueError, match="allow"):
        ivf.candidates(np.ones(16, np.float32), allow=np.ones(299, bool))


def test_bounds_drop_rows_but_no_neighbours():
    vectors, queries = clusters(2000, 100, 1), clusters(30, 100, 2)
    ivf = build(vectors, fine=False)
    ivf.dials = Dials(1.0, 500)
    assert recall(ivf, vectors, queries, sure=SURE) >= recall(ivf, vectors, queries) - 0.01
    kept = [len(ivf.candidates(query, sure=SURE)[0]) for query in queries]
    assert np.mean(kept) < 350
