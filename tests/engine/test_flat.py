"""Flat search: the kernel against numpy, numpy against arithmetic, and both against every order of adding."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.index import kernel
from inglenook.index.flat import Flat
from inglenook.index.quantise import quantise

COMPILED = kernel.load()
SCANNERS = [
    pytest.param(kernel.Plain(), id="numpy"),
    pytest.param(
        COMPILED, id="compiled", marks=pytest.mark.skipif(COMPILED is None, reason="wasm/vectors.c is not compiled")
    ),
]
ANN = Path(os.environ.get("INGLENOOK_ANN", Path(__file__).parents[2].parent / "shared" / "data" / "ann"))


def cloud(n, dim, seed=0, kind="normal"):
    random = np.random.default_rng(seed)
    if kind == "clustered":  # near duplicates, nearer to each other than int8 can tell
        centres = random.normal(size=(3, dim))
        return (centres[random.integers(0, 3, n)] + 1e-4 * random.normal(size=(n, dim))).astype(np.float32)
    if kind == "sparse":
        return (random.normal(size=(n, dim)) * (random.random((n, dim)) < 0.05)).astype(np.float32)
    if kind == "equal":
        return np.tile(random.normal(size=dim).astype(np.float32), (n, 1))
    if kind == "peaked":  # one large number per vector: the codes of all others are coarse
        vectors = random.normal(size=(n, dim)).astype(np.float32)
        vectors[:, 0] += 100
        return vectors
    return random.normal(size=(n, dim)).astype(np.float32)


def truth(vectors, ids, query, k, space, *, allow=None):
    """The definition, in double precision."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if space == "cosine":
        lengths = np.linalg.norm(vectors, axis=1)
        vectors = vectors / np.where(lengths > 0, lengths, 1)[:, None]
        query = query / (np.linalg.norm(query) or 1)
    if allow is not None:
        keep = (ids < len(allow)) & allow[np.minimum(ids, len(allow) - 1)]
        vectors, ids = vectors[keep], ids[keep]
    scores = vectors @ query
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("space", ["cosine", "ip"])
@pytest.mark.parametrize("kind", ["normal", "clustered", "sparse", "peaked"])
@pytest.mark.parametrize(("n", "dim"), [(1, 3), (70, 16), (1500, 33), (900, 384)])
def test_exact(scanner, space, kind, n, dim):
    vectors = cloud(n, dim, 1, kind)
    ids = np.random.default_rng(2).permutation(3 * n)[:n]
    flat = Flat(dim, space, scanner)
    flat.add_items(vectors, ids)
    for seed in range(5):
        query = cloud(2, dim, 100 + seed, kind)[0] if seed else vectors[n // 2]
        want, scores = truth(vectors, ids, query, 10, space)
        got, got_scores = flat.knn_query(query, 10)
        size = 1.0 if space == "cosine" else float(np.linalg.norm(query) * np.linalg.norm(vectors, axis=1).max())
        np.testing.assert_allclose(got_scores, scores, rtol=0, atol=1e-6 * size)
        everyone, every_score = truth(vectors, ids, query, n, space)
        exact = dict(zip(everyone.tolist(), every_score.tolist()))
        for mine, right in zip(got.tolist(), want.tolist(), strict=True):  # apart only where float32 sees a tie
            assert mine == right or abs(exact[mine] - exact[right]) < 1e-6 * size
        assert (np.diff(got_scores) <= 0).all()


@pytest.mark.skipif(COMPILED is None, reason="wasm/vectors.c is not compiled")
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 300), dim=st.integers(1, 70), want=st.integers(1, 80), seed=st.integers(0, 10**6),
    allowed=st.floats(0, 1), filtered=st.booleans(), kind=st.sampled_from(["normal", "equal", "sparse"]),
)  # fmt: skip
def test_kernel_is_numpy(*, n, dim, want, seed, allowed, filtered, kind):
    """The same rows, bounds and scores, ties and filters included."""
    random = np.random.default_rng(seed)
    flat = Flat(dim, "ip", COMPILED)
    vectors = cloud(n, dim, seed, kind)
    flat.add_items(vectors, random.permutation(2 * n)[:n])
    query = cloud(1, dim, seed + 1)[0]
    allow = random.random(int(2 * n * random.random())) < allowed if filtered else None
    code = quantise(query[None])
    arguments = (flat._columns, flat.count, code, float(np.linalg.norm(query)))
    rows, bounds = COMPILED.scan(*arguments, want=want, allow=allow)
    plain_rows, plain_bounds = kernel.Plain().scan(*arguments, want=want, allow=allow)
    np.testing.assert_array_equal(rows, plain_rows)
    np.testing.assert_array_equal(bounds, plain_bounds)
    if len(rows):
        scores = COMPILED.confirm(flat._columns, query, rows)
        np.testing.assert_allclose(scores, kernel.Plain().confirm(flat._columns, query, rows), rtol=2e-7, atol=1e-30)


