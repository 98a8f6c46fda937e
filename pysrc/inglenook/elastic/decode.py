"""Writing: a flow that asks for forward passes and hands out text, safe to stop at any point.

The prompt goes in pieces of `CHUNK` tokens, so that Stop and other answers wait for one piece at most; what the
key-value cache holds of it already is not computed again. Text comes out in whole characters, and never a part of a
stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook import clock
from inglenook.elastic.cache import Cache, Session
from inglenook.elastic.grammar import Mask
from inglenook.elastic.passes import Passes
from inglenook.elastic.sample import Sampler
from inglenook.elastic.speculate import Speculator
from inglenook.elastic.tokenizer import Stream, Tokenizer
from inglenook.errors import NookError
from inglenook.flow import Candidates, Copy, Flow, Forward
from inglenook.wire.messages import Likely, Logprob, Token

CHUNK = 64  # prompt tokens a forward pass
LEAST = -9999.0  # a log-probability that JSON can hold, for what has none
CONTEXT = 2048  # positions the drivers make room for; SmolLM2 was trained for 8192


@dataclass(slots=True)
class Generation:
    """What was written, and what it took.

    `text` came as Token, unless it is `aside`. `ids` are the written tokens without the one that ended it. `stop` is
    "end" (the model ended), "length" (max_tokens or the context was reached) or "stop" (a stop string came). Of the
    `prompt_tokens` all but `prefilled` were found in the key-value cache; those took `prefill_ms`. `first_ms` is the
    time to the first token, `decode_ms` from there to the end.
    """

    text: str = ""
    aside: str = ""
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
    mask: Mask | None = None,
    aside: str = "",
    free: bool = False,
    logprobs: int | None = None,
) -> Flow:
    """Continue `prompt` at a level of the model. Effects: Copy, Forward. Events: Token. Returns a `Generation`.

    With a `speculator` several tokens may come from one pass; they are the same as without. `turn` is the request's
    ticket, which tells how large the prompt's pieces may be and is told how far it is. Stopped by an exception at any
    `yield`, it leaves the cache in order.

    What is written is a text of the `mask`'s grammar, or the beginning of one if `stop` is not "end" then. Text that
    begins with `aside` does not come as Token but as `Generation.aside`; with `free`, all other text is free. With
    `logprobs`, Token tells of its tokens and as many alternatives for each. With a mask nothing is drafted, and the
    sampler's guard against loops sees free text only: in a list of equal numbers, runs that come again are meant.

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
    how = _Writing(tokenizer, most, sampler, stop, turn, speculator, mask, aside, free, logprobs)
    session = cache.open(level, prompt)
    try:
        yield from _write(made, session, prompt, how)
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
    mask: Mask | None
    aside: str
    free: bool
    logprobs: int | None

    def allow(self) -> bytes | None:
        """The tokens that may come next."""
        return None if self.mask is None else self.mask.allow()

    def loops(self, text: Held) -> bool:
        """Whether a run that comes again would be a loop: not where a grammar may have meant it."""
        return self.mask is None or (self.free and text.out != "")


def _write(made: Generation, session: Session, prompt: list[int], how: _Writing) -> Flow:
    """Read the prompt, and write."""
    began = clock.now()
    made.prefilled = len(prompt) - len(session.tokens)
    if session.copy:
        yield Copy(*session.copy)
        session.copied()
    best = yield from _read(session, prompt, how.turn, how.allow())
    session.share()
    made.prefill_ms = clock.since(began)
    text, stream, told = Held(how.stop, how.aside), Stream(how.tokenizer), _Told(how)
    passes = Passes(session, how.speculator, how.turn)
    while True:
        token = how.sampler.pick(best, made.ids if how.loops(text) else ())
        if not made.ids:
            made.first_ms = clock.since(began)
        if token in how.tokenizer.ends:
            made.stop = "end"
            break
        made.ids.append(token)
        told.add(token, best)
        if how.mask:
            how.mask.advance(token)
        piece = text.push(stream.push(token))
        if piece:
            yield Token(piece, told.of(piece))
        if text.stopped:
            made.stop = "stop"
            break
        if how.mask and how.mask.over:
            made.stop = "end"
            break
        if len(made.ids) >= how.most:
            break
        if how.turn:
            how.turn.written = len(made.ids)
        if how.mask:
            best = yield from _read(session, [*session.tokens, token], how.turn, how.allow())
        else:
            best = yield from passes.after(token, how.most - len(made.ids))
    rest = text.flush()
    if rest:
        yield Token(rest, told.of(rest))
    made.text, made.aside = text.out, text.aside
    made.decode_ms = clock.since(began) - made.first_ms


def _read(session: Session, tokens: list[int], turn: Any, allow: bytes | None) -> Flow:
    """Bring the session to hold `tokens`, which begin with what it holds; returns the candidates after them."""
    best: Candidates | None = None
    while (at := len(session.tokens)) < len(tokens):
        piece = tokens[at : at + (turn.piece() if turn else CHUNK)]
        last = at + len(piece) == len(tokens)
        if turn:
            turn.left = len(tokens) - at - len(piece)
        session.reserve(at + len(piece))
        pages = tuple(session.pages)
        allowed = allow if last else None
        best = yield Forward(piece, at, level=session.level, pages=pages, each=int(last), allow=allowed, turn=turn)
        session.wrote(at, piece)
    return best


class _Told:
    """The log-probabilities of written tokens, kept until their text goes out."""

    def __init__(self, how: _Writing) -> None:
        self._tokenizer, self._top = how.tokenizer, how.logprobs
        self._waiting: list[tuple[int, Logprob]] = []  # where in the text, in bytes, a token begins
        self._size = self._out = 0

    def add(self, token: int, best: Candidates) -> None:
        """One more token was written, chosen from `best`."""
        if self._top is None or self._tokenizer.is_special(token):
            return
        own, *odds = [self._likely(best, i) for i in ([*best.ids].index(token), *range(min(self._top, len(best.ids))))]
        self._waiting.append((self._size, Logprob(own.token, own.codes, own.logprob, odds)))
        self._size += len(own.codes)

    def of(self, piece: str) -> list[Logprob]:
        """Those whose text begins in this piece, which goes out now."""
        if self._top is None:
            return []
        self._out += len(piece.encode())
        gone = [told for at, told in self._waiting if at < self._out]
        self._waiting = self._waiting[len(gone) :]
        return gone

    def _likely(self, best: Candidates, index: int) -> Likely:
        data = self._tokenizer.piece(int(best.ids[index]))
        logprob = float(best.logits[index] - best.total)
        return Likely(data.decode("utf-8", "replace"), [*data], max(logprob, LEAST))


class Held:
    """Text on its way out, held back while it may be the beginning of a stop string. `out` is what went out.

    Text that begins with `beside` is held back to the end; then it is `aside`.
    """

    def __init__(self, stops: Sequence[str], beside: str) -> None:
        self.out = self.aside = ""
        self._beside = beside
        self.stopped = False
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def push(self, text: str) -> str:
        """What can go out now. After a stop string nothing does, and `stopped` is set."""
        if self.stopped:
            return ""
        held = self._held + text
        if self._beside and self._beside.startswith(held[: len(self._beside)]):
            self._held = held
            return ""
        self._beside = ""
        found = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:  # the one that was complete first, whichever way the text was cut into tokens
            self.stopped = True
            return self._let(held, min(found)[1])
        return self._let(held, len(held) - self._partial(held))

    def flush(self) -> str:
        """At the end: what was held back after all."""
        if self._beside and self._held.startswith(self._beside):
            self.aside = self._held
            return ""
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
