"""Postings: which terms occur in which chunk how often, as bytes at rest and as sorted arrays in memory.

A document's postings are one small byte string, made when the file is read and stored as its page `l/`. Little-endian:

    u16 version, u16 width (bytes of an ordinal: 2 or 4), u32 chunks, u32 terms, u32 postings, u32 bytes of the blob
    u32   length in terms of each chunk
    width number of postings of each term, the terms in the order of their UTF-8 bytes
    width chunk ordinal of each posting
    u8    count of each posting (at most 255)
    u8    bytes of each term
    blob  the terms, one after the other

Opening is joining such strings: an array of the first eight bytes of each term, big-endian and sorted, finds a word or
a prefix by bisection, and bytes past the eighth are compared in the blob. So opening decodes no string, makes no Python
object per term, and every lookup is exact.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.search.terms import terms

_VERSION = 1
_FEW = 32  # chunks read between two pauses
_HEAD = struct.Struct("<HHIIII")
_MASKS = np.array([0] + [(2**64 - 1) ^ (2 ** (64 - 8 * n) - 1) for n in range(1, 9)], np.uint64)


def postings(texts: Sequence[str]) -> bytes:
    """The postings of one document: the terms of its chunks' `texts` with counts, and the chunks' lengths in terms."""
    made = gathered(texts)
    while True:
        try:
            next(made)
        except StopIteration as done:
            return bytes(done.value)


def gathered(texts: Sequence[str]) -> Generator[None, None, bytes]:
    """Makes the postings a few chunks at a time, and yields after each few: others may run between."""
    table: dict[str, int] = {}
    lengths = np.zeros(len(texts), np.uint32)
    numbers, rows, counts = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], [np.zeros(0, np.uint8)]
    for first in range(0, len(texts), _FEW):
        flat: list[int] = []
        for i, text in enumerate(texts[first : first + _FEW], first):
            found = terms(text)
            lengths[i] = len(found)
            flat += [table.setdefault(term, len(table)) for term in found]
        here = lengths[first : first + _FEW].astype(np.intp)
        chunk = np.repeat(np.arange(len(here)), here)
        pairs, tf = np.unique(np.array(flat, np.int64) * _FEW + chunk, return_counts=True)
        numbers.append((pairs // _FEW).astype(np.int32))
        rows.append((first + pairs % _FEW).astype(np.int32))
        counts.append(np.minimum(tf, 255).astype(np.uint8))
        yield
    words = sorted((term.encode(), number) for term, number in table.items())
    yield
    rank = np.empty(len(words), np.int32)
    rank[[number for _, number in words]] = np.arange(len(words))
    ranks = rank[np.concatenate(numbers)]
    order = np.argsort(ranks, kind="stable")  # the rows of each term are in order already
    yield
    width = 2 if len(texts) < 65_536 else 4
    blob = b"".join(word for word, _ in words)
    parts = [
        _HEAD.pack(_VERSION, width, len(texts), len(words), len(ranks), len(blob)),
        lengths.tobytes(),
        np.bincount(ranks, minlength=len(words)).astype(f"<u{width}").tobytes(),
        np.concatenate(rows)[order].astype(f"<u{width}").tobytes(),
        np.concatenate(counts)[order].tobytes(),
        bytes(len(word) for word, _ in words),
        blob,
    ]
    return b"".join(parts)


@dataclass(slots=True)
class Run:
    """Entries (one per document and term) sorted by key, with the postings they point to.

    `keys` uint64: first eight bytes of the term; `at` and `size`: the term in `blob`; `first` and `count`: its postings
    in `rows` and `tf`. `blob` ends in eight zero bytes.
    """

    keys: NDArray[np.uint64]
    at: NDArray[np.int32]
    size: NDArray[np.uint8]
    first: NDArray[np.int32]
    count: NDArray[np.int32]
    rows: NDArray[np.int32]
    tf: NDArray[np.uint8]
    blob: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))

    def find(self, word: bytes, prefix: bool) -> NDArray[np.int64]:
        """Numbers of the entries whose term is `word`, or starts with it."""
        first, span = key(word), (1 << 8 * (8 - min(len(word), 8))) if prefix else 1
        low = int(np.searchsorted(self.keys, np.uint64(first)))
        high = len(self.keys) if first + span >> 64 else int(np.searchsorted(self.keys, np.uint64(first + span)))
        found = np.arange(low, high)
        if len(word) < 8 or low == high:  # terms hold no zero byte, so the key tells all
            return found
        found = found[self.size[low:high] >= len(word)] if prefix else found[self.size[low:high] == len(word)]
        rest = np.frombuffer(word, np.uint8)[8:]
        tail = self.blob[self.at[found][:, None] + np.arange(8, len(word))]
        same: NDArray[np.bool_] = (tail == rest).all(axis=1)
        return found[same]

    def near(self, word: bytes) -> NDArray[np.int64]:
        """Numbers of the entries one typing error away: a letter more, less or other, or two swapped (Damerau, 1964).

        The first letter is taken to be right. Two words are one error apart if what they share at the front and at the
        back is all but that error.
        """
        long = len(word)
        low, high = (int(np.searchsorted(self.keys, np.uint64(key(bytes([word[0] + i]))))) for i in (0, 1))
        size = self.size[low:high].astype(np.int64)
        found = low + np.flatnonzero((size >= long - 1) & (size <= long + 1))
        size, wanted = self.size[found].astype(np.int64), np.frombuffer(word, np.uint8)
        short, at, last = np.minimum(size, long), self.at[found].astype(np.int64), len(self.blob) - 1
        letters = self.blob[np.minimum(at[:, None] + np.arange(long), last)]
        ends = self.blob[np.maximum((at + size)[:, None] - np.arange(1, long + 1), 0)]
        front = np.minimum(np.logical_and.accumulate(letters == wanted, axis=1).sum(axis=1), short)
        back = np.minimum(np.logical_and.accumulate(ends == wanted[::-1], axis=1).sum(axis=1), short)
        one = front + back >= np.where(size == long, long - 1, short)
        swapped = np.flatnonzero((size == long) & (front + back == long - 2))
        i = front[swapped]
        one[swapped] = (letters[swapped, i] == wanted[i + 1]) & (letters[swapped, i + 1] == wanted[i])
        near: NDArray[np.int64] = found[one]
        return near

    def take(self, found: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Rows and counts of these entries' postings, one after the other."""
        if not len(found):
            return self.rows[:0], self.tf[:0]
        if len(found) == 1:
            here = slice(int(self.first[found[0]]), int(self.first[found[0]] + self.count[found[0]]))
            return self.rows[here], self.tf[here]
        count = self.count[found]
        index = np.repeat(self.first[found] - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        return self.rows[index], self.tf[index]


def key(word: bytes) -> int:
    """The first eight bytes of a term as a big-endian number: the order of keys is the order of terms."""
    return int.from_bytes(word[:8].ljust(8, b"\0"), "big")


@dataclass(frozen=True, slots=True)
class Piece:
    """The postings of one document as views of its bytes: what `postings` wrote, checked. `rows` are chunk ordinals."""

    lengths: NDArray[np.uint32]
    count: NDArray[np.unsignedinteger]
    rows: NDArray[np.unsignedinteger]
    tf: NDArray[np.uint8]
    size: NDArray[np.uint8]
    blob: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))


