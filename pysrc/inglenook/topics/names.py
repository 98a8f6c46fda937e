"""Names for topics: the words that set their passages apart from all others.

Words are weighed by the log-odds ratio with an informative Dirichlet prior, divided by its standard deviation: Monroe,
Colaresi and Quinn, "Fightin' Words" (2008), section 3.4. A word counts once a passage. The index knows words by their
stems; how a word is written is taken from passages of the topic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inglenook.flow import Flow, Pause
from inglenook.search.lexical import STOP
from inglenook.search.postings import Run
from inglenook.search.terms import analysed, split

PRIOR = 500.0  # words of the whole library that a topic is thought to share before it is looked at
FEW = 3  # passages that a word must stand in, in all but the smallest libraries
MANY = 40  # words a topic may choose from
NOISE = 1e-9  # what rounding leaves of a weight of nothing
WORDS = 3

Candidates = list[list[tuple[str, float]]]


def candidates(run: Run, topic: NDArray[np.integer], topics: int) -> Flow:
    """For each topic the terms that tell it from the rest and their weights, best first; `topic` is of each row, -1
    for none. Answer: `Candidates`."""
    entry = np.repeat(np.arange(len(run.keys)), run.count)
    rows, _ = run.take(np.arange(len(run.keys)))
    of = topic[rows]
    entry, of = entry[of >= 0], of[of >= 0]
    yield Pause()
    _, first, term = np.unique(_marks(run), return_index=True, return_inverse=True)
    yield Pause()
    total = np.bincount(term[entry], minlength=len(first))
    passages = int(np.count_nonzero(topic >= 0))
    common = np.flatnonzero(total >= min(FEW, 1 + passages // 30))
    place = np.full(len(first), -1)
    place[common] = np.arange(len(common))
    at = place[term[entry]]
    counts = np.bincount(at[at >= 0] * topics + of[at >= 0], minlength=len(common) * topics).reshape(-1, topics)
    yield Pause()
    weight = _weights(counts.astype(np.float64)) * np.log(1 + passages / total[common])[:, None]
    yield Pause()
    found: Candidates = []
    for t in range(topics):
        best = np.argsort(-weight[:, t], kind="stable")[:MANY]
        found.append([(_word(run, int(first[common[i]])), float(weight[i, t])) for i in best if weight[i, t] > NOISE])
    return found


def _weights(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-scores of the log-odds of terms in topics, both of shape (terms, topics); of one topic alone the counts."""
    whole = counts.sum(axis=1, keepdims=True)
    prior = PRIOR * whole / max(1.0, whole.sum())
    here, rest = counts + prior, whole - counts + prior
    others, elsewhere = counts.sum(axis=0) + PRIOR - here, whole.sum() - counts.sum(axis=0) + PRIOR - rest
    odds = np.log(here / np.maximum(others, 1)) - np.log(rest / np.maximum(elsewhere, 1))
    return np.asarray(odds / np.sqrt(1 / here + 1 / rest)) if counts.shape[1] > 1 else counts


def _marks(run: Run) -> NDArray[np.uint64]:
    """A number for each entry that is the same for the same term, and for no other (64 bits: as good as never)."""
    marks = run.keys.copy()
    for start in range(8, int(run.size.max(initial=0)), 8):
        long = np.flatnonzero(run.size > start)
        left = np.minimum(run.size[long].astype(np.int64) - start, 8)
        letters = run.blob[run.at[long][:, None] + start + np.minimum(np.arange(8), left[:, None] - 1)]
        tail = np.where(np.arange(8) < left[:, None], letters, 0).astype(np.uint8)
        marks[long] = marks[long] * np.uint64(0x9E3779B97F4A7C15) ^ tail.view("<u8")[:, 0]
    return marks


def _word(run: Run, entry: int) -> str:
    return bytes(run.blob[run.at[entry] : run.at[entry] + run.size[entry]]).decode()


def chosen(found: Candidates, written: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Names of topics, at most `WORDS` words each, as the topic's texts write them; none stands in two names."""
    ranked = sorted(
        ((weight, t, term) for t, terms in enumerate(found) for term, weight in terms if term in written[t]),
        key=lambda one: (-one[0], one[1:]),
    )
    names: list[list[str]] = [[] for _ in found]
    taken: set[str] = set()
    for _, t, term in ranked:
        if len(names[t]) < WORDS and term not in taken and telling(term):
            names[t].append(written[t][term])
            taken.add(term)
    return names


def telling(term: str) -> bool:
    """Whether a term may stand in a name: a word, and not one of those that every text has."""
    return term not in STOP and not any(letter.isdigit() for letter in term) and (len(term) > 2 or not term.isascii())


def written(texts: Iterable[str]) -> dict[str, str]:
    """How each term is mostly written in these texts."""
    forms: dict[str, Counter[str]] = {}
    for text in texts:
        for token in split(text)[1::2]:
            terms = analysed(token)
            if terms:
                forms.setdefault(terms[0], Counter())[token.removesuffix("'s").removesuffix("’s")] += 1
    return {term: _form(counts) for term, counts in forms.items()}


def _form(counts: Counter[str]) -> str:
    best = max(counts, key=lambda form: (counts[form], form))
    small = best.lower()
    return small if small in counts or (best.isupper() and len(best) > 5) else best
