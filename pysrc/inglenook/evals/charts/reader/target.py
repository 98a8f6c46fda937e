"""The chart reader as a target: it answers FinMME's prompts about a picture without a vision model.

    with targets.open("reader") as reader:
        drive(finance.ask(items, reader.name, Plan()), reader)

Whatever the table of a picture does not tell is left to `writer`, a language model that is given the table as text, if
there is one; then it is guessed (`guess`) or not answered. A call without a picture is only ever guessed: that is the
blind reader, against which the sighted one is to be held.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Image, Message, Reply, Target
from inglenook.evals.charts.reader import ocr
from inglenook.evals.charts.reader.answer import chosen, numerical
from inglenook.evals.charts.reader.characters import characters
from inglenook.evals.charts.reader.picture import decoded
from inglenook.evals.charts.reader.reading import read
from inglenook.evals.charts.reader.table import Table
from inglenook.evals.finscore import strictly
from inglenook.evals.items import choices
from inglenook.onnx import InferenceSession

VERSION = 1  # of the rules: another version finds none of this one's rows
FILES = {"det": "pp-ocrv4-det.onnx", "rec": "pp-ocrv4-rec.onnx"}
NOTHING = "Answer: N/A"
_QUESTION = re.compile(r"\nQuestion: (?P<question>.*?)(?:\nOptions: (?P<options>.*))?\Z", re.DOTALL)
Kind = Literal["numerical", "single_choice", "multiple_choice"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an official prompt asks: `options` without their letters."""

    kind: Kind
    question: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Prompt | None:
        """None for a text that is none of the official prompts."""
        match = _QUESTION.search(text)
        if not match:
            return None
        found = re.search(r"answer this (numerical|single choice|multiple choice) question", text)
        kind: Kind = found[1].replace(" ", "_") if found else "numerical"  # type: ignore[assignment]
        return cls(kind, match["question"].strip(), tuple(choices(match["options"] or "")))


class Eyes:
    """Reads the texts of pictures with models in a folder. Raises NookError("no-models") where they are not there."""

    def __init__(self, folder: Path) -> None:
        absent = [name for name in FILES.values() if not (folder / name).is_file()]
        if absent:
            hint = "Build the source tree (python3 build.py dev), or set INGLENOOK_MODELS to a folder that has them."
            raise NookError("no-models", f"The chart reader's models are not in {folder}: {', '.join(absent)}.", hint)
        files = {name: (folder / file).read_bytes() for name, file in FILES.items()}
        self._characters = characters(files["rec"])
        self._sessions = {name: InferenceSession(file) for name, file in files.items()}

    def __call__(self, pixels: np.ndarray) -> list[ocr.Text]:
        work = ocr.read(pixels, self._characters)
        run = next(work)
        while True:
            session = self._sessions[run.model]
            [output] = session.run([session.get_outputs()[0].name], {"x": run.x})
            try:
                run = work.send(output)
            except StopIteration as end:
                texts: list[ocr.Text] = end.value
                return texts

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


class Reader:
    """Answers calls that `finance.call` makes. `eyes` find the texts of a picture (uint8, red first)."""

    def __init__(
        self, eyes: Callable[[np.ndarray], list[ocr.Text]], *, guess: bool = True, writer: Target | None = None
    ) -> None:
        self.name = f"reader@{VERSION}{'' if guess else ':sure'}{f'+{writer.name}' if writer else ''}"
        self._eyes, self._guess, self._writer = eyes, guess, writer
        self._seen: tuple[bytes, Table] = (b"", Table())

    @classmethod
    def open(cls, guess: bool = True, writer: Target | None = None) -> Self:
        """With the models of this machine. Raises NookError("no-models" | "onnx")."""
        from inglenook.platform.native.engine import models_folder

        return cls(Eyes(models_folder()), guess=guess, writer=writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._eyes, Eyes):
            self._eyes.close()
        if self._writer:
            self._writer.__exit__(None, None, None)

    def __call__(self, call: Call) -> Reply:
        """A reply in the official form; "Answer: N/A" where there is no answer."""
        began = time.perf_counter()
        text, picture = _parts(call.messages)
        prompt = Prompt.of(text)
        if prompt is None:
            hint = "Ask it by `inglenook eval finance`."
            return Reply.failed(NookError("no-question", "The chart reader answers FinMME's prompts alone.", hint))
        try:
            table = self._table(picture) if picture else Table()
        except NookError as error:
            return Reply.failed(error)
        said = answered(prompt, table) or self._written(call, prompt, table)
        if not said and self._guess:
            said = guessed(prompt)
        told = f"Answer: {said}" if said else NOTHING
        return Reply(told, total_ms=1000 * (time.perf_counter() - began))

    def _table(self, picture: Image) -> Table:
        key = hashlib.sha256(picture.data).digest()
        if self._seen[0] != key:
            pixels = decoded(picture.data)
            self._seen = key, read(pixels, self._eyes(pixels))
        return self._seen[1]

    def _written(self, call: Call, prompt: Prompt, table: Table) -> str:
        """What the language model says of the table; "" without one, or where it gives no answer."""
        if self._writer is None or not (table.cells or table.texts):
            return ""
        shown = table.text() if table.cells else "\n".join(table.texts)
        text, _ = _parts(call.messages)
        asked = f"A chart says:\n{shown}\n\n{text}"
        settings = replace(call.settings, max_tokens=min(64, call.settings.max_tokens))
        reply = self._writer(Call(self._writer.name, (Message("user", asked),), settings, call.seed))
        return "" if reply.error else strictly(prompt.kind, reply.text)


def answered(prompt: Prompt, table: Table) -> str:
    """The answer that a table gives, as the official form wants it; "" where it gives none."""
    if not table.cells:
        return ""
    if prompt.kind == "numerical":
        value = numerical(prompt.question, table)
        return "" if value is None else f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    several = prompt.kind == "multiple_choice"
    return ",".join(chr(65 + at) for at in chosen(prompt.question, prompt.options, table, several))


def guessed(prompt: Prompt) -> str:
    """An answer that nothing was read for: an option drawn by the question, half of several, or a number in it."""
    draw = int.from_bytes(hashlib.sha256(repr((prompt.question, prompt.options)).encode()).digest()[:4], "little")
    if prompt.kind == "numerical":
        numbers = re.findall(r"\d+(?:\.\d+)?", prompt.question)
        return numbers[draw % len(numbers)] if numbers else "0"
    count = len(prompt.options) or 4
    if prompt.kind == "single_choice":
        return chr(65 + draw % count)
    picks = [at for at in range(count) if draw >> (8 + at) & 1] or [draw % count]
    return ",".join(chr(65 + at) for at in picks)


def _parts(messages: tuple[Message, ...]) -> tuple[str, Image | None]:
    texts: list[str] = []
    picture = None
    for message in messages:
        for part in (message.content,) if isinstance(message.content, str) else message.content:
            if isinstance(part, Image):
                picture = part
            else:
                texts.append(part)
    return "\n".join(texts), picture
