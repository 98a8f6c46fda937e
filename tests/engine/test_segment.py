"""Segments: what is written is read, and a byte that flips costs what it holds and nothing else."""

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import directory, kind, segment
from inglenook.index.drive import run
from inglenook.index.form import Form
from inglenook.index.manifest import Keys
from inglenook.index.segment import Segment
from inglenook.index.store import MemoryStore

KEYS = Keys("notes")


def made(count=300, dim=24, space="cosine", dtype="f4", seed=0):
    """A segment, its rows, and a store that holds its pages."""
    form, random = Form(dim, space, dtype), np.random.default_rng(seed)
    given = random.normal(size=(count, dim)) * (40 if dtype == "i1" else 1)
    raw = form.rows(
        np.packbits(given > 0, axis=1) if dtype == "b1" else given.round().clip(-128, 127) if dtype == "i1" else given
    )
    steps = kind.build("flat", form, form.floats(raw))
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        built = stop.value
    ids = random.permutation(10 * count)[:count].astype(np.int64)
    part = segment.plan(form, "flat", built.kind, "000001")
    new = Segment(KEYS, form, part, built.kind, ids)
    return new, raw, MemoryStore(dict(new.pages(ids, raw)))


def read(new, store, damage=None):
    head = store.pages.get(KEYS.of(new.name, "head"))
    damage = set() if damage is None else damage
    return run(segment.read(KEYS, new.form, new.part, head, damage, lean=False), store)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pages of a few rows, so that there are many."""
    for name, value in {"PAGE": 400, "IDS": 64}.items():
        monkeypatch.setattr(segment, name, value)
    for name, value in {"CHUNK": 512, "SMALL": 64, "PIECES": 512}.items():
        monkeypatch.setattr(directory, name, value)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "b1"])
def test_what_is_written_is_read(space, dtype):
    new, raw, store = made(space=space, dtype=dtype)
    assert set(store.pages) <= set(KEYS.all(new.part)) and len(store.pages) == len(list(KEYS.all(new.part))) - 1
    found = read(new, store)
    assert (found.ids == new.ids).all() and found.count == 300
    query = new.form.floats(raw[:1])[0]
    for one, other in zip(found.kind.candidates(query, 20), new.kind.candidates(query, 20)):
        assert np.array_equal(one, other)
    rows, there, ids = run(found.everything(), store)
    assert there.all() and (rows == raw).all() and (ids == new.ids).all()


def test_rows_out_of_pages():
    new, raw, store = made(count=101)
    for rows in ([0], [100], [7, 3, 100, 0, 7], range(101)):
        rows = np.array(rows, np.int32)
        keys = list(new.pages_of(rows))
        pages = {key: bytes(segment.checked(page)) for key, page in zip(keys, store.get(keys), strict=True)}
        assert all(len(pages[key]) == size for key, size in new.pages_of(rows).items())
        good, ids, found = new.vectors_of(rows, pages)
        assert good.all() and (ids == new.ids[rows]).all() and (found == raw[rows]).all()
        del pages[keys[0]]
        good, ids, found = new.vectors_of(rows, pages)
        kept = rows[good]
        assert not good.all() and (ids == new.ids[kept]).all() and (found == raw[kept]).all()


def test_ids_are_found():
    def find(ids):
        return run(new.locate(np.asarray(ids)), store)

    new, _, store = made()
    ids = new.ids
    for names in (["order"], ["ids"]):  # in order, one by one, from storage
        assert (find(ids) == np.arange(300)).all() and (find(ids[::-7]) == np.arange(300)[::-7]).all()
        assert (find([-5, 10**9, ids[3], 1 << 62]) == [-1, -1, 3, -1]).all() and len(find(ids[:0])) == 0
        assert (run(new.all_ids(), store) == ids).all()
        assert (run(new.opened(lambda some: some % 2 == 0), store) == (ids % 2 == 0)).all()
        new.drop(names)
    assert new.ids is None and (find(ids) == np.arange(300)).all()
    assert (run(new.all_ids(), store) == ids).all()
    assert (run(new.opened(lambda some: some % 2 == 0), store) == (ids % 2 == 0)).all()
    store.pages[KEYS.of(new.name, "ids", 1)] = b""  # then those beside the vectors are read
    assert (find(ids) == np.arange(300)).all()
    new.kill(np.array([3, 5]))
    assert (new.living(np.array([3, 4, -1, 5])) == [-1, 4, -1, -1]).all() and new.live == 298
    again, _, _ = made()
    assert again.bury(new.dead_page()) and again.dead == 2 and not again.alive[[3, 5]].any()
    assert not again.bury(new.dead_page()[:-1]) and not again.bury(None)


def test_any_flipped_byte_is_noticed_and_costs_its_page_only():
    new, raw, store = made(count=60, dim=8)
    whole = dict(store.pages)
    random = np.random.default_rng(1)
    for key, page in whole.items():
        for at in {0, 4, 8, len(page) - 1, *random.integers(0, len(page), 8).tolist()}:
            broken = bytearray(page)
            broken[at] ^= 1 << int(random.integers(0, 8))
            store.pages = whole | {key: bytes(broken)}
            damage = set()
            try:
                found = read(new, store, damage)
            except NookError as error:
                assert error.code == "newer-format" and at in (4, 5)
                continue
            rows, there, _ = run(found.everything(), store)
            if "/vectors/" in key:
                number = int(key.rpartition("/")[2], 16)
                lost = np.arange(60) // new.part.per == number
                assert not damage and (there == ~lost).all()
            else:
                assert key in damage and there.all()
            assert (rows[there] == raw[there]).all() and (found.ids == new.ids).all()
            query = new.form.floats(raw[:1])[0]
            assert set(found.kind.candidates(query, 60).rows) == set(range(60))


def test_without_its_head_and_a_page_of_vectors():
    new, _, store = made(count=60, dim=24)
    del store.pages[KEYS.of("000001", "head")], store.pages[KEYS.of("000001", "vectors", 1)]
    damage = set()
    found = read(new, store, damage)
    per = new.part.per
    assert damage == {KEYS.of("000001", "head"), KEYS.of("000001", "vectors", 1)}
    assert (
        found.dead == per
        and not found.alive[per : 2 * per].any()
        and (run(found.locate(new.ids), store)[:per] >= 0).all()
    )
    store.pages.clear()
    assert read(new, store, damage) is None


@pytest.mark.parametrize("name", kind.MODULES)
def test_a_kind_whose_parts_are_missing_is_corrupt(name):
    with pytest.raises(NookError) as error:
        kind.load(name, Form(8, "cosine", "f4"), {})
    assert error.value.code == "corrupt"
