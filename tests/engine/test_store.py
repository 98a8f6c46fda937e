"""The .nook format, and a store in memory. (What a file store promises is in tests/system/test_store_crash.py.)"""

import itertools
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.index import container, pages
from inglenook.index.store import MemoryStore

keys = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=8)
maps = st.dictionaries(keys, st.binary(max_size=60), max_size=12)
SAMPLE = {
    "meta": pages.meta("notes"),
    "d/1": pages.seal(b"{}"),
    "v/1": pages.seal(bytes(range(256))),
    **pages.text("1", "größe"),
}


@given(maps)
def test_what_is_written_is_read(content):
    data = container.write(content)
    assert container.read(data) == content
    assert list(container.read(data)) == sorted(content)
    assert b"".join(container.stream(content, data[8:16])) == data


@pytest.mark.parametrize("content", [{}, SAMPLE])
def test_cut_anywhere_it_says_truncated(content):
    data = container.write(content)
    for size in range(len(data)):
        with pytest.raises(NookError) as error:
            container.read(data[:size])
        assert error.value.code == "truncated" and error.value.hint


def test_any_flipped_bit_is_noticed():
    data = container.write(SAMPLE)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        if bit // 8 in (6, 7):  # reserved
            continue
        with pytest.raises(NookError) as error:
            container.read(bytes(damaged))
        assert error.value.code in ("corrupt", "newer-format", "truncated") and error.value.hint
        if 16 <= bit // 8 < len(data) - 4:
            assert error.value.code == "corrupt"


def test_newer_version_and_other_files():
    data = bytearray(container.write(SAMPLE))
    data[4] += 1
    with pytest.raises(NookError) as error:
        container.read(bytes(data))
    assert error.value.code == "newer-format" and "update" in error.value.hint
    for other in (b"PK\3\4 something else", b"%PDF-1.7", bytes(100)):
        with pytest.raises(NookError) as error:
            container.read(other)
        assert error.value.code == "corrupt" and "not a .nook" in error.value.message


def test_bytes_behind_the_end_are_not_ignored():
    with pytest.raises(NookError):
        container.read(container.write(SAMPLE) + b"\0")


def forge(directory, number=b"12345678", pages=b"page"):
    """A file with right checksums around a directory that we never wrote."""
    head = container.header(number) + pages
    body = struct.pack("<QIIQ8s", len(head), len(directory), zlib.crc32(directory), 0, number)
    return head + directory + body + struct.pack("<I4s", zlib.crc32(body), container.END)


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_a_forged_directory_is_corrupt_not_a_crash(directory):
    try:
        container.read(forge(directory))
    except NookError as error:
        assert error.code == "corrupt"


def test_overlapping_pages_are_refused():
    """A small file that claims to hold a thousand times its size."""
    page = bytes(1000)
    places = {f"k{i}": container.Place(16, 1000, zlib.crc32(page)) for i in range(1000)}
    number = b"12345678"
    data = container.header(number) + page + b"".join(container.close(places, 1016, 0, number))
    with pytest.raises(NookError, match="overlap"):
        container.read(data)


def test_a_footer_may_not_point_forward():
    number = b"12345678"
    data = container.header(number) + b"".join(container.close({}, 16, 10**6, number))
    with pytest.raises(NookError) as error:
        container.read(data)
    assert error.value.code == "corrupt"


def test_by_ranges():
    """A server that hands out ranges is enough: footer, directory, then one run of bytes for all of a kind."""
    many = {f"{kind}/{i}": pages.seal(f"{kind}{i}".encode()) for kind in "dlvx" for i in range(50)}
    data = container.write(many)
    asked = []

    def fetch(offset, length):
        asked.append(length)
        return data[offset : offset + length]

    number = container.read_header(fetch(0, container.HEADER.size))
    places, told = container.directory_at(fetch, len(data), number)
    assert len(asked) == 3 and told == 200
    cards = sorted(place for key, place in places.items() if key.startswith("d/"))
    assert all(a.offset + a.length == b.offset for a, b in itertools.pairwise(cards))
    run = fetch(cards[0].offset, cards[-1].offset + cards[-1].length - cards[0].offset)
    assert pages.unseal(run[: cards[0].length]) == b"d0"


def test_memory_store():
    store = MemoryStore({"a/1": b"1"})
    store.commit({"a/2": b"22", "b": b"333"}, ["a/1", "a/2", "nothing"])
    assert store.get(["a/2", "a/1", "b"]) == [b"22", None, b"333"]
    assert list(store.scan("")) == ["a/2", "b"] and store.scan("a/") == {"a/2": b"22"}
    assert store.size() == 5
    store.close()
