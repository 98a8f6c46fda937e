"""Filters: which passages a person's wishes leave."""

import time

import numpy as np
import pytest
from inglenook.index.filter import Columns, glob, matches, plain
from inglenook.types import Filter
from inglenook.wire.messages import Card


def card(path, collection="notes", kind="text", modified=0.0):
    return Card(path, path, path, collection, kind, 1, modified, 0, 0, 0)


CARDS = [
    (card("reports/2024/May.pdf", "work", "pdf", 100.0), np.arange(0, 3)),
    (card("reports/summary.md", "work", "markdown", 200.0), np.arange(5, 9)),
    (card("todo.md", "notes", "markdown", 300.0), np.arange(3, 5)),
    (card("empty.txt", "notes", "text", 400.0), np.arange(0)),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), range(9)),
        (Filter(collections=("work",)), [0, 1, 2, 5, 6, 7, 8]),
        (Filter(collections=("work", "notes")), range(9)),
        (Filter(collections=("nowhere",)), []),
        (Filter(types=("markdown",)), range(3, 9)),
        (Filter(paths=("reports/*.md",)), range(5, 9)),
        (Filter(paths=("reports/",), types=("pdf",)), range(3)),
        (Filter(after=200.0), range(3, 9)),
        (Filter(before=200.0), range(3)),
        (Filter(after=100.0, before=200.0), range(3)),
        (Filter(collections=("work",), paths=("*.md",)), range(5, 9)),
    ],
)
def test_allow(wanted, ids):
    allow = Columns(CARDS).allow(wanted)
    assert allow.dtype == bool and allow.shape == (9,)
    assert np.flatnonzero(allow).tolist() == list(ids)


def test_ids_of_no_passage_are_not_allowed():
    allow = Columns([(card("a"), np.array([2, 7]))]).allow(Filter())
    assert np.flatnonzero(allow).tolist() == [2, 7]


def test_answers_are_kept_and_cannot_be_changed():
    columns = Columns(CARDS)
    first = columns.allow(Filter(types=("pdf",)))
    assert columns.allow(Filter(types=("pdf",))) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False
    for n in range(100):
        columns.allow(Filter(after=float(n)))
    again = columns.allow(Filter(types=("pdf",)))
    assert again is not first and (again == first).all()  # only so many are kept


def test_no_documents():
    assert Columns([]).allow(Filter(paths=("*",))).shape == (0,)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.pdf", "a.pdf", True), ("*.pdf", "deep/er/a.PDF", True), ("*.pdf", "a.pdf.txt", False),
        ("a/*.pdf", "a/b.pdf", True), ("a/*.pdf", "a/b/c.pdf", False), ("a/**/*.pdf", "a/c.pdf", True),
        ("a/**/*.pdf", "a/b/b/c.pdf", True), ("**/b/*", "a/b/c", True), ("**/b/*", "b/c", True),
        ("**/b/*", "a/b/c/d", False), ("a/**", "a/b/c", True), ("a/", "a/b/c", True), ("a/", "ab/c", False),
        ("a?c", "abc", True), ("a?c", "a/c", False), ("reports", "reports/x", False),
        ("[draft].md", "[draft].md", True),
        ("[ab].md", "a.md", False), ("a.c", "abc", False), ("./x/y", "x/y", True), ("x\\y", "x/y", True),
        ("cafe\u0301.txt", "Café.txt", True), ("**/a/**/b", "x/a/a/y/b", True), ("**/a/**/b", "x/a/b/c", False),
        ("**", "anything/at/all", True), ("a/**/b/**/c", "a/b/x/b/y/c", True), ("", "a", False), ("*", "a/b", True),
        ("line*", "line\nfeed", True), ("straße*", "STRASSE 5.md", True), ("a/*/*/d", "a/b/c/d", True),
    ],
)  # fmt: skip
def test_patterns(pattern, path, fits):
    assert matches(plain(path).split("/"), glob(pattern)) is fits


def test_no_pattern_runs_away():
    start = time.perf_counter()
    for pattern in ("*a" * 60 + "b", "**/a/" * 60 + "b", "?*" * 60 + "b/**/" + "*a" * 50):
        assert not matches(plain("a" * 200 + "/" + "a/" * 200 + "c").split("/"), glob(pattern))
    assert time.perf_counter() - start < 30  # backtracking would take years
