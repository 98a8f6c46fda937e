"""Squeezed prompts: what stays is the source's own words, what matters most stays, and nothing is over budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from engine.tiny import tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic import heads, squeeze
from inglenook.elastic.plan import Prompt, Quality
from inglenook.embed import encoder
from inglenook.embed.tokenizer import WordPiece
from inglenook.flow import Encode
from inglenook.search import prompt
from inglenook.types import Hit, Span

TINY = tokenizer()
PIECES = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
MILL = (
    "The mill stands by the river. It was built in 1790 by Ann Low. "
    "Its wheel drives two stones. Barley was ground there until 1932."
)
LONG = (
    "The committee, which had sat for the better part of the winter in a cold hall by the harbour, proposed to lower "
    "the tax on sugar to two and a half cents a pound; the tax on salt was to stay as it was, nobody having complained."
)


def hit(text: str = MILL, chunk: int = 0, start: int = 100, score: float = 1.0) -> Hit:
    return Hit("d1", chunk, "mills.txt", f"T{chunk}", "notes", "text", start, start + len(text), None, "", text, score)


def read(hits: list[Hit], scores: list[float]) -> squeeze.Read:
    pieces = list(squeeze.cut(hits, TINY))
    return squeeze.Read(hits, pieces, np.zeros((len(pieces), len(squeeze.SIGNS)), np.float32), np.array(scores))


def alike(rows: int) -> np.ndarray:
    return np.full((rows, encoder.DIMENSIONS), encoder.DIMENSIONS**-0.5, np.float32)


def words(found: squeeze.Read, kept: list[list[Span]]) -> list[str]:
    return [squeeze.shown(one, spans) for one, spans in zip(found.hits, kept, strict=True)]


def test_pieces_are_sentences_and_the_clauses_of_long_ones() -> None:
    assert [MILL[a:b].strip() for a, b in squeeze.borders(MILL)] == [f"{s}." for s in MILL[:-1].split(". ")]
    cut = [LONG[a:b].strip() for a, b in squeeze.borders(LONG)]
    assert len(cut) == 3 and cut[0].endswith("harbour,") and cut[1].endswith("pound;")
    table = "\n".join(f"row {i} | {i * i} | and so on and on" for i in range(12))
    rows = [table[a:b] for a, b in squeeze.borders(table)]
    assert "".join(rows) == table and len(rows) > 3 and all(row.startswith("row") for row in rows)
    endless = [("word " * 200)[a:b] for a, b in squeeze.borders("word " * 200)]
    assert "".join(endless) == "word " * 200
    assert all(len(piece) <= 2 * squeeze.LONG and piece[:5] == "word " for piece in endless)
    assert list(squeeze.borders("x" * 999)) == [(0, 999)]
    assert list(squeeze.borders("")) == list(squeeze.borders(" \n")) == []


def test_the_best_pieces_stay_in_the_order_of_the_source() -> None:
    found = read([hit(), hit("Owls hunt voles.", 1, start=7)], [0.1, 0.9, 0.2, 0.8, -0.5])
    sizes = [piece.tokens for piece in found.pieces]
    kept = found.keep(sizes[1] + sizes[3] + 3 + 1, [3, 3])
    assert words(found, kept) == ["It was built in 1790 by Ann Low. … Barley was ground there until 1932.", ""]
    assert kept[0] == [found.pieces[1].span, found.pieces[3].span] and kept[1] == []
    assert "Barley" not in words(found, found.keep(sizes[1] + sizes[3] + 3, [3, 3]))[0]
    assert found.keep(10_000, [3, 3]) == [[Span(100, 100 + len(MILL))], [Span(7, 23)]]
    assert found.keep(0, [3, 3]) == [[], []]


def test_a_label_is_paid_for_once() -> None:
    found = read([hit(), hit("Owls hunt voles.", 1)], [0.9, 0.1, 0.1, 0.1, 0.8])
    sizes = [piece.tokens for piece in found.pieces]
    both = sizes[0] + sizes[4] + 20
    assert [len(spans) for spans in found.keep(both, [10, 10])] == [1, 1]
    assert found.keep(both - 1, [10, 10])[1] == []


def test_what_is_cited_goes_last() -> None:
    hits = [hit(), hit("Owls hunt voles. They nest in barns.", 1, start=7)]
    flow = squeeze.read("When was the mill built?", hits, TINY, PIECES, [("d1", Span(30, 40)), ("d2", Span(100, 900))])
    try:
        flow.send(alike(len(next(flow).tokens)))
    except StopIteration as stop:
        found: squeeze.Read = stop.value
    assert found.cited == {5} and found.scores.argmax() == 1
    assert words(found, found.keep(found.pieces[5].tokens + 3, [3, 3])) == ["", "They nest in barns."]
    made = prompt.squeezed("When?", found, TINY, budget=prompt.fixed("When?", TINY) + 90)
    assert "They nest in barns." in TINY.decode(made.ids) and "1790" in TINY.decode(made.ids)


def test_what_a_plan_expects_is_what_the_heads_say_of_these_passages() -> None:
    found = read([hit()], [0.1, 0.9, 0.2, 0.8])
    known = Quality([1, 0.5], [[1, 0.9], [0.7, 0.5]])
    made = found.quality(known, [1.0, 0.6], Prompt(found.tokens + 40, 40))
    chances = found.chances([1.0, 0.6], [1.0, 0.5])
    assert made.table[0] == (1.0, pytest.approx(chances[0, 1] / chances[0, 0]))
    assert made.table[1] == (0.7, pytest.approx(0.7 * chances[1, 1] / chances[1, 0]))
    cut = found.quality(known, [1.0, 0.6], Prompt(found.tokens // 2 + 40, 40))  # the whole prompt has half of the words
    quarter, half = found.chances([1.0], [0.25, 0.5])[0]
    assert cut.expect(0, 0.5) == pytest.approx(quarter / half, abs=0.02)
    assert read([hit(" ")], []).quality(known, [1.0, 0.6], Prompt(40, 40)).expect(1, 1.0) == 0.7


def test_meaning_and_words_are_seen_in_each_piece() -> None:
    hits = [hit(), hit("Owls hunt voles at night. The mill has a cat.", 1, score=0.5)]
    pieces = list(squeeze.cut(hits, TINY))
    vectors = np.eye(8, dtype=np.float32)[[1, 0, 1, 2, 3, 4, 5]]
    table = squeeze.signs("When was the mill built?", hits, pieces, vectors)
    sign = dict(zip(squeeze.SIGNS, table.T, strict=True))
    assert table.shape == (6, len(squeeze.SIGNS)) and table.dtype == np.float32
    assert sign["meaning"].tolist() == [0, 1, 0, 0, 0, 0]
    assert sign["meaning of the neighbours"].tolist() == [1, 0, 1, 0, 0, 0]
    assert sign["meaning of the passage"].tolist() == [0.5] * 4 + [0, 0]
    assert sign["cue"].tolist() == [0, 1, 0, 1, 0, 0] and sign["leans"].tolist() == [0, 1, 0, 0, 0, 0]
    assert sign["words"].argmax() == 1 and sign["words"][4] == 0 < sign["words"][0] == sign["words"][5]
    assert sign["rank"].tolist() == [1, 1, 1, 1, 0.5, 0.5] and sign["first passage"].tolist() == [1, 1, 1, 1, 0, 0]
    assert sign["begins"].tolist() == [1, 0, 0, 0, 1, 0] and sign["place"][[0, 3, 4, 5]].tolist() == [0, 1, 0, 1]


def test_the_heads_that_ship_find_what_answers_and_what_it_is_worth() -> None:
    flow = squeeze.read("When was the mill built?", [hit(), hit("Owls hunt voles at night.", 1)], TINY, PIECES)
    asked = next(flow)
    assert isinstance(asked, Encode) and asked.urgent
    vectors = alike(len(asked.tokens))  # meaning tells nothing: words, cues and places must
    try:
        flow.send(vectors)
    except StopIteration as stop:
        found: squeeze.Read = stop.value
    assert found.scores.shape == (5,) and found.scores.argmax() == 1
    assert set(heads.SCORE) == {*squeeze.SIGNS, "constant"}
    for row, score in zip(found.signs, found.scores, strict=True):
        plain = sum(heads.SCORE[name] * value for name, value in zip(squeeze.SIGNS, row)) + heads.SCORE["constant"]
        assert abs(plain - score) < 1e-5
    chances = found.chances([1.0, 0.5], [1.0, 0.5, 0.2])
    assert chances.shape == (2, 3) and chances.min() > 0 and chances.max() <= 1
    assert chances[0, 0] >= 0.9 and chances[0, 0] > chances[0, 2]


def test_nothing_found_is_nothing_read() -> None:
    flow = squeeze.read("Why?", [hit(" \n")], TINY, PIECES)
    try:
        flow.send(alike(len(next(flow).tokens)))
    except StopIteration as stop:
        found: squeeze.Read = stop.value
    assert found.tokens == 0 and found.keep(100, [0]) == [[]] and found.chances([1.0], [0.5]).shape == (1, 1)


def test_a_squeezed_prompt_keeps_the_question_the_instructions_and_the_labels() -> None:
    found = read([hit(), hit("Owls hunt voles.", 1)], [0.1, 0.9, 0.2, 0.8, -0.5])
    made = prompt.squeezed("Who built it?", found, TINY, budget=len(whole(found).ids) - 60)
    text = TINY.decode(made.ids)
    assert text.startswith(f"<|im_start|>system\n{prompt.SYSTEM}<|im_end|>\n<|im_start|>user\n[T0]\n")
    assert text.endswith(f"Question: Who built it?\n{prompt.RULE}<|im_end|>\n<|im_start|>assistant\n")
    assert "It was built in 1790 by Ann Low. … Barley" in text and "Owls" not in text and "[T1]" not in text
    assert made.hits == [found.hits[0]] and len(made.spans[0]) == 2


def test_room_for_all_is_the_whole_prompt() -> None:
    hits = [hit(), hit("Owls hunt voles.", 1)]
    assert whole(read(hits, [0.0] * 5)).ids == prompt.build("Who built it?", hits, TINY, budget=5000).ids


def whole(found: squeeze.Read) -> prompt.Prompt:
    return prompt.squeezed("Who built it?", found, TINY, budget=5000)


WRITTEN = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.just(LONG)


@settings(max_examples=60, deadline=None)
@given(WRITTEN, st.lists(WRITTEN.filter(bool), max_size=4), st.integers(0, 400), st.randoms(use_true_random=False))
def test_never_over_budget_and_what_stays_stands_in_the_source(question, texts, room, random) -> None:  # type: ignore[no-untyped-def]
    hits = [hit(text, chunk, start=chunk * 1000) for chunk, text in enumerate(texts)]
    pieces = list(squeeze.cut(hits, TINY))
    for number, one in enumerate(hits):
        own = [piece for piece in pieces if piece.hit == number]
        assert "".join(piece.text for piece in own) == (one.text if one.text.strip() else "")
        assert all(one.text[p.span.start - one.start : p.span.end - one.start] == p.text for p in own)
    found = read(hits, [random.random() for _ in pieces])
    budget = prompt.fixed("", TINY) + 2 * prompt.LEAST + room
    made = prompt.squeezed(question, found, TINY, budget=budget)
    assert len(made.ids) <= budget
    text = TINY.decode(made.ids)
    for one, spans in zip(made.hits, made.spans, strict=True):
        assert squeeze.shown(one, spans) in text and one in hits
        assert all(one.start <= a.start < a.end <= one.end for a in spans)
        assert all(a.end < b.start for a, b in pairwise(spans))
