"""A large library: its vectors move to the live index, and nobody who asks can tell."""

from __future__ import annotations

import numpy as np
import pytest
from engine.harness import Driver, of
from inglenook.errors import NookError
from inglenook.flow import Commit, Effect, Encode, Get, drive
from inglenook.index import pages, planner
from inglenook.index.collection import Collection
from inglenook.index.drive import run
from inglenook.index.store import Change, MemoryStore
from inglenook.meaning import NAME, PAGES
from inglenook.types import Filter
from inglenook.wire import messages as wire

NAMES = ("owl", "vole", "mill", "orchard", "tax", "bread", "fox", "heron", "barn", "river")
QUERIES = ("the owl and the mill", "tax on bread", "a fox by the river", "herons 17", "vole 3 vole")


class Killed(BaseException):
    """The machine dies."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty passages are a large library."""
    for name, value in {"NEAR": 40, "HEAD_ROWS": 8, "BATCHES": 12, "TIER": 3, "FEW": 8}.items():
        monkeypatch.setattr(planner, name, value)


def text(n: int, version: int = 0) -> bytes:
    """A file of a few passages."""
    parts = (f"# Part {i}\n\nThe {NAMES[(n + i) % 10]} {n * 7 + i} saw the {NAMES[(n * i + version) % 10]} {version}."
             for i in range(1 + n % 4))  # fmt: skip
    return "\n\n".join(parts).encode()


def upload(n: int, version: int = 0) -> wire.Upload:
    name = f"{'work' if n % 3 else 'home'}/{n}.{'md' if n % 2 else 'txt'}"
    return wire.Upload(name, text(n, version), 1e9 + n, "work" if n % 3 else "home")


def filled(documents: int = 40, large: bool = True) -> Driver:
    """`large`: as it is; else one that never moves anything."""
    driver = Driver()
    if not large:
        driver.library.settle = lambda: iter(())  # type: ignore[method-assign,assignment,return-value]
    driver.open()
    driver.run(wire.Prepare("encoder"))
    for start in range(0, documents, 10):
        driver.run(wire.Add([upload(n) for n in range(start, min(start + 10, documents))]))
    return driver


FILTERS = (
    Filter(),
    Filter(collections=("home",)),
    Filter(paths=("*.md",)),
    Filter(after=1e9 + 20),
    Filter(types=("x",)),
)


def answers(driver: Driver) -> list[dict[tuple[str, int], float]]:
    """Scores by passage, for each question and filter."""
    found = []
    for query in QUERIES:
        for wanted in FILTERS:
            [hits] = of(driver.run(wire.Search(query, 12, wanted, "vector")), wire.Hits)
            found.append({(hit.path, hit.chunk): hit.vector or 0.0 for hit in hits.hits})
    return found


def same(one: Driver, other: Driver) -> None:
    """Both find the same, but for what half precision takes from scores that are equal."""
    for a, b in zip(answers(one), answers(other), strict=True):
        assert len(a) == len(b)
        np.testing.assert_allclose(sorted(a.values()), sorted(b.values()), atol=2e-3)
        for place in a.keys() & b.keys():
            assert abs(a[place] - b[place]) < 2e-3
        last = min(a.values(), default=0)
        assert all(abs(score - last) < 4e-3 for place, score in a.items() if place not in b)


def tidy(driver: Driver) -> None:
    """Every vector lies in one place, and none lies about."""
    meaning = driver.library.meaning
    assert meaning.count == driver.library.status().chunks == driver.library.status().vectors
    assert meaning.near.count <= planner.NEAR
    told = [pages.elsewhere(page) for key, page in driver.pages.items() if key.startswith("v/")]
    moved = sum(place.rows for place in told if place)
    assert meaning.near.count == meaning.count - moved and (not moved or (meaning.far and meaning.far.count == moved))


def test_a_large_library_answers_as_a_small_one() -> None:
    large, small = filled(), filled(large=False)
    tidy(large)
    assert large.library.meaning.far and large.library.meaning.near.count <= 40 < small.library.meaning.near.count
    assert not any(key.startswith(PAGES) for key in small.pages)
    same(large, small)
    again = large.reopened()
    tidy(again)
    same(again, small)
    assert again.library.meaning.near.count < 60
    before = {key: page for key, page in again.pages.items() if key.startswith(("v/", PAGES))}
    again = again.reopened()
    assert before == {key: page for key, page in again.pages.items() if key.startswith(("v/", PAGES))}


