"""The graph: C against plain Python to the bit, both against the definition, filters, copies, odd shapes, bad input."""

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import kernel
from inglenook.index.graph import Graph, draw
from inglenook.index.hnsw import HNSW, Compiled
from inglenook.index.walk import Plain

BUILT = kernel.library() is not None
compiled = pytest.mark.skipif(not BUILT, reason="wasm/hnsw.c is not compiled")
SPACES = ["ip", "cosine", "l2"]
WAYS = [pytest.param(True, id="python"), pytest.param(False, id="compiled", marks=compiled)]
PARTS = ("codes", "facts", "levels", "places", "links", "upper")


def cloud(n, dim, seed=0, kind="normal"):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, dim))
    if kind == "clustered":
        vectors = np.random.default_rng(0).normal(size=(5, dim))[random.integers(0, 5, n)] * 2 + vectors * 0.3
    if kind == "copies" and n:
        vectors = vectors[random.integers(0, max(1, n // 8), n)]
    if kind == "far":  # all alike but for a little: what codes must not lose
        vectors = vectors + 50
    if kind == "zeros" and n:
        vectors[random.random(n) < 0.3] = 0
    return vectors.astype(np.float32)


def scores_of(vectors, query, space):
    """The definition, in double precision."""
    x, q = vectors.astype(float), query.astype(float)
    if space == "l2":
        return 2 * x @ q - (x * x).sum(axis=1)
    if space == "cosine":
        lengths = np.linalg.norm(x, axis=1)
        return (x @ q) / np.where(lengths > 0, lengths, 1) / (np.linalg.norm(q) or 1)
    return x @ q


def unit(vectors, space):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1) if space == "cosine" else vectors


def recall(index, vectors, *, k=10, ef=64, allow=None, queries=40, exact=True, kind="normal"):
    """The share of answers that score as well as the true ones do."""
    found, kept = 0, np.arange(len(vectors)) if allow is None else np.flatnonzero(allow)
    given = unit(vectors, index.graph.space) if exact else None
    for query in cloud(queries, vectors.shape[1], 77, kind):
        rows, _ = index.search(query, k, ef, allow, given)
        truth = scores_of(vectors, query, index.graph.space)
        worst = np.sort(truth[kept])[-k:][0] if len(kept) >= k else -np.inf
        assert len(set(rows.tolist())) == len(rows) <= k
        assert allow is None or allow[rows].all()
        found += np.count_nonzero(truth[rows] >= worst - 1e-6 * max(1, abs(worst))) / min(k, len(kept))
    return found / queries


@compiled
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["normal", "clustered", "copies", "far", "zeros"])
@pytest.mark.parametrize(("n", "dim"), [(60, 2), (90, 33), (40, 384)])
def test_c_and_python_build_and_walk_the_same_graph(space, kind, n, dim):
    vectors = cloud(n, dim, n, kind)
    fast, slow = (HNSW(dim, space, 4, 20, plain=plain) for plain in (False, True))
    assert isinstance(fast.walker, Compiled)
    assert isinstance(slow.walker, Plain)
    fast.add(vectors)
    slow.add(vectors)
    for (name, mine), theirs in zip(fast.arrays().items(), slow.arrays().values(), strict=True):
        np.testing.assert_array_equal(mine, theirs, name)
    random = np.random.default_rng(1)
    filters = [None, random.random(n) < 0.9, random.random(n) < 0.5, random.random(n) < 0.02, np.zeros(n, bool)]
    for at, query in enumerate(cloud(15, dim, 5, kind)):
        allow = filters[at % len(filters)]
        rows, scores = fast.search(query, 7, 12, allow)
        code, scale, offset = fast.walker.code()
        same, values = slow.walker.search_code(code, scale, offset, ef=12, want=7, allow=allow)
        np.testing.assert_array_equal(rows, same)
        np.testing.assert_array_equal(scores, values)
        exact, values = fast.search(query, 7, 12, allow, unit(vectors, space))
        again, others = slow.search(query, 7, 12, allow, unit(vectors, space))
        np.testing.assert_allclose(values, others, rtol=1e-6, atol=1e-4)
        assert set(exact) == set(again) or np.allclose(values, others, rtol=1e-5)


@compiled
def test_filtered_walks_are_the_same():
    """Filters wide enough, on a graph large enough, that rows are walked through and not sifted."""
    n, dim = 3000, 8
    fast = HNSW(dim, "l2", 4, 30)
    fast.add(cloud(n, dim))
    slow = HNSW.of(fast.graph, plain=True)
    random = np.random.default_rng(3)
    for at, query in enumerate(cloud(12, dim, 5)):
        allow = random.random(n) < (0.3, 0.6, 0.95)[at % 3]
        assert int(allow.sum()) ** 2 > 2 * 4 * 10 * n
        rows, scores = fast.search(query, 5, 10, allow)
        same, values = slow.walker.search_code(*fast.walker.code(), ef=10, want=5, allow=allow)
        np.testing.assert_array_equal(rows, same)
        np.testing.assert_array_equal(scores, values)


@pytest.mark.parametrize("plain", WAYS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["normal", "clustered", "far"])
def test_recall(plain, space, kind):
    n, dim = (120, 12) if plain else (2000, 24)
    vectors = cloud(n, dim, 2, kind)
    if space == "ip":  # of lengths that differ but little: other sets are not for graphs of inner products
        vectors = unit(vectors, "cosine") * np.random.default_rng(3).uniform(0.9, 1.1, (n, 1)).astype(np.float32)
    index = HNSW(dim, space, 8, 60, plain=plain)
    index.add(vectors)
    assert recall(index, vectors, kind=kind, queries=10 if plain else 40) >= 0.95


@compiled
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.9])
def test_filters_keep_recall(space, share):
    vectors = cloud(4000, 16, 4)
    index = HNSW(16, space, 8, 60)
    index.add(vectors)
    for seed in range(3):
        allow = np.random.default_rng(seed).random(4000) < share
        assert recall(index, vectors, allow=allow, queries=20) >= 0.97
    corner = vectors[:, 0] > np.quantile(vectors[:, 0], 1 - share)  # what is allowed lies together, far from the query
    query = np.zeros(16, np.float32)
    query[0] = -4
    rows, _ = index.search(query, 10, 64, corner, unit(vectors, space))
    truth = np.where(corner, scores_of(vectors, query, space), -np.inf)
    assert np.isin(rows, np.argsort(-truth)[:20]).sum() >= min(8, corner.sum())


