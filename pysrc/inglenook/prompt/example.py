"""The examples in a prompt: pairs of what goes in and what is to come out.

They are written as turns (a segment of kind example with the role user, and the next with the role assistant), or as
labelled lines in one segment:

    Input: It is dark.
    Output: negative
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inglenook.prompt.ast import Prompt

_LABEL = re.compile(
    r"^[ \t>*-]*(?:example[ \t]*\d*[ \t]*[:.)-][ \t]*)?"
    r"(?:(?P<asked>input|q|question|text|user|ticket|review|message|sentence|document|problem)"
    r"|(?P<told>output|a|answer|label|assistant|response|result|category|class|sentiment|intent|topic|summary|solution"
    r"|translation))[ \t]*\d*[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Example:
    """`asked` and `told` stand in `segments` (one, or two turns); in one alone from `start` to `end` of its text."""

    asked: str
    told: str
    segments: tuple[str, ...]
    start: int = 0
    end: int = 0


def examples(prompt: Prompt) -> list[Example]:
    """All examples of a prompt, in order."""
    found: list[Example] = []
    shown = [one for one in prompt.segments if one.kind == "example"]
    for n, segment in enumerate(shown):
        if segment.role == "user" and n + 1 < len(shown) and shown[n + 1].role == "assistant":
            names = (segment.name, shown[n + 1].name)
            found.append(Example(segment.text.strip(), shown[n + 1].text.strip(), names, 0, len(segment.text)))
        elif segment.role != "assistant":
            found += labelled(segment.name, segment.text)
    return found


def labelled(name: str, text: str) -> Iterator[Example]:
    """The examples in the labelled lines of a text, which is that of the segment `name`."""
    marks = list(_LABEL.finditer(text))
    for n, mark in enumerate(marks[:-1]):
        answer = marks[n + 1]
        if mark["asked"] and answer["told"]:
            following = marks[n + 2].start() if n + 2 < len(marks) else len(text)
            asked, told = text[mark.end() : answer.start()], text[answer.end() : following]
            yield Example(asked.strip(), told.strip(), (name,), mark.start(), answer.end() + len(told.rstrip()))
