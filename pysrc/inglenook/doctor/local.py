"""Our own engine under examination: the flows of `library` and `elastic.decode`, over any model, in one thread.

Passes of several requests take turns as `elastic.turns` says, so what is asked at once interleaves the same way every
time. Switches change one thing each: that is how a cause is found.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import inglenook
from inglenook import completions
from inglenook.doctor import asks
from inglenook.doctor.asks import Ask, Written
from inglenook.doctor.engine import API, FILES, INSIDE, TOKENS, Hang
from inglenook.elastic import chat as chats
from inglenook.elastic import decode
from inglenook.elastic.cache import PAGE, Cache, Session
from inglenook.elastic.sample import Sampler
from inglenook.elastic.speculate import Speculator
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.elastic.turns import Ticket, Turns
from inglenook.errors import NookError
from inglenook.flow import Admit, Commit, Copy, Effect, Flow, Forward, Get, Hold, Load, Pause, Score, drive
from inglenook.index.store import MemoryStore
from inglenook.library import Library
from inglenook.types import Json
from inglenook.wire import messages as wire

if TYPE_CHECKING:
    from inglenook.doctor.kits import Kit

OWN = frozenset(
    {"no prefix cache", "one chunk", "no KV cache", "batch 1", "fresh engine", "no drafts", "eager drafts"}
)  # fmt: skip


class _Whole(Turns):
    """Prompts in one piece."""

    def piece(self, ticket: Ticket) -> int:
        return 1 << 30


class _Forgetful(Cache):
    """Nothing is found again."""

    def open(self, level: int, tokens: Sequence[int]) -> Session:
        return super().open(level, tokens[:1])


@dataclass(eq=False, slots=True)
class _Job:
    """One request on its way."""

    ask: asks.Write | asks.Chat
    flow: Flow
    effect: Any = None
    events: list[Any] = field(default_factory=list)
    result: Any = None
    turns: list[int] = field(default_factory=list)
    placed: bool = False  # its pass is known to the turns
    over: bool = False


class Local:
    """An engine made of a kit."""

    tiers = frozenset({FILES, API, TOKENS, INSIDE})

    def __init__(self, kit: Kit, switches: Sequence[str] = ()) -> None:
        self.kit, self._on = kit, frozenset(switches)
        self.name, self.switches = kit.name, kit.switches | OWN
        self._start()

    @property
    def damages(self) -> Mapping[str, tuple[str, ...]]:
        return self.kit.damages

    def switched(self, switches: Sequence[str]) -> Local:
        return Local(self.kit, switches)

    def close(self) -> None:
        self._model.close()

    def answer(self, ask: Ask) -> Any:
        if "fresh engine" in self._on:
            self.close()
            self._start()
        match ask:
            case asks.Properties():
                return self._properties()
            case asks.Tokenize(text, special):
                return self._tokenizer().encode(text, special)
            case asks.Detokenize(ids):
                return self._tokenizer().decode(ids)
            case asks.Template(messages):
                return chats.encode(messages, self._tokenizer())
            case asks.Logits(ids, piece):
                return self._logits(list(ids), piece)
            case asks.Odds(ids):
                self._tokenizer()
                return self._alone(lambda: self._pass(Score(list(ids), 0, pages=range(-(-len(ids) // PAGE)))))
            case asks.Write() | asks.Chat():
                [found] = self._together([ask])
                if isinstance(found, NookError):
                    raise found
                return found
            case asks.Together(parts):
                if "batch 1" in self._on:
                    return [found for part in parts for found in self._together([part])]
                return self._together(parts)
            case asks.Trace(ids):
                if not hasattr(self._model, "traced"):
                    raise NookError("no-trace", "This model does not let one look at its operations.", "")
                return self._model.traced(list(ids))
            case asks.Layer(ids, layer):
                if not hasattr(self.kit, "single"):
                    raise NookError("no-trace", "This model cannot be had with one layer only.", "")
                with self.kit.single(layer) as one:
                    engine = Local(one, sorted(self._on & one.switches))
                    try:
                        return engine.answer(asks.Logits(ids))
                    finally:
                        engine.close()
            case asks.State(traced):
                return self._state(traced)
            case asks.Load(damage):
                return Local(self.kit.damaged(damage))._tokenizer() and None
        raise TypeError(ask)

    def _start(self) -> None:
        self._model, self._loaded = self.kit.open(self._on)
        self._library = Library("machine")
        self._turns = _Whole() if "one chunk" in self._on else Turns()
        self._store = MemoryStore()
        self._held: dict[int, list[int]] = {}  # the tokens that pages were last given
        self._passes = self._ran = 0

    # ── what it is ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tokenizer(self) -> Tokenizer:
        known: list[Tokenizer] = []

        def flow() -> Flow:
            known.append((yield from self._library.tokenizer("lm")))

        list(drive(flow(), self._perform))
        self._prepare()
        return known[0]

    def _prepare(self) -> None:
        """The switches that change what a library keeps of its model."""
        model, loaded = self._library.model, self._loaded
        if "no prefix cache" in self._on and not isinstance(model.cache, _Forgetful):
            model.cache = _Forgetful(loaded.pages)
        if "no drafts" in self._on:
            model.speculator = None  # type: ignore[assignment]
        if "eager drafts" in self._on and model.speculator:
            model.speculator = Speculator(model.speculator.level)
            for tokens, seconds in ((1, 1.0), (2, 1.01)):  # a draft costs next to nothing
                model.speculator.passed(tokens, seconds)

    def _properties(self) -> Json:
        tokenizer, model = self._tokenizer(), self._library.model
        config: Any = model.loaded.config
        names = ("layers", "width", "hidden", "heads", "kv_heads", "vocabulary", "theta", "epsilon")
        told: Any = {name: config[name] for name in names if name in config}
        told |= {
            "name": self.name, "version": inglenook.__version__, "backend": self.kit.backend,
            "activations": self.kit.activations, "context": model.loaded.context, "pages": model.loaded.pages,
            "page": PAGE, "tokens": len(tokenizer), "ends": sorted(tokenizer.ends), "levels": len(model.levels),
            "specials": dict(tokenizer.specials), "template": tokenizer.template,
        }  # fmt: skip
        found: Json = json.loads(json.dumps(told))
        return found

    def _state(self, traced: bool) -> dict[str, int]:
        self._tokenizer()
        cache, turns = self._library.model.cache, self._turns
        told = {"free": cache.free, "pages": cache.pages, "passes": self._passes, "ran": self._ran}
        told |= {"open": len(turns.tickets), "running": int(turns.running is not None)}
        if not traced:
            tracemalloc.stop()
            return told
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        gc.collect()
        return told | {"bytes": tracemalloc.get_traced_memory()[0]}

    def _logits(self, ids: list[int], piece: int) -> np.ndarray:
        vocabulary = int(str(self._loaded.config["vocabulary"]))
        out = np.full((len(ids), vocabulary), np.nan, np.float32)
        pages = range(-(-len(ids) // PAGE))

        def run() -> np.ndarray:
            for at in range(0, len(ids), piece):
                part = ids[at : at + piece]
                found = self._pass(Forward(part, at, vocabulary, pages=pages, each=len(part)))
                for i in range(len(part)):
                    row = found.row(i)
                    out[at + i, row.ids] = row.logits
            return out

        return self._alone(run)

    def _alone(self, run: Callable[[], np.ndarray]) -> np.ndarray:
        """Passes on the first pages; what stood there does not any more."""
        try:
            return run()
        finally:
            self._library.model.cache.forget()
            self._library.model.cache = Cache(self._loaded.pages)
            self._prepare()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _together(self, parts: Sequence[asks.Write | asks.Chat]) -> list[Any]:
        """Run requests at once; what each gave, or the NookError it ended with."""
        self._tokenizer()
        results: list[_Job | NookError] = []
        for part in parts:
            try:
                flow = self._write(part) if isinstance(part, asks.Write) else self._library.handle(_chat(part))
                results.append(_Job(part, flow))
            except NookError as error:
                results.append(error)
        jobs = [job for job in results if isinstance(job, _Job)]
        for job in jobs:
            self._advance(job, None)
        limit = 64 + sum(_most(part) for part in parts)
        before = self._passes
        while any(not job.over for job in jobs):
            if self._passes - before > limit:
                raise Hang(f"It goes on after {limit} passes.")
            if not self._step([job for job in jobs if not job.over]):
                raise Hang("Nobody's turn comes.")
        return [self._made(found) if isinstance(found, _Job) else found for found in results]

    def _step(self, jobs: Sequence[_Job]) -> bool:
        """Do what can be done; whether that was anything."""
        moved = False
        for job in jobs:
            effect = job.effect
            if job.over or job.placed:
                continue
            if isinstance(effect, Ticket):
                if not effect.queued:
                    self._advance(job, effect)
                    moved = True
            elif isinstance(effect, Forward | Score) and effect.turn:
                self._turns.ask(effect.turn, len(effect.tokens), effect.at, effect.level)
                job.placed = moved = True
            else:
                self._perform_for(job)
                moved = True
        ticket = self._turns.next()
        job = next((job for job in jobs if job.placed and job.effect.turn is ticket), None)  # type: ignore[assignment]
        if ticket and job:
            job.placed = False
            self._perform_for(job, ticket)
            moved = True
        return moved

    def _perform_for(self, job: _Job, ticket: Ticket | None = None) -> None:
        try:
            if isinstance(job.effect, Forward | Score):
                job.turns.append(self._passes)
                if len(job.turns) == job.ask.dies:
                    raise NookError("worker-died", "The language model stopped working.", "Try again.")
            answer = self._perform(job.effect, job.events.append)
        except NookError as error:
            answer = error
        finally:
            if ticket:
                self._turns.done(ticket)
        if isinstance(answer, Ticket) and answer.queued:
            job.effect = answer
        else:
            self._advance(job, answer)

    def _advance(self, job: _Job, answer: Any) -> None:
        """Take a request on to its next effect; an error that is an answer is thrown into its flow."""
        try:
            item = job.flow.throw(answer) if isinstance(answer, NookError) else job.flow.send(answer)
            while not isinstance(item, Effect):
                job.events.append(item)
                pieces = sum(isinstance(event, wire.Token) for event in job.events)
                if job.ask.leaves and pieces >= job.ask.leaves:
                    job.over = True
                    job.flow.close()
                    return
                item = job.flow.send(None)
            job.effect = item
        except StopIteration as end:
            job.over, job.result = True, end.value
        except NookError as error:
            job.over, job.result = True, error

    def _write(self, ask: asks.Write) -> Flow:
        tokenizer = yield from self._library.tokenizer("lm")
        model = self._library.model
        ticket: Ticket = yield Admit("", wire.Slo(), len(ask.ids) + ask.max_tokens, time.perf_counter())
        try:
            return (yield from decode.generate(
                list(ask.ids), tokenizer, cache=model.cache, max_tokens=ask.max_tokens,
                sampler=Sampler(ask.temperature, ask.top_p, ask.seed), stop=ask.stop, context=model.loaded.context,
                turn=ticket, speculator=model.speculator, logprobs=ask.logprobs,
            ))  # fmt: skip
        finally:
            ticket.leave()

    def _made(self, job: _Job) -> Any:
        if isinstance(job.result, NookError):
            return job.result
        if isinstance(job.ask, asks.Write):
            tokens = [event for event in job.events if isinstance(event, wire.Token)]
            made = job.result or decode.Generation()
            told = [
                (bytes(one.codes), one.logprob, [(bytes(other.codes), other.logprob) for other in one.top])
                for token in tokens for one in token.logprobs
            ]  # fmt: skip
            times = {name: getattr(made, name) for name in ("first_ms", "prefill_ms", "decode_ms")}
            pieces = [token.text for token in tokens]
            stop = made.stop if job.result else "left"
            return Written(
                made.text, made.ids, stop, pieces, made.prompt_tokens, made.prefilled, told, times, job.turns
            )
        asked, body = _chat(job.ask), job.ask.body
        events = [event for event in job.events if isinstance(event, wire.Event)]
        if not body.get("stream"):
            return completions.whole(events, asked)
        options: Any = body.get("stream_options") or {}
        return list(completions.chunks(events, asked, bool(options.get("include_usage"))))

    # ── effects ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effect: Effect, emit: Callable[[object], None]) -> Any:
        match effect:
            case Load("lm"):
                return self._loaded
            case Admit(app, slo, tokens, since):
                return self._turns.admit(app, slo, tokens, since)
            case Forward() | Score():
                return self._pass(effect)
            case Copy(source, target):
                self._held[target] = list(self._held.get(source, []))
                return self._model.copy(source, target)
            case Get(keys):
                return self._store.get(keys)
            case Commit(puts, deletes):
                return self._store.commit(puts, deletes)
            case Hold():
                return lambda: None
            case Pause():
                return None
        raise TypeError(f"no driver for {effect}")

    def _pass(self, effect: Forward | Score) -> Any:
        self._passes += 1
        tokens, at = effect.tokens, effect.at
        if "no KV cache" in self._on and not isinstance(effect, Score):
            held = [token for page in effect.pages for token in (self._held.get(page, []) + [0] * PAGE)[:PAGE]]
            tokens, at = held[:at] + tokens, 0
        self._ran += len(tokens)
        for position, token in enumerate(tokens, at):
            page = self._held.setdefault(effect.pages[position // PAGE], []) if len(effect.pages) else []
            page[position % PAGE :] = [token]
        if isinstance(effect, Score):
            return self._model.score(tokens, at, level=effect.level, pages=effect.pages)
        how: dict[str, Any] = {"level": effect.level, "pages": effect.pages, "each": effect.each}
        return self._model.forward(tokens, at, effect.top, allow=effect.allow, **how)


def _chat(ask: asks.Chat) -> wire.Chat:
    return completions.request(ask.body)


def _most(part: asks.Write | asks.Chat) -> int:
    """Passes that a request may take at most."""
    told: Any = part.max_tokens if isinstance(part, asks.Write) else part.body.get("max_tokens", 256)
    return 4 * told if isinstance(told, int) and told > 0 else 0
