"""A `.nook` file on a web server, for reading in the tab: `index/ranges.py` over fetch, which sends some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import js
from pyodide.ffi import JsException, to_js

from inglenook.errors import NookError
from inglenook.index.ranges import WHOLE, Answer, Ask, Ranges, Requests


class RangeStore:
    """The pages of the file at `url`, as a store that is only read, awaited. Raises NookError as `Ranges`."""

    def __init__(self, url: str) -> None:
        self.ranges = Ranges(url)

    @classmethod
    async def open(cls, url: str) -> RangeStore:
        store = cls(url)
        await store._drive(store.ranges.opening())
        return store

    async def get(self, keys: list[str]) -> list[bytes | None]:
        pages: dict[str, bytes] = {}
        await self._drive(self.ranges.reading(keys, pages))
        return [pages.get(key) for key in keys]

    async def scan(self, prefix: str) -> dict[str, bytes]:
        keys = sorted(key for key in self.ranges.places if key.startswith(prefix))
        return {key: page for key, page in zip(keys, await self.get(keys)) if page is not None}

    async def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        """NookError("read-only")."""
        raise NookError("read-only", f"{self.ranges.url} is only read.", "Download it and open it as a file.")

    async def size(self) -> int:
        return self.ranges.total

    def close(self) -> None:
        """Nothing is held."""

    async def _drive(self, requests: Requests[None]) -> None:
        try:
            asks = next(requests)
            while True:
                asks = requests.send(list(await asyncio.gather(*map(self._ask, asks))))
        except StopIteration:
            return

    async def _ask(self, ask: Ask) -> Answer:
        span = f"bytes={ask.start}" if ask.start < 0 else f"bytes={ask.start}-{ask.end - 1}"
        headers = [["Range", span], *([["If-Range", ask.tag]] if ask.tag else [])]
        abort = js.AbortController.new()
        options = js.Object.fromEntries(
            to_js([["headers", js.Headers.new(to_js(headers))], ["signal", abort.signal], ["cache", "no-store"]])
        )
        try:
            answer = await js.fetch(self.ranges.url, options)
            get = answer.headers.get
            etag, modified = (str(get(name) or "") for name in ("ETag", "Last-Modified"))
            whole = answer.status == 200
            told = str(get("Content-Length") or "") if whole else str(get("Content-Range") or "").rpartition("/")[2]
            total = int(told) if told.isdigit() else -1
            if not answer.ok or (whole and total > WHOLE):
                abort.abort()
                return Answer(answer.status, None, etag, modified, total)
            data = (await answer.arrayBuffer()).to_bytes()
            return Answer(answer.status, data, etag, modified, total)
        except JsException:
            return Answer(0, None, "", "", -1)
