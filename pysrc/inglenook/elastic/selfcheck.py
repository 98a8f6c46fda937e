"""The first logits of a backend, held against a stored reference: one that computes wrongly never writes a word.

The reference is made by the float passes when the artifact is made (`make`) and lies beside it as JSON, 2 kB a level.
At load a backend is asked for the logits of the same few tokens (`flow`); where they are not near that is
NookError("backend"), and a driver tries its next build. Roundings may differ between backends: see `COSINE`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from inglenook.errors import NookError
from inglenook.flow import Candidates, Flow, Forward

TOKENS = 6
"""A prompt that our kernel reads within some 30 ms. For other backends take one of 80 and more: attention over many
positions may be code of its own, and wrong where that over few is right."""
BEST, SPREAD = 16, 48
"""Logits that are held against each other: the best, and some evenly over the vocabulary."""
COSINE = 0.995
"""Of logits less their mean. Our kernels, whose activations have 8 bits, reach 0.9995."""


def prompt(vocabulary: int, count: int = TOKENS) -> list[int]:
    """Tokens that any model has, far from each other."""
    return [(500 + 7919 * i) % vocabulary for i in range(count)]


def make(logits: Sequence[np.ndarray], count: int = TOKENS) -> bytes:
    """The reference, from the logits after the last token of the prompt of `count`, each (vocabulary,), by level."""
    rows: list[dict[str, Any]] = []
    for level, row in enumerate(logits):
        best = np.argsort(-row, kind="stable")[:BEST]
        ids = sorted({*best.tolist(), *np.linspace(0, len(row) - 1, SPREAD).astype(int).tolist()})
        rows.append(
            {
                "level": level,
                "vocabulary": len(row),
                "tokens": count,
                "ids": ids,
                "logits": [round(float(row[i]), 4) for i in ids],
            }
        )
    return json.dumps(rows, separators=(",", ":")).encode()


def flow(reference: bytes) -> Flow:
    """Ask a backend for what the reference holds. Effects: Forward. Raises NookError("backend" | "model-corrupt").

    Of several levels the whole and the smallest are asked. It takes the first key-value pages, which it leaves free.
    """
    rows = _read(reference)
    for row in rows[:1] + rows[1:][-1:]:
        size, ids = row["vocabulary"], row["ids"]
        allow = np.zeros(size, np.uint8)
        allow[ids] = 1
        bits = np.packbits(allow, bitorder="little").tobytes()
        best = yield Forward(prompt(size, row["tokens"]), 0, len(ids), level=row["level"], allow=bits)
        verify(best, ids, row["logits"])


def verify(best: Candidates, ids: Sequence[int], logits: Sequence[float]) -> None:
    """Raise NookError("backend") unless the logits of `ids` are near."""
    found = dict(zip(best.ids.tolist(), np.asarray(best.logits, np.float64).tolist(), strict=True))
    if found.keys() != set(ids):
        raise _wrong("it does not give the logits it is asked for")
    near = _cosine(np.array([found[i] for i in ids]), np.array(logits))
    if not near >= COSINE:
        raise _wrong(f"cosine {near:.3f} to the reference")


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of what differs from the mean; NaN where something is not a number, 0 where all are equal."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _read(reference: bytes) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(reference)
        if not rows or any(len(row["ids"]) != len(row["logits"]) for row in rows):
            raise ValueError("nothing to compare with")
        return rows
    except (ValueError, KeyError, TypeError) as error:
        raise NookError("model-corrupt", "The model's self-check is damaged.", "Build the model anew.") from error


def _wrong(what: str) -> NookError:
    return NookError(
        "backend", f"The language model computes wrongly on this device: {what}.",
        "Update the browser or the graphics driver; search works without the model.",
    )  # fmt: skip
