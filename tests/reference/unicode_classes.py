"""Make `pysrc/inglenook/elastic/classes.py`: which characters the tokenizer's pattern counts as letter and number.

    python tests/reference/unicode_classes.py

Asked of the `tokenizers` library itself, character by character, because Python's own tables differ between the
versions we run on (3.11 knows Unicode 14, 3.14 knows 16) and a tokenizer must not.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from tokenizers import pre_tokenizers

HEAD = '''"""Unicode's letters and numbers: made by tests/reference/unicode_classes.py, held true by tests/system.

Python's own tables follow its version; a tokenizer's must not. Each range is "gap+length" in hexadecimal, the gap
counted from the end of the range before it; "gap" alone is one character.
"""

'''


def ranges(points: Iterable[int]) -> str:
    found: list[list[int]] = []  # first and end
    for point in points:
        if found and found[-1][1] == point:
            found[-1][1] += 1
        else:
            found.append([point, point + 1])
    before = [0, *(end for _, end in found)]
    return " ".join(
        f"{first - last:x}" + (f"+{end - first:x}" if end - first > 1 else "")
        for last, (first, end) in zip(before, found)
    )


def main() -> None:
    pattern = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    letters = [point for point in points if len(pattern.pre_tokenize_str("a" + chr(point))) == 1]
    numbers = [point for point in points if len(digits.pre_tokenize_str("a" + chr(point))) == 2]
    out = HEAD
    for name, found in (("LETTERS", letters), ("NUMBERS", numbers)):
        lines = textwrap.wrap(ranges(found), 112)
        out += f"{name} = (\n" + "".join(f'    "{line} "\n' for line in lines) + ")\n"
    target = Path(__file__).parents[2] / "pysrc/inglenook/elastic/classes.py"
    target.write_text(out, encoding="utf-8")


main()
