"""The chart reader on synthetic charts that nobody has seen: the seed is drawn when it is asked for.

The same questions are answered three times: with guesses where nothing was read, without them, and blind, by a reader
that is shown no picture. All pictures go the official way, as JPEG files.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from inglenook.errors import NookError
from inglenook.evals import finance
from inglenook.evals.charts.paint import png
from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.target import Eyes, Reader
from inglenook.evals.charts.synthetic import rows
from inglenook.evals.drive import drive
from inglenook.evals.items import Item
from inglenook.platform.native.engine import models_folder

from buildlib.project import say

QUESTIONS = 525  # 175 charts
DEVELOPED = range(1, 51)  # the seeds that the reader was made with
Marked = list[tuple[Item, Any]]


def items(seed: int, count: int) -> Iterator[Item]:
    """Synthetic questions, each with its picture."""
    drawn: tuple[str, bytes] = ("", b"")
    for row in islice(rows(seed), count):
        if drawn[0] != row["chart"]:
            drawn = row["chart"], png(row["scene"])
        yield Item(
            row["id"], row["question_text"], row["question_type"], row["answer"], drawn[1], row["options"], row["unit"],
            row["tolerance"], row["verified_caption"], row["related_sentences"], row["knowledge_domain"],
            {"main_class": row["main_class"], "subclass": row["subclass"]},
        )  # fmt: skip


def reader(seed: int = 0, count: int = QUESTIONS) -> dict[str, Any]:
    """Accuracy and FinScore of the three ways, by chart class, too. Without a seed one is drawn."""
    while not seed or seed in DEVELOPED:
        seed = secrets.randbelow(1 << 31)
    try:
        eyes = Eyes(models_folder())
        asked = list(items(seed, count))
    except NookError as error:
        say(f"  {error.message}")
        return {}
    seen = _remembered(eyes)
    ways = {
        "guessing": (Reader(seen), finance.Plan()),
        "sure": (Reader(seen, guess=False), finance.Plan()),
        "blind": (Reader(seen), finance.Plan(blind=True)),
    }
    marked = {name: drive(finance.ask(iter(asked), target.name, plan), target) for name, (target, plan) in ways.items()}
    told = {name: finance.summary(name, found) for name, found in marked.items()}
    classes = {column: _by(marked, column) for column in ("main_class", "subclass")}
    return {
        "chart_reader_seed": seed,
        "chart_reader_questions": count,
        "chart_reader_accuracy": round(told["guessing"]["repo"]["accuracy"], 4),
        "chart_reader_blind": round(told["blind"]["repo"]["accuracy"], 4),
        "chart_reader_classes_above_blind": sum(
            one["guessing"] > one["blind"] for one in classes["main_class"].values()
        ),
        "chart_reader_classes": classes["main_class"],
        "chart_reader_kinds": classes["subclass"],
        "chart_reader_finscore": {
            name: {
                "repo": round(one["repo"]["score"], 4),
                **{f"paper, n = {n}": round(score["score"], 4) for n, score in one["paper"].items()},
                "accuracy": round(one["repo"]["accuracy"], 4),
                "coverage": round(one["repo"]["coverage"], 4),
                "by question": {kind: round(share, 4) for kind, share in one["repo"]["kinds"].items()},
            }
            for name, one in told.items()
        },
    }


def _remembered(eyes: Callable[[np.ndarray], list[Text]]) -> Callable[[np.ndarray], list[Text]]:
    """Each picture is looked at once."""
    seen: dict[bytes, list[Text]] = {}

    def look(pixels: np.ndarray) -> list[Text]:
        key = hashlib.sha256(pixels.tobytes()).digest()
        if key not in seen:
            seen[key] = eyes(pixels)
        return seen[key]

    return look


def _by(marked: dict[str, Marked], column: str) -> dict[str, dict[str, Any]]:
    """By a column: how many, right of all in each way, and how many the sure reader answered and had right of these."""
    parts: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for name, found in marked.items():
        for item, one in found:
            parts[str(item.more[column])][name].append(one)
    told = {}
    for value, ways in sorted(parts.items()):
        answered = [one for one in ways["sure"] if one.answered]
        told[value] = {
            "questions": len(ways["sure"]),
            **{name: round(sum(one.right for one in found) / len(found), 3) for name, found in ways.items()},
            "coverage": round(len(answered) / len(ways["sure"]), 3),
            "right of answered": round(sum(one.right for one in answered) / max(1, len(answered)), 3),
        }
    return told
