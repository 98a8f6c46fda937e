"""The server's side of one client, without any I/O: frames in, actions and frames out, one end for every stream.

session = Session()
for action in session.receive(frame): …        # Start, Stop, Attach, Close
session.event(stream, event)                    # what came of the work; nothing if that stream has ended
frame = session.sending()                       # what to send next; None if there is nothing
session.room(stream)                            # whether the work may go on, or is far enough ahead of its reader

A session lasts as long as its connection. One that its client attached outlives it: events are kept until an Ack tells
that they have come, and `resume` has those sent again that have not (`wire.ring`).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from inglenook.errors import NookError
from inglenook.wire import frames
from inglenook.wire import messages as wire
from inglenook.wire.ring import Ring

MOST = 32  # streams open at once
WINDOW = 64  # events of a stream that may be on their way
WEIGHT = 16_000_000  # bytes of all streams that may be
CROWD = 8  # streams that may wait for their end to come, for each that may be open
GOING_AWAY, PROTOCOL_ERROR, POLICY, TOO_LARGE = 1001, 1002, 1008, 1009  # RFC 6455, 7.4.1


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
class Attach:
    """Call `attach`, or `resume` of the session that `token` names, or `fail` this stream."""

    stream: str
    token: str
    seen: dict[str, int]


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection: the client does not speak the protocol, so no stream can be trusted."""

    code: int
    reason: str


