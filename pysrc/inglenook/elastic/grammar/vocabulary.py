"""A vocabulary as a tree of bytes, level by level in arrays: one step of an automaton for all tokens is one gather.

Level d holds the distinct beginnings of d + 1 bytes. A node knows its last byte and its parent's place in the level
above; nodes of one parent lie together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inglenook.elastic.grammar.automaton import Automaton
from inglenook.elastic.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Level:
    """`byte` and `parent` are of shape (nodes,); `parents` are those of the level above that have children.

    `tokens` end at the nodes `ends`.
    """

    byte: np.ndarray
    parent: np.ndarray
    parents: np.ndarray
    tokens: np.ndarray
    ends: np.ndarray


class Vocabulary:
    """The tokens that are text. `alphabet` is the set of bytes that are tokens by themselves.

    A token that holds another byte is left out, so that every beginning of a token is itself made of tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.size = len(tokenizer)
        self.ends = np.array(sorted(tokenizer.ends), np.int64)
        pieces = {token: tokenizer.piece(token) for token in range(self.size) if not tokenizer.is_special(token)}
        single = {piece[0] for piece in pieces.values() if len(piece) == 1}
        self.alphabet = sum(1 << byte for byte in single)
        texts = sorted((piece, token) for token, piece in pieces.items() if piece and single.issuperset(piece))
        self.levels = _levels(texts)

    def allowed(self, automaton: Automaton, state: int) -> np.ndarray:
        """bool of shape (size,): the tokens after which the text can be finished. Raises `TooLarge`."""
        found = np.zeros(self.size, bool)
        states = np.array([state], np.uint16)
        for level in self.levels:
            above = states[level.parents]
            for new in np.unique(above[~automaton.ready[above]]):
                automaton.prepare(int(new))
            states = automaton.table[states[level.parent], level.byte]
            if not states.any():
                break
            found[level.tokens[states[level.ends] != 0]] = True
        return found


@lru_cache(maxsize=2)
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The vocabulary of a tokenizer, made once."""
    return Vocabulary(tokenizer)


def _levels(texts: list[tuple[bytes, int]]) -> list[Level]:
    lengths = np.array([len(piece) for piece, _ in texts], np.int64)
    tokens = np.array([token for _, token in texts], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.frombuffer(b"".join(piece for piece, _ in texts), np.uint8)
    node = np.zeros(len(texts), np.int64)  # of each text, its node in the level above
    rows = np.arange(len(texts))
    levels = []
    for depth in range(int(lengths.max(initial=0))):
        kept = lengths[rows] > depth
        rows, node = rows[kept], node[kept]
        byte = flat[starts[rows] + depth]
        first = np.concatenate([[True], (node[1:] != node[:-1]) | (byte[1:] != byte[:-1])])
        parent, node = node[first], np.cumsum(first) - 1
        done = lengths[rows] == depth + 1
        levels.append(Level(byte[first], parent, np.unique(parent), tokens[rows[done]], node[done]))
    return levels
