"""The life of documents: taken in, found, replaced, removed, carried, reopened."""

from __future__ import annotations

import itertools
import json
import zlib

import pytest
from engine.harness import Driver, of
from inglenook import library
from inglenook.errors import NookError
from inglenook.flow import Begin, Commit, Effect, Encode, Finish, Flow, Get, Hold, drive
from inglenook.index import container, pages
from inglenook.index.entry import Entry
from inglenook.types import Filter
from inglenook.wire import messages as wire

OWL = "# Owls\n\nThe tawny owl hunts voles at night in the old orchard behind the mill."
TAX = "# Taxes\n\nThe council raised the property tax by four percent in March."
BREAD = "# Bread\n\nKnead the dough for ten minutes, then let it rest in a warm corner."


@pytest.fixture
def nook() -> Driver:
    driver = Driver()
    driver.open()
    driver.add(owl_md=OWL, tax_md=TAX, bread_md=BREAD)
    return driver


def titles(driver: Driver, query: str, **options: object) -> list[str]:
    [hits] = driver.run(wire.Search(query, **options))  # type: ignore[arg-type]
    return [hit.title for hit in hits.hits]


def test_an_opened_nook_says_what_it_holds(nook: Driver) -> None:
    [status] = nook.run(wire.Look())
    assert (status.documents, status.chunks, status.vectors) == (3, 3, 3)
    assert status.collections == {"notes": 3}


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
def test_passages_are_found_by_words_and_by_vectors(nook: Driver, mode: str) -> None:
    assert titles(nook, "tawny owl orchard", mode=mode)[0] == "Owls"
    assert titles(nook, "property tax", mode=mode)[0] == "Taxes"


def test_a_hit_quotes_its_source_and_marks_the_words(nook: Driver) -> None:
    [hits] = nook.run(wire.Search("voles"))
    hit = hits.hits[0]
    [shown] = nook.run(wire.Show(hit.document, hit.start, hit.end))
    assert shown.text[hit.start : hit.end] == hit.text
    assert [shown.text[m.start : m.end] for m in hit.marks] == ["voles"]


def test_one_batched_read_serves_a_search(nook: Driver) -> None:
    again = nook.reopened()
    for expected in (1, 0):  # what was read is kept at hand
        again.reads = 0
        again.run(wire.Search("owl tax dough"))
        assert again.reads == expected


LONG = "\n\n".join(f"Grüße 🦉 Nr. {n}: the {n}th owl of the valley hunts voles, {n * 37} of them." for n in range(900))


