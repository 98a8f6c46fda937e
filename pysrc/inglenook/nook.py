"""The public face on a machine.

from inglenook import Nook
with Nook.open("notes.nook") as nook:
    nook.add("notes/")
    print(nook.ask("What did we decide on pricing?").text)
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np

from inglenook import completions
from inglenook.elastic.turns import App, Turns
from inglenook.embed import encoder
from inglenook.embed.tokenizer import LIMIT
from inglenook.errors import NookError
from inglenook.flow import Flow, adrive, drive
from inglenook.library import Library
from inglenook.platform.native.engine import NativeEngine
from inglenook.platform.native.store import FileStore
from inglenook.types import Filter, Hit, Json
from inglenook.wire import messages as wire

LARGEST = 500_000_000  # bytes of a file that is read
BATCH = 32_000_000  # bytes of files that are in memory at once
AT_ONCE = 8  # texts that are embedded before somebody else's


@dataclass(slots=True)
class Answer:
    """What came of a question. `text` is the written answer, or the extracted passage where nothing was written."""

    text: str = ""
    found: bool = True
    passages: list[wire.Passage] = field(default_factory=list)
    citations: list[wire.Citation] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    timing: wire.Timing | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """Whoever runs a model, as it is now: requests that have the model and that wait for it; key-value pages in use and
    all there are, none before the model is loaded. A server's fleet has models that are "loading", "cold" (without
    weights until somebody asks) or "down" (their worker starts, or does not start any more), and that share pages."""

    name: str
    model: str
    running: int
    queued: int
    used: int
    pages: int
    state: str = "ready"


class Nook:
    """An opened nook. One process at a time may write a .nook file."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        models: Path | None = None,
        where: str = "machine",
        app: str = "",
        apps: Mapping[str, App] | None = None,
        *,
        lm: Path | None = None,
    ) -> None:
        self.path, self.app = Path(path), app
        self.library = Library(where)
        self._engine = NativeEngine(FileStore(self.path), models, Turns(apps), lm)
        for _ in drive(self.library.open(self.path.stem), self._engine.perform):
            pass

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        models: Path | None = None,
        *,
        app: str = "",
        apps: Mapping[str, App] | None = None,
        lm: Path | None = None,
    ) -> Nook:
        """Open a .nook file, made if it is not there. Raises NookError("corrupt" | "newer-format" | "locked", …).

        `app` is who asks, where requests name nobody; `apps` are the rules of apps that share the model: weights, and
        how much they may ask for (`elastic.turns.App`). `lm` is an ONNX decoder to write with in place of the model of
        the folder `models`.
        """
        return cls(path, models, app=app, apps=apps, lm=lm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file and the models."""
        self._engine.close()

    def stream(self, request: wire.Request) -> Iterator[wire.Event]:
        """The events that answer a request, without the end: errors are raised. Close the iterator to stop."""
        yield from drive(self.library.handle(request), self._engine.perform)  # type: ignore[misc]

    async def astream(
        self,
        request: wire.Request,
        emit: Callable[[object], None],
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """The same for an event loop: several requests at once, heavy work in threads. Cancel the task to stop.

        `before` is awaited ahead of each effect: where it waits (for a slow reader, say), so does the work.
        """

        async def perform(effect: Any) -> Any:
            if before:
                await before()
            return await self._engine.aperform(effect, emit)

        await adrive(self.library.handle(request), perform, emit)

    def add(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        collection: str = "notes",
        on_event: Callable[[wire.Event], None] = lambda event: None,
    ) -> list[wire.Added | wire.Skipped]:
        """Add files and folders; what is there unchanged is left alone. One result per file."""
        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        results: dict[str, wire.Added | wire.Skipped] = {}
        for batch in _batches(paths, collection):
            for event in batch if isinstance(batch, list) else self.stream(batch):
                if isinstance(event, wire.Added):
                    results[event.card.path] = event
                elif isinstance(event, wire.Skipped):
                    results[event.path] = event
                on_event(event)
        return list(results.values())

    def search(self, query: str, k: int = 10, filter: Filter = Filter(), mode: str = "hybrid") -> list[Hit]:  # noqa: B008
        """The `k` best passages."""
        self.prepare()
        [hits] = self.stream(wire.Search(query, k, filter, mode))
        assert isinstance(hits, wire.Hits)
        return hits.hits

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer a question; `options` are the fields of `wire.Ask` (k, filter, write, max_tokens, slo, app, …)."""
        self.prepare()
        answer = Answer()
        for event in self.stream(wire.Ask(question, **{"app": self.app, **options})):
            match event:
                case wire.Hits():
                    answer.hits = event.hits
                case wire.Passage():
                    answer.passages.append(event)
                case wire.NoSource():
                    answer.found = False
                case wire.Token():
                    answer.text += event.text
                case wire.Citation():
                    answer.citations.append(event)
                case wire.Timing():
                    answer.timing = event
        answer.text = answer.text.strip() or " ".join(passage.text for passage in answer.passages)
        return answer

    @overload
    def chat(self, messages: list[Json], *, stream: Literal[False] = False, **options: Any) -> Json: ...
    @overload
    def chat(self, messages: list[Json], *, stream: Literal[True], **options: Any) -> Iterator[Json]: ...
    def chat(self, messages: list[Json], *, stream: bool = False, **options: Any) -> Json | Iterator[Json]:
        """The bare model, in the shape of OpenAI's chat completions (`completions` says which fields there are).

        A completion, or with `stream` its chunks. Raises NookError("request" | "tools" | "schema" | "regex" | …).
        """
        asked = completions.request({"messages": messages, **options})
        counted = completions.counted(options)
        events = self.stream(asked)
        return completions.chunks(events, asked, counted) if stream else completions.whole(events, asked)

    async def aembed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """The vectors of `texts` by the encoder, float32 rows of unit length, and how many tokens it read.

        Raises NookError("context") for a text that is longer than it reads, and NookError("model-missing" | …).
        """
        nobody = lambda event: None
        vectors, tokens = await adrive(self._embed(texts), lambda effect: self._engine.aperform(effect, nobody), nobody)
        return vectors, tokens

    def _embed(self, texts: list[str]) -> Flow:
        tokenizer = yield from self.library.tokenizer("encoder")
        total = 0
        for number, text in enumerate(texts):
            total += (size := len(tokenizer.encode(text, len(text) + 2)))
            if size > LIMIT:
                message = f"Text {number} has {size} tokens; the encoder reads {LIMIT}."
                raise NookError("context", message, "Split it into passages.")
        vectors = np.empty((len(texts), encoder.DIMENSIONS), np.float32)
        for at in range(0, len(texts), AT_ONCE):  # searches go through between
            part = texts[at : at + AT_ONCE]
            vectors[at : at + AT_ONCE] = yield from encoder.embed(part, tokenizer)
        return vectors, total

    def workers(self) -> list[Worker]:
        """Who answers: this process."""
        tickets, cache = self._engine.turns.tickets.values(), self.library.model.cache
        queued = sum(ticket.queued for ticket in tickets)
        used = cache.pages - cache.free
        return [Worker("this process", completions.MODEL, len(tickets) - queued, queued, used, cache.pages)]

    def documents(self) -> list[wire.Card]:
        """All documents."""
        return [entry.card for entry in self.library.entries.values()]

    def text(self, document: str) -> str:
        """The plain text of a document by id. Raises NookError("no-document")."""

        def read() -> Flow:
            yield (yield from self.library.text(document)) or ""

        [text] = drive(read(), self._engine.perform)
        return str(text)

    def remove(self, documents: Iterable[str]) -> None:
        """Forget documents by id."""
        for _ in self.stream(wire.Remove(list(documents))):
            pass

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the whole nook to one compact .nook file, complete or not at all."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.part")
        for event in self.stream(wire.Export()):
            if isinstance(event, wire.Blob):
                partial.write_bytes(event.data)
        partial.replace(target)
        return target

    def prepare(self) -> None:
        """Load the encoder, as the first search does; without it, words are searched."""
        if "encoder" not in self.library.tokenizers:
            try:
                for _ in self.stream(wire.Prepare("encoder")):
                    pass
            except NookError as error:
                if error.code not in ("model-missing", "kernel-missing"):
                    raise


def _batches(paths: Iterable[str | os.PathLike[str]], collection: str) -> Iterator[wire.Add | list[wire.Event]]:
    """Files as Add requests of bounded size; what cannot be read as Skipped events."""
    files: list[wire.Upload] = []
    size = 0
    for root in map(Path, paths):
        for path in _walk(root):
            name = path.relative_to(root if root.is_dir() else root.parent).as_posix()
            try:
                stat = path.stat()
                if stat.st_size > LARGEST:
                    hint = "Split it, or add the part that matters."
                    yield [wire.Skipped(name, "too-large", f"{name} is larger than {LARGEST // 10**6} MB.", hint)]
                    continue
                files.append(wire.Upload(name, path.read_bytes(), stat.st_mtime, collection))
                size += stat.st_size
            except OSError as error:
                yield [wire.Skipped(name, "unreadable", f"{name} could not be read: {error.strerror}.", "")]
            if size >= BATCH:
                yield wire.Add(files)
                files, size = [], 0
    if files:
        yield wire.Add(files)


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in ("node_modules", "__pycache__"))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))
