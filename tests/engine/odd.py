"""What does not belong in a JSON value, and where in it something else may stand."""

from __future__ import annotations

from typing import Any

ODD: list[Any] = [
    None, True, 0, -1, 0.5, 10**19, 10**400, -(10**400), 1e308, float("nan"), float("inf"), float("-inf"), "", "x",
    "\ud800", "\x00", "x" * 65, [], {}, [[]], [5], {"": None}, {"$bytes": 0}, {"$bytes": [0, 1]},
    {"$bytes": [-1, 10**30]}, {"$bytes": [0.0, 1]}, {"$bytes": [True, True]}, {"$bytes": {"$bytes": [0, 0]}},
    {"$bytes": [0, 0], "x": 1},
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value inside of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inner for place in ((*at, key), *places(item, (*at, key)))]
