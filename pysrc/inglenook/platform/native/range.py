"""A `.nook` file on a web server, for reading from a machine: `index/ranges.py` over HTTP, some requests at a time."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from inglenook.errors import NookError
from inglenook.index.ranges import WHOLE, Answer, Ask, Ranges, Requests

AT_ONCE = 6
"""Requests at a time, as browsers have it."""
PATIENCE = 30.0
"""Seconds that a server may be silent."""


class RangeStore:
    """The pages of the file at `url` (http or https), as a store that is only read. Raises NookError as `Ranges`."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise NookError("no-nook", f"{url} is no address of a web server.", "Begin it with https://.")
        self.ranges = Ranges(url)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        try:
            self._drive(self.ranges.opening())
        except BaseException:
            self.close()
            raise

    def get(self, keys: list[str]) -> list[bytes | None]:
        pages: dict[str, bytes] = {}
        self._drive(self.ranges.reading(keys, pages))
        return [pages.get(key) for key in keys]

    def scan(self, prefix: str) -> dict[str, bytes]:
        keys = sorted(key for key in self.ranges.places if key.startswith(prefix))
        return {key: page for key, page in zip(keys, self.get(keys)) if page is not None}

    def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        """NookError("read-only")."""
        raise NookError("read-only", f"{self.ranges.url} is only read.", "Download it and open it as a file.")

    def size(self) -> int:
        return self.ranges.total

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _drive(self, requests: Requests[None]) -> None:
        try:
            asks = next(requests)
            while True:
                asks = requests.send(list(self._pool.map(self._ask, asks)))
        except StopIteration:
            return

    def _ask(self, ask: Ask) -> Answer:
        span = f"bytes={ask.start}" if ask.start < 0 else f"bytes={ask.start}-{ask.end - 1}"
        headers = {"Range": span, "Accept-Encoding": "identity"} | ({"If-Range": ask.tag} if ask.tag else {})
        request = urllib.request.Request(self.ranges.url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                total = _total(answer.status, answer.headers)
                whole = answer.status == 200
                data = None if whole and total > WHOLE else answer.read(WHOLE + 1 if whole else -1)
                if whole and data is not None and len(data) > WHOLE:
                    data = None
                etag, modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
                return Answer(answer.status, data, etag, modified, total)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, None, "", "", -1)
        except (OSError, ValueError):
            return Answer(0, None, "", "", -1)


def _total(status: int, headers: Mapping[str, str]) -> int:
    """The whole file's length."""
    told = headers.get("Content-Length", "") if status == 200 else headers.get("Content-Range", "").rpartition("/")[2]
    return int(told) if told.isdigit() else -1
