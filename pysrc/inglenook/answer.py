"""Answering: the passage that answers best leads, what the model writes follows, citations are matched to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from inglenook import clock, pace
from inglenook.elastic import chat as chats
from inglenook.elastic import decode, plan, squeeze
from inglenook.elastic.grammar import Mask
from inglenook.elastic.latency import Latency
from inglenook.elastic.plan import Choice, Place, Plan, Prompt
from inglenook.elastic.sample import Sampler
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.elastic.tools import Asked, called
from inglenook.elastic.turns import Ticket
from inglenook.errors import NookError
from inglenook.find import find
from inglenook.flow import Admit, Flow
from inglenook.library import Library
from inglenook.search import cite, prompt
from inglenook.search.lead import Answer
from inglenook.types import Hit, Span
from inglenook.wire import messages as wire

BUDGET = 640  # prompt tokens when no latency is asked for
PARAGRAPH = "\n\n"  # an answer is one paragraph: what a small model adds after it is rarely true
EXPECTED = 48  # tokens of an answer, for the plan
WHOLE = Plan(0, 0, 1.0, 0.0, 0.0)  # where nothing was measured and no latency asked for


def ask(library: Library, request: wire.Ask) -> Flow:
    """Answer a question. Events: Hits; Passage or NoSource; Token, Citation; Timing. Raises NookError("slo" | …)."""
    plan.check(request.slo)
    started = clock.now()
    found: wire.Hits = yield from find(library, request.question, request.k, request.filter)
    yield found
    search_ms = clock.since(started)
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
    asked = wire.Write(
        request.question, _lead_first(found.hits, leads),
        [wire.Lead(hit.document, start, end) for hit, start, end, _ in leads],
        request.max_tokens, request.temperature, request.seed, request.slo, request.app, search_ms=search_ms,
    )  # fmt: skip
    yield from _write(library, asked, started, pace.server(request) if request.server else None)


def write(library: Library, request: wire.Write) -> Flow:
    """Write an answer over passages found elsewhere. Events: Token, Citation; Timing. Raises NookError("slo" | …)."""
    plan.check(request.slo)
    _own(request.model)
    if not 0 <= request.spent_ms < math.inf:
        raise NookError("request", f"{request.spent_ms} ms cannot have gone by.", "Tell the milliseconds since.")
    yield from _write(library, request, clock.now() - request.spent_ms / 1e3)


def _write(library: Library, request: wire.Write, started: float, server: Place | None = None) -> Flow:
    """Write the answer, or have it written by the `server`. Events: Token, Citation; Timing. Or Placed."""
    writing = yield from _begin(library, request, request.max_tokens + BUDGET, started)
    try:
        budget = min(BUDGET, library.model.loaded.context * 3 // 4)
        whole = prompt.build(request.question, request.hits, writing.tokenizer, budget=budget)
        known = writing.known(whole.ids, whole.fixed, min(EXPECTED, request.max_tokens))
        choice = writing.choose(known, server=server, must=request.must)
        if server and choice.place == server.name:
            spent = clock.since(started) + server.delay
            there = replace(request, hits=request.hits[: prompt.MOST], spent_ms=spent, away_ms=server.delay)
            yield wire.Placed(choice.place, choice.reason, there, choice.plan.first_ms)
            return
        asked = (yield from _shortened(writing, request, known)) or whole
        sampler = Sampler(request.temperature, 1.0, request.seed)
        made = yield from writing.write(asked.ids, request.max_tokens, sampler, (PARAGRAPH,))
    finally:
        writing.ticket.leave()
    for span, hit, source, score in cite.support(made.text, asked.hits):
        yield wire.Citation(span.start, span.end, hit, source, score)
    yield writing.timing(made)
    yield from pace.learn(library, writing.ticket, writing.plan.level)


def _shortened(writing: _Writing, request: wire.Write, known: Prompt) -> Flow:
    """As much of the prompt as is in time, squeezed to the pieces that matter, or cut where nothing tells which those
    are; None where all of it is. Effects: Encode. Returns a `prompt.Prompt` or None."""
    question, hits, tokenizer = request.question, request.hits, writing.tokenizer
    wordpiece = writing.library.tokenizers.get("encoder")
    if wordpiece and writing.squeezing(known):
        cited = [(lead.document, Span(lead.start, lead.end)) for lead in request.leads]
        began = clock.now()
        read = yield from squeeze.read(question, hits[: prompt.MOST], tokenizer, wordpiece, cited)
        writing.squeezed(read, clock.since(began))
        with suppress(NookError):  # it took longer than it should: the plan of before will have to do
            writing.choose(known, read=read)
        if writing.plan.kept < known.tokens:
            asked = prompt.squeezed(question, read, tokenizer, budget=writing.plan.kept)
            if asked.hits:  # else not even one piece fits
                return asked
    if writing.plan.kept < known.tokens:
        return prompt.build(question, hits, tokenizer, budget=writing.plan.kept)
    return None


def chat(library: Library, request: wire.Chat) -> Flow:
    """The bare model. Events: Token or Called, Timing. Raises NookError("slo" | "context" | "no-model" | …)."""
    plan.check(request.slo)
    _own(request.model)
    started = clock.now()
    asked = Asked.of(request)
    tokenizer = yield from library.tokenizer("lm")
    context = library.model.loaded.context
    ids, whole = chats.fitted(asked.messages, tokenizer, context, request.max_tokens, request.truncate)
    writing = yield from _begin(library, request, request.max_tokens + len(ids), started)
    try:
        writing.choose(writing.known(ids, len(ids), min(EXPECTED, request.max_tokens)), request.level)
        writing.whole = whole
        sampler = Sampler(request.temperature, request.top_p, request.seed)
        mask = Mask(asked.grammar, tokenizer) if asked.grammar else None
        how = {"mask": mask, "aside": asked.aside, "free": asked.free, "logprobs": request.logprobs}
        made = yield from writing.write(ids, request.max_tokens, sampler, tuple(request.stop), **how)
    finally:
        writing.ticket.leave()
    if calls := called(made.aside):
        yield wire.Called(calls)
    yield writing.timing(made)
    yield from pace.learn(library, writing.ticket, writing.plan.level)


def _own(model: str) -> None:
    """Raises NookError("no-model") for another model than this one."""
    if model.lower() not in ("", pace.NAME.lower()):
        hint = f"This is {pace.NAME}; a server may have others."
        raise NookError("no-model", f"There is no model {model[:80]!r} here.", hint)


def _begin(library: Library, request: wire.Write | wire.Chat, tokens: int, started: float) -> Flow:
    """Load the model, measure it where a latency is asked for, and come to it. Returns a `_Writing`."""
    begun = clock.now()
    tokenizer = yield from library.tokenizer("lm")
    if request.slo != wire.Slo():
        yield from pace.measured(library)
    load_ms, queued = clock.since(begun), clock.now()
    ticket = yield Admit(request.app, request.slo, tokens, started)
    before = request if isinstance(request, wire.Write) else wire.Write()
    return _Writing(library, tokenizer, ticket, started, before, load_ms, clock.since(queued))


@dataclass(slots=True)
class _Writing:
    """What one request does with the model, from its turn on."""

    library: Library
    tokenizer: Tokenizer
    ticket: Ticket
    started: float
    before: wire.Write  # tells what its time went to before it came here
    load_ms: float
    queue_ms: float
    plan: Plan = WHOLE
    whole: int = 0
    squeeze_ms: float = 0.0
    before_ms: float = 0.0

    def known(self, ids: list[int], fixed: int, answer: int) -> Prompt:
        """What the planner has to know of a whole prompt, of which `fixed` tokens must stay, and of an answer of about
        so many."""
        self.whole = len(ids)
        latency, cache = self.library.model.latency, self.library.model.cache
        return Prompt(len(ids), fixed, [cache.known(i, ids) for i in latency.levels] if latency else (), answer)

    def choose(
        self, asked: Prompt, level: int | None = None, *, read: squeeze.Read | None = None,
        server: Place | None = None, must: bool = False,
    ) -> Choice:  # fmt: skip
        """Plan: here, with what was `read` of the passages if they were, or by the `server`; a `level` that is given is
        no choice. Raises NookError("slo") unless it `must` be answered, and NookError("level")."""
        model, ticket = self.library.model, self.ticket
        latency = model.latency
        if level is not None and level >= len(model.levels):
            known = f"Name one of 0 to {len(model.levels) - 1}."
            raise NookError("level", f"The model has no level {level}.", known)
        if latency is None or level is not None:
            self.plan = replace(WHOLE, kept=asked.tokens, level=level or 0)
            return Choice(self.library.where, self.plan)
        here = self._here(latency, asked, read)
        there = [replace(server, delay=server.delay + here.delay)] if server else []
        try:
            choice = plan.where(ticket.slo, asked, [here, *there])
        except NookError:
            if not must:
                raise
            choice = Choice(here.name, plan.fastest(ticket.slo, asked, here))
        chosen = self.plan = choice.plan
        ticket.price = lambda tokens, at: (
            latency.prefill(chosen.level, tokens, at) if tokens > 1 else latency.decode(chosen.level, at)
        )
        return choice

    def squeezing(self, asked: Prompt) -> bool:
        """Whether it pays to read the passages, so as to squeeze the prompt."""
        latency = self.library.model.latency
        return latency is not None and plan.pays(self.ticket.slo, asked, self._here(latency, asked))

    def squeezed(self, read: squeeze.Read, ms: float) -> None:
        """The passages were read in so many milliseconds."""
        self.squeeze_ms = ms
        if latency := self.library.model.latency:
            latency.squeezed(read.tokens, ms)

    def _here(self, latency: Latency, asked: Prompt, read: squeeze.Read | None = None) -> Place:
        """This engine as it is now."""
        model, ticket = self.library.model, self.ticket
        # Loading and measuring come once: they are no reason to refuse. Such an answer is late, and says so.
        begun = self.started + self.load_ms / 1e3
        due = begun + (ticket.slo.first or math.inf) / 1e3
        load, gone = ticket.turns.load(due, ticket), clock.since(begun)
        if read is None:
            return Place(self.library.where, latency, model.quality, load, gone, latency.squeeze)
        quality = read.quality(model.quality, [level.ratio for level in model.levels], asked)
        return Place(self.library.where, latency, quality, load, gone)

    def write(self, ids: list[int], most: int, sampler: Sampler, stop: tuple[str, ...], **how: Any) -> Flow:
        """Run the plan. Events: Token. Returns a `decode.Generation`."""
        model = self.library.model
        self.before_ms = clock.since(self.started)
        return (yield from decode.generate(
            ids, self.tokenizer, cache=model.cache, max_tokens=most, sampler=sampler, stop=stop,
            context=model.loaded.context, level=self.plan.level, turn=self.ticket, speculator=model.speculator, **how,
        ))  # fmt: skip

    def timing(self, made: decode.Generation) -> wire.Timing:
        """Where the time went. An answer of one token has no time per token."""
        slo, first = self.ticket.slo, self.before_ms + made.first_ms
        per_token = made.decode_ms / max(1, len(made.ids) - 1)
        return wire.Timing(
            search_ms=self.before.search_ms,
            load_ms=self.load_ms,
            queue_ms=self.queue_ms,
            away_ms=self.before.away_ms,
            squeeze_ms=self.squeeze_ms,
            prefill_ms=made.prefill_ms,
            decode_ms=made.decode_ms,
            first_ms=first,
            token_ms=per_token,
            prompt_tokens=made.prompt_tokens,
            whole_tokens=self.whole,
            tokens=len(made.ids),
            slo=slo,
            met=plan.met(slo, first, per_token),
            level=self.plan.level,
            ratio=self.library.model.levels[self.plan.level].ratio,
            model=pace.NAME,
            where=self.library.where,
            stop=made.stop,
        )


def _lead_first(hits: Sequence[Hit], leads: Sequence[Answer]) -> list[Hit]:
    """The passages the lead was taken from, then the others."""
    first = [hit for hit, *_ in leads]
    return list({(h.document, h.chunk): h for h in [*first, *hits]}.values())
