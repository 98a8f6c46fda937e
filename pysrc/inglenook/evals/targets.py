"""What answers calls: the language model of a nook on this machine, of a tab, of a gateway, or of any server that
speaks OpenAI's chat completions; and for questions about charts a reader without a vision model.

    answer = targets.open("http://localhost:8080/v1", model="small")     # or "native", "native:2" for its level 2
    with answer: drive(work, answer, rows)

A target raises NookError where it cannot be worked with at all (not there, not allowed, no chat completions), which
ends the run; what goes wrong with one call (a timeout, an answer cut short, a prompt that is too long) becomes a
`Reply` with an `error`, and the run goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Target
from inglenook.evals.completion import Remote
from inglenook.evals.heard import Heard, request
from inglenook.wire import messages as wire

EDGE = 65536
ABREAST = 6
"""Calls of one model at once, at most: a pass over six tokens takes little more than twice as long as one over one."""
LETTERS, SPARE, ROOM = 3.0, 64, 3000
"""Letters of a token, as few as there may be; tokens of a chat's form; tokens that calls may use together: most of the
4,096 that the tab has pages for."""


def open(place: str, *, model: str = "", key: str = "", timeout: float = 120.0) -> Target:
    """The target of a name: "native" or "native:LEVEL" for the model of this machine, the http(s) URL of a server with
    chat completions, the ws(s) URL of a gateway, or the chart reader: "reader", "reader:sure" if it is not to guess,
    and either with "+" and another target, which is told what was read where the rules do not answer. Raises
    NookError("no-target") for any other."""
    if place.startswith(("http://", "https://")):
        return Remote(place, model, key=key, timeout=timeout)
    if place.startswith(("ws://", "wss://")):
        from inglenook.evals.gateway import Gateway

        return Gateway(place, timeout)
    reader, _, writer = place.partition("+")
    if reader in ("reader", "reader:sure"):
        from inglenook.evals.charts.reader.target import Reader

        told = open(writer, model=model, key=key, timeout=timeout) if writer else None
        return Reader.open(guess=reader == "reader", writer=told)
    kind, _, level = place.partition(":")
    if kind == "native" and (not level or level.isdecimal()):
        return Native(int(level) if level else None)
    hint = 'Name "native", "native:LEVEL", "reader", or a URL such as http://localhost:8080/v1 or ws://localhost:8765.'
    raise NookError("no-target", f"There is no target {place!r}.", hint)


class Native:
    """The language model of this machine at `level` where a call names none; None leaves it to the call's `slo`.

    `nook` is one that is open; without it an empty one is opened at the first call and goes at the end of the `with`.
    The name ends with which model it is ("native:2@5f0c12ab"), so that another one finds none of its rows.
    """

    def __init__(self, level: int | None = None, nook: Any = None) -> None:
        self.name = ("native" if level is None else f"native:{level}") + ("" if nook else _which())
        self._level, self._nook = level, nook
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._nook.close()
            self._folder.cleanup()
            self._nook = self._folder = None

    def __call__(self, call: Call) -> Reply:
        if self._nook is None:
            from inglenook.nook import Nook

            self._folder = tempfile.TemporaryDirectory()
            self._nook = Nook(Path(self._folder.name) / "evals.nook")
        heard = Heard()
        try:
            for event in self._nook.stream(request(call, self._level)):
                heard.event(event)
        except NookError as error:
            return heard.failed(error)
        return heard.reply()


class Resident:
    """The language model of a tab, or of whatever event loop an engine runs in: `run(request, emit)` performs a request
    there. `await target(call)` answers; made for `adrive`. The name ends with `which` model it is, as `Native`'s.

    Several calls may be under way at once, which write together; one that finds no memory beside others is asked again
    when one of them has ended.
    """

    def __init__(
        self,
        run: Callable[[wire.Request, Callable[[object], None]], Awaitable[None]],
        level: int | None = None,
        which: str = "",
    ) -> None:
        self.name = ("tab" if level is None else f"tab:{level}") + (f"@{which}" if which else "")
        self._run, self._level = run, level
        self._running = 0
        self._ended: asyncio.Future[None] | None = None  # the next of those that run

    def share(self, call: Call) -> float:
        """The part of the model's memory that a call needs at most, and no less than makes `ABREAST` of them."""
        parts = [
            part for one in call.messages for part in ([one.content] if isinstance(one.content, str) else one.content)
        ]
        letters = sum(len(part) for part in parts if isinstance(part, str))
        return max(1 / ABREAST, (letters / LETTERS + call.settings.max_tokens + SPARE) / ROOM)

    async def __call__(self, call: Call) -> Reply:
        while True:
            heard = Heard()
            self._running += 1
            try:
                await self._run(request(call, self._level), heard.event)
                return heard.reply()
            except NookError as error:
                if error.code != "memory" or self._running == 1:
                    return heard.failed(error)
            finally:
                self._running -= 1
                if self._ended:
                    self._ended.set_result(None)
                    self._ended = None
            if self._running:
                self._ended = self._ended or asyncio.get_running_loop().create_future()
                await asyncio.shield(self._ended)


def _which() -> str:
    """Which model file it is: "@" and 8 hex digits of its size, beginning (its levels are told there) and end."""
    from inglenook.platform.native.engine import FILES, models_folder

    path = Path(os.environ.get("INGLENOOK_LM") or models_folder() / FILES["lm"][0])
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            told = [b"%d" % size]
            for at in (0, max(0, size - EDGE)):
                file.seek(at)
                told.append(file.read(EDGE))
    except OSError:
        return ""
    return "@" + hashlib.sha256(b"".join(told)).hexdigest()[:8]
