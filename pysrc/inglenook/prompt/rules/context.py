"""Context and Memory: what the model is to know is too much, not there, or out of date."""

from __future__ import annotations

import re

from inglenook.prompt.rule import TELLING, Found, Scene, rule

_BACK = re.compile(
    r"\b(?:the|as|from\ the|see)\s+(?:text|passage|table|list|document|example|instruction|rule|data|message)?s?\s*"
    r"(?:above|earlier|previously|before)\b|\b(?:mentioned|described|given|listed|shown)\s+(?:above|earlier|before)\b"
    r"|\bthe\s+(?:previous|preceding|last)\s+(?:message|answer|turn|conversation|question)s?\b",
    re.IGNORECASE | re.VERBOSE,
)
_AHEAD = re.compile(
    r"\b(?:the\s+)?(?:following|next)\s+(?:text|passage|table|list|document|example|rule|data|message|ticket|question"
    r"|steps?|items?)s?\b|\b(?:text|passage|table|list|document|example|rule|data)s?\s+below\b|\bsee\s+below\b",
    re.IGNORECASE | re.VERBOSE,
)
_NOW = re.compile(
    r"\b(?:today|currently|this\s+(?:year|month|week)|as\s+of\s+now|the\s+(?:latest|current|most\s+recent)\s+\w+|"
    r"as\s+of\s+(?:\w+\s+)?20\d\d)\b",
    re.IGNORECASE,
)
MIDDLE = 400  # tokens around a rule from which on it counts as buried (ours)
FEW = 8  # words before a reference from which on they may be what it refers to (ours)
LOADED = 1500  # tokens of a prompt from which on its middle is read worse (ours)


@rule("C401", "error", "more than the model can read")
def overflow(scene: Scene) -> Found:
    if scene.window is None:
        return
    fixed = scene.count(scene.template())
    # A text without a bound may be of any length; with one it costs at most a token a character, usually a fourth.
    filled = sum(int(slot.most or 0) // 4 for slot in scene.prompt.slots if slot.type in ("text", "line"))
    total = fixed + filled + scene.prompt.settings.max_tokens
    if total > scene.window:
        message = f"Prompt, slots and answer take about {total} tokens; the model reads {scene.window}."
        yield message, "Shorten it, bound the slots with `most`, or lower max_tokens.", None, 0, 0


@rule("C402", "warning", "a slot without an end")
def unbounded(scene: Scene) -> Found:
    for slot in scene.prompt.slots:
        if scene.window is not None and slot.type == "text" and slot.most is None and not slot.trusted:
            hint = f"Declare most: {max(scene.window // 2, 1) * 4} or less, so that a longer one is refused."
            yield f"{slot.name} may be longer than the model can read.", hint, None, 0, 0


@rule("C403", "warning", "a reference to what is not there")
def dangling(scene: Scene) -> Found:
    segments = scene.prompt.segments
    for n, segment in enumerate(segments):
        for match in _BACK.finditer(segment.text):
            before = len(segment.text[: match.start()].split())
            if not n and before < FEW and not segment.slots:
                hint = "Name what is meant, or put it before."
                yield f"Nothing stands before “{match[0]}”.", hint, segment, *match.span()
        for match in _AHEAD.finditer(segment.text):
            if n == len(segments) - 1 and not segment.text[match.end() :].strip(" .:\n"):
                hint = "Name what is meant, or put it after."
                yield f"Nothing follows “{match[0]}”.", hint, segment, *match.span()


@rule("C404", "note", "a rule in the middle of a long prompt")
def buried(scene: Scene) -> Found:
    sizes = [scene.count(one.text) for one in scene.prompt.segments]
    if sum(sizes) < LOADED:
        return
    for n, segment in enumerate(scene.prompt.segments):
        before, after = sum(sizes[:n]), sum(sizes[n + 1 :])
        if segment.kind in ("task", "constraint", "format") and min(before, after) >= MIDDLE:
            hint = "Move it to the beginning or the end, or repeat it there: the pattern `reminder` does."
            message = f"{segment.name} stands {before} tokens from the beginning and {after} from the end."
            yield message, hint, segment, 0, len(segment.text)


@rule("C405", "warning", "words that are true for a while")
def stale(scene: Scene) -> Found:
    dated = any(re.search(r"date|time|today|now|year", slot.name, re.IGNORECASE) for slot in scene.prompt.slots)
    for segment, match in scene.search(
        _NOW, (one for one in scene.prompt.segments if one.kind in (*TELLING, "context"))
    ):
        if not dated:
            hint = "The model knows no date: give it one by a slot, or say which is meant."
            yield f"“{match[0]}” means nothing without a date.", hint, segment, *match.span()


RULES = (overflow, unbounded, dangling, buried, stale)
