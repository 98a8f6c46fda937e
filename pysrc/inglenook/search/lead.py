"""The extracted answer: the sentence or two of the sources that answer best, copied, not written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inglenook.embed import encoder
from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Flow
from inglenook.search.lexical import content
from inglenook.search.sentences import sentences
from inglenook.search.terms import terms
from inglenook.types import Hit, Span

READ = 5  # hits whose sentences are considered
ENCODED = 12  # sentences that are embedded, the most promising ones
SHORT = 60  # characters; a shorter sentence takes its neighbour along
WORDS, MEANING, CUE, RANK = 1.0, 2.0, 0.15, 0.6  # what each sign is worth; chosen on half of tests/retrieval

Answer = tuple[Hit, int, int, float]

_COUNT = r"""
    \d | \b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|million|billion
    |half|third|quarter|double[ds]?|twice|percent)\b
"""
_DATE = r"""
    \b\d{4}\b | \b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b
"""
_NAME = r"(?<=\w\s)[A-Z][a-z]+"
_PLACE = r"\b(?:in|at|from|of|to|near)\s+(?:the\s+)?[A-Z][a-z]+"
_REASON = r"\b(?:because|since|for|therefore|thus|reason|so\sthat|in\sorder|cause[ds]?|owing|due)\b"
# A question of the first kind is answered by a sentence with the second.
_CUES = [
    (re.compile(asked, re.IGNORECASE | re.VERBOSE), re.compile(sign, re.VERBOSE | flags))
    for asked, sign, flags in [
        (
            r"\bhow\s(?:many|much|long|far|often|old|big|large|high|tall|fast)\b | \bwhat\s(?:number|share)\b",
            _COUNT,
            re.I,
        ),
        (r"\bwhen\b | \b(?:what|which)\s(?:year|date|day|month)\b", _DATE, re.I),
        (r"\bwho(?:m|se)?\b | \bwhich\s(?:person|president|officer|general)\b", _NAME, re.NOFLAG),
        (r"\bwhere\b | \bwhich\s(?:city|country|state|region|place)\b", _PLACE, re.NOFLAG),
        (r"\bwhy\b", _REASON, re.I),
    ]
]
_LEANS = re.compile(r"(?:It|This|That|These|Those|They|He|She|Such|But|And|So|Thus|Therefore|Yet|Both)\b")


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of a hit; `span` is in the hit's text."""

    hit: Hit
    rank: int
    number: int
    span: Span
    text: str


def lead(question: str, hits: Sequence[Hit], tokenizer: WordPiece | None = None, most: int = 2) -> Flow:
    """A flow; returns up to `most` extracts as (hit, start, end, score), best first, in the document's characters.

    Sentences are weighed by the question's words they hold (rare ones count more), by a sign of what was asked for (a
    number, a date, a name), by the rank of their passage, and by meaning if there is a tokenizer: then the best are
    embedded, which yields `Encode`. A sentence that leans on the one before it takes it along.
    """
    told = [
        _Sentence(hit, rank, number, span, hit.text[span.start : span.end])
        for rank, hit in enumerate(hits[:READ])
        for number, span in enumerate(sentences(hit.text))
    ]
    if not told:
        return []
    scores = _plain(question, told)
    if tokenizer is not None:
        few = np.argsort(-scores, kind="stable")[:ENCODED]
        vectors = yield from encoder.embed([question, *(told[i].text for i in few)], tokenizer, urgent=True)
        scores = scores - 9.0  # those that were not embedded stay behind
        scores[few] += 9.0 + MEANING * (vectors[1:] @ vectors[0])
    order = np.argsort(-scores, kind="stable")
    chosen: list[Answer] = []
    for i in order:
        near = scores[i] >= 0.8 * scores[order[0]]
        if len(chosen) == most or not near:
            break
        if all(told[i].hit is not hit for hit, *_ in chosen):
            span = _whole(told, int(i))
            hit = told[i].hit
            chosen.append((hit, hit.start + span.start, hit.start + span.end, float(scores[i])))
    return chosen


def shares(question: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Which share of the question's words, rare ones counting more, each of the texts holds."""
    wanted = list(dict.fromkeys(content(question)))
    held = [set(terms(text)) for text in texts]
    weight = [math.log(1 + len(held) / (1 + sum(word in words for words in held))) for word in wanted]
    total = sum(weight) or 1.0
    return np.array([sum(w for w, word in zip(weight, wanted) if word in words) / total for words in held])


def cues(question: str, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the texts show a sign of what is asked for: a number, a date, a name, a place, a reason."""
    looked = [sign for asked, sign in _CUES if asked.search(question)]
    return np.array([any(sign.search(text) for sign in looked) for text in texts], bool)


def leans(text: str) -> bool:
    """Whether a sentence speaks of what the one before it named."""
    return bool(_LEANS.match(text))


def _plain(question: str, told: list[_Sentence]) -> NDArray[np.float64]:
    """Scores from words, cues and ranks."""
    shared = shares(question, [f"{one.text} {one.hit.heading}" for one in told])
    cue = cues(question, [one.text for one in told])
    brief = np.array([min(1.0, len(one.text) / SHORT) for one in told])  # a scrap of a sentence says little
    rank = np.array([one.hit.score for one in told])
    return brief * (WORDS * shared + CUE * cue) + RANK * rank / (rank.max() or 1.0)


def _whole(told: list[_Sentence], i: int) -> Span:
    """The sentence, with the one before it if it leans on that, or the one after it if it is very short."""
    one = told[i]
    before = told[i - 1] if i and told[i - 1].hit is one.hit else None
    after = told[i + 1] if i + 1 < len(told) and told[i + 1].hit is one.hit else None
    if before and leans(one.text):
        return Span(before.span.start, one.span.end)
    if after and len(one.text) < SHORT:
        return Span(one.span.start, after.span.end)
    return one.span
