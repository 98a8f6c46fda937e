"""A rule of the linter, what it finds, and what it may look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inglenook.prompt.ast import Kind, Prompt, Segment
from inglenook.prompt.case import Case

Severity: TypeAlias = Literal["error", "warning", "note"]
# The six dimensions of "A Taxonomy of Prompt Defects in LLM Systems" (arXiv:2509.14404); the rules below them are ours.
DIMENSIONS = {
    "S": "Specification and Intent",
    "I": "Input and Content",
    "F": "Structure and Formatting",
    "C": "Context and Memory",
    "P": "Performance and Efficiency",
    "M": "Maintainability and Engineering",
}
# Segments that tell the model what to do, rather than show or give it something.
TELLING: tuple[Kind, ...] = ("persona", "task", "constraint", "format", "guard", "text")
_SLOT = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, and what to do about it. `start` and `end` are characters of the segment's text; without a
    `segment` it is about the prompt as a whole."""

    rule: str
    severity: Severity
    message: str
    hint: str
    segment: str = ""
    start: int = 0
    end: int = 0

    @property
    def dimension(self) -> str:
        return DIMENSIONS[self.rule[0]]


@dataclass(frozen=True)
class Scene:
    """A prompt as rules see it. `count` tells how many tokens a text has (a fourth of its characters, if no tokenizer
    is given), `window` how many the target can read (None: unknown)."""

    prompt: Prompt
    cases: Sequence[Case] | None = None
    count: Callable[[str], int] = lambda text: (len(text) + 3) // 4
    window: int | None = None

    def telling(self) -> Iterator[Segment]:
        return (one for one in self.prompt.segments if one.kind in TELLING)

    def search(self, pattern: re.Pattern[str], segments: Iterable[Segment]) -> Iterator[tuple[Segment, re.Match[str]]]:
        return ((one, match) for one in segments for match in pattern.finditer(one.text))

    def template(self) -> str:
        """All of the prompt's text."""
        return "\n".join(one.text for one in self.prompt.segments)

    def own(self, segment: Segment) -> str:
        """A segment's text with its slots blanked out, every character where it was."""
        return _SLOT.sub(lambda match: " " * len(match[0]), segment.text)


Found: TypeAlias = Iterable[tuple[str, str, Segment | None, int, int]]
Check: TypeAlias = Callable[[Scene], Found]
Repair: TypeAlias = Callable[[Prompt], Prompt]


@dataclass(frozen=True)
class Rule:
    """`check` yields (message, hint, segment, start, end). `repair`, where there is one, gives a prompt without what
    the rule finds and asks for no judgement; it leaves protected segments alone."""

    id: str
    severity: Severity
    title: str
    check: Check
    repair: Repair | None = None

    @property
    def dimension(self) -> str:
        return DIMENSIONS[self.id[0]]

    def find(self, scene: Scene) -> Iterator[Finding]:
        for message, hint, segment, start, end in self.check(scene):
            yield Finding(self.id, self.severity, message, hint, segment.name if segment else "", start, end)


def rule(id: str, severity: Severity, title: str, repair: Repair | None = None) -> Callable[[Check], Rule]:
    """Make a rule of its check."""
    return lambda check: Rule(id, severity, title, check, repair)
