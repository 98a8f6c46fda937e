"""Chat completions of a server: one request over HTTP, its stream read as it comes, everything odd named.

`Reading` is the protocol without a socket: bytes of a body in, a `Reply` out. `Remote` is the socket.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from inglenook.completions import bearer
from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, body
from inglenook.wire.messages import Likely, Logprob

MOST = 16_000_000  # bytes of one answer
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""
_VISIBLE = re.compile(r"[!-~]*")
_TAG = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


class Reading:
    """The body of an answer, fed in pieces of any size. Reads a stream of events and a whole completion alike.

    Raises NookError("not-json") for a web page or anything else that is no completion, NookError("mixed") where pieces
    of another answer come in between, NookError("server") for an error that the server tells in the body.
    """

    def __init__(self, ms: Callable[[], float]) -> None:
        self._ms = ms
        self._rest = b""
        self._size = 0
        self._streamed: bool | None = None
        self._id = ""
        self._texts: list[str] = []
        self._logprobs: list[Logprob] = []
        self._usage: dict[str, Any] = {}
        self._first_ms = 0.0
        self._finish = ""
        self._done = False

    def feed(self, data: bytes) -> bool:
        """Whether the answer is over."""
        self._size += len(data)
        if self._size > MOST:
            raise NookError("too-large", f"An answer is longer than {MOST // 10**6} MB.", "Lower max_tokens.")
        self._rest += data
        if self._streamed is None and (start := self._rest.lstrip()):
            self._streamed = start[:1] != b"{" and not _TAG.match(start)
            if _TAG.match(start):
                raise _no_json(start)
        if self._streamed:
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._line(line.strip())
        return self._done

    def reply(self) -> Reply:
        """What came, once the body has ended. Raises NookError("truncated") if that was too early."""
        if not self._streamed:
            if not self._rest.strip():
                raise NookError("truncated", "The answer is empty.", "The server ended the connection early.")
            self._whole(self._rest)
        elif self._rest.strip() and not self._done:
            self._line(self._rest.strip())
        if not self._finish and not self._done:
            hint = "The server ended the stream early; what had come is not counted as an answer."
            raise NookError("truncated", f"The answer broke off after {sum(map(len, self._texts))} characters.", hint)
        usage = self._usage
        return Reply(
            "".join(self._texts), self._finish or "stop", self._first_ms, self._ms(),
            _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), tuple(self._logprobs) or None,
        )  # fmt: skip

    def _line(self, line: bytes) -> None:
        if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return
        if not line.startswith(b"data:"):
            raise _no_json(line)
        data = line[5:].strip()
        if data == b"[DONE]":
            self._done = True
            return
        self._take(_object(data), "delta")

    def _whole(self, data: bytes) -> None:
        try:
            told = _object(data)
        except NookError:
            if data.lstrip()[:1] == b"{" and not data.rstrip().endswith(b"}"):
                hint = "The server ended the connection early."
                raise NookError("truncated", f"The answer broke off after {len(data)} bytes.", hint) from None
            raise
        self._take(told, "message")
        self._done = True

    def _take(self, told: dict[str, Any], field: str) -> None:
        if error := told.get("error"):
            said = error.get("message", error) if isinstance(error, dict) else error
            raise NookError("server", f"The server says: {str(said)[:300]}", "")
        name = told.get("id") or ""
        if self._id and name and name != self._id:
            hint = "Ask it one thing at a time, or have what stands in between repaired."
            raise NookError("mixed", "The server mixed the pieces of two answers.", hint)
        self._id = self._id or name
        if isinstance(usage := told.get("usage"), dict):
            self._usage = usage
        choices = told.get("choices")
        if not isinstance(choices, list):
            raise _no_json(json.dumps(told).encode())
        for choice in choices:
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                raise NookError("mixed", "The server sent an answer that was not asked for.", "Ask it for one (n=1).")
            delta, finish = choice.get(field) or {}, choice.get("finish_reason") or self._finish
            text = (delta.get("content") or "") if isinstance(delta, dict) else None
            if not isinstance(text, str) or not isinstance(finish, str):
                raise _no_json(json.dumps(told).encode())
            if text:
                self._first_ms = self._first_ms or self._ms()
                self._texts.append(text)
            self._logprobs += _logprobs(choice.get("logprobs"))
            self._finish = finish


class Remote:
    """A server's chat completions at `url`, with or without `/v1` and what follows it. `key` goes in a header and
    nowhere else. A request that fails in a way that may pass is made `retries` times more, each after twice as long."""

    def __init__(
        self, url: str, model: str = "", *, key: str = "", timeout: float = 120.0, retries: int = 2, pause: float = 0.5
    ) -> None:
        parts = address(url, "http", "https")
        if parts is None:
            raise NookError(
                "no-target",
                f"{url!r} is no address of a server.",
                "It begins with http:// or https://, and has no spaces.",
            )
        path = parts.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path += "/chat/completions" if path.endswith("/v1") else "/v1/chat/completions"
        self.name = f"{url.rstrip('/')}#{model}" if model else url.rstrip("/")
        self._https, self._host, self._port = parts.scheme == "https", str(parts.hostname), parts.port
        self._path = path + (f"?{parts.query}" if parts.query else "")
        self._model, self._timeout, self._retries, self._pause = model, timeout, retries, pause
        self._key = bearer(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, call: Call) -> Reply:
        began = time.perf_counter()
        for left in range(self._retries, -1, -1):
            try:
                return self._once(call)
            except NookError as error:
                if error.code in ENDS:
                    raise
                if not left or error.code not in PASSING:
                    return Reply.failed(error, (time.perf_counter() - began) * 1e3)
            time.sleep(self._pause * 2 ** (self._retries - left))
        raise AssertionError

    def _once(self, call: Call) -> Reply:
        told = body(call) | {"stream": True, "stream_options": {"include_usage": True}}
        if self._model:
            told["model"] = self._model
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json", **self._key}
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        began = time.perf_counter()
        reading = Reading(lambda: (time.perf_counter() - began) * 1e3)
        late = _Deadline(self._timeout)
        try:
            connection.connect()
            late.watch(connection.sock)
            connection.request("POST", self._path, json.dumps(told).encode(), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise refused(self.name, response.status, response.read(4096))
            while data := response.read1(65536):
                if reading.feed(data):
                    break
            return reading.reply()
        except (NookError, http.client.HTTPException, OSError) as error:
            raise self._named(TimeoutError() if late.over else error) from None
        finally:
            late.cancel()
            connection.close()

    def _named(self, error: Exception) -> NookError:
        """What went wrong, as whoever asked is told."""
        match error:
            case NookError():
                return error
            case TimeoutError():
                hint = "Allow more time (--timeout), ask for fewer tokens, or use a faster target."
                return NookError("timeout", f"No answer came within {self._timeout:g} s.", hint)
            case http.client.IncompleteRead():
                return NookError("truncated", "The connection ended in the middle of an answer.", "")
            case http.client.HTTPException() | ConnectionResetError() | BrokenPipeError():
                return NookError("broken", f"The connection broke: {error or type(error).__name__}.", "")
        hint = "Is the server running, and is the address right?"
        return NookError("unreachable", f"{self.name} cannot be reached: {error}.", hint)


class _Deadline:
    """Hangs up after so many seconds, however slowly bytes drip in: a socket's own timeout counts from the last one."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._socket: socket.socket | None = None

    def watch(self, connected: socket.socket) -> None:
        self._socket = connected
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.over = True
        with suppress(OSError):  # it has ended by itself
            assert self._socket
            self._socket.shutdown(socket.SHUT_RDWR)


