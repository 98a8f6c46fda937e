"""Synthetic charts: every kind is drawn, what is asked has the answer that the data have, and none of it is FinMME."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from inglenook.evals.charts import asked as asking
from inglenook.evals.charts.asked import LEVELS
from inglenook.evals.charts.kinds import KINDS, PAPERS
from inglenook.evals.charts.plot import Facts, nice, number, shown
from inglenook.evals.charts.scene import Area, Line, Scene, Text, svg
from inglenook.evals.charts.subject import ASSETS, SUBJECTS
from inglenook.evals.charts.synthetic import rows
from inglenook.evals.finscore import mark
from inglenook.evals.items import Item

ROWS = list(islice(rows(7), 600))
# Kinds whose numbers stand in the picture: asked exactly.
PRINTED = {
    "waterfall chart", "funnel chart", "tile map", "bubble map", "league table", "pie chart", "stacked bars",
    "heat map", "table",
}  # fmt: skip


def texts(scene: Scene) -> list[str]:
    return [shape.text for shape in scene.shapes if isinstance(shape, Text)]


def solve(row: dict[str, Any]) -> str:
    """The answer, found from the data by reading the question: another way than the one it was made in."""
    values, text = row["facts"].values, row["question_text"]
    options = dict(line.split(": ", 1) for line in row["options"].splitlines())
    if text.startswith("What value does the chart show for the "):
        [label] = [name for name in values if re.search(rf"(?<![\w.-]){re.escape(name)} \(", text)][-1:]
        return str(values[label])
    if match := re.match(r"Which .* has the (highest|lowest)", text):
        pick = max if match[1] == "highest" else min
        return next(letter for letter, name in options.items() if name == pick(values, key=values.get))
    if match := re.match(r"Which of these have more than ([-\d.,]+)", text):
        limit = float(match[1].rstrip(".,").replace(",", ""))
        return "".join(letter for letter, name in options.items() if values[name] > limit)
    if match := re.match(r"How much higher is the value for (.+) than for (.+) \(", text):
        return str(values[match[1]] - values[match[2]])
    if match := re.match(r"How much do (.+) and (.+) come to together", text):
        return str(values[match[1]] + values[match[2]])
    assert text.startswith("Which statement is right")
    right = []
    for letter, said in options.items():
        one, other = said.split(" is above ")
        right += [letter] * (values[one] > values[other])
    return "".join(right)


def test_every_answer_is_that_of_the_data() -> None:
    for row in ROWS:
        item = Item(row["id"], row["question_text"], row["question_type"], row["answer"], options=row["options"],
                    tolerance=row["tolerance"] + 0.006, domain=row["knowledge_domain"])  # fmt: skip
        told = mark(item, f"Answer: {solve(row)}")
        assert told.right and told.strict, (row["subclass"], row["question_text"], row["answer"], solve(row))


def test_all_of_finmmes_classes_come_and_each_as_often() -> None:
    kinds = Counter((row["main_class"], row["subclass"]) for row in ROWS)
    assert set(kinds) == set(KINDS) and len(KINDS) == 21 and len({main for main, _ in KINDS}) == 10
    assert max(kinds.values()) - min(kinds.values()) <= 2 * 3 and {sub for _, sub in KINDS} > PAPERS
    domains = Counter(row["knowledge_domain"] for row in ROWS)
    assert len(domains) == len(SUBJECTS) == 18 and {row["asset_class"] for row in ROWS} == set(ASSETS)
    assert max(domains.values()) - min(domains.values()) <= 2 * 3
    types, levels = (Counter(row[name] for row in ROWS) for name in ("question_type", "cognitive_level"))
    assert min(types.values()) >= 0.3 * len(ROWS) and len(types) == 3
    assert set(levels) == set(LEVELS) and min(levels.values()) >= 0.15 * len(ROWS)


def test_right_options_stand_anywhere() -> None:
    places = Counter(row["answer"] for row in ROWS if row["question_type"] == "single_choice")
    assert set(places) == set("ABCD") and max(places.values()) < 0.36 * places.total()


def test_every_row_says_that_it_is_synthetic() -> None:
    assert all(row["synthetic"] is True and row["id"].startswith("synthetic-7-") for row in ROWS)
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    plain = [{name: value for name, value in row.items() if name not in ("scene", "facts")} for row in ROWS[:3]]
    assert json.loads(json.dumps(plain)) == plain and plain[0]["related_sentences"].startswith("A synthetic chart")


def test_a_seed_is_a_set() -> None:
    again, other = list(islice(rows(7), 30)), list(islice(rows(8), 30))
    assert again == ROWS[:30] and [row["answer"] for row in other] != [row["answer"] for row in again]


@pytest.mark.parametrize(("main", "sub"), list(KINDS), ids=lambda name: str(name))
def test_a_chart_stays_in_its_picture_and_shows_what_is_asked(main: str, sub: str) -> None:
    for seed in range(12):
        subject = SUBJECTS[seed % len(SUBJECTS)]
        chart = KINDS[main, sub](Random(seed), subject)
        facts, scene = chart.facts, chart.scene
        for shape in scene.shapes:
            points = [(shape.x, shape.y)] if isinstance(shape, Text) else shape.points
            assert all(-1 <= x <= scene.width + 1 and -1 <= y <= scene.height + 1 for x, y in points), shape
        for text in (shape for shape in scene.shapes if isinstance(shape, Text)):
            wide = 0.56 * text.size * len(text.text)
            left = text.x - {"start": 0, "middle": wide / 2, "end": wide}[text.anchor]
            assert left >= -4 and left + wide <= scene.width + 12, text
        said = " ".join(texts(scene))
        assert all(label in said for label in facts.values), sub
        assert (facts.tolerance == 0) == (sub in PRINTED or sub == "risk matrix")
        if sub in PRINTED:
            shown_ = re.findall(r"-?\d[\d,]*(?:\.\d+)?", said)
            assert {round(float(text.replace(",", "")), 4) for text in shown_} >= set(facts.values.values()), sub
        assert len(list(asking.questions(Random(seed), facts))) >= 3, (sub, facts)


def test_only_what_can_be_told_apart_is_asked() -> None:
    near = Facts("Price", "USD", "day", {"a": 10.0, "b": 10.4, "c": 10.2, "d": 10.1}, tolerance=1.0)
    found = [asked for seed in range(20) for asked in asking.questions(Random(seed), near)]
    assert {asked.text[:10] for asked in found} == {"What value"}
    far = Facts("Price", "USD", "day", {"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0}, tolerance=1.0, adds=True)
    assert {asked.kind for seed in range(5) for asked in asking.questions(Random(seed), far)} == {
        "numerical", "single_choice", "multiple_choice"
    }  # fmt: skip


def test_svg_is_whole_and_escaped() -> None:
    scene = Scene()
    scene.text(1, 2, "R&D <b>", 12, "start")
    scene.line([(0, 0), (3, 4)])
    scene.disc(50, 50, 10, "#123456")
    root = ElementTree.fromstring(svg(scene))
    assert [child.tag.rpartition("}")[2] for child in root] == ["rect", "text", "polyline", "polygon"]
    assert root[1].text == "R&D <b>" and root[1].get("text-anchor") == "start"
    assert all(ElementTree.fromstring(svg(row["scene"])).tag for row in ROWS[:30])
    kinds = {type(shape) for row in ROWS for shape in row["scene"].shapes}
    assert kinds == {Line, Area, Text}


@pytest.mark.parametrize(
    ("low", "high", "zero", "ticks"),
    [(3, 47, True, [0, 10, 20, 30, 40, 50]), (-45, -2, True, [-50, -40, -30, -20, -10, 0]), (0, 0, True, [0, 0.2]),
     (8, 9, False, [8, 8.2, 8.4, 8.6, 8.8, 9])],
)  # fmt: skip
def test_ticks_are_round_and_hold_all(low: float, high: float, zero: bool, ticks: list[float]) -> None:
    assert nice(low, high, zero) == pytest.approx(ticks)


def test_printed_numbers_are_the_data() -> None:
    assert [number(value) for value in (0, 1234.4, -0.5, 99.996, 7.10)] == ["0", "1,234", "-0.5", "100", "7.1"]
    chance = Random(1)
    assert all(shown(shown(value)) == shown(value) for value in (chance.uniform(-2000, 2000) for _ in range(500)))
