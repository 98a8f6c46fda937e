"""Text to learn from: documents of files and folders, as windows of token ids.

ids = stream(documents([Path("notes/"), Path("abstracts.jsonl.gz")]), tokenizer, limit=1_000_000)
windows(ids, length=512, seed=0)   # int64 (windows, 512), shuffled, the same for the same seed
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from inglenook.depth import parse
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

Array = np.ndarray

PLAIN = (".txt", ".md", ".rst")
FIELDS = ("text", "abstract", "summary")
"""Where a line of JSON may hold its text."""


def documents(paths: Iterable[Path]) -> Iterator[str]:
    """The texts of files: whole plain files, and each line of `.jsonl` (`.gz` of either is unpacked)."""
    for path in paths:
        if path.is_dir():
            yield from documents(sorted(entry for entry in path.rglob("*") if entry.is_file() and _kind(entry)))
        elif not path.is_file():
            raise NookError("no-file", f"{path} is not there.", "Check the spelling.")
        elif not (kind := _kind(path)):
            raise NookError("format", f"{path.name} is no text.", f"Give {', '.join(PLAIN)} or .jsonl, or .gz of them.")
        else:
            yield from _lines(path) if kind == ".jsonl" else [_content(path)]


def stream(texts: Iterable[str], tokenizer: Tokenizer, limit: int | None = None) -> Array:
    """The ids of `texts`, int32, each text after an end token, `limit` at most; what looks like control is text."""
    end = min(tokenizer.ends)
    parts: list[Array] = []
    total = 0
    for text in texts:
        parts.append(np.array([end, *tokenizer.encode(text, special=False)], np.int32))
        total += len(parts[-1])
        if limit is not None and total >= limit:
            break
    return np.concatenate([*parts, np.zeros(0, np.int32)])[:limit].astype(np.int32)


def windows(ids: Array, length: int, seed: int | None = 0) -> Array:
    """`ids` cut into windows: int64 (windows, length), shuffled unless `seed` is None; a rest is left out."""
    count = len(ids) // length
    if not count:
        raise NookError("text-short", f"The text has {len(ids)} tokens, one window needs {length}.", "Give more text.")
    cut = ids[: count * length].reshape(count, length).astype(np.int64)
    return cut if seed is None else cut[np.random.default_rng(seed).permutation(count)]


def mixed(sources: Sequence[Array], length: int, seed: int) -> Array:
    """Windows of several streams, shuffled together."""
    longest = max(sources, key=len)  # of which there must be a window
    together = np.concatenate([windows(ids, length, None) for ids in sources if len(ids) >= length or ids is longest])
    return together[np.random.default_rng(seed).permutation(len(together))]


def _kind(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return suffix if suffix in (*PLAIN, ".jsonl") else ""


def _content(path: Path) -> str:
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NookError("format", f"{path.name} cannot be unpacked: {error}.", "Get it again.") from None
    return raw.decode("utf-8-sig", "replace")


def _lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(_content(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = parse(line)
        except ValueError as error:
            raise NookError("format", f"{path.name}: line {number} is no JSON.", "One object a line.") from error
        fields = item if isinstance(item, dict) else {"text": item}
        text = next((fields[name] for name in FIELDS if name in fields), None)
        if not isinstance(text, str):
            raise NookError("format", f"{path.name}: line {number} has no text.", f"Its name: {', '.join(FIELDS)}.")
        yield text
