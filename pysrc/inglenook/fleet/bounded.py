"""A queue between two threads that holds a bounded number of bytes, and tells whoever waits when it has failed."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from inglenook.errors import NookError

T = TypeVar("T")


class Bounded(Generic[T]):
    """Items of any sizes, `bound` bytes together at most; one that is larger goes in when it is alone."""

    def __init__(self, bound: int) -> None:
        self._bound, self._held = bound, 0
        self._items: deque[tuple[T, int]] = deque()
        self._end: NookError | None = None
        self._changed = threading.Condition()

    @property
    def held(self) -> int:
        """Bytes of the items that wait."""
        return self._held

    def put(self, item: T, size: int, timeout: float | None = None) -> None:
        """Raises NookError("transport-slow") if there is no room within `timeout` seconds, and the queue's own end."""
        with self._changed:
            room = lambda: self._end is not None or not self._items or self._held + size <= self._bound
            if not self._changed.wait_for(room, timeout):
                raise NookError("transport-slow", "The other side does not take what is sent.", "Is it busy?")
            if self._end is not None:
                raise self._end
            self._items.append((item, size))
            self._held += size
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """The oldest item. Raises NookError("transport-slow"), and when nothing is left the queue's own end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._end, timeout):
                raise NookError("transport-slow", "Nothing came from the other side.", "Is it busy?")
            if not self._items:
                assert self._end is not None
                raise self._end
            item, size = self._items.popleft()
            self._held -= size
            self._changed.notify_all()
            return item

    def end(self, error: NookError, *, drop: bool = False) -> None:
        """Nothing more goes in, nor out what is dropped: who tries gets the (first) error."""
        with self._changed:
            self._end = self._end or error
            if drop:
                self._items.clear()
                self._held = 0
            self._changed.notify_all()
