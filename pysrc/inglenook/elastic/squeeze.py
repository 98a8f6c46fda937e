"""Squeezing a prompt: which pieces of the passages the model gets to read, and how well it will answer from them.

ELMS (2409.09071, section 3.3) puts a small encoder with two heads before the language model: the score head says which
tokens of a prompt to keep, the decision head which pair of prompt share and sub-model to run. Here the encoder is the
one that is resident already (MiniLM, `flow.Encode`), and what is kept or dropped are pieces of sentences instead of
tokens (ours): a sentence with holes costs a small model more than it saves, and a citation has to find its words again.
Both heads weigh a dozen signs, of a piece or of a prompt (`elastic.heads`); the weights were learned from how much
likelier each piece, and each pair, makes the language model's answer (`train.prompt`). The question, the instructions
and the passages' labels are never dropped, and what is cited goes last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inglenook.elastic.heads import DECISION, SCORE
from inglenook.elastic.plan import Prompt, Quality
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.embed import encoder
from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Flow
from inglenook.search.lead import cues, leans, shares
from inglenook.search.sentences import starts
from inglenook.types import Hit, Span

GAP = " … "  # between pieces that do not follow one another in the source
LONG = 160  # characters; a longer sentence is cut where clauses or lines meet, one twice as long anywhere between words
SHORTEST, REST = 60, 40  # characters of a piece at least, and of what is left of its sentence

_CLAUSE = re.compile(r"(?:[;:,]|\s[–—-]{1,2})\s+|\n+")
_WORDS = re.compile(rf"(?s).{{{LONG // 2},{LONG}}}\s+")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of `hits[hit]`: `span` in the document's characters, `tokens` of the language model."""

    hit: int
    span: Span
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Read:
    """What is known of the passages of a prompt before the language model reads them.

    `signs` is (pieces, len(SIGNS)); `scores` (pieces,) tell by how many nats a token a piece makes the answer likelier.
    The pieces `cited` stay before all others.
    """

    hits: Sequence[Hit]
    pieces: list[Piece]
    signs: Floats
    scores: Floats
    cited: frozenset[int] = frozenset()

    @property
    def tokens(self) -> int:
        """Tokens of all pieces."""
        return sum(piece.tokens for piece in self.pieces)

    def keep(self, room: int, labels: Sequence[int]) -> list[list[Span]]:
        """The best pieces that fit in `room` tokens: of each hit the spans that stay, in order, neighbours joined.

        A hit of which anything stays costs `labels[hit]` tokens too, a gap one. A hit without spans is dropped.
        """
        kept: set[int] = set()
        shown: set[int] = set()
        for i in sorted(range(len(self.pieces)), key=lambda i: (i not in self.cited, -self.scores[i])):
            hit = self.pieces[i].hit
            cost = self.pieces[i].tokens + (1 if hit in shown else labels[hit])
            if cost <= room:
                room -= cost
                kept.add(i)
                shown.add(hit)
        return [
            _joined([self.pieces[i].span for i in sorted(kept) if self.pieces[i].hit == hit])
            for hit in range(len(self.hits))
        ]

    def chances(self, ratios: Sequence[float], shares: Sequence[float]) -> Floats:
        """What the decision head says: how good an answer will be, 1 being that of the whole model over everything.

        For each share of the model in `ratios` and of the pieces' tokens in `shares`: (ratios, shares), in 0..1.
        """
        rows = [situation(self, ratio, share) for ratio in ratios for share in shares]
        odds = _weighed(np.array(rows, np.float32).reshape(-1, len(SITUATION)), SITUATION, DECISION)
        return np.asarray(1 / (1 + np.exp(-odds)), np.float32).reshape(len(ratios), len(shares))

    def quality(self, known: Quality, ratios: Sequence[float], prompt: Prompt) -> Quality:
        """What the planner may expect of a prompt over these passages: of each level what is `known` of it, of each
        share that is kept what the decision head says."""
        room = min(1.0, (prompt.tokens - prompt.fixed) / max(1, self.tokens))
        rows = self.chances(ratios, [share * room for share in known.shares])
        table = [[known.expect(i, 1.0) * float(one / row[0]) for one in row] for i, row in enumerate(rows)]
        return Quality(known.shares, table)


def read(
    question: str,
    hits: Sequence[Hit],
    tokenizer: Tokenizer,
    wordpiece: WordPiece,
    cited: Sequence[tuple[str, Span]] = (),
) -> Flow:
    """Cut the passages of a prompt into pieces and score them; returns a `Read`. Yields `Encode`.

    `cited` are spans of documents that will stand beside the answer.
    """
    pieces = list(cut(hits, tokenizer))
    vectors = yield from encoder.embed([question, *(piece.text for piece in pieces)], wordpiece, urgent=True)
    table = signs(question, hits, pieces, vectors)
    return Read(hits, pieces, table, _weighed(table, SIGNS, SCORE), frozenset(_holding(hits, pieces, cited)))


