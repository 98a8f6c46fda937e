"""Training of the prompt's heads: questions about the text, labels that the model itself gives, heads that learn."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.tiny import tokenizer
from inglenook.elastic import chat, squeeze
from inglenook.embed import hashing
from inglenook.nook import Nook
from inglenook.search.lexical import content
from inglenook.train.prompt import examples, learn, run
from inglenook.train.prompt.fit import logistic, ridge
from inglenook.train.prompt.label import SHARES

TINY = tokenizer()
SUBJECTS = ("mill", "harbour", "granary", "lighthouse", "orchard", "quarry", "tannery", "foundry", "dairy", "chapel")


class Arithmetic:
    """Stands in for the models: an answer is as likely as its words are in the prompt."""

    def __init__(self) -> None:
        self.tokenizer, self.ratios, self.asked = TINY, [1.0, 0.5], 0

    def read(self, question: str, hits: list[Any]) -> squeeze.Read:
        pieces = list(squeeze.cut(hits, TINY))
        vectors = hashing.embed([question, *(piece.text for piece in pieces)])
        return squeeze.Read(hits, pieces, squeeze.signs(question, hits, pieces, vectors), np.zeros(len(pieces)))

    def score(self, prompt: list[int], answer: list[int], level: int) -> np.ndarray:
        self.asked += 1
        body = TINY.decode(prompt).split("Question:")[0].split()
        known = np.mean([word in body for word in TINY.decode(answer).split()])
        return np.full(len(answer), 3 * known - 4 - level)

    def write(self, tokens: list[int], most: int) -> str:
        piece = TINY.decode(tokens).split("user\n")[-1].split("<|im_end|>")[0]
        return "What of " + " ".join(content(piece)[:4]) + "?"


@pytest.fixture
def nook(tmp_path: Path) -> Iterator[Nook]:
    rng = random.Random(0)
    for subject in SUBJECTS:
        lines = [
            f"The {subject} of {place} was {verb} in {rng.randint(1700, 1900)} by {who} after a long winter of hunger. "
            for place in ("Norrow", "Aldby", "Wick")
            for verb, who in (("built", "Ann Low"), ("sold", "Tom Hay"), ("burnt", "raiders from abroad"))
        ]
        (tmp_path / f"{subject}.md").write_text(f"# The {subject}\n\n" + "\n\n".join(lines))
    with Nook(tmp_path / "train.nook", models=tmp_path / "none") as opened:
        opened.add(tmp_path)
        yield opened


def test_a_run_learns_what_answers_and_goes_on_where_it_was_stopped(nook: Nook, tmp_path: Path) -> None:
    models, seen = Arithmetic(), list[int]()
    run.label(nook, models, tmp_path / "labels.jsonl", count=5, seed=1, progress=lambda done, of: seen.append(done))
    first = (tmp_path / "labels.jsonl").read_text()
    (tmp_path / "labels.jsonl").write_text(first + '{"kind": "tor')  # as a run that is killed leaves it
    told, report = run.train(nook, models, tmp_path, count=40, seed=1, progress=lambda done, of: seen.append(done))
    lines = (tmp_path / "labels.jsonl").read_text()
    assert lines.startswith(first) and len(lines.splitlines()) == 40 and seen == list(range(1, 41))
    rows = [json.loads(line) for line in lines.splitlines() if line != "{}"]
    assert len(rows) > 30 and {row["kind"] for row in rows} == {"question", "keywords"}
    assert report["examples"] == len(rows) and report["gain_by_score"] > 0.8
    assert report["error"]["decision"] < 0.8 * report["error"]["mean"]
    assert told["DECISION"]["ratio"] > 0 and told["DECISION"]["worth kept"] > 0
    made: dict[str, dict[str, float]] = {}
    exec(run.module(told), made)
    assert made["SCORE"] == told["SCORE"] and set(made["SCORE"]) == {*squeeze.SIGNS, "constant"}
    assert made["DECISION"] == told["DECISION"] == learn.heads(rows)[0]["DECISION"]
    before = models.asked
    run.train(nook, models, tmp_path, count=40, seed=1, progress=lambda done, of: None)
    assert models.asked == before


def test_labels_say_what_a_piece_alone_does_and_what_is_left_of_a_part(nook: Nook, tmp_path: Path) -> None:
    run.label(nook, Arithmetic(), tmp_path / "labels.jsonl", count=12, seed=2, progress=lambda done, of: None)
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines() if line != "{}"]
    for row in rows:
        judged = [gain for gain in row["gains"] if gain is not None]
        assert len(row["gains"]) == len(row["signs"]) == len(row["tokens"]) and len(judged) >= 1
        assert min(judged) >= -1e-6 and max(judged) <= 3 + 1e-6
        assert np.shape(row["pairs"]) == (2, len(SHARES)) and row["ratios"] == [1.0, 0.5]
        assert np.allclose(np.subtract(row["pairs"][0], row["pairs"][1]), 1)
    assert any(max(gain for gain in row["gains"] if gain is not None) > 2.5 for row in rows)


def test_questions_are_about_a_piece_and_the_same_for_the_same_seed(nook: Nook) -> None:
    write = lambda turns: Arithmetic().write(chat.encode(turns, TINY), 20)
    first = [e for e, _ in zip(examples.examples(nook, write, 3), range(8))]
    assert first[4:] == [e for e, _ in zip(examples.examples(nook, write, 3, first=4), range(4))]
    asked = [e for e in first if e]
    assert len(asked) > 4 and all(e.hits and e.question and len(e.answer.split()) <= examples.ANSWER for e in asked)
    found = [h.text[e.at - h.start :] for e in asked for h in e.hits if h.document == e.source and h.start <= e.at]
    assert sum(any(e.answer in text for text in found) for e in asked) >= len(asked) - 1


def test_ridge_finds_what_tells_rows_of_a_group_apart_and_keeps_to_what_is_known_without_them() -> None:
    rng = np.random.default_rng(0)
    inputs, groups = rng.normal(size=(400, 3)) * (1, 5, 0.1) + (0, 3, -1), np.arange(400) // 4
    targets = 2 * inputs[:, 0] - 0.2 * inputs[:, 1] + 7 * (groups % 3)  # how hard a question is tells no piece apart
    weights = ridge(inputs, targets, groups, 0.1, np.zeros(3))
    assert np.allclose(weights[:3], (2, -0.2, 0), atol=0.05)
    assert abs((inputs @ weights[:3] + weights[3] - targets).mean()) < 1e-9
    assert np.allclose(ridge(inputs, targets, groups, 1e9, np.array([1.0, 0.5, 3.0]))[:3], (1, 0.5, 3), atol=1e-3)


def test_logistic_regression_finds_the_odds() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 2)) * (1, 10) + (0, 50)
    chances = 1 / (1 + np.exp(-(2 * inputs[:, 0] - 0.1 * inputs[:, 1] + 4)))
    assert np.allclose(logistic(inputs, chances, 1e-6), (2, -0.1, 4), atol=1e-3)
