"""Answering: the passage that answers best leads, what the model writes follows, citations are matched to it."""

from __future__ import annotations

import math
import time
from typing import Any

from inglenook.elastic import chat as chats
from inglenook.elastic import decode
from inglenook.elastic.grammar import Mask
from inglenook.elastic.sample import Sampler
from inglenook.elastic.tools import Asked, called
from inglenook.find import find
from inglenook.flow import Flow
from inglenook.library import Library
from inglenook.search import cite, prompt
from inglenook.wire import messages as wire

BUDGET = 640  # prompt tokens when no latency is asked for
PARAGRAPH = "\n\n"  # an answer is one paragraph: what a small model adds after it is rarely true
SMALLEST = 256  # below this a prompt holds no passage worth reading


def ask(library: Library, request: wire.Ask) -> Flow:
    """Answer a question. Events: Hits; Passage or NoSource; Token, Citation; Timing."""
    started = time.perf_counter()
    found: wire.Hits = yield from find(library, request.question, request.k, request.filter)
    yield found
    search_ms = (time.perf_counter() - started) * 1e3
    total = sum(entry.card.chunks for entry in library.entries.values())
    if not cite.answerable(request.question, found.hits, total, "vector" in found.arms):
        yield wire.NoSource(found.hits[:3])
        yield wire.Timing(search_ms=search_ms, where=library.where, stop="no-source")
        return
    leads = yield from cite.lead(request.question, found.hits, library.tokenizers.get("encoder"))
    for hit, start, end, score in leads:
        yield wire.Passage(hit, start, end, hit.text[start - hit.start : end - hit.start], score)
    if not request.write:
        yield wire.Timing(search_ms=search_ms, where=library.where)
        return
    begun = time.perf_counter()
    tokenizer = yield from library.tokenizer("lm")
    loaded = time.perf_counter()
    budget = _budget(library, request.slo, (loaded - started) * 1e3)
    asked = prompt.build(request.question, _lead_first(found.hits, leads), tokenizer, budget=budget)
    sampler = Sampler(request.temperature, 1.0, request.seed)
    made = yield from _generate(library, asked.ids, request.max_tokens, sampler, (PARAGRAPH,))
    for span, hit, source, score in cite.support(made.text, asked.hits):
        yield wire.Citation(span.start, span.end, hit, source, score)
    waited, before = (loaded - begun) * 1e3, (loaded - started) * 1e3
    yield _timing(library, made, request.slo, before_ms=before, load_ms=waited, search_ms=search_ms)


def chat(library: Library, request: wire.Chat) -> Flow:
    """The bare model. Events: Token or Called, Timing."""
    started = time.perf_counter()
    asked = Asked.of(request)
    tokenizer = yield from library.tokenizer("lm")
    loaded = time.perf_counter()
    ids = chats.encode(asked.messages, tokenizer)
    sampler = Sampler(request.temperature, request.top_p, request.seed)
    mask = Mask(asked.grammar, tokenizer) if asked.grammar else None
    made = yield from _generate(
        library, ids, request.max_tokens, sampler, tuple(request.stop),
        mask=mask, aside=asked.aside, logprobs=request.logprobs,
    )  # fmt: skip
    if calls := called(made.aside):
        yield wire.Called(calls)
    waited = (loaded - started) * 1e3
    yield _timing(library, made, request.slo, before_ms=waited, load_ms=waited)


def _generate(library: Library, ids: list[int], most: int, sampler: Sampler, stop: tuple[str, ...], **how: Any) -> Flow:
    tokenizer, context = library.tokenizers["lm"], library.lm.context
    made = yield from decode.generate(
        ids, tokenizer, cache=library.cache, max_tokens=most, sampler=sampler, stop=stop, context=context,
        speculator=library.speculator, **how,
    )  # fmt: skip
    if made.prefilled >= 32:
        library.prefill_rate = made.prefill_ms / made.prefilled
    return made


def _budget(library: Library, slo: wire.Slo, spent_ms: float) -> int:
    """Prompt tokens that leave the first token in time, by the prefill rate seen last on this device."""
    most = min(BUDGET, library.lm.context * 3 // 4)
    if not slo.first or not library.prefill_rate:
        return most
    return max(SMALLEST, min(most, int((slo.first - spent_ms) / library.prefill_rate)))


def _lead_first(hits: list[Any], leads: list[Any]) -> list[Any]:
    """The passages the lead was taken from, then the others."""
    first = [hit for hit, *_ in leads]
    return list({(h.document, h.chunk): h for h in [*first, *hits]}.values())


def _timing(
    library: Library,
    made: decode.Generation,
    slo: wire.Slo,
    *,
    before_ms: float,
    load_ms: float,
    search_ms: float = 0.0,
) -> wire.Timing:
    """`before_ms` passed from the request to the model's start, of which `load_ms` was waiting for the model."""
    first = before_ms + made.first_ms
    per_token = made.decode_ms / max(1, len(made.ids) - 1)
    met = None
    if slo.first or slo.token:
        met = first <= (slo.first or math.inf) and per_token <= (slo.token or math.inf)
    return wire.Timing(
        search_ms=search_ms,
        load_ms=load_ms,
        prefill_ms=made.prefill_ms,
        decode_ms=made.decode_ms,
        first_ms=first,
        prompt_tokens=made.prompt_tokens,
        tokens=len(made.ids),
        met=met,
        model="SmolLM2-135M-Instruct",
        where=library.where,
        stop=made.stop,
    )