@pytest.mark.skipif(COMPILED is None, reason="wasm/vectors.c is not compiled")
@pytest.mark.parametrize("kind", ["normal", "clustered", "sparse", "peaked", "equal"])
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-20, 1, 1e18])
def test_codes_of_the_kernel_are_numpys(kind, scale):
    for dim in (1, 16, 77):
        vectors = cloud(200, dim, 8, kind) * np.float32(scale)
        got, want = COMPILED.quantise(vectors), quantise(vectors)
        np.testing.assert_array_equal(got.codes, want.codes)
        np.testing.assert_array_equal(got.scale, want.scale)
        size = np.abs(vectors).max() * np.sqrt(dim)
        np.testing.assert_allclose(got.error, want.error, rtol=1e-3, atol=1e-6 * size + 1e-9)


@pytest.mark.parametrize("kind", ["normal", "clustered", "sparse", "peaked", "equal"])
def test_bound_holds(kind):
    vectors = cloud(500, 50, 3, kind)
    flat = Flat(50, "ip")
    flat.add_items(vectors, np.arange(500))
    for query in cloud(20, 50, 4, kind):
        _, ceiling = flat.candidates(query, 20)
        rows, _ = flat.candidates(query, 20)
        outside = np.setdiff1d(np.arange(500), rows)
        assert (vectors[outside].astype(float) @ query.astype(float)).max() <= ceiling


@pytest.mark.parametrize("scanner", SCANNERS)
def test_ties_do_not_depend_on_history(scanner):
    base = cloud(40, 24, 5)
    vectors = np.repeat(base, 30, axis=0)
    ids = np.arange(len(vectors))
    query = base[7] + base[8]
    answers = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(ids))
        flat = Flat(24, kernel=scanner)
        for part in np.array_split(order, seed + 1):
            flat.add_items(vectors[part], ids[part])
        answers.append(flat.knn_query(query, 50))
    for found, scores in answers:
        np.testing.assert_array_equal(found, answers[0][0])
        np.testing.assert_array_equal(scores, answers[0][1])
    blocks = answers[0][0] // 30
    assert all((np.diff(answers[0][0][blocks == block]) == 1).all() for block in set(blocks))


@pytest.mark.parametrize("scanner", SCANNERS)
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 10**6), st.integers(1, 40)), max_size=12))
def test_adding_replacing_deleting(scanner, steps):
    flat, model, dim = Flat(12, "ip", scanner), {}, 12
    for adding, seed, size in steps:
        ids = np.random.default_rng(seed).integers(0, 120, size)
        if adding:
            vectors = cloud(size, dim, seed)
            flat.add_items(vectors, ids)
            model |= dict(zip(ids.tolist(), vectors))
        else:
            flat.mark_deleted(ids)
            model = {i: v for i, v in model.items() if i not in set(ids.tolist())}
    assert flat.count == len(model)
    assert sorted(flat.ids.tolist()) == sorted(model)
    query = cloud(1, dim, 9)[0]
    found, scores = flat.knn_query(query, 8)
    if model:
        want, _ = truth(np.array(list(model.values())), np.array(list(model)), query, 8, "ip")
        np.testing.assert_array_equal(found, want)
        np.testing.assert_allclose(scores, [model[i] @ query for i in found.tolist()], rtol=1e-4, atol=1e-5)
    else:
        assert not len(found)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_filter(scanner):
    vectors, ids = cloud(800, 20, 6), np.arange(800) + 5
    flat = Flat(20, "ip", scanner)
    flat.add_items(vectors, ids)
    query = cloud(1, 20, 7)[0]
    for share in (0, 0.004, 0.3, 1):
        allow = np.random.default_rng(8).random(700) < share
        found, _ = flat.knn_query(query, 10, allow)
        np.testing.assert_array_equal(found, truth(vectors, ids, query, 10, "ip", allow=allow)[0])
        assert found.size == 0 or found.max() < 700
    assert not len(flat.knn_query(query, 10, np.zeros(0, bool))[0])


