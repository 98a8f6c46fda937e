"""The live store in a file of the format of `index/container.py`: commits appended to it, safe against a kill anywhere.

A commit appends its pages, then, once those are down, a directory and a footer. Opening finds the last footer that is
whole; what lies behind it was never acknowledged and is left alone until the file is rewritten. The file itself is a
`Handle`: one on a disk (`platform/native/store.py`) or one in the browser's own file system
(`platform/browser/opfs.py`). Who may write, and where a rewritten file goes, is theirs to say.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from inglenook.errors import NookError
from inglenook.index import container
from inglenook.index.container import FOOTER, HEADER, Place

SLACK = 64
"""Directory entries beyond twice the number of pages that opening may have to read."""
BLOCK = 1 << 20
"""Bytes that are written, copied or searched at once."""

_EMPTY = container.write({})


class Handle(Protocol):
    """A file by positions. `write` takes all of the data or raises OSError, as `flush` and `truncate` may."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends."""

    def gather(self, spans: list[tuple[int, int]]) -> list[bytes]:
        """`read` of many (offset, length) at once."""

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`, which is never beyond the end."""

    def flush(self) -> None:
        """Return when all that was written is on the disk."""

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`."""

    def size(self) -> int:
        """Bytes in the file now, whoever wrote them."""

    def close(self) -> None:
        """Let go of the file."""


class Log:
    """The pages in a file; `name` is what errors call it.

    Raises NookError("corrupt" | "newer-format" | "truncated").
    """

    def __init__(self, handle: Handle, name: str) -> None:
        self.handle, self.name = handle, name
        self.places: dict[str, Place] = {}
        self.end = 0
        """Bytes of the file when it was last looked at; a longer one has been written to by another."""
        self.live = 0
        """Bytes of pages that are neither replaced nor deleted."""
        self.told = 0
        """Directory entries that opening reads."""
        self._number = b""
        self._last = 0  # offset of the last footer
        self._load()

    @property
    def garbage(self) -> int:
        """Bytes a rewritten file would not have, nearly."""
        return self.end - self.live

    def get(self, keys: list[str]) -> list[bytes | None]:
        places = self.places
        found = [places.get(key) for key in keys]
        pages = iter(self.read([place for place in found if place is not None]))
        return [None if place is None else next(pages) for place in found]

    def scan(self, prefix: str) -> dict[str, bytes]:
        keys = sorted(key for key in self.places if key.startswith(prefix))
        return dict(zip(keys, self.read([self.places[key] for key in keys])))

    def read(self, places: list[Place]) -> list[bytes]:
        """Pages at places."""
        pages = self.handle.gather([(place[0], place[1]) for place in places])
        if sum(map(len, pages)) < sum(place[1] for place in places):
            raise NookError("corrupt", f"{self.name} is shorter than it was.", "Restore it from a copy.")
        return pages

    def append(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """One commit. NookError("quota") if it does not fit: the file is then as it was before."""
        gone = [key for key in deletes if key in self.places and key not in puts]
        if not puts and not gone:
            return
        if any("\0" in key for key in (*puts, *gone)):
            raise ValueError("a key holds a zero byte")
        try:
            self._append(puts, gone)
        except OSError as error:
            self._undo()
            hint = "Free some space (or check the disk) and try again; nothing that was stored is lost."
            raise NookError("quota", f"{self.name} cannot be written: {error.strerror}.", hint) from error

    def refresh(self) -> bool:
        """Read what another writer has appended since; whether there was anything."""
        end = self.handle.size()
        if end == self.end:
            return False
        if not self._last:
            self._load()
            return True
        steps: list[dict[str, Place]] = []
        last = at = self._last_footer(end, self._number)
        while at != self._last:
            found = container.read_footer(self.handle.read, at + FOOTER.size, self._number)
            if found is None or not found.before or found.before >= at:  # it lists everything, or the file was cut
                self._load()
                return True
            steps.append(found.places)
            at = found.before
        for step in reversed(steps):
            self._apply(step)
        self._last, self.end = last, end
        self.told += sum(map(len, steps))
        return bool(steps)

    def close(self) -> None:
        self.handle.close()

    def _load(self) -> None:
        """Find the last whole commit."""
        end = self.handle.size()
        head = self.handle.read(0, HEADER.size)
        last = 0 if end < len(_EMPTY) else self._last_footer(end, container.read_header(head))
        if last:
            self._number, self._last, self.end = container.read_header(head), last, end
            self.places, self.told = container.directory_at(self.handle.read, last + FOOTER.size, self._number)
        elif end < len(_EMPTY) and container.MAGIC.startswith(head[:4]):  # new, or killed while it was made
            self._number, self._last, self.end, self.places, self.told = os.urandom(8), 0, 0, {}, 0
        else:  # every file begins with a whole commit
            container.read_header(head)
            raise container.truncated()
        self.live = sum(place[1] for place in self.places.values())

    def _last_footer(self, end: int, number: bytes) -> int:
        """Offset of the last whole commit's footer, 0 if there is none; searched from the end of the file."""
        while end > HEADER.size:
            start = max(HEADER.size, end - BLOCK)
            block = self.handle.read(start, end - start)
            at = len(block)
            while (at := block.rfind(container.END, 0, at)) >= 0:
                stop = start + at + len(container.END)
                if container.read_footer(self.handle.read, stop, number):
                    return stop - FOOTER.size
                at += len(container.END) - 1
            end = start + len(container.END) - 1 if start > HEADER.size else 0
        return 0

    def _append(self, puts: Mapping[str, bytes], gone: list[str]) -> None:
        if not self.end:
            self._create()
        new = dict.fromkeys(gone, Place(0, 0, 0))
        offset = self.end
        for key in sorted(puts):
            new[key] = Place(offset, len(puts[key]), zlib.crc32(puts[key]))
            offset += len(puts[key])
        at = self.end
        for block in _blocks(puts[key] for key in sorted(puts)):
            self.handle.write(at, block)
            at += len(block)
        self.handle.flush()  # the pages are down before a footer says so
        count = len(self.places) - len(gone) + sum(key not in self.places for key in puts)
        whole = not self._last or self.told + len(new) > 2 * count + SLACK
        told = {key: place for key, place in (self.places | new).items() if place.offset} if whole else new
        directory, footer = container.close(told, offset, 0 if whole else self._last, self._number)
        self.handle.write(offset, directory + footer)
        self.handle.flush()
        self._last = offset + len(directory)
        self.end = self._last + FOOTER.size
        self.told = len(told) if whole else self.told + len(new)
        self._apply(new)

    def _apply(self, new: Mapping[str, Place]) -> None:
        """Take over what a commit says."""
        for key, place in new.items():
            self.live += place.length - self.places.get(key, _NOWHERE).length
            if place.offset:
                self.places[key] = place
            else:
                self.places.pop(key, None)

    def _create(self) -> None:
        """Begin the file with an empty commit: a longer file without a whole one was cut off, not just begun."""
        self.handle.truncate(0)
        empty = b"".join(container.stream({}, self._number))
        self.handle.write(0, empty)
        self.handle.flush()
        self.end, self._last, self.told = len(empty), len(empty) - FOOTER.size, 0

    def _undo(self) -> None:
        """Take back a commit that failed. What cannot be cut off is no commit either: its footer is not whole."""
        try:
            self.handle.truncate(self.end)
            self.handle.flush()
        except OSError:
            self.end = self.handle.size()


