"""How fast the language model is here: measured when it matters for the first time, kept for the next start, told to
whoever asks, and what the planner makes of it."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

from inglenook import clock
from inglenook.elastic import squeeze
from inglenook.elastic.cache import PAGE
from inglenook.elastic.latency import Cost, Latency, Run
from inglenook.elastic.plan import Load as Busy
from inglenook.elastic.plan import Place, Prompt, Quality, where
from inglenook.elastic.turns import Ticket
from inglenook.embed.tokenizer import WordPiece
from inglenook.errors import NookError
from inglenook.flow import Admit, Commit, Flow, Forward, Get, Hold
from inglenook.index import pages
from inglenook.library import Library
from inglenook.types import Hit
from inglenook.wire import messages as wire

KEY = f"{pages.DEVICE}latency"
NAME = "SmolLM2-135M-Instruct"
PROMPT = 256  # tokens of the prompt that a ladder's times are told for
FAR, NEAR = ((16, 0), (64, 16), (64, 80), (64, 144)), ((16, 0), (64, 16))
"""Passes of the probe, (tokens, at): over many positions for the whole model, over few for its parts."""
STEPS = 4  # tokens that are written one by one, at the far end and for the whole model at the near one
TRIES = 2  # each pass of the probe; the faster counts, for others may have been at work
LONGEST = 3.0  # seconds after which nothing is tried again
PASSAGE = (
    "The first thing a visitor saw of the house was its chimney, which the mason had set so far to one side that it "
    "seemed to lean on the pear tree. Nobody knew why. Inside, the fire lit a bench, a shelf of ledgers, and a window "
    "that looked out on the river; in March, when the ice broke, the whole room shook. The ledgers went back to 1764."
)
"""What is read, as passages are before a prompt is squeezed, to see how long that takes."""
KEEP = 8  # answers after which the corrected latency is kept again


def levels(library: Library, request: wire.Levels) -> Flow:
    """Answer a Levels. Events: Progress, Ladder."""
    yield from library.tokenizer("lm")
    latency = yield from known(library)
    if request.measure:
        latency = yield from measured(library, anew=True)
    yield wire.Ladder(ladder(library, latency), latency is not None, NAME, library.where)


def plan(library: Library, request: wire.Plan) -> Flow:
    """Answer a Plan. Events: Progress, Planned. Raises NookError("slo")."""
    yield from library.tokenizer("lm")
    latency = yield from measured(library)
    here = Place(library.where, latency, library.model.quality, squeeze_ms=latency.squeeze)
    places = [here, *([server(request)] if request.server else [])]
    fixed = min(request.fixed, request.tokens)
    choice = where(request.slo, Prompt(max(1, request.tokens), fixed), places)
    found, chosen = choice.place, choice.plan
    told = library.model.levels if found == here.name else request.server
    yield wire.Planned(
        found, chosen.level, told[chosen.level].ratio, chosen.kept, chosen.quality, chosen.first_ms, chosen.token_ms,
        choice.reason,
    )  # fmt: skip


def server(request: wire.Plan | wire.Ask) -> Place:
    """The server of a request. Raises NookError("slo") if its levels tell no times."""
    if any(len(level.cost) != len(Cost.__dataclass_fields__) for level in request.server):
        raise NookError("slo", "The server did not tell how fast it is.", "Ask it for its levels, measured.")
    costs = [Cost(*level.cost) for level in request.server]
    quality = Quality((1.0,), [(level.quality,) for level in request.server])
    return Place("server", Latency(costs), quality, Busy(), request.delay_ms)


def ladder(library: Library, latency: Latency | None) -> list[wire.Level]:
    """The levels as they are told."""
    quality = library.model.quality
    told = [wire.Level(one.ratio, one.perplexity, quality.expect(i, 1.0)) for i, one in enumerate(library.model.levels)]
    if latency is None:
        return told
    costs = map(latency.current, latency.levels)
    return [
        replace(one, cost=list(astuple(cost)), first_ms=cost.prefill(PROMPT), token_ms=cost.decode(PROMPT))
        for one, cost in zip(told, costs)
    ]


def known(library: Library) -> Flow:
    """The latency of this device, None if it was never measured."""
    model = library.model
    if model.latency is None:
        [page] = yield Get([KEY])
        try:
            model.latency = Latency.load(pages.unseal(page), model.device) if page else None
        except NookError:  # damaged: it is measured again
            model.latency = None
    return model.latency


def measured(library: Library, anew: bool = False) -> Flow:
    """The latency of this device; the first one who needs it waits for the probe, and so do those who come meanwhile.

    Events: Progress.
    """
    latency = yield from known(library)
    if latency is None or anew:
        release = yield Hold("measure")
        try:
            if library.model.latency is latency:  # nobody else has measured it meanwhile
                library.model.latency = yield from probe(library)
                yield from keep(library)
        finally:
            release()
    latency, wordpiece = library.model.latency, library.tokenizers.get("encoder")
    if latency and wordpiece and not latency.passage:
        latency.passage = yield from glance(library, wordpiece)
        yield from keep(library)
    return latency


def probe(library: Library) -> Flow:
    """Measure every level by a few passes. Events: Progress."""
    model = library.model
    tokens = PROMPT - 16 + STEPS
    began = clock.now()
    ticket: Ticket = yield Admit("", wire.Slo(), 0, began)
    taken: list[int] = []
    try:
        taken += (model.cache.take() for _ in range(-(-tokens // PAGE)))
        costs: list[Cost] = []
        whole = max(1, sum(model.levels[0].groups))
        for i, level in enumerate(model.levels):
            yield wire.Progress("measure", i, len(model.levels), "level")
            passes = [*FAR, *((1, 208 + n) for n in range(STEPS)), *((1, 16 + n) for n in range(STEPS))]
            if i:
                passes = [*NEAR, *((1, 80 + n) for n in range(STEPS))]
            yield Forward([1] * 16, 0, 1, level=i, pages=taken, turn=ticket)  # what is used for the first time is slow
            fastest: dict[tuple[int, int], float] = {}
            for count, at in [one for one in passes for _ in range(TRIES)]:
                if (count, at) in fastest and clock.now() - began > LONGEST:
                    continue
                yield Forward([1 + (at + n) % 16 for n in range(count)], at, 1, level=i, pages=taken, turn=ticket)
                fastest[count, at] = min(fastest.get((count, at), math.inf), max(ticket.runs[-1].ms, 1e-3))
            runs = [Run(count, at, ms) for (count, at), ms in fastest.items()]
            costs.append(Cost.fit(runs, costs[0], sum(level.groups) / whole) if i else Cost.fit(runs))
        yield wire.Progress("measure", len(model.levels), len(model.levels), "level")
    finally:
        for page in taken:
            model.cache.give(page)
        ticket.leave()
    return Latency(costs, model.device)


def glance(library: Library, wordpiece: WordPiece) -> Flow:
    """Read a passage as `squeeze` does, and see how many milliseconds that takes for each of its tokens."""
    hit = Hit("", 0, "", "", "", "text", 0, len(PASSAGE), None, "", PASSAGE, 1.0)
    fastest = math.inf
    for _ in range(TRIES):
        began = clock.now()
        read = yield from squeeze.read("When did the ice break?", [hit], library.tokenizers["lm"], wordpiece)
        fastest = min(fastest, max(clock.since(began), 1e-3) / read.tokens)
    return fastest


def keep(library: Library) -> Flow:
    """Keep the latency for the next start; that it cannot be kept is no reason to fail."""
    latency = library.model.latency
    if latency:
        library.model.answers = 0
        try:
            yield Commit({KEY: pages.seal(latency.dump())}, [])
        except NookError:
            pass


def learn(library: Library, ticket: Ticket, level: int) -> Flow:
    """Correct the latency by what an answer took."""
    model = library.model
    if model.latency:
        model.latency.learn(level, ticket.runs)
        model.answers += 1
        if model.answers >= KEEP:
            yield from keep(library)
