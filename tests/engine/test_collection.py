"""The live index: adding, deleting, filters, all forms of vectors, housekeeping, bad input, damage."""

from itertools import pairwise

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, directory, planner, segment
from inglenook.index.collection import Collection
from inglenook.index.drive import run
from inglenook.index.flat import Flat
from inglenook.index.form import Form
from inglenook.index.store import MemoryStore

DIM = 16


class Durable(MemoryStore):
    """A dictionary that counts as storage."""


@pytest.fixture
def small(monkeypatch):
    """Heads, pages and merges of a few rows."""
    for name, value in {"HEAD_ROWS": 50, "BATCHES": 20, "TIER": 3, "FEW": 8}.items():
        monkeypatch.setattr(planner, name, value)
    for name, value in {"PAGE": 300, "IDS": 64}.items():
        monkeypatch.setattr(segment, name, value)
    for name, value in {"CHUNK": 512, "SMALL": 64, "PIECES": 512}.items():
        monkeypatch.setattr(directory, name, value)


def cloud(n, dim=DIM, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def begun(store, space="cosine", dtype="f4", dim=DIM):
    collection = Collection("a")
    run(collection.create(Form(dim, space, dtype)), store)
    return collection


def found(collection, store, query, k, **options):
    [hits] = run(collection.search(query, k, **options), store)
    return hits


@pytest.mark.parametrize("space", ["cosine", "ip"])
def test_as_the_exact_index(space, small):
    store, flat = Durable(), Flat(DIM, space)
    collection = begun(store, space)
    random = np.random.default_rng(1)
    for step in range(12):
        ids = random.integers(0, 300, 40)
        vectors = cloud(40, seed=step)
        for index in (flat,):
            index.add_items(vectors, ids)
        run(collection.add(vectors, ids), store)
        gone = random.integers(0, 300, 10)
        flat.mark_deleted(gone)
        run(collection.delete(gone), store)
        run(collection.maintain(), store)
        assert collection.count == flat.count and set(run(collection.ids(), store)) == set(flat.ids)
        allow = random.random(300) < (0.02, 0.3, 0.9)[step % 3]
        for query in cloud(4, seed=100 + step):
            for only in (None, allow):
                ids, scores = flat.exact(query, 7, only)
                hits = found(collection, store, query, 7, allow=None if only is None else lambda i, a=only: a[i])
                assert hits.ids.tolist() == ids.tolist() and np.allclose(hits.scores, scores, rtol=2e-6)
    assert len(collection.segments) > 1 and collection.stats().queries and collection.stats().trips_at(1) >= 1


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("seed", range(6))
def test_one_segment_in_memory_answers_at_once_what_the_long_way_says(space, seed, monkeypatch):
    """Random histories, equal vectors and zeros among them. Where rows that are nearer by less than float32 tells
    change places, either order is right; looked at one more row, the short way may find a nearer one."""
    monkeypatch.setattr(planner, "LISTS", 200)
    random = np.random.default_rng(seed)
    collection = Collection("a", durable=False)
    run(collection.create(Form(DIM, space)), None)
    centres = cloud(30, seed=seed) * 2
    hits = same = asked = longer = 0
    for _ in range(4):
        vectors = centres[random.integers(0, 30, 400)] + cloud(400, seed=random.integers(1 << 30))
        vectors[random.integers(0, 400, 40)] = vectors[random.integers(0, 400, 40)]
        vectors[random.integers(0, 400, 2)] = 0
        run(collection.add(vectors, random.permutation(3000)[:400]), None)
        run(collection.maintain(everything=True), None)
        run(collection.delete(random.integers(0, 3000, random.choice([0, 200]))), None)
        [segment] = collection.segments
        assert segment.part.kind == "ivf" and segment.confirming and not collection.head.count
        allowed = random.random(3000) < 0.7
        for allow in (None, lambda ids, allowed=allowed: allowed[ids]):
            for k in (1, 10, 2000):
                queries = np.concatenate([vectors[:3] * 3, cloud(4, seed=k), np.zeros((1, DIM), np.float32)])
                monkeypatch.setattr(segment.kind, "candidates", counted(segment.kind.candidates, calls := []))
                short = run(collection.search(queries, k, allow=allow), None)
                asked, longer = asked + len(queries), longer + len(calls)
                with monkeypatch.context() as patch:
                    patch.setattr(collection, "at_once", lambda *_, **__: [])
                    long = run(collection.search(queries, k, allow=allow), None)
                for query, one, other in zip(collection.form.queries(queries), short, long, strict=True):
                    assert len(one.ids) == len(set(one.ids.tolist())) == len(other.ids)
                    size = np.abs(other.scores).max(initial=1)
                    assert (one.scores >= other.scores - 1e-5 * size).all()
                    assert all((a, -i) > (b, -j) for (a, i), (b, j) in pairwise(zip(one.scores, one.ids)))
                    assert allow is None or allow(one.ids).all()
                    hits, same = hits + len(one.ids), same + np.count_nonzero(one.ids == other.ids)
                    truth = collection.form.scores(query, run(collection.get(one.ids), None))
                    assert np.allclose(one.scores, truth, atol=1e-5 * size)
    assert hits > 5000 and same > 0.99 * hits and longer < 0.3 * asked
    for bad, code in (
        (np.full(DIM, np.nan), "bad-vector"),
        (np.full(DIM, 1e30), "bad-vector"),
        (DIM * "x", "bad-shape"),
    ):
        for query in (bad, [bad, bad]):
            with pytest.raises(NookError) as error:
                run(collection.search(query, 3), None)
            assert error.value.code == code


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_all_parts_in_memory_answer_at_once_what_the_long_way_says(space, dtype, small, monkeypatch):
    """A head, scanned segments and lists, deletions in each, equal vectors, filters; where all is scanned, exactly."""
    monkeypatch.setattr(planner, "LISTS", 200)
    random = np.random.default_rng(2)
    collection = Collection("a", durable=False)
    run(collection.create(Form(DIM, space, dtype)), None)
    kinds, hits, same = set(), 0, 0
    centres = cloud(30, seed=9) * 2
    for step in range(10):
        vectors = centres[random.integers(0, 30, 90)] + cloud(90, seed=step)
        vectors[:6] = vectors[6:12]
        vectors[12] = 0
        run(collection.add(vectors[: 90 if step % 2 else 30], random.permutation(2000)[: 90 if step % 2 else 30]), None)
        run(collection.maintain(), None)
        run(collection.delete(random.integers(0, 2000, 100)), None)
        kinds |= {(bool(collection.head.count), *sorted({one.part.kind for one in collection.segments}))}
        scanned = all(one.part.kind == "flat" for one in collection.segments)
        allowed = random.random(2000) < 0.6
        for allow in (None, lambda ids, allowed=allowed: allowed[ids]):
            for k in (1, 10, 3000):
                queries = np.concatenate([vectors[:9] * 3, cloud(4, seed=k), np.zeros((1, DIM), np.float32)])
                short = collection.at_once(queries, k, allow=allow)
                with monkeypatch.context() as patch:
                    patch.setattr(collection, "at_once", lambda *_, **__: [])
                    long = run(collection.search(queries, k, allow=allow), None)
                assert len(short) == len(queries) or not scanned
                for query, one, other in zip(collection.form.queries(queries), short, long):
                    if one is None:
                        assert not scanned
                        continue
                    assert len(one.ids) == len(set(one.ids.tolist())) == len(other.ids)
                    size = np.abs(other.scores).max(initial=1)
                    assert (one.scores >= other.scores - 1e-5 * size).all()
                    assert all((a, -i) > (b, -j) for (a, i), (b, j) in pairwise(zip(one.scores, one.ids)))
                    assert allow is None or allow(one.ids).all()
                    truth = collection.form.scores(query, run(collection.get(one.ids), None))
                    assert np.allclose(one.scores, truth, atol=1e-5 * size)
                    assert not scanned or np.allclose(one.scores, other.scores, atol=1e-5 * size)
                    hits, same = hits + len(one.ids), same + np.count_nonzero(one.ids == other.ids)
    assert hits > 5000 and same > 0.98 * hits
    assert {kind[0] for kind in kinds} >= {True} and {kind[1:] for kind in kinds} >= {("flat",), ("flat", "ivf")}
    for bad, code in ((np.full(DIM, np.inf), "bad-vector"), (np.ones(DIM + 1), "bad-shape")):
        with pytest.raises(NookError) as error:
            collection.at_once(bad, 3)
        assert error.value.code == code


def test_a_scan_that_does_not_suffice_looks_at_more(small):
    """Rows that all have one code: no bound tells them apart, so the first candidates cannot be sure."""
    collection = Collection("a", durable=False)
    run(collection.create(Form(DIM, "ip")), None)
    vectors = np.ones((45, DIM), np.float32) + np.arange(45, dtype=np.float32)[:, None] * 1e-6
    run(collection.add(vectors, np.arange(45)), None)
    [hits] = collection.at_once(np.ones(DIM, np.float32), 5, want=5)
    assert hits.ids.tolist() == [44, 43, 42, 41, 40]


def counted(function, calls):
    """A function that notes its calls."""
    return lambda *args, **options: calls.append(1) or function(*args, **options)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_every_form(space, dtype):
    given = cloud(500, 24)
    if dtype == "int8":
        given = np.clip(given * 40, -128, 127).astype(np.int8)
    if dtype == "float16":
        given = given.astype(np.float16)
    exact = given.astype(np.float64)
    if dtype == "binary":
        exact = np.where(given > 0, 1.0, -1.0)
        given = np.packbits(given > 0, axis=1)
    if space == "cosine":
        exact /= np.linalg.norm(exact, axis=1)[:, None]
    index = Index(space, 24, dtype=dtype)
    index.add_items(given, np.arange(500) * 3)
    labels, distances = index.knn_query(given[:5], k=9)
    for n in range(5):
        apart = ((exact - exact[n]) ** 2).sum(1) if space == "l2" else 1 - exact @ exact[n]
        assert np.allclose(distances[n], np.sort(apart)[:9], rtol=1e-5, atol=3e-6)
        assert np.allclose(apart[labels[n] // 3], distances[n], rtol=1e-5, atol=3e-6)
    assert np.allclose(index.get_items([0, 3]), exact[:2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 17, 4096])
def test_every_length(dim):
    index = Index("l2", dim)
    vectors = cloud(40, dim)
    index.add_items(vectors)
    labels, distances = index.knn_query(vectors, 1)
    assert labels[:, 0].tolist() == list(range(40)) and (distances == 0).all()


def test_hnswlibs_names():
    index = Index(space="l2", dim=DIM)
    index.init_index(max_elements=100, ef_construction=200, M=16)
    vectors = cloud(60)
    index.add_items(vectors[:50], np.arange(100, 150))
    index.add_items(vectors[50:])  # numbered on
    index.set_ef(50)
    assert index.get_current_count() == index.element_count == index.ntotal == len(index) == 60 and index.ef == 50
    assert index.get_ids_list() == list(range(100, 160))
    index.mark_deleted(103)
    assert index.knn_query(vectors[3])[0][0, 0] != 103
    index.unmark_deleted(103)
    assert index.knn_query(vectors[3])[0].tolist() == [[103]]
    assert np.array_equal(index.get_items([101, 100]), vectors[[1, 0]])
    assert index.get_items([101], return_type="list") == [vectors[1].tolist()]
    for choice in (
        lambda label: label % 2 == 0,
        np.arange(1000) % 2 == 0,
        np.arange(100, 160, 2),
        lambda label: not label % 2,
    ):
        labels, _ = index.knn_query(vectors[:4], k=5, filter=choice)
        assert (labels % 2 == 0).all()
    distances, labels = index.search(vectors[:2], 1)
    assert labels.ravel().tolist() == [100, 101] and (distances == 0).all()
    assert index.remove_ids([100, 100, 7]) == 1 and np.array_equal(index.reconstruct(101), vectors[1])


def test_few_and_none():
    index = Index("cosine", 3)
    labels, distances = index.knn_query([1, 0, 0], k=3)
    assert labels.tolist() == [[-1] * 3] and np.isinf(distances).all()
    index.add_items([[1, 0, 0], [0, 0, 0], [-2, 0, 0]], [5, 6, 7])
    labels, distances = index.knn_query([2, 0, 0], k=5)
    assert labels.tolist() == [[5, 6, 7, -1, -1]] and distances[0, :3].tolist() == [0, 1, 2]
    assert index.knn_query([1, 0, 0], k=2, filter=[99])[0].tolist() == [[-1, -1]]
    assert index.knn_query([1, 0, 0], k=2, filter=np.zeros(0, bool))[0].tolist() == [[-1, -1]]


def test_of_equal_ids_the_last_counts():
    index = Index("ip", 2)
    index.add_items([[1, 0], [2, 0], [3, 0]], [1, 2, 1])
    assert index.get_items([1, 2]).tolist() == [[3, 0], [2, 0]] and len(index) == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([[1, float("nan"), 0]], "bad-vector"),
        ([[1, 2, 3], [float("inf"), 0, 0]], "bad-vector"),
        ([[1e30, 1e30, 0]], "bad-vector"),
        ([[1, 2]], "bad-shape"),
        ([["a", "b", "c"]], "bad-shape"),
        ([[[1, 2, 3]]], "bad-shape"),
    ],
)
def test_bad_vectors(given, code):
    index = Index("cosine", 3)
    index.add_items([[1, 2, 3]])
    for call in (index.add_items, index.knn_query):
        with pytest.raises(NookError) as error:
            call(given)
        assert error.value.code == code and error.value.hint
    assert len(index) == 1


def test_bad_ids_and_names():
    index = Index("cosine", 2)
    index.add_items([[1, 2]])
    for call, code in (
        (lambda: index.get_items([7]), "unknown-id"),
        (lambda: index.mark_deleted(7), "unknown-id"),
        (lambda: index.unmark_deleted(7), "unknown-id"),
        (lambda: index.add_items([[1, 2]], [0.5]), "bad-id"),
        (lambda: index.add_items([[1, 2]], [1, 2]), "bad-shape"),
        (lambda: Index("euclid", 2).add_items([[1, 2]]), "bad-shape"),
        (lambda: Index("cosine", 1).add_items([[1]]), "bad-shape"),
        (lambda: Collection("a/b"), "bad-name"),
    ):
        with pytest.raises(NookError) as error:
            call()
        assert error.value.code == code and error.value.hint


def test_several_in_one_store_and_one_of_a_name():
    store = Durable()
    for name in ("a", "ab", "b"):
        index = Index("ip", 2, store=store, name=name)
        index.add_items(np.full((3, 2), len(name)), [1, 2, 3])
    with pytest.raises(NookError) as error:
        run(Collection("a").create(Form(2)), store)
    assert error.value.code == "conflict"
    assert Index(store=store, name="ab").get_items([1]).tolist() == [[2, 2]]
    run(Index(store=store, name="a")._collection.drop(), store)
    assert len(Index(store=store, name="ab")) == 3 and not [key for key in store.pages if key.startswith("i/a/")]


def test_what_does_not_fit_is_read_in_one_batch(small):
    store = Durable()
    collection = begun(store)
    for n in range(4):
        run(collection.add(cloud(200, seed=n), np.arange(200 * n, 200 * n + 200)), store)
    asked = []
    get = store.get
    store.get = lambda keys: asked.append(keys) or get(keys)
    run(collection.search(cloud(1, seed=9), 5), store)
    assert len(asked) == 1 and all("/vectors/" in key for key in asked[0]) and len(asked[0]) <= 40
    run(collection.warm(1 << 20), store)
    asked.clear()
    run(collection.search(cloud(1, seed=9), 5), store)
    assert not asked


def test_a_damaged_page_is_named_and_the_rest_is_found(small):
    store, vectors = Durable(), cloud(120)
    collection = begun(store)
    run(collection.add(vectors, np.arange(120)), store)
    run(collection.add(cloud(3, seed=5), np.arange(200, 203)), store)
    part = collection.segments[0].part
    whole = dict(store.pages)
    some = [key for key in whole if "/vectors/" not in key or key.endswith(("/000000", "/000007"))]
    for key in some:
        broken = bytearray(whole[key])
        broken[len(broken) // 2] ^= 4
        store.pages = whole | {key: bytes(broken)}
        again = Collection("a")
        assert run(again.open(), store)
        hits = run(again.search(vectors, 1), store)
        lost = {n for n, hit in enumerate(hits) if hit.ids[0] != n}
        expected = set()
        if "/vectors/" in key:
            number = int(key.rpartition("/")[2], 16)
            expected = set(again.segments[0].ids[number * part.per : (number + 1) * part.per].tolist())
        assert lost == expected, key
        if key != collection.keys.mirror:  # that is read where the manifest is damaged
            assert again.damage == {key}
        run(again.maintain(everything=True), store)  # and merging makes it whole, without what is lost
        healed = Collection("a")
        run(healed.open(), store)
        assert not healed.damage - {collection.keys.manifest} and healed.count == again.count


def test_a_mistake_of_the_caller_leaves_all_as_it_was(small):
    store = Durable()
    collection = begun(store)
    run(collection.add(cloud(10), np.arange(10)), store)
    before = dict(store.pages)

    def full(puts, deletes, expect=None):
        raise NookError("quota", "No more room.", "Make some.")

    store.commit, commit = full, store.commit
    for flow in (
        collection.add(cloud(3), np.arange(3)),
        collection.add(cloud(90), np.arange(90)),
        collection.delete(np.array([1])),
        collection.maintain(everything=True),
    ):
        with pytest.raises(NookError) as error:
            run(flow, store)
        assert error.value.code == "quota" and collection.count == 10
    store.commit = commit
    assert store.pages == before and found(collection, store, cloud(1)[0], 1).ids == [0]
    run(collection.add(cloud(90), np.arange(90)), store)
    assert collection.count == 90


def test_deleted_by_another_tab():
    store = Durable()
    one = begun(store)
    run(one.add(cloud(3), np.arange(3)), store)
    two = Collection("a")
    run(two.open(), store)
    run(two.drop(), store)
    assert not store.pages
    with pytest.raises(NookError) as error:
        run(one.add(cloud(1), np.array([9])), store)
    assert error.value.code == "storage-lost" and error.value.hint


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("space", ["cosine", "l2"])
def test_lists_and_graphs_live_too(kind, space, monkeypatch):
    """Recall after deletes, updates and filters, from storage as from memory."""
    monkeypatch.setattr(planner, "LISTS", 200)
    monkeypatch.setattr(planner, "HEAD_ROWS", 300)
    random = np.random.default_rng(2)
    vectors = (
        random.normal(size=(20, DIM))[random.integers(0, 20, 1200)] + random.normal(size=(1200, DIM)) / 2
    ).astype("f4")
    store, truth = Durable(), {}
    index = Index(space, DIM, store=store, kind=kind, budget=1 << 20)
    for start in range(0, 1200, 400):
        index.add_items(vectors[start : start + 400], np.arange(start, start + 400))
    index.add_items(vectors[:50] + 1, np.arange(50))
    index.remove_ids(np.arange(100, 500, 2))
    truth = dict(enumerate(vectors)) | dict(enumerate(vectors[:50] + 1))
    for gone in range(100, 500, 2):
        del truth[gone]
    for _ in range(2):
        assert {segment.part.kind for segment in index._collection.segments} == {kind} and len(index) == 1000
        assert not index.damage
        for share in (1.0, 0.3, 0.02):
            allow = random.random(1200) < share
            ids = np.array([id_ for id_ in truth if allow[id_]])
            form = index._collection.form
            kept = form.floats(form.rows(np.array([truth[id_] for id_ in ids.tolist()])))
            found = 0
            for query in vectors[::60]:
                best = ids[np.argsort(-form.scores(form.queries(query)[0], kept))[:10]]
                labels, distances = index.knn_query(query, 10, filter=allow)
                assert allow[labels[0][labels[0] >= 0]].all() and (np.diff(distances[0]) >= 0).all()
                found += len(set(labels[0].tolist()) & set(best.tolist())) / len(best)
            assert found / 20 >= 0.95, share
        index.optimize()
        index = Index(store=store, budget=400_000)


def clusters(n, dim=DIM, seed=2):
    random = np.random.default_rng(seed)
    return (random.normal(size=(40, dim))[random.integers(0, 40, n)] + random.normal(size=(n, dim)) / 2).astype("f4")


@pytest.fixture
def short(monkeypatch):
    """Lists of few rows, in pages of two or three lists."""
    for module, name, value in (
        (planner, "LISTS", 200), (planner, "FEW", 8), (planner, "HEAD_ROWS", 700), (planner, "TIER", 9),
        (segment, "PAGE", 300), (segment, "IDS", 256), (directory, "PIECES", 4000), (directory, "SMALL", 256),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


def opened(store, budget=None, without=()):
    """The collection of a store, that holds nothing of `without`."""
    collection = Collection("a", budget=budget)
    assert run(collection.open(), store)
    for one in collection.segments:
        one.drop(set(without))
    return collection


def same(some, others):
    return all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.scores, b.scores) for a, b in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_codes_in_storage_answer_as_in_memory(space, short):
    """With deletions and filters, and one by one as together; two round trips a query."""
    store, vectors = Durable(), clusters(3000)
    made = begun(store, space)
    for start in range(0, 3000, 1000):
        run(made.add(vectors[start : start + 1000], np.random.default_rng(start).permutation(9000)[:1000]), store)
    run(made.delete(run(made.ids(), store)[::7]), store)
    run(made.add(vectors[:20] + 1, np.arange(20)), store)
    memory, paged = opened(store, without=["fine"]), opened(store, without=["fine", "blocks", "ids"])
    assert len(paged.segments) == 3 and paged.head.count == 20
    assert all(one.listed and one.ids is None and len(one.where["blocks"].ends) > 3 for one in paged.segments)
    queries = clusters(40, seed=3)
    for allow in (None, lambda ids: ids % 3 == 0, lambda ids: ids % 500 == 0, lambda ids: ids < 0):
        for k in (1, 10, 60):
            expected = run(memory.search(queries, k, allow=allow), store)
            assert same(run(paged.search(queries, k, allow=allow), store), expected)
            assert same([found(paged, store, query, k, allow=allow) for query in queries[:5]], expected[:5])
    assert memory.stats().trips_at(1) == 1 and paged.stats().trips_at(1) == 2 and paged.working == 0
    kept = run(paged.ids(), store)
    assert set(kept.tolist()) == set(run(made.ids(), store).tolist()) and paged.highest >= kept.max()
    assert np.array_equal(run(paged.get(kept[::50]), store), run(made.get(kept[::50]), store))
    assert run(paged.delete(kept[:30]), store) == 30 and run(memory.refresh(), store)
    for collection in (paged, memory):
        left = run(collection.ids(), store)
        assert collection.count == len(left) == made.count - 30 and not np.isin(left, kept[:30]).any()


def test_damaged_codes_in_storage_cost_nothing_but_time(short):
    store, vectors = Durable(), clusters(1500)
    run(begun(store).add(vectors, np.arange(1500)), store)
    whole = run(opened(store, without=["fine", "blocks"]).search(vectors, 5), store)
    [key] = [key for key in store.pages if "/codes/" in key][3:4]
    store.pages[key] = store.pages[key][:-1] + bytes([store.pages[key][-1] ^ 1])
    paged = opened(store, without=["fine", "blocks"])
    hits = run(paged.search(vectors, 5), store)
    assert paged.damage == {key} and all((one.scores >= other.scores).all() for one, other in zip(hits, whole))


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_the_budget_is_not_exceeded(kind, short, monkeypatch):
    """Not while searching, whatever it is; what is too little says how much is enough."""
    monkeypatch.setattr(planner, "LISTS", 10**9 if kind == "flat" else 200)
    store, vectors = Durable(), clusters(4000)
    made = Collection("a")
    run(made.create(Form(DIM), kind), store)
    for start in range(0, 4000, 1000):
        run(made.add(vectors[start : start + 1000], np.arange(start, start + 1000)), store)
    run(made.delete(np.arange(0, 4000, 9)), store)
    run(made.add(vectors[:50] + 1, np.arange(50)), store)
    queries, best = vectors[7::130][:30] + np.random.default_rng(5).normal(size=(30, DIM)).astype("f4") / 9, made.memory
    with pytest.raises(NookError) as error:
        opened(store, 1000)
    assert error.value.code == "budget-too-small"
    least = int(error.value.hint.rstrip(".").split()[-3].replace(",", ""))
    with pytest.raises(NookError):
        opened(store, least - 1)
    assert least < best or kind != "ivf"
    get, now = store.get, None

    def checked(keys):
        assert now is None or now.memory <= now.budget
        return get(keys)

    store.get = checked
    held = []
    for budget in (least, least * 9 // 8, least * 3 // 2, least * 2, least * 4, 1 << 26):
        now = None
        now = opened(store, budget)
        truth = vectors.copy()
        truth[:50] += 1
        form, allowed = now.form, np.ones(4000, bool)
        allowed[np.arange(50, 4000)[np.arange(50, 4000) % 9 == 0]] = False
        scored = form.floats(form.rows(truth))
        right = 0
        for number, query in enumerate(queries):
            allow = None if number % 3 else (lambda ids, n=number: ids % 4 == n % 4)
            hits = found(now, store, query, 10, allow=allow)
            mask = allowed if allow is None else allowed & allow(np.arange(4000))
            scores = np.where(mask, form.scores(form.queries(query)[0], scored), -np.inf)
            right += len(set(hits.ids.tolist()) & set(np.argsort(-scores)[:10].tolist()))
            assert now.memory <= budget and now.working == 0
        run(now.search(queries, 10), store)
        assert now.memory <= budget and right >= 280
        stats = now.stats()
        assert stats.held == now.memory and stats.trips_at(0.9) <= 2 and stats.budget == budget
        held.append(now.memory)
        now = None
    assert held[0] < held[-1]


def test_under_a_budget_adding_goes_on(short):
    """What is added, deleted, found and merged under a small budget is what there would be without one."""
    store, vectors = Durable(), clusters(5000)
    collection = Collection("a", budget=300_000)
    run(collection.create(Form(DIM)), store)
    random = np.random.default_rng(4)
    here = {}
    for step in range(40):
        ids = random.integers(0, 3000, 120)
        rows = vectors[random.integers(0, 5000, 120)]
        run(collection.add(rows, ids), store)
        here.update(zip(ids.tolist(), rows))
        gone = random.integers(0, 3000, 30)
        run(collection.delete(gone), store)
        for id_ in gone.tolist():
            here.pop(id_, None)
        if step % 5 == 0:
            run(collection.maintain(), store)
        assert collection.memory <= collection.budget and collection.count == len(here)
    some = random.permutation(sorted(here))[:50]
    assert np.allclose(
        run(collection.get(some), store), collection.form.floats(collection.form.rows([here[i] for i in some.tolist()]))
    )
    again = opened(store, 300_000)
    assert again.count == len(here) and sorted(run(again.ids(), store).tolist()) == sorted(here)
    hits = run(again.search(np.array(rows), 1), store)
    assert np.mean([hit.scores[0] > 0.9999 for hit in hits]) > 0.9


@pytest.mark.parametrize("space", ["cosine", "l2"])
def test_the_papers_way(space, short):
    """Vectors one by one, read while a graph is walked, into a cache of the budget's size; the more fits, the fewer
    round trips. Deleted and recent vectors are as anywhere."""
    store, vectors = Durable(), clusters(1200)
    made = Collection("a", budget=1 << 20)
    run(made.create(Form(DIM, space), "webanns", {"M": 8, "ef_construction": 60}), store)
    run(made.add(vectors[:1100], np.arange(1100)), store)
    run(made.delete(np.arange(0, 1100, 5)), store)
    run(made.add(vectors[1100:], np.arange(1100, 1200)), store)
    assert sum("/vectors/" in key for key in store.pages) == 1100
    form, left = made.form, np.array([n for n in range(1200) if n >= 1100 or n % 5])
    scored, queries, trips = form.floats(form.rows(vectors[left])), clusters(30), []
    for rows in (10, 300, 1200):
        now = Collection("a", budget=rows * DIM * 4)
        assert run(now.open(), store) and now.head.count == 100
        [one] = now.segments
        assert one.kind.cache.room == min(rows, 1100) and one.kind.cache.policy == "fifo"
        right = 0
        for _ in range(2):
            for n, query in enumerate(queries):
                allow = None if n % 2 else (lambda ids: ids % 2 == 0)
                hits = found(now, store, query, 10, allow=allow)
                scores = form.scores(form.queries(query)[0], scored)
                scores = scores if allow is None else np.where(allow(left), scores, -np.inf)
                right += len(set(hits.ids.tolist()) & set(left[np.argsort(-scores)[:10]].tolist()))
                assert np.allclose(
                    hits.scores, form.scores(form.queries(query)[0], run(now.get(hits.ids), store)), atol=1e-5
                )
        stats = now.stats()
        assert (
            right >= 0.95 * 600
            and stats.queries == 60
            and stats.misses
            and stats.kinds == {"webanns": 880, "head": 100}
        )
        trips.append(sum(number * count for number, count in stats.trips.items()))
    assert trips[0] > 4 * trips[2] and trips[0] > trips[1] > trips[2]


def test_the_cache_is_as_small_as_the_latency_allows(short):
    """Reading takes 0.1 ms a page, then 1 ms, then 0.1 ms: memory is given back, taken again, and never more than the
    budget. With more time the cache is smaller."""
    store, vectors = Durable(), clusters(3000)
    run(begun(store).add(vectors, np.arange(3000)), store)
    get, cost, clock = store.get, 1e-4, [0.0]

    def slow(keys):
        clock[0] += cost * len(keys)
        return get(keys)

    store.get = slow
    random = np.random.default_rng(1)
    asked = vectors[random.integers(0, 40, 3000)] + 0.05
    caches = {}
    for target in (0.3, 3):
        cost = 1e-4
        collection = Collection("a", budget=600_000, target_ms=target)
        collection.clock = lambda: clock[0]
        run(collection.open(), store)
        whole = collection.cache.budget
        spent = []
        for query in asked[:1500]:
            before = clock[0]
            run(collection.search(query, 10), store)
            spent.append((clock[0] - before) * 1e3)
            assert collection.memory <= 600_000
        caches[target] = collection.cache.budget
        assert caches[target] < whole and collection.cache.size <= caches[target]
        assert np.mean(np.array(spent[-300:]) <= target) > 0.8
        cost = 1e-3
        for query in asked[1500:]:
            run(collection.search(query, 10), store)
        assert collection.cache.budget > caches[target] or target < 3  # that one needs to read nothing any more
    assert caches[3] < caches[0.3]


def test_what_is_kept_in_memory_leaves_room_for_the_rest(short):
    """Of three segments the smallest fits, and searches still have what they need."""
    store, vectors = Durable(), clusters(7000)
    made = begun(store)
    for start, stop in ((0, 1000), (1000, 3000), (3000, 7000)):
        run(made.add(vectors[start:stop], np.arange(start, stop)), store)
    least, warmed = opened(store, 1 << 30).memory, []
    for budget in (least + 100_000, least + 300_000, 1 << 22):
        now = opened(store, budget)
        run(now.warm(budget), store)
        warmed.append(sum(one.resident is not None for one in now.segments))
        for query in vectors[::700]:
            assert found(now, store, query, 1).scores[0] > 0.99 and now.memory <= budget
    assert 0 < warmed[1] < 3 == warmed[2] and now.stats().trips_at(1) == 0
