"""How a message travels over a WebSocket: JSON in a text frame, or with bytes in one binary frame.

    binary frame = u32 header length (little-endian) | header: JSON, each bytes field {"$bytes": [at, length]} | bytes

Offsets count from the end of the header. The spans lie one after the other and fill the frame, so there is one way to
write a message, and nothing in a frame goes unread. The JavaScript side is `web/lib/frames.js`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from inglenook.errors import NookError
from inglenook.wire import codec
from inglenook.wire.messages import Message

SUBPROTOCOL = "inglenook.v1"
LARGEST = 256_000_000  # bytes of a frame
LONGEST = 8_000_000  # bytes of JSON in one
_LENGTH = struct.Struct("<I")


def encode(message: Message, stream: str) -> str | bytes:
    """The frame of a message."""
    text, blobs = codec.dump(message, stream)
    if not blobs:
        return text
    spans: list[list[int]] = []
    at = 0
    for blob in blobs:
        spans.append([at, len(blob)])
        at += len(blob)

    def place(value: dict[str, Any]) -> dict[str, Any]:
        return {"$bytes": spans[value["$bytes"]]} if value.keys() == {"$bytes"} else value

    plain = json.loads(text, object_hook=place)
    header = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(header)), header, *blobs))


def decode(frame: str | bytes, largest: int = LARGEST) -> tuple[Message, str]:
    """The message in a frame and its stream. Raises NookError("protocol" | "too-large")."""
    text, blobs = split(frame, largest)
    return codec.load(text, blobs)


def split(frame: str | bytes, largest: int = LARGEST) -> tuple[str, list[bytes]]:
    """A frame as `codec.load` takes it. Raises NookError("protocol" | "too-large")."""
    if len(frame) > largest:
        raise NookError("too-large", "A message was too large.", "Send fewer files at once.")
    if isinstance(frame, str):
        if len(frame) > LONGEST:
            raise NookError("too-large", "A message's text was too long.", "Send less at once.")
        return _sound(frame, None), []
    if len(frame) < _LENGTH.size:
        raise _bad("it is shorter than its first field")
    [length] = _LENGTH.unpack_from(frame)
    if length > LONGEST:
        raise NookError("too-large", "A message's header was too long.", "Send less at once.")
    body = memoryview(frame)[_LENGTH.size + length :]
    if _LENGTH.size + length > len(frame):
        raise _bad("it is shorter than its header says")
    blobs: list[bytes] = []
    at = 0

    def take(value: dict[str, Any]) -> dict[str, Any]:
        nonlocal at
        if value.keys() != {"$bytes"}:
            return value
        match value["$bytes"]:
            case [int(start), int(size)] if start == at and 0 <= size <= len(body) - at:
                at += size
                blobs.append(bytes(body[start : start + size]))
                return {"$bytes": len(blobs) - 1}
        raise _bad("its bytes are not where it says")

    header = bytes(frame[_LENGTH.size : _LENGTH.size + length])
    try:
        text = _sound(header.decode("utf-8"), take)
    except UnicodeDecodeError:
        raise _bad("its header is not UTF-8") from None
    if at != len(body):
        raise _bad("it holds bytes that nothing names")
    return text, blobs


def _sound(text: str, hook: Callable[[dict[str, Any]], Any] | None) -> str:
    """JSON with `hook` applied to its objects. Halves of surrogate pairs are refused: they can't be sent on."""
    if hook is None and "\\u" not in text:
        return text
    try:
        text = json.dumps(json.loads(text, object_hook=hook), ensure_ascii=False)
        text.encode("utf-8")
    except (ValueError, RecursionError):
        raise _bad("it is not JSON of whole characters") from None
    return text


def _bad(what: str) -> NookError:
    return NookError("protocol", f"A frame could not be read: {what}.", "Are both sides of the same version?")
