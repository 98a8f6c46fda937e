"""What half of a prompt costs in quality and saves in time, as answers are made: tables, then one line of JSON.

    python3 build.py bench prompt [--share 0.5] [--every 1] [--rounds 3] [--tab] [--write] [--arms] [--half 0|1]

The questions are those of tests/retrieval, over the sample library; no label was made from its documents. Each is asked
as anybody would, on this machine, but that the planner keeps what it is told, by the whole model: the whole prompt, one
squeezed to at most `share` of all its tokens, the question and the instructions included, which are never dropped, and
one cut to as many, as it is where no encoder tells what matters. Nothing is cached. The time to the first token is the
one that answers tell: search, choosing what to keep, and reading it.

Quality is relative to the whole prompt: the likelihood of the judged quote as the answer (per token, geometric mean
over its first 12 tokens, averaged over the questions); with `--write`, how many written answers (greedy, 48 tokens)
hold at least half of the quote's telling words. `--arms` compares ways to choose pieces, over passages not cut before.

`--tab` asks some of the questions in a page, too. Nobody tells the planner there: it is asked for a first token at the
time that `share` of the prompt should take, and what it keeps to be in time is told as `prompt50_tab`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pysrc"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from app import IMPORT, blank
from harness import quiet
from inglenook.elastic import decode, plan, squeeze
from inglenook.elastic.cache import Cache
from inglenook.nook import Nook
from inglenook.search import prompt
from inglenook.search.lead import CUE, MEANING, RANK, WORDS
from inglenook.search.lexical import content
from inglenook.train.prompt.label import Judge as Likelihood
from inglenook.train.prompt.run import Models
from inglenook.wire import messages as wire

from tests.retrieval.judged import ROOT, SAMPLE, Judge, Question

ANSWER = 12  # tokens of the quote
WRITTEN = 48
ALWAYS = wire.Slo(first=600_000.0)
BINS = (200, 240, 272, 304, 400)  # tokens of whole prompts that are told together
AT = 256
IN_TAB = 24  # questions: more prompts than the cache holds, so that none is found there again
CAUTION, READ_MS = 1.1, 60.0
PREPARE = """async () => {
  const { open } = await import('/inglenook.js');
  self.nook = await open('notes');
  await nook.prepare('encoder');
  await nook.prepare('lm');
  await nook.levels({ measure: true });
}"""
ASK = """async ([questions, slos]) => {
  const told = [];
  for (const [i, question] of questions.entries()) {
    let timing = null;
    try {
      for await (const event of nook.ask(question, { max_tokens: 1, slo: slos[i] }))
        if (event.type === 'Timing' && event.tokens) timing = event;
    } catch (error) {
      if (error.code !== 'slo') throw error;
    }
    told.push(timing);
  }
  return told;
}"""
Scores = Callable[[squeeze.Read], np.ndarray]


# ── as answers are made ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Told:
    """One answer: the prompt that the model read, what it wrote, and when."""

    ids: list[int]
    text: str
    timing: wire.Timing


@contextmanager
def keeping(share: float, squeezed: bool) -> Iterator[list[list[int]]]:
    """Answers by the whole model over `share` of their prompts, squeezed or cut; gives the prompts they are made of."""
    prompts: list[list[int]] = []
    generate = decode.generate

    def where(slo: wire.Slo, asked: plan.Prompt, places: Sequence[plan.Place]) -> plan.Choice:
        kept = max(asked.fixed + prompt.LEAST, int(share * asked.tokens))
        return plan.Choice(places[0].name, places[0].pair(asked, 0, min(kept, asked.tokens)))

    def noting(ids: list[int], *given: Any, **how: Any) -> Any:
        prompts.append(ids)
        return generate(ids, *given, **how)

    with (
        patch.object(plan, "where", where),
        patch.object(plan, "pays", lambda slo, asked, place: squeezed),
        patch.object(decode, "generate", noting),
    ):
        yield prompts


def ask(nook: Nook, question: str, share: float, squeezed: bool, tokens: int) -> Told | None:
    """The answer of so many tokens at most; None where nothing in the library answers."""
    model = nook.library.model
    model.cache = Cache(model.loaded.pages)
    with keeping(share, squeezed) as prompts:
        events = list(nook.stream(wire.Ask(question, slo=ALWAYS, max_tokens=tokens)))
    timing = next(event for event in events if isinstance(event, wire.Timing))
    text = "".join(event.text for event in events if isinstance(event, wire.Token))
    return Told(prompts[0], text, timing) if prompts else None


def holds(text: str, question: Question) -> bool:
    """Whether a text has half of the quote's telling words."""
    said, wanted = set(content(text)), set(content(question.quote))
    return len(said & wanted) >= 0.5 * len(wanted)


