"""Recall under conditions on metadata, on real embeddings and real questions: conditions that leave rows anywhere, and
such as leave one corner of the space, near the question or far from it."""

import os
from pathlib import Path

import numpy as np
import pytest
from inglenook.index import Index, kernel
from inglenook.index.store import MemoryStore

ANN = Path(os.environ.get("INGLENOOK_ANN", Path(__file__).parents[2].parent / "shared" / "data" / "ann"))
pytestmark = [
    pytest.mark.skipif(not ANN.exists(), reason="the embeddings of shared/data/ann are not here"),
    pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled"),
]
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)
ASKED = 60


class Durable(MemoryStore):
    """A dictionary that counts as storage."""


@pytest.fixture(scope="module", params=[20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def case(request):
    """Inverted lists. Rows are told by `roll`, a random number, and by `near`, their place in the order of nearness to
    some vector: both from 0 to 1."""
    n = request.param
    vectors = np.load(ANN / "minilm_100k_f16.npy", mmap_mode="r")[:n].astype(np.float32)
    random = np.random.default_rng(3)
    near = np.empty(n)
    near[np.argsort(-vectors @ vectors[random.integers(n)])] = np.arange(n) / n
    columns = {"roll": random.random(n), "near": near}
    index = Index("cosine", vectors.shape[1], store=Durable(), budget=vectors.nbytes // 2)
    index.add_items(vectors, metadata=columns)
    index.optimize()
    whole = Index("cosine", vectors.shape[1])
    whole.add_items(vectors, metadata=columns)
    whole.optimize()
    return {"from storage": index, "in memory": whole}, vectors, columns


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("field", ["roll", "near"])
@pytest.mark.parametrize("place", ["in memory", "from storage"])
def test_recall(case, place, field, share):
    indexes, vectors, columns = case
    allowed = np.flatnonzero(columns[field] < share)
    queries = np.load(ANN / "queries_f32.npy")[:ASKED]
    scores = queries @ vectors[allowed].T
    labels, _ = indexes[place].knn_query(queries, k=10, filter={field: {"$lt": share}})
    hits = total = 0
    for found, best in zip(labels, np.argsort(-scores, 1)[:, :10]):
        assert np.isin(found[found >= 0], allowed).all()
        hits += len(np.intersect1d(found, allowed[best]))
        total += len(best)
    assert hits >= 0.95 * total
