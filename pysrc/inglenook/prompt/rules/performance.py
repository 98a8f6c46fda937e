"""Performance and Efficiency: tokens that are read each time and change nothing."""

from __future__ import annotations

import re
from dataclasses import replace

from inglenook.prompt.ast import Prompt
from inglenook.prompt.example import examples
from inglenook.prompt.filler import FILLER, shortened
from inglenook.prompt.repetition import distinct, repeats
from inglenook.prompt.rule import TELLING, Found, Scene, rule

PREFIX = 100  # tokens that are read again each time from which on it is told (ours)
SHARE = 0.6  # of the tokens in examples from which on it is told (ours)


@rule("P501", "warning", "the same sentence twice", distinct)
def repeated(scene: Scene) -> Found:
    for one in repeats(scene.prompt):
        hint = f"It stands in {one.first} already: drop it, or set protect if it is meant."
        yield "This is said before.", hint, scene.prompt[one.segment], one.start, one.end


def _shorter(prompt: Prompt) -> Prompt:
    for one in prompt.segments:
        if one.kind in TELLING and not one.protected:
            prompt = prompt.put(replace(one, text=shortened(one.text)))
    return prompt


@rule("P502", "note", "words that say nothing", _shorter)
def filler(scene: Scene) -> Found:
    for pattern, short in FILLER:
        for segment, match in scene.search(pattern, scene.telling()):
            hint = f"Write “{short.strip()}”." if short.strip() else "Leave it out."
            yield f"“{match[0].strip()}” costs tokens and says nothing.", hint, segment, *match.span()


@rule("P503", "note", "a beginning that changes")
def prefix(scene: Scene) -> Found:
    texts = [(one, scene.count(scene.own(one).strip())) for one in scene.prompt.segments]
    first = next((n for n, (one, _) in enumerate(texts) if one.slots), None)
    if first is None:
        return
    later = sum(size for one, size in texts[first + 1 :] if not one.slots)
    if later >= PREFIX:
        hint = "Put what never changes first: then it is read once and kept. The pass `order` does."
        segment = texts[first][0]
        yield f"{later} tokens that never change come after the first slot.", hint, segment, 0, len(segment.text)


@rule("P504", "note", "mostly examples")
def heavy(scene: Scene) -> Found:
    shown = examples(scene.prompt)
    names = {name for one in shown for name in one.segments}
    inside = sum(scene.count(scene.prompt[name].text) for name in names)
    whole = scene.count(scene.template())
    if len(shown) > 2 and inside > SHARE * whole:
        hint = "The pass `examples` finds which of them are needed."
        yield f"{len(shown)} examples take {inside} of {whole} tokens.", hint, None, 0, 0


def _tight(prompt: Prompt) -> Prompt:
    for one in prompt.segments:
        if not one.protected:
            text = re.sub(r"[ \t]+(?=\n)", "", re.sub(r"\n{4,}", "\n\n", one.text))
            prompt = prompt.put(replace(one, text=text))
    return prompt


@rule("P505", "note", "white space", _tight)
def space(scene: Scene) -> Found:
    for segment, match in scene.search(re.compile(r"[ \t]+(?=\n)|\n{4,}"), scene.prompt.segments):
        yield "White space that nobody sees is read as tokens.", "Take it out.", segment, *match.span()


RULES = (repeated, filler, prefix, heavy, space)
