"""A failing case made small: fewer asks, shorter prompts, plainer settings, as long as it still fails the same way.

Halving as in delta debugging (Zeller and Hildebrandt, 2002): parts are taken out, large ones first, until no single
one can go.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from inglenook.doctor.asks import (
    Ask,
    Case,
    Chat,
    Detokenize,
    Logits,
    Odds,
    Template,
    Together,
    Tokenize,
    Trace,
    Within,
    Write,
)

Trying: TypeAlias = Generator[Case, bool, Case]
"""Yields cases and is sent whether each fails; returns the smallest that did."""


def reduce(case: Case, most: int = 200) -> Trying:
    """Make a failing case small by at most so many tries."""
    tries, moved = 0, True
    while moved:
        moved = False
        for smaller in _smaller(case):
            if tries >= most:
                return case
            tries += 1
            if (yield smaller):
                case, moved = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with less in them, those with much less first."""
    asks = case.asks
    for start, stop in _parts(len(asks) - 1):  # the last one is the one that fails
        yield replace(case, asks=(*asks[:start], *asks[stop:]))
    for at in range(len(asks) - 1, -1, -1):
        for ask in _less(asks[at]):
            yield replace(case, asks=(*asks[:at], ask, *asks[at + 1 :]))


def _parts(size: int) -> Iterator[tuple[int, int]]:
    """Stretches of `size` things to leave out: all, halves, quarters, …, single ones."""
    width = size
    while width >= 1:
        for start in range(0, size, width):
            yield start, min(start + width, size)
        width //= 2


def _less(ask: Ask) -> Iterator[Ask]:
    match ask:
        case Within(inner, where):
            for smaller in _less(inner):
                yield Within(smaller, where)
        case Together(parts):
            for start, stop in _parts(len(parts)):
                if stop - start < len(parts):
                    yield Together((*parts[:start], *parts[stop:]))
            for at, part in enumerate(parts):
                for smaller in _less(part):
                    yield Together((*parts[:at], smaller, *parts[at + 1 :]))  # type: ignore[arg-type]
        case Write():
            plain = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "logprobs": None, "leaves": 0}
            for name, value in plain.items():
                if getattr(ask, name) != value:
                    yield replace(ask, **{name: value})  # type: ignore[arg-type]
            for start, stop in _parts(len(ask.stop)):
                yield replace(ask, stop=(*ask.stop[:start], *ask.stop[stop:]))
            for fewer in (1, ask.max_tokens // 2, ask.max_tokens - 1):
                if 0 < fewer < ask.max_tokens:
                    yield replace(ask, max_tokens=fewer)
            yield from _shorter(ask)
        case Logits() | Detokenize() | Trace():
            yield from _shorter(ask)
        case Odds(ids) if len(ids) > 2:
            yield from (shorter for shorter in _shorter(ask) if len(shorter.ids) > 1)
        case Tokenize(text, _):
            for start, stop in _parts(len(text)):
                yield replace(ask, text=text[:start] + text[stop:])
        case Template(messages):
            for start, stop in _parts(len(messages)):
                if stop - start < len(messages):
                    yield Template((*messages[:start], *messages[stop:]))
            for at, (role, content) in enumerate(messages):
                for start, stop in _parts(len(content)):
                    shorter = (role, content[:start] + content[stop:])
                    yield Template((*messages[:at], shorter, *messages[at + 1 :]))
        case Chat(body):
            for smaller in _bodies(body):
                yield replace(ask, body=smaller)


def _shorter(ask: Any) -> Iterator[Any]:
    """With fewer ids, at least one."""
    ids = ask.ids
    for start, stop in _parts(len(ids)):
        if stop - start < len(ids):
            yield replace(ask, ids=(*ids[:start], *ids[stop:]))


def _bodies(body: Any) -> Iterator[Any]:
    for name in body:
        if name not in ("messages", "max_tokens"):
            yield {key: value for key, value in body.items() if key != name}
    most = body.get("max_tokens", 256)
    for fewer in (1, most // 2) if type(most) is int else ():
        if 0 < fewer < most:
            yield body | {"max_tokens": fewer}
    told = body.get("messages")
    messages: list[Any] = told if isinstance(told, list) else []
    for at, message in enumerate(messages):
        if len(messages) > 1:
            yield body | {"messages": [*messages[:at], *messages[at + 1 :]]}
        content: Any = message.get("content") if isinstance(message, dict) else None
        for start, stop in _parts(len(content)) if isinstance(content, str) else ():
            changed = message | {"content": content[:start] + content[stop:]}
            yield body | {"messages": [*messages[:at], changed, *messages[at + 1 :]]}