def address(url: str, *schemes: str) -> SplitResult | None:
    """The parts of an address that something can be asked at, None for what is none."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in schemes and parts.hostname and parts.port != 0 and parts.hostname.encode("idna")
        return parts if known and _VISIBLE.fullmatch(parts.path + parts.query) else None
    except ValueError:  # of ports and brackets, and of names that are none
        return None


ENDS = frozenset({"unreachable", "refused", "not-json"})
"""Codes of errors after which no other call would be answered either."""
PASSING = frozenset({"busy", "truncated", "broken"})
"""Codes of those that may pass."""


def refused(name: str, status: int, data: bytes) -> NookError:
    """What a server's answer means that is no 200; `data` is its body, or the beginning of it."""
    said = data.decode("utf-8", "replace").strip()
    with suppress(ValueError, AttributeError, TypeError):
        error = parse(said)["error"]
        said = str(error["message"] if isinstance(error, dict) else error)
    page = bool(_TAG.match(data))
    said = "a web page" if page else said[:300] or "nothing"
    message = f"{name} answered {status} and {said}." if page else f"{name} answered {status}: {said}"
    if status in AGAIN:
        return NookError("busy", message, "It may pass: run it again, with fewer --workers.")
    if status in (401, 403):
        return NookError("refused", message, "Give it the right key: INGLENOOK_API_KEY.")
    if status in (404, 405, 301, 302, 307, 308) or page:
        return NookError("refused", message, "Check the address; it usually ends in /v1.")
    return NookError("server", message, "")


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = parse(data)
    except ValueError:
        raise _no_json(data) from None
    if not isinstance(told, dict):
        raise _no_json(data)
    return told


def _no_json(data: bytes) -> NookError:
    start = data[:80].decode("utf-8", "replace").strip()
    what = "a web page" if _TAG.match(data) else "no chat completion"
    hint = "Check the address; it usually ends in /v1. A login page or a proxy may stand in between."
    return NookError("not-json", f"The server sent {what}: {start!r}.", hint)


def _logprobs(told: Any) -> list[Logprob]:
    """Log-probabilities where the server tells them as OpenAI does."""
    found: list[Logprob] = []
    with suppress(KeyError, TypeError, AttributeError):
        for one in (told or {}).get("content") or []:
            top = [Likely(other["token"], other.get("bytes") or [], other["logprob"]) for other in one["top_logprobs"]]
            found.append(Logprob(one["token"], one.get("bytes") or [], one["logprob"], top))
    return found


def _count(value: Any) -> int:
    return value if type(value) is int else 0
