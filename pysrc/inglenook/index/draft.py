"""What a build leaves behind that was stopped: trained centroids, and of each vector its list. The next build of the
very same vectors goes on from there, and does not write again what of it is stored already."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import pages
from inglenook.index.form import Form, Raw
from inglenook.index.kind import Arrays

MARK = 32
"""Letters of a mark."""
DONE = 2
"""The last stage."""

_LENGTH = struct.Struct("<I")


def mark(form: Form, options: Mapping[str, int], ids: NDArray[np.int64], raw: Raw) -> str:
    """What tells one build from all others: the same vectors in the same order, under the same ids, to the same end."""
    made = hashlib.blake2b(repr((form, sorted(options.items()))).encode(), digest_size=MARK // 2)
    made.update(np.ascontiguousarray(ids).data)
    made.update(np.ascontiguousarray(raw).data)
    return made.hexdigest()


def stage(state: Arrays) -> int:
    """How far a build is: 0 before centroids are trained, 1 before all vectors have a list, then DONE."""
    labels = state.get("labels")
    return 0 if labels is None else DONE if len(labels) == 0 or int(labels.min()) >= 0 else 1


def page(of: str, state: Arrays) -> bytes:
    """The draft of a build as a page."""
    told = [[name, values.dtype.str, values.shape] for name, values in state.items()]
    head = json.dumps(told, separators=(",", ":")).encode()
    return pages.seal(of.encode() + _LENGTH.pack(len(head)) + head + b"".join(map(_bytes, state.values())))


def read(page: bytes | None) -> tuple[str, Arrays]:
    """The mark of the build that left a draft, and how far it was; nothing where it cannot be read."""
    try:
        payload = pages.unseal(page or b"")
        (length,) = _LENGTH.unpack_from(payload, MARK)
        at, state = MARK + _LENGTH.size + length, Arrays()
        for name, dtype, shape in json.loads(payload[MARK + _LENGTH.size : at]):
            values = np.frombuffer(payload, dtype, math.prod(shape), at)
            state[name], at = values.reshape(shape).copy(), at + values.nbytes
        return payload[:MARK].decode(), state
    except (NookError, ValueError, TypeError, struct.error):
        return "", {}


def _bytes(values: NDArray[np.generic]) -> bytes:
    return values.tobytes()
