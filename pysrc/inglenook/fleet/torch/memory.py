"""The bytes of an arena, and the keys and values of one model in its pages.

    memory = Memory(arena.pages, arena.page_bytes, "cpu")
    cache = Cache(memory, shape, 0, shape.layers)       # or the layers of one stage
    cache.write(layer, batch.rows, keys, values)
    keys, values = cache.read(layer, group.rows)

A page is cut into rows of one head's channels: those of token `slot` stand at row ((layer * 2 + part) * kv_heads +
head) * tokens + slot, part 0 the keys and 1 the values. So reads and writes are one indexed copy each, whatever shapes
share the memory (PagedAttention, 2309.06180, section 4.1, keeps a block for all layers, too).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet.arena import token_bytes


class Memory:
    """`pages` pages of `page_bytes` bytes in one tensor."""

    def __init__(self, pages: int, page_bytes: int, device: str | torch.device = "cpu") -> None:
        self.pages, self.page_bytes = pages, page_bytes
        try:
            self.bytes = torch.zeros(pages * page_bytes, dtype=torch.uint8, device=device)
        except RuntimeError as error:  # torch's out of memory is one
            hint = "Give the arena fewer pages."
            raise NookError("memory", f"There is no room for {pages * page_bytes:,} bytes.", hint) from error


class Cache:
    """Keys and values of layers `first` to `last` (not itself) of a model, in pages of `memory`.

    `tokens` in a page are as many as fit, or `tokens`: what the arena of another worker says. Raises
    NookError("arena") if they do not fit.
    """

    def __init__(
        self, memory: Memory, shape: Shape, first: int, last: int, *, dtype: torch.dtype = torch.float32,
        tokens: int | None = None,
    ) -> None:  # fmt: skip
        item = torch.empty(0, dtype=dtype).element_size()
        each = token_bytes(shape, item, last - first)
        self.memory, self.shape, self.first, self.last = memory, shape, first, last
        self.device, self.dtype = memory.bytes.device, dtype
        self.tokens = memory.page_bytes // each if tokens is None else tokens
        if not 1 <= self.tokens <= memory.page_bytes // each or memory.page_bytes % (shape.head * item):
            hint = f"Take a multiple of {shape.head * item} bytes, and at least {each}."
            raise NookError("arena", f"Pages of {memory.page_bytes} bytes do not fit the model.", hint)
        self._rows = memory.bytes.view(dtype).view(-1, shape.head)
        self._per_page = memory.page_bytes // (shape.head * item)
        self._heads = np.arange(shape.kv_heads) * self.tokens

    def rows(self, pages: np.ndarray, slots: np.ndarray) -> Tensor:
        """The rows of the first layer's keys, int64 (positions, kv_heads), of tokens at slots of pages."""
        rows = (pages * self._per_page + slots)[:, None] + self._heads
        return torch.from_numpy(rows).to(self.device)

    def write(self, layer: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keep the keys and values (tokens, kv_heads, head) of a batch's tokens, at its `rows`."""
        for part, made in enumerate((keys, values)):
            at = (rows + self._start(layer, part)).view(-1)
            self._rows.index_copy_(0, at, made.reshape(-1, self.shape.head))

    def read(self, layer: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (requests, kv_heads, length, head) of a group's requests, from its `rows`."""
        keys, values = (
            self._rows.index_select(0, (rows + self._start(layer, part)).view(-1)).view(*rows.shape, self.shape.head)
            for part in (0, 1)
        )
        return keys, values

    def export(self, pages: Sequence[int], first: int, last: int, tokens: int | None = None, start: int = 0) -> Tensor:
        """What the slots from `start` to `tokens` (all) of `pages` hold of layers `first` to `last` (not itself), on
        the processor: (layers, 2, tokens - start, kv_heads, head)."""
        rows = self._span(pages, start, len(pages) * self.tokens if tokens is None else tokens)
        found = [self._rows[rows + self._start(layer, part)] for layer in range(first, last) for part in (0, 1)]
        return torch.stack(found).view(last - first, 2, *rows.shape, self.shape.head).cpu()

    def accept(self, pages: Sequence[int], first: int, last: int, exported: Tensor, start: int = 0) -> None:
        """Put what `export` gave into the slots from `start` of `pages`; their sizes may differ. Raises
        NookError("kv")."""
        size = (last - first, 2, exported.shape[2], self.shape.kv_heads, self.shape.head)
        if exported.shape != size or start + size[2] > len(pages) * self.tokens:
            message = f"Keys and values of {tuple(exported.shape)} do not go into {len(pages)} pages."
            raise NookError("kv", message, "Both sides must hold the same model.")
        rows = self._span(pages, start, start + size[2])
        for layer in range(first, last):
            for part in (0, 1):
                values = exported[layer - first, part].to(self.device, self.dtype)
                self._rows[rows + self._start(layer, part)] = values

    def _span(self, pages: Sequence[int], start: int, end: int) -> Tensor:
        at = np.arange(start, end)
        return self.rows(np.asarray(pages, np.int64)[at // self.tokens], at % self.tokens)

    def _start(self, layer: int, part: int) -> int:
        """The row of a page at which a layer's keys or values begin."""
        if not self.first <= layer < self.last:
            raise NookError("kv", f"Layer {layer} is not kept here.", f"Layers {self.first} to {self.last - 1} are.")
        return ((layer - self.first) * 2 + part) * self.shape.kv_heads * self.tokens
