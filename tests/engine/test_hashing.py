"""The embedder without a model: it retrieves, and its vectors are the same everywhere."""

import zlib

import numpy as np
import pytest
from inglenook.embed import hashing

PASSAGES = [
    "The boiler is serviced every October; the engineer's report is kept in the blue folder.",
    "Invoices are due thirty days after delivery, and reminders are sent by the accounts office.",
    "The museum opens at ten on weekdays and closes early on public holidays.",
    "Transistors amplify or switch electrical signals and are made from semiconductors.",
    "Sourdough needs a ripe starter, strong flour, salt, water and a night in the cold.",
    "Der Mietvertrag kann mit einer Frist von drei Monaten gekündigt werden.",
    "合同自动续签一年,除非提前三十天通知。",
    "Le chat dort sur le canapé pendant que la pluie tombe.",
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("when was the boiler serviced", 0),
        ("invoice reminder", 1),
        ("museum opening hours on a holiday", 2),
        ("amplifier of electric signals", 3),
        ("sourdogh startr flour", 4),
        ("Kündigung Mietverträge", 5),
        ("合同续签", 6),
        ("CANAPE", 7),
    ],
)
def test_shared_words_inflections_and_misspellings_are_found(query, found):
    scores = hashing.embed(PASSAGES) @ hashing.embed([query])[0]
    assert scores.argmax() == found
    assert scores[found] > 1.5 * np.delete(scores, found).max()


def test_near_duplicates_are_close_and_strangers_far():
    first, second, other = hashing.embed([PASSAGES[0], PASSAGES[0].replace("October", "November"), PASSAGES[3]])
    assert first @ second > 0.8
    assert abs(first @ other) < 0.3


def test_rows_have_unit_length_and_the_shape_promised():
    vectors = hashing.embed(PASSAGES)
    assert vectors.shape == (len(PASSAGES), hashing.DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert hashing.embed([]).shape == (0, hashing.DIMENSIONS)


def test_a_text_without_words_is_zero():
    assert not hashing.embed(["", " … !!! "]).any()


def test_order_case_and_accents_do_not_count():
    first, second = hashing.embed(["Ein schönes Café", "CAFE ein schones"])
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_stored_vectors_stay_valid():
    """Vectors are stored: a change of the hash needs a new space name. The numbers were computed once and for all."""
    vector = hashing.embed(["The boiler is serviced every October. 合同自动续签 ﬁne Ångström " * 2])[0]
    assert hashing.SPACE == "hash-256"
    assert zlib.crc32(np.round(vector * 100).astype("<i2").tobytes()) == 405653001


def test_company_does_not_count():
    """A text's vector is the same alone and among so many others that they are taken in groups."""
    texts = [f"{PASSAGES[n % 8]} {' '.join(f'w{n * 50 + i}x' for i in range(50))}" for n in range(300)]
    together = hashing.embed(texts)
    for number in (0, 81, 82, 163, 299):
        np.testing.assert_allclose(together[number], hashing.embed([texts[number]])[0], atol=1e-6)


def test_strange_texts_do_no_harm():
    vectors = hashing.embed(["\ud800 x", "a" * 100_000, " ".join(f"{n}" for n in range(20_000)), "\0\0", "_"])
    assert np.isfinite(vectors).all()
