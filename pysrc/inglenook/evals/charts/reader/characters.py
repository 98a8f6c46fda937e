"""The characters that a recognition model knows stand in its file: an ONNX ModelProto (protobuf) whose `metadata_props`
(field 14: key 1, value 2) have them under "character", one a line."""

from __future__ import annotations

from collections.abc import Iterator

from inglenook.errors import NookError

METADATA, KEY, VALUE = 14, 1, 2
_SIZES = {1: 8, 5: 4}


def characters(model: bytes) -> list[str]:
    """Those of the model's classes after the blank, in order. Raises NookError("bad-model") where there are none."""
    try:
        for number, entry in _fields(memoryview(model)):
            if number == METADATA:
                told = dict(_fields(entry))
                if bytes(told[KEY]) == b"character":
                    return bytes(told[VALUE]).decode("utf-8").removesuffix("\n").split("\n")
    except (IndexError, KeyError, ValueError) as error:
        raise _bad(f"it is damaged ({error!r})") from None
    raise _bad("its metadata has no characters")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of the fields of a message that have a length; others are passed over."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            size, at = _varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(data, at)
        else:
            at += _SIZES[kind]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _bad(why: str) -> NookError:
    return NookError("bad-model", f"The recognition model cannot be used: {why}.", "Take the pinned file of the build.")
