"""Questions to learn from: about a piece of a passage, written by the language model or put together from its words."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inglenook.elastic import chat, squeeze
from inglenook.nook import Nook
from inglenook.search.lexical import content
from inglenook.types import Hit
from inglenook.wire import messages as wire

SHOTS = (
    (
        "The mill by the river was built in 1790 by Ann Low, who paid for it with the profits of her trade in salt.",
        "How did Ann Low pay for the mill?",
    ),
    (
        "Owls hunt voles at night, because their hearing is far better than that of their prey.",
        "Why do owls hunt at night?",
    ),
    (
        "The committee proposed to lower the tax on sugar to two cents a pound.",
        "What did the committee propose for the tax on sugar?",
    ),
)
KEYWORDS = 0.2  # of the questions are a few words, as people type them into a search box
TYPO = 0.3  # of those miss a letter
FEWEST, MOST = 8, 40  # words of a piece that a question is asked about
TELLING = 5  # of them must tell something
SHARED = 2  # words that a written question has in common with its piece; else it asks about something else
ANSWER = 8  # words of the answer
READ = 2  # passages that a prompt holds

Write = Callable[[list[chat.Message]], str]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a library: `text` from `start` on in the document."""

    document: str
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A question, words that answer it, the passages found for it. `source` is the document they stand in, at `at`."""

    kind: str
    question: str
    answer: str
    source: str
    at: int
    hits: list[Hit]


def passages(nook: Nook) -> list[Passage]:
    """All passages of a library, in the order of its documents."""
    found = []
    for card in sorted(nook.documents(), key=lambda card: card.path):
        for event in nook.stream(wire.Inspect(card.document)):
            assert isinstance(event, wire.Chunks)
            text = event.document.text
            found += [Passage(card.document, c.start, text[c.start : c.end]) for c in event.document.chunks]
    return found


def examples(nook: Nook, write: Write, seed: int, first: int = 0) -> Iterator[Example | None]:
    """Endless examples, those from number `first` on; None where a piece was not worth a question.

    `write` is the language model. The same seed gives the same examples: each has random numbers of its own.
    """
    every = passages(nook)
    rare = Counter(word for passage in every for word in set(content(passage.text)))
    documents: dict[str, list[Passage]] = {}
    for passage in every:
        documents.setdefault(passage.document, []).append(passage)
    names = list(documents)
    while True:
        rng = random.Random(f"{seed}-{first}")
        first += 1
        yield _example(nook, rng.choice(documents[rng.choice(names)]), rare, write, rng)


def _example(nook: Nook, passage: Passage, rare: Counter[str], write: Write, rng: random.Random) -> Example | None:
    spans = [
        (a, b)
        for a, b in squeeze.borders(passage.text)
        if FEWEST <= len(passage.text[a:b].split()) <= MOST and len(set(content(passage.text[a:b]))) >= TELLING
    ]
    if not spans:
        return None
    start, end = rng.choice(spans)
    piece = passage.text[start:end].strip()
    kind, question = "keywords", ""
    if rng.random() >= KEYWORDS:
        question = ask(piece, write)
        if question.endswith("?") and len(set(content(question)) & set(content(piece))) >= SHARED:
            kind = "question"
    if kind == "keywords":
        question = keywords(piece, rare, rng)
    words = piece.split()
    at = rng.randint(0, max(0, len(words) - ANSWER))
    found = nook.search(question, 8)
    here, there = passage.start + start, passage.start + end
    holding = [h for h in found if h.document == passage.document and h.start <= here and there <= h.end]
    hits = found[:READ] if not holding or holding[0] in found[:READ] else [*found[: READ - 1], holding[0]]
    answer = " ".join(words[at : at + ANSWER])
    return Example(kind, question, answer, passage.document, here, hits) if hits else None


def ask(piece: str, write: Write) -> str:
    """A question about a piece, by the language model."""
    turns: list[chat.Message] = [("system", "You write questions.")]
    for shown, asked in SHOTS:
        turns += [("user", shown), ("assistant", asked)]
    return write([*turns, ("user", piece)]).split("\n")[0].strip().strip('"')


def keywords(piece: str, rare: Counter[str], rng: random.Random) -> str:
    """The rarest words of a piece in any order, now and then with a letter missing."""
    words = sorted(dict.fromkeys(re.findall(r"[^\W\d_]{4,}", piece)), key=lambda word: rare[word.lower()])[:5]
    rng.shuffle(words)
    words = words[: rng.randint(2, 4)]
    if words and rng.random() < TYPO:
        i = rng.randrange(len(words))
        gone = rng.randrange(1, len(words[i]))
        words[i] = words[i][:gone] + words[i][gone + 1 :]
    return " ".join(words)