def wired(judge: Judge, asked: Sequence[Question], options: argparse.Namespace) -> dict[str, Any]:
    """The first tables, and their figures."""
    nook, models = judge.nook, Models(ROOT / "static" / "models")
    likelihood = Likelihood(models.score, models.tokenizer)
    nook.prepare()
    list(nook.stream(wire.Levels(measure=True)))
    ways = ((1.0, False), (options.share, True), (options.share, False))
    nats, held, sizes, first, chosen = [], [], [], [], []
    for number, question in enumerate(asked):
        print(f"\r{number + 1}/{len(asked)}", end="", file=sys.stderr, flush=True)
        best = [float("inf")] * len(ways)
        made: list[Told] = []
        for turn in range(options.rounds):
            tokens = WRITTEN if options.write and not turn else 1
            found = [told for way in ways if (told := ask(nook, question.question, *way, tokens))]
            made = made or found
            best = [min(ms, told.timing.first_ms) for ms, told in zip(best, found)]
        if not made:
            continue
        whole, half, _ = made
        assert whole.timing.prompt_tokens == half.timing.whole_tokens and half.timing.squeeze_ms
        nats.append([likelihood.likelihood(told.ids, question.quote, most=ANSWER) for told in made])
        held.append([holds(told.text, question) for told in made])
        sizes.append([len(told.ids) for told in made])
        first.append(best)
        chosen.append(half.timing.squeeze_ms)
    models.close()
    table, of = np.array(sizes), np.exp(np.array(nats))
    times = np.array(first)
    ratios = times[:, 1] / times[:, 0]
    print(f"\r{len(table)} of {len(asked)} questions are answered; {table[:, 0].mean():.0f} tokens, "
          f"{table[:, 1].mean():.0f} kept, chosen in {np.mean(chosen):.0f} ms")  # fmt: skip
    likely = of.mean(axis=0)
    print(f"likelihood of the quote: {likely[0]:.4f}, squeezed {likely[1]:.4f}, cut {likely[2]:.4f}")
    print(f"\n{'whole prompt':16}{'answers':>8}{'first, ms':>10}{'squeezed':>10}{'ratio':>7}{'worst':>7}")
    for low, high in pairwise(BINS):
        here = (table[:, 0] >= low) & (table[:, 0] < high)
        if here.any():
            row = [*times[here, :2].mean(axis=0), ratios[here].mean(), ratios[here].max()]
            print(f"{low:>5} to {high - 1:<7}{here.sum():>8}{row[0]:10.0f}{row[1]:10.0f}{row[2]:7.2f}{row[3]:7.2f}")
    near, above = np.abs(table[:, 0] - AT) <= AT / 16, table[:, 0] > BINS[0]
    figures: dict[str, Any] = {
        "prompt50_quality_share": round(float(likely[1] / likely[0]), 3),
        "prompt50_quality_share_geometric": round(float(np.exp(np.mean([b - a for a, b, _ in nats]))), 3),
        "prompt50_cut_quality_share": round(float(likely[2] / likely[0]), 3),
        f"prompt50_ttft_ratio_at_{AT}": round(float(ratios[near].mean()), 3) if near.any() else None,
        "prompt50_ttft_ratio_worst": round(float(ratios[above].max()), 3) if above.any() else None,
        "prompt50_tokens_share": round(float((table[:, 1] / table[:, 0]).mean()), 3),
        "prompt50_squeeze_ms": round(float(np.mean(chosen)), 1),
        "prompt50_questions": len(table),
    }
    if options.write:
        right = np.array(held).mean(axis=0)
        print(f"answers that hold the quote: {right[0]:.3f}, squeezed {right[1]:.3f}, cut {right[2]:.3f}")
        figures["prompt50_holds_share"] = round(float(right[1] / right[0]), 3) if right[0] else None
    return figures


