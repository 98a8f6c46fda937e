"""The last map in storage, page `m/topics`: making one takes seconds, opening one none.

The payload is the state of the library it is of (64 characters), the message's JSON (its length before it, u32), and
the columns one after the other.
"""

from __future__ import annotations

import struct

import numpy as np

from inglenook.errors import NookError
from inglenook.flow import Commit, Flow, Get
from inglenook.index import pages
from inglenook.wire import codec
from inglenook.wire import messages as wire

KEY = "m/topics"
_HEAD = struct.Struct("<64sI")
_WIDTHS = {"document": 4, "chunk": 4, "start": 4, "end": 4, "topic": 2, "x": 4, "y": 4}  # as the message has them


def keep(state: str, made: wire.Topics) -> Flow:
    """Store a map; where there is no room it is made anew next time."""
    text, columns = codec.dump(made, KEY)
    data = text.encode()
    try:
        yield Commit({KEY: pages.seal(_HEAD.pack(state.encode(), len(data)) + data + b"".join(columns))}, [])
    except NookError:
        pass


def find(state: str) -> Flow:
    """The stored map if it is of this state; None if not, or if it is damaged. Answer: `wire.Topics | None`."""
    [page] = yield Get([KEY])
    if page is None:
        return None
    try:
        payload = pages.unseal(page)
        of, length = _HEAD.unpack_from(payload)
        start = _HEAD.size + length
        points, rest = divmod(len(payload) - start, sum(_WIDTHS.values()))
        if of != state.encode() or rest:
            return None
        ends = start + np.cumsum([width * points for width in _WIDTHS.values()])
        columns = [payload[a:b] for a, b in zip([start, *ends.tolist()], ends.tolist())]
        made, _ = codec.load(payload[_HEAD.size : start].decode(), columns)
    except (NookError, struct.error, UnicodeDecodeError):
        return None
    return made if isinstance(made, wire.Topics) else None
