"""Work on ranges of rows, shared by several threads: compiled kernels let go of Python's lock, and in a tab, where
Python's memory is not shared, helpers have copies of what they work on (`enlist`).

Each range is worked on by itself, so what comes of it does not depend on how many threads there were.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")


class Rows(NamedTuple):
    """An array of which each range has its own rows, to read or to write."""

    array: NDArray[Any]
    written: bool = False


Argument = Rows | NDArray[Any] | int | Literal["count"]
"""Of a function that is called for ranges: "count" stands for how many rows a range has."""


class Helpers(Protocol):
    """Threads with memory of their own."""

    count: int

    def begin(self, name: str, ranges: Sequence[slice], arguments: Sequence[Argument]) -> list[slice]:
        """Let helpers call the kernel's function `name` for ranges. Returns those that nobody does."""

    def finish(self) -> list[slice]:
        """Wait for all that was begun. Returns the ranges of those that failed."""


_enlisted: list[Helpers] = []
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
    mine, *rest = _ranges(n, parts)
    others = [_pool().submit(work, some) for some in rest]
    return [work(mine), *(other.result() for other in others)]


def enlist(helpers: Helpers | None) -> None:
    """Let `spread` have helpers, or none."""
    _enlisted[:] = [] if helpers is None else [helpers]


def spread(name: str, kernel: Callable[..., Any], n: int, arguments: Sequence[Argument], least: int = 64) -> None:
    """Call a compiled function, whose name is `name`, for ranges that make up 0 … n."""

    def some(rows: slice) -> None:
        kernel(*(_told(argument, rows) for argument in arguments))

    if not _enlisted:
        each(some, n, least)
        return
    [helpers] = _enlisted
    mine, *others = _ranges(n, max(1, min(helpers.count + 1, n // least)))
    for rows in (mine, *helpers.begin(name, others, arguments)):
        some(rows)
    for rows in helpers.finish():
        some(rows)


def _told(argument: Argument, rows: slice) -> Any:
    if isinstance(argument, Rows):
        return argument.array[rows].ctypes.data
    if isinstance(argument, str):
        return rows.stop - rows.start
    return argument if isinstance(argument, int) else argument.ctypes.data


def _ranges(n: int, parts: int) -> list[slice]:
    return [slice(n * part // parts, n * (part + 1) // parts) for part in range(parts)]


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # not where there are no threads

    return ThreadPoolExecutor(os.cpu_count(), "inglenook")
