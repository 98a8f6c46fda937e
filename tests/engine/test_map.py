"""The map of a library: topics that are found again, names that tell, discs that stay apart."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from engine.harness import WORDS, Driver, of
from hypothesis import given
from hypothesis import strategies as st
from inglenook.embed.encoder import DIMENSIONS
from inglenook.errors import NookError
from inglenook.flow import Commit, Effect, Encode, Pause, drive
from inglenook.index import pages
from inglenook.search import lexical
from inglenook.search.lexical import Lexical
from inglenook.topics import kept, layout, names, survey
from inglenook.topics.cluster import Cluster, Clusters
from inglenook.wire import messages as wire

SUBJECTS = {
    "garden": ("roses", "spade", "seedlings", "compost"),
    "sea": ("harbour", "sailor", "lighthouse", "herring"),
    "kitchen": ("oven", "dough", "kettle", "saucepan"),
}


def text(subject: str, n: int) -> str:
    """A passage about a subject, in words that no other passage has in this order."""
    one, two, three = (SUBJECTS[subject][(n + i) % 4] for i in range(3))
    return f"The {one} and the {two} by the {three} were seen on day {n * 7919 % 997}."


class Subjects(Driver):
    """An encoder that knows the subjects; topics are found by nearest middles of them, which needs no scikit-learn."""

    def __init__(self) -> None:
        super().__init__()
        self.open()

    def perform(self, effect: Effect, emit: Any = None) -> Any:
        if isinstance(effect, Encode):
            return np.stack([about(tokens) for tokens in effect.tokens])
        if isinstance(effect, Cluster):
            self.fail(effect)
            middles = np.eye(3, DIMENSIONS, dtype=np.float32)
            return Clusters(middles, np.eye(2, DIMENSIONS, dtype=np.float32))
        return super().perform(effect, emit)

    def map(self) -> list[Any]:
        return self.run(wire.Map())


def about(tokens: list[int]) -> np.ndarray:
    """A vector near the middle of the subject whose words are in these tokens (which are letters)."""
    letters = "".join(WORDS[token].removeprefix("##") for token in tokens)
    held = [any(word in letters for word in words) for words in SUBJECTS.values()]
    rng = np.random.default_rng(len(tokens))
    row = np.eye(3, DIMENSIONS)[held.index(True)] + rng.normal(0, 0.02, DIMENSIONS)
    return (row / np.linalg.norm(row)).astype(np.float32)


@pytest.fixture
def told() -> Subjects:
    driver = Subjects()
    for subject in SUBJECTS:
        driver.add(**{f"{subject}{n}_md": text(subject, n) for n in range(8)})
    return driver


def column(made: wire.Topics, name: str) -> np.ndarray:
    kinds = {"topic": "<u2", "x": "<f4", "y": "<f4"}
    return np.frombuffer(getattr(made, name), kinds.get(name, "<u4"))


def subjects(made: wire.Topics, driver: Driver) -> list[set[str]]:
    """Which subjects are on each topic's disc."""
    found: list[set[str]] = [set() for _ in made.topics]
    for document, topic in zip(column(made, "document"), column(made, "topic")):
        path = driver.library.entries[made.documents[document]].card.path
        found[topic].add(path.rstrip("0123456789.md"))
    return found


def test_topics_hold_what_is_alike_and_are_named_by_its_words(told: Subjects) -> None:
    *_, made = told.map()
    assert (made.by, made.passages, made.waiting) == ("meaning", 24, 0)
    assert sorted(subjects(made, told), key=str) == [{"garden"}, {"kitchen"}, {"sea"}]
    for topic, [subject] in zip(made.topics, subjects(made, told)):
        assert topic.points == 8
        assert len(topic.words) == names.WORDS and set(topic.words) <= set(SUBJECTS[subject])
        assert any(topic.quote == text(subject, n) for n in range(8))