def test_passages_of_a_long_text_are_quoted_from_the_pieces_they_lie_in(nook: Driver) -> None:
    [added] = of(nook.add(long_txt=LONG), wire.Added)
    document = added.card.document
    again = nook.reopened()
    entry = again.library.entries[document]
    texts = [key for key in again.pages if key.startswith(f"x/{document}/")]
    assert entry.length == len(LONG) and len(texts) == -(-len(LONG) // pages.PIECE) > 4
    borders = range(pages.PIECE, len(LONG), pages.PIECE)
    spans = [(chunk.start, chunk.end) for chunk in entry.chunks] + [(at - 1, at + 1) for at in borders]
    spans += [(0, 0), (pages.PIECE, pages.PIECE), (0, len(LONG)), (len(LONG) - 1, len(LONG) + 9)]
    assert any(start < at < end for start, end in spans[: len(entry.chunks)] for at in borders)
    for batch in (spans, spans[::7], spans[::-1]):
        assert quoted(again, [(entry, start, end) for start, end in batch]) == [LONG[a:b] for a, b in batch]
    fresh, kept = nook.reopened(), []
    fresh.fail = lambda effect: kept.append(effect.keys) if isinstance(effect, Get) else None
    query = "an owl of the valley that hunts"
    hits = next(event for event in drive(fresh.library.handle(wire.Search(query, mode="lexical", k=1)), fresh.perform))
    assert LONG[hits.hits[0].start : hits.hits[0].end] == hits.hits[0].text
    assert sum(map(len, kept)) <= 2  # the piece it lies in, not the text


def test_what_comes_behind_the_hits_is_read_when_they_are_out(nook: Driver) -> None:
    [added] = of(nook.add(long_txt=LONG), wire.Added)
    document = added.card.document
    fresh = nook.reopened()
    fresh.reads = 0
    ask = drive(fresh.library.handle(wire.Search("an owl of the valley", k=3)), fresh.perform)
    assert isinstance(next(ask), wire.Hits) and fresh.reads == 1
    assert list(ask) == [] and fresh.reads == 2 and fresh.library._ahead
    [hits] = fresh.run(wire.Search("an owl of the valley", k=20))
    assert fresh.reads == 2 and len(hits.hits) == 20 and all(hit.text in LONG for hit in hits.hits[3:])
    fresh.library.displace(document)
    assert not any(document in key for key in [*fresh.library._ahead, *fresh.library._texts])


def test_a_whole_text_is_put_together_from_its_pieces(nook: Driver) -> None:
    [added] = of(nook.add(long_txt=LONG), wire.Added)
    document = added.card.document
    fresh = nook.reopened()
    [shown] = fresh.run(wire.Inspect(document))
    assert shown.document.text == LONG


def quoted(driver: Driver, spans: list[tuple[Entry, int, int]]) -> list[str | None]:
    def ask() -> Flow:
        yield (yield from driver.library.quotes(spans))

    [answer] = drive(ask(), driver.perform)
    return answer  # type: ignore[return-value]


def test_what_is_kept_at_hand_is_bounded_and_never_of_another_time(
    nook: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LATELY", 3)
    [added] = of(nook.add(long_txt=LONG), wire.Added)
    entry = nook.library.entries[added.card.document]
    for start in range(0, len(LONG) - 9, 5000):
        assert quoted(nook, [(entry, start, start + 9)]) == [LONG[start : start + 9]]
        assert len(nook.library._texts) <= 3
    nook.add(long_txt="Now it is short.")
    [hits] = nook.run(wire.Search("short"))
    assert hits.hits[0].text == "Now it is short."
    assert quoted(nook, [(entry, 20_000, 20_009)]) == [None]  # the one that was replaced
    assert len([key for key in nook.pages if key.startswith(f"x/{added.card.document}/")]) == 1
    nook.run(wire.Remove([card.document for card in nook.run(wire.List())[0].cards]))
    assert set(nook.pages) == {"meta"} and not nook.library._texts


def test_a_nook_of_format_2_opens_with_all_it_held(nook: Driver) -> None:
    nook.add(long_txt=LONG)
    now = dict(nook.pages)
    for entry in nook.library.entries.values():  # as format 2 laid it out
        document = entry.card.document
        keys = pages.text_keys(document, 0, entry.length)
        text = "".join(pages.read_text(nook.pages.pop(key)) for key in keys)
        content = json.loads(pages.unseal(nook.pages[f"d/{document}"]))
        del content["length"]
        nook.pages[f"d/{document}"] = pages.seal(json.dumps(content).encode(), 2)
        nook.pages[f"x/{document}"] = pages.seal(zlib.compress(text.encode()), 2)
    nook.pages["meta"] = pages.seal(pages.unseal(nook.pages["meta"]), 2)
    exported = container.write(nook.pages)
    again = nook.reopened()
    assert titles(again, "tawny owl")[0] == "Owls" and titles(again, "the 700th owl of the valley")[0]
    assert {key: pages.unseal(page) for key, page in again.pages.items() if key[0] in "lvx"} == {
        key: pages.unseal(page) for key, page in now.items() if key[0] in "lvx"
    }
    other = Driver()
    other.open()
    assert len(of(other.run(wire.Import(exported)), wire.Added)) == 4
    assert {key: page for key, page in other.pages.items() if key[0] == "x"} == {
        key: page for key, page in again.pages.items() if key[0] == "x"
    }


def test_a_page_of_a_paged_text_is_shown_across_pieces(nook: Driver) -> None:
    [added] = of(nook.add(long_txt=LONG), wire.Added)
    entry = nook.library.entries[added.card.document]
    entry.pages = [0, pages.PIECE - 5, pages.PIECE + 5, 3 * pages.PIECE]
    for page, (start, end) in enumerate(itertools.pairwise([*entry.pages, len(LONG)]), 1):
        [shown] = nook.run(wire.Show(added.card.document, start, start + 3))
        assert (shown.page, shown.offset, shown.text) == (page, start, LONG[start:end])


def test_everything_is_there_after_a_reload(nook: Driver) -> None:
    again = nook.reopened()
    for query in ("tawny owl", "property tax", "dough"):
        assert titles(again, query) == titles(nook, query)
    assert again.run(wire.Look())[0].vectors == 3


def test_adding_the_same_bytes_again_changes_nothing(nook: Driver) -> None:
    before, nook.commits = dict(nook.pages), 0
    [added] = of(nook.add(owl_md=OWL), wire.Added)
    assert added.unchanged and nook.commits == 0 and nook.pages == before


def test_a_changed_file_replaces_only_itself(nook: Driver) -> None:
    others = dict(nook.pages)
    [added] = of(nook.add(owl_md=OWL.replace("voles", "beetles")), wire.Added)
    assert added.replaced and not added.unchanged
    changed = {key for key in nook.pages if nook.pages[key] != others.get(key)}
    assert {key.split("/")[1] for key in changed} == {added.card.document}
    for driver in (nook, nook.reopened()):
        assert titles(driver, "beetles", mode="lexical") == ["Owls"]
        assert titles(driver, "voles", mode="lexical") == []
        assert titles(driver, "owl orchard", mode="vector").count("Owls") == 1


def test_removed_documents_stay_removed(nook: Driver) -> None:
    [owl] = [c.document for c in nook.run(wire.List())[0].cards if c.title == "Owls"]
    assert nook.run(wire.Remove([owl, "unknown"])) == [wire.Removed([owl])]
    for driver in (nook, nook.reopened()):
        assert "Owls" not in titles(driver, "tawny owl")
    assert not [key for key in nook.pages if owl in key]


def test_filters_hold_in_every_arm(nook: Driver) -> None:
    nook.run(wire.Add([wire.Upload("work/owl.txt", b"An owl sat on the office roof.", 5e8, "work")]))
    for mode in ("hybrid", "lexical", "vector"):
        assert titles(nook, "owl", mode=mode, filter=Filter(collections=("work",))) == ["owl"]
        assert "owl" not in titles(nook, "owl", mode=mode, filter=Filter(types=("markdown",)))
        assert titles(nook, "owl", mode=mode, filter=Filter(paths=("work/*",))) == ["owl"]
        assert titles(nook, "owl", mode=mode, filter=Filter(after=4e8)) == ["owl"]


def test_without_a_model_words_and_hashed_features_serve() -> None:
    nook = Driver()
    nook.models = False
    nook.open()
    events = nook.add(owl_md=OWL, tax_md=TAX)
    assert not of(events, wire.Skipped)
    assert titles(nook, "tawny owls")[0] == "Owls"
    [hits] = nook.run(wire.Search("owl"))
    assert set(hits.arms) == {"lexical", "hash"}


def test_the_model_embeds_what_waited_for_it() -> None:
    nook = Driver()
    nook.models = False
    nook.open()
    nook.add(owl_md=OWL)
    later = nook.reopened(prepare=False)
    assert later.run(wire.Look())[0].vectors == 0
    later.run(wire.Prepare("encoder"))
    assert later.run(wire.Look())[0].vectors == 1
    [hits] = later.run(wire.Search("owl"))
    assert set(hits.arms) == {"lexical", "vector"}


def test_what_is_not_embedded_yet_is_not_behind_for_it() -> None:
    """Its words are all there is to judge it by, and they match best."""
    nook = Driver()
    nook.open()
    nook.add(a_md="# A\n\nowls and otters", b_md="# B\n\nstoats")
    nook.models = False
    nook = nook.reopened(prepare=False)
    nook.add(z_md="# Z\n\nquince")
    nook.models = True
    list(drive(nook.library.tokenizer("encoder"), nook.perform))
    [hits] = nook.run(wire.Search("quince"))
    assert {"lexical", "vector"} <= set(hits.arms) and hits.hits[0].title == "Z"
    assert hits.hits[0].score > 2 * hits.hits[1].score


def test_who_asks_for_vectors_while_they_are_made_waits_for_them() -> None:
    nook = Driver()
    nook.models = False
    nook.open()
    nook.add(owl_md=OWL)
    nook = nook.reopened(prepare=False)
    holder: list[Flow] = []
    first, second = (nook.library.handle(wire.Prepare("encoder")) for _ in range(2))
    waiting = {first: next(first)}
    while waiting:
        for flow, said in list(waiting.items()):
            answer: object = None
            if isinstance(said, Hold):
                if holder:
                    continue
                holder.append(flow)
                answer = holder.clear
            elif isinstance(said, Begin):
                answer = said.effect
                waiting.setdefault(second, next(second))  # asks while the first is at it
            elif isinstance(said, Effect):
                answer = nook.perform(said.begun if isinstance(said, Finish) else said)
            try:
                waiting[flow] = flow.send(answer)
            except StopIteration:
                del waiting[flow]
                assert nook.library.status().vectors == 1


def test_one_bad_file_does_not_spoil_the_batch() -> None:
    nook = Driver()
    nook.open()
    events = nook.add(owl_md=OWL, empty_txt=b"", noise_bin=bytes(range(256)) * 40, tax_md=TAX)
    codes = {event.path: event.code for event in of(events, wire.Skipped)}
    assert codes == {"empty.txt": "empty", "noise.bin": "binary"}
    assert {event.card.title for event in of(events, wire.Added)} == {"Owls", "Taxes"}


def test_a_nook_without_any_room_opens_and_names_itself_with_its_first_document() -> None:
    def full(effect: Effect) -> None:
        if isinstance(effect, Commit) and effect.puts:
            raise NookError("quota", "Storage is full.", "Remove something.")

    nook = Driver()
    nook.fail = full
    nook.open()
    assert [event.code for event in of(nook.add(owl_md=OWL), wire.Skipped)] == ["quota"] and not nook.pages
    nook.fail = lambda effect: None
    nook.add(owl_md=OWL)
    assert pages.META in nook.pages and titles(nook.reopened(), "voles", mode="lexical") == ["Owls"]


def test_a_refused_write_loses_nothing_that_was_stored(nook: Driver) -> None:
    def full(effect: Effect) -> None:
        if isinstance(effect, Commit) and effect.puts:
            raise NookError("quota", "Storage is full.", "Remove something.")

    nook.fail = full
    events = nook.add(owl_md=OWL.replace("voles", "beetles"), new_md="# New\n\nSomething new.")
    assert [event.code for event in of(events, wire.Skipped)] == ["quota", "quota"]
    assert titles(nook, "voles", mode="lexical") == ["Owls"]
    assert titles(nook.reopened(), "voles", mode="lexical") == ["Owls"]


def test_stopping_while_embedding_keeps_what_was_stored() -> None:
    nook = Driver()
    nook.open()

    class Stop(BaseException):
        pass

    def stop(effect: Effect) -> None:
        if isinstance(effect, Encode):
            raise Stop

    nook.fail = stop
    with pytest.raises(Stop):
        nook.add(owl_md=OWL)
    nook.fail = lambda effect: None
    assert titles(nook, "voles") == ["Owls"]
    assert not nook.library.embedding
    nook.run(wire.Prepare("encoder"))
    assert nook.run(wire.Look())[0].vectors == 1


def test_another_tabs_changes_are_taken_over(nook: Driver) -> None:
    other = nook.reopened()
    keys = set(nook.pages)
    [added] = of(nook.add(fox_md="# Foxes\n\nThe vixen raised three cubs."), wire.Added)
    other.pages = nook.pages
    assert list(drive(other.library.refresh([]), other.perform)) == []
    flow = other.library.refresh(sorted(set(nook.pages) - keys))
    assert [e.card.document for e in drive(flow, other.perform) if isinstance(e, wire.Added)] == [added.card.document]
    assert titles(other, "vixen")[0] == "Foxes"


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_document_that_goes_while_the_question_is_encoded_is_no_hit(nook: Driver, change: str) -> None:
    [hit] = of(nook.run(wire.Search("tawny owl", k=1)), wire.Hits)[0].hits

    def meanwhile(effect: Effect) -> None:
        if isinstance(effect, Encode) and effect.urgent:
            nook.fail = lambda _: None
            if change == "removed":
                nook.library.displace(hit.document)
            else:
                nook.run(wire.Add([wire.Upload(hit.path, b"Something else entirely.", collection=hit.collection)]))

    nook.fail = meanwhile
    [hits] = of(nook.run(wire.Search("tawny owl", k=10)), wire.Hits)
    assert all(found.text in "Something else entirely." for found in hits.hits if found.document == hit.document)
    assert change == "replaced" or hit.document not in {found.document for found in hits.hits}


def test_an_export_carries_everything(nook: Driver) -> None:
    [blob] = of(nook.run(wire.Export()), wire.Blob)
    other = Driver()
    other.open()
    other.add(own_md="# Mine\n\nMy own note about herons.")
    added = of(other.run(wire.Import(blob.data)), wire.Added)
    assert {event.card.title for event in added} == {"Owls", "Taxes", "Bread"}
    assert titles(other, "herons")[0] == "Mine"
    assert titles(other, "tawny owl")[0] == "Owls"
    assert other.run(wire.Look())[0].vectors == 4
    again = of(other.run(wire.Import(blob.data)), wire.Added)
    assert all(event.unchanged for event in again)


@pytest.mark.parametrize("damage", ["cut", "flip", "newer", "empty", "other"])
def test_a_damaged_import_changes_nothing(nook: Driver, damage: str) -> None:
    [blob] = of(nook.run(wire.Export()), wire.Blob)
    data = {
        "cut": blob.data[:-20],
        "flip": blob.data[:300] + bytes([blob.data[300] ^ 0x40]) + blob.data[301:],
        "newer": blob.data[:4] + b"\xff" + blob.data[5:],
        "empty": b"",
        "other": b"PK\x03\x04 something else entirely" * 10,
    }[damage]
    other = Driver()
    other.open()
    before = dict(other.pages)
    with pytest.raises(NookError) as caught:
        other.run(wire.Import(data))
    assert caught.value.code in ("truncated", "corrupt", "newer-format", "not-a-nook") and caught.value.hint
    assert other.pages == before


def test_questions_of_any_length_and_script_are_searched(nook: Driver) -> None:
    for query in ("owl " * 25_000, "🦉", "الضرائب", "'; DROP TABLE", "\u0000", "", " "):
        nook.run(wire.Search(query))
    assert titles(nook, "owl " * 25_000)[0] == "Owls"


def test_an_unknown_document_is_a_clear_error(nook: Driver) -> None:
    with pytest.raises(NookError) as caught:
        nook.run(wire.Show("nothing"))
    assert caught.value.code == "no-document"
