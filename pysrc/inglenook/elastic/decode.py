"""Writing: a flow that asks for forward passes and hands out text, safe to stop at any point.

The prompt goes in pieces of `CHUNK` tokens, so that Stop waits for one piece at most; what the key-value cache holds of
it already is not computed again. Text comes out in whole characters, and never a part of a stop string.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from inglenook.elastic.sample import Sampler
from inglenook.elastic.tokenizer import Stream, Tokenizer
from inglenook.errors import NookError
from inglenook.flow import Candidates, Flow, Forward
from inglenook.wire.messages import Token

CHUNK = 64  # prompt tokens a forward pass
CONTEXT = 2048  # positions the drivers make room for; SmolLM2 was trained for 8192


@dataclass(slots=True)
class Generation:
    """What was written, and what it took.

    `ids` are the written tokens without the one that ended it; `cached` what the key-value cache holds now. `stop` is
    "end" (the model ended), "length" (max_tokens or the context was reached) or "stop" (a stop string came).
    `prefilled` of the `prompt_tokens` had to be computed, in `prefill_ms`; `first_ms` is the time to the first token,
    `decode_ms` from there to the end.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)
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
    max_tokens: int,
    sampler: Sampler,
    stop: Sequence[str] = (),
    cached: list[int] | None = None,
    context: int = CONTEXT,
) -> Flow:
    """Continue `prompt`. Effects: Forward. Events: Token. Returns a `Generation`.

    `cached` is what the key-value cache holds. The list is kept true in place, also when the flow is stopped by an
    exception at a `yield`, so the next call may always be given the same list.

    Raises NookError("context") if the prompt leaves no room to write, and NookError("prompt") if it is empty.
    """
    if not prompt:
        raise NookError("prompt", "There is nothing to continue.", "Pass at least one token.")
    if len(prompt) >= context:
        raise NookError(
            "context", f"The prompt has {len(prompt)} tokens; the model reads {context - 1}.", "Ask with less text."
        )
    cached = [] if cached is None else cached
    made = Generation(cached=cached, prompt_tokens=len(prompt))
    if max_tokens <= 0:
        return made
    began = time.perf_counter()
    kept = min(_common(prompt, cached), len(prompt) - 1)  # one token at least must run, for its candidates
    made.prefilled = len(prompt) - kept
    best = yield from _forward(prompt, kept, cached)
    made.prefill_ms = _since(began)
    text, stream = _Held(stop), Stream(tokenizer)
    while True:
        token = sampler.pick(best, made.ids)
        if not made.ids:
            made.first_ms = _since(began)
        if token in tokenizer.ends:
            made.stop = "end"
            break
        made.ids.append(token)
        piece = text.push(stream.push(token))
        if piece:
            yield Token(piece)
        if text.stopped:
            made.stop = "stop"
            break
        if len(made.ids) >= max_tokens or len(cached) >= context:
            break
        best = yield from _forward([*cached, token], len(cached), cached)
    rest = text.flush()
    if rest:
        yield Token(rest)
    made.text = text.out
    made.decode_ms = _since(began) - made.first_ms
    return made


def _forward(tokens: list[int], at: int, cached: list[int]) -> Flow:
    """Bring the cache to hold `tokens`, of which it holds `at`; returns the candidates for the next."""
    del cached[at:]
    best: Candidates | None = None
    while len(cached) < len(tokens):
        piece = tokens[len(cached) : len(cached) + CHUNK]
        last = len(cached) + len(piece) == len(tokens)
        best = yield Forward(piece, len(cached), 64 if last else 1)
        cached += piece
    return best


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return at
    return min(len(left), len(right))


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
