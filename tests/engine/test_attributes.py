"""Metadata: conditions against a plain reading of them, tables against dicts, and both in the live index."""

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, planner
from inglenook.index.collection import Collection
from inglenook.index.drive import run
from inglenook.index.form import Form
from inglenook.index.store import MemoryStore
from inglenook.index.table import Table, table, unpacked
from inglenook.index.where import read

FIELDS = ("lang", "year", "tag", "ok", "x")
SIGNS = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def value(random):
    """Something of any sort, from few, so that things are often equal."""
    return [
        lambda: "abcde"[random.integers(5)],
        lambda: int(random.choice([-129, -128, -1, 0, 1, 2, 127, 128, 2020, 1 << 40, (1 << 63) - 1])),
        lambda: float(random.choice([-0.5, 0.0, 1.0, 2.5, 2020.0, 1e300, np.inf])),
        lambda: bool(random.integers(2)),
        lambda: ["abcde"[n] for n in random.integers(0, 5, random.integers(4))],
    ][random.integers(5)]()


def record(random):
    return {field: value(random) for field in FIELDS if random.random() < 0.6}


def condition(random, depth=0):
    """Any condition, and now and then one within another."""
    scalar = lambda: next(v for v in iter(lambda: value(random), None) if not isinstance(v, list))
    bound = lambda: next(v for v in iter(scalar, None) if not isinstance(v, bool))
    field = FIELDS[random.integers(len(FIELDS))]
    inner = lambda: [condition(random, depth + 1) for _ in range(random.integers(1, 4))]
    of_field = {
        "$eq": scalar, "$ne": scalar, "$exists": lambda: bool(random.integers(2)), **dict.fromkeys(SIGNS, bound),
        "$in": lambda: [scalar() for _ in range(random.integers(4))],
        "$nin": lambda: tuple(scalar() for _ in range(random.integers(4))),
        "$not": lambda: {"$in": [scalar()]},
    }  # fmt: skip
    whole = {"$and": inner, "$or": inner, "$not": lambda: condition(random, depth + 1)}
    if depth < 3 and random.random() < 0.3:
        name = list(whole)[random.integers(3)]
        return {name: whole[name](), **({field: scalar()} if random.random() < 0.3 else {})}
    if random.random() < 0.3:
        return {field: scalar()}
    return {field: {name: of_field[name]() for name in random.choice(list(of_field), random.integers(1, 3))}}


def fits(found, written):
    """What a condition says of a record, word by word."""
    return all(
        all(fits(found, part) for part in wanted) if name == "$and"
        else any(fits(found, part) for part in wanted) if name == "$or"
        else not fits(found, wanted) if name == "$not"
        else all(asked(name in found, found.get(name), how, what) for how, what in wanted.items())
        if isinstance(wanted, dict) else asked(name in found, found.get(name), "$eq", wanted)
        for name, wanted in written.items()
    )  # fmt: skip


def asked(there, has, how, what):
    sort = lambda v: str if isinstance(v, str) else bool if isinstance(v, bool) else float
    each = has if isinstance(has, list) else [has] if there else []
    if how == "$exists":
        return there is what
    if how == "$not":
        return not all(asked(there, has, *part) for part in what.items())
    if how in ("$ne", "$nin"):
        return not asked(there, has, "$eq" if how == "$ne" else "$in", what)
    if how in ("$eq", "$in"):
        return any(sort(a) is sort(b) and a == b for a in each for b in ([what] if how == "$eq" else what))
    return any(sort(a) is sort(what) and SIGNS[how](a, what) for a in each)


@pytest.mark.parametrize("seed", range(4))
def test_conditions(seed):
    random = np.random.default_rng(seed)
    records = [record(random) for _ in range(200)]
    made = table(np.arange(200) * 3, records)
    kept = 0
    for _ in range(300):
        written = condition(random)
        marks = read(written).marks(made)
        truth = [fits(found, written) for found in [{}, *records]]
        assert marks.tolist() == truth, written
        kept += 0 < sum(truth) < 201
        assert hash(read(written)) == hash(read(written))
    assert kept > 150


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"a": {"$gtt": 1}}, "$gtt"),
        ({"$xor": []}, "$and, $or, $not"),
        ({"a": {"$gt": True}}, "$gt takes"),
        ({"a": {"$gt": float("nan")}}, "$gt takes"),
        ({"a": {"$in": "text"}}, "$in takes a list"),
        ({"a": ["x"]}, "$in"),
        ({"a": None}, "$exists"),
        ({"a": {"$exists": 1}}, "$exists takes"),
        ({"a": {}}, "Nothing is asked"),
        ({"$or": []}, "$or takes"),
        ({"$and": {"a": 1}}, "$and takes"),
        ({3: 4}, "name of a field"),
        ({"$not": 3}, "A condition is a dict"),
        (7, "A condition is a dict"),
        ({"a": {1: 2}}, "no operator 1"),
    ],
)
def test_bad_conditions(written, said):
    with pytest.raises(NookError) as error:
        read(written)
    assert error.value.code == "bad-filter" and error.value.hint and said in str(error.value)


