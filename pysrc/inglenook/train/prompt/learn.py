"""From labels to the two heads, and how good those are on examples they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inglenook.elastic import squeeze
from inglenook.search.lead import CUE, MEANING, RANK, WORDS
from inglenook.train.prompt.fit import logistic, ridge
from inglenook.train.prompt.label import SHARES
from inglenook.types import Span

Json = dict[str, Any]

GAINS = (-1.0, 5.0)
"""Gains are cut to this, in nats a token, so that no single answer decides."""
KNOWN = {"meaning": MEANING, "words": WORDS, "cue": CUE, "rank": RANK}
"""Weights that find leads: where the labels say nothing else, they hold."""
STRENGTH, PULL = 1000.0, 3.0  # rows, see `fit`
FOLDS = 5


def heads(rows: Sequence[Json]) -> tuple[Json, Json]:
    """Fit both heads to labelled examples (`run.label`).

    Returns the weights by name, and a report by cross-validation: each fifth of the examples by heads of the others.
    """
    ranked, foretold = [], []
    for fold in range(FOLDS):
        learned = [row for i, row in enumerate(rows) if i % FOLDS != fold]
        score = _score(learned)
        ranked += [_ranked(score, row) for row in rows[fold::FOLDS]]
        foretold.append(_foretold(score, learned, rows[fold::FOLDS]))
    score = _score(rows)
    report = {"examples": len(rows), **_means(ranked), "error": _means(foretold)}
    decision = _decision(score, rows)
    return {"SCORE": _named(squeeze.SIGNS, score), "DECISION": _named(squeeze.SITUATION, decision)}, report


def _score(rows: Sequence[Json]) -> np.ndarray:
    asked = [
        (number, signs, gain)
        for number, row in enumerate(rows)
        for signs, gain in zip(row["signs"], row["gains"], strict=True)
        if gain is not None
    ]
    groups, signs, gains = (np.array(column, np.float64) for column in zip(*asked, strict=True))
    known = np.array([KNOWN.get(name, 0.0) for name in squeeze.SIGNS])
    return ridge(signs, np.clip(gains, *GAINS), groups, STRENGTH, known)


def _decision(score: np.ndarray, rows: Sequence[Json]) -> np.ndarray:
    return logistic(*_pairs(score, rows), PULL)


def _pairs(score: np.ndarray, rows: Sequence[Json]) -> tuple[np.ndarray, np.ndarray]:
    """What the decision head sees of each pair, and how good the answer was: its likelihood a token, 1 at most,
    relative to that of the whole model after the whole prompt."""
    seen, good = [], []
    for row in rows:
        read = _read(score, row)
        for ratio, made in zip(row["ratios"], row["pairs"], strict=True):
            for share, nats in zip(SHARES, made, strict=True):
                seen.append(squeeze.situation(read, ratio, share))
                good.append(min(1.0, float(np.exp(nats - row["pairs"][0][0]))))
    return np.array(seen), np.array(good)


def _read(score: np.ndarray, row: Json) -> squeeze.Read:
    signs = np.array(row["signs"], np.float32)
    pieces = [squeeze.Piece(hit, Span(0, 0), "", tokens) for hit, tokens in zip(row["hit"], row["tokens"], strict=True)]
    return squeeze.Read([], pieces, signs, (signs @ score[:-1] + score[-1]).astype(np.float32))


def _ranked(score: np.ndarray, row: Json) -> Json:
    """Of the gain of the best piece that was judged, what those give that score, mean and say most."""
    judged = [i for i, gain in enumerate(row["gains"]) if gain is not None]
    gains, signs = np.array([row["gains"][i] for i in judged]), np.array([row["signs"][i] for i in judged])
    known = np.array([KNOWN.get(name, 0.0) for name in squeeze.SIGNS])
    best = max(float(gains.max()), 1e-3)
    orders = {"score": signs @ score[:-1], "meaning": signs[:, 0], "by_hand": signs @ known}
    return {f"gain_by_{name}": float(gains[order.argmax()]) / best for name, order in orders.items()}


def _foretold(score: np.ndarray, learned: Sequence[Json], held: Sequence[Json]) -> Json:
    """How far off (root mean square) are the decision head, a table that knows nothing but the pair, and the mean."""
    decision, (situations, good) = _decision(score, learned), _pairs(score, held)
    known = _pairs(score, learned)[1].reshape(len(learned), -1)
    guesses = {
        "decision": 1 / (1 + np.exp(-(situations @ decision[:-1] + decision[-1]))),
        "table": np.tile(known.mean(axis=0), len(held)),
        "mean": np.full(len(good), known.mean()),
    }
    return {name: float(np.sqrt(((guess - good) ** 2).mean())) for name, guess in guesses.items()}


def _means(rows: Sequence[Json]) -> Json:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _named(names: Sequence[str], weights: np.ndarray) -> Json:
    return {name: round(float(weight), 4) for name, weight in zip([*names, "constant"], weights, strict=True)}
