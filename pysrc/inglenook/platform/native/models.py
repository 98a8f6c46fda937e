"""Encoder and language model on a machine: the C kernels over a memory-mapped artifact."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.errors import NookError
from inglenook.flow import Candidates
from inglenook.kernels import native
from inglenook.kernels.artifact import Header, read_header

MAX_THREADS = 16


class _Weights:
    """An artifact mapped into memory, and what the kernel wants to know about it. Nothing is copied."""

    def __init__(self, path: Path | str, kind: str) -> None:
        path = Path(path)
        self.header: Header = read_header(path)
        if self.header.kind != kind:
            raise NookError("model-unsupported", f"{path.name} holds no {kind}.", "Choose another file.")
        self._map: Any = np.memmap(path, np.uint8, "r")
        self.base: int = self._map.ctypes.data + self.header.start
        self.words = np.array(self.header.words, np.int32)
        self.offsets = np.array(self.header.offsets, np.uint32)

    def refuse(self) -> NookError:
        return NookError("model-unsupported", "The kernel cannot run a model of this shape.", "Choose another model.")


class Encoder:
    """A BERT encoder. `threads` passages are encoded at a time, each by a kernel of its own over the same weights."""

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        self._lib = native.library()
        self._weights = weights = _Weights(path, "encoder")
        self.dimensions, self.positions = weights.header.words[1], weights.header.words[5]
        size = self._lib.bert_bytes(weights.words.ctypes.data)
        if not size:
            raise weights.refuse()
        self._arenas = [native.arena(size) for _ in range(max(1, threads))]
        self._models = [
            self._lib.bert_open(a.ctypes.data, weights.words.ctypes.data, weights.offsets.ctypes.data, weights.base)
            for a in self._arenas
        ]

    def encode(self, tokens: list[list[int]]) -> np.ndarray:
        """Embed token sequences: float32 (len(tokens), dimensions), rows of unit length.

        Raises NookError("tokens") for an empty sequence, one that is too long, or a token outside the vocabulary.
        """
        out = np.zeros((len(tokens), self.dimensions), np.float32)
        refused: list[int] = []

        def work(which: int) -> None:
            for i in range(which, len(tokens), len(self._models)):
                ids = np.array(tokens[i], np.int32)
                if self._lib.bert_encode(self._models[which], ids.ctypes.data, len(ids), out[i].ctypes.data):
                    refused.append(i)

        others = [threading.Thread(target=work, args=(i,)) for i in range(1, min(len(self._models), len(tokens)))]
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()
        if refused:
            length = len(tokens[refused[0]])
            hint = f"Use 1 to {self.positions} known tokens."
            raise NookError("tokens", f"A sequence of {length} tokens cannot be embedded.", hint)
        return out

    def close(self) -> None:
        """Free the memory."""
        self._models, self._arenas = [], []


class LanguageModel:
    """A Llama model with a cache of `context` positions, on `threads` threads (default: the cores, at most four)."""

    def __init__(self, path: Path | str, threads: int | None = None, context: int = 2048) -> None:
        self._lib = native.library()
        self._weights = weights = _Weights(path, "lm")
        threads = min(threads or min(os.cpu_count() or 1, 4), MAX_THREADS)
        size = self._lib.llama_bytes(weights.words.ctypes.data, context, threads)
        if not size:
            raise weights.refuse()
        self.vocabulary, self.context = weights.header.words[5], context
        self._arena = native.arena(size)
        words, offsets = weights.words.ctypes.data, weights.offsets.ctypes.data
        self._model = self._lib.llama_open(self._arena.ctypes.data, words, offsets, weights.base, context, threads)
        self._threads = [
            threading.Thread(target=self._lib.llama_thread, args=(self._model, i), daemon=True)
            for i in range(1, threads)
        ]
        for thread in self._threads:
            thread.start()

    def forward(self, tokens: list[int], at: int, top: int = 64) -> Candidates:
        """Run `tokens` from position `at` on; what the cache held from there on is dropped. The `top` best next tokens.

        Raises NookError("forward" | "context").
        """
        sent = np.array(tokens, np.int32)
        ids, logits = np.zeros(max(top, 1), np.int32), np.zeros(max(top, 1), np.float32)
        count = self._lib.llama_forward(
            self._model, sent.ctypes.data, len(sent), at, top, ids.ctypes.data, logits.ctypes.data
        )
        if count == -2:
            raise NookError("context", f"The model reads {self.context} tokens at most.", "Shorten the prompt.")
        if count < 0:
            raise NookError("forward", f"{len(tokens)} tokens at {at} do not continue what the model has read.", "")
        return Candidates(ids[:count], logits[:count])

    def logits(self) -> np.ndarray:
        """All logits of the last forward, float32 (vocabulary,)."""
        pointer = self._lib.llama_logits(self._model)
        return np.array((ctypes.c_float * self.vocabulary).from_address(pointer), np.float32)

    def size(self, layer: int, hidden: int, groups: int) -> None:
        """Let only the first `hidden` FFN neurons and `groups` key-value groups of a layer take part from now on."""
        if not self._lib.llama_size(self._model, layer, hidden, groups):
            raise NookError("forward", f"Layer {layer} has no size {hidden}, {groups}.", "Use multiples of 32 neurons.")

    def close(self) -> None:
        """End the threads and free the memory."""
        if self._model:
            self._lib.llama_close(self._model)
            for thread in self._threads:
                thread.join()
            self._model, self._arena = None, np.zeros(0, np.uint8)
