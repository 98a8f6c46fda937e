"""Files of other tools that have front matter and a body, as ours do."""

from __future__ import annotations

import re

from inglenook.errors import NookError
from inglenook.prompt import document
from inglenook.prompt.document import Table

_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)


def split(text: str, path: str) -> tuple[Table, str]:
    """The front matter (empty if there is none) and the body. Raises NookError("prompt-yaml" | "prompt-file")."""
    fences = list(_FENCE.finditer(text))
    if not fences or text[: fences[0].start()].strip():
        return Table(document.Document({}, path), (), {}), text
    if len(fences) < 2:
        raise NookError("prompt-file", f"{path}:1: The front matter does not end.", "Close it with a line ---.")
    line = text.count("\n", 0, fences[0].end()) + 2
    read = document.load(text[fences[0].end() + 1 : fences[1].start()], path, line)
    table = Table(read, (), {}) if read.value is None else read.table()
    return table, text[fences[1].end() :].removeprefix("\n")


def joined(said: dict[str, object], body: str) -> str:
    """Front matter and body as one file."""
    return f"---\n{document.dump(said)}---\n{body}"
