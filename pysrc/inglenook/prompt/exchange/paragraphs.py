"""A text from elsewhere, cut into what may be segments: its paragraphs, and what kind each seems to be."""

from __future__ import annotations

import re

from inglenook.prompt.ast import Kind, Role
from inglenook.prompt.example import labelled

_GAP = re.compile(r"\n[ \t]*\n+")
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)(?:\s[^<>]*)?>")
# The first that matches tells the kind; what matches none is text.
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("persona", re.compile(r"^\s*(?:you are|you're|act as|as an?)\b", re.IGNORECASE)),
    ("format", re.compile(r"\b(?:JSON|YAML|XML|CSV|markdown|format|respond with|answer (?:in|with)|output only)\b",
                          re.IGNORECASE)),
    ("constraint", re.compile(r"\b(?:must|never|always|do not|don['’]t|only|at most|at least|if)\b", re.IGNORECASE)),
    ("input", re.compile(r"\{\{")),
    ("task", re.compile(r"\w")),
)  # fmt: skip


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text; joined with line breaks they are the text. Fences and marks stay in one piece."""
    closed = {name for closing, name in _TAG.findall(text) if closing}
    pieces, start = [], 0
    for gap in _GAP.finditer(text):
        cut = gap.end() - 1
        if gap.start() > start and cut + 1 < len(text) and _whole(text[start : gap.start()], closed):
            pieces.append(text[start:cut])
            start = gap.end()
    return [*pieces, text[start:]]


def named(text: str, role: Role, taken: set[str]) -> tuple[str, Kind]:
    """A name that is not `taken` yet (now it is), and the kind that a paragraph seems to be."""
    shows = "{{" not in text and any(labelled("", text))
    slots_alone = re.fullmatch(r"\s*(?:<[\w-]+>\s*|\w+:\s*)?\{\{\s*\w+\s*\}\}(?:\s*</[\w-]+>)?\s*", text)
    first = next((kind for kind, found in _KINDS if found.search(text)), "text")
    guessed = "example" if shows else "input" if slots_alone else first
    kind: Kind = "text" if role == "assistant" else guessed  # type: ignore[assignment]
    base: str = "answer" if role == "assistant" else kind
    name, n = base, 1
    while name in taken:
        n += 1
        name = f"{base}-{n}"
    taken.add(name)
    return name, kind


def _whole(text: str, closed: set[str]) -> bool:
    """Whether no fence and none of the marks that are `closed` somewhere is open at its end."""
    depth = sum(-1 if closing else 1 for closing, name in _TAG.findall(text) if name in closed)
    return depth <= 0 and text.count("```") % 2 == 0
