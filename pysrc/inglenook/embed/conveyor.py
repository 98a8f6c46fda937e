"""Many passages on their way through the encoder, which never waits for what becomes of its vectors.

While a batch is encoded, the vectors of the one before are stored and the texts of the next are read and cut into
tokens. Equal passages of a batch travel once, long ones first, so that encoders that share a batch end together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Begin, Encode, Finish, Flow, Pause

Key = TypeVar("Key")

BATCH = 4096
"""Tokens of a batch at least: about half a second of work. Stop loses two batches at most."""

_PAUSE = 8  # texts cut into tokens between pauses


class Conveyor(Generic[Key]):
    """Takes passages under keys of the caller's, and hands their vectors to `deliver`, batch by batch in order.

    `deliver` is a flow that gets a list of (key, float32 vector of unit length).
    """

    def __init__(self, tokenizer: WordPiece, deliver: Callable[[list[tuple[Key, np.ndarray]]], Flow]) -> None:
        self._tokenizer, self._deliver = tokenizer, deliver
        self._batch: dict[tuple[int, ...], list[Key]] = {}
        self._size = self._taken = 0
        self._under_way: deque[tuple[list[list[Key]], Any]] = deque()

    def put(self, key: Key, text: str) -> Flow:
        """Take a passage; delivers a batch where there are two more behind it."""
        tokens = tuple(self._tokenizer.encode(text))
        if tokens not in self._batch:
            self._batch[tokens] = []
            self._size += len(tokens)
        self._batch[tokens].append(key)
        self._taken += 1
        if self._size >= BATCH:
            yield from self._send()
        elif self._taken % _PAUSE == 0:
            yield Pause()

    def end(self) -> Flow:
        """Deliver all that is under way."""
        if self._batch:
            yield from self._send()
        while self._under_way:
            yield from self._receive()

    def _send(self) -> Flow:
        batch, self._batch, self._size = self._batch, {}, 0
        sequences = sorted(batch, key=len, reverse=True)
        begun = yield Begin(Encode([list(tokens) for tokens in sequences]))
        self._under_way.append(([batch[tokens] for tokens in sequences], begun))
        if len(self._under_way) > 1:
            yield from self._receive()

    def _receive(self) -> Flow:
        keys, begun = self._under_way.popleft()
        vectors = yield Finish(begun)
        yield from self._deliver([(key, vector) for same, vector in zip(keys, vectors, strict=True) for key in same])
