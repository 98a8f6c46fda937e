"""Encoder and language model on a machine: the C kernels over a memory-mapped artifact."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.elastic.batch import Batch, answers
from inglenook.elastic.cache import PAGE
from inglenook.errors import NookError
from inglenook.flow import Candidates, Forward
from inglenook.kernels import native
from inglenook.kernels.artifact import Header, read_header, verify

MAX_THREADS = 16
MAX_EACH = 16
ROOM = ((2048, 64), (1024, 24), (512, 12))
"""Positions of a session and pages of all, from what is wanted to what is tried where memory is refused."""


class _Weights:
    """An artifact mapped into memory, and what the kernel wants to know about it. Nothing is copied."""

    def __init__(self, path: Path | str, kind: str) -> None:
        path = Path(path)
        self.header: Header = read_header(path)
        if self.header.kind != kind:
            raise NookError("model-unsupported", f"{path.name} holds no {kind}.", "Choose another file.")
        self._map: Any = np.memmap(path, np.uint8, "r")
        self._verify(path)
        self.base: int = self._map.ctypes.data + self.header.start
        self.words = np.array(self.header.words, np.int32)
        self.offsets = np.array(self.header.offsets, np.uint32)

    def _verify(self, path: Path) -> None:
        """Hold the weights against their checksums, on all cores; that reads them from disk as well."""
        wrong: list[NookError] = []
        cores = os.cpu_count() or 1

        def work(first: int) -> None:
            try:
                verify(path, self.header, self._map, first, cores)
            except NookError as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise wrong[0]

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


def _take_part(lib: ctypes.CDLL, model: int, me: int, memory: object) -> None:
    """The life of a thread of a language model. It waits and works in `memory`, which must not go before it does."""
    lib.llama_thread(model, me)


def _end(lib: ctypes.CDLL, model: int, memory: object) -> None:
    """Let the threads of a language model end. This does not wait for them: the collector may call it anywhere."""
    lib.llama_close(model)


class LanguageModel:
    """A Llama model on `threads` threads (default: the cores, at most four).

    A session has room for `context` positions, all of them together for `pages` pages; where memory is refused both
    become less. `config` is the artifact's. `plain` is the build that any processor runs.

    One that is forgotten without `close` ends its threads, too; each of them keeps the memory until it has ended.
    """

    def __init__(
        self, path: Path | str, threads: int | None = None, context: int | None = None, pages: int | None = None,
        plain: bool | None = None,
    ) -> None:  # fmt: skip
        self._lib = native.library(plain)
        self._weights = weights = _Weights(path, "lm")
        threads = min(threads or min(os.cpu_count() or 1, 4), MAX_THREADS)
        room = ((context, pages or -(-context // PAGE)),) if context else ROOM
        words, offsets = weights.words.ctypes.data, weights.offsets.ctypes.data
        for self.context, self.pages in room:
            size = self._lib.llama_bytes(words, self.context, self.pages, threads)
            if not size:
                raise weights.refuse()
            try:
                self._arena = native.arena(size)
                break
            except MemoryError:
                continue
        else:
            hint = "Close other programs, or search without it."
            raise NookError("memory", "There is not enough memory for the model.", hint)
        self.config, self.vocabulary = weights.header.config, weights.header.words[5]
        self._model = self._lib.llama_open(
            self._arena.ctypes.data, words, offsets, weights.base, self.context, self.pages, threads
        )
        memory = (self._arena, weights)
        self._threads = [
            threading.Thread(target=_take_part, args=(self._lib, self._model, i, memory), daemon=True)
            for i in range(1, threads)
        ]
        for thread in self._threads:
            thread.start()
        self._end = weakref.finalize(self, _end, self._lib, self._model, memory)
        self._end.atexit = False  # the process ends them

    def forward(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """What `flow.Forward` asks for. Raises NookError("forward" | "context" | "tokens")."""
        top = min(top, self.vocabulary)
        sent, table = self._placed(tokens, at, pages)
        ids, logits = np.zeros((max(each, 1), top), np.int32), np.zeros((max(each, 1), top), np.float32)
        totals = np.zeros(max(each, 1), np.float32)
        self._covers(allow)
        count = self._lib.llama_forward(
            self._model, sent.ctypes.data, len(sent), at, table.ctypes.data, level, top, each, allow, ids.ctypes.data,
            logits.ctypes.data, totals.ctypes.data,
        )  # fmt: skip
        self._check(count, tokens, at)
        if each == 1:
            return Candidates(ids[0, :count], logits[0, :count], float(totals[0]))
        return Candidates(ids[:each], logits[:each], totals[:each])

    def batch(self, passes: Sequence[Forward]) -> list[Candidates]:
        """What `elastic.batch.Batch` asks for. Raises as `forward` does, for all of them."""
        asked, top = Batch.of(passes), min(passes[0].top, self.vocabulary)
        ids, logits = np.zeros((len(passes), top), np.int32), np.zeros((len(passes), top), np.float32)
        totals = np.zeros(len(passes), np.float32)
        for one in passes:
            self._placed(one.tokens, one.at, one.pages)
            self._covers(one.allow)
        self._check(
            self._lib.llama_batch(
                self._model, asked.tokens.ctypes.data, len(passes), asked.places.ctypes.data, asked.tables.ctypes.data,
                asked.tables.shape[1], asked.level, top, asked.masked.ctypes.data, asked.allow.ctypes.data,
                asked.allow.shape[1], ids.ctypes.data, logits.ctypes.data, totals.ctypes.data,
            ),
            asked.tokens.tolist(), passes[0].at,
        )  # fmt: skip
        return answers(Candidates(ids, logits, totals))

    def score(self, tokens: list[int], at: int, *, level: int = 0, pages: Sequence[int] = ()) -> np.ndarray:
        """What `flow.Score` asks for. Raises as `forward` does."""
        sent, table = self._placed(tokens, at, pages)
        scores = np.zeros(max(len(tokens), 1), np.float32)
        self._check(
            self._lib.llama_score(
                self._model, sent.ctypes.data, len(sent), at, table.ctypes.data, level, scores.ctypes.data
            ),
            tokens, at,
        )  # fmt: skip
        return scores[: len(tokens) - 1]

    def copy(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        if self._lib.llama_copy(self._model, source, target):
            raise NookError("forward", f"There are no pages {source} and {target}.", "")

    def read(self) -> int:
        """Read all weights once with all threads, and do nothing with them: decoding's bound. Returns the bytes."""
        self._lib.llama_read(self._model, self._weights.base, self._weights.header.size)
        return self._weights.header.size

    def logits(self, row: int = 0) -> np.ndarray:
        """All logits of the last forward's row, float32 (vocabulary,)."""
        pointer = self._lib.llama_logits(self._model, row)
        return np.array((ctypes.c_float * self.vocabulary).from_address(pointer), np.float32)

    def close(self) -> None:
        """End the threads and free the memory."""
        if self._model:
            self._end()
            for thread in self._threads:
                thread.join()
            self._model, self._arena = None, np.zeros(0, np.uint8)

    def _placed(self, tokens: list[int], at: int, pages: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens and the page table as the kernel takes them."""
        end = at + len(tokens)
        if end > self.context:
            raise NookError("context", f"The model reads {self.context} tokens at most.", "Shorten the prompt.")
        table = np.array(pages if len(pages) else range(-(-end // PAGE)), np.int32)
        if len(table) * PAGE < end:
            raise NookError("forward", f"{len(table)} pages do not hold {end} positions.", "")
        return np.array(tokens, np.int64).clip(-1, 2**31 - 1).astype(np.int32), table

    def _covers(self, allow: bytes | None) -> None:
        if allow is not None and len(allow) < (self.vocabulary + 7) // 8:
            raise NookError("forward", f"{len(allow)} bytes do not say of every token whether it is allowed.", "")

    def _check(self, result: int, tokens: list[int], at: int) -> None:
        if result == -3:
            raise NookError("tokens", "A token is not in the model's vocabulary.", "Use the model's own tokenizer.")
        if result < 0:
            raise NookError("forward", f"{len(tokens)} tokens at {at} do not continue what the model has read.", "")
