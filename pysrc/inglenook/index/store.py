"""What every store of pages can do, and one that keeps them in memory.

A store is a map from keys to bytes that knows nothing of what they mean. The stores of the places are
`platform/browser/store.py` (IndexedDB; the same methods, awaited) and `platform/native/store.py` (a `.nook` file).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Store(Protocol):
    """Pages by key. Keys are text without control characters."""

    def get(self, keys: list[str]) -> list[bytes | None]:
        """Pages in the order of the keys, None where there is none."""

    def scan(self, prefix: str) -> dict[str, bytes]:
        """Every page whose key starts with `prefix`, keys in order of their code points."""

    def commit(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """Write and delete pages: all of it or nothing, durable on return. A key in both is written."""

    def size(self) -> int:
        """Bytes that the store takes."""

    def close(self) -> None:
        """Give up the store; it may be opened again."""


class MemoryStore:
    """Pages in a dictionary."""

    def __init__(self, pages: Mapping[str, bytes] | None = None) -> None:
        self.pages = dict(pages or {})

    def get(self, keys: list[str]) -> list[bytes | None]:
        return [self.pages.get(key) for key in keys]

    def scan(self, prefix: str) -> dict[str, bytes]:
        return {key: self.pages[key] for key in sorted(self.pages) if key.startswith(prefix)}

    def commit(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        for key in deletes:
            self.pages.pop(key, None)
        self.pages.update(puts)

    def size(self) -> int:
        return sum(map(len, self.pages.values()))

    def close(self) -> None:
        pass
