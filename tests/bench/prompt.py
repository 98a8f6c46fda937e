"""What squeezing a prompt costs in quality and saves in time: two tables, then one line of JSON.

    .venv/bin/python tests/bench/prompt.py [--share 0.5] [--half 0|1] [--write] [--rounds 5]

The questions are those of tests/retrieval, over the sample library; no label was made from its documents. The whole
prompt holds the two best passages uncut. Squeezed prompts have at most `share` of all its tokens, the question and the
instructions included, which are never dropped. Quality is measured in two ways, each relative to the whole prompt:

- the likelihood of the judged quote as the answer: per token, geometric mean over its first 12 tokens, averaged over
  the questions (`none` is the prompt without any passage);
- with `--write`, how many written answers (greedy, 48 tokens) hold at least half of the quote's telling words.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pysrc"))

from inglenook.elastic import squeeze
from inglenook.search import prompt
from inglenook.search.lead import CUE, MEANING, RANK, WORDS
from inglenook.search.lexical import content
from inglenook.train.prompt.label import Judge as Likelihood
from inglenook.train.prompt.run import Models
from inglenook.types import Hit

from tests.retrieval.judged import ROOT, SAMPLE, Judge, Question

ANSWER = 12  # tokens of the quote
WRITTEN = 48
SIZES = (200, 256, 384, 512, 640)  # tokens of whole prompts whose first token is timed
Scores = Callable[[squeeze.Read], np.ndarray]


def sign(read: squeeze.Read, name: str) -> np.ndarray:
    return read.signs[:, squeeze.SIGNS.index(name)]


def hand(read: squeeze.Read) -> np.ndarray:
    """The weights by which leads are found, chosen by hand."""
    brief = sign(read, "brief")
    words = brief * (WORDS * sign(read, "words") + CUE * sign(read, "cue"))
    return words + RANK * sign(read, "rank") + MEANING * sign(read, "meaning")


ARMS: dict[str, Scores] = {
    "first tokens": lambda read: -np.arange(len(read.pieces), dtype=np.float32),
    "at random": lambda read: np.random.default_rng(len(read.pieces)).random(len(read.pieces)),
    "words": lambda read: sign(read, "words"),
    "meaning": lambda read: sign(read, "meaning"),
    "by hand": hand,
    "score head": lambda read: read.scores,
}


class Bench:
    """The questions, the models, and what was measured so far."""

    def __init__(self, judge: Judge, share: float, write: bool) -> None:
        self.judge, self.share, self.write = judge, share, write
        self.models = Models(ROOT / "static" / "models")
        self.likelihood = Likelihood(self.models.score, self.models.tokenizer)
        self.rows: dict[str, list[tuple[int, float, float]]] = {}

    def ask(self, question: Question) -> None:
        """All arms on one question."""
        tokenizer, found = self.models.tokenizer, self.judge.search(question.question)
        read = self.models.read(question.question, found[: prompt.MOST])
        whole = prompt.squeezed(question.question, read, tokenizer, budget=4096)
        self._add("whole prompt", question, whole.ids)
        self._add("none", question, prompt.spell(question.question, [], [], tokenizer))
        budget = int(self.share * len(whole.ids))
        self._add("windows", question, prompt.build(question.question, found, tokenizer, budget=budget).ids)
        for name, scores in ARMS.items():
            self._squeezed(name, question, dataclasses.replace(read, scores=scores(read)), budget)
        wider = self.models.read(question.question, found[: 2 * prompt.MOST])
        self._squeezed("score head, twice the passages", question, wider, budget)

    def _squeezed(self, name: str, question: Question, read: squeeze.Read, budget: int) -> None:
        self._add(name, question, prompt.squeezed(question.question, read, self.models.tokenizer, budget=budget).ids)

    def _add(self, name: str, question: Question, ids: list[int]) -> None:
        nats = self.likelihood.likelihood(ids, question.quote, most=ANSWER)
        held = float("nan")
        if self.write and name in ("whole prompt", "by hand", "score head", "score head, twice the passages"):
            said, wanted = set(content(self.models.write(ids, WRITTEN))), set(content(question.quote))
            held = float(len(said & wanted) >= 0.5 * len(wanted))
        self.rows.setdefault(name, []).append((len(ids), nats, held))

    def table(self) -> dict[str, dict[str, float]]:
        """Print the first table."""
        whole = np.array(self.rows["whole prompt"])
        print(f"{'':34}{'tokens':>8}{'share':>8}{'nats':>8}{'likely':>8}{'of whole':>9}{'holds':>8}{'of whole':>9}")
        told = {}
        for name, rows in self.rows.items():
            tokens, nats, held = np.array(rows).T
            likely, best = np.exp(nats).mean(), np.exp(whole[:, 1]).mean()
            told[name] = {"tokens": float(tokens.mean()), "nats": float(nats.mean()), "likely": float(likely / best)}
            if not np.isnan(held).any():
                told[name] |= {"holds": float(held.mean()), "holds_share": float(held.mean() / whole[:, 2].mean())}
            print(
                f"{name:34}{tokens.mean():8.0f}{tokens.mean() / whole[:, 0].mean():8.2f}{nats.mean():8.3f}{likely:8.4f}"
                f"{likely / best:9.3f}{held.mean():8.3f}{held.mean() / whole[:, 2].mean():9.3f}"
            )
        return told


def timed(
    models: Models, question: str, hits: list[Hit], size: int, options: argparse.Namespace
) -> tuple[float, float]:
    """Milliseconds to the first logits of a prompt of at most `size` tokens: run whole; read, squeezed and then run."""
    tokenizer, rounds, share = models.tokenizer, options.rounds, options.share
    wide = models.read(question, hits)
    whole = prompt.squeezed(question, wide, tokenizer, budget=size).ids
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        began = time.perf_counter()
        models.first(whole)
        middle = time.perf_counter()
        read = models.read(question, hits[: max(1, round(len(hits) * size / (wide.tokens + 60)))])
        models.first(prompt.squeezed(question, read, tokenizer, budget=int(share * len(whole))).ids)
        best = [min(best[0], middle - began), min(best[1], time.perf_counter() - middle)]
    return best[0] * 1e3, best[1] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--half", type=int, choices=(0, 1), help="only this half of the questions")
    parser.add_argument("--every", type=int, default=1, help="only every nth question")
    parser.add_argument("--write", action="store_true", help="also write answers (minutes)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not SAMPLE.exists():
        raise SystemExit("static/samples/sample.nook is not there: run `python3 build.py dev` first")
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        with judge.nook:
            bench = Bench(judge, options.share, options.write)
            asked = [q for q in judge.asked if options.half in (None, q.half)][:: options.every]
            for number, question in enumerate(asked):
                bench.ask(question)
                print(f"\r{number + 1}/{len(asked)}", end="", file=sys.stderr, flush=True)
            print(f"\r{len(asked)} questions")
            figures["arms"] = told = bench.table()
            figures["prompt50_quality_share"] = told["score head"]["likely"]
            question = asked[0].question
            hits = judge.nook.search(question, 12)
            print(f"\n{'first token, ms':16}{'whole':>8}{'squeezed':>10}{'ratio':>7}")
            for size in SIZES:
                whole, squeezed = timed(bench.models, question, hits, size, options)
                print(f"{size:>6} tokens   {whole:8.0f}{squeezed:10.0f}{squeezed / whole:7.2f}")
                figures[f"prompt50_ttft_ratio_at_{size}"] = squeezed / whole
    print(json.dumps(figures | {"load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
