"""The drivers of a machine: effects become calls, or awaits for a server that answers many at once."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from inglenook.elastic.batch import MOST as TOGETHER
from inglenook.elastic.turns import Ticket, Turns
from inglenook.errors import NookError
from inglenook.flow import (
    Admit,
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
)
from inglenook.index.store import Change, Store
from inglenook.platform.lane import Lane, to_its_end
from inglenook.topics.cluster import Cluster, cluster

FILES = {
    "encoder": ("minilm-l6.nkm", "minilm-l6.vocab.txt"),
    "lm": ("smollm2-135m-instruct.nkm", "smollm2-135m-instruct.tokenizer.json"),
}


def models_folder() -> Path:
    """Where model artifacts lie: $INGLENOOK_MODELS, or static/models of a source tree, or the user's cache."""
    if folder := os.environ.get("INGLENOOK_MODELS"):
        return Path(folder)
    tree = Path(__file__).parents[4] / "static" / "models"
    return tree if tree.is_dir() else Path.home() / ".cache" / "inglenook" / "models"


class NativeEngine:
    """Performs effects on one store with the models of one folder.

    `lm` or $INGLENOOK_LM names an ONNX decoder to write with in place of the model there.
    """

    def __init__(
        self, store: Store, models: Path | None = None, turns: Turns | None = None, lm: Path | None = None
    ) -> None:
        self.store = store
        self.turns = turns or Turns()
        self._running = threading.Lock()
        self._folder = models or models_folder()
        self._lm = lm or os.environ.get("INGLENOOK_LM")
        self._lane = Lane(self.turns, 1 if self._lm else TOGETHER)
        self._loaded: dict[str, Loaded] = {}
        self._models: dict[str, Any] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def perform(self, effect: Effect, emit: Callable[[object], None]) -> Any:
        """Answer an effect, blocking."""
        match effect:
            case Get(keys):
                return self.store.get(keys)
            case Scan(prefix):
                return self.store.scan(prefix)
            case Change(puts, deletes, expect):
                return self.store.commit(puts, deletes, expect)
            case Commit(puts, deletes):
                return self.store.commit(puts, deletes)
            case Encode(tokens):
                return self._model("encoder").encode(tokens)
            case Admit(app, slo, tokens, since):
                ticket = self.turns.admit(app, slo, tokens, since)
                if ticket.queued:  # who blocks cannot wait for others
                    ticket.leave()
                    raise NookError("busy", "Too many answers are being written.", "Finish or close one of them.")
                return ticket
            case Forward() | Score():
                return self._timed(effect)
            case Copy(source, target):
                with self._running:
                    return self._model("lm").copy(source, target)
            case Load(model):
                return self._load(model)
            case Cluster(vectors, groups):
                return cluster(vectors, groups)
            case Measure():
                return Stored(self.store.size())
            case Hold():
                return lambda: None
            case Pause():
                return None
        raise TypeError(f"no driver for {effect}")

    async def aperform(self, effect: Effect, emit: Callable[[object], None]) -> Any:
        """Answer an effect without blocking the event loop; the kernels run outside the interpreter's lock."""
        match effect:
            case Admit(app, slo, tokens, since):
                return await self._lane.admit(app, slo, tokens, since, emit)
            case Forward() | Score() if effect.turn:
                return await self._lane.run(effect, lambda passes: asyncio.to_thread(self._together, passes))
            case Hold(what):
                lock = self._locks.setdefault(what, asyncio.Lock())
                await lock.acquire()
                return lock.release
            case Pause():
                return await asyncio.sleep(0)
            case Encode():
                kind = "encoder"
            case Forward() | Score() | Copy():
                kind = "lm"
            case Load(model):
                kind = model
            case Cluster():
                kind = "science"
            case _:
                kind = "store"
        async with self._locks.setdefault(f"run {kind}", asyncio.Lock()):
            return await _to_its_end(asyncio.to_thread(self.perform, effect, emit))

    def _timed(self, effect: Forward | Score) -> Any:
        """A pass for whoever blocks until it is done: it is always their turn."""
        ticket: Ticket | None = effect.turn
        if ticket is None:
            return self._run(effect)
        self.turns.ask(ticket, len(effect.tokens), effect.at, effect.level)
        self.turns.next()
        try:
            return self._run(effect)
        finally:
            self.turns.done(ticket)

    def _together(self, passes: Sequence[Any]) -> Sequence[Any]:
        if len(passes) == 1:
            return [self._run(passes[0])]
        with self._running:
            return self._model("lm").batch(passes)  # type: ignore[no-any-return]

    def _run(self, effect: Forward | Score) -> Any:
        model = self._model("lm")
        with self._running:
            if isinstance(effect, Score):
                return model.score(effect.tokens, effect.at, level=effect.level, pages=effect.pages)
            how: dict[str, Any] = {"level": effect.level, "pages": effect.pages, "each": effect.each}
            return model.forward(effect.tokens, effect.at, effect.top, allow=effect.allow, **how)

    def close(self) -> None:
        """Free the models and close the store."""
        for model in self._models.values():
            model.close()
        self._models.clear()
        self.store.close()

    def _load(self, model: str) -> Loaded:
        if model in ("pdf", "threads"):
            return Loaded(b"")
        self._model(model)
        device = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
        return dataclasses.replace(self._loaded[model], device=device if model == "lm" else "")

    def _model(self, model: str) -> Any:
        if model not in self._models:
            from inglenook.platform.native import lm, models

            if model == "lm" and self._lm:
                self._models[model], self._loaded[model] = lm.onnx(Path(self._lm))
            elif model == "lm":
                self._models[model], self._loaded[model] = lm.kernel(*map(self._file, FILES[model]))
            else:
                weights, vocabulary = map(self._file, FILES[model])
                self._models[model], self._loaded[model] = models.Encoder(weights), Loaded(vocabulary.read_bytes())
        return self._models[model]

    def _file(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            hint = (
                "Run `python3 build.py dev` once in the source tree, or set INGLENOOK_MODELS to the folder of models."
            )
            raise NookError("model-missing", f"The model file {name} is not on this machine.", hint)
        return path


async def _to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
    """What is cancelled while a thread works on it is over when the thread is done: it may write to pages or files that
    the next one is given."""
    task = asyncio.ensure_future(work)
    if await to_its_end(task):
        raise asyncio.CancelledError
    return task.result()
