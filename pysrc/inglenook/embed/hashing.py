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
from functools import lru_cache

import numpy as np

SPACE = "hash-256"
"""The name stored beside vectors: only vectors of the same space can be compared."""

DIMENSIONS = 256

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]")
_LONGEST_WORD = 64
_GRAM_SHARE = 0.5


def embed(texts: list[str]) -> np.ndarray:
    """Embed texts: float32, shape (len(texts), DIMENSIONS), rows of unit length (all zero where there is no word)."""
    vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
    for row, text in zip(vectors, texts):
        counts = Counter(words(text))
        if counts:
            weights = [(1 + math.log(count)) * weight(word) for word, count in counts.items()]
            row[:] = np.asarray(weights, np.float32) @ np.stack([_word(word) for word in counts])
            row /= max(float(np.linalg.norm(row)), 1e-12)
    return vectors


def words(text: str) -> list[str]:
    """The words of a text, folded: compatibility forms and accents removed, lower case."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = unicodedata.normalize("NFC", "".join(c for c in decomposed if unicodedata.category(c) != "Mn"))
    return _WORD.findall(text.lower())


def weight(word: str) -> float:
    """How telling a word is, by its length alone: frequent words are short in every language (Zipf 1949)."""
    return 1.0 if _UNSPACED.search(word) or word.isdigit() else 1.0 - 0.5 ** max(len(word) - 1.5, 0.2)


@lru_cache(maxsize=16384)
def _word(word: str) -> np.ndarray:
    """The vector of one word: shape (DIMENSIONS,), the word itself and its n-grams sharing unit energy."""
    word = word[:_LONGEST_WORD]
    sizes = (1, 2) if _UNSPACED.search(word) else (3, 4)
    framed = word if sizes == (1, 2) else f"<{word}>"
    grams = [framed[at : at + size] for size in sizes for at in range(len(framed) - size + 1)]
    hashes = np.array([zlib.crc32(feature.encode("utf-8", "replace")) for feature in [f" {word}", *grams]], np.uint32)
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x7FEB352D)
    hashes ^= hashes >> np.uint32(15)
    hashes *= np.uint32(0x846CA68B)
    hashes ^= hashes >> np.uint32(16)
    shares = np.full(len(hashes), (_GRAM_SHARE / max(len(grams), 1)) ** 0.5, np.float32)
    shares[0] = (1 - _GRAM_SHARE) ** 0.5
    signs = np.where(hashes & np.uint32(1 << 31), np.float32(-1), np.float32(1))
    return np.bincount(hashes % DIMENSIONS, signs * shares, DIMENSIONS).astype(np.float32)
