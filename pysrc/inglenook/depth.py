"""JSON from outside: parsed, or written, only if it is not nested deeper than anything of ours can be.

CPython raises RecursionError for a hundred thousand brackets; in WebAssembly the same input overflows the engine's
stack, which nothing can catch. So the depth is counted first, and only where there are enough brackets to matter.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 100

_STRING = re.compile(r'"(?:[^"\\]+|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # one that never ends goes to the end: no second look
_GROUPS = (dict, list, tuple)
_BRACKET = re.compile(r"[][{}]")


def parse(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is none, or nested more than `DEEPEST` deep."""
    if isinstance(text, bytes):
        text = text.decode()
    if text.count("[") + text.count("{") > DEEPEST and depth(text) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return json.loads(text)


def shallow(value: Any) -> bool:
    """Whether lists and dictionaries are nested `DEEPEST` deep at most: then it may become JSON."""
    level = [value]
    for _ in range(DEEPEST):
        groups = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, _GROUPS)]
        level = [item for group in groups for item in group]
    return not any(isinstance(item, _GROUPS) for item in level)


def depth(text: str) -> int:
    """How deep brackets are nested outside of strings."""
    deepest = level = 0
    for match in _BRACKET.finditer(_STRING.sub("", text)):
        level += 1 if match[0] in "[{" else -1
        deepest = max(deepest, level)
    return deepest
