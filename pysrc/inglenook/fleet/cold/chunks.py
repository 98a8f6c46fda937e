"""A model's weights from a store, tensor by tensor while they arrive, each chunk checked.

    share = Share.of(checkpoint, manifest, "http://store:80/smollm2", names)
    with Fetch(share, cache=Cache(folder)) as fetch:
        for place, raw in fetch:           # in the order of `names`
            stage.load(place.name, place.decode(raw))
    fetch.received, fetch.problem          # bytes that came over the network; a cache that is full

Several chunks are in flight, each by its own connection; those in memory are bounded. What can go wrong is a NookError:
"model-corrupt" (a chunk of another sum, twice), "model-truncated" (the file there is shorter), "fetch" (the store is
gone or refuses; worth another try). A full disk stops the caching ("quota", as `problem`), not the fetch.

After HydraServe's worker-level prefetcher (2502.15524): weights go from the network into the stage that loads, none
waits for a whole file. The sums, and any HTTP server with ranges for a store, are ours.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import numpy as np

from inglenook.errors import NookError
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.weights import Checkpoint, Place

FLIGHTS = 3
"""Chunks in flight."""
AHEAD = 16
"""Chunks that may be in memory or in flight before the first of them is used."""
PIECE = 16 << 10
"""Bytes read from a socket at a time: what a user-space throttle lets through at once."""
PATIENCE = 30.0
"""Seconds without a byte after which a store is gone."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some tensors of a model whose file lies at `url` with the sums `manifest`: what one worker fetches."""

    url: str
    manifest: Manifest
    places: tuple[Place, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, manifest: Manifest, url: str, names: Iterable[str]) -> Self:
        """The tensors called `names`, in that order."""
        return cls(url, manifest, tuple(checkpoint.places[name] for name in names))

    @property
    def chunks(self) -> list[int]:
        """The chunks that hold them, in the order in which they are first needed."""
        return list(dict.fromkeys(i for at in self.places for i in self.manifest.covering(at.start, at.end)))

    @property
    def size(self) -> int:
        """Bytes of those chunks."""
        bounds = map(self.manifest.bounds, self.chunks)
        return sum(end - start for start, end in bounds)

    def told(self) -> dict[str, Any]:
        """As plain values, for another process."""
        return asdict(self)

    @classmethod
    def heard(cls, told: Mapping[str, Any]) -> Self:
        """What `told` told, also after JSON."""
        manifest = Manifest(**{**told["manifest"], "sums": tuple(told["manifest"]["sums"])})
        places = (Place(**{**place, "shape": tuple(place["shape"])}) for place in told["places"])
        return cls(told["url"], manifest, tuple(places))


