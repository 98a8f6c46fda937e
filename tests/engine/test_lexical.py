"""The lexical arm against a plain dictionary version, and the analyser in many scripts."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.search.lexical import K1, NEAR, PREFIX, STOP, B, Lexical, postings, terms
from inglenook.search.terms import stem, tokens

WORDS = """
tax taxes taxed income budget budgets economy economic economical constitution constitutional constitutionality
education educate the of war peace naïve 東京都 Привет 1,250 v3.11 getUserName snake_case U.S. don't
""".split()  # noqa: SIM905


def near(one: str, other: str) -> bool:
    """Whether a single insertion, deletion, replacement or swap makes one English word of the other."""
    if len(other) < 5 or not (other + one).isascii() or not (other + one).isalpha() or one[:1] != other[:1]:
        return False
    if one == other:
        return False
    if len(one) > len(other):
        one, other = other, one
    same = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), len(one))
    if len(one) < len(other):
        return one[same:] == other[same + 1 :]
    rest = one[same + 1 :] == other[same + 1 :]
    return rest or (one[same : same + 2] == other[same : same + 2][::-1] and one[same + 2 :] == other[same + 2 :])


class Plain:
    """BM25 as the textbook writes it: the oracle."""

    def __init__(self) -> None:
        self.chunks: dict[int, Counter[str]] = {}

    def idf(self, df: int) -> float:
        return math.log(1 + (len(self.chunks) - df + 0.5) / (df + 0.5))

    def term(self, scores: dict[int, float], counts: dict[int, int], weight: float) -> None:
        mean = sum(sum(chunk.values()) for chunk in self.chunks.values()) / len(self.chunks)
        for i, tf in counts.items():
            norm = K1 * (1 - B + B * sum(self.chunks[i].values()) / mean)
            scores[i] = scores.get(i, 0.0) + weight * self.idf(len(counts)) * tf * (K1 + 1) / (tf + norm)

    def search(self, query: str, k: int, allow: np.ndarray | None = None, prefix: str = "") -> list[tuple[int, float]]:
        wanted = Counter(terms(query))
        wanted = Counter({w: n for w, n in wanted.items() if w not in STOP}) or wanted
        scores: dict[int, float] = {}
        for word, times in wanted.items():
            counts = {i: chunk[word] for i, chunk in self.chunks.items() if chunk[word]}
            if counts or (prefix and word == terms(query)[-1]):
                self.term(scores, counts, times)
            else:
                sums = {i: sum(n for w, n in c.items() if near(w, word)) for i, c in self.chunks.items()}
                self.term(scores, {i: n for i, n in sums.items() if n}, NEAR * times)
        if prefix:
            sums = {i: sum(n for w, n in c.items() if w.startswith(prefix)) for i, c in self.chunks.items()}
            self.term(scores, {i: n for i, n in sums.items() if n}, PREFIX)
        found = [(i, s) for i, s in scores.items() if s > 0 and (allow is None or (i < len(allow) and allow[i]))]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]


def make_texts(rng: np.random.Generator, many: int) -> list[str]:
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 40), p=weights / weights.sum())) for _ in range(many)]


def assert_same(got: tuple[np.ndarray, np.ndarray], expected: list[tuple[int, float]]) -> None:
    assert got[0].dtype == np.int64 and got[1].dtype == np.float32
    np.testing.assert_allclose(got[1], [score for _, score in expected], rtol=2e-5)
    scores = dict(expected)
    for i, score in zip(got[0].tolist(), got[1].tolist()):  # near ties may change places
        assert i not in scores or score == pytest.approx(scores[i], rel=2e-5)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_plain_version_through_adding_and_removing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, plain, free = Lexical(), Plain(), iter(range(10, 10_000))
    for _ in range(30):
        if plain.chunks and rng.random() < 0.3:
            gone = rng.choice(list(plain.chunks), rng.integers(1, len(plain.chunks) + 1), replace=False)
            index.remove(gone)
            for i in gone.tolist():
                del plain.chunks[i]
        else:
            texts = make_texts(rng, int(rng.integers(0, 12)))
            ids = np.array([next(free) for _ in texts], np.int64)
            index.add(ids, postings(texts))
            plain.chunks.update({i: Counter(terms(text)) for i, text in zip(ids.tolist(), texts)})
        assert len(index) == len(plain.chunks)
        if not any(plain.chunks.values()):
            continue
        query = " ".join(rng.choice(WORDS, 3)) + "."
        assert_same(index.search(query, 7), plain.search(query, 7))
        allow = rng.random(60) < 0.5
        assert_same(index.search(query, 7, allow), plain.search(query, 7, allow))
        for begun in ("econ", "constitution", "constitutional", "ta", "при", "東"):
            assert_same(index.search(f"war {begun}", 9), plain.search(f"war {begun}", 9, prefix=begun))


def test_a_long_word_is_told_from_words_that_begin_alike() -> None:
    index = Lexical()
    index.add(np.arange(3), postings(["constitution", "constitutional", "constitutionality"]))
    assert index.search("constitutional.", 5)[0].tolist() == [1]
    assert sorted(index.search("constitutional", 5)[0].tolist()) == [1, 2]
    assert index.search("constitu", 5)[0].tolist() == [0, 1, 2]


def test_one_typing_error_is_forgiven_in_words_nobody_wrote() -> None:
    index = Lexical()
    index.add(np.arange(4), postings(["unemployment insurance", "the interest rate", "employment", "insurance"]))
    assert index.search("unemploymnet.", 5)[0].tolist() == [0]
    assert index.search("intrest.", 5)[0].tolist() == [1]
    exact = index.search("interest.", 5)[1][0]
    assert index.search("intrest.", 5)[1][0] == pytest.approx(NEAR * exact)
    assert len(index.search("zzzzzz.", 5)[0]) == 0


def test_typing_errors_against_the_plain_version() -> None:
    rng, letters = np.random.default_rng(3), list("abc")
    words = sorted({"".join(rng.choice(letters, rng.integers(3, 11))) for _ in range(1500)})
    index = Lexical()
    for some in (words[::2], words[1::2]):
        index.add(np.array([words.index(word) for word in some]), postings(some))
    asked = 0
    for word in {"".join(rng.choice(letters, rng.integers(5, 11))) for _ in range(200)} - set(words):
        if stem(word) == word:
            expected = [i for i, other in enumerate(words) if near(stem(other), word)]
            assert sorted(index.search(word + ".", 9999)[0].tolist()) == expected
            asked += 1
    assert asked > 50


def test_ties_go_to_the_smaller_id_and_k_cuts() -> None:
    index = Lexical()
    index.add(np.array([9, 4, 7]), postings(["same words", "same words", "same words"]))
    ids, scores = index.search("same", 2)
    assert ids.tolist() == [4, 7] and scores[0] == scores[1]
    assert len(index.search("same", 0)[0]) == 0


def test_words_that_only_ask_are_left_out_unless_there_is_nothing_else() -> None:
    index = Lexical()
    index.add(np.arange(2), postings(["what was the price", "how it was"]))
    assert index.search("what was the price?", 5)[0].tolist() == [0]
    assert index.search("how was it?", 5)[0].tolist()[0] == 1


def test_nothing_to_find() -> None:
    index = Lexical()
    assert len(index.search("word", 5)[0]) == 0
    index.add(np.zeros(0, np.int64), postings([]))
    index.add(np.arange(2), postings(["", "…"]))
    for query in ("", "   ", "?!", "word", "x" * 200_000, "\0\ud800"):
        assert len(index.search(query, 5)[0]) == 0
    index.remove(np.arange(5))
    assert len(index) == 0 and len(index.search("word", 5)[0]) == 0


def test_damaged_postings_are_refused_and_change_nothing() -> None:
    index, data = Lexical(), postings(["some text", "more text"])
    wrong = bytearray(data)
    wrong[20 + 8] ^= 1  # the count of the first term
    for bad in (b"", data[:-1], data + b"\0", bytes(wrong), b"\x09" + data[1:], data[:8]):
        with pytest.raises(NookError) as caught:
            index.add(np.arange(2), bad)
        assert caught.value.code == "damaged"
    with pytest.raises(NookError):
        index.add(np.arange(3), data)
    assert len(index) == 0 and len(index.search("text", 5)[0]) == 0
    index.add(np.arange(2), data)
    assert index.search("text", 5)[0].tolist() == [0, 1]


def test_memory_shrinks_when_chunks_go() -> None:
    index, rng = Lexical(), np.random.default_rng(1)
    for n in range(10):
        index.add(np.arange(n * 20, n * 20 + 20), postings(make_texts(rng, 20)))
    full = index.memory
    index.remove(np.arange(10, 200))
    assert index.memory < full / 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The nation's taxes", "the nation tax"),
        ("1,250 and 3.5", "1250 and 3.5 3 5"),
        ("U.S. don't they'll", "us dont they"),
        ("naïve CAFÉ Straße", "naiv cafe strass"),
        ("getUserName snake_case HTTPServer", "getusernam get user name snakecas snak case httpserver http server"),
        ("v3.11.2 GPT-4 covid19", "v3.11.2 3 11 2 gpt4 gpt 4 covid19 covid 19"),
        ("東京都 中", "東京 京都 中"),
        ("ＡＢＣ ﬁne", "abc fine"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם مُحَمَّد हिन्दी", "שלום محمد हिन्दी"),
        ("l'homme O'Brien", "lhomm homm obrien brien"),
        ("_ - . ' __", ""),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert " ".join(terms(text)) == expected


@pytest.mark.parametrize(
    "family",
    ["tax taxes taxed taxing", "measure measures measured measuring", "country countries", "hope hopes hoped hoping",
     "run runs running", "class classes", "agree agrees agreed", "use uses used using", "plan planned planning",
     "study studies studied studying"],
)  # fmt: skip
def test_forms_of_a_word_share_a_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


def test_stems_keep_other_words_apart() -> None:
    for pair in ("us use", "business busy", "hope hop", "news new", "university universal", "string str"):
        one, other = pair.split()
        assert stem(one) != stem(other)


def test_tokens_point_into_the_text() -> None:
    text = "Naïve cafés, 東京 and v3.11!"
    assert [text[start:end] for start, end, _ in tokens(text)] == ["Naïve", "cafés", "東京", "and", "v3.11"]
