"""The engine in the tab: messages from the page start flows, effects become promises."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Sequence
from typing import Any

import js
import numpy as np
from pyodide.ffi import JsException, create_proxy, to_js

from inglenook.errors import NookError
from inglenook.flow import (
    Candidates,
    Commit,
    Copy,
    Effect,
    Encode,
    Forward,
    Get,
    Hold,
    Load,
    Loaded,
    Measure,
    Pause,
    Scan,
    Score,
    Stored,
    adrive,
    eager,
)
from inglenook.index.store import Change
from inglenook.library import Library
from inglenook.platform.browser import threads
from inglenook.platform.browser.store import BrowserStore, everywhere
from inglenook.topics.cluster import Cluster, Clusters
from inglenook.wire import codec
from inglenook.wire import messages as wire

TOKENIZERS = {
    "encoder": "static/models/minilm-l6.vocab.txt",
    "lm": "static/models/smollm2-135m-instruct.tokenizer.json",
}


def start(send: Any, kernels: Any, assets: Any) -> Any:
    """Called by web/worker.js: `send(text, blobs)`, the `Kernels`, and `assets.fetch(path)`, `assets.loadPdf()`,
    `assets.cluster(vectors, width, groups, report, signal)`."""
    return create_proxy(Engine(send, kernels, assets))


class Engine:
    """One nook and the streams on it."""

    def __init__(self, send: Any, kernels: Any, assets: Any) -> None:
        self._send, self._kernels, self._assets = send, kernels, assets
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fresh: asyncio.Task[None] | None = None  # done when all that other tabs announced is read
        self._locks: dict[str, asyncio.Lock] = {}
        self._opened: asyncio.Event = asyncio.Event()
        self._tokenizers: dict[str, bytes] = {}
        self._last_pause = time.perf_counter()
        self.library = Library()
        self.store: BrowserStore | None = None

    def receive(self, text: str, blobs: Any) -> None:
        """A message from the page; never raises."""
        try:
            message, stream = codec.load(text, [blob.to_bytes() for blob in blobs])
        except NookError as error:
            stream = str(js.JSON.parse(text).id)
            self._post(wire.Failed(error.code, error.message, error.hint), stream)
            return
        if isinstance(message, wire.Cancel):
            task = self._tasks.get(message.stream)
            if task:
                task.cancel()
        elif isinstance(message, wire.Request):
            task = eager(self._run(message, stream))
            if not task.done():
                self._tasks[stream] = task

    async def _run(self, request: wire.Request, stream: str) -> None:
        end: wire.Event
        try:
            if isinstance(request, wire.Open):
                await self._open(request, stream)
            else:
                await self._opened.wait()
                if self._fresh:
                    await asyncio.shield(self._fresh)
                await self._drive(self.library.handle(request), stream)
            end = wire.Done()
        except asyncio.CancelledError:
            end = wire.Cancelled()
        except NookError as error:
            end = wire.Failed(error.code, error.message, error.hint)
        except Exception as error:  # a defect of ours: say so, keep the engine up
            js.console.error(traceback.format_exc())
            end = wire.Failed("internal", f"Something in the engine broke: {error}", "Please report this.")
        self._tasks.pop(stream, None)
        self._post(end, stream)

    async def _open(self, request: wire.Open, stream: str) -> None:
        if self.store is None:
            self.store = await BrowserStore.open(request.name)
            self.store.changes(self._changed, self._closed)
        await self._drive(self.library.open(request.name), stream)
        if not self._opened.is_set():
            self._opened.set()
            self._tasks[""] = asyncio.ensure_future(self._run(wire.Prepare("encoder"), ""))  # nobody waits for it

    def _changed(self, keys: list[str]) -> None:
        """Another tab wrote these pages; what is asked from now on waits until they are read."""
        self._fresh = asyncio.ensure_future(self._refresh(keys, self._fresh))

    def _closed(self) -> None:
        """The browser closed the database, perhaps with all that was in it: see what is still there."""
        self._changed([f"d/{document}" for document in self.library.entries])

    async def _refresh(self, keys: list[str], before: asyncio.Task[None] | None) -> None:
        """Read pages again, after those announced earlier. Lost storage is raised here and in all that waits for it."""
        await self._opened.wait()
        if before:
            await before
        try:
            await self._drive(self.library.refresh(keys), "")
        except Exception as error:  # one damaged document: the others go on
            if getattr(error, "code", "") == "storage-lost":
                raise
            js.console.error(traceback.format_exc())
        self._send('{"type": "Changed"}', to_js([]))  # no stream's: the page may ask for the list anew

    async def _drive(self, flow: Any, stream: str) -> None:
        def emit(event: object) -> None:
            assert isinstance(event, wire.Event)
            self._post(event, stream)

        async def perform(effect: Effect) -> Any:
            try:
                return await self._perform(effect, emit)
            except JsException as error:
                raise from_js(error) from None

        await adrive(flow, perform, emit)

    async def _perform(self, effect: Effect, emit: Any) -> Any:
        store = self.store
        assert store is not None
        match effect:
            case Get(keys):
                return await store.get(keys)
            case Scan(prefix):
                return await store.scan(prefix)
            case Change(puts, deletes, expect):
                return await store.commit(puts, deletes, expect)
            case Commit(puts, deletes):
                return await store.commit(puts, deletes)
            case Encode(tokens, urgent):
                lengths = np.fromiter(map(len, tokens), np.int32, len(tokens))
                flat = np.concatenate([np.asarray(t, np.int32) for t in tokens])
                vectors = self._kernels.encode(to_js(flat), to_js(lengths), urgent)
                if hasattr(vectors, "then"):  # otherwise it is there already, and waiting would cost a turn
                    vectors = await vectors
                return np.frombuffer(vectors.to_bytes(), np.float32).reshape(len(tokens), -1)
            case Forward(tokens, at, top):
                allow = to_js(np.frombuffer(effect.allow, np.uint8)) if effect.allow is not None else None
                how = _options(level=effect.level, pages=_ints(effect.pages), each=effect.each, allow=allow)
                return _candidates(await self._kernels.forward(_ints(tokens), at, top, how), effect.each)
            case Score(tokens, at):
                how = _options(level=effect.level, pages=_ints(effect.pages))
                scores = await self._kernels.score(_ints(tokens), at, how)
                return np.frombuffer(scores.to_bytes(), np.float32)
            case Copy(source, target):
                return await self._kernels.copy(source, target)
            case Load(model):
                return await self._load(model, emit)
            case Cluster(vectors, groups):
                return await self._cluster(vectors, groups, emit)
            case Measure():
                return Stored(await store.size(), store.status == "stored", store.reason)
            case Hold(what):
                lock = self._locks.setdefault(what, asyncio.Lock())
                await lock.acquire()
                if what.startswith("index/"):  # it lies in storage, which tabs share
                    return await everywhere(store, what, lock.release)
                return lock.release
            case Pause():
                # Yielding to the event loop costs about a millisecond: only after some work was done.
                if time.perf_counter() - self._last_pause > 0.008:
                    await asyncio.sleep(0)
                    self._last_pause = time.perf_counter()
                return None
        raise TypeError(f"no driver for {effect}")

    async def _load(self, model: str, emit: Any) -> Loaded:
        if model == "pdf":
            await self._assets.loadPdf()
            return Loaded(b"")
        if model == "threads":
            await threads.ready()
            return Loaded(b"")
        if self._kernels.state(model) != "ready":

            def progress(done: float, total: float, *_: object) -> None:
                emit(wire.Progress("load", float(done), float(total), "bytes", model))

            abort, report = js.AbortController.new(), create_proxy(progress)
            try:
                await self._kernels.load(model, _options(onProgress=report, signal=abort.signal))
            except asyncio.CancelledError:
                abort.abort()
                raise
            finally:
                report.destroy()
        if model not in self._tokenizers:
            self._tokenizers[model] = (await self._assets.fetch(TOKENIZERS[model])).to_bytes()
        info = self._kernels.info.get(model)
        if model != "lm" or info is None:  # it may have died meanwhile: whoever runs it hears of it
            return Loaded(self._tokenizers[model])
        config = json.loads(js.JSON.stringify(info.config))
        return Loaded(self._tokenizers[model], config, info.pages, info.context, info.instance)

    async def _cluster(self, vectors: Any, groups: int, emit: Any) -> Clusters:
        """In a worker of its own, which ends with the work or when it is stopped."""
        abort = js.AbortController.new()

        def progress(done: float, total: float) -> None:
            emit(wire.Progress("load", float(done), float(total), "bytes", "science"))

        report = create_proxy(progress)
        try:
            flat, width = to_js(vectors.reshape(-1)), vectors.shape[1]
            made = await self._assets.cluster(flat, width, groups, report, abort.signal)
        except asyncio.CancelledError:
            abort.abort()
            raise
        finally:
            report.destroy()
        rows = [np.frombuffer(part.to_bytes(), np.float32).reshape(-1, vectors.shape[1]) for part in made]
        return Clusters(*rows)

    def _post(self, event: wire.Event, stream: str) -> None:
        if stream:
            text, blobs = codec.dump(event, stream)
            self._send(text, to_js([to_js(blob) for blob in blobs]))


def _options(**values: Any) -> Any:
    """A JavaScript object."""
    return js.Object.fromEntries(to_js([[name, value] for name, value in values.items() if value is not None]))


def _ints(values: Sequence[int]) -> Any:
    return to_js(np.asarray(values, np.int32))


def _candidates(best: Any, each: int) -> Candidates:
    ids = np.frombuffer(best.ids.to_bytes(), np.int32)
    logits, totals = (np.frombuffer(part.to_bytes(), np.float32) for part in (best.logits, best.totals))
    if each == 1:
        return Candidates(ids, logits, float(totals[0]))
    shape = (each, len(ids) // max(1, each))  # none are asked for inside a prompt
    return Candidates(ids.reshape(shape), logits.reshape(shape), totals)


def from_js(error: Any) -> Exception:
    """A JavaScript error as one of ours: `code` and `hint` are kept, AbortError is a cancellation."""
    if getattr(error, "name", "") == "AbortError":
        return asyncio.CancelledError()  # type: ignore[return-value]
    code = getattr(error, "code", None)
    hint = getattr(error, "hint", "")
    return NookError(code if isinstance(code, str) else "browser", str(error.message), hint or "")
