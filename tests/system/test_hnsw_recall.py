"""The graph on real embeddings: recall against the truth; all builds alike; random graphs against the definition."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.index import kernel
from inglenook.index.hnsw import HNSW

ANN = Path(os.environ.get("INGLENOOK_ANN", Path(__file__).parents[2].parent / "shared" / "data" / "ann"))
built = pytest.mark.skipif(kernel.library() is None, reason="wasm/hnsw.c is not compiled")
N = 10_000


@pytest.fixture(scope="module")
def minilm() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, queries and the rows of the ten best."""
    if not ANN.exists():
        pytest.skip(f"no embeddings at {ANN} (set INGLENOOK_ANN)")
    vectors = np.load(ANN / "minilm_100k_f16.npy", mmap_mode="r")[:N].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, np.load(ANN / "queries_f32.npy"), np.load(ANN / f"truth_ip_{N}.npy")[:, :10]


@pytest.fixture(scope="module")
def graph(minilm: tuple[np.ndarray, np.ndarray, np.ndarray]) -> HNSW:
    index = HNSW(384, "cosine")
    index.add(minilm[0])
    return index


@built
@pytest.mark.parametrize(("ef", "least"), [(40, 0.95), (64, 0.97), (100, 0.985)])
def test_recall(graph: HNSW, minilm: tuple[np.ndarray, np.ndarray, np.ndarray], ef: int, least: float) -> None:
    """What hnswlib reaches at the same ef on the same data: 0.960, 0.981, 0.994."""
    vectors, queries, truth = minilm
    hits = [len(set(graph.search(q, 10, ef, vectors=vectors)[0]) & set(best)) for q, best in zip(queries, truth)]
    assert np.mean(hits) / 10 >= least


@built
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
def test_recall_under_filters(graph: HNSW, minilm: tuple[np.ndarray, np.ndarray, np.ndarray], share: float) -> None:
    vectors, queries, _ = minilm
    allow = np.random.default_rng(1).random(N) < share
    scores = np.where(allow[:, None], vectors @ queries[:200].T, -np.inf)
    k, hits = min(10, int(allow.sum())), 0
    for at, query in enumerate(queries[:200]):
        rows, _ = graph.search(query, 10, 64, allow, vectors)
        assert allow[rows].all()
        hits += len(set(rows.tolist()) & set(np.argpartition(-scores[:, at], k - 1)[:k].tolist()))
    assert hits / (200 * k) >= 0.96


@built
def test_deleting_half_loses_nothing(minilm: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Half of the rows marked as deleted, as many new ones added: recall is that of a graph made anew."""
    vectors, queries, _ = minilm
    half = N // 2
    index = HNSW(384, "cosine")
    index.add(vectors[:half])
    allow = np.zeros(N, bool)
    allow[half // 2 :] = True
    index.add(vectors[half:])
    new = HNSW(384, "cosine")
    new.add(vectors[half // 2 :])
    scores = vectors[half // 2 :] @ queries.T
    hits = np.zeros(2)
    for at, query in enumerate(queries):
        best = set(np.argpartition(-scores[:, at], 9)[:10].tolist())
        hits[0] += len(best & set((index.search(query, 10, 64, allow, vectors)[0] - half // 2).tolist()))
        hits[1] += len(best & set(new.search(query, 10, 64, vectors=vectors[half // 2 :])[0].tolist()))
    assert hits[0] >= hits[1] - 0.01 * 10 * len(queries)


HASH = """
import hashlib, numpy as np
from inglenook.index.hnsw import HNSW
random = np.random.default_rng(0)
total = hashlib.sha256()
for dim, space in ((7, "ip"), (48, "l2"), (100, "cosine")):
    vectors = random.integers(-9, 10, (900, dim)).astype(np.float32)
    index = HNSW(dim, space, 6, 40)
    index.add(vectors)
    for part in index.arrays().values():
        total.update(part.tobytes())
    for query in vectors[:50] + np.float32(0.5):
        for part in index.search(query, 10, 30):
            total.update(part.tobytes())
print(total.hexdigest())
"""


@built
def test_builds_agree_to_the_bit() -> None:
    """With AVX2 where this machine has it, and without."""
    source = str(Path(__file__).parents[2] / "pysrc")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", HASH], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": source, "INGLENOOK_KERNELS": build},
        ).stdout
        for build in ("plain", "wide")
    }  # fmt: skip
    assert len(hashes) == 1


@built
@settings(max_examples=40)
@given(
    n=st.integers(0, 250), dim=st.integers(1, 40), m=st.integers(2, 12), k=st.integers(0, 40),
    space=st.sampled_from(["ip", "cosine", "l2"]), seed=st.integers(0, 10**6), share=st.floats(0, 1),
    copies=st.integers(1, 20),
)  # fmt: skip
def test_a_walk_as_wide_as_the_set_is_exact(
    *, n: int, dim: int, m: int, k: int, space: str, seed: int, share: float, copies: int
) -> None:
    """With ef = n what can be reached is found: nearly everything, filters and copies included, in the right order."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, dim)).astype(np.float32)[random.integers(0, max(1, n // copies), n)]
    if space != "l2" and n:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = HNSW(dim, space, m, 50, seed)
    index.add(vectors)
    allow = random.random(n) < share
    query = random.normal(size=dim).astype(np.float32)
    truth = vectors.astype(float) @ query
    truth = 2 * truth - (vectors.astype(float) ** 2).sum(axis=1) if space == "l2" else truth
    truth = truth / np.linalg.norm(query) if space == "cosine" else truth
    for mask in (None, allow):
        kept = np.flatnonzero(allow) if mask is not None else np.arange(n)
        rows, scores = index.search(query, k, max(n, 1), mask, vectors)
        np.testing.assert_allclose(scores, truth[rows], rtol=1e-4, atol=1e-4)
        assert (np.diff(scores) <= 0).all()
        assert len(set(rows.tolist())) == len(rows)
        assert np.isin(rows, kept).all()
        want = min(k, len(kept))
        right = np.count_nonzero(truth[rows] >= (np.sort(truth[kept])[::-1][want - 1] if want else 0) - 1e-4)
        assert right >= 0.9 * want - (2 if m < 4 else 0)
