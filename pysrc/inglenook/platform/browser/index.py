"""The live index in the tab: `inglenook.index.Index` awaited, over the stores that a browser has.

from inglenook.platform.browser.index import open_index

index = await open_index("notes", dim=384, budget=32 << 20)        # kept in this browser
index = await open_index("words", url="https://…/words.nook")      # on a web server, read by ranges
await index.add_items(vectors, ids)
labels, distances = await index.knn_query(query, k=10)

Several tabs may have one index. What another tab has changed is seen by whatever is asked next; merging is done by one
tab at a time, behind everything else.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any, Self, TypeVar

import js
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyodide.ffi import to_js

from inglenook.errors import NookError
from inglenook.flow import Effect, Flow, Hold
from inglenook.index import container, given, planner
from inglenook.index.collection import Collection, Hits
from inglenook.index.drive import Driver, Hear
from inglenook.index.form import DTYPES, Form
from inglenook.index.given import Choice
from inglenook.index.stats import Stats
from inglenook.index.store import MemoryStore
from inglenook.index.stream import Chunk, Stream, rest
from inglenook.index.table import Metadata
from inglenook.platform.browser import threads
from inglenook.platform.browser.opfs import OpfsStore
from inglenook.platform.browser.range import RangeStore
from inglenook.platform.browser.store import BrowserStore, everywhere

T = TypeVar("T")
Ids = NDArray[np.int64]
Kept = BrowserStore | OpfsStore
Chunks = Iterable[Chunk] | AsyncIterable[Chunk]
Source = Callable[[int], Chunks] | Chunks

WARM = 1 << 28
"""Bytes of vectors that an index in a tab keeps in memory where no budget says otherwise."""
STORAGES = ("auto", "indexeddb", "opfs", "memory")


async def open_index(
    name: str = "index", *, space: str = "cosine", dim: int = 0, dtype: str = "float32", budget: int | None = None,
    kind: str = "", storage: str = "auto", url: str = "", options: dict[str, int] | None = None,
) -> Index:  # fmt: skip
    """The index `name`, made with `space`, `dim` and `dtype` if it is not there; where it is, they may be left out.

    `storage` is "indexeddb", "opfs" (the browser's own file system, in a worker), "memory" or "auto": where it is, and
    a new one in OPFS where several tabs may share a file there, because its pages are read ten times as fast. `url` is
    the address of a `.nook` file that has the index, for reading. `budget`, `kind` and `options` as in
    `inglenook.index.Index`. NookError("no-index" | "bad-shape" | "no-opfs" | "locked" and those of the stores).
    """
    if storage not in STORAGES:
        raise NookError("bad-storage", f"There is no storage {storage!r}.", f"Choose one of {', '.join(STORAGES)}.")
    store: Kept | RangeStore | Memory
    nook = f"index/{name}"
    if url:
        store, storage = await RangeStore.open(url), "url"
    elif storage == "memory":
        store = Memory()
    else:
        storage = await OpfsStore.preferred(nook) if storage == "auto" else storage
        store = await (OpfsStore if storage == "opfs" else BrowserStore).open(nook)
    index = Index(store, Collection(name, budget=budget, durable=storage != "memory"), storage, nook)
    try:
        await index._attach(Form(dim, space, DTYPES.get(dtype, dtype)) if dim else None, kind, options or {})
    except BaseException:
        index.close()
        raise
    return index


class Index:
    """An index that `open_index` has opened. Errors are NookError; NookError("storage-lost") where another tab, or the
    browser, has deleted it."""

    def __init__(self, store: Kept | RangeStore | Memory, collection: Collection, storage: str, nook: str) -> None:
        self.store, self.storage, self._nook = store, storage, nook
        """Where the pages lie: "indexeddb", "opfs", "memory" or "url"."""
        self.nprobe = 0
        """Lists a query looks into, or how wide it walks a graph; 0: chosen for the recall wanted."""
        self.collection = collection
        self._driver = TabDriver(store)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tidying: asyncio.Task[bool] | None = None
        self._again = self._stale = False
        if isinstance(store, Kept):
            pages = f"i/{collection.keys.collection}/"
            changed = lambda keys: self._note(any(key.startswith(pages) for key in keys))
            if isinstance(store, BrowserStore):
                store.changes(changed, lambda: self._note(True))
            else:
                store.changes(changed)

    # ── hnswlib's ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def add_items(
        self, data: ArrayLike, ids: ArrayLike | None = None, *, metadata: Metadata | None = None,
        progress: Hear | None = None,
    ) -> None:  # fmt: skip
        """Add vectors (n, dim), or one; a known id's vector is replaced. Without ids they are numbered on from the
        highest. `metadata` as in `inglenook.index.Index`. When this returns they are stored; what is to be merged is
        merged later, beside everything else."""
        await self._fresh()
        vectors, labels = given.labelled(data, ids, self.collection.highest)
        if len(labels) >= planner.LISTS:
            await threads.ready()
        await self._run(self.collection.add(vectors, labels, metadata), progress)
        self._again = True
        if self._tidying is None or self._tidying.done():
            self._tidying = self._later(self._tidy())

    async def add_stream(self, source: Source, *, stream: str = "", progress: Hear | None = None) -> int:
        """As `inglenook.index.Index.add_stream`; `source` may give an async iterator, too. Cancel the task to stop."""
        await self._fresh()
        await threads.ready()
        into = Stream(self.collection, stream)
        await self._run(into.begin())
        chunks, skip = (source(into.taken), 0) if callable(source) else (source, into.taken)
        async for chunk in _awaited(chunks):
            more, skip = rest(chunk, skip)
            await self._run(into.take(more), progress)
            await self._merge(everything=False, wait=False, hear=progress)
        return into.taken

    async def knn_query(
        self, data: ArrayLike, k: int = 1, *, filter: Choice = None
    ) -> tuple[Ids, NDArray[np.float32]]:  # fmt: skip
        """Labels and distances (m, k) of the nearest of each query (m, dim), or of one; -1 and inf where there are
        fewer. `filter` as in `inglenook.index.Index`."""
        if self._stale:
            await self._fresh()
        made = self.collection
        queries, allow = np.asarray(data), given.allowed(filter)
        if answer := given.at_once(made, queries, k, allow, self.nprobe):
            return answer
        hits: list[Hits] = await self._run(made.search(queries, k, allow=allow, effort=self.nprobe))
        return given.arrays(hits, k, made.form)

    def set_ef(self, ef: int) -> None:
        """How wide a query searches; the same as `nprobe`."""
        self.nprobe = ef

    async def mark_deleted(self, label: int) -> None:
        """Forget a label. NookError("unknown-id")."""
        if not await self.remove_ids([label]):
            raise NookError("unknown-id", f"There is no vector {label} in this index.", "Look at get_ids().")

    async def unmark_deleted(self, label: int) -> None:
        """Take a deletion back, as long as nothing was merged since. NookError("unknown-id")."""
        await self._fresh()
        await self._run(self.collection.restore(given.labels([label])))

    async def get_items(self, ids: ArrayLike | None = None) -> NDArray[np.float32]:
        """Vectors (n, dim) by label, of unit length for cosine."""
        await self._fresh()
        vectors: NDArray[np.float32] = await self._run(
            self.collection.get((await self.get_ids()) if ids is None else given.labels(ids))
        )
        return vectors

    async def get_metadata(self, ids: ArrayLike | None = None) -> list[dict[str, Any]]:
        """What labels have: a dict each, in the order of `get_ids` where none are given. NookError("unknown-id")."""
        await self._fresh()
        found: list[dict[str, Any]] = await self._run(
            self.collection.metadata((await self.get_ids()) if ids is None else given.labels(ids))
        )
        return found

    async def update_metadata(self, ids: ArrayLike, metadata: Metadata) -> None:
        """Change fields of labels; the others stay, and None takes one away. NookError("unknown-id" |
        "bad-metadata")."""
        await self._fresh()
        await self._run(self.collection.update(given.labels(ids), metadata))

    async def save_index(self) -> Any:
        """A copy as one `.nook` file, which a web server can hand out by ranges, too: a JavaScript Blob."""
        await self._fresh()
        number = os.urandom(8)
        parts = [js.Blob.new(to_js([to_js(container.header(number))]))]
        places: dict[str, container.Place] = {}
        offset = container.HEADER.size

        def keep(pages: dict[str, bytes]) -> None:
            nonlocal offset
            for key, page in pages.items():
                places[key] = container.Place(offset, len(page), zlib.crc32(page))
                offset += len(page)
            parts.append(js.Blob.new(to_js([to_js(b"".join(pages.values()))])))  # the browser may lay it on the disk

        await self._run(self.collection.save(keep))
        parts.append(js.Blob.new(to_js([to_js(piece) for piece in container.close(places, offset, 0, number)])))
        return js.Blob.new(to_js(parts))

    # ── faiss' and ours ───────────────────────────────────────────────────────────────────────────────────────────

    async def remove_ids(self, ids: ArrayLike) -> int:
        """Forget ids; returns how many there were."""
        await self._fresh()
        return int(await self._run(self.collection.delete(given.labels(ids))))

    async def optimize(self, progress: Hear | None = None) -> None:
        """Merge all there is into one segment, the fastest form, as far as the budget allows."""
        await self._merge(everything=True, wait=True, hear=progress)

    async def maintain(self, progress: Hear | None = None) -> bool:
        """Merge what is to be merged. Returns whether there was anything; False, too, where another tab is at it."""
        return await self._merge(everything=False, wait=False, hear=progress)

    async def refresh(self) -> bool:
        """See what other tabs have stored since; whether anything was. What is asked does so by itself as soon as their
        word has come."""
        self._stale = False
        try:
            return bool(await self._run(self.collection.refresh()))
        except BaseException:
            self._stale = True
            raise

    async def settled(self) -> None:
        """Return when what add_items left to do is done. Raises what went wrong with it: nothing that was acknowledged
        is lost by that, and the next add_items tries again."""
        if self._tidying:
            await asyncio.shield(self._tidying)

    async def drop(self) -> None:
        """Delete the index; other tabs that have it open hear of it. NookError("read-only") on a server."""
        await self._run(self.collection.drop())
        self.close()
        if self.storage == "indexeddb":
            await BrowserStore.delete(self._nook)
        elif self.storage == "opfs":
            await OpfsStore.delete(self._nook)

    async def get_ids(self) -> Ids:
        """All labels, ascending."""
        return np.sort(await self._run(self.collection.ids()))

    def get_current_count(self) -> int:
        """Vectors that can be found."""
        return self.collection.count

    element_count = ntotal = property(get_current_count)

    @property
    def space(self) -> str:
        return self.collection.form.space

    @property
    def dim(self) -> int:
        return self.collection.form.dim

    @property
    def dtype(self) -> str:
        return next(name for name, short in DTYPES.items() if short == self.collection.form.dtype)

    @property
    def kept(self) -> bool:
        """Whether it is there when the browser is started again."""
        return self.storage != "memory" and getattr(self.store, "status", "stored") == "stored"

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self.collection.memory

    def stats(self) -> Stats:
        """What it is made of, what it holds in memory, and what its searches cost so far."""
        return self.collection.stats()

    @property
    def damage(self) -> list[str]:
        """Pages that could not be read. What they held is not found; everything else is."""
        return sorted(self.collection.damage)

    def close(self) -> None:
        """Let go of the store."""
        for task in self._tasks:
            task.cancel()
        self.store.close()

    def __len__(self) -> int:
        return self.collection.count

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _attach(self, form: Form | None, kind: str, options: dict[str, int]) -> None:
        collection = self.collection
        if not collection.durable or not await self._run(collection.open()):
            if form is None or self.storage == "url":
                hint = "Give its number of dimensions to make it." if self.storage != "url" else "Look at its name."
                raise NookError("no-index", f"There is no index “{collection.keys.collection}” here.", hint)
            try:
                return await self._run(collection.create(form, kind, options))  # type: ignore[no-any-return]
            except NookError as error:
                if error.code != "conflict" or not await self._run(collection.open()):  # another tab makes it, too
                    raise
        if form:
            given.same(collection.keys.collection, collection.form, form)
        if self.storage != "url":
            self._later(self._warm())  # the first answer does not wait for it

    async def _warm(self) -> None:
        budget = self.collection.budget
        await self._run(self.collection.warm(WARM if budget is None else budget - self.collection.memory))

    async def _fresh(self) -> None:
        """See what other tabs have changed, as far as their word has come."""
        if self._stale:
            await self.refresh()

    def _later(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside everything else. What goes wrong with it is raised to who waits for it, if any."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def ended(done: asyncio.Task[T]) -> None:
            self._tasks.discard(done)
            done.cancelled() or done.exception()

        task.add_done_callback(ended)
        return task

    def _note(self, changed: bool) -> None:
        self._stale = self._stale or changed

    async def _tidy(self) -> bool:
        did = False
        while self._again:
            self._again = False
            did = await self.maintain() or did
        return did

    async def _merge(self, everything: bool, wait: bool, hear: Hear | None) -> bool:
        """One tab merges at a time: two would make the same segment, and one of them in vain."""
        release = await self.store.lock("merge", wait) if isinstance(self.store, Kept) else _nothing
        if release is None:
            return False
        try:
            await self.refresh()
            if len(self) >= planner.LISTS:
                await threads.ready()
            did = bool(await self._run(self.collection.maintain(everything), hear))
            if did:
                await self._warm()
            return did
        finally:
            release()

    async def _run(self, flow: Flow, hear: Hear | None = None) -> Any:
        return await self._driver.run(flow, hear)


async def _awaited(chunks: Chunks) -> AsyncIterator[Chunk]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk


class TabDriver(Driver):
    """Runs flows on a store that several tabs share: what a flow holds, no flow of another tab does."""

    async def perform(self, effect: Effect) -> Any:
        answer = await super().perform(effect)  # first of all in this tab
        if not isinstance(effect, Hold) or not isinstance(self.store, Kept):
            return answer
        return await everywhere(self.store, effect.what, answer)


class Memory:
    """A store that forgets, awaited."""

    def __init__(self) -> None:
        self._pages = MemoryStore()

    async def get(self, keys: list[str]) -> list[bytes | None]:
        return self._pages.get(keys)

    async def scan(self, prefix: str) -> dict[str, bytes]:
        return self._pages.scan(prefix)

    async def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        self._pages.commit(puts, deletes, expect)

    def close(self) -> None:
        """Nothing is held."""


def _nothing() -> None:
    pass