Action = Start | Stop | Attach | Close


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
    """Streams of one client by id. `refuse` names the request types that are not allowed here; a stream may be `window`
    events ahead of its reader, all streams together `WEIGHT` bytes."""

    def __init__(
        self, most: int = MOST, largest: int = frames.LARGEST, refuse: tuple[type[wire.Request], ...] = (),
        window: int = WINDOW,
    ) -> None:  # fmt: skip
        self.open: set[str] = set()  # work is under way
        self.closed = False
        self.kept = False  # attached: events stay until they have come
        self.window = window
        self._rings: dict[str, Ring] = {}
        self._ready: deque[str] = deque()  # streams with something to send, each once
        self._aside: deque[str | bytes] = deque()  # answers to Attach, which no connection but this one wants
        self._most, self._largest, self._refuse = most, largest, refuse

    # ── what the client says ──────────────────────────────────────────────────────────────────────────────────────

    def receive(self, frame: str | bytes) -> list[Action]:
        """What a frame from the client asks for. Nothing after a Close."""
        if self.closed:
            return []
        try:
            message, stream = frames.decode(frame, self._largest)
        except NookError as error:
            return self._unreadable(frame, error)
        match message:
            case wire.Cancel():
                return [Stop(message.stream)] if message.stream in self.open else []  # it may have ended just now
            case wire.Ack():
                return self._came(message.seen)
            case wire.Attach() if not (self.kept or self._rings):
                return [Attach(stream, message.token, message.seen)]
        if stream in self._rings:
            if self.kept and isinstance(message, wire.Request):  # it was not known to have come
                return []
            return self._close(PROTOCOL_ERROR, f"stream {stream} is open already")
        if len(self._rings) > CROWD * self._most:
            return self._close(POLICY, "answers are not being read")
        self._begin(stream)
        if not isinstance(message, wire.Request) or isinstance(message, wire.Attach):
            what = "Attach comes first." if isinstance(message, wire.Attach) else "Only requests go to a server."
            self.event(stream, failed(NookError("protocol", what, "Are both sides of the same version?")))
        elif isinstance(message, self._refuse):
            hint = "Start it with --writable, or use your own."
            self.event(stream, failed(NookError("read-only", "This server's library can't be changed.", hint)))
        elif len(self.open) > self._most:
            hint = "Wait for one of them to end."
            self.event(stream, failed(NookError("busy", f"{self._most} requests are under way.", hint)))
        else:
            return [Start(stream, message)]
        return []

    def attach(self, stream: str, token: str, keep_ms: float) -> None:
        """The client has a session of this name that outlives its connection by so long."""
        self.kept = True
        self._attached(stream, token, [], keep_ms)

    def resume(self, stream: str, token: str, seen: dict[str, int], keep_ms: float) -> list[Action]:
        """The client is there again, over a new connection, and has seen so many events of its streams."""
        actions: list[Action] = []
        for name in [name for name in self._rings if name not in seen]:
            actions += [Stop(name)] if name in self.open else []
            self._forget(name)
        known = [name for name in seen if name in self._rings]
        if not all(self._rings[name].rewind(seen[name]) for name in known):
            return [*actions, *self._close(PROTOCOL_ERROR, "more has come than was sent")]
        self._aside.clear()
        for name in known:
            self._settle(name)
        self._ready = deque(name for name, ring in self._rings.items() if ring.next < ring.end)
        self._attached(stream, token, [name for name in known if name in self._rings], keep_ms)
        return actions

    def fail(self, stream: str, error: NookError) -> None:
        """An Attach that cannot be answered."""
        self._aside.append(frames.encode(failed(error), stream))

    # ── what it hears ─────────────────────────────────────────────────────────────────────────────────────────────

    def event(self, stream: str, event: wire.Event) -> None:
        """An event of an open stream is to be sent; of one that has ended it is not."""
        if stream not in self.open or self.closed:
            return
        ring = self._rings[stream]
        if ring.next == ring.end:
            self._ready.append(stream)
        ring.put(frames.encode(event, stream))
        if isinstance(event, wire.ENDS):
            self.open.discard(stream)
            ring.ended = True

    def sending(self) -> str | bytes | None:
        """The frame to send now; streams take turns."""
        if self._aside:
            return self._aside.popleft()
        while self._ready and not self.closed:
            stream = self._ready.popleft()
            ring = self._rings.get(stream)
            frame = ring.take() if ring else None
            if ring is None or frame is None:
                continue
            if ring.next < ring.end:
                self._ready.append(stream)
            if not self.kept:
                ring.came(ring.next)
                self._settle(stream)
            return frame
        return None

    def room(self, stream: str) -> bool:
        """Whether an open stream's work may go on."""
        ring = self._rings.get(stream)
        return ring is None or not ring or (len(ring) < self.window and self.weight < WEIGHT)

    def taken(self, stream: str) -> int:
        """A number that grows with what is sent of a stream, and with what has come."""
        ring = self._rings.get(stream)
        return ring.first + ring.next if ring else 0

    @property
    def weight(self) -> int:
        """Bytes, or characters, that are kept."""
        return sum(ring.size for ring in self._rings.values())

    @property
    def crowded(self) -> bool:
        """Whether so many streams wait to be sent that no more should be asked."""
        return len(self._ready) > 2 * self._most

    def drop(self, stream: str) -> None:
        """Forget what was not sent of a stream that is to be stopped."""
        if ring := self._rings.get(stream):
            ring.drop()

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, stream: str) -> None:
        self.open.add(stream)
        self._rings[stream] = Ring()

    def _came(self, seen: dict[str, int]) -> list[Action]:
        for stream, number in seen.items() if self.kept else ():
            if ring := self._rings.get(stream):
                if not ring.came(number):
                    return self._close(PROTOCOL_ERROR, "more has come than was sent")
                self._settle(stream)
        return []

    def _settle(self, stream: str) -> None:
        """A stream that has ended is over when all of it has come."""
        if (ring := self._rings[stream]).ended and not ring:
            self._forget(stream)

    def _forget(self, stream: str) -> None:
        self.open.discard(stream)
        del self._rings[stream]

    def _attached(self, stream: str, token: str, streams: list[str], keep_ms: float) -> None:
        told = wire.Attached(token, streams, self.window, keep_ms)
        self._aside += frames.encode(told, stream), frames.encode(wire.Done(), stream)

    def _unreadable(self, frame: str | bytes, error: NookError) -> list[Action]:
        """A frame that is a message of a stream fails that stream; anything else ends the connection."""
        if error.code == "too-large":
            return self._close(TOO_LARGE, "a message was too large")
        try:
            text, _ = frames.split(frame, self._largest)
            stream = json.loads(text)["id"]
            if isinstance(stream, str) and 0 < len(stream) <= 64 and stream not in self._rings:
                self._begin(stream)
                self.event(stream, failed(error))
                return []
        except (NookError, ValueError, TypeError, KeyError, RecursionError):
            pass
        return self._close(PROTOCOL_ERROR, "a message could not be read")

    def _close(self, code: int, reason: str) -> list[Action]:
        self.closed = True
        stops: list[Action] = [Stop(stream) for stream in sorted(self.open)]
        self.open.clear()
        self._rings.clear()
        return [*stops, Close(code, reason)]


def failed(error: BaseException) -> wire.Failed:
    """The end of a stream that an error stopped; what is no NookError tells nothing of the server's insides."""
    if isinstance(error, NookError):
        return wire.Failed(error.code, error.message, error.hint)
    return wire.Failed("internal", "The server failed at this.", "Its log says why.")
