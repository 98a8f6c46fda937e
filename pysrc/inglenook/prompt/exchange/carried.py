"""What comes out of another tool's file, what goes into one, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Case

Open: TypeAlias = Callable[[str], str]
"""Gives the text of a file that another names, by its path as written there. Raises NookError if it cannot."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that could not be carried: `where` it stood (as "path:line" or a name), `what` it is, and why."""

    where: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} is not carried over: {self.why}"


@dataclass(frozen=True, slots=True)
class Imported:
    """`cases` are for each of the `prompts`; `targets` are the models the file names."""

    prompts: tuple[Prompt, ...]
    cases: tuple[Case, ...] = ()
    targets: tuple[str, ...] = ()
    lost: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of the file, and by their names those of files that go beside it."""

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[Loss, ...] = ()