def test_a_small_library_reads_and_writes_nothing_more() -> None:
    driver, kept = filled(8), []
    fresh = Driver()
    fresh.pages = dict(driver.pages)
    fresh.fail = kept.append
    fresh.open()
    fresh.run(wire.Prepare("encoder"))
    fresh.run(wire.Search("owl"))
    read = [key for effect in kept if isinstance(effect, Get) for key in effect.keys]
    assert not [key for key in read if key.startswith(PAGES)] and not of(kept, Commit)
    assert fresh.library.meaning.far is None and fresh.library.meaning.figures().queries == 1


def test_documents_are_replaced_and_removed_wherever_they_are() -> None:
    large, small = filled(), filled(large=False)
    for driver in (large, small):
        driver.run(wire.Add([upload(n, 1) for n in range(0, 40, 3)]))
        gone = [card.document for card in of(driver.run(wire.List()), wire.Documents)[0].cards[::4]]
        driver.run(wire.Remove(gone))
    tidy(large)
    same(large, small)
    same(large.reopened(), small)
    cards = of(large.run(wire.List()), wire.Documents)[0].cards
    large.run(wire.Remove([card.document for card in cards]))
    assert large.library.meaning.count == 0 and not answers(large)[0]
    again = large.reopened()
    assert not again.library.meaning.far and not [key for key in again.pages if key.startswith("v/")]


def test_a_library_of_before_moves_when_it_is_opened() -> None:
    small = filled(large=False)
    for key in [key for key in small.pages if key == "meta" or key.startswith("v/")]:
        small.pages[key] = pages.seal(pages.unseal(small.pages[key]), 3)  # as format 3 laid it out
    large = small.reopened()
    tidy(large)
    assert large.library.meaning.far
    same(large, small)


def killed_after(commits: int, driver: Driver) -> None:
    """Let the machine die at the commit after so many."""
    left = [commits]

    def fail(effect: Effect) -> None:
        if isinstance(effect, Commit):
            if not left[0]:
                raise Killed
            left[0] -= 1

    driver.fail = fail


def test_killed_at_any_commit_nothing_is_lost() -> None:
    begun, small = filled(24, large=False), filled(30, large=False)
    small.run(wire.Remove([c.document for c in of(small.run(wire.List()), wire.Documents)[0].cards[:3]]))
    died = 0
    for commits in range(200):
        driver = Driver()
        driver.pages = dict(begun.pages)
        killed_after(commits, driver)
        try:
            work(driver)
            break
        except Killed:
            died += 1
        again = Driver()
        again.pages = driver.pages
        work(again)  # as a person would, who sees what is missing
        tidy(again)
        same(again, small)
    assert died > 12


def work(driver: Driver) -> None:
    driver.open()
    driver.run(wire.Prepare("encoder"))
    driver.run(wire.Add([upload(n) for n in range(30)]))
    gone = {upload(n).path for n in range(3)}
    cards = of(driver.run(wire.List()), wire.Documents)[0].cards
    driver.run(wire.Remove([card.document for card in cards if card.path in gone]))


def test_another_tab_that_moves_documents_is_followed() -> None:
    small = filled(24, large=False)
    other = Driver()
    other.pages = small.pages
    other.library.settle = lambda: iter(())  # type: ignore[method-assign,assignment,return-value]
    other.open()
    other.run(wire.Prepare("encoder"))
    before = dict(small.pages)
    mover = Driver()
    mover.pages = small.pages
    mover.open()
    mover.run(wire.Prepare("encoder"))
    assert mover.library.meaning.far and other.library.meaning.far is None
    changed = [key for key in small.pages if small.pages[key] != before.get(key)]
    list(drive(other.library.refresh(changed), other.perform))
    assert other.library.meaning.far and other.library.meaning.near.count == mover.library.meaning.near.count
    same(other, mover)
    before = dict(small.pages)
    mover.run(wire.Add([upload(n) for n in range(24, 40)]))
    changed = [key for key in small.pages if small.pages[key] != before.get(key)]
    list(drive(other.library.refresh(changed), other.perform))
    same(other, mover)
    same(other, filled(large=False))


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_document_that_changes_while_it_moves_stays_what_it_is(change: str) -> None:
    small = filled(24, large=False)
    driver = Driver()
    driver.pages = small.pages
    driver.open()
    entry = next(iter(driver.library.entries.values()))
    n = int(entry.card.path.split("/")[1].split(".")[0])

    def meanwhile(effect: Effect) -> None:
        if isinstance(effect, Change) and any(key.startswith("v/") for key in effect.puts):
            driver.fail = lambda _: None
            if change == "replaced":  # by another tab, of which this one has not heard
                small.run(wire.Add([upload(n, 5)]))
            else:
                small.run(wire.Remove([entry.card.document]))

    driver.fail = meanwhile
    driver.run(wire.Prepare("encoder"))
    list(drive(driver.library.refresh([f"d/{entry.card.document}"]), driver.perform))
    driver.run(wire.Prepare("encoder"))
    tidy(driver)
    same(driver, small)
    again = driver.reopened()
    tidy(again)
    same(again, small)


