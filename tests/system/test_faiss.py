"""Files of faiss: written field by field here, damaged ones, and those of an installed faiss (`build.py bench index`
fetches one)."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index
from inglenook.index.faiss import read

from buildlib.project import cache

DIM = 5


def vectors(n: int = 12) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, DIM)).astype(np.float32)


def head(word: str, n: int, metric: int = 1, dim: int = DIM) -> bytes:
    return word.encode() + struct.pack("<iqqqBi", dim, n, 1 << 20, 1 << 20, 1, metric)


def array(items: object, dtype: str) -> bytes:
    kept = np.asarray(items, dtype)
    return struct.pack("<Q", kept.size) + kept.tobytes()


def flat(rows: np.ndarray, metric: int = 1) -> bytes:
    return head(("IxFI", "IxF2")[metric], len(rows), metric) + array(rows, "<f4")


def mapped(inner: bytes, labels: object) -> bytes:
    return head("IxM2", len(np.asarray(labels))) + inner + array(labels, "<i8")


def quantiser(sort: int, trained: object, size: int = DIM) -> bytes:
    return struct.pack("<iifQQ", sort, 0, 0, DIM, size) + array(trained, "<f4")


def listed(rows: np.ndarray, labels: np.ndarray, lists: int, *, sparse: bool = False) -> bytes:
    """An IndexIVFFlat with row i in list i % lists; its centroids are not asked for."""
    mine = [np.arange(len(rows))[number::lists] for number in range(lists)]
    out = head("IwFl", len(rows)) + struct.pack("<QQ", lists, 1) + flat(np.zeros((lists, DIM)))
    out += struct.pack("<B", 2) + array([], "<i8") + struct.pack("<Q2q", 1, 7, 8)
    out += b"ilar" + struct.pack("<QQ", lists, 4 * DIM)
    if sparse:
        out += b"sprs" + array([(number, len(some)) for number, some in enumerate(mine) if len(some)], "<u8")
    else:
        out += b"full" + array([len(some) for some in mine], "<u8")
    return out + b"".join(rows[some].tobytes() + labels[some].astype("<i8").tobytes() for some in mine)


def graph(inner: bytes, n: int) -> bytes:
    arrays = (([0.5], "<f8"), ([0, 4], "<i4"), ([1] * n, "<i4"), (range(0, 4 * n + 4, 4), "<u8"), ([-1] * 4 * n, "<i4"))
    return head("IHNf", n) + b"".join(array(*one) for one in arrays) + struct.pack("<5i", 0, 0, 40, 16, 1) + inner


FILES = {
    "flat": flat(vectors()),
    "ip": flat(vectors(), 0),
    "map": mapped(flat(vectors()), np.arange(12) * 7 + 3),
    "lists": listed(vectors(), np.arange(12), 3),
    "sparse lists": listed(vectors(), np.arange(12), 40, sparse=True),
    "map of lists": mapped(listed(vectors(), np.arange(12), 5), np.arange(12) + 100),
    "graph": graph(flat(vectors()), 12),
    "halves": head("IxSQ", 12) + quantiser(4, [], 2 * DIM) + array(vectors().astype("<f2").view("u1"), "u1"),
}


@pytest.mark.parametrize("name", FILES)
def test_written_field_by_field(name: str) -> None:
    taken = read(FILES[name])
    assert taken.space == ("ip" if name == "ip" else "l2") and taken.vectors.dtype == np.float32
    assert np.allclose(taken.vectors, vectors(), atol=2e-3 if name == "halves" else 0)
    first, step = {"map": (3, 7), "map of lists": (100, 1)}.get(name, (0, 1))
    assert taken.labels.tolist() == [first + step * n for n in range(12)]


def test_eight_bits() -> None:
    low, span = np.linspace(-1, 1, DIM), np.linspace(1, 3, DIM)
    codes = np.random.default_rng(0).integers(0, 256, (6, DIM)).astype(np.uint8)
    taken = read(head("IxSQ", 6) + quantiser(0, np.concatenate([low, span])) + array(codes, "u1"))
    assert np.allclose(taken.vectors, low + span * (codes + 0.5) / 255, atol=1e-6)
    uniform = read(head("IxSQ", 6) + quantiser(2, [-2, 5]) + array(codes, "u1"))
    assert np.allclose(uniform.vectors, -2 + 5 * (codes + 0.5) / 255, atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused(name: str) -> None:
    whole = FILES[name]
    for end in range(len(whole)):
        with pytest.raises(NookError) as caught:
            read(whole[:end])
        assert caught.value.code == "corrupt" and caught.value.hint
    with pytest.raises(NookError, match="follows"):
        read(whole + b"\0")


@pytest.mark.parametrize("name", FILES)
def test_any_bit_changed_is_refused_or_harmless(name: str) -> None:
    whole = FILES[name]
    for place in range(0, 8 * len(whole), 3):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        try:
            taken = read(bytes(damaged))
        except NookError as error:
            assert error.code in ("corrupt", "unsupported-index")
        else:
            assert taken.vectors.shape == (12, DIM) and len(taken.labels) == 12


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"\x89PNG" + bytes(99), "does not begin"),
        (head("IxPq", 3) + bytes(99), "IndexPQ"),
        (head("IwPQ", 3) + bytes(99), "IndexIVFPQ"),
        (head("IBxF", 3) + bytes(99), "IndexBinaryFlat"),
        (head("Ixzz", 3) + bytes(99), "Ixzz"),
        (head("IxFl", 3, 4) + bytes(99), "metric"),
        (head("IxSQ", 1) + quantiser(1, [0] * 10) + bytes(99), "type 1"),
        (mapped(flat(vectors()), [1]), "without a label"),
        (head("IxF2", 1 << 60) + struct.pack("<Q", 1 << 62), "cut off"),
        (flat(np.full((2, DIM), np.nan)), "finite"),
        (b"".join(head("IxMp", 0) for _ in range(99)), "within each other"),
    ],
)
def test_what_cannot_be_had_is_named(data: bytes, said: str) -> None:
    with pytest.raises(NookError, match=said) as caught:
        read(data)
    assert caught.value.code in ("corrupt", "unsupported-index") and caught.value.hint


def test_an_index_takes_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.faiss").write_bytes(FILES["map"])
    index = Index()
    index.import_faiss(tmp_path / "a.faiss")
    assert (index.space, index.dim, index.get_ids_list()) == ("l2", DIM, [7 * n + 3 for n in range(12)])
    labels, distances = index.knn_query(vectors()[:4], 1)
    assert labels.ravel().tolist() == [3, 10, 17, 24] and (distances == 0).all()
    with pytest.raises(NookError) as caught:
        Index("l2", 7).import_faiss(tmp_path / "a.faiss")
    assert caught.value.code == "bad-shape"


@pytest.fixture(scope="module")
def faiss():  # type: ignore[no-untyped-def]
    sys.path.append(str(cache() / "bench" / "site-packages"))
    yield pytest.importorskip("faiss", reason="faiss-cpu is not installed: `build.py bench index` fetches it")
    sys.path.pop()


def test_an_installed_faiss_agrees(faiss, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows, labels = np.random.default_rng(0).normal(size=(900, 16)).astype(np.float32), np.arange(900) * 3 + 1
    path = str(tmp_path / "x.faiss")
    faiss.omp_set_num_threads(1)
    types = faiss.ScalarQuantizer
    for made, loss in (
        (faiss.IndexFlatIP(16), 0), (faiss.IndexFlatL2(16), 0), (faiss.IndexHNSWFlat(16, 8), 0),
        (faiss.IndexHNSWFlat(16, 8, faiss.METRIC_INNER_PRODUCT), 0), (faiss.index_factory(16, "IVF20,Flat"), 0),
        (faiss.index_factory(16, "SQ8"), 0.02),
        (faiss.index_factory(16, "IVF20,SQ8"), 0.02), (faiss.IndexScalarQuantizer(16, types.QT_8bit_uniform), 0.03),
        (faiss.IndexScalarQuantizer(16, types.QT_fp16), 0.002), (faiss.index_factory(16, "HNSW8,SQ8"), 0.02),
    ):  # fmt: skip
        for wrap in (None, faiss.IndexIDMap, faiss.IndexIDMap2):
            index = faiss.clone_index(made)
            index.train(rows)
            if wrap:
                index = wrap(index)
                index.add_with_ids(rows, labels)
            else:
                index.add(rows)
            faiss.write_index(index, path)
            taken = read(Path(path).read_bytes())
            assert taken.space == ("l2" if index.metric_type == faiss.METRIC_L2 else "ip")
            assert taken.labels.tolist() == (labels.tolist() if wrap else list(range(900)))
            assert np.abs(taken.vectors - rows).max() <= loss
            if loss:
                truth = faiss.downcast_index(index.index) if wrap else index
                if hasattr(truth, "make_direct_map"):
                    truth.make_direct_map()
                assert np.allclose(taken.vectors, truth.reconstruct_n(0, 900), atol=1e-6)
    ivf = faiss.index_factory(16, "IVF8,Flat")
    ivf.train(rows)
    ivf.set_direct_map_type(faiss.DirectMap.Hashtable)
    ivf.add_with_ids(rows, labels)
    faiss.write_index(ivf, path)
    index = Index()
    index.import_faiss(path)
    assert index.get_ids_list() == labels.tolist() and np.array_equal(index.get_items(labels[:9]), rows[:9])
    for other in ("PQ4", "IVF8,PQ4", "PCA8,Flat", "LSH"):
        faiss.write_index(faiss.index_factory(16, other), path)
        with pytest.raises(NookError) as caught:
            read(Path(path).read_bytes())
        assert caught.value.code == "unsupported-index"
