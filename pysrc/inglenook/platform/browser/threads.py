"""Threads of the tab: web/lib/helpers.js, for `index/threads.py`. web/worker.js registers it as `inglenook_helpers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyodide.ffi import to_js

from inglenook.index import threads
from inglenook.index.threads import Argument, Rows


async def ready() -> int:
    """Have helpers from now on, where the page lets memory be shared. Returns how many."""
    try:
        import inglenook_helpers as module  # type: ignore[import-not-found]
    except ImportError:
        return 0
    count = int(await module.start())
    if count:
        threads.enlist(Helpers(module, count))
    return count


class Helpers:
    """As `index.threads.Helpers`."""

    def __init__(self, module: Any, count: int) -> None:
        self.count, self._module = count, module
        self._busy: list[tuple[int, slice]] = []

    def begin(self, name: str, ranges: Sequence[slice], arguments: Sequence[Argument]) -> list[slice]:
        left = []
        for me, rows in enumerate(ranges):
            told = [_told(argument, rows) for argument in arguments]
            kinds = "".join(kind for kind, _, _ in told)
            values, sizes = (to_js([one[n] for one in told]) for n in (1, 2))
            if self._module.begin(me, name, kinds, values, sizes):
                self._busy.append((me, rows))
            else:
                left.append(rows)
        return left

    def finish(self) -> list[slice]:
        busy, self._busy = self._busy, []
        return [rows for me, rows in busy if not self._module.end(me)]


def _told(argument: Argument, rows: slice) -> tuple[str, int, int]:
    """An argument as the other side takes it: its kind, its value or address, its bytes."""
    if isinstance(argument, str):
        return "n", rows.stop - rows.start, 0
    if isinstance(argument, int):
        return "n", argument, 0
    array = argument.array[rows] if isinstance(argument, Rows) else argument
    return "w" if isinstance(argument, Rows) and argument.written else "r", array.ctypes.data, array.nbytes
