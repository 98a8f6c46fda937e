"""hnswlib, faiss and usearch on the machine, one thread, each at the least effort with recall@10 of 0.95."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from arms import RECALL, K, recall
from harness import packages
from numpy.typing import NDArray
from vectors import Set

PINS = ("hnswlib==0.8.0", "faiss-cpu==1.15.1", "usearch==2.26.6", "numkong==7.8.6", "tqdm==4.70.1")
"""usearch needs the last two."""
EFS = (16, 24, 32, 40, 64, 100, 160, 256)
M, EF_CONSTRUCTION = 16, 200

Ask = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""ask(query, ef) → ids."""


def measure(data: Set, rounds: int) -> dict[str, dict[str, Any]]:
    """p50 and p99 of each, and how it was built."""
    sys.path.append(str(packages(PINS)))
    rows = {}
    for name, build in (("hnswlib", _hnswlib), ("faiss", _faiss), ("usearch", _usearch)):
        began = time.perf_counter()
        ask = build(data)
        rows[name] = {"build_s": round(time.perf_counter() - began, 1), **_timed(ask, data, rounds)}
    return rows


def _timed(ask: Ask, data: Set, rounds: int) -> dict[str, float]:
    for ef in EFS:
        found = recall([ask(q, ef).tolist() for q in data.queries], data.truth)
        if found >= RECALL:
            break
    best = np.full(len(data.queries), np.inf)
    for _ in range(rounds):
        for i, query in enumerate(data.queries):
            began = time.perf_counter()
            ask(query, ef)
            best[i] = min(best[i], time.perf_counter() - began)
    p50, p99 = np.percentile(best * 1e3, [50, 99])
    return {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4), "recall": round(found, 4), "effort": ef}


def _hnswlib(data: Set) -> Ask:
    import hnswlib

    index = hnswlib.Index("ip", data.vectors.shape[1])
    index.init_index(len(data.vectors), M=M, ef_construction=EF_CONSTRUCTION)
    index.set_num_threads(1)
    index.add_items(data.vectors, num_threads=1)

    def ask(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.set_ef(ef)
        return index.knn_query(query, k=K, num_threads=1)[0][0].astype(np.int64)

    return ask


def _faiss(data: Set) -> Ask:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(data.vectors.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(data.vectors)

    def ask(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.hnsw.efSearch = ef
        return index.search(query[None], K)[1][0]

    return ask


def _usearch(data: Set) -> Ask:
    from usearch.index import Index

    index = Index(ndim=data.vectors.shape[1], metric="ip", connectivity=M, expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(data.vectors)), data.vectors, threads=1)

    def ask(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.expansion_search = ef
        return np.asarray(index.search(query, K, threads=1).keys, np.int64)

    return ask
