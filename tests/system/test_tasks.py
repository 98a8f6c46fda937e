"""Tasks: read as they come, right by what one counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine import tiny
from inglenook.errors import NookError
from inglenook.train import tasks
from inglenook.train.tasks import Task

TINY = tiny.tokenizer()


def fond(prompt: list[int], choice: list[int]) -> tuple[np.ndarray, bool]:
    """A model that likes the letter a, and what is like its prompt's end."""
    text = TINY.decode(choice)
    return np.array([-1.0 if letter == "a" else -3.0 for letter in text.strip()]), text.strip() == "a"


def test_accuracy_counts_the_likeliest_choice() -> None:
    given = [
        Task("q", "the", (" a", " b"), 0), Task("q", "the", (" b", " a"), 0),
        Task("q", "the", (" c", " a", " b", "x"), 1), Task("last", "the", (" a",), 0), Task("last", "the", (" b",), 0),
    ]  # fmt: skip
    found = tasks.accuracy(fond, TINY, given)
    assert found == {"q": pytest.approx(2 / 3), "last": 0.5, "q.chance": pytest.approx(1.25 / 3), "last.chance": 0.0}
    worse = {**found, "q": 1.25 / 3, "last": 0.25}
    assert tasks.shares(worse, found) == {"q": pytest.approx(0), "last": 0.5}


def test_a_long_choice_counts_by_its_mean() -> None:
    assert tasks.correct(Task("q", "the", (" b", " aab"), 1), TINY, fond)
    assert tasks.correct(Task("q", "the", (" bba", " ba"), 1), TINY, fond)
    assert Task("q", "", ("x", "y", "z"), 2).answered([-3.0, -2.5, -2.0])


def test_tasks_are_read_as_they_come(tmp_path: Path) -> None:
    passages, questions = tmp_path / "a.jsonl", tmp_path / "b.json"
    passages.write_text('{"text": "He said no word"}\n\n{"text": "one two"}\n')
    assert tasks.read(passages) == [
        Task("lambada", "He said no", (" word",), 0), Task("lambada", "one", (" two",), 0)
    ]  # fmt: skip
    entries = [
        ["Why?", ["x", "y"], "B", [1, 1], 5, "ARC_E"], ["Why?", ["x", "y"], "B", [0.5, 1], 9, "ARC_E"],
        ["How?", ["x", "y", "z"], 2, [1, 1], 5, "SCIQ"], ["Do it", list("abcdefgh"), "G", [1, 1], 5, "octopus"],
        ["Open", ["x", "y"], "Google", [1, 1], 5, "llamatouch"], ["No", "none", 0, [1, 1], 5, "SCIQ"],
    ]  # fmt: skip
    questions.write_text(json.dumps(entries))
    found = tasks.read(questions)
    assert [(task.name, task.right, task.choices[task.right]) for task in found] == [
        ("arc_e", 1, " y"), ("sciq", 2, " z")
    ]  # fmt: skip
    assert len(tasks.read(questions, 1)) == 1
    for damaged in ("{", "[[1]]", "7"):
        questions.write_text(damaged)
        with pytest.raises(NookError) as caught:
            tasks.read(questions)
        assert caught.value.code == "format"