def _holding(hits: Sequence[Hit], pieces: Sequence[Piece], spans: Sequence[tuple[str, Span]]) -> Iterator[int]:
    """The pieces that hold words of spans of documents."""
    for i, piece in enumerate(pieces):
        own = [span for document, span in spans if document == hits[piece.hit].document]
        if any(span.start < piece.span.end and piece.span.start < span.end for span in own):
            yield i


def cut(hits: Sequence[Hit], tokenizer: Tokenizer) -> Iterator[Piece]:
    """The pieces of passages in order: sentences, and the clauses of long ones. Together they are the whole text."""
    for number, hit in enumerate(hits):
        for start, end in borders(hit.text):
            text = hit.text[start:end]
            yield Piece(
                number, Span(hit.start + start, hit.start + end), text, len(tokenizer.encode(text, special=False))
            )


def borders(text: str) -> Iterator[tuple[int, int]]:
    """Where the pieces of a passage begin and end."""
    cuts = [0, *starts(text, 0, len(text)), len(text)] if text.strip() else []
    for start, end in pairwise(cuts):
        if end - start > LONG:
            for match in _CLAUSE.finditer(text, start, end):
                if match.end() - start >= SHORTEST and end - match.end() >= REST:
                    yield from _words(text, start, match.end())
                    start = match.end()
        yield from _words(text, start, end)


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A piece, or several of one that has no border of its own."""
    while end - start > 2 * LONG and (match := _WORDS.match(text, start, end - REST)):
        yield start, match.end()
        start = match.end()
    yield start, end


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, those that touch made one."""
    made: list[Span] = []
    for span in spans:
        if made and made[-1].end == span.start:
            made[-1] = Span(made[-1].start, span.end)
        else:
            made.append(span)
    return made


def shown(hit: Hit, spans: Sequence[Span]) -> str:
    """The text of what stays of a hit, as the model reads it."""
    return GAP.join(hit.text[span.start - hit.start : span.end - hit.start].strip() for span in spans)


SIGNS = (
    "meaning", "meaning of the neighbours", "meaning of the passage", "words", "cue", "rank", "first passage", "brief",
    "length", "place", "begins", "leans",
)  # fmt: skip


def signs(question: str, hits: Sequence[Hit], pieces: Sequence[Piece], vectors: Floats) -> Floats:
    """The signs of each piece, float32 (pieces, len(SIGNS)). `vectors` are the question's and the pieces' (unit)."""
    if not pieces:
        return np.zeros((0, len(SIGNS)), np.float32)
    number = np.array([piece.hit for piece in pieces])
    texts = [piece.text for piece in pieces]
    near = vectors[1:] @ vectors[0]
    same = number[1:] == number[:-1]
    before, after = np.r_[0.0, near[:-1] * same], np.r_[near[1:] * same, 0.0]
    passage, place = np.zeros(len(pieces)), np.zeros(len(pieces))
    for hit in set(number.tolist()):
        inside = number == hit
        mean = vectors[1:][inside].mean(axis=0)
        passage[inside] = mean @ vectors[0] / max(float(np.linalg.norm(mean)), 1e-9)
        place[inside] = np.arange(inside.sum()) / max(1, inside.sum() - 1)
    words = shares(question, [f"{text} {hits[piece.hit].heading}" for text, piece in zip(texts, pieces)])
    score = np.array([hit.score for hit in hits])
    columns = [
        near, np.maximum(before, after), passage, words, cues(question, texts),
        (score / (score.max() or 1.0))[number], number == 0,
        np.minimum(1.0, np.array([len(text) for text in texts]) / SHORTEST),
        np.log1p([piece.tokens for piece in pieces]), place, place == 0.0, [leans(text) for text in texts],
    ]  # fmt: skip
    return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)


SITUATION = (
    "best", "second", "mean", "worth kept", "share", "thinness", "ratio", "length", "meaning", "words"
)  # fmt: skip


def situation(read: Read, ratio: float, share: float) -> list[float]:
    """What the decision head looks at: a prompt of which `share` is kept, for `ratio` of the model."""
    if not read.pieces:
        return [0.0] * 4 + [share, 1 / max(share, 0.05), ratio] + [0.0] * 3
    order = np.argsort(-read.scores, kind="stable")
    scores = read.scores[order]
    worth = np.maximum(scores, 0.0) + 1e-3
    room = share * read.tokens - np.cumsum([read.pieces[i].tokens for i in order])
    kept = float(worth[room >= -0.5].sum() / worth.sum())
    best, second = float(scores[0]), float(scores[min(1, len(scores) - 1)])
    return [
        best, second, float(scores.mean()), kept, share, 1 / max(share, 0.05), ratio, math.log1p(read.tokens),
        *(float(read.signs[:, SIGNS.index(name)].max()) for name in ("meaning", "words")),
    ]  # fmt: skip


def _weighed(inputs: Floats, names: Sequence[str], head: Mapping[str, float]) -> Floats:
    """A head's answer (rows,): the inputs (rows, names) by their weights, and the constant."""
    weights = np.array([head[name] for name in names], np.float32)
    return np.asarray(inputs @ weights + np.float32(head["constant"]), np.float32)
