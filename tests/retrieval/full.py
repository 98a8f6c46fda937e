"""The encoder in full float32, to see what quantising it costs in recall.

By onnxruntime, which is faster than the plain pass; tests/system/test_embed_vectors.py holds both to one another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from inglenook.embed import encoder
from inglenook.embed.reference import read_safetensors
from inglenook.embed.session import OnnxEncoder
from inglenook.embed.tokenizer import WordPiece
from inglenook.onnx import InferenceSession
from inglenook.wire import messages as wire

from tests.reference import embed_models
from tests.retrieval.judged import ROOT, Judge

WEIGHTS = ROOT / "static" / "models" / "minilm-l6.safetensors"


def compare(judge: Judge, others: int) -> tuple[np.ndarray, np.ndarray, float]:
    """At which rank each question finds a right passage by vectors alone, with the shipped encoder and with the float32
    one; the first is 1.

    Searched are all right passages and `others` more. Returns both, and the mean cosine of the two encoders' vectors.
    """
    every = passages(judge)
    right = [{n for n, (path, a, b, _) in enumerate(every) if judge.right(q, path, a, b)} for q in judge.asked]
    needed = sorted(set.union(*right))
    rest = sorted(set(range(len(every))) - set(needed))
    pool = needed + np.random.default_rng(0).choice(rest, min(others, len(rest)), replace=False).tolist()
    tokenizer = _tokenizer(judge)
    model = judge.nook._engine._model("encoder")
    texts = [every[n][3] for n in pool] + [q.question for q in judge.asked]

    with InferenceSession(embed_models.minilm(read_safetensors(WEIGHTS.read_bytes()))) as session:
        exact = _embed(texts, tokenizer, OnnxEncoder(session).encode)
    shipped = _embed(texts, tokenizer, model.encode)
    cosine = float((shipped * exact).sum(axis=1).mean())
    return _ranks(shipped, pool, right), _ranks(exact, pool, right), cosine


def _ranks(vectors: np.ndarray, pool: list[int], right: list[set[int]]) -> np.ndarray:
    near = vectors[len(pool) :] @ vectors[: len(pool)].T
    best = [row[[n in wanted for n in pool]].max() for row, wanted in zip(near, right)]
    return 1 + (near > np.array(best)[:, None]).sum(axis=1)


def passages(judge: Judge) -> list[tuple[str, int, int, str]]:
    """(path, start, end, what is embedded) of every passage."""
    found: list[tuple[str, int, int, str]] = []
    for card in judge.nook.documents():
        [read] = judge.nook.stream(wire.Inspect(card.document))
        assert isinstance(read, wire.Chunks)
        text = read.document.text
        found += [
            (card.path, c.start, c.end, encoder.passage(c.heading, text[c.start : c.end])) for c in read.document.chunks
        ]
    return found


def _tokenizer(judge: Judge) -> WordPiece:
    judge.search(judge.asked[0].question, "vector")  # loads it
    tokenizer = judge.nook.library.tokenizers["encoder"]
    assert isinstance(tokenizer, WordPiece)
    return tokenizer


def _embed(texts: list[str], tokenizer: WordPiece, encode: Callable[[list[list[int]]], np.ndarray]) -> np.ndarray:
    tokens = [tokenizer.encode(text) for text in texts]
    order = sorted(range(len(tokens)), key=lambda n: len(tokens[n]))  # of like length: little padding
    vectors = np.concatenate([encode([tokens[n] for n in order[at : at + 16]]) for at in range(0, len(order), 16)])
    return vectors[np.argsort(order)]
