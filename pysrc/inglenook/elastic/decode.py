"""Writing: a flow that asks for forward passes and hands out text, safe to stop at any point.

The prompt goes in pieces of `CHUNK` tokens, so that Stop and other answers wait for one piece at most; what the
key-value cache holds of it already is not computed again. Text comes out in whole characters, and never a part of a
stop string.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.elastic.cache import Cache, Session
from inglenook.elastic.passes import Passes
from inglenook.elastic.sample import Sampler
from inglenook.elastic.speculate import Speculator
from inglenook.elastic.tokenizer import Stream, Tokenizer
from inglenook.errors import NookError
from inglenook.flow import Candidates, Copy, Flow, Forward
from inglenook.wire.messages import Token

CHUNK = 64  # prompt tokens a forward pass
CONTEXT = 2048  # positions the drivers make room for; SmolLM2 was trained for 8192


@dataclass(slots=True)
class Generation:
    """What was written, and what it took.

    `ids` are the written tokens without the one that ended it. `stop` is "end" (the model ended), "length" (max_tokens
    or the context was reached) or "stop" (a stop string came). Of the `prompt_tokens` all but `prefilled` were found in
    the key-value cache; those took `prefill_ms`. `first_ms` is the time to the first token, `decode_ms` from there to
    the end.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    stop: str = "length"
    prompt_tokens: int = 0
    prefilled: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    first_ms: float = 0.0


def generate(
    prompt: list[int],
    tokenizer: Tokenizer,
    *,
    cache: Cache,
    max_tokens: int,
    sampler: Sampler,
    stop: Sequence[str] = (),
    context: int = CONTEXT,
    level: int = 0,
    turn: Any = None,
    speculator: Speculator | None = None,
) -> Flow:
    """Continue `prompt` at a level of the model. Effects: Copy, Forward. Events: Token. Returns a `Generation`.

    With a `speculator` several tokens may come from one pass; they are the same as without. `turn` is the request's
    ticket, which tells how large the prompt's pieces may be and is told how far it is. Stopped by an exception at any
    `yield`, it leaves the cache in order.

    Raises NookError("context") if the prompt leaves no room to write, NookError("prompt") if it is empty, and
    NookError("memory") where other answers use all of the cache.
    """
    if not prompt:
        raise NookError("prompt", "There is nothing to continue.", "Pass at least one token.")
    if len(prompt) >= context:
        raise NookError(
            "context", f"The prompt has {len(prompt)} tokens; the model reads {context - 1}.", "Ask with less text."
        )
    made, most = Generation(prompt_tokens=len(prompt)), min(max_tokens, context - len(prompt) + 1)
    if most <= 0:
        return made
    session = cache.open(level, prompt)
    try:
        yield from _write(made, session, prompt, _Writing(tokenizer, most, sampler, stop, turn, speculator))
    finally:
        session.close()
    return made


@dataclass(slots=True)
class _Writing:
    """What `generate` was asked for, once there is something to write."""

    tokenizer: Tokenizer
    most: int
    sampler: Sampler
    stop: Sequence[str]
    turn: Any
    speculator: Speculator | None


def _write(made: Generation, session: Session, prompt: list[int], how: _Writing) -> Flow:
    """Read the prompt, and write."""
    began = time.perf_counter()
    made.prefilled = len(prompt) - len(session.tokens)
    if session.copy:
        yield Copy(*session.copy)
    best = yield from _read(session, prompt, how.turn)
    made.prefill_ms = _since(began)
    text, stream, passes = _Held(how.stop), Stream(how.tokenizer), Passes(session, how.speculator, how.turn)
    while True:
        token = how.sampler.pick(best, made.ids)
        if not made.ids:
            made.first_ms = _since(began)
        if token in how.tokenizer.ends:
            made.stop = "end"
            break
        made.ids.append(token)
        piece = text.push(stream.push(token))
        if piece:
            yield Token(piece)
        if text.stopped:
            made.stop = "stop"
            break
        if len(made.ids) >= how.most:
            break
        if how.turn:
            how.turn.written = len(made.ids)
        best = yield from passes.after(token, how.most - len(made.ids))
    rest = text.flush()
    if rest:
        yield Token(rest)
    made.text = text.out
    made.decode_ms = _since(began) - made.first_ms


def _read(session: Session, tokens: list[int], turn: Any) -> Flow:
    """Bring the session to hold `tokens`, which begin with what it holds; returns the candidates after them."""
    best: Candidates | None = None
    while (at := len(session.tokens)) < len(tokens):
        piece = tokens[at : at + (turn.piece() if turn else CHUNK)]
        last = at + len(piece) == len(tokens)
        if turn:
            turn.left = len(tokens) - at - len(piece)
        session.reserve(at + len(piece))
        pages = tuple(session.pages)
        best = yield Forward(piece, at, level=session.level, pages=pages, each=int(last), turn=turn)
        session.wrote(at, piece)
    return best


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1e3


class _Held:
    """Text on its way out, held back while it may be the beginning of a stop string. `out` is what went out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.out = ""
        self.stopped = False
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def push(self, text: str) -> str:
        """What can go out now. After a stop string nothing does, and `stopped` is set."""
        if self.stopped:
            return ""
        held = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:  # the one that was complete first, whichever way the text was cut into tokens
            self.stopped = True
            return self._let(held, min(found)[1])
        return self._let(held, len(held) - self._partial(held))

    def flush(self) -> str:
        """At the end: what was held back after all."""
        return "" if self.stopped else self._let(self._held, len(self._held))

    def _let(self, held: str, size: int) -> str:
        ready, self._held = held[:size], held[size:]
        self.out += ready
        return ready

    def _partial(self, held: str) -> int:
        """Length of the longest end of `held` that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        sizes = range(min(longest, len(held)), 0, -1)
        return next((size for size in sizes if any(stop.startswith(held[-size:]) for stop in self._stops)), 0)
