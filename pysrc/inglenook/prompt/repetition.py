"""Sentences that a prompt says twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from inglenook.prompt.ast import Prompt
from inglenook.search.sentences import sentences
from inglenook.search.terms import terms

_SHORT = 3  # terms below which sentences are alike by chance


@dataclass(frozen=True, slots=True)
class Repeat:
    """Characters `start` to `end` of `segment` say what stands in the segment `first` already."""

    segment: str
    start: int
    end: int
    first: str


def repeats(prompt: Prompt) -> Iterator[Repeat]:
    """Every sentence whose terms stood in the same order before; examples and what holds slots aside."""
    seen: dict[tuple[str, ...], str] = {}
    for segment in prompt.segments:
        if segment.kind == "example":
            continue
        for span in sentences(segment.text):
            said = segment.text[span.start : span.end]
            words = tuple(terms(said))
            if len(words) < _SHORT or "{{" in said:
                continue
            first = seen.setdefault(words, segment.name)
            if first != segment.name or segment.text.index(said) != span.start:
                yield Repeat(segment.name, span.start, span.end, first)


def distinct(prompt: Prompt) -> Prompt:
    """The prompt without its repeats, but for those in protected segments; a segment of which nothing stays goes."""
    cut: dict[str, list[Repeat]] = {}
    for one in repeats(prompt):
        cut.setdefault(one.segment, []).append(one)
    for name, some in cut.items():
        segment = prompt[name]
        if segment.protected:
            continue
        text = segment.text
        for one in reversed(some):
            text = text[: one.start].rstrip(" ") + " " * (0 < one.start < len(text)) + text[one.end :].lstrip(" ")
        text = text.strip(" ")
        prompt = prompt.put(replace(segment, text=text)) if text.strip() else prompt.without({name})
    return prompt
