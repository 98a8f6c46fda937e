"""Frames: every message survives, what JavaScript writes is read, and garbage is an error, never worse."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.wire import frames
from inglenook.wire import messages as wire

from buildlib.project import ROOT
from tests.engine.test_codec import filled

ADD = wire.Add([wire.Upload("a.txt", b"first", 1.5), wire.Upload("b/ü.txt", b""), wire.Upload("c", bytes(range(256)))])


def binary(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text) if length is None else length) + text + body


@pytest.mark.parametrize("kind", [*wire.REQUESTS, *wire.EVENTS], ids=lambda kind: kind.__name__)
def test_every_message_survives(kind: type[wire.Message]) -> None:
    message = filled(kind)
    frame = frames.encode(message, "s1")  # type: ignore[arg-type]
    assert frames.decode(frame) == (message, "s1")


def test_only_messages_with_bytes_are_binary() -> None:
    assert isinstance(frames.encode(wire.Search("x"), "1"), str)
    assert isinstance(frames.encode(wire.Import(b"x"), "1"), bytes)
    frame = frames.encode(ADD, "1")
    assert isinstance(frame, bytes)
    [length] = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + length])
    assert [file["data"]["$bytes"] for file in header["files"]] == [[0, 5], [5, 0], [5, 256]]
    assert frame[4 + length :] == b"first" + bytes(range(256))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_the_javascript_side_reads_and_writes_the_same_frames() -> None:
    script = """
      import { decode, encode } from './web/lib/frames.js';
      const chunks = [];
      for await (const chunk of process.stdin) chunks.push(chunk);
      const frame = new Uint8Array(Buffer.concat(chunks)).buffer;
      process.stdout.write(encode(decode(frame)));
    """
    frame = frames.encode(ADD, "7")
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", script], input=frame, capture_output=True, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert frames.decode(ran.stdout) == (ADD, "7")


GOOD = {"type": "Import", "id": "1", "data": {"$bytes": [0, 3]}}


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\1\0\0", binary(GOOD, b"ab"), binary(GOOD, b"abcd"), binary(GOOD, b"abc", length=10_000),
        binary({**GOOD, "data": {"$bytes": [1, 2]}}, b"abc"), binary({**GOOD, "data": {"$bytes": [-1, 3]}}, b"abc"),
        binary({**GOOD, "data": {"$bytes": [0, -1]}}, b"abc"), binary({**GOOD, "data": {"$bytes": 0}}, b"abc"),
        binary({**GOOD, "data": {"$bytes": [0, 3.0]}}, b"abc"),
        binary({**GOOD, "data": {"$bytes": [0, 3, 0]}}, b"abc"),
        binary(b"\xff\xfe"), binary(b"[" * 100_000), binary(b"not json"), binary([]), "", "[",
        "[" * 200_000, "3", "null", "{}", '{"type":"Search"}', '{"type":"Nothing","id":"1"}',
        '{"type":"Search","id":1}',
        '{"type":"Search","id":""}', '{"type":"Import","id":"1","data":{"$bytes":0}}',
        '{"type":"Import","id":"1","data":"text"}',
        '{"type":"Search","id":"1","query":"\\ud800"}', '{"type":"Search","id":"1","k":"many"}',
        '{"type":"Search","id":"1","extra":1}', '{"type":"Search","id":"1","k":true}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_a_protocol_error(frame: str | bytes) -> None:
    with pytest.raises(NookError) as error:
        frames.decode(frame)
    assert error.value.code == "protocol"


def test_too_large() -> None:
    for frame in ("x" * 101, b"x" * 101):
        with pytest.raises(NookError) as error:
            frames.decode(frame, largest=100)
        assert error.value.code == "too-large"
    with pytest.raises(NookError) as error:
        frames.decode(binary(b"", length=frames.LONGEST + 1))
    assert error.value.code == "too-large"


def test_pairs_of_surrogates_in_escapes_are_whole_characters() -> None:
    message, _ = frames.decode('{"type":"Search","id":"1","query":"\\ud83e\\udd89 \\u00e9"}')
    assert message == wire.Search("🦉 é")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_garbage_is_an_error_and_nothing_worse(frame: str | bytes) -> None:
    with pytest.raises(NookError):
        frames.decode(frame)


def test_a_spoiled_frame_is_read_or_refused() -> None:
    rnd = random.Random(3)
    good = frames.encode(ADD, "1")
    assert isinstance(good, bytes)
    read = refused = 0
    for _ in range(3000):
        frame = bytearray(good)
        for _ in range(rnd.randrange(1, 4)):
            at = rnd.randrange(len(frame))
            if rnd.random() < 0.6:
                frame[at] = rnd.randrange(256)
            elif rnd.random() < 0.5:
                del frame[at : at + rnd.randrange(1, 8)]
            else:
                frame[at:at] = rnd.randbytes(rnd.randrange(1, 8))
        try:
            message, _ = frames.decode(bytes(frame))
            read += 1
            assert frames.decode(frames.encode(message, "1"))[0] == message
        except NookError as error:
            refused += 1
            assert error.code in ("protocol", "too-large")
    assert read > 50 and refused > 500
