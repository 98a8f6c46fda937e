"""Vectors without a model: they serve until the encoder has come, and where it never will.

A text is the weighted sum of its words, a word the sum of itself and of its character n-grams (Bojanowski et al. 2017,
arXiv:1607.04606, section 3.2), each hashed to one of 256 places with a sign (Weinberger et al. 2009, arXiv:0902.2206).
So passages that share words, or inflections and misspellings of them, come close. The hash is CRC-32 with a mixer
behind it, so vectors are the same on every machine.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter

import numpy as np

SPACE = "hash-256"
"""The name stored beside vectors: only vectors of the same space can be compared."""

DIMENSIONS = 256

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]")
_LONGEST_WORD = 64
_MOST_WORDS = 4096
_GRAM_SHARE = 0.5


def embed(texts: list[str]) -> np.ndarray:
    """Embed texts: float32, shape (len(texts), DIMENSIONS), rows of unit length (all zero where there is no word)."""
    vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
    known: dict[str, int] = {}
    waiting: list[tuple[int, list[tuple[str, int]]]] = []
    for number, text in enumerate(texts):
        counts = Counter(words(text)).most_common(_MOST_WORDS)
        for word, _ in counts:
            known.setdefault(word, len(known))
        waiting.append((number, counts))
        if len(known) >= _MOST_WORDS:  # what words take is bounded, and most of what they cost is shared
            _add(vectors, known, waiting)
            known, waiting = {}, []
    _add(vectors, known, waiting)
    return vectors


def _add(vectors: np.ndarray, known: dict[str, int], waiting: list[tuple[int, list[tuple[str, int]]]]) -> None:
    table = _vectors(list(known)) * np.array([[weight(word)] for word in known], np.float32).reshape(-1, 1)
    for number, counts in waiting:
        if counts:
            times = 1 + np.log(np.array([count for _, count in counts], np.float32))
            row = times @ table[[known[word] for word, _ in counts]]
            vectors[number] = row / max(float(np.linalg.norm(row)), 1e-12)


def words(text: str) -> list[str]:
    """The words of a text, folded: compatibility forms and accents removed, lower case."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = unicodedata.normalize("NFC", "".join(c for c in decomposed if unicodedata.category(c) != "Mn"))
    return _WORD.findall(text.lower())


def weight(word: str) -> float:
    """How telling a word is, by its length alone: frequent words are short in every language (Zipf 1949)."""
    return 1.0 if _UNSPACED.search(word) or word.isdigit() else 1.0 - 0.5 ** max(len(word) - 1.5, 0.2)


def _vectors(words: list[str]) -> np.ndarray:
    """The vectors of words: float32, shape (len(words), DIMENSIONS), a word and its n-grams sharing unit energy."""
    hashes: list[int] = []
    sizes: list[int] = []
    for word in words:
        features = _features(word[:_LONGEST_WORD])
        hashes += map(zlib.crc32, features)
        sizes.append(len(features))
    mixed = np.array(hashes, np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x7FEB352D)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x846CA68B)
    mixed ^= mixed >> np.uint32(16)
    counts = np.array(sizes, np.intp)
    first = np.cumsum(counts) - counts
    shares = np.repeat(np.sqrt(_GRAM_SHARE / np.maximum(counts - 1, 1)), counts)
    shares[first] = math.sqrt(1 - _GRAM_SHARE)
    places = np.repeat(np.arange(len(words)) * DIMENSIONS, counts) + (mixed % DIMENSIONS).astype(np.intp)
    signed = np.where(mixed >> np.uint32(31), -shares, shares)
    table = np.bincount(places, signed, len(words) * DIMENSIONS)
    return table.reshape(-1, DIMENSIONS).astype(np.float32)


def _features(word: str) -> list[bytes]:
    """The word itself, then its n-grams: of three and four letters, of one and two where words are not spaced."""
    unspaced = _UNSPACED.search(word)
    framed = word if unspaced else f"<{word}>"
    sizes = (1, 2) if unspaced else (3, 4)
    spans = [(at, at + size) for size in sizes for at in range(len(framed) - size + 1)]
    whole = f" {word}".encode("utf-8", "replace")
    if framed.isascii():
        letters = framed.encode()
        return [whole, *(letters[start:end] for start, end in spans)]
    return [whole, *(framed[start:end].encode("utf-8", "replace") for start, end in spans)]
