"""What every store of pages can do, and one that keeps them in memory.

A store is a map from keys to bytes that knows nothing of what they mean. The stores of the places are

    platform/native/store.py    a `.nook` file
    platform/browser/store.py   IndexedDB; the same methods, awaited
    platform/browser/opfs.py    a `.nook` file in the browser's own file system; awaited
    platform/*/range.py         a `.nook` file on a web server, for reading

What they share is `index/log.py` (commits appended to a file) and `index/ranges.py` (which bytes to ask a server for).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from inglenook.errors import NookError
from inglenook.flow import Commit


class Store(Protocol):
    """Pages by key. Keys are text without control characters."""

    def get(self, keys: list[str]) -> list[bytes | None]:
        """Pages in the order of the keys, None where there is none."""

    def scan(self, prefix: str) -> dict[str, bytes]:
        """Every page whose key starts with `prefix`, keys in order of their code points."""

    def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        """Write and delete pages: all of it or nothing, durable on return. A key in both is written.

        Where a page named by `expect` is not what it says (None: not there), nothing is written and
        NookError("conflict") is raised: another tab was faster.
        """

    def size(self) -> int:
        """Bytes that the store takes."""

    def close(self) -> None:
        """Give up the store; it may be opened again."""


@dataclass(frozen=True, slots=True)
class Change(Commit):
    """A commit that builds on something: `expect` as in `Store.commit`."""

    expect: dict[str, bytes | None] = field(default_factory=dict)


class MemoryStore:
    """Pages in a dictionary."""

    def __init__(self, pages: Mapping[str, bytes] | None = None) -> None:
        self.pages = dict(pages or {})

    def get(self, keys: list[str]) -> list[bytes | None]:
        return [self.pages.get(key) for key in keys]

    def scan(self, prefix: str) -> dict[str, bytes]:
        return {key: self.pages[key] for key in sorted(self.pages) if key.startswith(prefix)}

    def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        if expect and self.get(list(expect)) != list(expect.values()):
            raise conflict("memory")
        for key in deletes:
            self.pages.pop(key, None)
        self.pages.update(puts)

    def size(self) -> int:
        return sum(map(len, self.pages.values()))

    def close(self) -> None:
        pass


def conflict(name: str) -> NookError:
    """The error where another writer was faster."""
    hint = "Read it again and repeat the change."
    return NookError("conflict", f"{name} was changed by another tab or process meanwhile.", hint)
