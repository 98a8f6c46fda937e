"""From texts to vectors: the flow that feeds whichever encoder there is (our kernel, or ONNX in `embed/session.py`)."""

from __future__ import annotations

import numpy as np

from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Encode, Flow

SPACE = "minilm-l6-v2"
"""The name stored beside vectors: only vectors of the same space can be compared."""

DIMENSIONS = 384


def passage(heading: str, text: str) -> str:
    """What is embedded of a chunk: its path of headings, then its text."""
    return f"{heading}\n{text}" if heading else text


def embed(texts: list[str], tokenizer: WordPiece, *, urgent: bool = False) -> Flow:
    """Embed a few `texts` at once (see `embed/conveyor.py` for many); equal ones travel once.

    Returns float32 rows of unit length, shape (len(texts), DIMENSIONS), in the order of `texts`.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, text in enumerate(texts):
        rows.setdefault(tuple(tokenizer.encode(text)), []).append(number)
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    if rows:
        answer = yield Encode([list(tokens) for tokens in rows], urgent)
        for numbers, vector in zip(rows.values(), answer, strict=True):
            vectors[numbers] = vector
    return vectors
