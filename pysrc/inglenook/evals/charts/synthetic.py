"""A synthetic set in FinMME's format. It is not FinMME, and says so in every row (`synthetic`) and every id.

    for row in rows(seed=1): …            # for ever: the columns of FinMME, `scene` in place of `image`
    write(folder, count=500, seed=1)      # synthetic.jsonl and pictures beside it

Every kind of chart, domain and asset class comes as often as any other, and every question type as often as can be.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from inglenook.errors import NookError
from inglenook.evals.charts.asked import Asked, questions
from inglenook.evals.charts.kinds import KINDS
from inglenook.evals.charts.paint import png
from inglenook.evals.charts.plot import Facts
from inglenook.evals.charts.scene import Scene
from inglenook.evals.charts.subject import MARKETS, SUBJECTS

EACH = 3  # questions a chart


def rows(seed: int) -> Iterator[dict[str, Any]]:
    """Rows without end, three of each chart; equal seeds give equal rows."""
    chance = Random(seed)
    kinds, subjects = _rounds(chance, list(KINDS)), _rounds(chance, list(SUBJECTS))
    seen: Counter[str] = Counter()
    for number in count():
        (main, sub), subject = next(kinds), next(subjects)
        chart = KINDS[main, sub](chance, subject)
        for at, asked in enumerate(_picked(list(questions(chance, chart.facts)), seen)):
            yield {
                "id": f"synthetic-{seed}-{number:05}-{at}",
                "chart": f"synthetic-{seed}-{number:05}",
                "scene": chart.scene,
                "facts": chart.facts,
                "question_text": asked.text,
                "question_type": asked.kind,
                "options": asked.options,
                "answer": asked.answer,
                "unit": asked.unit,
                "tolerance": asked.tolerance,
                "verified_caption": chart.scene.shapes[0].text,  # type: ignore[union-attr]
                "related_sentences": f"A synthetic chart of {subject.domain}.",
                "knowledge_domain": subject.domain,
                "market": chance.choice(MARKETS),
                "asset_class": subject.asset,
                "main_class": main,
                "subclass": sub,
                "cognitive_level": asked.level,
                "synthetic": True,
            }


def write(folder: Path, count: int, seed: int, report: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """`count` questions with their pictures, into `folder`; returns the file of rows. Raises NookError("no-folder" |
    "no-pillow")."""
    if not folder.parent.is_dir():
        raise NookError("no-folder", f"The folder {folder.parent} is not there.", "Make it first.")
    folder.mkdir(exist_ok=True)
    lines, drawn = [], ""
    for done, row in enumerate(islice(rows(seed), count)):
        scene: Scene = row.pop("scene")
        facts: Facts = row.pop("facts")
        name = f"{row['chart']}.png"
        if name != drawn:
            (folder / name).write_bytes(png(scene))
            drawn = name
        lines.append(json.dumps({**row, "image": name, "data": facts.values}, ensure_ascii=False))
        report(done + 1, count)
    path = folder / "synthetic.jsonl"
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def _rounds(chance: Random, every: list[Any]) -> Iterator[Any]:
    """All of them in a new order each round."""
    while True:
        chance.shuffle(every)
        yield from list(every)


def _picked(asked: list[Asked], seen: Counter[str]) -> list[Asked]:
    """`EACH` of a chart's questions: of the type that is rarest so far, and of these of the rarest level."""
    kept: list[Asked] = []
    while asked and len(kept) < EACH:
        best = min(asked, key=lambda one: (seen[one.kind], seen[one.level]))
        asked.remove(best)
        seen.update((best.kind, best.level))
        kept.append(best)
    return kept
