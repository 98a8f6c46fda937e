"""Reciprocal rank fusion: one ranking out of several.

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"
(SIGIR 2009): a passage's score is the sum over the arms of weight / (60 + rank), rank counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RANK = 60
WEIGHTS = {"lexical": 1.0, "vector": 1.0, "hash": 0.5}
DEPTH = 100  # how many passages to ask each arm for, at least

Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]


def fuse(lists: Mapping[str, Ranking], k: int, weights: Mapping[str, float] = WEIGHTS) -> Ranking:
    """The `k` best ids and their fused scores, best first; `lists` holds each arm's ids and scores, best first.

    An arm without a weight counts 1. Ties go to the passage that stands higher in some arm, then to the smaller id, so
    the same lists always give the same ranking.
    """
    arms = [(np.asarray(ids, np.int64), weights.get(arm, 1.0)) for arm, (ids, _) in lists.items() if len(ids)]
    if not arms or k < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    ids, place = np.unique(np.concatenate([ids for ids, _ in arms]), return_inverse=True)
    ranks = np.concatenate([np.arange(1, len(ids) + 1) for ids, _ in arms])
    worth = np.concatenate([weight / (RANK + np.arange(1, len(ids) + 1)) for ids, weight in arms])
    scores = np.bincount(place, worth, len(ids))
    best = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(best, place, ranks)
    order = np.lexsort((ids, best, -scores.round(12)))[:k]
    return ids[order], scores[order].astype(np.float32)
