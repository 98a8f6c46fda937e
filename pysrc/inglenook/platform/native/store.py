"""A nook as one file: a log of commits in the format of `index/container.py`, safe against a kill at any byte.

A commit appends its pages, then, once those are on the disk, a directory and a footer. Opening finds the last footer
that is whole; what lies behind it was never acknowledged and is left alone until the file is compacted. Compaction
writes a new file beside the old one and takes its place by renaming.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Self

from inglenook.errors import NookError
from inglenook.index import container
from inglenook.index.container import FOOTER, HEADER, Place

try:
    import fcntl
except ImportError:  # a system without flock: one writer at a time is then the person's care
    fcntl = None  # type: ignore[assignment]

SMALL = 1 << 20
"""Bytes of garbage that are not worth a compaction."""
SLACK = 64
"""Directory entries beyond twice the number of pages that opening may have to read."""

_EMPTY = container.write({})


class FileStore:
    """The pages of the `.nook` file at `path`, made if it is not there (unless `readonly`).

    One writer at a time: NookError("locked") if another process, or store, has it open for writing. Readers need no
    lock and see the nook as it was when they opened it. Raises NookError("corrupt" | "newer-format" | "no-nook").
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self._guard = threading.RLock()
        self._file = self._open()
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def get(self, keys: list[str]) -> list[bytes | None]:
        with self._guard:
            return [self._page(self._places[key]) if key in self._places else None for key in keys]

    def scan(self, prefix: str) -> dict[str, bytes]:
        with self._guard:
            return {key: self._page(self._places[key]) for key in sorted(self._places) if key.startswith(prefix)}

    def commit(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """As `Store.commit`. NookError("quota") if the disk is full: the nook is then as it was before."""
        with self._guard:
            if self.readonly:
                raise NookError("read-only", f"{self.path} is open for reading.", "Open it for writing.")
            gone = [key for key in deletes if key in self._places and key not in puts]
            if not puts and not gone:
                return
            if any("\0" in key for key in (*puts, *gone)):
                raise ValueError("a key holds a zero byte")
            try:
                self._append(puts, gone)
            except OSError as error:
                self._undo()
                hint = "Free some space (or check the disk) and try again; nothing that was stored is lost."
                raise NookError("quota", f"{self.path} cannot be written: {error.strerror}.", hint) from error
            if self._end > SMALL and self._end - self._live > max(SMALL, self._end // 2):
                self.compact()

    def compact(self) -> None:
        """Rewrite the file without what was replaced or deleted. The old file stays until the new one is whole."""
        with self._guard:
            beside = self.path.with_name(self.path.name + ".new")
            try:
                file = FileIO(beside, "w+b")
            except OSError:
                return  # compaction can wait: the old file is whole and stays in use
            try:
                _lock(file, self.path)
                for piece in container.stream(_Lazy(self)):
                    _write(file, piece)
                os.fsync(file)
                beside.replace(self.path)
            except OSError:
                file.close()
                beside.unlink(missing_ok=True)
                return
            _sync_folder(self.path)
            self._file.close()
            self._file = file
            self._load()

    def size(self) -> int:
        return self._end

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> FileIO:
        while True:
            if self.readonly:
                try:
                    return FileIO(self.path, "rb")
                except FileNotFoundError:
                    hint = "Check the path, or make one with: inglenook index FOLDER -o FILE.nook"
                    raise NookError("no-nook", f"There is no file {self.path}.", hint) from None
            try:
                file = FileIO(self.path, "ab+")  # made if it is not there, never cut
            except OSError as error:
                hint = "Check that the folder is there and may be written to, or open it for reading only."
                raise NookError("no-nook", f"{self.path} cannot be opened: {error.strerror}.", hint) from error
            try:
                _lock(file, self.path)
                if _is_at(file, self.path):
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # it was compacted between opening and locking

    def _load(self) -> None:
        """Find the last whole commit."""
        end = self._file.seek(0, os.SEEK_END)
        head = self._read(0, HEADER.size)
        self._places: dict[str, Place] = {}
        self._told = 0
        self._last = 0 if end < len(_EMPTY) else self._last_footer(end, container.read_header(head))
        if self._last:
            self._number, self._end = container.read_header(head), end
            self._places, self._told = container.directory_at(self._read, self._last + FOOTER.size, self._number)
        elif end < len(_EMPTY) and container.MAGIC.startswith(head[:4]):  # new, or killed while it was made
            self._number, self._end = os.urandom(8), 0
        else:  # every file begins with a whole commit
            container.read_header(head)
            raise container.truncated()
        self._live = sum(place.length for place in self._places.values())

    def _last_footer(self, end: int, number: bytes) -> int:
        """Offset of the last whole commit's footer, 0 if there is none; searched from the end of the file."""
        step = 1 << 20
        while end > HEADER.size:
            start = max(HEADER.size, end - step)
            block = self._read(start, end - start)
            at = len(block)
            while (at := block.rfind(container.END, 0, at)) >= 0:
                stop = start + at + len(container.END)
                if container.read_footer(self._read, stop, number):
                    return stop - FOOTER.size
                at += len(container.END) - 1
            end = start + len(container.END) - 1 if start > HEADER.size else 0
        return 0

    def _append(self, puts: Mapping[str, bytes], gone: list[str]) -> None:
        if not self._end:
            self._create()
        offset = self._file.seek(self._end)
        new = dict.fromkeys(gone, Place(0, 0, 0))
        for key in sorted(puts):
            new[key] = Place(offset, len(puts[key]), zlib.crc32(puts[key]))
            offset += _write(self._file, puts[key])
        os.fsync(self._file)  # the pages are down before a footer says so
        after = {key: place for key, place in (self._places | new).items() if place.offset}
        whole = not self._last or self._told + len(new) > 2 * len(after) + SLACK
        told = after if whole else new
        directory, footer = container.close(told, offset, 0 if whole else self._last, self._number)
        _write(self._file, directory + footer)
        os.fsync(self._file)
        self._last = offset + len(directory)
        self._end = self._last + FOOTER.size
        self._told = len(told) if whole else self._told + len(new)
        self._places = after
        self._live = sum(place.length for place in after.values())

    def _create(self) -> None:
        """Begin the file with an empty commit: a longer file without a whole one was cut off, not just begun."""
        self._file.truncate(0)
        self._file.seek(0)
        self._end = _write(self._file, b"".join(container.stream({}, self._number)))
        self._last, self._told = self._end - FOOTER.size, 0
        os.fsync(self._file)
        _sync_folder(self.path)

    def _undo(self) -> None:
        """Take back a commit that failed. What cannot be cut off is no commit either: its footer is not whole."""
        try:
            self._file.truncate(self._end)
            os.fsync(self._file)
        except OSError:
            self._end = self._file.seek(0, os.SEEK_END)

    def _page(self, place: Place) -> bytes:
        page = self._read(place.offset, place.length)
        if len(page) < place.length:
            raise NookError("corrupt", f"{self.path} is shorter than it was.", "Restore it from a copy.")
        return page

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


class _Lazy(Mapping[str, bytes]):
    """The pages of a store, each read when it is asked for."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def __getitem__(self, key: str) -> bytes:
        return self._store._page(self._store._places[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._store._places)

    def __len__(self) -> int:
        return len(self._store._places)


def _lock(file: FileIO, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        hint = "Close the other program that uses it, or open it for reading only."
        raise NookError("locked", f"{path} is open for writing elsewhere.", hint) from None


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write(file: FileIO, data: bytes) -> int:
    """Write all of it; a full disk takes a part first and raises then."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]
    return len(data)


def _sync_folder(path: Path) -> None:
    """Make a new name durable, where the system lets folders be synced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