def test_many_equals_beyond_the_first_candidates():
    """A thousand copies of one boilerplate passage: the search widens until the answer is proven."""
    vectors = np.concatenate([cloud(1000, 30, 1, "equal"), cloud(200, 30, 2)])
    flat = Flat(30, "cosine")
    flat.add_items(vectors, np.arange(1200)[::-1].copy())
    found, scores = flat.knn_query(vectors[0], 12)
    np.testing.assert_array_equal(found, np.arange(200, 212))
    assert len(set(scores.tolist())) == 1


def test_memory_grows_and_shrinks():
    flat = Flat(64)
    for start in range(0, 5000, 100):
        flat.add_items(cloud(100, 64, start), np.arange(start, start + 100))
    assert flat.count == 5000
    used = 5000 * (64 + 64 * 4 + 4 + 4 + 8 + 4)
    assert used <= flat.memory <= 1.6 * used
    before = flat.memory
    flat.mark_deleted(np.arange(4900))
    assert flat.memory < before / 4
    np.testing.assert_array_equal(np.sort(flat.ids), np.arange(4900, 5000))
    assert flat.knn_query(cloud(1, 64)[0], 3)[0].min() >= 4900


def test_odd_input():
    flat = Flat(4)
    assert flat.knn_query(np.ones(4), 5)[0].shape == (0,)
    flat.add_items(np.zeros((0, 4)), np.zeros(0, int))
    flat.add_items(np.array([[0, 0, 0, 0], [1, 0, 0, 0]]), np.array([0, 1]))
    found, scores = flat.knn_query(np.array([1.0, 0, 0, 0]), 5)
    assert found.tolist() == [1, 0] and scores.tolist() == [1, 0]
    assert flat.knn_query(np.zeros(4), 1)[1].tolist() == [0]
    assert flat.knn_query(np.ones(4), 0)[0].shape == (0,)
    with pytest.raises(NookError, match="finite"):
        flat.add_items(np.array([[np.nan, 0, 0, 0]]), np.array([3]))
    with pytest.raises(ValueError, match="shape"):
        flat.knn_query(np.ones(5), 1)
    with pytest.raises(ValueError, match="negative"):
        flat.add_items(np.ones((1, 4)), np.array([-1]))
    assert flat.count == 2
    flat.add_items(np.array([[1, 1, 0, 0], [0, 1, 0, 0]]), np.array([1, 1]))  # the last of equal ids counts
    assert flat.count == 2 and flat.knn_query(np.array([0, 1.0, 0, 0]), 1)[1].tolist() == [1]


@pytest.mark.skipif(not ANN.is_dir(), reason="no embeddings in INGLENOOK_ANN or ../shared/data/ann")
@pytest.mark.parametrize("scanner", SCANNERS)
def test_recall_on_real_embeddings(scanner):
    """10,000 MiniLM embeddings, 500 queries: recall@10 is 1, and the first candidates prove it in 99 of 100."""
    vectors = np.load(ANN / "minilm_100k_f16.npy", mmap_mode="r")[:10000].astype(np.float32)
    queries, best = np.load(ANN / "queries_f32.npy"), np.load(ANN / "truth_ip_10000.npy")
    if isinstance(scanner, kernel.Plain):
        queries = queries[:20]
    flat = Flat(384, "ip", scanner)
    flat.add_items(vectors, np.arange(10000))
    proven = 0
    for query, want in zip(queries, best):
        found, _ = flat.knn_query(query, 10)
        scores = vectors[want[:10]].astype(float) @ query.astype(float)
        missed = set(want[:10].tolist()) - set(found.tolist())
        got = vectors[found].astype(float) @ query.astype(float)
        assert not missed or abs(got.min() - scores.min()) < 1e-6
        rows, ceiling = flat.candidates(query, 64)
        proven += bool(np.sort(flat.confirm(query, rows))[-10] > ceiling)
    assert proven >= 0.99 * len(queries)
