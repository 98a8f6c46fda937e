"""Walks through a graph of near neighbours in plain Python: the oracle of wasm/hnsw.c, and the way where no kernel is.

The numbers are the kernel's to the bit: scores are made of the same integers by the same float32 operations.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.graph import Graph
from inglenook.index.kernel import Allow, Rows, Scores
from inglenook.index.quantise import quantise

Near = tuple[float, int]
"""(-score, row): the best come first, of equal ones the lower row."""
Score = Callable[[list[int]], list[float]]
GLANCE = 16
NONE = np.float32(0)


def neighbours(graph: Graph, row: int, level: int) -> list[int]:
    """The rows that `row` links to on a level."""
    return [link for link in graph.lists_of(row, level).tolist() if link >= 0]


def descend(graph: Graph, score: Score, best: Near, start: int, end: int) -> Near:
    """Algorithm 2 with ef = 1, from level `start` down to just above `end`."""
    for level in range(start, end, -1):
        before = None
        while before != best:
            before = best
            rows = neighbours(graph, best[1], level)
            best = min([best, *((-value, row) for value, row in zip(score(rows), rows))])
    return best


def explore(graph: Graph, score: Score, start: Near, level: int, ef: int) -> list[Near]:
    """Algorithm 2: the `ef` nearest that a walk from `start` finds, best first."""
    pool, seen, followed = [start], {start[1]}, set[int]()
    while True:
        row = next((row for _, row in pool if row not in followed), None)
        if row is None:
            return pool
        followed.add(row)
        rows = [link for link in neighbours(graph, row, level) if link not in seen]
        seen.update(rows)
        for value, link in zip(score(rows), rows):
            insort(pool, (-value, link))
        del pool[ef:]


class Plain:
    """Searching and building by the functions above."""

    memory = 0

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    # ── searching

    def search(self, query: NDArray[np.floating[Any]], ef: int, want: int, allow: Allow | None) -> tuple[Rows, Scores]:
        prepared, offset = self._question(query)
        code = quantise(prepared[None])
        return self.search_code(code.codes[0], code.scale[0], offset, ef=ef, want=want, allow=allow)

    def search_code(
        self, code: NDArray[np.int8], scale: np.float32, offset: np.float32, *, ef: int, want: int, allow: Allow | None
    ) -> tuple[Rows, Scores]:
        """The search for a query that is a code already; `offset` is added to the scores."""
        graph = self.graph
        score = self._target(code, scale)
        permitted = graph.linked if allow is None else int(np.count_nonzero(allow[: graph.linked]))
        if graph.entry < 0 or want < 1 or not permitted:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        alone = allow is not None and permitted**2 < 2 * graph.m * ef * graph.linked
        if allow is not None and alone:
            rows = np.flatnonzero(allow[: graph.linked]).tolist()
            pool = sorted((-value, row) for value, row in zip(score(rows), rows))[:ef]
        else:
            start = descend(graph, score, (-score([graph.entry])[0], graph.entry), graph.top, 0)
            if allow is None or permitted == graph.linked:
                pool = explore(graph, score, start, 0, ef)
            else:
                pool = self._explore_allowed(score, start, ef, allow)
        found: list[Near] = []
        for value, first in pool:
            rows = [first] if alone else self._twins(first)
            found += [(value, row) for row in rows if allow is None or allow[row]]
        values = np.array([-value for value, _ in found[:want]], np.float32)
        return np.array([row for _, row in found[:want]], np.int32), values + np.float32(offset)

    def confirm(
        self, query: NDArray[np.floating[Any]], rows: Rows, vectors: NDArray[np.floating[Any]]
    ) -> tuple[Rows, Scores]:
        """Exact scores of rows, and the rows in their order."""
        asked, near = np.asarray(query, np.float32).astype(np.float64), np.asarray(vectors[rows], np.float64)
        values = (near * (2 * asked - near) if self.graph.space == "l2" else near * asked).sum(axis=1)
        if self.graph.space == "cosine":
            values /= float(np.sqrt(asked @ asked)) or 1.0
        scores = values.astype(np.float32)
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def _question(self, query: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], np.float32]:
        given, graph = np.asarray(query, np.float32), self.graph
        squares = float(given.astype(np.float64) @ given.astype(np.float64))
        if graph.space == "cosine" and 0 < squares <= 3e38:
            given = given / np.float32(np.sqrt(squares))
        values: NDArray[np.float32] = given - graph.centre
        left = float(values.astype(np.float64) @ values.astype(np.float64))
        if not (squares <= 3e38 and left <= 3e38):
            raise NookError("bad-vector", "The query is not made of finite numbers.", "Embed it again.")
        middle = float(given.astype(np.float64) @ graph.centre.astype(np.float64))
        return values, np.float32(squares - left if graph.space == "l2" else middle)

    def _explore_allowed(self, score: Score, start: Near, ef: int, allow: Allow) -> list[Near]:
        waiting, seen, pool = [start], {start[1]}, list[Near]()
        if any(allow[row] for row in self._twins(start[1])):
            pool.append(start)
        while waiting:
            best = heappop(waiting)
            if len(pool) == ef and pool[-1] < best:
                break
            rows = [link for link in neighbours(self.graph, best[1], 0) if link not in seen]
            seen.update(rows)
            for value, row in zip(score(rows), rows):
                near = (-value, row)
                if len(pool) == ef and pool[-1] < near:
                    continue
                heappush(waiting, near)
                if any(allow[twin] for twin in self._twins(row)):
                    insort(pool, near)
                    del pool[ef:]
        return pool

    def _twins(self, row: int) -> list[int]:
        chain = []
        while row >= 0:
            chain.append(row)
            row = int(self.graph.facts["twin"][row])
        return chain

    def _target(self, code: NDArray[np.int8], scale: np.float32, bias: np.float32 = NONE) -> Score:
        graph = self.graph
        half = (code.astype(np.int32) >> 1) + 64
        unit = scale * np.float32(1.0 if graph.space == "l2" else 0.5)

        def score(rows: list[int]) -> list[float]:
            fact = graph.facts[rows]
            dots = 4 * (graph.codes[rows].astype(np.int32) @ half) - fact["shift"]
            values: list[float] = (dots.astype(np.float32) * (unit * fact["scale"]) + fact["bias"] + bias).tolist()
            return values

        return score

    def _row(self, row: int) -> Score:
        fact = self.graph.facts[row]
        return self._target(self.graph.codes[row], fact["scale"], fact["bias"])

    # ── building

    def insert(self, more: int) -> None:
        for _ in range(more):
            self._insert(self.graph.linked)
            self.graph.linked += 1
            self.graph.version += 1

    def _insert(self, row: int) -> None:
        """Algorithm 1."""
        graph, level = self.graph, int(self.graph.levels[row])
        if graph.entry < 0:
            graph.entry, graph.top = row, level
            return
        score, high = self._row(row), min(level, graph.top)
        best = descend(graph, score, (-score([graph.entry])[0], graph.entry), graph.top, level)
        if level:
            low = descend(graph, score, best, high, 0)
            if self._is_twin(explore(graph, score, low, 0, GLANCE), row):
                return
        for at in range(high, -1, -1):
            pool = explore(graph, score, best, at, graph.effort)
            if not level and self._is_twin(pool, row):
                return
            best = pool[0]
            chosen = self._choose(pool, graph.m)
            graph.lists_of(row, at)[: len(chosen)] = chosen
            for other in chosen:
                self._link_back(other, row, at)
        if level > graph.top:
            graph.entry, graph.top = row, level

    def _is_twin(self, pool: list[Near], row: int) -> bool:
        graph = self.graph
        for value, first in pool:
            if value > pool[0][0]:
                break
            same = (graph.codes[first] == graph.codes[row]).all()
            if same and graph.facts["scale"][first] == graph.facts["scale"][row]:
                graph.facts["twin"][row] = graph.facts["twin"][first]
                graph.facts["twin"][first] = row
                return True
        return False

    def _choose(self, pool: list[Near], most: int) -> list[int]:
        """Algorithm 4: those nearer to the target than to any one chosen before."""
        chosen: list[int] = []
        for value, row in pool:
            if len(chosen) == most:
                break
            if len(pool) <= most or not any(near > -value for near in self._row(row)(chosen)):
                chosen.append(row)
        return chosen

    def _link_back(self, other: int, row: int, level: int) -> None:
        links = self.graph.lists_of(other, level)
        rows = neighbours(self.graph, other, level)
        if len(rows) < len(links):
            links[len(rows)] = row
            return
        rows.append(row)
        chosen = self._choose(sorted((-value, near) for value, near in zip(self._row(other)(rows), rows)), len(links))
        links[:] = -1
        links[: len(chosen)] = chosen
