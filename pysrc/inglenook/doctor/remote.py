"""Any engine behind an OpenAI-compatible URL: what it sends is looked at as it comes, nothing is made good.

`evals.completion` reads the same streams to use them; here their shape is what is examined.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from inglenook.completions import bearer
from inglenook.depth import parse
from inglenook.doctor import asks
from inglenook.doctor.asks import Ask
from inglenook.doctor.engine import API
from inglenook.errors import NookError
from inglenook.evals.completion import address
from inglenook.types import Json

LARGEST = 16_000_000  # bytes of an answer


class Remote:
    """The engine at `url`, completed with `/v1` where that is missing. `key` goes in a header and nowhere else."""

    tiers = frozenset({API})
    switches: frozenset[str] = frozenset({"batch 1"})
    damages: Mapping[str, tuple[str, ...]] = {}

    def __init__(
        self, url: str, model: str = "", key: str = "", timeout: float = 120.0, on: Sequence[str] = ()
    ) -> None:
        if not address(url, "http", "https"):
            raise NookError("no-target", f"{url!r} is no address of a server.", "It begins with http:// or https://.")
        base = url.rstrip("/").removesuffix("/chat/completions")
        self._url = base if base.endswith("/v1") else f"{base}/v1"
        self.name, self._model, self._key, self._timeout, self._on = url, model, key, timeout, frozenset(on)
        self._header = bearer(key)

    def switched(self, switches: Sequence[str]) -> Remote:
        return Remote(self.name, self._model, self._key, self._timeout, switches)

    def close(self) -> None:
        return

    def answer(self, ask: Ask) -> Any:
        match ask:
            case asks.Properties():
                return self._get("/models")
            case asks.Chat(body):
                return self._chat(body, ask.leaves)
            case asks.Together(parts):
                many = 1 if "batch 1" in self._on else len(parts)
                with concurrent.futures.ThreadPoolExecutor(many) as pool:
                    return list(pool.map(self._one, parts))
        raise NookError("no-access", f"Through a URL there is no {type(ask).__name__.lower()}.", "")

    def _one(self, ask: Ask) -> Any:
        try:
            return self.answer(ask)
        except NookError as error:
            return error

    def _chat(self, body: Json, leaves: int) -> Any:
        told: Any = {"model": self._model or "default", **body}
        data = json.dumps(told).encode()
        if not told.get("stream"):
            return _object(self._request("/chat/completions", data))
        return _chunks(self._request("/chat/completions", data, leaves).split(b"\n"), bool(leaves))

    def _get(self, path: str) -> Any:
        return _object(self._request(path))

    def _request(self, path: str, data: bytes | None = None, leaves: int = 0) -> bytes:
        """The body of an answer; of a stream that is left after so many events, what had come."""
        headers = {"Content-Type": "application/json", "User-Agent": "inglenook-doctor", **self._header}
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as reply:
                if not leaves:
                    return bytes(reply.read(LARGEST))
                return b"".join(reply.readline() for _ in range(2 * leaves))
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace")
            code = "refused" if 400 <= error.code < 500 else "server"
            raise NookError(code, f"The server answered {error.code}: {_said(said)}.", "See what it logged.") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            hint = "Is it running, and is the address right?"
            raise NookError("no-answer", f"The server could not be asked: {error}.", hint) from None


def _chunks(lines: Sequence[bytes], left: bool) -> list[Any]:
    """The events of a stream. One that is not closed by [DONE] was cut short."""
    found: list[Any] = []
    for line in lines:
        data = line.strip()
        if data == b"data: [DONE]":
            return found
        if data.startswith(b"data:"):
            found.append(_object(data[5:]))
        elif data and not data.startswith((b":", b"event:", b"id:", b"retry:")):
            raise NookError("not-json", f"This is no stream of events: {data[:80]!r}.", "Is the address right?")
    if not left:
        raise NookError("truncated", f"The stream ends after {len(found)} events without [DONE].", "Ask again.")
    return found


def _object(data: bytes) -> Any:
    try:
        return parse(data)
    except ValueError:
        raise NookError("not-json", f"This is no JSON: {data[:80]!r}.", "Is the address right?") from None


def _said(body: str) -> str:
    """An error's message, as servers put it."""
    try:
        told = parse(body)["error"]
        return str(told["message"] if isinstance(told, dict) else told)[:200].rstrip(".")
    except (ValueError, KeyError, TypeError):
        return body[:200].strip().rstrip(".")
