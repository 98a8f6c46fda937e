"""Graphs of hnswlib: a file that hnswlib 0.8 wrote, what a damaged one gives, and files written field by field here."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.index import foreign
from inglenook.index.hnsw import HNSW

# hnswlib.Index("l2", 3), max_elements=64, M=2, ef_construction=10, random_seed=1; `vectors()` under labels 3·row + 5,
# label 8 marked as deleted; save_index.
FILE = """
    eNp9Vf1r1EAQ3U176d01bVOv7V0vjdeP81QUFEEQhCaFQqEgCIogCEKhIAiCUCj0p+A/lvxX/laaTd7mXiarC8N+5GVm3pvZRKl6pJififkQ8w7m
    tdL6pXnYr2K2+/s/L64vdv8mQ3puTJc2KG23Os0ShEx7zftajYEx9kg1o8L1RbwV5PJ0iSnMYp1we6UFyHeriZvlxjYJZ32bs+12ftjXuCl0MLnN
    6+PCYncIN0HssLRR7S9XmMeEOyltH9pJHlPSdRV8VVuTKn5M/tahs3LofEi4x8BuIIcaU+mSnFBcU4ehO266oDqMwOOg4Wu1Ueq50C+Ez6hdj+Ql
    +fOB3+7EzvJX2OiuJpaviVu8IX8b8Bmr7nhLfDepvyTnd8Sjh/imlrNlfSud3xMuQNzj0hYNrrZTyq8H3ERoZ8aZqIeDbxX3nOKuEN9F+4XignAa
    vWw4PBE8LkU9TH8fOfL7QLgAdzLq1kN9FPXotfxZXVT6ifLbB/YAPbv0lyVfSJcIscWocF8JZ+9kd2T5N+HP0feGR/qdeIzb34KWflfUp74zt9rn
    NcWdtnuAvxvJD/I3cvszfPOf5G+Iesg7ZBa/CDdDPRz5pb8JN+5wsXyz/EboPOrgKmxxS7g1+m8IndUdDibA2P+HhxwGqLnNf0DYCN81D9/2SIj1
    Gs9i5Onhnuw51nyHPuMsxOwRX039pTG7e6075sRREcf/9I+TzxHylesYe421T9qFFDcg/r7Ij/OwmFis2YePfg5ID34eoV4T6n1P6MvcQvjkeyzX
    IeUYkA6a8vCF5jNRMyXWc3Hn9D9qEzhy5/70wYV92fx9x7pPvh8ATWle7g==
"""


def vectors() -> np.ndarray:
    return np.random.default_rng(4).integers(-2, 3, (40, 3)).astype(np.float32)


def file() -> bytes:
    return zlib.decompress(base64.b64decode(FILE))


def written(index: HNSW, vectors: np.ndarray, labels: np.ndarray, room: int = 0) -> bytes:
    """An hnswlib file of a graph of ours, as hnswlib's saveIndex writes it."""
    graph, n, m, dim = index.graph, index.count, index.graph.m, index.graph.dim
    links = 4 + 8 * m
    size = links + 4 * dim + 8
    head = (0, max(room, n), n, size, links + 4 * dim, links, graph.top, max(graph.entry, 0), m, 2 * m, m, 0.5, 200)
    parts = [struct.pack("<6QiI3QdQ", *head)]
    for row in range(n):
        own = graph.links[row][graph.links[row] >= 0]
        parts.append(struct.pack("<HBB", len(own), row % 3 == 0, 0))
        parts.append(np.pad(own, (0, 2 * m - len(own))).astype("<u4").tobytes())
        parts.append(vectors[row].astype("<f4").tobytes() + struct.pack("<Q", labels[row]))
    for row in range(n):
        level = int(graph.levels[row])
        parts.append(struct.pack("<I", level * (4 + 4 * m)))
        for at in range(1, level + 1):
            own = graph.lists_of(row, at)
            own = own[own >= 0]
            parts.append(struct.pack("<I", len(own)) + np.pad(own, (0, m - len(own))).astype("<u4").tobytes())
    return b"".join(parts)


