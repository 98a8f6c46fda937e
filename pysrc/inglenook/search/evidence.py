"""Whether the documents answer a question at all.

Signs of it, each the best of any hit: how near its meaning is to the question's (the encoder's cosine), how much of the
question's rare words it has (BM25 by the size of the library), what share of its words. They are weighed by logistic
regression on the questions of tests/retrieval, the constant such that 96 of 100 answerable ones are answered; of those
without an answer 90 of 100 are then refused, cross-validated. Words alone refuse 60, meaning and words without the
library's size 73. A passage that has every word of the question is always a source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from inglenook.search.lexical import content
from inglenook.search.terms import terms
from inglenook.types import Hit

# The weights of cosine, share of words, BM25 / ln(passages + 1), and the constant, by what is known.
_BOTH = (11.7, 0.0, 5.9, -12.4)
_WORDS = (0.0, 2.6, 6.7, -8.5)
_UNSCALED = (12.3, 3.9, 0.0, -6.6)


def evidence(question: str, hits: Sequence[Hit], passages: int = 0, semantic: bool = True) -> float:
    """The log odds that the hits answer the question; above 0 they are taken to.

    `passages` is how many the library holds, for which BM25 scores are scaled; 0 leaves them out. `semantic` tells that
    `Hit.vector` is the encoder's cosine, not the hashing embedder's.
    """
    wanted = set(content(question))
    if not hits or not wanted:
        return -math.inf
    share = max(len(wanted & set(terms(f"{hit.heading} {hit.text}"))) for hit in hits) / len(wanted)
    cosine = max((hit.vector for hit in hits if hit.vector is not None), default=None) if semantic else None
    rare = max(hit.lexical or 0.0 for hit in hits) / math.log(passages + 1) if passages > 1 else None
    a, b, c, d = _UNSCALED if rare is None else _WORDS if cosine is None else _BOTH
    odds = a * (cosine or 0.0) + b * share + c * (rare or 0.0) + d
    return max(odds, 1.0) if share == 1.0 else odds


def answerable(question: str, hits: Sequence[Hit], passages: int = 0, semantic: bool = True) -> bool:
    """Whether to answer rather than to say "No source found"; arguments as for `evidence`."""
    return evidence(question, hits, passages, semantic) > 0.0
