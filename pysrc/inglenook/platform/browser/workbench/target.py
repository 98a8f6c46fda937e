"""What answers calls in a tab: its own language model, or a server that the page was allowed to ask.

Both are reached through the page: the engine has its line there, and a server only what the page's policy lets through.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from pyodide.ffi import JsException, create_proxy

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, body
from inglenook.evals.completion import ENDS, PASSING, Reading, refused
from inglenook.evals.targets import Resident
from inglenook.platform.browser.engine import from_js
from inglenook.wire import codec
from inglenook.wire import messages as wire

APP = "workbench"
"""Who asks: whoever else does goes first (`engine.RULES`)."""
RETRIES, PAUSE = 2, 0.5


def resident(page: Any, level: int | None = None) -> Resident:
    """The model of this tab; `page.ask(message, hear)` performs a request there, `page.model` says which it is."""

    async def run(request: wire.Request, emit: Any) -> None:
        text, _ = codec.dump(request, "1")

        def hear(told: str) -> None:
            emit(codec.load(told)[0])

        await asked(page.ask, json.dumps(json.loads(text) | {"app": APP}), hear)

    return Resident(run, level, page.model)


class Served:
    """Chat completions at a `url`, as `evals.completion.Remote` asks for them; `page.fetch(told, hear)` makes the
    request and resolves to the status it was answered with, `hear` gets the body as it comes."""

    def __init__(self, page: Any, url: str, model: str = "", key: str = "") -> None:
        self.name = f"{url.rstrip('/')}#{model}" if model else url.rstrip("/")
        self._page, self._url, self._model, self._key = page, url, model, key

    def share(self, call: Call) -> float:
        """One call at a time: whose server it is may count them."""
        return 1.0

    async def __call__(self, call: Call) -> Reply:
        began = time.perf_counter()
        for left in range(RETRIES, -1, -1):
            try:
                return await self._once(call)
            except NookError as error:
                if error.code in ENDS:
                    raise
                if not left or error.code not in PASSING:
                    return Reply.failed(error, (time.perf_counter() - began) * 1e3)
            await asyncio.sleep(PAUSE * 2 ** (RETRIES - left))
        raise AssertionError

    async def _once(self, call: Call) -> Reply:
        told = body(call) | {"stream": True, "stream_options": {"include_usage": True}}
        if self._model:
            told["model"] = self._model
        began = time.perf_counter()
        reading = Reading(lambda: (time.perf_counter() - began) * 1e3)
        pieces: list[bytes] = []
        wrong: list[NookError] = []

        def hear(piece: Any) -> None:
            data = piece.to_bytes()
            if not pieces:
                pieces.append(data)  # all that is read of a refusal
            try:
                wrong or reading.feed(data)
            except NookError as error:
                wrong.append(error)

        request = {"url": self._url, "key": self._key, "body": json.dumps(told)}
        status = int(await asked(self._page.fetch, json.dumps(request), hear))
        if status != 200:
            raise refused(self.name, status, b"".join(pieces))
        if wrong:
            raise wrong[0]
        return reading.reply()


async def asked(ask: Any, told: str, hear: Any) -> Any:
    """What a promise of the page gives; who is stopped while it waits stops it."""
    heard = create_proxy(hear)
    ticket = ask(told, heard)
    try:
        return await ticket.done
    except asyncio.CancelledError:
        ticket.stop()
        raise
    except JsException as error:
        raise from_js(error) from None
    finally:
        heard.destroy()
