"""A model that is a function, and the driver that asks it: cores of the workbench run with these two alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from inglenook.evals.calls import Call, Reply, Work

R = TypeVar("R")


@dataclass
class Scripted:
    """Writes `right` in the share of calls that `rate` gives for what it reads, else "no"; to the same call the same.

    `salt` makes another model of it with the same rates; `asked` counts different calls.
    """

    rate: Callable[[str, Call], float]
    right: str = "yes"
    salt: str = ""
    asked: set[str] = field(default_factory=set)

    def __call__(self, call: Call) -> Reply:
        self.asked.add(call.key)
        read = "\n".join(str(message.content) for message in call.messages)
        lucky = hash_of(self.salt + call.key) < self.rate(read, call)
        return Reply(self.right if lucky else "no", prompt_tokens=len(read) // 4, completion_tokens=1)


def hash_of(text: str) -> float:
    """A number between 0 and 1 that looks random and is always the same."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def play(work: Work[R], answer: Callable[[Call], Reply]) -> R:
    """Run a core to its end."""
    try:
        calls = next(work)
        while True:
            calls = work.send([answer(call) for call in calls])
    except StopIteration as end:
        result: R = end.value
        return result
