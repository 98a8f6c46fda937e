"""How tokenizers cut text into words: their regular expressions, with \\p{L}, \\p{N} and \\s, in Python's.

Python's own classes follow its version and its \\s has four characters more than White_Space; a tokenizer's must not.
"""

from __future__ import annotations

import re
from functools import cache

from inglenook.elastic.classes import LETTERS, NUMBERS
from inglenook.errors import NookError

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), the published encoder."""
SMOLLM = r"'(?:[stmd]|re|ve|ll)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
"""GPT-2's within the pieces that single digits leave: a run of spaces yields its last only to a word."""
_SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern in Python's words. Raises NookError("model-unsupported") for a class it has no table of."""
    classes = {r"\p{L}": _ranges(LETTERS), r"\p{N}": _ranges(NUMBERS), r"\s": _SPACES}
    out, bracket = [], False
    for part in re.findall(r"\\p\{\w+\}|\\.|.", pattern, re.DOTALL | re.IGNORECASE):
        if part in classes:
            out.append(classes[part] if bracket else f"[{classes[part]}]")
        elif part == r"\S" and not bracket:
            out.append(f"[^{_SPACES}]")
        elif part == r"\S" or part[:2] in (r"\p", r"\P", r"\w", r"\W", r"\d", r"\D", r"\b"):
            hint = "Use a model that cuts words as GPT-2, Llama 3 or SmolLM2 do."
            raise NookError("model-unsupported", f"This tokenizer is not supported: it cuts words by {part}.", hint)
        else:
            bracket = part == "[" or (bracket and part != "]")
            out.append(part)
    return re.compile("".join(out))


def _ranges(table: str) -> str:
    """The inside of a regular expression's [] for the ranges of `classes`: "gap+length gap …"."""
    parts, at = [], 0
    for item in table.split():
        gap, _, length = item.partition("+")
        first = at + int(gap, 16)
        at = first + int(length or "1", 16)
        parts.append(f"{chr(first)}-{chr(at - 1)}" if length else chr(first))
    return "".join(parts)
