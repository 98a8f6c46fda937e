"""The HTTP face that OpenAI's clients speak with: /v1/chat/completions, /v1/embeddings, /v1/models.

Requests become the messages that a WebSocket would bring, so limits, turns and errors are the same. What goes wrong
before the first token has a status of its own; after it, the stream's last event tells. A client that leaves stops its
work at the next effect of its flow, which is one token at most.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from inglenook import completions
from inglenook.depth import parse
from inglenook.embed import encoder
from inglenook.errors import NookError
from inglenook.serve.access import Rules, refused
from inglenook.serve.watch import Watch
from inglenook.wire import frames, session
from inglenook.wire import messages as wire

INPUTS = 2048  # texts of a request for embeddings
T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("inglenook.serve")


def routes(nook: Watch, rules: Rules) -> list[Route]:
    """The three of them, for a nook's models and its fleet's."""
    face = Face(nook, rules)
    return [
        Route("/v1/chat/completions", face.answers(face.chat), methods=["POST"]),
        Route("/v1/embeddings", face.answers(face.embeddings), methods=["POST"]),
        Route("/v1/models", face.models),
        Route("/v1/models/{name:path}", face.model),
    ]


class Face:
    """What a nook's models answer over HTTP."""

    def __init__(self, nook: Watch, rules: Rules) -> None:
        self._nook = nook
        self._rules = rules
        self._models = (completions.MODEL, encoder.SPACE, *nook.models)

    async def models(self, _: Request) -> Response:
        """All models."""
        return JSONResponse({"object": "list", "data": [_card(name) for name in self._models]})

    async def model(self, request: Request) -> Response:
        """One model."""
        name = request.path_params["name"]
        return JSONResponse(_card(name)) if name in self._models else refused(_unknown(name, self._models))

    def answers(self, handle: Callable[[Request, dict[str, Any]], Awaitable[Response]]) -> Endpoint:
        """An endpoint: the body is read and checked, errors have OpenAI's shape, and who leaves stops the work."""

        async def endpoint(request: Request) -> Response:
            try:
                body = await _body(request)
                return await handle(request, body)
            except NookError as error:
                return refused(error)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as error:
                log.exception("%s failed", request.url.path)
                told = session.failed(error)
                return refused(NookError(told.code, told.message, told.hint))

        return endpoint

    async def chat(self, request: Request, body: dict[str, Any]) -> Response:
        """A completion, or the events of its stream."""
        _named(body, completions.MODEL, *self._nook.models)
        model = "" if body["model"] == completions.MODEL else body["model"]
        app = f"http {request.client.host if request.client else ''}"
        asked = replace(completions.request(body), app=app, model=model)
        counted = completions.counted(body)
        work = Work(self._nook, asked, self._rules.waiting, self._rules.patience)
        if not body.get("stream"):
            return JSONResponse(completions.whole(await _unless_gone(request.receive, work.all()), asked))
        first = await _unless_gone(request.receive, work.next())  # what fails now has a status of its own
        return Stream(work, _lines(work, first, completions.Chunks(asked, counted)))

    async def embeddings(self, request: Request, body: dict[str, Any]) -> Response:
        """Vectors of texts."""
        _named(body, encoder.SPACE)
        texts = _inputs(body)
        form = body.get("encoding_format", "float")
        if form not in ("float", "base64") or body.get("dimensions", encoder.DIMENSIONS) != encoder.DIMENSIONS:
            hint = f"There are {encoder.DIMENSIONS} dimensions, as float or base64."
            raise NookError("request", "The request cannot be answered: vectors have another form here.", hint)
        vectors, tokens = await _unless_gone(request.receive, self._nook.aembed(texts))
        rows = [_packed(row) if form == "base64" else row.tolist() for row in vectors]
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": encoder.SPACE, "usage": usage})


class Work:
    """A request's flow in a task of its own, which goes no further ahead of its reader than `waiting` events."""

    def __init__(self, nook: Watch, request: wire.Request, waiting: int, patience: float) -> None:
        self._events: asyncio.Queue[wire.Event | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._most, self._patience = waiting, patience
        self._task = asyncio.create_task(self._run(nook, request))

    async def next(self) -> wire.Event | None:
        """The next event, None after the last. Raises what the flow raised."""
        try:
            event = await self._events.get()
        except asyncio.CancelledError:
            self.stop()
            raise
        if self._events.qsize() < self._most:
            self._room.set()
        if event is None:
            await self._task
        return event

    async def all(self) -> list[wire.Event]:
        """Every event."""
        found = []
        while event := await self.next():
            found.append(event)
        return found

    def stop(self) -> None:
        """End the work where it waits."""
        self._task.cancel()

    async def _run(self, nook: Watch, request: wire.Request) -> None:
        def emit(event: object) -> None:
            if isinstance(event, wire.Event):
                self._events.put_nowait(event)
                if self._events.qsize() >= self._most:
                    self._room.clear()

        async def ready() -> None:
            if not self._room.is_set():
                try:
                    await asyncio.wait_for(self._room.wait(), self._patience)
                except TimeoutError:
                    raise NookError("slow", "The answer was not being read.", "Ask again.") from None

        try:
            await nook.astream(request, emit, ready)
        finally:
            self._events.put_nowait(None)


class Stream(StreamingResponse):
    """Server-sent events of a work that ends with them, whatever they end with."""

    def __init__(self, work: Work, lines: AsyncIterator[str]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _unless_gone(receive, self.stream_response(send))
        except ClientDisconnect:
            pass
        finally:
            self._work.stop()


async def _lines(work: Work, first: wire.Event | None, chunks: completions.Chunks) -> AsyncIterator[str]:
    """Server-sent events (HTML standard, 9.2), ended by OpenAI's [DONE]."""
    try:
        yield _line(chunks.begin())
        event = first
        while event is not None:
            if chunk := chunks.event(event):
                yield _line(chunk)
            event = await work.next()
        for chunk in chunks.end():
            yield _line(chunk)
        yield "data: [DONE]\n\n"
    except Exception as error:
        if not isinstance(error, NookError):
            log.exception("a stream failed")
        told = session.failed(error)
        yield _line(json.loads(bytes(refused(NookError(told.code, told.message, told.hint)).body)))


def _line(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to; it is cancelled when the client leaves. Raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        left = working.cancel()
    if left:
        raise ClientDisconnect
    return working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises NookError("too-large" | "request")."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > frames.LONGEST:
            raise NookError("too-large", "The request was too long.", "Send less at once.")
    try:
        body = parse(bytes(data))
    except ValueError as error:
        raise NookError("request", f"The request is not JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(body, dict):
        raise NookError("request", "The request is no JSON object.", "Send a JSON object.")
    return body


def _named(body: dict[str, Any], *known: str) -> None:
    """Raises NookError("no-model") unless the model of a request is one of those."""
    if body.get("model") not in known:
        raise _unknown(body.get("model"), known)


def _unknown(name: object, known: tuple[str, ...]) -> NookError:
    return NookError("no-model", f"There is no model {str(name)[:80]!r} for this.", f"There is {', '.join(known)}.")


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "inglenook"}


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= INPUTS or not all(isinstance(t, str) and t for t in texts):
        hint = "Send texts, not tokens: this server has a tokenizer of its own."
        raise NookError("request", f"The request cannot be answered: input is not 1 to {INPUTS} texts.", hint)
    return texts


def _packed(row: np.ndarray) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