@pytest.mark.parametrize("plain", WAYS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_small(plain, space, n):
    vectors = cloud(n, 5, 1)
    index = HNSW(5, space, plain=plain)
    assert list(index.add(vectors)) == list(range(n))
    query = cloud(1, 5, 3)[0]
    rows, scores = index.search(query, 10, vectors=unit(vectors, space))
    truth = scores_of(vectors, query, space)
    np.testing.assert_array_equal(rows, np.argsort(-truth))
    np.testing.assert_allclose(scores, np.sort(truth)[::-1], rtol=1e-5, atol=1e-5)
    assert len(index.search(query, 0)[0]) == 0
    again = HNSW.from_arrays(index.arrays(), plain=plain)
    np.testing.assert_array_equal(again.search(query, 10)[0], index.search(query, 10)[0])


@pytest.mark.parametrize("plain", WAYS)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_all_equal(plain, value):
    """A thousand copies are all found, and do not cut off what comes after them."""
    n = 60 if plain else 3000
    vectors = np.full((n + 3, 6), value, np.float32)
    vectors[n:] = cloud(3, 6)
    index = HNSW(6, "l2", 4, 16, plain=plain)
    index.add(vectors)
    rows, _ = index.search(np.full(6, value, np.float32), n, 16)
    assert sorted(rows.tolist()) == list(range(n))
    for row in range(n, n + 3):
        assert index.search(vectors[row], 1, 16)[0][0] == row
    only = np.zeros(n + 3, bool)
    only[[5, n // 2]] = True
    assert sorted(index.search(vectors[n], 5, 16, only)[0].tolist()) == [5, n // 2]
    assert set(index.search(vectors[0], 9, 16, ~only)[0].tolist()).isdisjoint({5, n // 2})


@compiled
def test_copies_are_no_island():
    """Copies fill each other's lists in a graph that links them: a search that begins among them never leaves."""
    random = np.random.default_rng(0)
    vectors = cloud(3000, 8, 9)
    vectors[random.permutation(3000)[:1500]] = vectors[0]
    index = HNSW(8, "l2", 6, 40)
    index.add(vectors)
    assert recall(index, vectors, ef=40) >= 0.97


@compiled
@pytest.mark.parametrize("dim", [1, 2, 3, 15, 16, 17, 31, 32, 100, 1000, 4096])
def test_dimensions(dim):
    vectors = cloud(200, dim, dim)
    index = HNSW(dim, "l2", 8, 50)
    index.add(vectors)
    assert recall(index, vectors, queries=10, ef=100) >= 0.95


def test_wider_than_the_kernel():
    vectors = cloud(20, 4100, 1)
    index = HNSW(4100, "ip", 4, 10)
    index.add(vectors)
    assert isinstance(index.walker, Plain)
    assert recall(index, vectors, queries=3, k=3, ef=20) == 1


@pytest.mark.parametrize("plain", WAYS)
def test_slices_do_not_matter(plain):
    vectors = cloud(100, 9, 6)
    whole = HNSW(9, "cosine", 4, 20, plain=plain)
    whole.add(vectors)
    cut = HNSW(9, "cosine", 4, 20, plain=plain)
    for part in np.array_split(vectors, 7):
        cut.append(part)
        assert cut.link(3) >= 0
    seen = list(cut.linking(1e-4))
    assert seen == sorted(set(seen))
    assert seen[-1] == cut.linked == 100
    stopped = HNSW(9, "cosine", 4, 20, plain=plain)
    stopped.append(vectors)
    for linked in stopped.linking(1e-5):
        if linked > 50:
            break
    kept = {name: part.copy() for name, part in stopped.arrays().items()}
    for part in kept.values():
        part.flags.writeable = False  # as if read from a file
    resumed = HNSW.from_arrays(kept, plain=plain)
    assert 50 < resumed.linked < 100
    rows, _ = resumed.search(vectors[0], 10)
    assert rows[0] == 0
    assert (rows < resumed.linked).all()
    resumed.link()
    for other in (cut, resumed):
        for (name, mine), theirs in zip(whole.arrays().items(), other.arrays().values(), strict=True):
            np.testing.assert_array_equal(mine, theirs, name)


def test_seed_matters_and_levels_are_geometric():
    rows = np.arange(200_000)
    levels = draw(rows, 1, 16)
    assert (levels != draw(rows, 2, 16)).any()
    for level in (1, 2, 3):
        assert abs(np.count_nonzero(levels >= level) / (200_000 / 16**level) - 1) < 4 / np.sqrt(200_000 / 16**level)
    np.testing.assert_array_equal(levels[1000:], draw(rows[1000:], 1, 16))


@pytest.mark.parametrize("plain", WAYS)
def test_bad_input(plain):
    index = HNSW(4, "ip", 4, 10, plain=plain)
    with pytest.raises(NookError, match="bad-shape"):
        index.add(np.zeros((3, 5)))
    for bad in (np.nan, np.inf, -np.inf, 3e38):
        vectors = cloud(5, 4)
        vectors[3, 1] = bad
        with pytest.raises(NookError, match=r"Vector 3.*bad-vector"):
            index.add(vectors)
        assert index.count == 0
    index.add(cloud(30, 4))
    for bad in (np.nan, np.inf, 3e38):
        with pytest.raises(NookError, match="bad-vector"):
            index.search(np.array([0, 0, bad, 0]), 3)
    with pytest.raises(NookError, match="bad-shape"):
        index.search(np.zeros(3), 3)
    with pytest.raises(NookError, match="bad-shape"):
        index.search(np.zeros(4), 3, allow=np.ones(29, bool))
    assert len(index.search(np.zeros(4), 100)[0]) == 30
    with pytest.raises(ValueError, match="space"):
        HNSW(4, "hamming")
    with pytest.raises(ValueError, match="M"):
        HNSW(4, "ip", M=1)


def test_other_numbers_are_taken():
    vectors = cloud(60, 10, 4)
    for kind in (np.float16, np.float64, np.int8):
        index = HNSW(10, "l2", 4, 20)
        given = (vectors * 20).astype(kind)
        index.add(given)
        rows, scores = index.search(given[7], 1, 40, vectors=given)
        truth = scores_of(given.astype(np.float32), given[7].astype(np.float32), "l2")
        assert rows[0] == truth.argmax()
        np.testing.assert_allclose(scores[0], truth.max(), rtol=1e-6)


@compiled
def test_any_number_changed_is_refused_or_harmless():
    """The kernel trusts a graph's arrays, so whatever was read is checked: no change leads a walk astray."""
    index = HNSW(6, "l2", 3, 12)
    vectors = cloud(150, 6, kind="copies")
    index.add(vectors)
    assert (index.graph.facts["twin"] >= 0).any()
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(600):
        arrays = {name: part.copy() for name, part in index.arrays().items()}
        name = list(arrays)[random.integers(len(arrays))]
        raw = arrays[name].view(np.uint8).reshape(-1)
        raw[random.integers(len(raw))] ^= np.uint8(1 << random.integers(8))
        try:
            changed = HNSW.from_arrays(arrays)
        except NookError as error:
            assert error.code == "corrupt"
            refused += 1
            continue
        rows, _ = changed.search(np.ones(6), 20, 30)
        assert len(set(rows.tolist())) == len(rows)
        assert ((rows >= 0) & (rows < 150)).all()
    assert refused > 100
    for name in index.arrays():
        with pytest.raises(NookError, match="corrupt"):
            HNSW.from_arrays({key: part for key, part in index.arrays().items() if key != name})
        with pytest.raises(NookError, match="corrupt"):
            HNSW.from_arrays(index.arrays() | {name: index.arrays()[name][:-1]})


def test_twins_in_a_circle_are_refused():
    index = HNSW(4, "l2", 3, 12)
    index.add(cloud(10, 4))
    arrays = {name: part.copy() for name, part in index.arrays().items()}
    arrays["facts"]["twin"][[3, 4]] = [4, 3]
    with pytest.raises(NookError, match="circle"):
        Graph.from_arrays(arrays)


@compiled
def test_links_are_those_of_the_paper():
    """No list is overfull, holds its own row or a row twice; level l links only to rows that reach it."""
    index = HNSW(10, "cosine", 5, 40)
    index.add(cloud(1500, 10))
    graph = index.graph
    reached = np.zeros(1500, bool)
    for row in range(1500):
        for level in range(graph.levels[row] + 1):
            links = graph.lists_of(row, level)
            kept = links[links >= 0]
            assert (links[len(kept) :] == -1).all()
            assert len(set(kept.tolist())) == len(kept)
            assert row not in kept
            assert (graph.levels[kept] >= level).all()
            reached[kept] = True
    assert reached.mean() > 0.99
