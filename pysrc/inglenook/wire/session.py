"""The server's side of one connection, without any I/O: frames in, actions out, and exactly one end for every stream.

session = Session()
for action in session.receive(frame): …        # Start, Stop, Say, Close
frame = session.event(stream, event)            # what to send; None if that stream has ended
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from inglenook.errors import NookError
from inglenook.wire import frames
from inglenook.wire import messages as wire

MOST = 32  # streams open at once
GOING_AWAY, PROTOCOL_ERROR, TOO_LARGE = 1001, 1002, 1009  # RFC 6455, 7.4.1


@dataclass(frozen=True, slots=True)
class Start:
    """Answer this request on this stream."""

    stream: str
    request: wire.Request


@dataclass(frozen=True, slots=True)
class Stop:
    """End the work of this stream; then `event(stream, Cancelled())`."""

    stream: str


@dataclass(frozen=True, slots=True)
class Say:
    """Send this frame."""

    frame: str | bytes


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection: the client does not speak the protocol, so no stream can be trusted."""

    code: int
    reason: str


Action = Start | Stop | Say | Close


def choose(offered: Iterable[str]) -> str | None:
    """The subprotocol to answer with; None if the client names none. Raises NookError("version") for other versions."""
    names = list(offered)
    if not names:
        return None
    if frames.SUBPROTOCOL in names:
        return frames.SUBPROTOCOL
    hint = f"This server speaks {frames.SUBPROTOCOL}. Reload the page, or update the older of the two."
    raise NookError("version", f"The client speaks {', '.join(names)[:80]}.", hint)


class Session:
    """Streams of one connection by id. `refuse` names the request types that are not allowed here."""

    def __init__(
        self, most: int = MOST, largest: int = frames.LARGEST, refuse: tuple[type[wire.Request], ...] = ()
    ) -> None:
        self.open: set[str] = set()
        self.closed = False
        self._most = most
        self._largest = largest
        self._refuse = refuse

    def receive(self, frame: str | bytes) -> list[Action]:
        """What a frame from the client asks for. Nothing after a Close."""
        if self.closed:
            return []
        try:
            message, stream = frames.decode(frame, self._largest)
        except NookError as error:
            return self._unreadable(frame, error)
        if isinstance(message, wire.Cancel):
            return [Stop(message.stream)] if message.stream in self.open else []  # it may have ended just now
        if stream in self.open:
            return self._close(PROTOCOL_ERROR, f"stream {stream} is open already")
        self.open.add(stream)
        if not isinstance(message, wire.Request):
            return self._fail(stream, NookError("protocol", "Only requests go to a server.", ""))
        if isinstance(message, self._refuse):
            hint = "Start it with --writable, or use your own."
            return self._fail(stream, NookError("read-only", "This server's library can't be changed.", hint))
        if len(self.open) > self._most:
            hint = "Wait for one of them to end."
            return self._fail(stream, NookError("busy", f"{self._most} requests are under way.", hint))
        return [Start(stream, message)]

    def event(self, stream: str, event: wire.Event) -> str | bytes | None:
        """The frame of an event of an open stream; None if the stream has ended."""
        if stream not in self.open or self.closed:
            return None
        if isinstance(event, wire.ENDS):
            self.open.discard(stream)
        return frames.encode(event, stream)

    def _unreadable(self, frame: str | bytes, error: NookError) -> list[Action]:
        """A frame that is a message of a stream fails that stream; anything else ends the connection."""
        if error.code == "too-large":
            return self._close(TOO_LARGE, "a message was too large")
        try:
            text, _ = frames.split(frame, self._largest)
            stream = json.loads(text)["id"]
            if isinstance(stream, str) and 0 < len(stream) <= 64 and stream not in self.open:
                self.open.add(stream)
                return self._fail(stream, error)
        except (NookError, ValueError, TypeError, KeyError, RecursionError):
            pass
        return self._close(PROTOCOL_ERROR, "a message could not be read")

    def _fail(self, stream: str, error: NookError) -> list[Action]:
        frame = self.event(stream, failed(error))
        return [] if frame is None else [Say(frame)]

    def _close(self, code: int, reason: str) -> list[Action]:
        self.closed = True
        stops: list[Action] = [Stop(stream) for stream in sorted(self.open)]
        self.open.clear()
        return [*stops, Close(code, reason)]


def failed(error: BaseException) -> wire.Failed:
    """The end of a stream that an error stopped; what is no NookError tells nothing of the server's insides."""
    if isinstance(error, NookError):
        return wire.Failed(error.code, error.message, error.hint)
    return wire.Failed("internal", "The server failed at this.", "Its log says why.")
