"""The engine in the tab: one for all nooks of a page and its frames; effects become promises."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import js
import numpy as np
from pyodide.ffi import JsException, create_proxy, to_js

from inglenook.elastic import selfcheck
from inglenook.elastic.batch import MOST as TOGETHER
from inglenook.elastic.batch import Batch, answers
from inglenook.elastic.resident import Resident
from inglenook.elastic.turns import App, Turns
from inglenook.errors import NookError
from inglenook.flow import (
    Admit,
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
)
from inglenook.index.store import Change
from inglenook.platform.browser import threads
from inglenook.platform.browser.line import Line, Opened
from inglenook.platform.browser.store import everywhere
from inglenook.platform.lane import Lane
from inglenook.topics.cluster import Cluster, Clusters
from inglenook.wire import messages as wire

if TYPE_CHECKING:
    from inglenook.platform.browser.foreign import ForeignModel  # most pages have none

TOKENIZERS = {
    "encoder": "static/models/minilm-l6.vocab.txt",
    "lm": "static/models/smollm2-135m-instruct.tokenizer.json",
}
CHECK = "static/models/smollm2-135m-instruct.check.json"
RULES = {"workbench": App(weight=0.05, open=6, reading=1)}
"""Who takes turns otherwise than by equal shares: what runs for hours gives way to whoever waits for an answer. It has
many requests at once, which write together, and of which each finds what the one before has read."""


def start(kernels: Any, assets: Any) -> Any:
    """Called by web/worker.js: the `Kernels`, and `assets.fetch(path)`, `assets.loadPdf()`,
    `assets.cluster(vectors, width, groups, report, signal)`. Users of the engine `join` it."""
    return create_proxy(Engine(kernels, assets))


class Engine:
    """The models, and the nooks that are open; these share the models."""

    def __init__(self, kernels: Any, assets: Any) -> None:
        self._kernels, self._assets = kernels, assets
        self._lane = Lane(Turns(RULES), TOGETHER)
        self._locks: dict[str, asyncio.Lock] = {}
        self._tokenizers: dict[str, bytes] = {}
        self._right: set[int] = set()  # instances of the language model whose first logits were right
        self._foreign: ForeignModel | None = None  # what writes in place of the kernel
        self._last_pause = time.perf_counter()
        self.model = Resident()
        self.nooks: dict[str, Opened] = {}

    def join(self, send: Any) -> Any:
        """A line for one more user, who hears by `send(text, blobs)`; it has `receive(text, blobs)` and `leave()`."""
        return create_proxy(Line(self, send))

    def write_with(self, model: str) -> None:
        """Let the ONNX decoder at a URL write. All nooks share one model, so the first one that is named stays."""
        if self._foreign is None:
            from inglenook.platform.browser.foreign import ForeignModel

            self._foreign = ForeignModel(model)
            self._lane.together = 1

    async def drive(self, flow: Any, emit: Callable[[object], None], nook: Opened, line: Line | None = None) -> None:
        """Run a flow of a nook, for one of its lines."""

        async def perform(effect: Effect) -> Any:
            try:
                return await self._perform(effect, emit, nook, line)
            except JsException as error:
                raise from_js(error) from None

        await adrive(flow, perform, emit)

    async def _perform(self, effect: Effect, emit: Any, nook: Opened, line: Line | None) -> Any:
        store = nook.store
        assert store is not None
        match effect:
            case Get(keys):
                return await store.get(keys)
            case Scan(prefix):
                return await store.scan(prefix)
            case Commit(puts, deletes):
                expect = effect.expect if isinstance(effect, Change) else None
                await store.commit(puts, deletes, expect)
                nook.tell(but=line)
                return None
            case Encode(tokens, urgent):
                lengths = np.fromiter(map(len, tokens), np.int32, len(tokens))
                flat = np.concatenate([np.asarray(t, np.int32) for t in tokens])
                vectors = self._kernels.encode(to_js(flat), to_js(lengths), urgent)
                if hasattr(vectors, "then"):  # otherwise it is there already, and waiting would cost a turn
                    vectors = await vectors
                return np.frombuffer(vectors.to_bytes(), np.float32).reshape(len(tokens), -1)
            case Admit(app, slo, tokens, since):
                return await self._lane.admit(app, slo, tokens, since, emit)
            case Forward() | Score():
                return await (self._lane.run(effect, self._together) if effect.turn else self._run(effect))
            case Copy() if self._foreign:
                return await self._foreign.perform(effect)
            case Copy(source, target):
                return await self._kernels.copy(source, target)
            case Load(model):
                return await self._load(model, emit)
            case Cluster(vectors, groups):
                return await self._cluster(vectors, groups, emit)
            case Measure():
                return Stored(await store.size(), store.status == "stored", store.reason)
            case Hold(what):
                lock = self._locks.setdefault(
                    f"{nook.name} {what}" if what.startswith("index/") else what, asyncio.Lock()
                )
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

    async def _run(self, effect: Forward | Score) -> Any:
        """A pass of the language model."""
        if self._foreign:
            return await self._foreign.perform(effect)
        if isinstance(effect, Score):
            how = options(level=effect.level, pages=ints(effect.pages))
            scores = await self._kernels.score(ints(effect.tokens), effect.at, how)
            return np.frombuffer(scores.to_bytes(), np.float32)
        allow = to_js(np.frombuffer(effect.allow, np.uint8)) if effect.allow is not None else None
        how = options(level=effect.level, pages=ints(effect.pages), each=effect.each, allow=allow)
        return candidates(await self._kernels.forward(ints(effect.tokens), effect.at, effect.top, how), effect.each)

    async def _together(self, passes: Sequence[Any]) -> Sequence[Any]:
        if len(passes) == 1:
            return [await self._run(passes[0])]
        asked = Batch.of(passes)
        how = options(**{
            name: to_js(value.reshape(-1)) if isinstance(value, np.ndarray) else value
            for name, value in vars(asked).items()
        })  # fmt: skip
        return answers(candidates(await self._kernels.batch(how), len(passes)))

    async def _load(self, model: str, emit: Any) -> Loaded:
        if model == "pdf":
            await self._assets.loadPdf()
            return Loaded(b"")
        if model == "threads":
            await threads.ready()
            return Loaded(b"")

        def progress(done: float, total: float, *_: object) -> None:
            emit(wire.Progress("load", float(done), float(total), "bytes", model))

        if model == "lm" and self._foreign:
            return await self._foreign.load(progress)
        if self._kernels.state(model) != "ready":
            abort, report = js.AbortController.new(), create_proxy(progress)
            try:
                await self._kernels.load(model, options(onProgress=report, signal=abort.signal))
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
        if not await self._computes_rightly(info.instance):
            return await self._load(model, emit)
        config = json.loads(js.JSON.stringify(info.config))
        device = f"{info.build} {info.threads} of {js.navigator.hardwareConcurrency}"
        return Loaded(self._tokenizers[model], config, info.pages, info.context, info.instance, device)

    async def _computes_rightly(self, instance: int) -> bool:
        """Hold the first logits of an instance against the reference. False where it was ended for being wrong and the
        next load takes another build; raises NookError("backend") where there is none."""
        async with self._locks.setdefault("check", asyncio.Lock()):
            if instance in self._right:
                return True
            reference = (await self._assets.fetch(CHECK)).to_bytes()
            try:
                await adrive(selfcheck.flow(reference), self._run, lambda event: None)  # type: ignore[arg-type]
            except NookError as error:
                if error.code != "backend" or not self._kernels.distrust():
                    raise
                js.console.warn(f"{error} Another build is taken.")
                return False
            self._right.add(instance)
            return True

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


def options(**values: Any) -> Any:
    """A JavaScript object."""
    return js.Object.fromEntries(to_js([[name, value] for name, value in values.items() if value is not None]))


def ints(values: Sequence[int]) -> Any:
    """An Int32Array."""
    return to_js(np.asarray(values, np.int32))


def candidates(best: Any, each: int) -> Candidates:
    """What a kernel in JavaScript found, as `Forward` is answered."""
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
