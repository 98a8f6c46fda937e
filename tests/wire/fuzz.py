"""Frames that nobody would write, for as long as one likes: what the decoder and a session make of them.

pip install atheris
python tests/wire/fuzz.py tests/wire/corpus -max_total_time=300

What was found stays in `corpus`: `test_fuzz.py` reads it every time. The first byte says whether a frame is text.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

instrumented: Any = nullcontext()
if __name__ == "__main__":
    import atheris

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pysrc"))
    instrumented = atheris.instrument_imports(include=["inglenook"])

with instrumented:  # so that it learns which bytes lead where
    from inglenook.errors import NookError
    from inglenook.wire import frames, session

CODES = ("protocol", "too-large")


def check(frame: str | bytes) -> None:
    """A frame is a message that can be written again, in JSON that any reader takes, or an error of ours."""
    try:
        message, stream = frames.decode(frame)
    except NookError as error:
        assert error.code in CODES, error
    else:
        again = frames.encode(message, stream)
        assert frames.decode(again) == (message, stream)
        text, _ = frames.split(again)
        json.loads(text, parse_constant=_none)
        text.encode("utf-8")
    one = session.Session()
    one.receive('{"type":"Search","id":"7"}')
    for _ in range(2):
        for action in one.receive(frame):
            assert isinstance(action, session.Action)
    while one.sending() is not None:
        pass


def split(data: bytes) -> str | bytes:
    """A frame of a fuzzer's bytes."""
    return data[1:].decode("utf-8", "ignore") if data[:1] < b"\x80" else data[1:]


def _none(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


if __name__ == "__main__":
    atheris.Setup(sys.argv, lambda data: check(split(data)))
    atheris.Fuzz()
