"""The outline of source code: which function and class a line lies in."""

from __future__ import annotations

import re

_DEFINITION = re.compile(
    r"^([ \t]*)(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|override|open|sealed"
    r"|data|inline|unsafe|extern|virtual|pub(?:\([a-z]+\))?|const|local|partial|suspend|readonly)[ \t]+)*"
    r"(?:def|class|function\*?|fn|func|fun|struct|enum|interface|impl|trait|module|namespace|sub|proc|object|protocol"
    r"|record|defmodule|defp?|macro_rules!|package|type)[ \t]+"
    r"(?:\([^()\n]{0,80}\)[ \t]*|<[^<>\n]{0,80}>[ \t]*)?([^\W\d](?:[\w.:!?$]*[\w!?$])?)",
    re.MULTILINE,
)


class Outline:
    """The definitions in `text[start:end]`, nested by their indentation."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._found = _DEFINITION.finditer(text, start, end)
        self._next = next(self._found, None)
        self._stack: list[tuple[int, str]] = []

    def above(self, at: int) -> list[str]:
        """Names of the definitions that begin before the line at `at` and may hold it. Offsets must not go back."""
        while self._next is not None and self._next.end(1) < at:
            indent = len(self._next[1].expandtabs(4))
            while self._stack and self._stack[-1][0] >= indent:
                self._stack.pop()
            self._stack.append((indent, self._next[2]))
            self._next = next(self._found, None)
        line = self._text.rfind("\n", max(0, at - 200), at) + 1
        here = len(self._text[line:at].expandtabs(4)) if line or at < 200 else 200
        return [name for indent, name in self._stack if indent < here]
