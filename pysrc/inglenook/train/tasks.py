"""Questions with choices and words to be foretold, and how many of them a model gets right.

The choice is taken that is likeliest by its tokens' mean log-probability. A LAMBADA passage (Paperno et al.,
1606.06031) asks for its last word: right if each of its tokens is the likeliest one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

MOST = 5  # choices; what has more is an order to a telephone

Score = Callable[[list[int], list[int]], tuple[np.ndarray, bool]]
"""Of (prompt, choice): the log-probability of each token of the choice after those before it, and whether each was the
likeliest one."""


@dataclass(frozen=True)
class Task:
    """A question: `right` is the place of the right one among `choices`; without choices its text is to be foretold."""

    name: str
    prompt: str
    choices: tuple[str, ...]
    right: int

    @property
    def chance(self) -> float:
        """How often guessing is right."""
        return 1 / len(self.choices) if len(self.choices) > 1 else 0.0

    def answered(self, means: Sequence[float]) -> bool:
        """Whether the right choice has the highest mean log-probability."""
        return int(np.argmax(means)) == self.right


def correct(task: Task, tokenizer: Tokenizer, score: Score) -> bool:
    """Whether a model gets a task right."""
    prompt = tokenizer.encode(task.prompt, special=False)
    scored = [score(prompt, tokenizer.encode(choice, special=False)) for choice in task.choices]
    if len(scored) == 1:
        return scored[0][1]
    return task.answered([float(odds.mean()) for odds, _ in scored])


def accuracy(score: Score, tokenizer: Tokenizer, tasks: Sequence[Task]) -> dict[str, float]:
    """The share of right answers by the tasks' name, and what guessing would give as `name.chance`."""
    found: dict[str, list[float]] = {}
    for task in tasks:
        found.setdefault(task.name, []).append(correct(task, tokenizer, score))
        found.setdefault(f"{task.name}.chance", []).append(task.chance)
    return {name: float(np.mean(values)) for name, values in found.items()}


def shares(found: dict[str, float], whole: dict[str, float]) -> dict[str, float]:
    """Accuracy above chance as a share of the whole model's, by name; tasks the whole model cannot do are left out."""
    above = {name: whole[name] - whole[f"{name}.chance"] for name in whole if not name.endswith(".chance")}
    return {name: (found[name] - found[f"{name}.chance"]) / gain for name, gain in above.items() if gain > 0}


def read(path: Path, most: int | None = None) -> list[Task]:
    """Of a file: LAMBADA (`.jsonl`, {"text"}) or a list of questions (`.json`, see `question`), each once.

    Raises NookError("format").
    """
    try:
        lines = path.read_text(encoding="utf-8")
        found = _passages(lines) if path.suffix == ".jsonl" else filter(None, map(question, json.loads(lines)))
        return list(dict.fromkeys(found))[:most]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise NookError("format", f"{path.name} holds no tasks.", "Give LAMBADA or a list of questions.") from error


def question(entry: list[object]) -> Task | None:
    """Of [question, choices, answer, …, name], where an answer is a choice's letter or number; None for what has no or
    too many choices."""
    asked, choices, answer, *rest = entry
    if not isinstance(choices, list):
        return None
    place = answer if isinstance(answer, int) else "ABCDE".find(str(answer)) if len(str(answer)) == 1 else -1
    if not 0 <= place < len(choices) <= MOST:
        return None
    options = tuple(f" {choice}" for choice in choices)
    return Task(str(rest[-1]).lower(), f"Question: {asked}\nAnswer:", options, place)


def _passages(lines: str) -> Iterator[Task]:
    for line in filter(str.strip, lines.splitlines()):
        before, _, word = json.loads(line)["text"].strip().rpartition(" ")
        yield Task("lambada", before, (f" {word}",), 0)
