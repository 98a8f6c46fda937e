"""A nook as one file on a disk: the log of `index/log.py` over a file handle, locked for one writer.

Compaction writes a new file beside the old one, some of it with each commit, and takes its place by renaming.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from io import FileIO
from pathlib import Path
from typing import Self

from inglenook.errors import NookError
from inglenook.index.log import SLACK, Log, Rewrite
from inglenook.index.store import conflict

try:
    import fcntl
except ImportError:  # a system without flock: one writer at a time is then the person's care
    fcntl = None  # type: ignore[assignment]

SMALL = 1 << 20
"""Bytes of garbage that are not worth a compaction."""
SLICE = 1 << 24
"""Bytes that a commit copies while a compaction goes on, and four times as many as it wrote itself."""


class FileStore:
    """The pages of the `.nook` file at `path`, made if it is not there (unless `readonly`).

    One writer at a time: NookError("locked") if another process, or store, has it open for writing. Readers need no
    lock and see the nook as it was when they opened it, until they `refresh`. Raises NookError("corrupt" |
    "newer-format" | "no-nook").
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self._guard = threading.RLock()
        self._rewrite: Rewrite | None = None
        self._log = self._opened()

    def get(self, keys: list[str]) -> list[bytes | None]:
        with self._guard:
            return self._log.get(keys)

    def scan(self, prefix: str) -> dict[str, bytes]:
        with self._guard:
            return self._log.scan(prefix)

    def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        """As `Store.commit`. NookError("quota") if the disk is full: the nook is then as it was before."""
        with self._guard:
            if self.readonly:
                raise NookError("read-only", f"{self.path} is open for reading.", "Open it for writing.")
            if expect and self._log.get(list(expect)) != list(expect.values()):
                raise conflict(str(self.path))
            before = self._log.end
            self._log.append(puts, deletes)
            if not before and self._log.end:
                _sync_folder(self.path)
            self._tidy(self._log.end - before)

    def compact(self) -> None:
        """Rewrite the file without what was replaced or deleted. The old file stays until the new one is whole."""
        with self._guard:
            self._advance(None)

    def refresh(self) -> bool:
        """Let a reader see what was committed since it opened the file; whether anything was."""
        with self._guard:
            handle = self._log.handle
            assert isinstance(handle, FileHandle)
            if _is_at(handle.file, self.path):
                return self._log.refresh()
            log = self._opened()  # it was compacted
            self._log.close()
            self._log = log
            return True

    def size(self) -> int:
        return self._log.end

    def close(self) -> None:
        with self._guard:
            self._abandon()
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Log:
        handle = FileHandle(self._open())
        try:
            return Log(handle, str(self.path))
        except BaseException:
            handle.close()
            raise

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

    def _tidy(self, written: int) -> None:
        """Begin a compaction where there is enough garbage, or go on with the one that was begun."""
        log = self._log
        if self._rewrite or (log.end > SMALL and log.garbage > max(SMALL, log.end // 2)):
            self._advance(SLICE + 4 * written)

    def _advance(self, most: int | None) -> None:
        """Copy `most` bytes into the new file, None: all; when all are copied, it takes the old one's place."""
        beside = self.path.with_name(self.path.name + ".new")
        try:
            if self._rewrite is None:
                file = FileIO(beside, "w+b")
                try:
                    _lock(file, self.path)
                    self._rewrite = Rewrite(self._log, FileHandle(file))
                except BaseException:
                    file.close()
                    raise
            if not self._rewrite.copy(1 << 62 if most is None else most):
                return
            self._rewrite.finish()
            beside.replace(self.path)
        except (OSError, NookError):
            self._abandon()  # compaction can wait: the old file is whole and stays in use
            return
        _sync_folder(self.path)
        handle, self._rewrite = self._rewrite.handle, None
        self._log.close()
        self._log = Log(handle, str(self.path))

    def _abandon(self) -> None:
        if self._rewrite:
            self._rewrite.handle.close()
            self._rewrite = None
            self.path.with_name(self.path.name + ".new").unlink(missing_ok=True)


class FileHandle:
    """A `Handle` on an open file."""

    def __init__(self, file: FileIO) -> None:
        self.file = file

    def read(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(length)

    def gather(self, spans: list[tuple[int, int]]) -> list[bytes]:
        return [self.read(offset, length) for offset, length in spans]

    def write(self, offset: int, data: bytes) -> None:
        self.file.seek(offset)
        _write(self.file, data)

    def flush(self) -> None:
        os.fsync(self.file)

    def truncate(self, size: int) -> None:
        self.file.truncate(size)

    def size(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self.file.close()


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


__all__ = ["SLACK", "FileHandle", "FileStore"]
