"""Specification and Intent: what is wanted is missing, vague or contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inglenook.prompt.ast import Segment
from inglenook.prompt.rule import Found, Scene, rule
from inglenook.prompt.trace import trace
from inglenook.search.sentences import sentences
from inglenook.search.terms import terms

_VERB = re.compile(
    r"""\b(add|analy[sz]e|answer|ask|assess|calculate|categori[sz]e|check|choose|classify|compare|complete|compute|convert
    |copy|correct|count|create|decide|describe|determine|draft|edit|estimate|evaluate|explain|extract|fill|find|fix
    |generate|give|identify|improve|label|list|mark|match|merge|name|order|outline|output|paraphrase|pick|plan|predict
    |produce|propose|provide|rank|rate|read|recommend|remove|rephrase|reply|report|respond|return|review|revise|rewrite
    |route|say|score|select|simplify|solve|sort|split|state|suggest|summari[sz]e|tag|tell|transcribe|translate|turn|use
    |verify|write|what|which|who|when|where|why|how)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_VAGUE = re.compile(
    r"""\b(appropriate(?:ly)?|as\ needed|if\ necessary|as\ necessary|etc\.?|and\ so\ on|and\ so\ forth|or\ something
    |stuff|proper(?:ly)?|suitabl[ey]|reasonabl[ey]|sufficient(?:ly)?|relevant\ details|nice(?:ly)?|good\ quality
    |high[ -]quality|user[ -]friendly|as\ (?:short|long|detailed|brief)\ as\ possible|not\ too\ (?:long|short)
    |fairly\ (?:long|short)|some\ kind\ of|try\ to|maybe|if\ possible)(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_BOUND = re.compile(
    r"""(?P<most>at\ most|no\ more\ than|up\ to|fewer\ than|less\ than|within|maximum\ of|not\ exceed(?:ing)?)
    |(?P<least>at\ least|no\ fewer\ than|no\ less\ than|more\ than|minimum\ of)|(?P<same>exactly|in)""",
    re.IGNORECASE | re.VERBOSE,
)
_NUMBERS = {
    word: n
    for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
_AMOUNT = re.compile(
    rf"\b(?:{_BOUND.pattern})\s+(?P<n>\d+|{'|'.join(_NUMBERS)}|a\ single)\s+"
    r"(?P<unit>word|sentence|paragraph|line|item|bullet|character|token|step|example|point)s?\b",
    re.IGNORECASE | re.VERBOSE,
)
_NEVER = re.compile(
    r"\b(never|do\ not|don['’]t|must\ not|should\ not|shouldn['’]t|avoid)\s+", re.IGNORECASE | re.VERBOSE
)
_ALWAYS = re.compile(
    r"\b(always|must|should|be\ sure\ to|make\ sure\ to|remember\ to)\s+(?!not\b)", re.IGNORECASE | re.VERBOSE
)
_ESCAPE = re.compile(
    r"\b(if|when|unless|where|otherwise|else)\b[^.\n]*\b(not|no|none|cannot|can['’]t|missing|empty|unclear|unknown|unsure"
    r"|nothing|absent|unrelated|ambiguous|fail\w*|invalid|otherwise|impossible)\b|\botherwise\b",
    re.IGNORECASE,
)


@rule("S101", "warning", "no task")
def no_task(scene: Scene) -> Found:
    said = " ".join(scene.own(one) for one in scene.telling() if one.kind not in ("persona", "guard"))
    if not _VERB.search(said) and "?" not in said:
        yield "Nothing says what is to be done.", "Add a segment of kind task that begins with a verb.", None, 0, 0


@rule("S102", "warning", "a vague word")
def vague(scene: Scene) -> Found:
    for segment, match in scene.search(_VAGUE, scene.telling()):
        hint = "Say what can be checked: a number, a list, an example."
        yield f"“{match[0]}” leaves open what is meant.", hint, segment, match.start(), match.end()


@dataclass(frozen=True)
class _Range:
    segment: Segment
    start: int
    end: int
    least: float
    most: float


@rule("S103", "error", "bounds that cannot both hold")
def bounds(scene: Scene) -> Found:
    by_unit: dict[str, list[_Range]] = {}
    for segment, match in scene.search(_AMOUNT, scene.telling()):
        n = _NUMBERS.get(match["n"].lower()) or (1 if "single" in match["n"] else int(match["n"]))
        least, most = (0, n) if match["most"] else (n, float("inf")) if match["least"] else (n, n)
        by_unit.setdefault(match["unit"].lower(), []).append(_Range(segment, match.start(), match.end(), least, most))
    for ranges in by_unit.values():
        for n, one in enumerate(ranges):
            for other in ranges[:n]:
                if one.least > other.most or other.least > one.most:
                    first = other.segment.text[other.start : other.end]
                    message = f"“{one.segment.text[one.start : one.end]}” cannot hold together with “{first}”."
                    hint = f"Keep one of them; the other stands in the segment {other.segment.name}."
                    yield message, hint, one.segment, one.start, one.end
                    break


@rule("S104", "error", "always and never the same")
def opposites(scene: Scene) -> Found:
    asked = list(_clauses(scene, _ALWAYS))
    for segment, start, end, words in _clauses(scene, _NEVER):
        for other, _, _, wanted in asked:
            if words and len(words & wanted) >= 0.75 * len(words | wanted):
                said = segment.text[start:end]
                hint = f"The segment {other.name} asks for it; keep one, or say when which holds."
                yield f"“{said}” forbids what is asked for elsewhere.", hint, segment, start, end
                break


def _clauses(scene: Scene, pattern: re.Pattern[str]) -> Iterator[tuple[Segment, int, int, frozenset[str]]]:
    """Where a duty or a prohibition stands, and the terms of what it is about."""
    for segment in scene.telling():
        for span in sentences(segment.text):
            for match in pattern.finditer(segment.text, span.start, span.end):
                cut = re.compile(r"[,;.:!?\n]|\b(?:and|but|unless|if|when)\b").search(
                    segment.text, match.end(), span.end
                )
                end = cut.start() if cut else span.end
                about = frozenset(terms(segment.text[match.end() : end])) - {"the", "a", "an", "your", "any"}
                yield segment, match.start(), len(segment.text[:end].rstrip()), about


@rule("S105", "warning", "a requirement that no segment states")
def unstated(scene: Scene) -> Found:
    for one in trace(scene.prompt).unstated:
        yield f"No segment states the requirement {one}.", f"Add req={one} to the tag of the one that does.", None, 0, 0


@rule("S106", "note", "nothing for input that cannot be answered")
def no_escape(scene: Scene) -> Found:
    outside = [slot for slot in scene.prompt.slots if not slot.trusted and slot.type in ("text", "line", "json")]
    if outside and not any(_ESCAPE.search(one.text) for one in scene.telling()):
        hint = "Say what to answer then: the pattern `refusal` adds it."
        yield f"Nothing is said for a {outside[0].name} that has no answer.", hint, None, 0, 0


@rule("S107", "note", "only what not to do")
def negative(scene: Scene) -> Found:
    for segment in scene.prompt.segments:
        said = [segment.text[span.start : span.end] for span in sentences(segment.text)]
        if segment.kind == "constraint" and len(said) > 1 and all(_NEVER.search(one) for one in said):
            hint = "Say what to do instead: small models follow that better."
            yield f"The segment {segment.name} only forbids.", hint, segment, 0, len(segment.text)


RULES = (no_task, vague, bounds, opposites, unstated, no_escape, negative)