class Rewrite:
    """A log written anew, without its garbage, into an empty file, while the log stays in use.

    `copy` some at a time until it says that all is copied, then `finish`, during which nobody may commit. The new file
    is no log before its footer is down. Raises OSError.
    """

    def __init__(self, log: Log, handle: Handle) -> None:
        self.handle, self._log = handle, log
        self._number = os.urandom(8)
        handle.truncate(0)
        handle.write(0, container.header(self._number))
        self._offset = HEADER.size
        self._todo = sorted(log.places)[::-1]
        self._copied: dict[str, tuple[Place, Place]] = {}  # key → where it was, where it is

    def copy(self, most: int) -> bool:
        """Copy about `most` bytes; whether all that was there at the beginning is copied."""
        while self._todo and most > 0:
            keys = []
            size = 0
            while self._todo and size < min(most, BLOCK):
                key = self._todo.pop()
                place = self._log.places.get(key)  # it may have been deleted meanwhile
                if place is not None:
                    keys.append(key)
                    size += place.length
            self._take(keys)
            most -= max(size, 1)
        return not self._todo

    def finish(self) -> None:
        """Copy what was committed meanwhile and close the file: it is whole, and on the disk, on return."""
        places = self._log.places
        self.copy(1 << 62)
        self._take(sorted(key for key, place in places.items() if self._copied.get(key, (None,))[0] != place))
        told = {key: self._copied[key][1] for key in sorted(places)}
        self.handle.flush()
        directory, footer = container.close(told, self._offset, 0, self._number)
        self.handle.write(self._offset, directory + footer)
        self.handle.flush()

    def _take(self, keys: list[str]) -> None:
        places = [self._log.places[key] for key in keys]
        at = self._offset
        for key, place in zip(keys, places):
            self._copied[key] = place, Place(at, place.length, place.crc)
            at += place.length
        for block in _blocks(self._log.read(places)):
            self.handle.write(self._offset, block)
            self._offset += len(block)


_NOWHERE = Place(0, 0, 0)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces joined, about BLOCK bytes at a time."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)
