"""Maintainability and Engineering: what makes the next change hard, or its effect unknown."""

from __future__ import annotations

import re
from collections import defaultdict

from inglenook.prompt.ast import Segment
from inglenook.prompt.rule import Found, Scene, rule
from inglenook.prompt.trace import trace
from inglenook.search.sentences import sentences

SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
LONG = 900  # characters of a segment from which on it should be several (ours)
_VALUE = re.compile(r"“[^”\n]{3,60}”|\"[^\"\n{}]{3,60}\"|\b\d{3,}\b|\b[A-Z][a-z]+(?: [A-Z][a-z]+)+\b")


@rule("M601", "warning", "a version that is none")
def unversioned(scene: Scene) -> Found:
    if not SEMVER.fullmatch(scene.prompt.version):
        hint = "Write major.minor.patch, as in 1.0.0: what a change did is told by it."
        yield f"{scene.prompt.version!r} is no version.", hint, None, 0, 0


@rule("M602", "note", "no description")
def undescribed(scene: Scene) -> Found:
    if not scene.prompt.description:
        yield "Nothing says what the prompt is for.", "Give it a description.", None, 0, 0


@rule("M603", "warning", "requirements and tests that do not meet")
def untraced(scene: Scene) -> Found:
    made = trace(scene.prompt, scene.cases or ())
    for what, one, hint in made.unknown:
        yield f"The {what} names the requirement {one}, which there is none of.", hint, None, 0, 0
    if scene.cases is not None:
        for one in made.untested:
            yield f"No test speaks for the requirement {one}.", f"Give a case requirements: [{one}].", None, 0, 0


@rule("M604", "note", "a segment that speaks for no requirement")
def loose(scene: Scene) -> Found:
    for name in trace(scene.prompt).loose if scene.prompt.requirements else ():
        segment = scene.prompt[name]
        if segment.kind in ("constraint", "format", "guard"):
            hint = "Trace it (req=…), or drop it if nothing needs it."
            yield f"No requirement asks for the segment {name}.", hint, segment, 0, len(segment.text)


@rule("M605", "note", "a segment that should be several")
def monolith(scene: Scene) -> Found:
    for segment in scene.telling():
        said = sentences(segment.text)
        if len(segment.text) > LONG and len(said) > 5:
            hint = "Cut it where the subject changes: parts can be tested, moved and left out by themselves."
            yield f"{segment.name} has {len(said)} sentences.", hint, segment, 0, len(segment.text)


@rule("M606", "note", "a value written many times")
def literal(scene: Scene) -> Found:
    places: dict[str, list[tuple[Segment, int, int]]] = defaultdict(list)
    for segment, match in scene.search(_VALUE, (one for one in scene.prompt.segments if one.kind != "example")):
        places[match[0]].append((segment, *match.span()))
    for value, some in places.items():
        if len(some) > 2:
            hint = "Make it a slot with a default: then it changes in one place."
            yield f"{value} stands {len(some)} times.", hint, *some[-1]


RULES = (unversioned, undescribed, untraced, loose, monolith, literal)