def test_rows_that_no_page_speaks_of_are_swept_and_lost_ones_made_again() -> None:
    large, small = filled(), filled(large=False)
    moved = [place for key, page in large.pages.items() if key.startswith("v/") and (place := pages.elsewhere(page))]
    store, far = MemoryStore(), Collection(NAME)
    store.pages = large.pages
    run(far.open(), store)
    run(far.delete(np.array([moved[0].first])), store)
    run(far.add(np.eye(384, dtype=np.float32)[:9], np.arange(10**6, 10**6 + 9)), store)
    encoded: list[Effect] = []
    again = Driver()
    again.pages = large.pages
    again.fail = lambda effect: encoded.append(effect) if isinstance(effect, Encode) else None
    again.open()
    again.run(wire.Prepare("encoder"))
    assert sum(len(effect.tokens) for effect in of(encoded, Encode)) == moved[0].rows
    tidy(again)
    same(again, small)


def test_an_index_that_is_gone_costs_time_only() -> None:
    large, small = filled(), filled(large=False)
    for key in [key for key in large.pages if key.startswith(PAGES)]:
        del large.pages[key]
    again = large.reopened()
    tidy(again)
    same(again, small)


def test_where_there_is_no_room_vectors_stay_in_memory() -> None:
    small = filled(24, large=False)
    driver = small.reopened(prepare=False)

    def full(effect: Effect) -> None:
        if isinstance(effect, Commit) and any(key.startswith(PAGES) for key in effect.puts):
            raise NookError("quota", "Storage is full.", "Remove something.")

    driver.fail = full
    events = driver.run(wire.Prepare("encoder"))
    assert [event.note for event in of(events, wire.Progress) if event.stage == "index"][-1] == "Storage is full."
    driver.fail = lambda _: None
    same(driver, small)
    driver.run(wire.Prepare("encoder"))
    tidy(driver)
    same(driver, small)


def test_a_large_library_is_mapped() -> None:
    pytest.importorskip("sklearn", reason="maps need scikit-learn")
    large, small = filled(), filled(large=False)
    drawn = [of(driver.run(wire.Map()), wire.Topics)[-1] for driver in (large, small)]
    assert len(drawn[0].x) == len(drawn[1].x) == 4 * large.library.meaning.count


def test_a_large_library_is_carried() -> None:
    large, small = filled(), filled(large=False)
    [blob] = of(large.run(wire.Export()), wire.Blob)
    other = Driver()
    other.open()
    other.run(wire.Add([upload(n) for n in range(3)]))
    encoded: list[Effect] = []
    other.fail = lambda effect: encoded.append(effect) if isinstance(effect, Encode) else None
    assert len(of(other.run(wire.Import(blob.data)), wire.Added)) == 40
    assert not encoded  # their vectors came with them
    other.run(wire.Prepare("encoder"))
    tidy(other)
    same(other, small)


def test_its_figures() -> None:
    large = filled().reopened()
    answers(large)
    [status] = of(large.run(wire.Look()), wire.Status)
    index = status.index
    assert index and index.vectors == status.chunks == sum(index.kinds.values()) and index.dimensions == 384
    assert index.kinds["flat"] == index.vectors and index.queries == len(QUERIES) * len(FILTERS)
    assert index.budget > index.memory > 0 and index.stored > index.vectors * 768 and index.misses > 0
    assert 0 <= index.trips <= index.trips_p99 <= 2
