"""Structure and Formatting: the parts of the prompt, or of the answer, cannot be told apart."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from inglenook.prompt.ast import Prompt, Segment
from inglenook.prompt.rule import Found, Scene, rule

_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)((?:\s[^<>]*?)?)(/?)>")
_VOID = ("br", "hr", "img")
_ITEM = re.compile(r"^[ \t]*(?:([-*•+])|(\d{1,2})[.)])[ \t]+", re.MULTILINE)
_BLOCK = re.compile(r"```json\s*\n(.*?)```", re.DOTALL)
_JSON = re.compile(r"\bJSON\b")


@rule("F301", "note", "no form is given for the answer")
def no_format(scene: Scene) -> Found:
    if not scene.prompt.settings.response_format and not any(one.kind == "format" for one in scene.prompt.segments):
        hint = "Add a segment of kind format, or settings: response_format."
        yield "Nothing says what the answer looks like.", hint, None, 0, 0


@rule("F302", "error", "marks that are not closed")
def unbalanced(scene: Scene) -> Found:
    for role in ("system", "user", "assistant"):
        opened: list[tuple[str, Segment, int, int]] = []
        spots = [(one, match) for one in scene.prompt.segments if one.role == role for match in _TAG.finditer(one.text)]
        closes = {match[2] for _, match in spots if match[1]}
        for segment, match in spots:
            name = match[2]
            if match[4] or name.lower() in _VOID or name not in closes:
                continue  # a placeholder such as <name>, which nothing closes, is no mark
            if not match[1]:
                opened.append((name, segment, *match.span()))
            elif opened and opened[-1][0] == name:
                opened.pop()
            else:
                hint = f"Open it before, or close {opened[-1][0]} first." if opened else "Open it before."
                yield f"{match[0]} closes what is not open.", hint, segment, *match.span()
        for name, segment, start, end in opened:
            yield f"<{name}> is not closed.", f"Write </{name}> where it ends.", segment, start, end
    for segment in scene.prompt.segments:
        fences = list(re.finditer(r"^[ \t]*```", segment.text, re.MULTILINE))
        if len(fences) % 2:
            yield "A fence ``` is not closed.", "Close it with ```.", segment, *fences[-1].span()


def _lists(prompt: Prompt) -> Prompt:
    for segment in prompt.segments:
        if not segment.protected and len({match[1] for match in _ITEM.finditer(segment.text) if match[1]}) > 1:
            text = _ITEM.sub(lambda match: match[0].replace(match[1], "-") if match[1] else match[0], segment.text)
            prompt = prompt.put(replace(segment, text=text))
    return prompt


@rule("F303", "warning", "a list in two styles", _lists)
def mixed(scene: Scene) -> Found:
    for segment in scene.prompt.segments:
        items = [match for match in _ITEM.finditer(segment.text) if match[1]]
        other = next((match for match in items if match[1] != items[0][1]), None)
        if other:
            message = f"The list marks its items with {items[0][1]} and with {other[1]}."
            yield message, "Use one mark.", segment, *other.span()


@rule("F304", "warning", "numbers of a list that skip")
def skipping(scene: Scene) -> Found:
    for segment in scene.prompt.segments:
        last = 0
        for match in _ITEM.finditer(segment.text):
            if match[2]:
                n = int(match[2])
                if n not in (1, last + 1):
                    message = f"After item {last} comes {n}."
                    yield (
                        message,
                        "Number them in order: a model takes the gap for a missing rule.",
                        segment,
                        *match.span(),
                    )
                last = n


@rule("F305", "note", "JSON that is only asked for")
def unheld(scene: Scene) -> Found:
    if scene.prompt.settings.response_format:
        return
    for segment in scene.prompt.segments:
        if segment.kind == "format" and (match := _JSON.search(segment.text)):
            hint = "settings: {response_format: {type: json_schema, …}} leaves the model no other way."
            yield "JSON is asked for, but nothing holds the model to it.", hint, segment, *match.span()


@rule("F306", "warning", "JSON that is none")
def broken(scene: Scene) -> Found:
    for segment, match in scene.search(_BLOCK, scene.prompt.segments):
        try:
            json.loads(re.sub(r"\{\{\s*\w+\s*\}\}", "0", match[1]).replace(r"\{{", "{{"))
        except ValueError as error:
            hint = "Correct it, or mark the block as text: the model copies what it sees."
            yield f"A block of JSON is no JSON: {error}.", hint, segment, *match.span()


def _empty(prompt: Prompt) -> Prompt:
    empty = {one.name for one in prompt.segments if not one.text.strip() and not one.protected}
    return prompt.without(empty)


@rule("F307", "warning", "an empty segment", _empty)
def empty(scene: Scene) -> Found:
    for segment in scene.prompt.segments:
        if not segment.text.strip():
            yield f"The segment {segment.name} has no text.", "Write it, or drop it.", segment, 0, len(segment.text)


@rule("F308", "warning", "turns that a chat template refuses")
def turns(scene: Scene) -> Found:
    roles = [one.role for one in scene.prompt.segments]
    late = next((n for n, role in enumerate(roles) if role == "system" and set(roles[:n]) - {"system"}), None)
    if late is not None:
        segment = scene.prompt.segments[late]
        hint = "Put segments of the system first: many templates drop or refuse a later one."
        yield "A turn of the system comes after others.", hint, segment, 0, len(segment.text)
    if roles and "user" not in roles:
        yield "No turn is the user's.", "Give what is asked the role user.", None, 0, 0


RULES = (no_format, unbalanced, mixed, skipping, unheld, broken, empty, turns)
