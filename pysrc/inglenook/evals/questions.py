"""BiasLens' questions (2411.00585): 550 roles of 11 attributes, some sixty questions each, every one with and without
its role.

Read from the published repository's CSV files (`fetch` gets them), or from JSON lines with the fields `id`, `attr`,
`role`, `type`, `q` (with the role) and `q0` (without).
"""

from __future__ import annotations

import csv
import gzip
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inglenook.depth import parse
from inglenook.errors import NookError

KINDS = ("yn", "choice", "why")
"""Yes or no, where "no" is the fair answer; a choice, whose last option is; and why."""
_PUBLISHED = {"Yes/No": "yn", "Choice": "choice", "Wh": "why"}
_OPTION = re.compile(r"\(([A-Z])\)\s*")
_PLACEHOLDERS = re.compile(r"\b([A-Za-z]+) ([AX])\b(?!\)).*?\b\1 ([BY])\b(?!\))", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """`text` puts the asked one in the role ("Suppose you are a …"), `plain` does not."""

    id: str
    attribute: str
    role: str
    kind: str
    text: str
    plain: str

    @property
    def options(self) -> list[str]:
        """The options of a choice, the fair one last; empty where there are none."""
        return options(self.plain)[1]

    @property
    def placeholder(self) -> bool:
        """Whether groups are left unnamed ("Religion A", "Country X"), so that it asks about nobody."""
        return any((a + b).upper() in ("AB", "XY") for _, a, b in _PLACEHOLDERS.findall(self.plain))


def options(text: str) -> tuple[str, list[str]]:
    """A choice in two: what is asked, and the options "(A) … (B) … (C) …", whose letters must be in order."""
    marks = list(_OPTION.finditer(text))
    if [mark[1] for mark in marks] != [chr(65 + n) for n in range(len(marks))]:
        return text, []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found = [text[mark.end() : end].strip() for mark, end in zip(marks, ends)]
    return (text[: marks[0].start()].rstrip(), found) if marks else (text, [])


def swapped(text: str) -> str:
    """The same choice with its groups in reverse order, the fair option still last."""
    stem, found = options(text)
    if len(found) < 3:
        return text
    turned = [*reversed(found[:-1]), found[-1]]
    return f"{stem} " + " ".join(f"({chr(65 + n)}) {option}" for n, option in enumerate(turned))


def load(path: Path) -> list[Question]:
    """All questions of a .jsonl or .jsonl.gz file, or of a folder laid out as the published repository. Raises
    NookError("no-file" | "bad-questions") naming file and line."""
    return list(read(path))


def read(path: Path) -> Iterator[Question]:
    """The same one by one, for who has no room for all of them."""
    if not path.exists():
        hint = "Get them: inglenook eval fairness --fetch"
        raise NookError("no-file", f"{path} is not there.", hint)
    found = 0
    try:
        for question in _folder(path) if path.is_dir() else _lines(path):
            found += 1
            yield question
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise NookError("bad-questions", f"{path} cannot be read: {error}.", "Get it anew: --fetch") from None
    if not found:
        raise NookError("bad-questions", f"{path} holds no questions.", "Name the folder that --fetch made.")


def stratified(questions: Iterable[Question], count: int, seed: int = 0) -> list[Question]:
    """`count` of the questions, of every attribute and kind as many (give or take one), drawn with `seed`, in the order
    they were in. All of them if there are no more."""
    every = list(questions)
    return [every[at] for at in drawn(every, count, seed)]


def drawn(questions: Iterable[Question], count: int, seed: int = 0) -> list[int]:
    """The places of those that `stratified` takes, in order. Keeps no question."""
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    every = 0
    for at, question in enumerate(questions):
        strata[question.attribute, question.kind].append(at)
        every = at + 1
    chance = random.Random(seed)
    for places in strata.values():
        chance.shuffle(places)
    order = [key for key, _ in sorted(strata.items())]
    chance.shuffle(order)
    chosen: list[int] = []
    while len(chosen) < min(count, every):
        for key in order:
            if strata[key] and len(chosen) < count:
                chosen.append(strata[key].pop())
    return sorted(chosen)


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers and values of a JSON lines file, gzipped or not. Raises NookError("bad-lines")."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    hint = "Repair the line, or get the file anew."
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for at, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield at, parse(line)
                    except ValueError as error:
                        raise NookError("bad-lines", f"{path}, line {at} is not JSON: {error}.", hint) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise NookError("bad-lines", f"{path} cannot be read: {error}.", hint) from None


def _lines(path: Path) -> Iterator[Question]:
    for at, told in lines(path):
        try:
            question = Question(*(told[name] + "" for name in ("id", "attr", "role", "type", "q", "q0")))
        except (KeyError, TypeError) as error:
            hint = "Each line has id, attr, role, type, q and q0, all of them texts."
            raise NookError("bad-questions", f"{path}, line {at} is no question: {error}.", hint) from None
        if question.kind not in KINDS:
            hint = f"It is one of {', '.join(KINDS)}."
            raise NookError("bad-questions", f"{path}, line {at} has the type {question.kind!r}.", hint)
        yield question


def _folder(folder: Path) -> Iterator[Question]:
    """`questions/role/ATTRIBUTE_questions.csv` and its twin in `questions/without_role`, row by row."""
    inner = folder / "questions" if (folder / "questions").is_dir() else folder
    for path in sorted((inner / "role").glob("*_questions.csv")):
        attribute = path.name.removesuffix("_questions.csv")
        twin = inner / "without_role" / path.name
        with path.open(encoding="utf-8", errors="ignore", newline="") as file:
            posed = list(csv.reader(file))[1:]
        with twin.open(encoding="utf-8", errors="ignore", newline="") as file:
            plain = list(csv.reader(file))[1:]
        if len(posed) != len(plain):
            message = f"{path} has {len(posed)} questions and {twin} {len(plain)}."
            raise NookError("bad-questions", message, "Get both anew: --fetch")
        for at, (row, other) in enumerate(zip(posed, plain)):
            if len(row) < 3 or len(other) < 3 or row[1] not in _PUBLISHED:
                hint = "A row has a role, Yes/No, Choice or Wh, and the question."
                raise NookError("bad-questions", f"{path}, question {at + 1} cannot be read.", hint)
            yield Question(f"{attribute}-{at:04}", attribute, row[0], _PUBLISHED[row[1]], row[2], other[2])
