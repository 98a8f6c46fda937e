"""The models of a fleet as the gateway asks them: chats, and answers over passages, as events like those of a nook.

A request that names one of them is written by its worker, token by token; text, the ends of answers and latencies are
made here. Who leaves closes the stream, and the request is out of the batch at the next iteration.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from inglenook import clock
from inglenook.answer import BUDGET, PARAGRAPH
from inglenook.elastic import chat as chats
from inglenook.elastic import plan
from inglenook.elastic.decode import Held
from inglenook.elastic.tokenizer import Stream, Tokenizer
from inglenook.elastic.tools import Asked
from inglenook.errors import NookError
from inglenook.fleet.iteration import Sampling
from inglenook.fleet.serving import Serving
from inglenook.nook import Worker
from inglenook.search import cite, prompt
from inglenook.wire import messages as wire

Emit = Callable[[object], None]
Before = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a model is to do: its `prompt`, and the texts that end the answer. `whole` tokens there would have been."""

    prompt: list[int]
    whole: int
    stop: tuple[str, ...]
    top_p: float = 1.0


class Fleet:
    """A fleet that is up, with its models' `tokenizers`."""

    def __init__(self, serving: Serving, tokenizers: Mapping[str, Tokenizer]) -> None:
        self._serving, self._tokenizers = serving, tokenizers

    @property
    def models(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._tokenizers)

    def workers(self) -> list[Worker]:
        """Every model on its worker."""
        return [
            Worker(name, row.model, row.running, row.queued, row.used, row.pages, row.state)
            for name, row in self._serving.rows()
        ]

    async def astream(self, request: wire.Chat | wire.Write, emit: Emit, before: Before) -> None:
        """As `Nook.astream`, for requests that name a model of the fleet. Events: Token, Citation, Timing."""
        plan.check(request.slo)
        began = clock.now()
        known = self._tokenizers[request.model]
        context = self._serving.services[request.model].context
        if isinstance(request, wire.Chat):
            _, timing = await self._write(request, _chat(request, known, context), began, emit, before)
            emit(timing)
            return
        asked = prompt.build(request.question, request.hits, known, budget=min(BUDGET, context * 3 // 4))
        task = _Task(asked.ids, len(asked.ids), (PARAGRAPH,))
        text, timing = await self._write(request, task, began - request.spent_ms / 1e3, emit, before)
        for span, hit, source, score in cite.support(text, asked.hits):
            emit(wire.Citation(span.start, span.end, hit, source, score))
        emit(timing)

    async def _write(
        self, request: wire.Chat | wire.Write, task: _Task, began: float, emit: Emit, before: Before
    ) -> tuple[str, wire.Timing]:
        """Write: Token events, and then the whole text and where the time went."""
        name, known = request.model, self._tokenizers[request.model]
        most = min(request.max_tokens, self._serving.services[name].context - len(task.prompt))
        way = Sampling(request.temperature, task.top_p, request.seed % (1 << 64))
        text, stream = Held(task.stop, ""), Stream(known)
        written, first_ms, stop = 0, 0.0, "length"
        tokens = self._serving.generate(name, task.prompt, most=most, stops=known.ends, sampling=way)
        async with aclosing(tokens):
            async for token in tokens:
                first_ms = first_ms or clock.since(began)
                if token in known.ends:
                    stop = "end"
                    break
                written += 1
                if token < len(known) and (piece := text.push(stream.push(token))):  # some vocabularies are padded
                    emit(wire.Token(piece))
                if text.stopped:
                    stop = "stop"
                    break
                await before()
        if rest := text.flush():
            emit(wire.Token(rest))
        decode_ms = clock.since(began) - first_ms
        per_token = decode_ms / max(1, written - 1)
        slo = request.slo if request.slo != wire.Slo() else self._serving.models[name].slo
        gone = request if isinstance(request, wire.Write) else wire.Write()
        return text.out, wire.Timing(
            search_ms=gone.search_ms, away_ms=gone.away_ms, decode_ms=decode_ms, first_ms=first_ms,
            token_ms=per_token, prompt_tokens=len(task.prompt), whole_tokens=task.whole, tokens=written, slo=slo,
            met=plan.met(slo, first_ms, per_token), model=name, where="server", stop=stop,
        )  # fmt: skip


def _chat(request: wire.Chat, known: Tokenizer, context: int) -> _Task:
    """What a chat's model is to do. Raises NookError("request" | "context" | "role" | …)."""
    asked = Asked.of(request)
    if asked.grammar or request.logprobs is not None or request.level is not None:
        hint = "Leave out response_format, regex, tools, logprobs and level, or ask the server's own model."
        raise NookError("request", f"{request.model} cannot be held to that.", hint)
    ids, whole = chats.fitted(asked.messages, known, context, request.max_tokens, request.truncate)
    if not ids or len(ids) >= context:
        message = f"The prompt has {len(ids):,} tokens; {request.model} reads 1 to {context - 1:,}."
        raise NookError("context", message, "Ask with less text.")
    return _Task(ids, whole, tuple(request.stop), request.top_p)
