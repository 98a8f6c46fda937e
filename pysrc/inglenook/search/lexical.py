"""BM25 over passages: the lexical arm of the search, in numpy arrays with no Python per posting.

Okapi BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.4,
with the idf that is never negative, ln(1 + (N - n + 0.5) / (n + 0.5)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.search.postings import Piece, Run, gathered, join, keep, merge, parse, postings
from inglenook.search.terms import stem, terms, tokens

K1, B = 0.9, 0.4  # passages are of like length; chosen on one half of tests/retrieval, confirmed on the other
PREFIX = 0.5  # what a match of the unfinished last word is worth
NEAR = 0.5  # what a match of a word one typing error away is worth
LONGEST = 10_000  # characters of a query that are read

# Words that ask rather than name. They are left out of a query that has other words too.
STOP = frozenset(
    """
    a about after am an and any are as at be been before but by can could did do doe does for from had has have having
    he her hers him his how i if in into is it its itself me my of on or our ours she should so some such tell than that
    the their theirs them then there these they this those to up us was we were what when where which while who whom
    whose why will with would you your yours dont isnt wasnt didnt doesnt
    """.split()  # noqa: SIM905
)

Ids = NDArray[np.int64]
Taken = tuple[NDArray[np.int32], NDArray[np.uint8]]  # rows and counts

_NOTHING: Taken = (np.zeros(0, np.int32), np.zeros(0, np.uint8))


class Lexical:
    """A live BM25 index. Chunk ids are the caller's (int64, each at most once alive).

    Adding and removing are cheap and take effect at the next search; like a log-structured tree, what was added is kept
    in sorted runs that are merged as they grow.
    """

    def __init__(self, k1: float = K1, b: float = B) -> None:
        self.k1, self.b = k1, b
        self._ids = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.float32)
        self._alive = np.zeros(0, bool)
        self._dead = 0
        self._runs: list[Run] = []
        self._new: list[tuple[Ids, Piece]] = []  # added since the last search
        self._rows = 0  # those of `_new` included
        self._norm = np.zeros(0, np.float32)  # k1 (1 - b + b length / mean length) of each row; empty: not known

    def __len__(self) -> int:
        """How many chunks are alive."""
        return self._rows - self._dead

    @property
    def memory(self) -> int:
        """Bytes held."""
        arrays = (self._ids, self._lengths, self._alive, self._norm)
        parts: list[Run | Piece] = [*self._runs, *(piece for _, piece in self._new)]
        return sum(part.nbytes for part in parts) + sum(int(array.nbytes) for array in arrays)

    def add(self, ids: NDArray[np.int64], postings: bytes) -> None:
        """Add a document's chunks: `ids` in the order of the texts given to `postings`.

        Raises NookError("damaged") if the bytes are not postings of that many chunks.
        """
        piece = parse(postings)
        if len(piece.lengths) != len(ids):
            raise NookError("damaged", "The word index of a document does not fit it.", "Add the document again.")
        self._new.append((np.asarray(ids, np.int64), piece))
        self._rows += len(ids)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Forget these chunks; ids that are not there are ignored."""
        self._settle()
        gone = np.isin(self._ids, np.asarray(ids, np.int64)) & self._alive
        self._alive[gone] = False
        self._dead += int(gone.sum())
        self._norm = np.zeros(0, np.float32)
        if self._dead * 3 > self._rows:
            self._compact()

    def idf(self, words: Iterable[str]) -> dict[str, float]:
        """What each term is worth: its inverse document frequency here."""
        self._settle()
        return {word: self._idf(len(self._take(word, False)[0])) for word in set(words)}

    def whole(self) -> tuple[Run, Ids]:
        """All postings as one run, and the chunk id of each of its rows; -1 for a chunk that was removed."""
        self._settle()
        if len(self._runs) > 1:
            self._runs = [merge(self._runs)]
        [run] = self._runs or [join([parse(postings([]))], 0)]
        return run, np.where(self._alive, self._ids, -1)

    def search(
        self, query: str, k: int, allow: NDArray[np.bool_] | None = None, prefix: bool = True
    ) -> tuple[Ids, NDArray[np.float32]]:
        """The `k` best chunks and their scores, best first, ties by id; only chunks that match at least one term.

        `allow` is a boolean array indexed by chunk id; ids past its end are not allowed. With `prefix` the last
        word, if nothing follows it, also matches the words it is the beginning of.
        """
        self._settle()
        nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        wanted = Counter(content(query))
        if not len(self) or not wanted or k < 1:
            return nothing
        scores = np.zeros(self._rows, np.float32)
        last, begun = _begun(query) if prefix else ("", "")
        growing = self._take(begun, True) if begun else _NOTHING
        for word, times in wanted.items():
            rows, tf = self._take(word, False)
            if len(rows):
                scores[rows] += self._score(rows, tf.astype(np.float32), np.float32(times))
            elif word != last or not len(growing[0]):
                self._merged(scores, self._near(word), NEAR * times)
        self._merged(scores, growing, PREFIX)
        if allow is not None:
            scores[~_allowed(self._ids, allow)] = 0
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            edge = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= edge]
        found = found[np.lexsort((self._ids[found], -scores[found]))][:k]
        return self._ids[found], scores[found]

    # ── scoring ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _idf(self, df: int) -> float:
        return float(np.log1p((len(self) - df + 0.5) / (df + 0.5)))

    def _score(self, rows: NDArray[np.int32], tf: NDArray[np.float32], weight: np.float32) -> NDArray[np.float32]:
        """BM25 of one term in these rows (each at most once)."""
        if not len(self._norm):
            mean = max(1e-9, float(self._lengths[self._alive].mean()))
            self._norm = (self.k1 * (1 - self.b + self.b * self._lengths / mean)).astype(np.float32)
        part = tf * np.float32((self.k1 + 1) * self._idf(len(rows))) / (tf + self._norm[rows])
        return np.asarray(part * weight, np.float32)

    def _take(self, word: str, prefix: bool) -> Taken:
        """Living rows with the term (or, for a prefix, a posting for each term that starts so), and its counts."""
        data = word.encode()
        return self._living([run.take(run.find(data, prefix)) for run in self._runs])

    def _near(self, word: str) -> Taken:
        """Postings of the terms one typing error away from an unknown word of five English letters or more."""
        if len(word) < 5 or not (word.isascii() and word.isalpha()):
            return _NOTHING
        return self._living([run.take(run.near(word.encode())) for run in self._runs])

    def _living(self, taken: list[Taken]) -> Taken:
        if not taken:
            return _NOTHING
        rows, tf = taken[0] if len(taken) == 1 else (np.concatenate(parts) for parts in zip(*taken, strict=True))
        if self._dead:
            keep = self._alive[rows]
            rows, tf = rows[keep], tf[keep]
        return rows, tf

    def _merged(self, scores: NDArray[np.float32], taken: Taken, weight: float) -> None:
        """Score the postings of several terms as if they were one word."""
        rows, tf = taken
        if len(rows):
            sums = np.bincount(rows, tf, self._rows)
            some = np.flatnonzero(sums).astype(np.int32)
            scores[some] += self._score(some, sums[some].astype(np.float32), np.float32(weight))

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Make what was added searchable."""
        if not self._new:
            return
        ids, pieces = [ids for ids, _ in self._new], [piece for _, piece in self._new]
        self._new.clear()
        run = join(pieces, len(self._ids))
        self._ids = np.concatenate([self._ids, *ids])
        self._lengths = np.concatenate([self._lengths, *(piece.lengths for piece in pieces)]).astype(np.float32)
        self._alive = np.concatenate([self._alive, np.ones(self._rows - len(self._alive), bool)])
        self._norm = np.zeros(0, np.float32)
        self._runs += [run] if len(run.keys) else []
        while len(self._runs) > 1 and len(self._runs[-2].rows) < 2 * len(self._runs[-1].rows):
            self._runs[-2:] = [merge(self._runs[-2:])]

    def _compact(self) -> None:
        """Drop the postings of removed chunks."""
        self._runs = [run for run in [keep(merge(self._runs), self._alive)] if len(run.keys)] if self._runs else []
        self._ids, self._lengths = self._ids[self._alive], self._lengths[self._alive]
        self._rows, self._dead, self._alive = len(self._ids), 0, np.ones(len(self._ids), bool)


def content(query: str) -> list[str]:
    """The query's terms, repeats included, without the words of `STOP` unless there is nothing else."""
    words = terms(query[:LONGEST])
    return [word for word in words if word not in STOP] or words


def _begun(query: str) -> tuple[str, str]:
    """The last word if it may still be growing: its term, and how the terms it may become begin; else ("", "")."""
    end = query[-200:]
    last = max(tokens(end), default=None)
    if last is None or last[1] != len(end) or not last[2]:
        return "", ""
    term = last[2][-1]
    word = end[last[0] :].casefold()
    if len(word) == 1 and word.isascii():
        return "", ""
    return term, word if word.isascii() and stem(word) == term else term


def _allowed(ids: Ids, allow: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of `ids` may be found."""
    inside = ids < len(allow)
    return np.asarray(inside & allow[np.where(inside, ids, 0)]) if len(allow) else inside & False


__all__ = ["K1", "STOP", "B", "Lexical", "content", "gathered", "postings", "stem", "terms", "tokens"]