class Cache:
    """Chunks on a disk, by their sums."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def get(self, manifest: Manifest, index: int) -> bytes | None:
        """The chunk, checked; None if it is not there, or (then it is removed) not whole."""
        path = self.folder / manifest.sums[index]
        try:
            data = path.read_bytes()
            manifest.check(index, data)
        except FileNotFoundError:
            return None
        except NookError:
            path.unlink(missing_ok=True)
            return None
        return data

    def put(self, manifest: Manifest, index: int, data: bytes) -> None:
        """Keep a chunk. Raises NookError("quota") if the disk is full."""
        path = self.folder / manifest.sums[index]
        part = path.with_name(f"{path.name}.{threading.get_native_id()}.part")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            hint = "Free some space there; until then weights come from the network each time."
            raise NookError("quota", f"The weight cache {self.folder} is full.", hint) from error
        finally:
            part.unlink(missing_ok=True)


class Fetch:
    """A share on its way. Iterate once; closing it stops what is in flight.

    `pace` is called with the number of bytes before they are read: a throttle may wait there.
    """

    def __init__(
        self, share: Share, *, cache: Cache | None = None, flights: int = FLIGHTS,
        pace: Callable[[int], None] = lambda size: None,
    ) -> None:  # fmt: skip
        self.share = share
        self.received = 0
        self.problem: NookError | None = None
        self._cache, self._pace = cache, pace
        self._jobs = share.chunks
        self._next = self._used = 0
        self._there: dict[int, bytes] = {}
        self._failed: BaseException | None = None
        self._closed = False
        self._turn = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(flights, len(self._jobs)))]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop. Chunks in flight end with the piece they are at."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def __iter__(self) -> Iterator[tuple[Place, np.ndarray]]:
        """The tensors in order, each with its bytes: uint8. Raises NookError, see above."""
        manifest = self.share.manifest
        uses = Counter(i for at in self.share.places for i in manifest.covering(at.start, at.end))
        for at in self.share.places:
            raw = np.empty(at.end - at.start, np.uint8)
            for index in manifest.covering(at.start, at.end):
                start, end = manifest.bounds(index)
                low, high = max(start, at.start), min(end, at.end)
                data = np.frombuffer(self._chunk(index), np.uint8)
                raw[low - at.start : high - at.start] = data[low - start : high - start]
                uses[index] -= 1
                if not uses[index]:
                    self._drop(index)
            yield at, raw

    def _chunk(self, index: int) -> bytes:
        with self._turn:
            self._turn.wait_for(lambda: index in self._there or self._failed or self._closed)
            if index in self._there:
                return self._there[index]
            raise self._failed or NookError("fetch", "The fetch was stopped.", "Start the model again.")

    def _drop(self, index: int) -> None:
        with self._turn:
            del self._there[index]
            self._used += 1
            self._turn.notify_all()

    def _work(self) -> None:
        """A thread: take chunks in turn, as far ahead as allowed."""
        connection = _Connection(self.share.url, self._pace, lambda: self._closed)
        try:
            while (index := self._job()) is not None:
                data = self._get(connection, index)
                with self._turn:
                    self._there[index] = data
                    self._turn.notify_all()
        except BaseException as error:  # told by the iterator
            with self._turn:
                self._failed = self._failed or error
                self._turn.notify_all()
        finally:
            connection.close()

    def _job(self) -> int | None:
        with self._turn:
            self._turn.wait_for(lambda: self._over() or self._next - self._used < AHEAD)
            if self._over():
                return None
            self._next += 1
            return self._jobs[self._next - 1]

    def _over(self) -> bool:
        return self._closed or self._failed is not None or self._next == len(self._jobs)

    def _get(self, connection: _Connection, index: int) -> bytes:
        manifest = self.share.manifest
        if self._cache and (kept := self._cache.get(manifest, index)) is not None:
            return kept
        data = connection.read(manifest.file, *manifest.bounds(index), manifest.size)
        try:
            manifest.check(index, data)
        except NookError:  # once more: a proxy on the way may have cut it
            data = connection.read(manifest.file, *manifest.bounds(index), manifest.size)
            manifest.check(index, data)
        with self._turn:
            self.received += len(data)
        if self._cache and not self.problem:
            try:
                self._cache.put(manifest, index, data)
            except NookError as error:
                self.problem = error
        return data


class _Connection:
    """One kept-alive connection to a store."""

    def __init__(self, url: str, pace: Callable[[int], None], closed: Callable[[], bool]) -> None:
        parts = urlsplit(url)
        self._path, self._pace, self._closed = parts.path.rstrip("/"), pace, closed
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)

    def close(self) -> None:
        self._http.close()

    def read(self, file: str, start: int, end: int, size: int) -> bytes:
        """Bytes `start` to `end` of a file that has `size`; a connection that was lost is made once more."""
        try:
            return self._read(file, start, end, size)
        except (http.client.HTTPException, OSError):
            self._http.close()
        try:
            return self._read(file, start, end, size)
        except (http.client.HTTPException, OSError) as error:
            self._http.close()
            hint = "It can be tried again; check that the store runs and can be reached."
            raise NookError("fetch", f"The store of {file} is gone: {error!r}.", hint) from error

    def _read(self, file: str, start: int, end: int, size: int) -> bytes:
        self._http.request("GET", f"{self._path}/{quote(file)}", headers={"Range": f"bytes={start}-{end - 1}"})
        if self._http.sock is not None:
            with contextlib.suppress(OSError):
                self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = self._http.getresponse()
        total = (answer.getheader("Content-Range") or "").rpartition("/")[2]
        if answer.status not in (206, 416) or (answer.status == 206 and not total):
            self._http.close()
            hint = "It must serve the file, with ranges."
            raise NookError("fetch", f"The store answered {answer.status} for {file}.", hint)
        if total.isdigit() and int(total) != size:
            self._http.close()
            message = f"{file} has {total} bytes at the store, not {size}."
            raise NookError("model-truncated", message, "Put the whole file there.")
        data = bytearray()
        while len(data) < end - start and not self._closed():
            want = min(PIECE, end - start - len(data))
            self._pace(want)
            piece = answer.read(want)
            if not piece:
                raise http.client.IncompleteRead(bytes(data), end - start - len(data))
            data += piece
        return bytes(data)
