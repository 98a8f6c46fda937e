"""The plain pass as an engine's model: `elastic.reference` over key-value pages, with activations rounded as told.

It answers what the kernel answers (`platform.native.lm.Model`), so that the whole engine can run on a model of a few
thousand weights, every operation of which can be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inglenook.elastic.cache import PAGE
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Array, Reference
from inglenook.errors import NookError
from inglenook.flow import Candidates

ACTIVATIONS = ("f32", "f16", "int8")


class Rounded(Reference):
    """The plain pass with activations, keys and values as they are ("f32"), in half precision, or as the kernel has
    them ("int8")."""

    def __init__(self, source: Gguf | Path, activations: str = "f32") -> None:
        super().__init__(source, rounded=activations == "int8")
        if activations == "f16":
            self._round = lambda x, block: x.astype(np.float16).astype(np.float32)

    def loud(self, factor: float) -> Rounded:
        """With logits and scores of attention so many times larger, where sums of exponentials overflow."""
        self._norm = self._norm * np.float32(factor)
        self._layers = [replace(layer, q=layer.q * np.float32(factor)) for layer in self._layers]
        return self

    def traced(self, tokens: list[int]) -> dict[str, Array]:
        """What every operation gave."""
        seen: dict[str, Array] = {}
        self.watch = lambda name, x: seen.__setitem__(name, np.array(x, np.float32))
        try:
            seen["logits"] = self.logits(tokens)
        finally:
            self.watch = lambda name, x: None
        return seen


class Paged(Rounded):
    """With `pages` pages of keys and values, for sessions of up to `context` positions."""

    def __init__(
        self, source: Gguf | Path, activations: str = "f32", *, context: int = 512, pages: int = 24
    ) -> None:  # fmt: skip
        super().__init__(source, activations)
        self.context, self.pages = min(context, self.shape.context), pages
        size = (pages, PAGE, self.shape.kv_heads, self.shape.head)
        self._paged = [(np.zeros(size, np.float32), np.zeros(size, np.float32)) for _ in range(self.shape.layers)]
        self._full = [0] * pages

    def forward(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """What `flow.Forward` asks for. Raises NookError("forward" | "context" | "tokens")."""
        table = self._read(tokens, at, pages, each)
        best = self.best(tokens, at, min(top, self.shape.vocabulary), level=level, each=each, allow=allow)
        self._write(table, at)
        return best

    def score(self, tokens: list[int], at: int, level: int = 0, *, pages: Sequence[int] = ()) -> Array:
        """What `flow.Score` asks for."""
        table = self._read(tokens, at, pages, 0)
        scores = super().score(tokens, at, level)
        self._write(table, at)
        return scores

    def copy(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        if not (0 <= source < self.pages and 0 <= target < self.pages):
            raise NookError("forward", f"There are no pages {source} and {target}.", "")
        for kept in self._paged:
            for array in kept:
                array[target] = array[source]
        self._full[target] = self._full[source]

    def close(self) -> None:
        """Free the memory."""
        self._paged.clear()

    def _read(self, tokens: list[int], at: int, pages: Sequence[int], each: int) -> list[int]:
        """Put what is known before `at` together; returns the pages of all positions."""
        end = at + len(tokens)
        if end > self.context:
            raise NookError("context", f"The model reads {self.context} tokens at most.", "Shorten the prompt.")
        if any(not 0 <= token < self.shape.vocabulary for token in tokens):
            raise NookError("tokens", "A token is not in the model's vocabulary.", "Use the model's own tokenizer.")
        table = list(pages)[: -(-end // PAGE)] if len(pages) else list(range(-(-end // PAGE)))
        if len(table) * PAGE < end or any(not 0 <= page < self.pages for page in table) or each > len(tokens):
            raise NookError("forward", f"The pages {table} do not hold {end} positions.", "")
        known = table[: -(-at // PAGE)]
        if any(self._full[page] < min(PAGE, at - i * PAGE) for i, page in enumerate(known)):
            raise NookError("forward", f"Position {at} does not continue what the model has read.", "")
        joined = (self.shape.kv_heads, self.shape.head)
        self._cache = [
            (keys[known].reshape(-1, *joined)[:at], values[known].reshape(-1, *joined)[:at])
            for keys, values in self._paged
        ]
        return table

    def _write(self, table: list[int], at: int) -> None:
        """Keep what is new from `at` on."""
        end = self.held
        for i in range(at // PAGE, len(table)):
            first, last, page = max(at, i * PAGE), min(end, (i + 1) * PAGE), table[i]
            for kept, new in zip(self._paged, self._cache, strict=True):
                for array, rows in zip(kept, new, strict=True):
                    array[page, first - i * PAGE : last - i * PAGE] = rows[first:last]
            self._full[page] = last - i * PAGE