def parse(data: bytes) -> Piece:
    """Read what `postings` makes; anything else raises NookError("damaged")."""
    try:
        version, width, chunks, words, pairs, blob = _HEAD.unpack_from(data)
        at = _HEAD.size
        read = []
        for kind, many in (("<u4", chunks), (f"<u{width}", words), (f"<u{width}", pairs), ("u1", pairs), ("u1", words)):
            read.append(np.frombuffer(data, kind, many, at))
            at += read[-1].nbytes
        lengths, count, rows, tf, size = read
        piece = Piece(lengths, count, rows, tf, size, np.frombuffer(data, np.uint8, blob, at))
        if version != _VERSION or at + blob != len(data):
            raise ValueError("sizes")
        if int(piece.count.sum()) != pairs or int(piece.size.sum()) != blob or (pairs and piece.rows.max() >= chunks):
            raise ValueError("counts")
    except (struct.error, ValueError, TypeError) as error:
        raise NookError("damaged", "The word index of a document is damaged.", "Add the document again.") from error
    return piece


def join(pieces: list[Piece], row: int) -> Run:
    """One run of many documents, whose chunks are the rows from `row` on; all at once, as calls are dear in the tab."""
    count = np.concatenate([piece.count for piece in pieces]).astype(np.int32)
    size = np.concatenate([piece.size for piece in pieces])
    blob = np.concatenate([*(piece.blob for piece in pieces), np.zeros(8, np.uint8)])
    base = row + _shifts([len(piece.lengths) for piece in pieces])
    rows = np.concatenate([piece.rows for piece in pieces]).astype(np.int32)
    rows += np.repeat(base, [len(piece.rows) for piece in pieces])
    at, first = (np.cumsum(many, dtype=np.int32) - many for many in (size.astype(np.int32), count))
    eights = np.ndarray((len(blob) - 7,), ">u8", blob, strides=(1,))  # the eight bytes from each place on
    keys = eights[at].astype(np.uint64) & _MASKS[np.minimum(size, 8)]
    order = np.argsort(keys, kind="stable")
    tf = np.concatenate([piece.tf for piece in pieces])
    return Run(keys[order], at[order], size[order], first[order], count[order], rows, tf, blob)


