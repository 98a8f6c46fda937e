"""Recall of inverted lists on real embeddings and real questions, at the dials that a build finds by itself."""

import os
from pathlib import Path

import numpy as np
import pytest
from inglenook.index import kernel
from inglenook.index.ivf import SURE
from inglenook.index.making import build

ANN = Path(os.environ.get("INGLENOOK_ANN", Path(__file__).parents[2].parent / "shared" / "data" / "ann"))
pytestmark = [
    pytest.mark.skipif(not ANN.exists(), reason="the embeddings of shared/data/ann are not here"),
    pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled"),
]


@pytest.fixture(scope="module", params=[10_000, pytest.param(50_000, marks=pytest.mark.slow)])
def case(request):
    n = request.param
    vectors = np.load(ANN / "minilm_100k_f16.npy", mmap_mode="r")[:n]
    ivf = build(vectors, space="cosine")
    return ivf, vectors, np.load(ANN / "queries_f32.npy"), np.load(ANN / f"truth_ip_{n}.npy")


def found(ivf, queries, truth, **how):
    hits = [
        np.intersect1d(ivf.permutation[ivf.candidates(query, **how)[0]], best) for query, best in zip(queries, truth)
    ]
    return sum(map(len, hits)) / truth.size


def test_recall(case):
    ivf, _, queries, truth = case
    assert found(ivf, queries, truth[:, :10]) >= 0.96
    assert found(ivf, queries, truth[:, :10], sure=SURE) >= 0.955
    assert found(ivf.rough(), queries, truth[:, :10]) >= 0.96
    assert found(ivf, queries[:100], truth[:100], k=100) >= 0.95


def test_search_confirms(case):
    ivf, vectors, queries, truth = case
    ivf.attach(vectors[ivf.permutation])
    hits = 0
    for query, best in zip(queries, truth[:, :10]):
        rows, scores = ivf.search(query, 10)
        hits += len(np.intersect1d(ivf.permutation[rows], best))
        exact = ivf.exact[rows].astype(np.float32)
        np.testing.assert_allclose(scores, exact @ query / np.linalg.norm(exact, axis=1), atol=1e-5)
    ivf.attach(None)
    assert hits / truth[:, :10].size >= 0.955


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
def test_filters(case, share):
    ivf, vectors, queries, _ = case
    allow = np.random.default_rng(1).random(ivf.ntotal) < share
    queries = queries[:100]
    scores = queries @ vectors[allow].astype(np.float32).T
    truth = np.flatnonzero(allow)[np.argsort(-scores, 1)[:, :10]]
    assert found(ivf, queries, truth, allow=allow[ivf.permutation]) >= 0.95


def test_memory(case):
    """Five per cent of float32 is what a small budget leaves for codes."""
    ivf, *_ = case
    assert sum(held.nbytes for name, held in ivf.rough().arrays().items() if name != "permutation") / ivf.ntotal < 72
    assert ivf.coded.fine.nbytes / ivf.ntotal == 196
