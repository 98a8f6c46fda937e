"""Marks around what a slot brings in, so that a model can tell data from instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from inglenook.prompt.ast import Prompt, Segment, Slot

_SLOT = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "(": ")", "[": "]"}
_FENCES = ("```", '"""', "'''", "~~~", "---", "###", "===")
_OPENED = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>[^<>]*\Z")


def bare(prompt: Prompt) -> Iterator[tuple[Segment, re.Match[str]]]:
    """Where a slot that brings text from outside stands in no marks: the segment, and the match of the slot in it."""
    outside = {slot.name for slot in prompt.slots if outer(slot)}
    for segment in prompt.segments:
        for match in _SLOT.finditer(segment.text):
            escaped = segment.text[: match.start()].endswith("\\")
            if match[1] in outside and not escaped and not enclosed(segment.text, match.start(), match.end()):
                yield segment, match


def outer(slot: Slot) -> bool:
    """Whether a slot brings in text that its author did not see."""
    return not slot.trusted and slot.type in ("text", "line")


def enclosed(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` stands between a tag and its end, fences, or quotes that touch it."""
    before, after = text[:start], text[end:]
    if (opened := _OPENED.search(before)) and re.search(rf"\A[^<>]*</{re.escape(opened[1])}\s*>", after):
        return True
    if any(before.rstrip().endswith(fence) or _odd(before, fence) for fence in _FENCES if fence in after):
        return True
    return bool(before and after) and _QUOTES.get(before[-1]) == after[0]


def enclose(prompt: Prompt) -> Prompt:
    """The prompt with tags of their own name around all bare slots, but for those in protected segments."""
    for segment in {one.name: one for one, _ in bare(prompt) if not one.protected}.values():
        text, moved = segment.text, 0
        for match in [match for one, match in bare(prompt) if one.name == segment.name]:
            inner = f"<{match[1]}>{match[0]}</{match[1]}>"
            text = text[: match.start() + moved] + inner + text[match.end() + moved :]
            moved += len(inner) - len(match[0])
        prompt = prompt.put(replace(segment, text=text))
    return prompt


def _odd(before: str, fence: str) -> bool:
    """Whether a fence that was opened on a line of its own is still open."""
    lines = [line for line in before.split("\n") if line.startswith(fence)]
    return len(lines) % 2 == 1