def merge(runs: list[Run]) -> Run:
    """One run with the entries of all."""
    if len(runs) == 1:
        return runs[0]
    keys = np.concatenate([run.keys for run in runs])
    order = np.argsort(keys, kind="stable")
    blob = _shifts([len(run.blob) for run in runs])
    posts = _shifts([len(run.rows) for run in runs])
    return Run(
        keys[order],
        np.concatenate([run.at + shift for run, shift in zip(runs, blob)])[order],
        np.concatenate([run.size for run in runs])[order],
        np.concatenate([run.first + shift for run, shift in zip(runs, posts)])[order],
        np.concatenate([run.count for run in runs])[order],
        np.concatenate([run.rows for run in runs]),
        np.concatenate([run.tf for run in runs]),
        np.concatenate([run.blob for run in runs]),
    )


def keep(run: Run, alive: NDArray[np.bool_]) -> Run:
    """The run without the postings of rows that are not `alive`, rows renumbered and the bytes packed."""
    place = (np.cumsum(alive) - 1).astype(np.int32)
    rows, tf = run.take(np.arange(len(run.keys)))  # postings in the order of the entries
    stay = alive[rows]
    count = np.bincount(np.repeat(np.arange(len(run.keys)), run.count)[stay], minlength=len(run.keys)).astype(np.int32)
    some = count > 0
    count, size = count[some], run.size[some]
    at = (np.cumsum(size, dtype=np.int32) - size).astype(np.int32)
    index = np.repeat(run.at[some] - at, size) + np.arange(int(size.sum(dtype=np.int64)))
    blob = np.concatenate([run.blob[index], np.zeros(8, np.uint8)])
    first = (np.cumsum(count, dtype=np.int32) - count).astype(np.int32)
    return Run(run.keys[some], at, size, first, count, place[rows[stay]], tf[stay], blob)


def _shifts(sizes: list[int]) -> NDArray[np.int32]:
    """Where each part begins when parts of these sizes follow one another."""
    return np.cumsum([0, *sizes[:-1]]).astype(np.int32)
