"""The key-value cache's pages against a dictionary of what was written where: nothing is found that is not there."""

from __future__ import annotations

from typing import Any

import pytest
from engine.tiny import Pages
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inglenook.elastic.cache import PAGE, Cache, Session
from inglenook.errors import NookError
from inglenook.flow import Copy, Forward


class Kernel:
    """Pages that are written as a generation would, so that what is claimed can be held against what is there."""

    def __init__(self, pages: int) -> None:
        self.cache, self.pages = Cache(pages), Pages()

    def open(self, tokens: list[int], level: int = 0) -> Session:
        session = self.cache.open(level, tokens)
        if session.copy:
            self.pages.copy(Copy(*session.copy))
            session.copied()
        assert session.tokens == tokens[: len(session.tokens)] and len(session.tokens) < max(1, len(tokens))
        assert self.pages.read(session.pages, len(session.tokens), level) == session.tokens
        return session

    def write(self, session: Session, tokens: list[int], at: int | None = None) -> None:
        at = len(session.tokens) if at is None else at
        for start in range(0, len(tokens), 50):
            part = tokens[start : start + 50]
            session.reserve(at + start + len(part))
            self.pages.write(Forward(part, at + start, pages=session.pages, level=session.level))
            session.wrote(at + start, part)

    def answer(self, tokens: list[int], level: int = 0) -> int:
        """Read all of `tokens` in a session of its own; how many were there already."""
        session = self.open(tokens, level)
        found = len(session.tokens)
        self.write(session, tokens[found:])
        session.close()
        return found


TEXT = [n % 251 for n in range(1000)]


def test_a_prefix_is_found_again_to_the_token() -> None:
    kernel = Kernel(16)
    assert kernel.answer(TEXT[:300]) == 0
    assert kernel.answer(TEXT[:300]) == 299  # the last one must run, for what comes after it
    assert kernel.answer([*TEXT[:200], 999, 998]) == 200
    assert kernel.answer([999, *TEXT[:200]]) == 0
    assert kernel.answer(TEXT[:300], level=1) == 0


def test_what_is_written_goes_on_in_its_own_page() -> None:
    kernel = Kernel(16)
    kernel.answer(TEXT[:100])
    session = kernel.open(TEXT[:150])
    assert len(session.tokens) == 100 and session.copy is None  # nobody else needs the page: it is taken over
    other = kernel.open(TEXT[:150])
    assert len(other.tokens) == 64
    session.close()
    other.close()


@pytest.mark.parametrize("pages", [2, 3, 4])
@pytest.mark.parametrize("known", [10, 70, 130, 200])
def test_one_session_may_always_have_all_pages(pages: int, known: int) -> None:
    """Also where it begins like a page that it would need itself: nobody else is there."""
    kernel = Kernel(pages)
    kernel.answer(TEXT[: PAGE * pages])
    begins = TEXT[: min(known, PAGE * pages - 3)]
    session = kernel.open([*begins, *[7] * (PAGE * pages - len(begins))])
    session.reserve(PAGE * pages)
    kernel.write(session, [7] * (PAGE * pages - len(session.tokens)))
    session.close()
    assert kernel.cache.free == pages


def test_sessions_share_full_pages_and_their_own_stay_their_own() -> None:
    kernel = Kernel(16)
    kernel.answer(TEXT[:256])
    one, two = kernel.open([*TEXT[:256], 1]), kernel.open([*TEXT[:256], 2])
    assert one.pages == two.pages and kernel.cache.free == 12
    kernel.write(one, [1] * 70)
    kernel.write(two, [2] * 70)
    assert one.pages[:4] == two.pages[:4] and not set(one.pages[4:]) & set(two.pages[4:])
    assert kernel.pages.read(one.pages, 326, 0) == [*TEXT[:256], *[1] * 70]
    one.close()
    two.close()


def test_the_same_text_at_the_same_time_is_kept_once() -> None:
    kernel = Kernel(4)
    one, two = kernel.open(TEXT[:130]), kernel.open(TEXT[:130])
    kernel.write(one, TEXT[:100])
    kernel.write(two, TEXT[:100])
    assert one.pages[0] == two.pages[0] and kernel.cache.free == 1
    one.close()
    two.close()
    assert kernel.cache.free == 4 and kernel.answer(TEXT[:130]) == 100


def test_the_end_of_a_prompt_is_found_while_its_answer_is_written() -> None:
    kernel = Kernel(8)
    one = kernel.open(TEXT[:100])
    kernel.write(one, TEXT[:100])
    assert len(kernel.open(TEXT[:100]).tokens) == 64, "nothing of a page that is being filled"
    one.share()
    kernel.write(one, [1] * 5)
    two, three = kernel.open(TEXT[:100]), kernel.open([*TEXT[:90], 7, 7])
    assert (len(two.tokens), len(three.tokens)) == (99, 90) and len({one.pages[1], two.pages[1], three.pages[1]}) == 3
    kernel.write(two, TEXT[99:100])
    two.share()
    kernel.write(two, [2] * 40)
    kernel.write(one, [1] * 40)
    assert kernel.pages.read(one.pages, 145, 0) == [*TEXT[:100], *[1] * 45]
    assert kernel.pages.read(two.pages, 140, 0) == [*TEXT[:100], *[2] * 40]
    with pytest.raises(ValueError, match="held"):
        two.wrote(100, [])
    for session in (one, two, three):
        session.close()
    assert kernel.answer([*TEXT[:100], *[1] * 60]) == 145 and kernel.answer([*TEXT[:100], *[2] * 60]) == 140


