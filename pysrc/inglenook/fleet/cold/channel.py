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
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any, Self

from inglenook.errors import NookError

LARGEST = 1 << 28  # bytes of a message
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
        with socket.socket(fileno=connection.fileno()) as end:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.detach()

    @classmethod
    def connect(cls, address: Address, key: bytes, up: Pace = free, down: Pace = free) -> Self:
        """Raises NookError("worker-lost") if nobody is there, or has another key."""
        try:
            return cls(Client(address, authkey=key), up, down)
        except (OSError, EOFError, ValueError) as error:
            raise lost(f"There is no worker at {address[0]}: {error!r}") from error
        except Exception as error:  # AuthenticationError is no OSError
            raise lost(f"The worker at {address[0]} has another key") from error

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
        self._connection.close()


def listen(address: str) -> Listener:
    """A listener at a free port of `address`."""
    return Listener((address, 0), backlog=16)


def accept(connection: Connection, key: bytes, up: Pace = free, down: Pace = free) -> Channel:
    """The channel of an accepted connection. Raises NookError("worker-lost") if the other side has another key."""
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
    except Exception as error:
        connection.close()
        raise lost("Somebody without the key was turned away") from error
    return Channel(connection, up, down)


def lost(what: str) -> NookError:
    """The error of a worker that has gone."""
    return NookError("worker-lost", f"{what}.", "It can be tried again.")
