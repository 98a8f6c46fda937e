"""From texts to vectors: the flow that feeds whichever encoder there is (our kernel, or ONNX in `embed/session.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Encode, Flow, Pause

SPACE = "minilm-l6-v2"
"""The name stored beside vectors: only vectors of the same space can be compared."""

DIMENSIONS = 384

_BATCH_PASSAGES = 32
_BATCH_TOKENS = 2048
_TEXTS_BETWEEN_PAUSES = 32


def passage(heading: str, text: str) -> str:
    """What is embedded of a chunk: its path of headings, then its text."""
    return f"{heading}\n{text}" if heading else text


def embed(
    texts: list[str],
    tokenizer: WordPiece,
    *,
    urgent: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Flow:
    """Embed `texts`; returns float32 rows of unit length, shape (len(texts), DIMENSIONS), in the order of `texts`.

    Texts of like length travel together and equal ones travel once. Batches are small (about half a second of work), so
    that Stop takes effect between them. After each, `progress(done)` gives the event to emit, if it is given; `done`
    counts texts.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, text in enumerate(texts):
        rows.setdefault(tuple(tokenizer.encode(text)), []).append(number)
        if number % _TEXTS_BETWEEN_PAUSES == _TEXTS_BETWEEN_PAUSES - 1:
            yield Pause()
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    done = 0
    for batch in _batches(sorted(rows, key=len, reverse=True)):
        answer = yield Encode([list(tokens) for tokens in batch], urgent)
        for tokens, vector in zip(batch, answer):
            vectors[rows[tokens]] = vector
            done += len(rows[tokens])
        if progress:
            yield progress(done)
    return vectors


def _batches(sequences: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Cut sequences, longest first, into runs that hold few tokens even when padded to their longest."""
    start = 0
    while start < len(sequences):
        size = max(1, min(_BATCH_PASSAGES, _BATCH_TOKENS // len(sequences[start])))
        yield sequences[start : start + size]
        start += size
