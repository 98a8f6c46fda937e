"""The sample library is set from running text without losing a word of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from inglenook import ingest
from inglenook.flow import Flow
from inglenook.types import Document, File

from buildlib import paper, samples

SPEECH = {
    "year": 1930,
    "name": "John Q Public",
    "text": (
        "To the Congress: I have the honor to report. Trade has grown. Exports rose by 3.5 percent, and imports fell. "
        "Merchants are content with trade. AGRICULTURE The harvest of wheat was large. Farmers sold it at fair prices. "
        "Mr. Smith of Ohio reports that rain was ample for wheat. ARMY AND NAVY Ships were built. The Navy has 12 more "
        "ships. Sailors are paid on time."
    ),
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def read(name: str, data: bytes) -> Document:
    def flow() -> Flow:
        found.append((yield from ingest.read(File(name, data))))

    found: list[Document] = []
    for _ in flow():
        pass
    return found[0]


def test_headings_and_title_are_found() -> None:
    address = samples.read(dict(SPEECH))
    assert address.title == "State of the Union 1930, John Q. Public"
    assert [head for head, _ in address.sections] == ["", "Agriculture", "Army and Navy"]


@pytest.mark.parametrize("form", ["md", "html", "pdf"])
def test_every_form_is_read_back_word_for_word(form: str) -> None:
    address = samples.read(dict(SPEECH))
    document = read(f"a.{form}", samples.FORMS[form](address))
    assert document.title == address.title
    told = words(document.text)
    assert told[-1] == ("1" if form == "pdf" else "time")  # a PDF's page has its number below
    wanted = words(address.title) + words(str(SPEECH["text"]))
    assert [word for word in told if word != "1"] == [word for word in wanted if word != "1"]


def test_paragraphs_lose_nothing_and_keep_their_size() -> None:
    rng = np.random.default_rng(2)
    topics = [["wheat", "farm", "rain", "harvest"], ["ship", "navy", "sea", "sailor"], ["tax", "debt", "bond", "bank"]]
    told = []
    for _ in range(60):
        topic = topics[len(told) // 20]
        told.append(" ".join(rng.choice(topic, rng.integers(8, 16))).capitalize() + ".")
    text = " ".join(told)
    found = list(samples.paragraphs(text))
    assert " ".join(found) == text
    assert all(len(paragraph) <= samples.MOST for paragraph in found) and len(found) >= 5
    starts = {text.index(paragraph) for paragraph in found}
    assert {text.index(told[20]), text.index(told[40])} <= starts  # a break stands where the subject changes


def test_a_long_text_takes_several_pages() -> None:
    data = paper.draw("Title", [("", ["word " * 400] * 6)])
    document = read("long.pdf", data)
    assert len(document.pages) >= 3 and document.text.count("word") == 2400


def test_the_addresses_named_are_distinct() -> None:
    names = [entry.partition(":") for entry in samples.ADDRESSES]
    assert len({name for name, _, _ in names}) == len(names) >= 30
    assert {form or "md" for _, _, form in names} == set(samples.FORMS)
    assert not Path(samples.PAGES[0]).is_absolute()
