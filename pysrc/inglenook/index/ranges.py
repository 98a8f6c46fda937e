"""A `.nook` file on a web server: which bytes to ask for, and what the answers mean. Knows no network; the drivers are
`platform/native/range.py` and `platform/browser/range.py`.

Opening asks for the file's end, which holds the directory unless that is large; pages that lie near each other are one
request, and requests go out together. Every answer has to be of the file that was opened, by its ETag (or date, and
length): a file that was replaced is noticed, never mixed with the new one.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from typing import NamedTuple, TypeVar

from inglenook.errors import NookError
from inglenook.index import container
from inglenook.index.container import FOOTER, HEADER, Place

TAIL = 1 << 16
"""Bytes of the end that are asked for first."""
GAP = 1 << 14
"""Bytes between two pages that are read along rather than asking twice: what a connection brings in some ms."""
MOST = 1 << 20
"""Bytes of a request that is made of several pages."""
WHOLE = 1 << 26
"""A file of so many bytes is taken whole where a server knows no ranges."""


class Ask(NamedTuple):
    """Bytes `start` to `end` (not included); the last `-start` bytes where start is negative. `tag` goes into If-Range
    where it is not empty."""

    start: int
    end: int
    tag: str


class Answer(NamedTuple):
    """What a server said: its status, the ETag and Last-Modified it gave, and the whole file's length (-1: unknown).
    `data` of a status 200 is None where it is longer than `WHOLE`: drivers do not read that."""

    status: int
    data: bytes | None
    etag: str
    modified: str
    total: int


Piece = tuple[int, bytes]
T = TypeVar("T")
Requests = Generator[list[Ask], list[Answer], T]
"""Asks for some ranges at a time and is sent the answers in their order."""


class Ranges:
    """The pages of a file at `url`. `opening` and `reading` are generators for a driver; afterwards `places` has the
    directory, and `take` the pages that were read."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.places: dict[str, Place] = {}
        self.total = 0
        self.received = 0
        """Bytes that came."""
        self.requests = 0
        self._tag = self._modified = ""
        self._whole: list[Piece] = []

    def opening(self) -> Requests[None]:
        """Read the directory. NookError("no-nook" | "no-ranges" | "corrupt" | "truncated" | "newer-format")."""
        [answer] = yield [Ask(-TAIL, 0, "")]
        pieces = [self._first(answer)]
        head = [(0, HEADER.size)] if pieces[0][0] > 0 else []
        end, fits = self.total, True
        while end and fits:  # what is missing is asked for: the header, and perhaps a piece of the directory with it
            start = end - FOOTER.size
            if start >= HEADER.size and not _cut(pieces, start, FOOTER.size):
                pieces += yield from self._fetch([(max(0, end - TAIL), end)])
            footer = _cut(pieces, start, FOOTER.size) if start >= HEADER.size else b""
            offset, length, _, before, _, _, magic = FOOTER.unpack(footer or bytes(FOOTER.size))
            fits = magic == container.END and offset + length == start and before < start
            missing = [(offset, start)] if fits and len(_cut(pieces, offset, length)) < length else []
            pieces += yield from self._fetch(head + missing)
            head, end = [], before + FOOTER.size if before else 0
        number = container.read_header(_cut(pieces, 0, HEADER.size))
        if not fits:
            raise container.truncated()
        self.places, _ = container.directory_at(lambda offset, length: _cut(pieces, offset, length), self.total, number)

    def reading(self, keys: list[str], pages: dict[str, bytes]) -> Requests[None]:
        """Read pages into `pages`; a key that is not there is left out. NookError("changed" | "corrupt")."""
        wanted = sorted((self.places[key], key) for key in set(keys) if key in self.places)
        pieces = self._whole or (yield from self._fetch(runs([place for place, _ in wanted])))
        at = 0  # pages and pieces are in one order
        for place, key in wanted:
            while at + 1 < len(pieces) and pieces[at + 1][0] <= place.offset:
                at += 1
            page = _cut(pieces[at : at + 1], place.offset, place.length)
            if len(page) < place.length or zlib.crc32(page) != place.crc:
                raise _damaged(self.url, key)
            pages[key] = page

    def _fetch(self, spans: list[tuple[int, int]]) -> Requests[list[Piece]]:
        if not spans:
            return []
        tag = self._tag if self._tag.startswith('"') else ""  # a weak one may not stand in If-Range
        pieces: list[Piece] = []
        for (start, end), answer in zip(spans, (yield [Ask(start, end, tag) for start, end in spans])):
            self.requests += 1
            other = answer.status < 300 and (answer.etag, answer.modified) != (self._tag, self._modified)
            if other or answer.status in (200, 404, 410, 416) or answer.total not in (-1, self.total):
                message = f"{self.url} was changed while it was open."
                raise NookError("changed", message, "Open it again: its new contents are read then.")
            if answer.status != 206 or answer.data is None or len(answer.data) != end - start:
                raise _refused(self.url, answer.status)
            self.received += len(answer.data)
            pieces.append((start, answer.data))
        return pieces

    def _first(self, answer: Answer) -> Piece:
        """The file's end, and what is to be known of the file."""
        self.requests += 1
        data = answer.data
        if answer.status in (404, 410):
            raise NookError("no-nook", f"There is no file {self.url}.", "Check the address.")
        if answer.status == 416:
            raise container.truncated()
        if answer.status == 200 and data is None:
            hint = "Put it on a server that knows byte ranges, or download it and open it as a file."
            raise NookError("no-ranges", f"The server of {self.url} gives only the whole file, a large one.", hint)
        if answer.status not in (200, 206) or data is None or (answer.status == 206 and answer.total < len(data)):
            raise _refused(self.url, answer.status)
        self._tag, self._modified = answer.etag, answer.modified
        self.received += len(data)
        if answer.status == 200:
            self.total, self._whole = len(data), [(0, data)]
            return 0, data
        self.total = answer.total
        return answer.total - len(data), data


def _cut(pieces: list[Piece], offset: int, length: int) -> bytes:
    """Bytes of the file out of what has come, b"" where they have not."""
    for start, data in pieces:
        if start <= offset and offset + length <= start + len(data):
            return data[offset - start : offset - start + length]
    return b""


def runs(places: list[Place]) -> list[tuple[int, int]]:
    """Ranges (start, end) that hold ascending places, neighbours in one."""
    out: list[tuple[int, int]] = []
    for place in places:
        end = place.offset + place.length
        if out and place.offset - out[-1][1] <= GAP and end - out[-1][0] <= max(MOST, place.length):
            out[-1] = out[-1][0], max(end, out[-1][1])
        else:
            out.append((place.offset, end))
    return out


def _damaged(url: str, key: str) -> NookError:
    return NookError("corrupt", f"A page of {url} is damaged: the checksum of {key} is wrong.", "Put it there again.")


def _refused(url: str, status: int) -> NookError:
    hint = "Check the connection and the address, then try again."
    return NookError("unreachable", f"The server of {url} answers {status or 'nothing'}.", hint)