def test_a_real_file() -> None:
    found = foreign.hnswlib(file(), "l2")
    np.testing.assert_array_equal(found.vectors, vectors())
    np.testing.assert_array_equal(found.labels, np.arange(40) * 3 + 5)
    assert np.flatnonzero(found.deleted).tolist() == [1]
    index = found.index
    assert (index.count, index.linked, index.graph.m, index.graph.effort) == (40, 40, 2, 10)
    assert index.graph.top >= 1
    for query in vectors()[::3] + np.float32(0.25):
        rows, scores = index.search(query, 10, 40, ~found.deleted, found.vectors)
        truth = 2 * found.vectors @ query - (found.vectors**2).sum(axis=1)
        np.testing.assert_allclose(scores, truth[rows], rtol=1e-5, atol=1e-5)
        kept = np.sort(truth[~found.deleted])[::-1][:10]
        np.testing.assert_allclose(scores, kept, rtol=1e-5, atol=1e-5)
        walked, _ = index.search(query, 10, 40, None, found.vectors)
        assert len(walked) >= 8  # the graph's own links, in which rows of M = 2 may be lost
        assert truth[walked[0]] == truth.max()


def test_an_imported_graph_grows() -> None:
    index = foreign.hnswlib(file(), "l2").index
    more = vectors() + np.float32(10)
    index.add(more)
    assert index.search(more[7], 1, 40, vectors=np.concatenate([vectors(), more]))[1][0] == (more[7] ** 2).sum()


@given(
    n=st.integers(0, 60), dim=st.integers(1, 9), m=st.integers(2, 6), room=st.integers(0, 99),
    space=st.sampled_from(["ip", "cosine", "l2"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_written_is_read(*, n: int, dim: int, m: int, room: int, space: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, dim)).astype(np.float32)
    if space == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = HNSW(dim, space, m, 20, seed, centre=np.zeros(dim, np.float32))
    index.add(rows)
    labels = random.permutation(1000)[:n]
    found = foreign.hnswlib(written(index, rows, labels, room), space)
    np.testing.assert_array_equal(found.vectors, rows)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.deleted, np.arange(n) % 3 == 0)
    for name in ("levels", "links", "upper", "places"):
        mine, theirs = (getattr(graph, name) for graph in (index.graph, found.index.graph))
        np.testing.assert_array_equal(mine[: len(theirs)], theirs, name)
    assert found.index.graph.entry == index.graph.entry
    if space != "cosine" and n < 32:  # where no lengths are rounded and no middle is taken
        query = random.normal(size=dim)
        np.testing.assert_array_equal(found.index.search(query, 5)[0], index.search(query, 5)[0])


def test_every_truncation_is_refused() -> None:
    whole = file()
    for end in range(len(whole)):
        with pytest.raises(NookError) as caught:
            foreign.hnswlib(whole[:end], "l2")
        assert caught.value.code == "corrupt"
        assert caught.value.hint
    with pytest.raises(NookError, match="follows"):
        foreign.hnswlib(whole + b"\0", "l2")


def test_any_bit_changed_is_refused_or_harmless() -> None:
    whole, refused = file(), 0
    places = [*range(8 * 96), *np.random.default_rng(0).integers(8 * 96, 8 * len(whole), 1500).tolist()]
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = foreign.hnswlib(bytes(damaged), "l2")
        except NookError as error:
            assert error.code == "corrupt"
            refused += 1
            continue
        rows, _ = found.index.search(np.ones(found.index.graph.dim), 10)
        assert ((rows >= 0) & (rows < found.index.count)).all()
    assert refused > len(places) // 4


@pytest.mark.parametrize("data", [b"", b"NOOK", b"\0" * 96, b"\xff" * 500, b"%PDF-1.7" * 50])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(NookError, match="hnswlib"):
        foreign.hnswlib(data, "ip")


def test_an_installed_hnswlib_agrees(tmp_path) -> None:  # type: ignore[no-untyped-def]
    theirs = pytest.importorskip("hnswlib", reason="hnswlib is not installed")
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 24)).astype(np.float32)
    index = theirs.Index("cosine", 24)
    index.init_index(2500, M=8, ef_construction=60)
    index.add_items(rows, np.arange(2000) + 10, num_threads=1)
    index.set_ef(50)
    index.save_index(str(tmp_path / "x.bin"))
    found = foreign.hnswlib((tmp_path / "x.bin").read_bytes(), "cosine")
    same = 0
    for query in random.normal(size=(50, 24)).astype(np.float32):
        labels, distances = index.knn_query(query, 10)
        mine, scores = found.index.search(query, 10, 50, vectors=found.vectors)
        same += len(set(found.labels[mine]) & set(labels[0].tolist()))
        if found.labels[mine[0]] == labels[0][0]:
            np.testing.assert_allclose(1 - scores[0], distances[0][0], atol=1e-5)
    assert same >= 0.97 * 500
