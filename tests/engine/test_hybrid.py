"""Reciprocal rank fusion against its definition."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from inglenook.search.hybrid import RANK, fuse, reciprocal


def ranking(*ids: int, scores: list[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    return np.array(ids, np.int64), np.array(scores or np.linspace(1, 0.5, len(ids)), np.float32)


def plain(lists: dict[str, tuple[np.ndarray, np.ndarray]], k: int, weights: dict[str, int], power: int) -> list[int]:
    """The definition, in exact fractions."""
    total: dict[int, Fraction] = {}
    best: dict[int, int] = {}
    for arm, (ids, scores) in lists.items():
        top = Fraction(float(scores[0])) if len(scores) else Fraction(1)
        for rank, (i, score) in enumerate(zip(ids.tolist(), scores.tolist()), 1):
            relative = max(Fraction(score), Fraction(0)) / top
            total[i] = total.get(i, Fraction(0)) + Fraction(weights[arm], RANK + rank) * relative**power
            best[i] = min(best.get(i, rank), rank)
    return sorted(total, key=lambda i: (-total[i], best[i], i))[:k]


@pytest.mark.parametrize(("form", "power"), [(fuse, 2), (reciprocal, 0)])
@pytest.mark.parametrize("seed", range(20))
def test_equals_its_definition(seed: int, form: Callable[..., tuple[np.ndarray, np.ndarray]], power: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["lexical", "vector", "hash"][: rng.integers(1, 4)]
    weights = {name: int(rng.integers(1, 4)) for name in names}
    lists = {}
    for name in names:
        found = rng.permutation(30)[: rng.integers(0, 25)].tolist()
        lists[name] = ranking(*found, scores=sorted(rng.normal(1, 0.5, len(found)), reverse=True))
    lists = {name: found for name, found in lists.items() if not len(found[1]) or found[1][0] > 0}
    ids, scores = form(lists, 12, weights)
    assert ids.tolist() == plain(lists, 12, weights, power)
    assert ids.dtype == np.int64 and scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all() and (scores <= 1).all()


def test_an_arm_that_is_sure_decides_over_one_that_is_not() -> None:
    sure, unsure = ranking(1, 2, 3, scores=[9.0, 2.0, 1.0]), ranking(3, 2, 1, scores=[0.21, 0.2, 0.2])
    assert fuse({"lexical": sure, "vector": unsure}, 1)[0].tolist() == [1]
    assert fuse({"lexical": unsure, "vector": sure}, 1)[0].tolist() == [1]


def test_what_both_arms_find_stands_above_what_one_finds() -> None:
    ids, _ = fuse({"lexical": ranking(1, 2, 3), "vector": ranking(4, 2, 5)}, 5)
    assert ids[0] == 2


def test_ties_do_not_depend_on_the_order_of_the_arms() -> None:
    one = fuse({"lexical": ranking(7, 3), "vector": ranking(3, 7)}, 5, {"lexical": 1, "vector": 1})
    other = fuse({"vector": ranking(3, 7), "lexical": ranking(7, 3)}, 5, {"lexical": 1, "vector": 1})
    assert one[0].tolist() == other[0].tolist() == [3, 7]


def test_what_an_arm_has_not_seen_yet_is_judged_by_the_others() -> None:
    lists = {"lexical": ranking(9, 2), "vector": ranking(1, 2), "hash": ranking(9)}
    ids, scores = fuse({"lexical": ranking(9), "vector": ranking(1, 2)}, 3, unseen={"vector": [9]})
    assert ids.tolist() == [9, 1, 2] and scores[0] == 1 and scores[1] == 0.5
    ids, scores = fuse(lists, 3, {"lexical": 3, "vector": 1, "hash": 1}, unseen={"vector": [9]})
    assert ids[0] == 9 and scores[0] == 1
    alone = fuse({"lexical": ranking(9, 2)}, 2, unseen={"vector": [9]})
    assert alone[1].tolist() == fuse({"lexical": ranking(9, 2)}, 2)[1].tolist()


def test_nothing_found() -> None:
    for lists in ({}, {"lexical": ranking()}, {"lexical": ranking(), "vector": ranking()}):
        ids, scores = fuse(lists, 5)
        assert len(ids) == len(scores) == 0
    assert len(fuse({"lexical": ranking(1)}, 0)[0]) == 0


def test_one_arm_alone_keeps_its_order() -> None:
    assert fuse({"lexical": ranking(5, 1, 9)}, 3)[0].tolist() == [5, 1, 9]
