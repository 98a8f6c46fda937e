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
    entry = pages.read_document(pages.document(Entry(card, "digest", offsets, table, 99)))
    assert (entry.card, entry.digest, entry.pages, list(entry.chunks)) == (card, "digest", offsets, table)
    assert entry.length == 99
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
        {"chunks": pack(CHUNKS) | {"headings": [1, 2]}}, {"length": -1}, {"length": "3"}, {"length": 10**12},
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
    assert read(pages.text("d", plain)) == plain


def read(texts):
    """A text out of its pages, which are in order."""
    assert list(texts) == [f"x/d/{n}" for n in range(len(texts))]
    return "".join(map(pages.read_text, texts.values()))


@pytest.mark.parametrize("filling", ["a", "ß", "ﷺ", "🦉", "\ud83d", "\udd89"])
@pytest.mark.parametrize("size", [0, 1, pages.PIECE - 1, pages.PIECE, pages.PIECE + 1, 3 * pages.PIECE, 50_000])
def test_a_text_is_cut_between_characters(size, filling):
    plain = (filling * size)[: max(0, size - 3)] + "end"[: min(3, size)]
    texts = pages.text("d", plain)
    assert read(texts) == plain and len(texts) == max(1, -(-size // pages.PIECE))
    for start, end in [(0, 0), (0, size), (size // 2, size), (pages.PIECE - 1, pages.PIECE + 1), (size, size)]:
        keys = pages.text_keys("d", start, min(end, size))
        assert keys and (start >= size or set(keys) <= set(texts))
        found = "".join(pages.read_text(texts[key]) for key in keys if key in texts)
        assert plain[start:end] in found


def test_text_bomb_and_cut():
    most = 4 * pages.PIECE
    assert len(pages.read_text(pages.seal(zlib.compress(b"a" * most)))) == most
    for payload in (zlib.compress(bytes(most + 1)), zlib.compress(b"abc")[:-5], b"", b"junk", zlib.compress(b"\xff")):
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


def migrated(old):
    """A nook as it is after it was opened."""
    puts, deletes = run(pages.migrate(old["meta"]), old)
    assert not puts.keys() & set(deletes)
    return {key: page for key, page in (old | puts).items() if key not in deletes}


def second(document, plain, chunks=CHUNKS):
    """The pages of a document as format 2 wrote them: its text in one, its length nowhere."""
    content = json.loads(pages.unseal(pages.document(Entry(CARD, "d", [0, 5], chunks))))
    del content["length"]
    deflated = zlib.compress(plain.encode("utf-8", "surrogatepass"), 6)
    whole = {f"d/{document}": json.dumps(content).encode(), f"x/{document}": deflated, f"l/{document}": b"words"}
    return {key: pages.seal(payload, 2) for key, payload in whole.items()}


def test_format_1_is_brought_forward():
    old = {"meta": FIRST_META, "l/1": pages.seal(b"words", 1)}
    now = migrated(old)
    assert pages.read_meta(now["meta"]) == "Küche" and pages.stamp(now["meta"]) == pages.FORMAT
    assert now["l/1"] is old["l/1"]  # what did not change is not written again
    assert run(pages.migrate(now["meta"]), {}) == ({}, [])
    assert pages.upgrade(old) == {"meta": now["meta"], "l/1": pages.seal(b"words")}


@pytest.mark.parametrize("plain", ["", "short", "grüße 🦉 " * 9000, "\ud83d" + "x" * pages.PIECE])
def test_texts_of_format_2_are_cut_into_pieces(plain):
    old = {"meta": pages.seal(b'{"name":"K"}', 2)} | second("d", plain) | second("e", "other")
    now = migrated(old)
    assert pages.upgrade(old) == pages.upgrade(now)
    assert "x/d" not in now and "x/e" not in now
    entry = pages.read_document(now["d/d"])
    assert (entry.length, entry.chunks, entry.pages, entry.card) == (len(plain), CHUNKS, [0, 5], CARD)
    assert read({key: page for key, page in now.items() if key.startswith("x/d")}) == plain
    assert run(pages.migrate(now["meta"]), now) == ({}, [])


def test_a_text_that_was_lost_is_none(monkeypatch):
    old = {"meta": pages.seal(b"{}", 2), **second("d", "text")}
    del old["x/d"]
    assert read({key: page for key, page in migrated(old).items() if key.startswith("x/")}) == ""
    monkeypatch.setattr(pages, "LONGEST", 1000)
    with pytest.raises(NookError) as error:
        pages.upgrade(second("d", "a" * 1001))
    assert code_of(error) == "corrupt"


def test_the_next_migration_is_one_function(monkeypatch):
    """A format that changes postings: migrated from all that were, only what must be is rewritten."""
    last = pages.FORMAT
    monkeypatch.setattr(pages, "FORMAT", last + 1)
    turned = lambda old: {key: payload[::-1] for key, payload in old.items()}
    monkeypatch.setitem(pages.MIGRATIONS, last, (("l",), turned))
    found = {"l/a": pages.seal(b"123", last), "l/b": pages.seal(b"45", 1), "v/a": pages.seal(b"rows", 2)}
    for old in (FIRST_META, pages.seal(b'{"name":"K"}', last)):
        puts, deletes = run(pages.migrate(old), found)
        assert set(puts) == {"meta", "l/a", "l/b"} and not deletes
        assert all(pages.stamp(page) == last + 1 for page in puts.values())
        assert pages.unseal(puts["l/a"]) == b"321" and pages.unseal(puts["l/b"]) == b"54"
    assert run(pages.migrate(pages.seal(b"{}", last + 1)), found) == ({}, [])


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
