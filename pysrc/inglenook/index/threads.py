"""Work on ranges of rows, shared by several threads where that is wished for: compiled kernels let go of Python's lock.

Each range is worked on by itself, so what comes of it does not depend on how many threads there were.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_wished: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def using(count: int) -> Iterator[None]:
    """Let `each` have so many threads in here; -1: as many as the machine has processors. In a browser it has one."""
    there = 1 if sys.platform == "emscripten" else os.cpu_count() or 1
    token = _wished.set(there if count < 1 else min(count, there))
    try:
        yield
    finally:
        _wished.reset(token)


def each(work: Callable[[slice], T], n: int, least: int = 64) -> list[T]:
    """What `work` says of ranges that make up 0 … n, in order; none is shorter than `least`, unless n is."""
    parts = max(1, min(_wished.get(), n // least))
    ranges = [slice(n * part // parts, n * (part + 1) // parts) for part in range(parts)]
    others = [_pool().submit(work, some) for some in ranges[1:]]
    return [work(ranges[0]), *(other.result() for other in others)]


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # not where there are no threads

    return ThreadPoolExecutor(os.cpu_count(), "inglenook")
