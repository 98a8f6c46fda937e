"""Reciprocal rank fusion against its definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from inglenook.search.hybrid import RANK, fuse


def ranking(*ids: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(ids, np.int64), np.linspace(1, 0.5, len(ids)).astype(np.float32)


def plain(lists: dict[str, list[int]], k: int, weights: dict[str, int]) -> list[int]:
    scores: dict[int, Fraction] = {}
    best: dict[int, int] = {}
    for arm, ids in lists.items():
        for rank, i in enumerate(ids, 1):
            scores[i] = scores.get(i, Fraction(0)) + Fraction(weights[arm], RANK + rank)
            best[i] = min(best.get(i, rank), rank)
    return sorted(scores, key=lambda i: (-scores[i], best[i], i))[:k]


@pytest.mark.parametrize("seed", range(20))
def test_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["lexical", "vector", "hash"][: rng.integers(1, 4)]
    weights = {name: int(rng.integers(1, 4)) for name in names}
    lists = {name: rng.permutation(30)[: rng.integers(0, 25)].tolist() for name in names}
    ids, scores = fuse({name: ranking(*found) for name, found in lists.items()}, 12, weights)
    assert ids.tolist() == plain(lists, 12, weights)
    assert ids.dtype == np.int64 and scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()


def test_what_both_arms_find_stands_above_what_one_finds() -> None:
    ids, _ = fuse({"lexical": ranking(1, 2, 3), "vector": ranking(4, 2, 5)}, 5)
    assert ids[0] == 2


def test_ties_do_not_depend_on_the_order_of_the_arms() -> None:
    one = fuse({"lexical": ranking(7, 3), "vector": ranking(3, 7)}, 5, {"lexical": 1, "vector": 1})
    other = fuse({"vector": ranking(3, 7), "lexical": ranking(7, 3)}, 5, {"lexical": 1, "vector": 1})
    assert one[0].tolist() == other[0].tolist() == [3, 7]


def test_nothing_found() -> None:
    for lists in ({}, {"lexical": ranking()}, {"lexical": ranking(), "vector": ranking()}):
        ids, scores = fuse(lists, 5)
        assert len(ids) == len(scores) == 0
    assert len(fuse({"lexical": ranking(1)}, 0)[0]) == 0


def test_one_arm_alone_keeps_its_order() -> None:
    assert fuse({"lexical": ranking(5, 1, 9)}, 3)[0].tolist() == [5, 1, 9]