def test_a_condition_too_deep():
    written = {"a": 1}
    for _ in range(100):
        written = {"$not": written}
    with pytest.raises(NookError, match="too deep"):
        read(written)


@pytest.mark.parametrize(
    "metadata",
    [
        [{"a": {}}], [{"a": ["x", 1]}], [{"": 1}], [{"$a": 1}], [{1: 1}], [{"a": float("nan")}], [{"a": 1 << 63}],
        [{"a": b"x"}], [], [{}, {}], ["a"], "a", {"a": "x"}, {"a": []}, {"a": 5}, 5, [{"a": 1j}],
    ],
)  # fmt: skip
def test_bad_metadata(metadata):
    with pytest.raises(NookError) as error:
        table(np.array([4]), metadata)
    assert error.value.code == "bad-metadata" and error.value.hint


def test_columns_are_records():
    columns = {
        "year": np.array([1, 300]),
        "x": np.array([0.5, 2]),
        "ok": [True, None],
        "tag": [["a"], []],
        "n": ["a", 1],
    }
    made = table(np.array([7, 9]), columns)
    assert made.records(np.array([9, 7, 8])) == [
        {"year": 300, "x": 2.0, "tag": [], "n": 1}, {"year": 1, "x": 0.5, "ok": True, "tag": ["a"], "n": "a"}, {},
    ]  # fmt: skip
    kinds = [[type(value) for value in found.values()] for found in made.records(np.array([7]))]
    assert kinds == [[int, float, bool, list, str]]


@pytest.mark.parametrize("seed", range(6))
def test_a_table_is_a_dict(seed, monkeypatch):
    """Ids in any order, replaced, changed in part, packed and unpacked."""
    monkeypatch.setattr("inglenook.index.table.LOOSE", (3, 40, 4096)[seed % 3])
    random = np.random.default_rng(seed)
    made, truth = Table(), {}
    for step in range(60):
        high = step * 20 if seed % 2 else 300
        ids = np.unique(random.integers(-5, max(high, 1), random.integers(1, 30)))
        partly = bool(random.integers(2))
        records = [record(random) for _ in ids]
        for some in records if partly else []:
            some.update({field: None for field in FIELDS if field not in some and random.random() < 0.5})
        patch = table(ids, records, partly=partly)
        shuffled = random.permutation(len(ids))
        made.put(unpacked(patch.picked(shuffled).pack()) if random.integers(2) else patch)
        for id_, some in zip(ids.tolist(), records):
            told = (truth.get(id_, {}) if partly else {}) | some
            truth[id_] = {field: value for field, value in told.items() if value is not None}
        if step % 20 == 19:
            again = Table()
            for start in range(0, made.size - 1, 50):
                again.put(unpacked(made.pack(start, start + 50)))
            made = again
    asked = np.concatenate([np.array(list(truth)), [-99, 1 << 40]])
    assert made.records(asked) == [truth.get(id_, {}) for id_ in asked.tolist()]
    assert sorted(made.ids.tolist()) == sorted(truth)


def test_what_a_row_costs():
    random = np.random.default_rng(0)
    n = 20_000
    columns = {
        "lang": random.choice(["en", "de", "fr"], n), "year": random.integers(1990, 2026, n),
        "ok": random.random(n) < 0.5,
        "tag": [["a", "b", "c"][: count] for count in random.integers(0, 4, n).tolist()],
    }  # fmt: skip
    made = table(np.arange(n), columns)
    assert made.memory / n < 8 + 1 + 2 + 1 + 1 + 0.1
    assert len(made.pack()) / n < 13.1


