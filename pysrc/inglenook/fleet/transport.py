"""Tensors between workers, over TCP, shared memory, gloo or NCCL, with bounded queues, behind one interface.

    with listen("tcp://127.0.0.1:0") as listener:          # gloo:// and nccl:// too, or shm:///run/inglenook/stage-1.sock
        there = connect(listener.address)                  # in another process
        here = listener.accept()
    there.send(Frame.of(states, step=7))
    here.recv().array()

`send` returns when the frame stands in the queue, and waits while more than `bound` bytes stand there; a thread sends
them meanwhile, so transfer and computation overlap. On the other side as many bytes are read ahead, and no more: who
does not receive stops who sends. Nothing is unpickled. Who may connect is for the network to say: listen where only
workers are.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from inglenook.errors import NookError
from inglenook.fleet import frame as frames
from inglenook.fleet import lanes
from inglenook.fleet.bounded import Bounded
from inglenook.fleet.frame import Frame
from inglenook.fleet.lanes import Lane, Plain, Slotted, closed, exactly

NETWORKED = ("tcp", "gloo", "nccl")
BOUND = 64 << 20
"""Bytes that wait on each side, where nothing else is asked for; one frame may be larger."""


class Transport(Protocol):
    """One end of a connection between two workers. All methods may be called from any thread."""

    def send(self, frame: Frame, timeout: float | None = None) -> None:
        """Raises NookError: "transport-slow" if there is no room within `timeout` seconds, "transport-closed" if the
        connection is gone, "too-large"."""

    def recv(self, timeout: float | None = None) -> Frame:
        """The next frame. Raises NookError: "transport-slow", "transport-closed" when all that came was received,
        "protocol" if what came was no frame."""

    def close(self, timeout: float = 5.0) -> None:
        """Send what stands in the queue, for `timeout` seconds at most, and end the connection."""


class Connection:
    """A Transport over connected sockets: frames go out by one and come in by the other, which may be the same."""

    def __init__(
        self, going: socket.socket, out: Lane, coming: socket.socket, back: Lane, *, bound: int = BOUND
    ) -> None:
        self._going, self._out, self._coming, self._back = going, out, coming, back
        self._queue: Bounded[tuple[bytes, Frame]] = Bounded(bound)
        self._came: Bounded[Frame] = Bounded(bound)
        self._closing = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send_all, self._receive_all)]
        for thread in self._threads:
            thread.start()

    def send(self, frame: Frame, timeout: float | None = None) -> None:
        self._queue.put((frame.head(), frame), len(frame.data), timeout)

    def recv(self, timeout: float | None = None) -> Frame:
        return self._came.get(timeout)

    def close(self, timeout: float = 5.0) -> None:
        self._closing = True
        self._queue.end(closed("this side ended it"))
        self._came.end(closed("this side ended it"), drop=True)
        for thread in self._threads:  # what was sent is read over there, and then this side is told of the end
            thread.join(timeout)
        for peer in (self._going, self._coming):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout)
        for peer in (self._going, self._coming):
            peer.close()

    def _send_all(self) -> None:
        with suppress(NookError):  # the queue's end, when all is sent
            while True:
                head, frame = self._queue.get()
                try:
                    self._going.sendall(head)
                    self._out.write(frame.data)
                except (OSError, NookError) as error:
                    self._queue.end(closed(str(error)), drop=True)
        with suppress(OSError):
            self._going.shutdown(socket.SHUT_WR)

    def _receive_all(self) -> None:
        try:
            while True:
                size, data = frames.read_lengths(exactly(self._coming, frames.LENGTHS.size))
                frame = frames.read_head(exactly(self._coming, size), data)
                self._take(replace(frame, data=memoryview(self._back.read(data))))
        except (OSError, NookError) as error:  # after what was no frame nothing can be trusted
            self._came.end(error if isinstance(error, NookError) else closed(str(error)))
            self._queue.end(closed("the other side ended it"), drop=True)

    def _take(self, frame: Frame) -> None:
        try:
            self._came.put(frame, len(frame.data))
        except NookError:
            if not self._closing:  # then what comes until the other side ends is of no interest
                raise


class Listener:
    """Where others connect to. A context that ends listening; what was accepted goes on."""

    def __init__(self, scheme: str, server: socket.socket, address: str, bound: int) -> None:
        self.address = address
        self._scheme, self._server, self._bound = scheme, server, bound

    def accept(self, timeout: float | None = None) -> Transport:
        """The next connection. Raises NookError("transport-slow" | "transport-closed")."""
        self._server.settimeout(timeout)
        try:
            peer, _ = self._server.accept()
        except TimeoutError:
            raise NookError("transport-slow", f"Nobody connected to {self.address}.", "Is the worker up?") from None
        peer.settimeout(None)
        if self._scheme != "shm":
            return _networked(self._scheme, peer, self._bound, first=True)
        _, given, _, _ = socket.recv_fds(peer, 1, 3)
        if len(given) != 3:
            peer.close()
            raise closed("it shares no memory")
        other = socket.socket(fileno=given[0])
        return _slotted(other, peer, given[1:], self._bound)

    def close(self) -> None:
        """Listen no more."""
        self._server.close()
        if self._scheme == "shm":
            Path(self.address.removeprefix("shm://")).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(address: str, bound: int = BOUND) -> Listener:
    """Listen at "tcp://host:port" (port 0: any; so "gloo" and "nccl", which need torch) or "shm://path".

    Raises NookError("transport-unsupported"), OSError.
    """
    scheme, place = _parse(address)
    if scheme != "shm":
        server = socket.create_server(place)
        host, port = server.getsockname()[:2]
        return Listener(scheme, server, f"{scheme}://{host}:{port}", bound)
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen()
    return Listener(scheme, server, address, bound)


def connect(address: str, bound: int = BOUND, timeout: float | None = 10.0) -> Transport:
    """Connect to where another listens. Raises NookError("transport-unsupported" | "transport-closed")."""
    scheme, place = _parse(address)
    peer = socket.socket(socket.AF_UNIX if scheme == "shm" else socket.AF_INET)
    peer.settimeout(timeout)
    try:
        peer.connect(place)
    except OSError as error:
        peer.close()
        raise closed(f"nobody listens at {address}") from error
    peer.settimeout(None)
    if scheme != "shm":
        return _networked(scheme, peer, bound, first=False)
    ours, theirs = socket.socketpair()
    shared = [lanes.memory(), lanes.memory()]
    with theirs:
        socket.send_fds(peer, [b"+"], [theirs.fileno(), *reversed(shared)])
    return _slotted(peer, ours, shared, bound)


def _networked(scheme: str, peer: socket.socket, bound: int, *, first: bool) -> Connection:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if scheme == "tcp":
        return Connection(peer, Plain(peer), peer, Plain(peer), bound=bound)
    from inglenook.fleet.torch import collective  # torch is an extra

    try:
        out, back = collective.lanes(scheme, peer, first)
    except NookError:
        peer.close()
        raise
    return Connection(peer, out, peer, back, bound=bound)


def _slotted(going: socket.socket, coming: socket.socket, shared: list[int], bound: int) -> Connection:
    """A connection whose two lanes, out and back, have the memory files `shared`."""
    out, back = Slotted(going, shared[0]), Slotted(coming, shared[1])
    for descriptor in shared:
        os.close(descriptor)
    return Connection(going, out, coming, back, bound=bound)


def _parse(address: str) -> tuple[str, tuple[str, int] | str]:
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme in NETWORKED and host and port.isdecimal():
        if scheme != "tcp" and importlib.util.find_spec("torch") is None:
            hint = 'Install it: pip install "inglenook[cluster]"'
            raise NookError("transport-unsupported", f"{scheme} needs PyTorch.", hint)
        return scheme, (host, int(port))
    if scheme == "shm" and rest and hasattr(socket, "send_fds"):
        return scheme, rest
    hint = "One of: tcp:// (gloo://, nccl://) host:port, shm://path of a socket (not on Windows)."
    raise NookError("transport-unsupported", f"There is no transport for {address}.", hint)
