"""FinMME's questions (2505.24714): a chart, what is asked about it, and the answer.

Read from parquet and arrow files as the hub has them (these need pyarrow: `pip install "inglenook[finance]"`), or from
JSON lines with pictures in files beside them. `question_text`, `question_type` and `answer` must be there; columns that
are not FinMME's pass through in `more`, so class labels work where a file has them.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inglenook.errors import NookError
from inglenook.evals.questions import lines
from inglenook.types import Json

KINDS = ("single_choice", "multiple_choice", "numerical")
REQUIRED = ("question_text", "question_type", "answer")
_KNOWN = (
    *REQUIRED, "id", "image", "options", "unit", "tolerance", "verified_caption", "related_sentences",
    "knowledge_domain",
)  # fmt: skip
_OPTION = re.compile(r"(?:^|[\n;|,])\s*\(?([A-N])[.:)、]\s*", re.MULTILINE)
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, slots=True)
class Item:
    """One question. Texts are as in the file, None where there is none: the official prompt says "None" there. `image`
    is a picture's file, b"" where there is none."""

    id: str
    question: str
    kind: str
    answer: str
    image: bytes = b""
    options: str | None = None
    unit: str | None = None
    tolerance: float | None = None
    caption: str | None = None
    related: str | None = None
    domain: str | None = None
    more: Json = field(default_factory=dict)

    @property
    def choices(self) -> list[str]:
        """The options one by one, without their letters."""
        return choices(self.options or "")


def choices(text: str) -> list[str]:
    """Options as they are written there: a list, JSON, lines "A: x", or split by ; or |."""
    text = text.strip()
    if text[:1] == "[":
        for read in (text, text.replace("'", '"')):
            try:
                return [_OPTION.sub("", str(one)).strip() for one in json.loads(read)]
            except ValueError:
                continue
    if text[:1] == "{":
        try:
            return [str(one) for one in json.loads(text).values()]
        except (ValueError, AttributeError):
            pass
    marks = list(_OPTION.finditer(text))
    if len(marks) > 1:
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        return [text[mark.end() : end].strip(" ;|,\n") for mark, end in zip(marks, ends)]
    return [part.strip() for part in re.split(r"[;|\n]", text) if part.strip()]


def load(path: Path) -> Iterator[Item]:
    """The items of a .parquet, .arrow, .jsonl or .jsonl.gz file, one after another. Raises NookError("no-file" |
    "no-pyarrow" | "missing-columns" | "bad-item" | "bad-image" | "bad-lines") naming file and row."""
    if not path.is_file():
        raise NookError("no-file", f"{path} is not there.", "Name a .parquet, .arrow or .jsonl file.")
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    if ending in ("parquet", "arrow"):
        rows: Iterator[tuple[int, Any]] = _arrow(path, ending)
    elif ending in ("jsonl", "json"):
        rows = lines(path)
    else:
        raise NookError(
            "bad-item", f"{path} is of no kind that can be read.", "Name a .parquet, .arrow or .jsonl file."
        )
    for at, row in rows:
        yield _item(row, path, at)


def _item(row: Any, path: Path, at: int) -> Item:
    where = f"{path}, row {at}"
    if not isinstance(row, dict):
        raise NookError("bad-item", f"{where} is no object.", "Each row has the columns of FinMME.")
    if absent := [name for name in REQUIRED if row.get(name) is None]:
        hint = f"There must be {', '.join(REQUIRED)}; found: {', '.join(sorted(row)) or 'nothing'}."
        raise NookError("missing-columns", f"{where} has no {' and no '.join(absent)}.", hint)
    kind = row["question_type"]
    if kind not in KINDS:
        raise NookError("bad-item", f"{where} has the question_type {kind!r}.", f"It is one of {', '.join(KINDS)}.")
    tolerance = row.get("tolerance")
    try:
        tolerance = None if tolerance is None else float(tolerance)
    except (TypeError, ValueError, OverflowError):
        raise NookError(
            "bad-item", f"{where} has the tolerance {str(tolerance)[:40]!r}.", "It is a number or null."
        ) from None
    return Item(
        id=str(row.get("id", at)),
        question=str(row["question_text"]),
        kind=kind,
        answer=str(row["answer"]),
        image=_image(row.get("image"), path, where),
        options=_text(row.get("options")),
        unit=_text(row.get("unit")),
        tolerance=None if tolerance is None or math.isnan(tolerance) else tolerance,
        caption=_text(row.get("verified_caption")),
        related=_text(row.get("related_sentences")),
        domain=_text(row.get("knowledge_domain")),
        more={name: value for name, value in row.items() if name not in _KNOWN},
    )


def _image(told: Any, path: Path, where: str) -> bytes:
    """Of bytes, of the hub's {"bytes": …, "path": …}, of base64, or of a file beside `path`."""
    if isinstance(told, dict):
        told = told.get("bytes") or told.get("path")
    if told is None or told == "":
        return b""
    try:
        data = told if isinstance(told, bytes) else _beside(told, path.parent)
        if data is None:
            data = base64.b64decode(told.partition("base64,")[2] or told, validate=True)
    except (binascii.Error, ValueError, TypeError):
        hint = "An image is its bytes, base64, or the name of a file beside this one."
        raise NookError("bad-image", f"{where}: there is no image {str(told)[:80]!r}.", hint) from None
    media(data, where)
    return data


def _beside(name: str, folder: Path) -> bytes | None:
    """What the file of that name in a folder holds; None for what names none. Raises ValueError and TypeError for what
    is no name."""
    file = folder / name
    if len(name) >= 1024 or not file.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        return file.read_bytes()
    except OSError:  # there is none, or base64 is too long for a name
        return None


def media(data: bytes, where: str) -> str:
    """The media type of a picture's file. Raises NookError("bad-image") for what is none, or was cut short."""
    kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")
    if not kind and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    hint = "Save it again as PNG or JPEG, or leave the row out."
    if not kind:
        raise NookError("bad-image", f"{where}: the image is no PNG, JPEG, GIF or WebP file.", hint)
    end = {"image/png": b"IEND", "image/jpeg": b"\xff\xd9"}.get(kind)
    if end and end not in data[-4096:]:
        raise NookError("bad-image", f"{where}: the image breaks off after {len(data)} bytes.", hint)
    return kind


def _text(value: Any) -> str | None:
    """As `str` in the official script would have it: a list stays a list's text."""
    return None if value is None else str(value)


def _arrow(path: Path, kind: str) -> Iterator[tuple[int, Any]]:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        hint = 'Install it: pip install "inglenook[finance]"; or convert the file to JSON lines.'
        raise NookError("no-pyarrow", f"Reading {path.name} needs pyarrow.", hint) from None
    try:
        at = 0
        for batch in _batches(arrow, parquet, path, kind):
            for row in batch.to_pylist():
                at += 1
                yield at, row
    except (arrow.ArrowException, OSError) as error:
        raise NookError("bad-item", f"{path} cannot be read: {error}.", "Get the file anew.") from None


def _batches(arrow: Any, parquet: Any, path: Path, kind: str) -> Iterator[Any]:
    if kind == "parquet":
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=64)
        return
    with arrow.memory_map(str(path)) as source:
        try:
            yield from arrow.ipc.open_stream(source)
        except arrow.ArrowInvalid:
            source.seek(0)
            file = arrow.ipc.open_file(source)
            yield from (file.get_batch(n) for n in range(file.num_record_batches))
