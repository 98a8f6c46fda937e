"""Messages between processes over TCP: JSON with blobs of bytes behind it, both sides knowing one key.

    channel = Channel.connect(("10.0.0.2", 4100), key)
    channel.send({"op": "run", …}, states)           # from any thread
    said, blobs = channel.receive()                  # EOFError when the other side has gone

A frame is length (4 bytes, little endian) | JSON | blobs, whose sizes stand in the JSON under "sizes". Frames and the
proof of the key (HMAC) are those of `multiprocessing.connection`, of which only bytes are taken: nothing is unpickled.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any, Self

from inglenook.errors import NookError

LARGEST = 1 << 28  # bytes of a message
HELLO = 5.0  # seconds for a connection, and for each message of the proof
GONE = 6  # seconds without a sign of life from a machine's kernel, be its processes busy or not, until it has gone
SHORTEST = 16  # bytes of a key
_LENGTH = struct.Struct("<I")

Address = tuple[str, int]
Message = tuple[dict[str, Any], list[memoryview]]
Pace = Callable[[int], None]


def free(size: int) -> None:
    """No throttle."""


class Channel:
    """One connection. `up` and `down` are called with the bytes that are about to be sent, or have come: a throttle in
    user space may wait there."""

    def __init__(self, connection: Connection, up: Pace = free, down: Pace = free) -> None:
        self._connection, self._up, self._down = connection, up, down
        self._sending = threading.Lock()
        with _socket(connection) as end:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _GONE.items():
                end.setsockopt(socket.IPPROTO_TCP, option, value)

    @classmethod
    def connect(cls, address: Address, key: bytes, up: Pace = free, down: Pace = free) -> Self:
        """Raises NookError("worker-lost") if nobody is there, or has another key."""
        where = f"{address[0]}:{address[1]}"
        try:
            end = socket.create_connection(address, HELLO)
        except (OSError, ValueError) as error:
            raise lost(f"There is nobody at {where}: {error}") from error
        end.settimeout(None)
        connection = Connection(end.detach())
        try:
            with _timed(connection):
                answer_challenge(connection, key)
                deliver_challenge(connection, key)
        except (OSError, EOFError) as error:
            connection.close()
            raise lost(f"Whoever is at {where} hung up, or has another key: {error!r}") from error
        except Exception as error:  # AuthenticationError is no OSError
            connection.close()
            raise lost(f"Whoever is at {where} has another key") from error
        return cls(connection, up, down)

    def send(self, said: Mapping[str, Any], *blobs: bytes | memoryview) -> None:
        """Raises NookError("worker-lost")."""
        sizes = [len(blob) for blob in blobs]
        text = json.dumps({**said, "sizes": sizes}, separators=(",", ":")).encode()
        frame = b"".join((_LENGTH.pack(len(text)), text, *blobs))
        self._up(len(frame))
        try:
            with self._sending:
                self._connection.send_bytes(frame)
        except (OSError, ValueError) as error:
            raise lost(f"A worker hung up: {error!r}") from error

    def receive(self) -> Message:
        """The next message. Raises EOFError at the end, NookError("protocol") for what is no message."""
        try:
            frame = memoryview(self._connection.recv_bytes(LARGEST))
        except OSError as error:
            raise EOFError from error
        self._down(len(frame))
        try:
            (length,) = _LENGTH.unpack_from(frame)
            said = json.loads(bytes(frame[_LENGTH.size : _LENGTH.size + length]))
            at, blobs = _LENGTH.size + length, []
            for size in said["sizes"]:
                blobs.append(frame[at : at + size])
                at += size
            if at != len(frame) or not all(type(size) is int and size >= 0 for size in said["sizes"]):
                raise ValueError("sizes")
        except (ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
            raise NookError("protocol", "A message between workers is damaged.", "Run one version on all.") from error
        return said, blobs

    def __iter__(self) -> Iterator[Message]:
        """All messages until the other side hangs up."""
        while True:
            try:
                yield self.receive()
            except EOFError:
                return

    def close(self) -> None:
        """Hang up; who waits in `receive` hears of it, too."""
        with suppress(OSError), _socket(self._connection) as end:
            end.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def listen(address: str, port: int = 0) -> Listener:
    """A listener at a port (0: a free one) of `address`."""
    return Listener((address, port), backlog=16)


def accept(connection: Connection, key: bytes, up: Pace = free, down: Pace = free) -> Channel:
    """The channel of an accepted connection. Raises NookError("worker-lost") if the other side has another key, or says
    nothing."""
    try:
        with _timed(connection):
            deliver_challenge(connection, key)
            answer_challenge(connection, key)
    except Exception as error:
        connection.close()
        raise lost("Somebody without the key was turned away") from error
    return Channel(connection, up, down)


def read_key(path: Path) -> bytes:
    """The key in a file: all of its text but the white space around it. Raises NookError("key")."""
    make = f"Make one, and copy it to all machines: head -c 32 /dev/urandom | base64 > {path.name}"
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise NookError("key", f"The key {path} can't be read: {error.strerror}.", make) from error
    if len(key) < SHORTEST:
        raise NookError("key", f"The key {path} is shorter than {SHORTEST} bytes.", make)
    return key


def lost(what: str) -> NookError:
    """The error of a worker that has gone."""
    return NookError("worker-lost", f"{what}.", "It can be tried again.")


_GONE = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": GONE // 3, "TCP_KEEPINTVL": GONE // 6, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 1000 * GONE,
    }.items()
    if hasattr(socket, name)
}  # fmt: skip
"""What makes a connection to a machine that has lost its power, or its network, end in about that time."""


@contextmanager
def _socket(connection: Connection) -> Iterator[socket.socket]:
    """The socket of a connection, which stays open."""
    end = socket.socket(fileno=connection.fileno())
    try:
        yield end
    finally:
        end.detach()


@contextmanager
def _timed(connection: Connection) -> Iterator[None]:
    """Reads and writes meanwhile raise OSError after `HELLO` seconds."""
    _patience(connection, int(HELLO))
    yield
    _patience(connection, 0)


def _patience(connection: Connection, seconds: int) -> None:
    with _socket(connection) as end:
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, way, struct.pack("ll", seconds, 0))
