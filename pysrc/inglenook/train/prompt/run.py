"""All of the training: questions, labels, two heads, one file of a few kilobytes.

Labels are lines of `labels.jsonl` in the work folder, one an example, so that a run that was stopped goes on where it
was; the heads are fitted anew from all lines, which takes seconds.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.elastic import chat, squeeze
from inglenook.elastic.decode import CHUNK, CONTEXT
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Candidates
from inglenook.nook import Nook
from inglenook.platform.native.models import Encoder, LanguageModel
from inglenook.train.prompt import examples, learn
from inglenook.train.prompt.label import Judge
from inglenook.types import Hit

Json = dict[str, Any]

WRITTEN = 20  # tokens of a written question at most


class Models:
    """The encoder and the language model of a folder, as the training uses them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.load((folder / "smollm2-135m-instruct.tokenizer.json").read_bytes())
        self.wordpiece = WordPiece.load((folder / "minilm-l6.vocab.txt").read_bytes())
        self._encoder = Encoder(folder / "minilm-l6.nkm")
        self._model = LanguageModel(folder / "smollm2-135m-instruct.nkm", context=CONTEXT)
        levels: Any = self._model.config.get("levels") or [{"ratio": 1.0}]
        self.ratios = [float(level["ratio"]) for level in levels]

    def read(self, question: str, hits: Sequence[Hit]) -> squeeze.Read:
        """What `squeeze.read` returns."""
        return _encoded(squeeze.read(question, hits, self.tokenizer, self.wordpiece), self._encoder)

    def score(self, prompt: list[int], answer: list[int], level: int) -> np.ndarray:
        """The log-probability of each token of `answer` after `prompt`, given those before it."""
        self._model.forward(prompt[:-1], 0, 1, level=level)
        return self._model.score([prompt[-1], *answer], len(prompt) - 1, level=level)

    def first(self, tokens: list[int]) -> Candidates:
        """The likeliest tokens after a prompt."""
        for at in range(0, len(tokens), CHUNK):
            best = self._model.forward(tokens[at : at + CHUNK], at, 1)
        return best

    def write(self, tokens: list[int], most: int) -> str:
        """The likeliest text after a prompt, `most` tokens at most."""
        best, made = self.first(tokens), list[int]()
        while int(best.ids[0]) not in self.tokenizer.ends and len(made) < most:
            made.append(int(best.ids[0]))
            best = self._model.forward(made[-1:], len(tokens) + len(made) - 1, 1)
        return self.tokenizer.decode(made)

    def close(self) -> None:
        """Free the memory."""
        self._encoder.close()
        self._model.close()


def train(
    nook: Nook, models: Models, work: Path, *, count: int, seed: int, progress: Callable[[int, int], None]
) -> tuple[Json, Json]:
    """Label `count` examples over a library and fit both heads; returns them, and how good they are on every fifth.

    Raises NookError("text-short") if the library has no passages to ask about.
    """
    label(nook, models, work / "labels.jsonl", count=count, seed=seed, progress=progress)
    rows = [json.loads(line) for line in (work / "labels.jsonl").read_text().splitlines()][:count]
    return learn.heads([row for row in rows if row])


def label(
    nook: Nook, models: Models, out: Path, *, count: int, seed: int, progress: Callable[[int, int], None]
) -> None:
    """Append to `out` until it has `count` lines; a piece that was not worth a question makes the line {}."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch()
    text = out.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # a run that was killed left half a line
        out.write_text(whole)
    done = whole.count("\n")
    judge = Judge(models.score, models.tokenizer)
    write = lambda turns: models.write(chat.encode(turns, models.tokenizer), WRITTEN)
    for number, example in zip(range(done, count), examples.examples(nook, write, seed, done), strict=False):
        rng = random.Random(f"{seed} {number}")
        row = {} if example is None else _row(example, models, judge, rng)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        progress(number + 1, count)


def _row(example: examples.Example, models: Models, judge: Judge, rng: random.Random) -> Json:
    read = models.read(example.question, example.hits)
    return {
        "kind": example.kind,
        "question": example.question,
        "answer": example.answer,
        "hits": [dataclasses.asdict(dataclasses.replace(hit, marks=())) for hit in example.hits],
        "hit": [piece.hit for piece in read.pieces],
        "tokens": [piece.tokens for piece in read.pieces],
        "signs": read.signs.round(4).tolist(),
        "gains": judge.gains(example, read, rng),
        "pairs": [judge.shared(example, read, level) for level in range(len(models.ratios))],
        "ratios": models.ratios,
    }


def _encoded(flow: Generator[Any, Any, squeeze.Read], encoder: Encoder) -> squeeze.Read:
    """Drive a flow that asks for nothing but embeddings."""
    answer = None
    while True:
        try:
            answer = encoder.encode(flow.send(answer).tokens)
        except StopIteration as stop:
            read: squeeze.Read = stop.value
            return read


def module(heads: Json) -> str:
    """The heads as the source of `elastic/heads.py`."""
    lines = ['"""The weights of the heads of `squeeze`, as `inglenook train prompt` writes them."""', ""]
    for head, weights in heads.items():
        lines += [f"{head} = {{", *(f'    "{name}": {weight},' for name, weight in weights.items()), "}"]
    return "\n".join(lines) + "\n"
