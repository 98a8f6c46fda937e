"""Input and Content: what is put in is not told apart, contradicts itself, or should not be there."""

from __future__ import annotations

import json
import re

from inglenook.prompt.enclosure import bare, enclose, outer
from inglenook.prompt.example import examples
from inglenook.prompt.rule import Found, Scene, rule

_ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override)\b[^.\n]{0,30}\b(previous|prior|above|earlier|system|all)\b[^.\n]{0,20}"
    r"\b(instruction|prompt|rule|message|direction)s?\b",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"\b(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj[-_])?[A-Za-z0-9]{16,}|\bghp_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|\b(?:password|passwd|api[ _-]?key)\s*[:=]\s*[\"']?[^\s\"'{<]{6,}",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"\b[\w.+-]+@(?!example\.)[\w-]+\.[a-z]{2,}\b|(?<![\d.])\+\d{1,3}[ -]?\(?\d{2,4}\)?(?:[ -]?\d{2,4}){2,3}\b"
)


@rule("I201", "warning", "a slot that no segment uses")
def unused(scene: Scene) -> Found:
    used = {name for one in scene.prompt.segments for name in (*one.slots, one.when)}
    for slot in scene.prompt.slots:
        if slot.name not in used:
            yield f"The slot {slot.name} is used nowhere.", f"Write {{{{{slot.name}}}}} or drop it.", None, 0, 0


@rule("I202", "warning", "text from outside that is not marked off", enclose)
def undelimited(scene: Scene) -> Found:
    for segment, match in bare(scene.prompt):
        hint = f"Write <{match[1]}>{match[0]}</{match[1]}>, or declare the slot trusted."
        message = f"What {match[1]} brings in cannot be told from the instructions."
        yield message, hint, segment, match.start(), match.end()


@rule("I203", "warning", "text from outside in the system's turn")
def in_system(scene: Scene) -> Found:
    outside = {slot.name for slot in scene.prompt.slots if outer(slot)}
    for segment in scene.prompt.segments:
        for name in segment.slots if segment.role == "system" else ():
            if name in outside:
                start = segment.text.index("{{")
                hint = "Move it to a segment with the role user, or declare the slot trusted."
                yield f"{name} comes from outside and speaks with the system's voice.", hint, segment, start, start + 2


@rule("I204", "warning", "words that read like an injection")
def orders(scene: Scene) -> Found:
    for segment, match in scene.search(_ORDERS, (one for one in scene.prompt.segments if one.kind != "guard")):
        hint = "Say what is to be done instead; a segment of kind guard may name it."
        yield f"“{match[0]}” is what filters refuse and attacks say.", hint, segment, match.start(), match.end()


@rule("I205", "note", "a slot that nothing is said about")
def undescribed(scene: Scene) -> Found:
    for slot in scene.prompt.slots:
        if slot.type in ("text", "line", "json") and not slot.description and not slot.examples:
            hint = "Give it a description and examples: tests are made from them."
            yield f"Nothing says what {slot.name} holds.", hint, None, 0, 0


@rule("I206", "error", "two examples that contradict each other")
def contradicting(scene: Scene) -> Found:
    seen: dict[str, str] = {}
    for one in examples(scene.prompt):
        key = " ".join(one.asked.casefold().split())
        first = seen.setdefault(key, one.told)
        if first != one.told:
            message = f"The same input has the answers {first[:30]!r} and {one.told[:30]!r}."
            yield message, "Keep the right one.", scene.prompt[one.segments[0]], one.start, one.end


@rule("I207", "error", "an example that breaks the format")
def malformed(scene: Scene) -> Found:
    form = scene.prompt.settings.response_format or {}
    wanted = form.get("type") in ("json_object", "json_schema")
    wanted |= any(re.search(r"\bJSON\b", one.text) for one in scene.prompt.segments if one.kind == "format")
    for one in examples(scene.prompt) if wanted else ():
        try:
            json.loads(one.told.removeprefix("```json").removesuffix("```"))
        except ValueError:
            message = f"The answer {one.told[:30]!r} is no JSON, which the format asks for."
            yield message, "Write it as the model shall.", scene.prompt[one.segments[0]], one.start, one.end


@rule("I208", "error", "a secret")
def secret(scene: Scene) -> Found:
    for segment, match in scene.search(_SECRET, scene.prompt.segments):
        hint = "Take it out, and change it: it stands in every call and in every version."
        yield "This looks like a key or a password.", hint, segment, match.start(), match.end()


@rule("I209", "warning", "what belongs to a person")
def person(scene: Scene) -> Found:
    for segment, match in scene.search(_PERSON, scene.prompt.segments):
        hint = "Use an invented one (name@example.com), or a slot."
        yield f"{match[0]} looks like somebody's address or number.", hint, segment, match.start(), match.end()


RULES = (unused, undelimited, in_system, orders, undescribed, contradicting, malformed, secret, person)
