"""FinMME (2505.24714) on any target that sees pictures: the official prompt, marks, and what they add up to.

marks = drive(ask(items, target.name, Plan()), answer, rows)
finscore(marks, mode="repo")
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from inglenook.evals.calls import Call, Image, Message, Settings, Work
from inglenook.evals.finscore import Count, Mark, finscore, mark
from inglenook.evals.items import Item, media
from inglenook.evals.pictures import opened, pillow
from inglenook.evals.stimuli import CHART
from inglenook.types import Json

BATCH = 8
SIDE, QUALITY = 1024, 80  # of pictures: pixels at most, and of JPEG
SETTINGS = Settings(max_tokens=1280, temperature=0.0)
_COUNTS: tuple[Count, ...] = ("options", "gold")


@dataclass(frozen=True, slots=True)
class Plan:
    """How items are asked. `blind` leaves the picture out: what is right then was never read from it. `official`
    pictures are JPEG files of at most 1,024 pixels, which needs Pillow; otherwise a file is sent as it is."""

    settings: Settings = SETTINGS
    blind: bool = False
    official: bool = True


def prompt(item: Item) -> str:
    """What the official script asks. Columns without a value read "None" there, and so here."""
    told = {"caption": item.caption, "related": item.related, "unit": item.unit}
    text = CHART[item.kind].format(**told) + f"\nQuestion: {item.question}"
    if item.kind == "numerical" or item.options == "":
        return text
    return f"{text}\nOptions: {item.options}"


def call(item: Item, target: str, plan: Plan) -> Call:
    """One call. Raises NookError("bad-image" | "no-pillow")."""
    text = prompt(item)
    if plan.blind or not item.image:
        return Call(target, (Message("user", text),), plan.settings)
    kind = media(item.image, f"item {item.id}")
    image = official(item) if plan.official else Image(item.image, kind)
    return Call(target, (Message("user", (text, image)),), plan.settings)


def ask(items: Iterable[Item], target: str, plan: Plan) -> Work[list[tuple[Item, Mark]]]:
    """Ask all of them. Returns each item, without its picture, and how it was answered; one whose call failed counts as
    not answered."""
    marked: list[tuple[Item, Mark]] = []
    waiting = iter(items)
    while batch := list(islice(waiting, BATCH)):
        replies = yield [call(item, target, plan) for item in batch]
        for item, reply in zip(batch, replies):
            marked.append((_bare(item), mark(item, "" if reply.error else reply.text)))
    return marked


def official(item: Item) -> Image:
    """A picture as the official script sends it: on white, at most 1,024 pixels a side, JPEG. Raises
    NookError("no-pillow" | "bad-image")."""
    made = io.BytesIO()
    with opened(item.image, f"the image of item {item.id}", "; or send files as they are: --as-is") as image:
        if image.mode in ("RGBA", "LA", "P"):
            image = image.convert("RGBA")
            ground = pillow().new("RGB", image.size, (255, 255, 255))
            ground.paste(image, mask=image.getchannel("A"))
            image = ground
        image = image.convert("RGB")
        image.thumbnail((SIDE, SIDE), pillow().Resampling.LANCZOS)
        image.save(made, format="JPEG", quality=QUALITY, optimize=True)
    return Image(made.getvalue(), "image/jpeg")


def summary(target: str, marked: Sequence[tuple[Item, Mark]], by: Sequence[str] = ()) -> Json:
    """Both scores, what reading strictly would change, and accuracy by further columns (`by`)."""
    marks = [one for _, one in marked]
    parts: dict[str, dict[str, list[bool]]] = {}
    for item, one in marked:
        for column in by:
            if (value := item.more.get(column)) is not None:
                parts.setdefault(column, {}).setdefault(str(value), []).append(one.right)
    return {
        "target": target,
        "items": len(marked),
        "repo": finscore(marks, "repo").told(),
        "paper": {n: finscore(marks, "paper", n).told() for n in _COUNTS},
        "strict_differs": dict(Counter(one.kind for one in marks if one.strict != one.right)),
        "by": {
            column: {value: round(sum(found) / len(found), 5) for value, found in sorted(values.items())}
            for column, values in parts.items()
        },
    }


def _bare(item: Item) -> Item:
    return replace(item, image=b"")