def test_points_lie_on_their_discs_and_lead_to_their_passages(told: Subjects) -> None:
    *_, made = told.map()
    for n, topic in enumerate(column(made, "topic")):
        disc = made.topics[topic]
        assert np.hypot(column(made, "x")[n] - disc.x, column(made, "y")[n] - disc.y) <= disc.radius
        entry = told.library.entries[made.documents[column(made, "document")[n]]]
        chunk = entry.chunks[column(made, "chunk")[n]]
        assert (chunk.start, chunk.end) == (column(made, "start")[n], column(made, "end")[n])


def test_documents_by_place_come_at_once(told: Subjects) -> None:
    told.add(**{"sea/more_md": text("sea", 9)})
    first, *later = told.map()
    assert first.by == "place" and [topic.words for topic in first.topics] == [["notes"], ["sea"]]
    assert [topic.points for topic in first.topics] == [24, 1]
    assert sorted(first.documents) == sorted(told.library.entries)
    assert [type(event) for event in later if not isinstance(event, wire.Progress)] == [wire.Topics]


def test_without_vectors_only_places_are_shown(told: Subjects) -> None:
    told.models = False
    before = told.reopened(prepare=False)
    before.pages = {key: page for key, page in before.pages.items() if not key.startswith("v/")}
    bare = before.reopened(prepare=False)
    [made] = bare.run(wire.Map())
    assert (made.by, made.passages, made.waiting, len(made.documents)) == ("place", 24, 24, 24)


def test_an_empty_library_has_an_empty_map() -> None:
    driver = Subjects()
    [made] = driver.map()
    assert (made.topics, made.documents, made.x) == ([], [], b"")


def test_a_map_is_made_once_and_again_when_the_library_changes(told: Subjects) -> None:
    *_, made = told.map()
    assert told.map() == [made]
    told.add(garden9_md=text("garden", 11))
    *_, anew = told.map()
    assert len(column(anew, "x")) == 25
    told.run(wire.Remove([made.documents[0]]))
    *_, less = told.map()
    assert len(column(less, "x")) == 24 and made.documents[0] not in less.documents


def test_a_map_is_kept_over_a_reload_unless_it_is_damaged_or_of_another_library(told: Subjects) -> None:
    *_, made = told.map()

    def opened() -> Subjects:
        other = Subjects()
        other.pages = dict(told.pages)
        other.open()
        return other

    assert opened().map() == [made]
    for cut in (0, 30, 80, len(told.pages[kept.KEY]) - 5):
        hurt = opened()
        page = bytearray(hurt.pages[kept.KEY])
        page[cut] ^= 0xFF
        hurt.pages[kept.KEY] = bytes(page)
        assert [type(event) for event in hurt.map()][-1] is wire.Topics
        assert hurt.pages[kept.KEY] == told.pages[kept.KEY], "made anew"
    short = opened()
    short.pages[kept.KEY] = pages.seal(pages.unseal(told.pages[kept.KEY])[:-3])
    assert short.map()[0].by == "place"
    more = opened()
    more.run(wire.Prepare("encoder"))
    more.add(garden9_md=text("garden", 11))
    assert len(column(more.map()[-1], "x")) == 25


def test_where_there_is_no_room_the_map_is_shown_all_the_same(told: Subjects) -> None:
    def full(effect: Effect) -> None:
        if isinstance(effect, Commit):
            raise NookError("quota", "full")

    told.fail = full
    assert told.map()[-1].by == "meaning"


def test_where_topics_cannot_be_found_the_error_says_so_and_places_stay(told: Subjects) -> None:
    def refuse(effect: Effect) -> None:
        if isinstance(effect, Cluster):
            raise NookError("science-missing", "no scikit-learn", "install it")

    told.fail = refuse
    heard: list[Any] = []
    with pytest.raises(NookError, match="no scikit-learn"):
        for event in drive(told.library.handle(wire.Map()), told.perform):
            heard.append(event)  # noqa: PERF402 (what came before the error counts)
    assert heard[0].by == "place"
    told.fail = lambda effect: None
    assert told.map()[-1].by == "meaning"


