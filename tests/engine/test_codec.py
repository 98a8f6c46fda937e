"""Messages survive the crossing, and nothing else does."""

from __future__ import annotations

import dataclasses
import json
import typing

import pytest
from inglenook.errors import NookError
from inglenook.types import Chunk, Document, Filter, Hit, Span
from inglenook.wire import codec
from inglenook.wire import messages as wire

HIT = Hit(
    "d1", 3, "a/b.md", "B", "notes", "markdown", 10, 20, None, "One › Two", "words here", 0.5, 1.5, None, (Span(1, 2),)
)
CARD = wire.Card("d1", "a.pdf", "A", "notes", "pdf", 10, 1.0, 2.0, 3, 0)
SAMPLES: dict[type, object] = {
    str: "ünï 🦉 \u0000",
    int: 7, float: 0.25, bool: True, bytes: b"\x00\xff", Filter: Filter(("a",), (), ("pdf",), 1.0),
    Hit: HIT, Span: Span(3, 9), wire.Card: CARD, wire.Slo: wire.Slo(300, 40),
    Document: Document("p", "text", "T", "body", [Chunk(0, 4)], [0], "en", ["w"]),
}  # fmt: skip


def sample(hint: object) -> object:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return [sample(args[0])]
    if origin is dict:
        return {"key": sample(args[1])}
    if args:  # optional
        return sample(args[0])
    if hint in SAMPLES:
        return SAMPLES[hint]  # type: ignore[index]
    return filled(hint)  # type: ignore[arg-type]


def filled(kind: type) -> object:
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", [*wire.REQUESTS, *wire.EVENTS], ids=lambda kind: kind.__name__)
def test_every_message_survives_with_every_field_filled(kind: type[wire.Message]) -> None:
    message = filled(kind)
    text, blobs = codec.dump(message, "s1")  # type: ignore[arg-type]
    assert codec.load(text, blobs) == (message, "s1")


def test_bytes_travel_outside_the_text() -> None:
    text, blobs = codec.dump(wire.Add([wire.Upload("a", b"first"), wire.Upload("b", b"second")]), "1")
    assert blobs == [b"first", b"second"]
    assert "first" not in text


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "3", '{"type":"Search"}', '{"type":"Search","id":7}', '{"type":"Search","id":""}',
        '{"type":"Nothing","id":"1"}', '{"type":"Message","id":"1"}', '{"type":"Search","id":"1","sql":"x"}',
        '{"type":"Search","id":"1","k":"ten"}', '{"type":"Search","id":"1","k":1.5}',
        '{"type":"Search","id":"1","k":true}',
        '{"type":"Show","id":"1"}', '{"type":"Import","id":"1","data":"text"}',
        '{"type":"Import","id":"1","data":{"$bytes":0}}', '{"type":"Import","id":"1","data":{"$bytes":-1}}',
        '{"type":"Search","id":"1","filter":[]}', '{"type":"Search","id":"1","filter":{"collections":[1]}}',
        '{"type":"Remove","id":"1","documents":"all"}', '{"type":["Search"],"id":"1"}',
        '{"type":"Search","id":"' + "x" * 65 + '"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_not_a_message_is_refused(text: str) -> None:
    with pytest.raises(NookError) as caught:
        codec.load(text)
    assert caught.value.code == "protocol"


def test_whole_numbers_are_fine_where_fractions_may_stand() -> None:
    message, _ = codec.load(json.dumps({"type": "Ask", "id": "1", "slo": {"first": 300}}))
    assert message == wire.Ask(slo=wire.Slo(300.0))
