"""The kind `hnsw`: a graph over int8 codes (`index/hnsw.py`) as a segment wants it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inglenook.index.form import Form
from inglenook.index.hnsw import HNSW
from inglenook.index.kind import Allow, Arrays, Built, Found, Steps, Vectors

WIDE = 64
"""How wide a query walks by default."""


def build(form: Form, vectors: Vectors, options: Mapping[str, int]) -> Steps:
    """A graph of vectors, in their order. `options`: M, ef_construction, seed."""
    graph = HNSW(
        form.dim, form.space, options.get("M", 16), options.get("ef_construction", 200), options.get("seed", 100),
        capacity=len(vectors),
    )  # fmt: skip
    graph.append(vectors)
    for _ in graph.linking():
        yield graph.linked, len(vectors)
    return Built(Network(form, graph), None)


def load(form: Form, arrays: Arrays) -> Network:
    """A graph from what `arrays` gave."""
    return Network(form, HNSW.from_arrays(arrays))


class Network:
    """An index kind."""

    exact = False

    def __init__(self, form: Form, graph: HNSW) -> None:
        self.form, self.graph, self.count = form, graph, graph.count

    @property
    def memory(self) -> int:
        return self.graph.memory

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        rows, scores = self.graph.search(query, want, max(effort or WIDE, want), allow)
        if self.form.space == "l2":
            scores = scores - np.float32(query @ query)
        return Found(rows, scores)

    def arrays(self) -> Arrays:
        return dict(self.graph.arrays())
