"""The passes of a build (O10 of arXiv:2503.02400: normalising, reduction and hardening of prompts; what each does is
ours). A pass proposes prompts one after another and is told which of them are kept; it decides nothing about quality.

| pass | proposes | must save tokens |
|---|---|---|
| `normalise` | one kind of list mark, no white space at line ends | no |
| `deduplicate` | no sentence twice | yes |
| `compress` | no filler; then without one segment after another | yes |
| `examples` | without one example after another | yes |
| `order` | what never changes before what does, so that it is read once and kept | no |
| `harden` | what comes from outside in marks; then told to be data | no |

A protected segment's text is never changed, nor is it left out; where it stands in its turn may change.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from inglenook.prompt.ast import Prompt, Segment, named
from inglenook.prompt.enclosure import enclose
from inglenook.prompt.example import Example, examples
from inglenook.prompt.filler import shortened
from inglenook.prompt.patterns import PATTERNS
from inglenook.prompt.repetition import distinct
from inglenook.prompt.rule import TELLING
from inglenook.prompt.rules import performance, structure

Proposals: TypeAlias = Generator[tuple[str, Prompt], bool, None]
"""Yields (what it did, the prompt it proposes); is sent whether that is now the prompt."""


@dataclass(frozen=True)
class Pass:
    """`saves`: what it proposes is only tried if it takes fewer tokens."""

    name: str
    about: str
    propose: Callable[[Prompt], Proposals]
    saves: bool = True


def pattern(name: str, values: Mapping[str, object] | None = None) -> Pass:
    """A pattern as a pass: it is kept only where it does no harm."""
    one = PATTERNS[name]

    def propose(prompt: Prompt) -> Proposals:
        yield one.about, one.apply(prompt, values)

    return Pass(f"pattern {name}", one.about, propose, saves=False)


def _normalise(prompt: Prompt) -> Proposals:
    for repair in (performance.space.repair, structure.mixed.repair):
        if repair and (made := repair(prompt)) != prompt and (yield "white space and list marks", made):
            prompt = made


def _deduplicate(prompt: Prompt) -> Proposals:
    if (made := distinct(prompt)) != prompt:
        yield "sentences that stood twice", made


def _compress(prompt: Prompt) -> Proposals:
    short = prompt
    for one in prompt.segments:
        if one.kind in TELLING and not one.protected:
            short = short.put(replace(one, text=shortened(one.text)))
    if short != prompt and (yield "filler", short):
        prompt = short
    for one in sorted(prompt.segments, key=lambda one: -len(one.text)):
        if not (
            one.protected or one.slots or one.kind in ("task", "input", "example", "guard") or one.role == "assistant"
        ):
            made = prompt.without({one.name})
            if made.segments and (yield f"without {one.name}", made):
                prompt = made


def _examples(prompt: Prompt) -> Proposals:
    tried = 0
    while tried < len(found := examples(prompt)):
        one = found[-1 - tried]
        made = _without(prompt, one)
        if made != prompt and (yield f"without the example {one.asked[:30]!r}", made):
            prompt = made
        else:
            tried += 1


def _without(prompt: Prompt, one: Example) -> Prompt:
    """The prompt without an example; itself, if that is protected."""
    if any(prompt[name].protected for name in one.segments):
        return prompt
    if len(one.segments) > 1:
        return prompt.without(one.segments)
    segment = prompt[one.segments[0]]
    text = segment.text[: one.start] + segment.text[one.end :].lstrip("\n")
    return prompt.put(replace(segment, text=text)) if text.strip() else prompt.without({segment.name})


def _order(prompt: Prompt) -> Proposals:
    runs: list[list[Segment]] = []
    for one in prompt.segments:
        if runs and runs[-1][-1].role == one.role:
            runs[-1].append(one)
        else:
            runs.append([one])
    # A condition may fail, a glued segment goes with the one before it, and turns that are examples have their places.
    moved = [run if any(one.glue or one.when for one in run) else sorted(run, key=lambda one: bool(one.slots))
             for run in runs]  # fmt: skip
    made = replace(prompt, segments=tuple(one for run in moved for one in run))
    if made != prompt:
        yield "what never changes first", made


def _harden(prompt: Prompt) -> Proposals:
    made = enclose(prompt)
    if made != prompt and (yield "marks around what comes from outside", made):
        prompt = made
    if not any(one.kind == "guard" for one in prompt.segments):
        made = PATTERNS["guard"].apply(prompt)
        if made != prompt:
            yield "what comes from outside is told to be data", made


PASSES = (
    Pass("normalise", "white space and list marks", _normalise, saves=False),
    Pass("deduplicate", "what is said twice", _deduplicate),
    Pass("compress", "words and segments that change nothing", _compress),
    Pass("examples", "examples that change nothing", _examples),
    Pass("order", "what never changes first", _order, saves=False),
    Pass("harden", "what comes from outside marked off", _harden, saves=False),
)


def chosen(passes: Sequence[str] = (), patterns: Sequence[str] = ()) -> list[Pass]:
    """Patterns, then passes (all, if none is named), by their names. Raises NookError("no-part") for others."""
    known = {one.name: one for one in PASSES}
    return [*map(pattern, named("pattern", patterns, {one: one for one in PATTERNS})),
            *named("pass", passes or known, known)]  # fmt: skip