def test_told_of_in_any_order():
    """The whole run and what is in memory after it are the same, whatever the order of ids was."""
    collection = Collection("a", durable=False)
    run(collection.create(Form(2)), None)
    run(collection.add(np.ones((2, 2)), np.array([7, 3]), [{"n": 7}, {"n": 3}]), None)
    many = np.arange(planner.HEAD_ROWS)[::-1]
    run(collection.add(np.ones((len(many), 2)), many, {"n": many}), None)
    asked = np.array([5, 3, 4000, 7])
    assert [found["n"] for found in run(collection.metadata(asked), None)] == asked.tolist()


def test_damaged_bytes_are_named():
    whole = table(np.arange(5), [record(np.random.default_rng(n)) for n in range(5)]).pack()
    for end in range(len(whole)):
        with pytest.raises(NookError) as error:
            unpacked(whole[:end])
        assert error.value.code == "corrupt" and error.value.hint


def test_an_index_with_metadata(tmp_path):
    """Added, asked, changed, taken away, deleted, merged, saved and opened again."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 8)).astype(np.float32)
    years = np.arange(300) % 40 + 1980
    index = Index("cosine", 8, path=tmp_path / "a.nook")
    index.add_items(
        vectors[:200], metadata={"year": years[:200], "tag": [["odd"] if n % 2 else [] for n in range(200)]}
    )
    index.add_items(vectors[200:], metadata=[{"year": year} for year in years[200:].tolist()])
    late = {"year": {"$gte": 2010}, "$not": {"tag": "odd"}}
    expected = {n for n in range(300) if years[n] >= 2010 and (n >= 200 or n % 2 == 0)}
    for turn in range(4):
        found = index.knn_query(vectors[0], k=300, filter=late)[0][0]
        assert set(found.tolist()) - {-1} == expected, turn
        if turn == 0:
            index.optimize()
        if turn == 1:
            index.save_index(tmp_path / "b.nook")
            index.close()
            index = Index(path=tmp_path / "a.nook")
        if turn == 2:
            index.close()
            index = Index()
            index.load_index(tmp_path / "b.nook")
    index.update_metadata([0, 1], [{"year": 2020, "lang": "en"}, {"tag": None}])
    assert index.get_metadata([1, 0]) == [{"year": 1981}, {"year": 2020, "tag": [], "lang": "en"}]
    assert index.knn_query(vectors[0], k=1, filter={"lang": {"$in": ["en", "de"]}})[0].tolist() == [[0]]
    index.mark_deleted(0)
    assert index.knn_query(vectors[0], k=1, filter={"lang": "en"})[0].tolist() == [[-1]]
    index.unmark_deleted(0)
    assert index.get_metadata([0])[0]["lang"] == "en"
    index.add_items(vectors[:1], [0])
    assert index.get_metadata([0]) == [{}]
    index.remove_ids(np.arange(5, 300))
    index.optimize()
    assert len(index.get_metadata()) == 5 and index._collection.attributes.table.size < 10
    for call, code in (
        (lambda: index.get_metadata([99]), "unknown-id"),
        (lambda: index.update_metadata([99], [{"a": 1}]), "unknown-id"),
        (lambda: index.update_metadata([1], [{"a": object()}]), "bad-metadata"),
        (lambda: index.add_items(vectors[:1], [7], metadata=[]), "bad-metadata"),
        (lambda: index.knn_query(vectors[0], filter={"year": {"$above": 3}}), "bad-filter"),
    ):
        with pytest.raises(NookError) as error:
            call()
        assert error.value.code == code
    assert 7 not in index.get_ids()


def test_a_damaged_page_of_metadata_is_named_and_the_rest_is_there(monkeypatch):
    monkeypatch.setattr("inglenook.index.attributes.ROWS", 1000)

    class Durable(MemoryStore):
        """A dictionary that counts as storage."""

    store, n = Durable(), planner.HEAD_ROWS
    index = Index("ip", 2, store=store)
    index.add_items(np.ones((n, 2)), metadata={"n": np.arange(n)})
    key = next(key for key in store.pages if key.endswith("attributes/000001"))
    store.pages[key] = store.pages[key][:-1] + b"?"
    again = Index(store=store)
    assert again.damage == [key]
    told = again.get_metadata(np.arange(n))
    assert [found.get("n") for found in told] == [None if 1000 <= n < 2000 else n for n in range(n)]