def test_a_large_library_is_sampled_evenly_and_topics_learn_from_fewer(
    told: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "POINTS", 10)
    monkeypatch.setattr(survey, "LEARNT", 4)
    learnt = []
    told.fail = lambda effect: learnt.append(effect.vectors.shape) if isinstance(effect, Cluster) else None
    *_, made = told.map()
    assert len(column(made, "x")) == 8, "every third of 24"
    assert learnt == [(4, DIMENSIONS)]
    assert len(set(made.documents)) == 8


def test_a_document_that_goes_meanwhile_is_left_out(told: Subjects) -> None:
    gone = next(iter(told.library.entries))
    told.pages = {key: page for key, page in told.pages.items() if key != f"v/{gone}"}
    *_, made = told.map()
    assert len(made.documents) == 23 and gone not in made.documents


def test_no_step_of_placing_is_long(told: Subjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SLICE", 5)
    pauses = []
    told.fail = lambda effect: pauses.append(1) if isinstance(effect, Pause) else None
    told.map()
    assert len(pauses) >= 5


# ── scikit-learn ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_scikit_learn_finds_the_topics_and_the_same_ones_again() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is loaded in a worker of its own there")
    from inglenook.topics.cluster import cluster

    rng = np.random.default_rng(7)
    middles = rng.normal(size=(4, 64))
    rows = (middles[np.arange(400) % 4] + rng.normal(0, 0.1, (400, 64))).astype(np.float32)
    made = cluster(rows, 4)
    nearest = np.linalg.norm(made.centres[:, None] - middles, axis=2).argmin(axis=1)
    assert sorted(nearest) == [0, 1, 2, 3]
    assert np.linalg.norm(made.centres - middles[nearest], axis=1).max() < 0.2
    assert np.allclose(made.plane @ made.plane.T, np.eye(2), atol=1e-4)
    flat = made.centres @ made.plane.T
    assert min(np.linalg.norm(flat[i] - flat[j]) for i in range(4) for j in range(i)) > 1
    again = cluster(rows.copy(), 4)
    assert np.array_equal(made.centres, again.centres) and np.array_equal(made.plane, again.plane)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_few_or_equal_vectors_make_no_trouble(rows: int) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is loaded in a worker of its own there")
    from inglenook.topics.cluster import cluster

    for vectors in (np.ones((rows, 8), np.float32), np.eye(rows, 8, dtype=np.float32)):
        made = cluster(vectors, 3)
        assert made.centres.shape[1] == 8 and made.plane.shape == (2, 8)
        assert np.isfinite(made.centres).all() and np.isfinite(made.plane).all()


def test_where_scikit_learn_is_missing_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from inglenook.topics.cluster import cluster

    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(NookError, match="needs scikit-learn") as error:
        cluster(np.eye(4, dtype=np.float32), 2)
    assert error.value.code == "science-missing" and "pip install" in error.value.hint


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def counted(texts: list[str], topic: list[int], topics: int) -> list[list[tuple[str, float]]]:
    """`names.candidates` of documents of one passage each, half of them in another run of the index."""
    index = Lexical()
    for n, one in enumerate(texts):
        index.add(np.array([n]), lexical.postings([one]))
        if n == len(texts) // 2:
            index.search("settle", 1)
    run, ids = index.whole()
    assert sorted(ids) == list(range(len(texts)))
    steps = names.candidates(run, np.array(topic)[ids], topics)
    while True:
        try:
            assert isinstance(next(steps), Pause)
        except StopIteration as done:
            return done.value


def test_words_are_told_apart_past_their_first_eight_letters() -> None:
    texts = ["constitutional"] * 9 + ["constitutionalism"] * 9 + ["constitution"] * 9
    found = counted(texts, [0] * 9 + [1] * 9 + [2] * 9, 3)
    assert [terms[0][0] for terms in found] == ["constitutional", "constitutionalism", "constitution"]
    assert all(len(terms) == 1 for terms in found)


def test_words_that_stand_everywhere_name_nothing() -> None:
    texts = [f"common shared {'alpha' if n % 2 else 'omega'}" for n in range(40)]
    found = counted(texts, [n % 2 for n in range(40)], 2)
    assert [[term for term, _ in terms] for terms in found] == [["omega"], ["alpha"]]


def test_names_are_written_as_people_write_them() -> None:
    found = [[("nation", 3.0), ("the", 2.9), ("1944", 2.8), ("measur", 2.0)], [("nation", 9.0), ("nasa", 1.0)]]
    texts = [["The nations' measures of 1944", "Measures were taken."], ["Nation by nation.", "NASA flew."]]
    assert names.chosen(found, [names.written(some) for some in texts]) == [["measures"], ["nation", "NASA"]]


@given(st.lists(st.tuples(st.text("ab é東京", max_size=60), st.integers(-1, 2)), min_size=1, max_size=12))
def test_counts_agree_with_counting_by_hand(some: list[tuple[str, int]]) -> None:
    texts, topic = [one for one, _ in some], [t for _, t in some]
    found = counted(texts, topic, 3)
    on = {t: [set(lexical.terms(one)) for one, mine in some if mine == t] for t in range(3)}
    few = min(names.FEW, 1 + sum(map(len, on.values())) // 30)
    for t, terms in enumerate(found):
        for term, weight in terms:
            assert weight > 0 and any(term in words for words in on[t])
            assert sum(term in words for mine in on.values() for words in mine) >= few


# ── layout ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=24))
def test_no_disc_covers_another(some: list[tuple[int, int, int]]) -> None:
    sizes = np.array([size for size, _, _ in some])
    places = np.array([[x, y] for _, x, y in some], float)
    centres, radii = layout.discs(places, sizes)
    assert np.isfinite(centres).all()
    assert np.allclose(np.square(radii), sizes), "every passage has the same room"
    away = np.linalg.norm(centres[:, None] - centres, axis=2) - radii[:, None] - radii
    np.fill_diagonal(away, 1)
    assert away.min() > 0


def test_discs_keep_their_sides_and_no_room_is_wasted() -> None:
    sizes = np.array([40] * 5)
    places = np.array([[0, 0], [-3, 0], [3, 0], [0, 3], [0, -3]], float)
    centres, radii = layout.discs(places, sizes)
    assert centres[:, 0].argmin() == 1 and centres[:, 0].argmax() == 2
    assert centres[:, 1].argmax() == 3 and centres[:, 1].argmin() == 4
    assert np.linalg.norm(centres, axis=1).max() < 6 * radii[0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_points_lie_apart_on_their_disc_the_typical_in_the_middle(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    sides, distances = rng.normal(size=(n, 2)) * [5, 0.1], rng.random(n)
    points = layout.scatter(sides, distances)
    reach = np.linalg.norm(points, axis=1)
    assert reach.max() <= np.sqrt(n)
    assert (np.diff(reach[np.argsort(distances)]) >= -1e-9).all()
    away = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(n)
    assert away.min() > 1.3, "each has room of its own"


def test_what_leans_to_a_side_lies_on_that_side() -> None:
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    sides = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distances = np.random.default_rng(3).random(90)
    points = layout.scatter(sides, distances)
    far = distances > np.median(distances)
    way = points[far] / np.linalg.norm(points[far], axis=1, keepdims=True)
    assert np.median((way * sides[far]).sum(axis=1)) > 0.9


def test_the_status_tells_of_the_index(told: Subjects) -> None:
    [status] = of(told.run(wire.Look()), wire.Status)
    assert status.index is not None
    assert (status.index.vectors, status.index.dimensions, status.index.kinds) == (24, DIMENSIONS, {"flat": 24})
    assert 0 < status.index.stored < status.index.memory <= status.memory
