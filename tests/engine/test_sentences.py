"""Sentences: one idea of where they end, for passages, leads, prompts and citations alike."""

from __future__ import annotations

import random

import pytest
from inglenook.ingest import borders
from inglenook.search.sentences import sentences, starts

PIECES = [
    "One here. ", "Dr. ", "U.S. ", "J. ", "No. ", "1. ", "\n", "\n\n", "  ", "- item\n", "3) third\n", "“Stop!” ",
    "he ", "She ", "…", "? ", "文。", "है। ", "نعم؟ ", "e\u0301", "\u200d", "word ", ") ", "etc. ",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You can’t yell “Fire!” in a crowded theater. Nobody can.", ["You can’t yell “Fire!” in a crowded theater."]),
        ("The government—you and I. Not some force.", ["The government—you and I."]),
        ("Pass H.R. 1 and go on. Then rest.", ["Pass H.R. 1 and go on."]),
        ("It is in vol. 104, p. 171. Read it.", ["It is in vol. 104, p. 171."]),
        ("Messrs. Lewis and Clarke explored. They came back.", ["Messrs. Lewis and Clarke explored."]),
        ("A list:\n- one of it\n- two", ["A list:", "- one of it"]),
        ("1. The first rule\n2. The second rule", ["1. The first rule"]),
        ("I. Strengthening the Economy\n\nIt must grow.", ["I. Strengthening the Economy"]),
        ("See fig. 3 there. Or not.", ["See fig. 3 there."]),
        ("Er ist Ph.D. und z.B. Lehrer. Gut.", ["Er ist Ph.D. und z.B. Lehrer."]),
        ("Acme Inc. The firm is old.", ["Acme Inc."]),
        ("यह वाक्य है।यह दूसरा है।", ["यह वाक्य है।"]),
    ],
)
def test_where_a_sentence_ends(text: str, expected: list[str]) -> None:
    found = [text[span.start : span.end] for span in sentences(text)]
    assert found[: len(expected)] == expected
    assert len(found) == len(expected) + 1, found


def test_whoever_cuts_cuts_alike() -> None:
    for seed in range(500):
        rnd = random.Random(seed)
        text = "".join(rnd.choice(PIECES) for _ in range(rnd.randrange(30)))
        spans = sentences(text)
        assert "".join("".join(text[span.start : span.end] for span in spans).split()) == "".join(text.split())
        cuts = list(starts(text, 0, len(text)))
        assert cuts == sorted(set(cuts)) and {span.start for span in spans[1:]} <= set(cuts)
        assert list(borders.sentences(text, 0, len(text))) == [at for at in cuts if borders.is_border(text, at)]
        middle = len(text) // 2
        assert all(middle < at < len(text) for at in starts(text, middle, len(text)))
