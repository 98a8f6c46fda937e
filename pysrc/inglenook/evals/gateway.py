"""The language model of a nook that `inglenook serve` serves: one question over its WebSocket, in its own messages."""

from __future__ import annotations

import time
from typing import Self

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply
from inglenook.evals.completion import address
from inglenook.evals.heard import Heard, request
from inglenook.wire import frames
from inglenook.wire import messages as wire

STREAM = "1"


class Gateway:
    """At `url` (ws:// or wss://, with or without /ws), by its `level` where a call names none: `ws://host:8765#2`. Each
    call has a connection of its own, so a broken one costs that call alone."""

    def __init__(self, url: str, timeout: float = 120.0) -> None:
        parts = address(url, "ws", "wss")
        if parts is None or not (parts.fragment or "0").isdecimal():
            hint = "It looks like ws://localhost:8765, or ws://localhost:8765#2 for its level 2."
            raise NookError("no-target", f"{url!r} is no address of a gateway.", hint)
        self.name = url
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/ws'}"
        self._level = int(parts.fragment) if parts.fragment else None
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, call: Call) -> Reply:
        heard = Heard()
        try:
            self._ask(request(call, self._level), heard)
        except NookError as error:
            if error.code in ("unreachable", "refused"):
                raise
            return heard.failed(error)
        return heard.reply()

    def _ask(self, asked: wire.Chat, heard: Heard) -> None:
        due = time.monotonic() + self._timeout
        try:
            with connect(
                self._url, subprotocols=[Subprotocol(frames.SUBPROTOCOL)], open_timeout=self._timeout,
                close_timeout=1, max_size=frames.LARGEST,
            ) as line:  # fmt: skip
                line.send(frames.encode(asked, STREAM))
                while True:
                    event, stream = frames.decode(line.recv(timeout=max(0.0, due - time.monotonic())))
                    if stream != STREAM:
                        raise NookError("mixed", "The gateway sent what was not asked for.", "Is it of this version?")
                    match event:
                        case wire.Done():
                            return
                        case wire.Failed():
                            raise NookError(event.code, event.message, event.hint)
                        case wire.Cancelled():
                            raise NookError("broken", "The gateway stopped the answer.", "")
                    heard.event(event)
        except TimeoutError:
            hint = "Allow more time (--timeout), ask for fewer tokens, or use a faster target."
            raise NookError("timeout", f"No answer came within {self._timeout:g} s.", hint) from None
        except ConnectionClosed:
            raise NookError("truncated", "The connection ended in the middle of an answer.", "") from None
        except WebSocketException as error:
            hint = "Is it `inglenook serve`, and of this version?"
            raise NookError("refused", f"{self.name} does not speak with us: {error}.", hint) from None
        except OSError as error:
            hint = "Is the server running, and is the address right?"
            raise NookError("unreachable", f"{self.name} cannot be reached: {error}.", hint) from None
