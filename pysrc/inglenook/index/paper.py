"""The kind `webanns`: WebANNS (2507.00521) as its authors have it, to be compared with.

The graph is in memory, the float vectors lie in storage one by one, and phased lazy loading (`index/lazy.py`) brings
them into a cache from which the oldest go first. As in the paper the budget is what vectors may take in memory, and the
graph comes on top of it. A filter, which the paper does not have, leaves out of what a walk found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from inglenook.errors import NookError
from inglenook.flow import Flow
from inglenook.index import lazy, network
from inglenook.index.cache import Cache
from inglenook.index.form import Form
from inglenook.index.hnsw import HNSW
from inglenook.index.kind import Allow, Arrays, Built, Found, Steps, Vectors
from inglenook.index.quantise import stride

WIDE = 100
"""How wide a query walks by default."""


def build(form: Form, vectors: Vectors, options: Mapping[str, int]) -> Steps:
    """A graph of vectors, in their order. `options` as those of the kind `hnsw`."""
    built = yield from network.build(form, vectors, options)
    graph = built.kind.graph  # type: ignore[attr-defined]
    return Built(Paper(form, graph), None)


def load(form: Form, arrays: Arrays) -> Paper:
    """A graph from what `arrays` gave."""
    codes = np.zeros((len(arrays["levels"]), stride(form.dim)), np.int8)
    return Paper(form, network.load(form, arrays | {"codes": codes}).graph)


class Paper:
    """An index kind that reads while it searches: it has `walk` in place of `candidates`."""

    exact = False

    def __init__(self, form: Form, graph: HNSW) -> None:
        if form.dtype != "f4":
            hint = "Keep float32, or choose another kind."
            raise NookError("bad-kind", "The kind webanns is for vectors of float32.", hint)
        self.form, self.graph, self.count = form, graph, graph.count
        graph.graph.codes = graph.graph.codes[:0].copy()
        graph.graph.version += 1
        self.cache = Cache(self.count, form.dim, 0, "fifo")

    @property
    def memory(self) -> int:
        return self.graph.memory + self.cache.memory

    def hold(self, budget: int | None) -> None:
        """Let vectors take so many bytes of memory; None: all of them."""
        most = self.count * self.form.width
        room = (most if budget is None else min(budget, most)) // self.form.width
        if room != self.cache.room:
            self.cache.fit(room * self.form.width)

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        raise NotImplementedError("its walks read")

    def walk(self, query: Vectors, k: int, effort: int, key: Callable[[int], str], payload: lazy.Payload) -> Flow:
        """Up to `k` rows near a query and their scores, best first, and how often storage was asked. `key` names the
        page of a row, `payload` is what of it is the vector."""
        trips = self.cache.trips
        width = max(effort or WIDE, k)
        rows, scores = yield from lazy.search(self.graph, query, k, width, self.cache, key=key, payload=payload)
        if self.form.space == "l2":
            scores = scores - np.float32(query @ query)
        return rows, scores, self.cache.trips - trips

    def arrays(self) -> Arrays:
        arrays: Arrays = dict(self.graph.arrays())
        del arrays["codes"]
        return arrays
