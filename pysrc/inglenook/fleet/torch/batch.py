"""The pieces of an iteration as tensors of indices: made once, used by every layer.

All tokens stand in one row, whatever request they are of, so each matrix is multiplied once. Attention goes by groups:
decoding requests of similar length together, each chunk of a prompt alone. What is padded reads the request's own last
token, which the mask hides: never another's memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inglenook.errors import NookError
from inglenook.fleet.iteration import Piece
from inglenook.fleet.torch.memory import Cache

SHORT = 64  # requests of so many positions at most share a group; above, those of the same power of two


@dataclass(frozen=True, slots=True)
class Group:
    """Requests whose attention is computed together, `each` tokens of each.

    `at` (requests * each) are their tokens in the batch; `rows` (requests, kv_heads, length) where their keys are;
    `mask` (requests, 1, group * each, length) is added to scores, None if every token sees every key.
    """

    each: int
    at: Tensor
    rows: Tensor
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` and `positions` (tokens,); `rows` (tokens, kv_heads) where keys are written; the `groups`; `wanted`, the
    tokens after which the next one is asked for."""

    tokens: Tensor
    positions: Tensor
    rows: Tensor
    groups: tuple[Group, ...]
    wanted: Tensor

    @classmethod
    def of(cls, pieces: Sequence[Piece], cache: Cache) -> Batch:
        """Raises NookError("iteration") for what no cache of this kind can run."""
        shape, device = cache.shape, cache.device
        sizes = np.array([len(piece.tokens) for piece in pieces])
        starts = np.array([piece.start for piece in pieces])
        if not len(pieces) or not sizes.all() or starts.min() < 0:
            raise _wrong("a piece is empty")
        lengths = starts + sizes
        if lengths.max() > shape.context:
            message = f"The model reads {shape.context} tokens at most, not {lengths.max()}."
            raise NookError("context", message, "Shorten the prompt.")
        tokens = np.fromiter((token for piece in pieces for token in piece.tokens), np.int64, int(sizes.sum()))
        if tokens.min() < 0 or tokens.max() >= shape.vocabulary:
            raise _wrong("a token is not in the vocabulary")
        tables = [np.array(piece.pages, np.int64) for piece in pieces]
        for table, length in zip(tables, lengths, strict=True):
            if len(table) * cache.tokens < length or table.min() < 0 or table.max() >= cache.memory.pages:
                raise _wrong("its pages do not hold its tokens")
        ends = np.cumsum(sizes)
        positions = np.concatenate([np.arange(start, end) for start, end in zip(starts, lengths, strict=True)])
        pages = np.concatenate(
            [table[np.arange(start, end) // cache.tokens] for table, start, end in zip(tables, starts, lengths)]
        )
        groups = tuple(
            _group(cache, tables, members, (ends - sizes)[members], lengths[members], each=int(sizes[members[0]]))
            for members in _together(sizes, lengths)
        )
        wanted = np.array([end - 1 for end, piece in zip(ends, pieces, strict=True) if piece.wants], np.int64)
        rows = cache.rows(pages, positions % cache.tokens)
        numbers = [torch.from_numpy(array).to(device) for array in (tokens, positions, wanted)]
        return cls(numbers[0], numbers[1], rows, groups, numbers[2])


def _together(sizes: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Which pieces form a group: single tokens by the power of two of their length, others alone."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (size, length) in enumerate(zip(sizes, lengths, strict=True)):
        key = (0, max(SHORT, int(length) - 1).bit_length()) if size == 1 else (1, index)
        found[key].append(index)
    return list(found.values())


def _group(
    cache: Cache, tables: list[np.ndarray], members: list[int], begins: np.ndarray, held: np.ndarray, *, each: int
) -> Group:
    """The group of some pieces of `each` tokens, which begin at `begins` in the batch and end requests of `held`."""
    longest = int(held.max())
    keys = np.minimum(np.arange(longest), held[:, None] - 1)  # (requests, longest)
    pages = np.stack([tables[member][at // cache.tokens] for member, at in zip(members, keys, strict=True)])
    rows = cache.rows(pages.ravel(), (keys % cache.tokens).ravel())
    rows = rows.view(len(members), longest, -1).transpose(1, 2).contiguous()
    at = torch.from_numpy((begins[:, None] + np.arange(each)).ravel()).to(cache.device)
    if each == 1 and held.min() == longest:
        return Group(each, at, rows, None)
    last = held[:, None] - each + np.arange(each)  # (requests, each): the position of each query
    hidden = np.arange(longest) > last[:, :, None]
    mask = torch.zeros(hidden.shape, dtype=cache.dtype).masked_fill_(torch.from_numpy(hidden), -torch.inf)
    return Group(each, at, rows, mask.repeat(1, cache.shape.group, 1).unsqueeze(1).to(cache.device))


def _wrong(what: str) -> NookError:
    return NookError("iteration", f"This iteration cannot be run: {what}.", "This is a defect: report it.")
