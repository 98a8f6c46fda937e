"""The index: pages, stores, and the search for the nearest vectors. `Index` is its public face."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inglenook.index.public import Index

__all__ = ["Index"]


def __getattr__(name: str) -> object:
    if name == "Index":  # when it is asked for: the app's start imports this package
        from inglenook.index.public import Index

        return Index
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