@pytest.mark.parametrize("then", [3, 20, 90])
@pytest.mark.parametrize("beside", [0, 20, 50])
def test_what_is_shared_stays_until_it_was_copied(then: int, beside: int) -> None:
    """Whatever becomes meanwhile of the session that wrote it, and whether another wrote the same."""
    kernel = Kernel(6)
    one, other = kernel.open([1]), kernel.open([1])
    kernel.write(one, [1] * 40)
    one.share()
    late = kernel.cache.open(0, [1] * 50)
    assert late.copy and late.copy[0] == one.pages[0]
    kernel.write(other, [1] * (40 + beside))
    other.close()
    kernel.write(one, [1] * then)
    one.close()
    kernel.answer([2] * 64 * (kernel.cache.free - 1))  # a copy, and whoever needs pages
    kernel.pages.copy(Copy(*late.copy))
    late.copied()
    kernel.write(late, [3] * 30)
    assert kernel.pages.read(late.pages, 70, 0) == [*[1] * 40, *[3] * 30]
    late.close()
    assert kernel.cache.free == 6


def test_the_least_recently_used_goes_first_ends_before_beginnings() -> None:
    kernel = Kernel(6)
    kernel.answer([1] * 128)
    kernel.answer([2] * 128)
    kernel.answer([1] * 128)
    kernel.answer([3] * 192)  # two are free, one end must go
    assert kernel.answer([2] * 128) == 64
    assert kernel.answer([3] * 192) == 191


def test_all_in_use_is_an_error_that_leaves_everything_as_it_was() -> None:
    kernel = Kernel(3)
    session = kernel.open(TEXT[:192])
    kernel.write(session, TEXT[:192])
    for wanted in ([9] * 10, TEXT[:100], [*TEXT[:10], 9]):
        with pytest.raises(NookError) as error:
            other = kernel.open(wanted)
            try:
                kernel.write(other, wanted[len(other.tokens) :])
            finally:
                other.close()
        assert error.value.code == "memory" and error.value.hint
    assert kernel.cache.free == 0
    session.close()
    assert kernel.cache.free == 3 and kernel.answer([9] * 10) == 0


def test_going_back_over_what_was_only_tried() -> None:
    kernel = Kernel(4)
    session = kernel.open([1, 2, 3])
    kernel.write(session, [1, 2, 3])
    kernel.write(session, [7] * 60, at=3)
    session.wrote(3, [7])
    kernel.write(session, [8] * 80)
    session.close()
    assert kernel.answer([1, 2, 3, 7, *[8] * 80]) == 83
    assert kernel.answer([1, 2, 3, 7, 7, 7]) == 4


def test_what_makes_no_sense_is_refused() -> None:
    kernel = Kernel(4)
    session = kernel.open([1])
    session.reserve(100)
    with pytest.raises(ValueError, match="held"):
        session.wrote(1, [2])
    session.wrote(0, [1] * 64)
    with pytest.raises(ValueError, match="held"):
        session.wrote(10, [1])
    with pytest.raises(ValueError, match="pages"):
        session.wrote(64, [1] * 65)


class Histories(RuleBasedStateMachine):
    """Sessions that open, write, go back and close in any order, on few pages and with few tokens, so that prefixes
    meet, pages run out and copies are made."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel(7)
        self.open: list[Session] = []
        self.shared: dict[Session, int] = {}

    @rule(data=st.data(), level=st.integers(0, 1))
    def begin(self, data: Any, level: int) -> None:
        parts = data.draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([1, 3, 30, 63, 64, 65])), max_size=4))
        tokens = [token for token, count in parts for _ in range(count)] + [5]
        self.open.append(self.kernel.open(tokens, level))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), token=st.integers(0, 2), count=st.sampled_from([1, 2, 31, 63, 64, 90]))
    def write(self, which: int, token: int, count: int) -> None:
        session = self.open[which % len(self.open)]
        try:
            self.kernel.write(session, [token] * count)
        except NookError as error:
            assert error.code == "memory" and self.kernel.cache.free == 0

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), back=st.integers(0, 20))
    def go_back(self, which: int, back: int) -> None:
        session = self.open[which % len(self.open)]
        at = max(len(session.tokens) // PAGE * PAGE, len(session.tokens) - back)
        try:
            session.wrote(at, [])
        except ValueError:
            assert at < self.shared.get(session, 0)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9))
    def share(self, which: int) -> None:
        session = self.open[which % len(self.open)]
        session.share()
        self.shared[session] = len(session.tokens)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        self.open.pop(which % len(self.open)).close()

    @invariant()
    def everything_is_where_it_is_said_to_be(self) -> None:
        for session in self.open:
            assert self.kernel.pages.read(session.pages, len(session.tokens), session.level) == session.tokens
        private = [session.pages[len(session.tokens) // PAGE :] for session in self.open]
        flat = [page for pages in private for page in pages]
        assert len(flat) == len(set(flat)), "two sessions write to one page"
        used = {page for session in self.open for page in session.pages}
        assert self.kernel.cache.free <= self.kernel.cache.pages - len(used)

    def teardown(self) -> None:
        for session in self.open:
            session.close()
            session.close()
        assert self.kernel.cache.free == self.kernel.cache.pages


Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestHistories = Histories.TestCase
