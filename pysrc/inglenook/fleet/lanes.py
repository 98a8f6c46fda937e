"""How a frame's data goes through a connection: in the socket itself, or through slots of shared memory.

With slots the socket carries only their numbers, one byte each: to the receiver which one is full, back to the sender
which one is free again. A frame larger than a slot goes through several. The memory has no name and is gone with its
last user, so nothing is left behind by a worker that is killed.
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
from collections import deque
from contextlib import suppress
from typing import Protocol

from inglenook.errors import NookError

SLOTS, SLOT = 8, 256 << 10
"""How many slots a lane has, and bytes of each."""


class Lane(Protocol):
    """One direction of a connection: write at one end, read at the other."""

    def write(self, data: memoryview) -> None:
        """Send the data of a frame whose head was sent. Raises OSError."""

    def read(self, size: int) -> bytearray:
        """The data of a frame whose head came. Raises NookError("transport-closed"), OSError."""


class Plain:
    """Data in the socket."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def write(self, data: memoryview) -> None:
        self._peer.sendall(data)

    def read(self, size: int) -> bytearray:
        return exactly(self._peer, size)


class Slotted:
    """Data in `SLOTS` slots of the file `memory`; each end uses it one way only, and so the socket."""

    def __init__(self, peer: socket.socket, memory: int) -> None:
        self._peer = peer
        self._map = mmap.mmap(memory, SLOTS * SLOT)
        self._free = deque(range(SLOTS))

    def write(self, data: memoryview) -> None:
        for start in range(0, len(data), SLOT):
            if not self._free:
                self._free.append(self._number(exactly(self._peer, 1)[0]))
            slot, piece = self._free.popleft(), data[start : start + SLOT]
            self._map[slot * SLOT : slot * SLOT + len(piece)] = piece
            self._peer.sendall(bytes([slot]))

    def read(self, size: int) -> bytearray:
        data = bytearray(size)
        with memoryview(self._map) as whole:
            for start in range(0, size, SLOT):
                at = self._number(exactly(self._peer, 1)[0]) * SLOT
                end = min(size, start + SLOT)
                data[start:end] = whole[at : at + end - start]
                with suppress(OSError):  # who sent it may have gone since
                    self._peer.sendall(bytes([at // SLOT]))
        return data

    def _number(self, byte: int) -> int:
        if byte >= SLOTS:
            raise NookError("protocol", f"There is no slot {byte}.", "Are both sides of the same version?")
        return byte


def memory() -> int:
    """A file of a lane's slots in memory, which has no name: its descriptor."""
    if hasattr(os, "memfd_create"):
        made = os.memfd_create("inglenook")
    else:
        with tempfile.TemporaryFile() as file:
            made = os.dup(file.fileno())
    os.ftruncate(made, SLOTS * SLOT)
    return made


def exactly(peer: socket.socket, size: int) -> bytearray:
    """The next bytes of a socket. Raises NookError("transport-closed"), OSError."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = peer.recv_into(view)
        if not count:
            raise closed("the other side ended it")
        view = view[count:]
    return data


def closed(what: str) -> NookError:
    """The error of a connection that is gone."""
    return NookError("transport-closed", f"The connection to a worker is gone: {what}.", "Connect again.")
