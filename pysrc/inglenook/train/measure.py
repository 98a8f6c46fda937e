"""How good a sub-model is: perplexity on held-out text, accuracy on tasks.

Perplexity: windows that do not overlap, each token given those before it in its window, the first of a window not
counted. A task has a prompt and choices; the choice is right that is likeliest by its tokens' mean log-probability. A
LAMBADA passage (Paperno et al., 1606.06031) asks for its last word: right if each of its tokens is the likeliest one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError
from inglenook.train.model import Model

Array = np.ndarray
States = Callable[[Tensor], Tensor]
"""Normed last states (batch, time, width) of token ids (batch, time): a model at a level, whatever that is."""


@dataclass(frozen=True)
class Task:
    """A question: `right` is the place of the right one among `choices`; without choices its text is to be foretold."""

    name: str
    prompt: str
    choices: tuple[str, ...]
    right: int


def perplexity(model: Model, states: States, windows: Array, batch: int = 4) -> float:
    """exp of the mean negative log-likelihood over windows (count, time) of token ids."""
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(windows), batch):
            tokens = torch.from_numpy(windows[at : at + batch]).to(model.device)
            for row, given in zip(states(tokens)[:, :-1], tokens[:, 1:], strict=True):
                total += functional.cross_entropy(model.logits(row), given, reduction="sum").item()
    return math.exp(total / (windows.shape[0] * (windows.shape[1] - 1)))


def accuracy(model: Model, states: States, tokenizer: Tokenizer, tasks: Sequence[Task]) -> dict[str, float]:
    """The share of right answers by the tasks' name, and what guessing would give as `name.chance`."""
    right: dict[str, list[float]] = {}
    chance: dict[str, list[float]] = {}
    for task in tasks:
        scores, exact = [], False
        prompt = tokenizer.encode(task.prompt, special=False)
        for choice in task.choices:
            ids = tokenizer.encode(choice, special=False)
            with torch.no_grad():
                last = states(torch.tensor([[*prompt, *ids]], device=model.device))[0, -len(ids) - 1 : -1]
                odds = functional.log_softmax(model.logits(last), -1)
            given = torch.tensor(ids, device=model.device)
            scores.append(odds.gather(1, given[:, None]).mean().item())
            exact = bool((odds.argmax(1) == given).all())
        several = len(task.choices) > 1
        hit = int(np.argmax(scores)) == task.right if several else exact
        right.setdefault(task.name, []).append(float(hit))
        chance.setdefault(task.name, []).append(1 / len(task.choices) if several else 0.0)
    means = {name: float(np.mean(values)) for name, values in right.items()}
    return means | {f"{name}.chance": float(np.mean(values)) for name, values in chance.items()}


def shares(found: dict[str, float], whole: dict[str, float]) -> dict[str, float]:
    """Accuracy above chance as a share of the whole model's, by name; tasks the whole model cannot do are left out."""
    above = {name: whole[name] - whole[f"{name}.chance"] for name in whole if not name.endswith(".chance")}
    return {name: (found[name] - found[f"{name}.chance"]) / gain for name, gain in above.items() if gain > 0}


def tasks(path: Path, most: int | None = None) -> list[Task]:
    """Of a file: LAMBADA (`.jsonl`, {"text"}) or a list of [question, choices, answer, …, name] (`.json`).

    An answer is a choice's letter or number. Raises NookError("format").
    """
    try:
        lines = path.read_text(encoding="utf-8")
        found = _passages(lines) if path.suffix == ".jsonl" else _questions(json.loads(lines))
        return list(found)[:most]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise NookError("format", f"{path.name} holds no tasks.", "Give LAMBADA or a list of questions.") from error


def _passages(lines: str) -> Iterator[Task]:
    for line in filter(str.strip, lines.splitlines()):
        before, _, word = json.loads(line)["text"].strip().rpartition(" ")
        yield Task("lambada", before, (f" {word}",), 0)


def _questions(entries: list[list[object]]) -> Iterator[Task]:
    seen: set[str] = set()
    for question, choices, answer, *rest in entries:
        if not isinstance(choices, list) or str(question) in seen:
            continue
        place = answer if isinstance(answer, int) else "ABCDE".find(str(answer)) if len(str(answer)) == 1 else -1
        if 0 <= place < len(choices) <= 5:  # the rest are orders to a telephone
            seen.add(str(question))
            options = tuple(f" {choice}" for choice in choices)
            yield Task(str(rest[-1]).lower(), f"Question: {question}\nAnswer:", options, place)
