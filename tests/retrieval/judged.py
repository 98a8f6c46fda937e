"""The judged questions over the sample library, and what is measured with them.

A line of questions.jsonl is {"kind", "question", "document", "quote"}: a passage of that document is right if it holds
at least half of the quote. Lines of the kind "unanswerable" have no document: nothing in the library answers them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inglenook.nook import Nook
from inglenook.search import hybrid
from inglenook.types import Hit, Span
from inglenook.wire import messages as wire

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "static" / "samples" / "sample.nook"


@dataclass(frozen=True)
class Question:
    """A question; `document` and `quote` are empty if nothing answers it. `half` is 0 or 1, by the question's hash."""

    kind: str
    question: str
    document: str = ""
    quote: str = ""

    @property
    def half(self) -> int:
        """Which half of the set it belongs to: one chooses, the other confirms."""
        return int.from_bytes(hashlib.sha256(self.question.encode()).digest()[:2], "big") % 2


def questions() -> list[Question]:
    """All questions."""
    path = Path(__file__).with_name("questions.jsonl")
    return [Question(**json.loads(line)) for line in path.read_text().splitlines()]


class Judge:
    """The sample library, opened, with the places of all quotes."""

    def __init__(self, folder: Path) -> None:
        """Open a copy of the sample library in `folder`."""
        self.nook = Nook(shutil.copyfile(SAMPLE, folder / "sample.nook"))
        everything = questions()
        self.asked = [q for q in everything if q.document]
        self.unanswerable = [q for q in everything if not q.document]
        self.texts: dict[str, str] = {}
        self.hits: dict[tuple[str, str], list[Hit]] = {}
        for card in self.nook.documents():
            [read] = self.nook.stream(wire.Inspect(card.document))
            assert isinstance(read, wire.Chunks)
            self.texts[Path(card.path).stem] = read.document.text

    def places(self, question: Question) -> list[Span]:
        """Where the quote stands in its document, whatever the line breaks."""
        pattern = r"\s+".join(map(re.escape, question.quote.split()))
        return [Span(*found.span()) for found in re.finditer(pattern, self.texts[question.document])]

    def right(self, question: Question, path: str, start: int, end: int) -> bool:
        """Whether these characters of the file hold at least half of the quote."""
        [place] = self.places(question)
        overlap = min(end, place.end) - max(start, place.start)
        return Path(path).stem == question.document and 2 * overlap >= place.end - place.start

    def found(self, search: Callable[[str], Sequence[Hit]], k: int = 5) -> np.ndarray:
        """Which questions have a right passage among the first `k` that `search` finds: bool, shape (questions,)."""
        return np.array(
            [any(self.right(q, h.path, h.start, h.end) for h in search(q.question)[:k]) for q in self.asked]
        )

    def search(self, question: str, mode: str = "hybrid") -> list[Hit]:
        """What the library's own search finds, remembered: ten passages, or as many of one arm as are fused."""
        if (question, mode) not in self.hits:
            k = 10 if mode == "hybrid" else hybrid.DEPTH
            self.hits[question, mode] = self.nook.search(question, k, mode=mode)
        return self.hits[question, mode]

    def mode(self, mode: str) -> Callable[[str], list[Hit]]:
        """The library's own search in one of its modes."""
        return lambda question: self.search(question, mode)

    def fused(self, fuse: Callable[..., hybrid.Ranking], weights: dict[str, float]) -> Callable[[str], list[Hit]]:
        """Search with another way to fuse the two arms, on the hits of each."""

        def search(question: str) -> list[Hit]:
            arms = {arm: self.search(question, arm) for arm in ("lexical", "vector")}
            hits = {(hit.document, hit.chunk): hit for found in arms.values() for hit in found}
            ids = {key: n for n, key in enumerate(hits)}
            lists = {
                arm: (
                    np.array([ids[hit.document, hit.chunk] for hit in found], np.int64),
                    np.array([getattr(hit, arm) for hit in found], np.float32),
                )
                for arm, found in arms.items()
            }
            order = list(hits.values())
            return [order[i] for i in fuse(lists, 10, weights)[0]]

        return search
