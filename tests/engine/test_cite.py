"""What is marked, quoted, cited and refused: by hand-made cases where the right answer is plain."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.flow import Encode, Flow
from inglenook.search import cite
from inglenook.search.lexical import content
from inglenook.search.terms import split, stem, terms, tokens
from inglenook.types import Hit, Span

RAIL = (
    "I will ask for funds to study high-speed rail transportation between urban centers. We will begin with test "
    "projects between Washington and Boston. On high-speed trains, passengers could travel this distance in less than "
    "4 hours."
)
TRADES = (
    "Without attempting to enumerate all, it will be conceded that there should be deducted 375,143 carpenters and "
    "joiners, 172,726 blacksmiths, 133,756 tailors and tailoresses, and 102,473 masons."
)
SHERMAN = "I recommend an inquiry into the working of these laws. I do not favor repeal of the Sherman Act."
DRAFT = "In August, 1918, the draft age limits were broadened from 21-31 to 18-45. Germany surrendered in November."


def hit(text: str, start: int = 1000, score: float = 1.0, **more: Any) -> Hit:
    parts: dict[str, Any] = {"heading": "State of the Union 1965, Lyndon B. Johnson", "page": None, **more}
    return Hit(
        document=f"d{start}", chunk=0, path="a.md", title="State of the Union", collection="notes", type="markdown",
        start=start, end=start + len(text), text=text, score=score, **parts,
    )  # fmt: skip


HITS = [hit(RAIL, 0), hit(TRADES, 5000, 0.8), hit(SHERMAN, 9000, 0.7), hit(DRAFT, 12000, 0.5)]


def words(text: str, spans: list[Span]) -> list[str]:
    return [text[span.start : span.end] for span in spans]


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("taxes?", "The tax was taxed; taxation was not.", ["tax", "taxed"]),
        ("what is the tax?", "The tax is what it is.", ["tax"]),
        ("educ", "Education educates.", ["Education", "educates"]),
        ("café", "The CAFE and the cafés", ["CAFE", "cafés"]),
        ("東京", "東京都の天気", ["東京都の天気"]),
        ("getUserName", "call get_user_name here", ["get_user_name"]),
        ("", "text", []),
        ("?!", "text", []),
        ("<b>", "a <b>bold</b> word", ["b", "b"]),
    ],
)
def test_marks(query: str, text: str, expected: list[str]) -> None:
    assert words(text, cite.marks(query, text)) == expected


def plain_marks(query: str, text: str) -> list[Span]:
    """The definition: a token is marked if it has a term of the query, or begins as its last word does."""
    wanted = set(content(query))
    last = re.search(r"\w{2,}$", query.casefold())
    begun = last.group() if last and not wanted.isdisjoint(terms(last.group())) else ""
    return [
        Span(start, end)
        for start, end, found in tokens(text)
        if not wanted.isdisjoint(found) or (begun and text[start:end].casefold().startswith(begun))
    ]


ODD = """
    use used using dying die tied tie freed U.S. us don't dont 1,250 1250 e-mail email getUserName user_name HTML iOS
    parseHTML naïve naive Straße strasse İstanbul \ufb01re fire 東京都 東京 v3.11 nation's nations' \u01c4 a I x
    """.split()  # noqa: SIM905
WORDS = st.one_of(st.sampled_from(ODD), st.text(st.sampled_from("abeinsdyzABEGS'’-_.1,éß東"), min_size=1, max_size=9))
PROSE = st.lists(WORDS, max_size=12).map(" ".join)


@settings(max_examples=300)
@given(PROSE, PROSE, st.integers(0, 9))
def test_marks_are_what_their_definition_says(query: str, text: str, start: int) -> None:
    text = f"{text} {query}"
    assert cite.marks(query, text, start) == [Span(m.start + start, m.end + start) for m in plain_marks(query, text)]


@given(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1))
def test_a_words_ending_is_taken_off_never_its_beginning(word: str) -> None:
    assert stem(word)[0] == word[0]


@given(st.text())
def test_the_pieces_of_a_text_join_to_it(text: str) -> None:
    assert "".join(split(text)) == text
    assert split(text)[1::2] == [text[start:end] for start, end, _ in tokens(text)]


# ── sentences ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        (
            "Mr. Smith of the U.S. Navy paid $3.50. Then he left.",
            ["Mr. Smith of the U.S. Navy paid $3.50.", "Then he left."],
        ),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("Harry S. Truman spoke. J. F. K. too.", ["Harry S. Truman spoke.", "J. F. K. too."]),
        ("no full stop", ["no full stop"]),
        ("今日は晴れ。明日は雨！", ["今日は晴れ。", "明日は雨！"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
        ("A heading\n\nA text that\nruns on.", ["A heading", "A text that\nruns on."]),
        ("List:\n- one\n- two", ["List:", "- one", "- two"]),
        ("1. First thing. 2. Second thing.", ["1. First thing.", "2. Second thing."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("approx. five, e.g. this", ["approx. five, e.g. this"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert words(text, cite.sentences(text)) == expected


def test_sentences_are_in_order_and_lose_nothing_but_space() -> None:
    rng = np.random.default_rng(5)
    letters = list("abC .!?\n…。'\"1-) ")
    for _ in range(500):
        text = "".join(rng.choice(letters, 60))
        spans = cite.sentences(text)
        assert all(one.end <= two.start for one, two in itertools.pairwise(spans))
        assert "".join("".join(words(text, spans)).split()) == "".join(text.split())


# ── support ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("There will be funds to study high-speed rail transportation between urban centers.", "I will ask for funds"),
        ("Test projects will begin between Washington and Boston.", "We will begin with test"),
        ("There were 172,726 blacksmiths and 102,473 masons.", "Without attempting"),
        ("There were 172726 blacksmiths and 102473 masons.", "Without attempting"),
        ("Repeal of the Sherman Act is not favored.", "I do not favor"),
        ("The draft age limits were broadened to 18-45 in August 1918.", "In August, 1918"),
    ],
)
def test_what_a_source_says_is_cited_with_that_source(said: str, source: str) -> None:
    answer = f"Well. {said} So it is."
    [(span, found, where, score)] = cite.support(answer, HITS)
    assert answer[span.start : span.end] == said
    assert found.text[where.start - found.start : where.end - found.start].startswith(source)
    assert cite.COVERED <= score <= 1


@pytest.mark.parametrize(
    "said",
    [
        "Test projects will begin between Washington and Chicago.",  # another name
        "There were 102,473 blacksmiths among these people and trades.",  # another's number
        "There were 172,727 blacksmiths and 102,473 masons.",  # another number
        "Repeal of the Sherman Act is favored.",  # denied in the source
        "In August 1918 the draft age limits were not broadened.",  # not denied there
        "On high-speed trains, passengers could travel this distance in less than 3 hours.",
        "The president likes ice cream and fast cars very much.",  # nothing of the kind
        "Urban centers.",  # too little to tell
        "Funds for rail will be taken from the farmers of Nebraska and Kansas next year.",  # some words only
        "",
    ],
)
def test_what_no_source_says_is_not_cited(said: str) -> None:
    assert cite.support(said, HITS) == []


def test_a_marker_in_the_answer_cites_nothing() -> None:
    assert cite.support("Everything is fine here, as the sources say clearly [1][2].", HITS) == []


def test_no_hits_no_citations() -> None:
    assert cite.support("Test projects will begin between Washington and Boston.", []) == []


# ── lead ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class OneToken:
    """A tokenizer that gives each text a number, so that a test can say which vector a text has."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.texts.append(text)
        return [len(self.texts) - 1]


