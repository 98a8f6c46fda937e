"""Rows in IndexedDB: those of `evals.rows`, each a page under its call's address, in the workbench's own database.

A page is the very line of a JSONL file, so what is exported is such a file, and a machine's can be taken in.
"""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.evals.calls import Call, Reply, load
from inglenook.evals.rows import parsed, row
from inglenook.platform.browser.store import BrowserStore

NAME = "workbench/runs"
"""The database, which no library is called."""
ROW = "row/"


class StoredRows:
    """`drive.AsyncKept` over a store. A row that is damaged is none: the call is asked again."""

    def __init__(self, store: BrowserStore) -> None:
        self._store = store

    async def find(self, calls: Sequence[Call]) -> list[Reply | None]:
        keys = [call.key for call in calls]
        pages = await self._store.get([ROW + key for key in keys])
        found = [page and parsed(page, key) for page, key in zip(pages, keys, strict=True)]
        return [load(row["reply"]) if row else None for row in found]

    async def put(self, call: Call, reply: Reply) -> None:
        """Keep one; it is durable when this returns. Raises NookError("quota" | "storage")."""
        await self._store.commit({ROW + call.key: row(call, reply)}, [])
