"""Frames that are nearly right: every message with something in it that does not belong there, and all that was found
before."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.wire import codec, frames
from inglenook.wire import messages as wire

from tests.engine.odd import ODD, places
from tests.engine.test_codec import filled
from tests.wire.fuzz import check, split

CORPUS = Path(__file__).parent / "corpus"
KINDS = [*wire.REQUESTS, *wire.EVENTS]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
        max_leaves=6,
    ),
)


@st.composite
def nearly(draw: st.DrawFn) -> str | bytes:
    """A frame of a message of any kind, in which a few values gave way to others."""
    text, blobs = codec.dump(filled(draw(st.sampled_from(KINDS))), "s")  # type: ignore[arg-type]
    plain = json.loads(text)
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(places(plain) or [("id",)]))
        holder = plain
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["put", "put", "drop", "add", "twice"]))
        if what == "put":
            holder[last] = copy.deepcopy(draw(VALUES))
        elif what == "drop" and isinstance(holder, dict):
            holder.pop(last, None)
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = copy.deepcopy(draw(VALUES))
        elif what == "twice" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    header = json.dumps(plain, ensure_ascii=draw(st.booleans()))
    if not blobs and draw(st.booleans()):
        return header.encode("utf-8", "replace").decode()  # as a text frame comes: of whole characters
    packed = header.encode("utf-8", "surrogatepass")
    size = len(packed) + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 2**31]))
    frame = bytearray(struct.pack("<I", max(0, size)) + packed + b"".join(blobs))
    for at in draw(st.lists(st.integers(0, len(frame) - 1), max_size=2)):
        frame[at] = draw(st.integers(0, 255))
    return bytes(frame)


@settings(max_examples=400)
@given(nearly())
def test_what_is_nearly_a_message_is_one_or_an_error(frame: str | bytes) -> None:
    check(frame)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_was_found_stays_mended(path: Path) -> None:
    check(split(path.read_bytes()))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize("field", ["temperature", "top_p"])
def test_numbers_are_numbers(field: str, value: str) -> None:
    """JSON of Python's that no other reader takes, and what no float holds."""
    with pytest.raises(NookError) as error:
        frames.decode(f'{{"type":"Chat","id":"1","{field}":{value}}}')
    assert error.value.code == "protocol"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**400])
def test_whole_numbers_have_64_bits(value: int) -> None:
    with pytest.raises(NookError):
        frames.decode(f'{{"type":"Chat","id":"1","seed":{value}}}')
    for good in (2**64 - 1, -(2**63)):
        assert frames.decode(f'{{"type":"Chat","id":"1","seed":{good}}}')[0] == wire.Chat(seed=good)