# ── in the tab ────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_the_tab(questions: Sequence[str], share: float) -> dict[str, Any]:
    """The third table: first tokens in a page, whole prompts and those that the planner squeezes to be in time."""
    with blank() as page:
        page.evaluate(IMPORT, "/static/samples/sample.nook")
        page.evaluate(PREPARE)
        whole = page.evaluate(ASK, [questions, [{}] * len(questions)])
        slos = [{"first": _due(told, share)} for told in whole]
        half = page.evaluate(ASK, [questions, slos])
    pairs = [(a, b) for a, b in zip(whole, half) if a and b and b["squeeze_ms"] and not b["level"]]
    if not pairs:
        print("  no prompt was squeezed in the tab")
        return {}
    kept = [b["prompt_tokens"] / b["whole_tokens"] for _, b in pairs]
    ratio = [b["first_ms"] / a["first_ms"] for a, b in pairs]
    told = {
        "asked": len(questions), "squeezed": len(pairs), "share": round(float(np.mean(kept)), 3),
        "ttft_ratio": round(float(np.mean(ratio)), 3), "worst": round(float(np.max(ratio)), 3),
        "squeeze_ms": round(float(np.mean([b["squeeze_ms"] for _, b in pairs])), 1),
        "met": round(float(np.mean([b["met"] for _, b in pairs])), 3),
    }  # fmt: skip
    print(f"in the tab: {told}")
    return told


def _due(told: dict[str, Any] | None, share: float) -> float:
    """Milliseconds in which `share` of a prompt can be read, with what comes before and the planner's caution."""
    return told["first_ms"] - told["prefill_ms"] + CAUTION * share * told["prefill_ms"] + READ_MS if told else 0.0


# ── ways to choose ────────────────────────────────────────────────────────────────────────────────────────────────────


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


def arms(judge: Judge, asked: Sequence[Question], share: float) -> dict[str, dict[str, float]]:
    """The likelihood of the quote after half of the passages' pieces, chosen in several ways."""
    models = Models(ROOT / "static" / "models")
    tokenizer, likelihood = models.tokenizer, Likelihood(models.score, models.tokenizer)
    rows: dict[str, list[tuple[int, float]]] = {}
    for question in asked:
        text, found = question.question, judge.search(question.question)
        add = lambda name, ids, question=question: rows.setdefault(name, []).append(
            (len(ids), likelihood.likelihood(ids, question.quote, most=ANSWER))
        )
        read = models.read(text, found[: prompt.MOST])
        whole = prompt.squeezed(text, read, tokenizer, budget=4096).ids
        budget = int(share * len(whole))
        squeezed = lambda read, text=text, budget=budget: prompt.squeezed(text, read, tokenizer, budget=budget).ids
        add("whole prompt", whole)
        add("none", prompt.spell(text, [], [], tokenizer))
        add("windows", prompt.build(text, found, tokenizer, budget=budget).ids)
        for name, scores in ARMS.items():
            add(name, squeezed(dataclasses.replace(read, scores=scores(read))))
        add("score head, twice the passages", squeezed(models.read(text, found[: 2 * prompt.MOST])))
    models.close()
    best = np.exp([nats for _, nats in rows["whole prompt"]]).mean()
    print(f"\n{'':34}{'tokens':>8}{'nats':>8}{'likely':>8}{'of whole':>9}")
    told = {}
    for name, made in rows.items():
        tokens, nats = np.array(made).T
        likely = np.exp(nats).mean()
        print(f"{name:34}{tokens.mean():8.0f}{nats.mean():8.3f}{likely:8.4f}{likely / best:9.3f}")
        told[name] = {"tokens": float(tokens.mean()), "nats": float(nats.mean()), "likely": float(likely / best)}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench prompt", description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--half", type=int, choices=(0, 1), help="only this half of the questions")
    parser.add_argument("--every", type=int, default=1, help="only every nth question")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is asked; the fastest counts")
    parser.add_argument("--write", action="store_true", help="also write answers (minutes)")
    parser.add_argument("--arms", action="store_true", help="also compare ways to choose (minutes)")
    parser.add_argument("--tab", action="store_true", help="also ask in a page (minutes)")
    parser.add_argument("--force", action="store_true", help="on a busy machine, too")
    options = parser.parse_args()
    if not SAMPLE.exists():
        raise SystemExit("static/samples/sample.nook is not there: run `python3 build.py dev` first")
    load = quiet()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        with judge.nook:
            asked = [q for q in judge.asked if options.half in (None, q.half)][:: options.every]
            figures = wired(judge, asked, options)
            if options.arms:
                figures["arms"] = arms(judge, asked, options.share)
            if options.tab:
                texts = [question.question for question in judge.asked[:: len(judge.asked) // IN_TAB]]
                figures["prompt50_tab"] = in_the_tab(texts, options.share)
    print(json.dumps(figures | {"load_average": round(load, 2)}))


if __name__ == "__main__":
    main()
