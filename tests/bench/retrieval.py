"""How well the sample library is searched: the table, then one line of JSON.

    .venv/bin/python tests/bench/retrieval.py [--full]

`--full` also compares the shipped encoder with the float32 one (some minutes).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pysrc"))

from inglenook.embed import hashing
from inglenook.search import cite, hybrid
from inglenook.types import Hit

from tests.retrieval import full
from tests.retrieval.judged import SAMPLE, Judge

KS = (1, 3, 5, 10)


def measure() -> dict[str, float]:
    """Print the table; the figures by name."""
    if not SAMPLE.exists():
        raise SystemExit("static/samples/sample.nook is not there: run `python3 build.py dev` first")
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        with judge.nook:
            return table(judge)


def table(judge: Judge) -> dict[str, float]:
    """Print what is found and refused; the figures by name."""
    half = np.array([q.half for q in judge.asked])
    print(f"{len(judge.asked)} questions, {len(judge.nook.library.lexical)} passages")
    print(f"{'recall':26}" + "".join(f"{f'@{k}':>8}" for k in KS) + f"{'@5 half':>9}{'@5 other':>9}")
    recall5 = {}
    for name, search in {
        "hybrid": judge.mode("hybrid"),
        "words (BM25)": judge.mode("lexical"),
        "vectors": judge.mode("vector"),
        "hashed vectors": hashed(judge),
        "ranks only (RRF)": judge.fused(hybrid.reciprocal, hybrid.WEIGHTS),
        "hybrid, words count twice": judge.fused(hybrid.fuse, {"lexical": 2.0, "vector": 1.0}),
        "hybrid, vectors twice": judge.fused(hybrid.fuse, {"lexical": 1.0, "vector": 2.0}),
    }.items():
        means = [judge.found(search, k).mean() for k in KS]
        five = judge.found(search, 5)
        halves = [five[half == h].mean() for h in (0, 1)]
        print(f"{name:26}" + "".join(f"{m:8.3f}" for m in means) + "".join(f"{m:9.3f}" for m in halves))
        recall5[name] = float(five.mean())
    for kind in sorted({q.kind for q in judge.asked}):
        of_kind = np.array([q.kind == kind for q in judge.asked])
        parts = (judge.found(judge.mode(mode))[of_kind].mean() for mode in ("hybrid", "lexical", "vector"))
        print(f"  {kind:12} {of_kind.sum():4}   hybrid, words, vectors" + "".join(f"{part:8.3f}" for part in parts))
    figures = {
        "recall5_hybrid": recall5["hybrid"],
        "recall5_bm25": recall5["words (BM25)"],
        "recall5_vector": recall5["vectors"],
        "recall5_hash": recall5["hashed vectors"],
        **refusals(judge),
    }
    if "--full" in sys.argv:
        quantised, exact, cosine = full.compare(judge, others=1500)
        for name, ranks in (("shipped", quantised), ("float32", exact)):
            recall, reciprocal = float((ranks <= 5).mean()), float((1 / ranks).mean())
            print(f"vectors, smaller pool, {name}: recall {recall:.3f}, mean reciprocal rank {reciprocal:.4f}")
            figures |= {f"recall5_{name}": recall, f"mrr_{name}": reciprocal}
        print(f"cosine of the two {cosine:.4f}")
    return {name: round(value, 4) for name, value in figures.items()}


def refusals(judge: Judge) -> dict[str, float]:
    """How "No source found" does: precision and recall of refusing."""
    size = len(judge.nook.library.lexical)
    kept = [cite.answerable(q.question, judge.search(q.question)[:8], size) for q in judge.asked]
    refused = [not cite.answerable(q.question, judge.search(q.question)[:8], size) for q in judge.unanswerable]
    wrongly = len(kept) - sum(kept)
    precision, recall = sum(refused) / max(1, sum(refused) + wrongly), float(np.mean(refused))
    print(
        f"no source found: precision {precision:.3f}, recall {recall:.3f}; answerable and answered {np.mean(kept):.3f}"
    )
    return {"refuse_precision": precision, "refuse_recall": recall, "answered": float(np.mean(kept))}


def hashed(judge: Judge):  # type: ignore[no-untyped-def]
    """Search by the vectors that need no model."""
    hits = [
        Hit("", n, path, "", "", "", start, end, None, "", "", 0.0)
        for n, (path, start, end, _) in enumerate(full.passages(judge))
    ]
    vectors = hashing.embed([text for *_, text in full.passages(judge)])

    def search(question: str) -> list[Hit]:
        order = np.argsort(-(vectors @ hashing.embed([question])[0]), kind="stable")[:10]
        return [hits[i] for i in order]

    return search


if __name__ == "__main__":
    print(json.dumps(measure()))
