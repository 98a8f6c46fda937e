"""Frames of one stream on their way: numbered from 0 in the order they were made, kept until they have come.

Nobody writes the numbers down: a connection keeps the order, so both sides count. What is kept is sent again over a
new connection from the number the other side has got to; what has come, or where nobody keeps count what has been
sent, is forgotten.
"""

from __future__ import annotations

from collections import deque


class Ring:
    """`first` is the number of the oldest frame that is kept, `next` that of the one to send."""

    __slots__ = ("_frames", "ended", "first", "next", "sent", "size")

    def __init__(self) -> None:
        self._frames: deque[str | bytes] = deque()
        self.first = self.next = 0
        self.sent = 0  # one after the last that was ever sent
        self.size = 0  # bytes, or characters, that are kept
        self.ended = False  # nothing will be put in any more

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def end(self) -> int:
        """One after the last frame."""
        return self.first + len(self._frames)

    def put(self, frame: str | bytes) -> None:
        """One more frame."""
        self._frames.append(frame)
        self.size += len(frame)

    def take(self) -> str | bytes | None:
        """The next one to send, if there is one."""
        if self.next == self.end:
            return None
        frame = self._frames[self.next - self.first]
        self.next += 1
        self.sent = max(self.sent, self.next)
        return frame

    def came(self, seen: int) -> bool:
        """So many have come. Returns whether that can be."""
        if not 0 <= seen <= self.sent:
            return False
        while self.first < seen:
            self.size -= len(self._frames.popleft())
            self.first += 1
        self.next = max(self.next, self.first)
        return True

    def rewind(self, seen: int) -> bool:
        """So many have come, and all others are to be sent again. Returns whether that can be."""
        if seen < self.first or not self.came(seen):
            return False
        self.next = self.first
        return True

    def drop(self) -> None:
        """Forget those that were never sent."""
        while self.end > self.sent:
            self.size -= len(self._frames.pop())
