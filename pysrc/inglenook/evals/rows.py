"""Where replies are kept: a JSONL file, one row a call, found again by the call's address. In a tab the same rows lie
in IndexedDB (`platform.browser.workbench.rows`).

    {"key":"<32 hex digits>","call":{…},"reply":{…}}

Rows are only ever appended, each in one write, so a run that is killed loses at most the row it was writing: opening
drops such a torn line. Memory holds addresses and offsets, 16 bytes and a number each, never the rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, dump, load
from inglenook.types import Json

try:
    import fcntl
except ImportError:  # a system without flock: one run at a time is then the person's care
    fcntl = None  # type: ignore[assignment]

_HEAD = b'{"key":"'
_SIZE = 32
PIECE = 1 << 20


class Kept(Protocol):
    """What a driver needs of a place for rows."""

    def find(self, calls: Sequence[Call]) -> list[Reply | None]:
        """The replies that are there, None for those that are not."""
        ...

    def put(self, call: Call, reply: Reply) -> None:
        """Keep one."""
        ...


class Rows:
    """The rows of the file `path`, made if it is not there. `damaged` lines are no rows; they stay and are passed over.

    One run at a time may write: raises NookError("locked") if another has it open, NookError("no-folder" |
    "unreadable") if it cannot be opened, NookError("no-rows") if it is a file of something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damaged = 0
        if not self.path.parent.is_dir():
            raise NookError("no-folder", f"The folder {self.path.parent} is not there.", "Make it first.")
        try:
            self._file: BinaryIO = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise NookError(
                "unreadable", f"{self.path} could not be opened: {error.strerror}.", "Name another file."
            ) from None
        try:
            self._lock()
            self._places = self._scanned()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, call: Call) -> bool:
        return bytes.fromhex(call.key) in self._places

    def __iter__(self) -> Iterator[tuple[Json, Reply]]:
        """Call and reply of every row as plain JSON and `Reply`, in the order they were kept."""
        for key, place in list(self._places.items()):
            if row := self._row(key, place):
                yield row["call"], load(row["reply"])  # type: ignore[misc]

    def find(self, calls: Sequence[Call]) -> list[Reply | None]:
        found: list[Reply | None] = []
        for call in calls:
            key = bytes.fromhex(call.key)
            place = self._places.get(key)
            row = self._row(key, place) if place is not None else None
            found.append(load(row["reply"]) if row else None)
        return found

    def put(self, call: Call, reply: Reply) -> None:
        """Append a row; it is in the file when this returns. A call that has one keeps the later one. Raises
        NookError("quota") if the disk is full: the file is then as it was before."""
        line = row(call, reply)
        place = self._file.seek(0, os.SEEK_END)
        try:
            done = self._file.write(line)
            while done < len(line):
                done += self._file.write(line[done:])
        except OSError as error:
            self._file.truncate(place)
            hint = "Free some room and run it again: what is finished is kept."
            raise NookError("quota", f"{self.path} could not be written: {error.strerror}.", hint) from None
        self._places[bytes.fromhex(call.key)] = place

    def close(self) -> None:
        """Make the rows durable and let go of the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "Wait until it is done, or name another file."
            raise NookError("locked", f"Another run writes {self.path}.", hint) from None
        except OSError:  # a file system without locks
            pass

    def _scanned(self) -> dict[bytes, int]:
        """Offsets by address. What follows the last line's end is cut off."""
        places: dict[bytes, int] = {}
        self._file.seek(0)
        at, rest = 0, b""
        while piece := self._file.read(PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                key = _key(line)
                if key is not None:
                    places[key] = at
                else:
                    self.damaged += bool(line.strip())
                at += len(line) + 1
        if self.damaged and not places:
            hint = "Name a file that a run made, or one that is not there yet."
            raise NookError("no-rows", f"{self.path} holds no rows of runs.", hint)
        if rest:
            if at == 0 and not _HEAD.startswith(rest[: len(_HEAD)]):
                hint = "Name a file that a run made, or one that is not there yet."
                raise NookError("no-rows", f"{self.path} holds no rows of runs.", hint)
            self._file.truncate(at)
        return places

    def _row(self, key: bytes, place: int) -> Json | None:
        """The row at `place`; None, and forgotten, if it is damaged: the call is then asked again."""
        self._file.seek(place)
        line = bytearray()
        while b"\n" not in line:
            piece = self._file.read(4096)
            if not piece:
                break
            line += piece
        row = parsed(bytes(line.partition(b"\n")[0]), key.hex())
        if row is None:
            self._places.pop(key, None)
            self.damaged += 1
        return row


def row(call: Call, reply: Reply) -> bytes:
    """A row as it is kept: a line with its end."""
    text = f'{{"key":"{call.key}","call":{call.canonical()},"reply":{_json(dump(reply))}}}\n'
    return text.encode("utf-8", "surrogatepass")


def parsed(line: bytes, key: str) -> Json | None:
    """The row of a line, if it is the row of that address."""
    try:
        row: Json = json.loads(line)
        if row["key"] == key and isinstance(row["call"], dict):
            load(row["reply"])
            return row
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _key(line: bytes) -> bytes | None:
    """The address of a line that looks like a row."""
    end = len(_HEAD) + _SIZE
    if line.startswith(_HEAD) and line[end : end + 2] == b'",' and line.endswith(b"}}"):
        try:
            return bytes.fromhex(line[len(_HEAD) : end].decode("ascii"))
        except ValueError:
            pass
    return None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
