"""Pages: what goes in comes out, what is damaged or newer says so, what is old is brought forward."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.flow import Scan
from inglenook.index import pages
from inglenook.index.entry import Entry, Table, pack
from inglenook.index.flat import Flat
from inglenook.types import Chunk
from inglenook.wire.messages import Card

ANN = Path(os.environ.get("INGLENOOK_ANN", Path(__file__).parents[2].parent / "shared" / "data" / "ann"))
CARD = Card("0123456789abcdef", "notes/größe.md", "Größe ﷺ", "notes", "markdown", 1234, 1.5e9, 1.6e9, 3, 0, 2, "de")
CHUNKS = [
    Chunk(0, 10, 1, "A › B", "text"), Chunk(8, 40, 2, "A › B", "code"), Chunk(41, 41, 2, "", "text"), Chunk(3, 9),
]  # fmt: skip


def code_of(error):
    return error.value.code


@given(st.binary(max_size=300))
def test_seal(payload):
    assert pages.unseal(pages.seal(payload)) == payload


def test_any_flipped_bit_or_cut_is_noticed():
    page = pages.seal(b"some payload")
    for bit in range(len(page) * 8):
        damaged = bytearray(page)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NookError) as error:
            pages.unseal(bytes(damaged))
        assert code_of(error) in ("corrupt", "newer-format") and error.value.hint
    for size in range(len(page)):
        with pytest.raises(NookError) as error:
            pages.unseal(page[:size])
        assert code_of(error) == "corrupt"


def test_newer_format_says_update():
    with pytest.raises(NookError) as error:
        pages.unseal(pages.seal(b"x", pages.FORMAT + 1))
    assert code_of(error) == "newer-format" and "update" in error.value.hint


chunks = st.lists(
    st.builds(
        lambda start, length, page, heading, kind: Chunk(start, start + length, page, heading, kind),
        st.integers(0, 10**7), st.integers(0, 10**4), st.none() | st.integers(1, 5000), st.text(max_size=5),
        st.sampled_from(["text", "code", "table", "list"]),
    ), max_size=20,
)  # fmt: skip


@given(chunks, st.lists(st.integers(0, 10**7), max_size=10).map(sorted), st.text(max_size=9))
def test_document(table, offsets, title):
    card = Card("id", "p", title, "c", "pdf", 1, 2.0, 3, len(table), 0)
    entry = pages.read_document(pages.document(Entry(card, "digest", offsets, table)))
    assert (entry.card, entry.digest, entry.pages, list(entry.chunks)) == (card, "digest", offsets, table)
    assert [entry.chunks[i] for i in range(len(table))] == table and entry.chunks[-3:] == table[-3:]
    assert entry.first == -1 and len(entry.ids) == len(table)


def test_document_is_compact():
    many = [Chunk(i * 900, i * 900 + 870, i // 3 + 1, f"Chapter {i // 20}", "text") for i in range(1000)]
    assert len(pages.document(Entry(CARD, "0" * 64, list(range(0, 900_000, 2700)), many))) < 22 * 1000


@pytest.mark.parametrize(
    "change",
    [
        {"card": None}, {"card": {"document": 3}}, {"pages": ["1"]}, {"pages": 4}, {"chunks": []}, {"digest": ...},
        {"chunks": pack(CHUNKS) | {"heading": [0, 0, 9, 0]}}, {"chunks": pack(CHUNKS) | {"kind": [0, -1, 0, 0]}},
        {"chunks": pack(CHUNKS) | {"length": [1, 2, 3]}}, {"chunks": pack(CHUNKS) | {"length": [-1, 1, 1, 1]}},
        {"chunks": pack(CHUNKS) | {"step": [-5, 1, 1, 1]}}, {"chunks": pack(CHUNKS) | {"page": [True, 1, 1, 1]}},
        {"chunks": pack(CHUNKS) | {"headings": [1, 2]}},
    ],
)  # fmt: skip
def test_a_strangers_document_page_is_corrupt_not_a_crash(change):
    """A .nook file comes from anyone: its checksums may be right and its contents nonsense."""
    content = json.loads(pages.unseal(pages.document(Entry(CARD, "d", [0, 5], CHUNKS)))) | change
    content = {key: value for key, value in content.items() if value is not ...}
    with pytest.raises(NookError) as error:
        pages.read_document(pages.seal(json.dumps(content).encode()))
    assert code_of(error) == "corrupt"


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"3", b'{"name": 4}'])
def test_strange_json(payload):
    for read in (pages.read_meta, pages.read_document):
        with pytest.raises(NookError) as error:
            read(pages.seal(payload))
        assert code_of(error) == "corrupt"


@given(st.text(st.characters(exclude_categories=[])))
def test_text(plain):
    assert pages.read_text(pages.text(plain)) == plain


def test_text_bomb_and_cut(monkeypatch):
    monkeypatch.setattr(pages, "LONGEST", 1 << 20)
    assert len(pages.read_text(pages.text("a" * (1 << 20)))) == 1 << 20
    for payload in (zlib.compress(bytes(3 << 20)), zlib.compress(b"abc")[:-5], b"", b"junk", zlib.compress(b"\xff")):
        with pytest.raises(NookError) as error:
            pages.read_text(pages.seal(payload))
        assert code_of(error) == "corrupt"


@pytest.mark.parametrize("shape", [(0, 384), (1, 1), (7, 384)])
def test_vectors(shape):
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    space, back = pages.read_vectors(pages.vectors("minilm-größe", rows))
    assert space == "minilm-größe" and back.dtype == np.float32 and back.shape == shape
    np.testing.assert_allclose(back, rows, rtol=1e-3, atol=1e-7)
    assert len(pages.vectors("", rows)) <= rows.size * 2 + 40


def test_vectors_too_large_for_half_precision_stay_single():
    rows = np.array([[1e5, 1.0000001]], np.float32)
    np.testing.assert_array_equal(pages.read_vectors(pages.vectors("s", rows))[1], rows)


@settings(max_examples=200)
@given(st.binary(max_size=40))
def test_strange_vectors(payload):
    try:
        space, rows = pages.read_vectors(pages.seal(payload))
        assert isinstance(space, str) and rows.ndim == 2
    except NookError as error:
        assert error.code == "corrupt"


# ── migration ─────────────────────────────────────────────────────────────────────────────────────────────────────

FIRST_META = bytes.fromhex("6e6b706701000000") + bytes.fromhex("cf9bab4a") + "Küche".encode()
"""A meta page as format 1 wrote it, byte for byte."""


def run(flow, found):
    """Drive a flow that only scans."""
    answer = None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as end:
            return end.value
        assert isinstance(effect, Scan)
        answer = {key: page for key, page in found.items() if key.startswith(effect.prefix)}


def test_format_1_is_brought_forward():
    document = pages.seal(b"{}", 1)
    puts, deletes = run(pages.migrate(FIRST_META), {"d/1": document})
    assert deletes == [] and set(puts) == {"meta"} and pages.stamp(puts["meta"]) == pages.FORMAT
    assert pages.read_meta(puts["meta"]) == "Küche"
    assert run(pages.migrate(puts["meta"]), {}) == ({}, [])
    assert pages.upgrade({"meta": FIRST_META, "d/1": document}) == {**puts, "d/1": pages.seal(b"{}")}


def test_the_next_migration_is_one_function(monkeypatch):
    """Format 3 that changes postings: migrated from 1 and from 2, only what must be is rewritten."""
    monkeypatch.setattr(pages, "FORMAT", 3)
    monkeypatch.setitem(pages.MIGRATIONS, (2, "l"), lambda payload: payload[::-1])
    found = {"l/a": pages.seal(b"123", 2), "l/b": pages.seal(b"45", 1), "d/a": pages.seal(b"{}", 2)}
    for old in (FIRST_META, pages.seal(b'{"name":"K"}', 2)):
        puts, _ = run(pages.migrate(old), found)
        assert set(puts) == {"meta", "l/a", "l/b"} and all(pages.stamp(page) == 3 for page in puts.values())
        assert pages.unseal(puts["l/a"]) == b"321" and pages.unseal(puts["l/b"]) == b"54"
    assert run(pages.migrate(pages.seal(b"{}", 3)), found) == ({}, [])


def test_meta():
    assert pages.read_meta(pages.meta("Küche")) == "Küche"
    with pytest.raises(NookError):
        run(pages.migrate(pages.seal(b"{}", pages.FORMAT + 1)), {})


def test_table_equality_and_iteration():
    table = Table(pack(CHUNKS))
    assert table == CHUNKS and list(table) == CHUNKS and table[1:3] == CHUNKS[1:3] and table[-1] == CHUNKS[-1]
    assert Table(pack([])) == []


# ── what half precision costs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not ANN.is_dir(), reason="no embeddings in INGLENOOK_ANN or ../shared/data/ann")
def test_half_precision_loses_no_recall():
    """Real embeddings, turned by a random rotation so that they are no longer half-precision numbers to begin with
    (a rotation changes no inner product): the ten nearest from the page are the ten nearest."""
    vectors = np.load(ANN / "minilm_100k_f16.npy", mmap_mode="r")[:10000].astype(np.float32)
    queries, best = np.load(ANN / "queries_f32.npy")[:200], np.load(ANN / "truth_ip_10000.npy")[:200, :10]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0].astype(np.float32)
    vectors, queries = vectors @ turn, queries @ turn
    _, kept = pages.read_vectors(pages.vectors("minilm", vectors))
    assert np.abs(kept - vectors).max() > 0  # the rounding is real
    found = []
    for rows in (vectors, kept):
        flat = Flat(384, "ip")
        flat.add_items(rows, np.arange(len(rows)))
        found.append([len(set(flat.knn_query(q, 10)[0].tolist()) & set(t.tolist())) for q, t in zip(queries, best)])
    single, half = (sum(hits) / (10 * len(hits)) for hits in found)
    print(f"recall@10 single {single:.4f} half {half:.4f}")
    assert half >= 0.999 and half >= single - 0.001