def run(flow: Flow, encode: Any = None) -> list[tuple[Hit, int, int, float]]:
    answer = None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = encode(effect) if isinstance(effect, Encode) else None


def said(found: list[tuple[Hit, int, int, float]]) -> list[str]:
    return [hit.text[start - hit.start : end - hit.start] for hit, start, end, _ in found]


def test_the_lead_is_the_sentence_with_the_words() -> None:
    assert said(run(cite.lead("Between which cities will the test projects begin?", HITS)))[0].startswith(
        "We will begin"
    )
    assert "172,726" in said(run(cite.lead("How many blacksmiths were there?", HITS[::-1])))[0]


def test_the_lead_is_copied_from_where_it_says() -> None:
    for question in ("rail", "Germany surrendered", "inquiry", "zebra"):
        for found, start, end, _ in run(cite.lead(question, HITS)):
            assert found.start <= start < end <= found.end


def test_a_date_is_preferred_when_asked_for_one() -> None:
    text = "The draft was widened by law and the draft was hard. The draft was widened in August 1918 and was hard."
    [(_, start, _, _)] = run(cite.lead("When was the draft widened?", [hit(text, 0)]))
    assert start == text.index("The draft was widened in August")


def test_meaning_decides_where_words_do_not() -> None:
    text = "Bread costs a nickel at every shop. Dogs bark at the moon in winter. Rain falls on the plain."
    tokenizer = OneToken()

    def encode(effect: Encode) -> np.ndarray:
        close = [tokenizer.texts[tokens[0]].startswith(("canine", "Dogs")) for tokens in effect.tokens]
        return np.eye(384, dtype=np.float32)[[0 if near else 1 for near in close]]

    found = run(cite.lead("canine noise", [hit(text, 0)], tokenizer), encode)  # type: ignore[arg-type]
    assert said(found)[0].startswith("Dogs bark")


def test_a_sentence_that_leans_on_another_takes_it_along() -> None:
    text = "The Agency makes long loans to new nations. It prefers loans to grants and gifts of money."
    assert said(run(cite.lead("prefers gifts of money", [hit(text, 7)]))) == [text]


def test_nothing_to_lead_with() -> None:
    assert run(cite.lead("question", [])) == []
    assert run(cite.lead("question", [hit("   ")])) == []
    assert len(run(cite.lead("", HITS))) >= 1


# ── evidence ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_near_meaning_or_rare_words_make_a_question_answerable() -> None:
    question = "How fast are the trains of tomorrow?"
    assert cite.answerable(question, [hit(RAIL, vector=0.7, lexical=9.0)], 2000)
    assert cite.answerable(question, [hit(RAIL, vector=0.3, lexical=16.0)], 2000)
    assert not cite.answerable(question, [hit(RAIL, vector=0.2, lexical=5.0)], 2000)
    assert not cite.answerable(question, [hit(TRADES, vector=0.1)], 2000)


def test_more_evidence_is_never_worse() -> None:
    for semantic in (True, False):
        for passages in (0, 10, 2000):
            odds = [
                cite.evidence("fast trains tomorrow", [hit(RAIL, vector=c, lexical=20 * c)], passages, semantic)
                for c in (0.0, 0.2, 0.4, 0.8)
            ]
            assert odds == sorted(odds)


def test_a_passage_with_every_word_is_a_source_and_nothing_is_none() -> None:
    assert cite.answerable("high-speed rail", [hit(RAIL)])
    assert not cite.answerable("high-speed rail", [])
    assert not cite.answerable("?", HITS)
