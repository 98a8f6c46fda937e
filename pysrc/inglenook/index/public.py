"""`inglenook.index.Index`: the live index under the names that hnswlib and faiss have given to such things.

from inglenook.index import Index

index = Index("cosine", 384)                          # in memory
index = Index("cosine", 384, path="notes.nook")       # in a file; what add_items has taken is kept
index.add_items(vectors, ids)
labels, distances = index.knn_query(query, k=10, filter=lambda id: id % 2 == 0)
index.save_index("copy.nook")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inglenook.errors import NookError
from inglenook.index import given, threads
from inglenook.index.collection import Collection, Hits
from inglenook.index.drive import Hear, run
from inglenook.index.form import DTYPES, Form
from inglenook.index.given import Choice
from inglenook.index.store import MemoryStore, Store
from inglenook.index.stream import Chunk, Stream, rest
from inglenook.index.table import Metadata

Ids = NDArray[np.int64]
Source = Callable[[int], Iterable[Chunk]] | Iterable[Chunk]

WARM = 1 << 30
"""Bytes of vectors that an index on a machine keeps in memory where no budget says otherwise."""


class Index:
    """An index of vectors of `dim` numbers. `space` is "cosine", "ip" or "l2", `dtype` how they are kept: "float32",
    "float16", "int8" or "binary" (packed bits; queries too).

    With `path` it lies in a `.nook` file, made if it is not there, under `name`; otherwise in memory. Where the file
    has it already, `space`, `dim` and `dtype` may be left out. `budget` is how many bytes of memory it may take:
    vectors that do not fit are read when they are needed. `kind` is "flat", "ivf" or "hnsw"; "" chooses by size.
    Errors are NookError.
    """

    def __init__(
        self, space: str = "cosine", dim: int = 0, *, path: str | Path | None = None, name: str = "index",
        dtype: str = "float32", budget: int | None = None, kind: str = "", readonly: bool = False,
        store: Store | None = None,
    ) -> None:  # fmt: skip
        self.space, self.dim, self.dtype, self.budget, self.kind = space, dim, dtype, budget, kind
        self.nprobe = 0
        """Lists a query looks into, or how wide it walks a graph; 0: chosen for the recall wanted."""
        self._name, self._options = name, dict[str, int]()
        self._store: Store = MemoryStore()
        self._durable = path is not None or store is not None
        self._collection: Collection | None = None
        if self._durable:
            if store is None:
                from inglenook.platform.native.store import FileStore

                store = FileStore(str(path), readonly=readonly)
            self._store = store
            try:
                self._attach(Collection(name, budget=budget))
            except BaseException:
                store.close()
                raise

    # ── hnswlib's ─────────────────────────────────────────────────────────────────────────────────────────────────

    def init_index(
        self, max_elements: int = 0, ef_construction: int = 200, M: int = 16, random_seed: int = 100,
        allow_replace_deleted: bool = False,
    ) -> None:  # fmt: skip
        """Begin. An index grows by itself; `M` and `ef_construction` count where its kind is "hnsw"."""
        if self._collection is None:
            self._options = {"M": M, "ef_construction": ef_construction, "seed": random_seed}
            self._made()

    def add_items(
        self, data: ArrayLike, ids: ArrayLike | None = None, num_threads: int = -1, replace_deleted: bool = False, *,
        metadata: Metadata | None = None, progress: Hear | None = None,
    ) -> None:  # fmt: skip
        """Add vectors (n, dim), or one; a known id's vector is replaced. Without ids they are numbered on from the
        highest. When this returns they are stored. `metadata` is a dict for each vector, or a column of values for each
        field; a value is a text, a number, True or False, or a list of texts. `num_threads` of the machine (-1: all)
        train lists and assign vectors to them. `progress` is told of events such as `wire.messages.Progress`."""
        collection = self._made()
        vectors, labels = given.labelled(data, ids, collection.highest)
        with threads.using(num_threads):
            self._run(collection.add(vectors, labels, metadata), progress)
            self._run(collection.maintain(), progress)

    def add_stream(
        self, source: Source, *, stream: str = "", num_threads: int = -1, progress: Hear | None = None
    ) -> int:
        """Add chunks of vectors as they come, however many: each is an array (n, dim), (vectors, ids) or (vectors, ids,
        metadata), and is stored before the next is asked for. Memory stays within the budget.

        `source` is a function of how many vectors of this `stream` are stored already, which gives the others: so a
        build that was stopped, or died, goes on where it was. Of an iterator those are skipped. Stop it by an exception
        of the source or of `progress`. Returns how many vectors of the stream are stored.
        """
        made = self._made()
        into = Stream(made, stream)
        self._run(into.begin())
        chunks, skip = (source(into.taken), 0) if callable(source) else (source, into.taken)
        with threads.using(num_threads):
            for chunk in chunks:
                more, skip = rest(chunk, skip)
                self._run(into.take(more), progress)
                self._run(made.maintain(), progress)
        return into.taken

    def knn_query(
        self, data: ArrayLike, k: int = 1, num_threads: int = -1, filter: Choice = None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Labels and distances (m, k) of the nearest of each query (m, dim), or of one; -1 and inf where there are
        fewer.

        `filter`: a condition on metadata such as {"lang": "en", "year": {"$gte": 2020}} (`index/where.py`); a function
        of a label, or of an array of them, that says whether it is allowed; an array of bool by label; or the labels
        allowed.
        """
        made = self._made()
        queries, allow = np.asarray(data), given.allowed(filter)
        if answer := given.at_once(made, queries, k, allow, self.nprobe):
            return answer
        hits: list[Hits] = self._run(made.search(queries, k, allow=allow, effort=self.nprobe))
        return given.arrays(hits, k, made.form)

    def set_ef(self, ef: int) -> None:
        """How wide a query searches; the same as `nprobe`."""
        self.nprobe = ef

    ef = property(lambda self: self.nprobe, set_ef)

    def mark_deleted(self, label: int) -> None:
        """Forget a label. NookError("unknown-id")."""
        if not self._run(self._made().delete(given.labels([label]))):
            raise NookError("unknown-id", f"There is no vector {label} in this index.", "Look at get_ids_list().")

    def unmark_deleted(self, label: int) -> None:
        """Take a deletion back, as long as nothing was merged since. NookError("unknown-id")."""
        self._run(self._made().restore(given.labels([label])))

    def get_items(self, ids: ArrayLike | None = None, return_type: str = "numpy") -> Any:
        """Vectors (n, dim) float32 by label, of unit length for cosine; `return_type` "numpy" or "list"."""
        labels = self.get_ids() if ids is None else given.labels(ids)
        vectors = self._run(self._made().get(labels))
        return vectors.tolist() if return_type == "list" else vectors

    def get_metadata(self, ids: ArrayLike | None = None) -> list[dict[str, Any]]:
        """What labels have: a dict each, in the order of `get_ids` where none are given. NookError("unknown-id")."""
        return self._run(self._made().metadata(self.get_ids() if ids is None else given.labels(ids)))  # type: ignore[no-any-return]

    def update_metadata(self, ids: ArrayLike, metadata: Metadata) -> None:
        """Change fields of labels, given as for `add_items`; the others stay, and None takes one away.
        NookError("unknown-id" | "bad-metadata")."""
        self._run(self._made().update(given.labels(ids), metadata))

    def get_ids_list(self) -> list[int]:
        """All labels, ascending."""
        return self.get_ids().tolist()  # type: ignore[no-any-return]

    def get_current_count(self) -> int:
        """Vectors that can be found."""
        return self._made().count

    element_count = ntotal = property(get_current_count)

    def save_index(self, path_to_index: str | Path) -> None:
        """A copy as one `.nook` file, which a web server can hand out by ranges, too."""
        from inglenook.platform.native.store import FileStore

        path = Path(path_to_index)
        beside = path.with_name(path.name + ".part")
        beside.unlink(missing_ok=True)
        with FileStore(beside) as store:
            self._run(self._made().save(lambda puts: store.commit(puts, []), self._name))
            store.compact()
        beside.replace(path)

    def load_index(self, path_to_index: str | Path, max_elements: int = 0) -> None:
        """Take into memory what `save_index` wrote."""
        from inglenook.platform.native.store import FileStore

        with FileStore(path_to_index, readonly=True) as store:
            found = Collection(self._name)
            if not run(found.open(), store):
                hint = "Give the name it was saved under: Index(…, name=…)."
                raise NookError("no-index", f"{path_to_index} has no index {self._name!r}.", hint)
            run(found.warm(1 << 62), store)
            found.durable = False
            self._take(found)

    # ── faiss' ────────────────────────────────────────────────────────────────────────────────────────────────────

    is_trained = True

    def train(self, x: ArrayLike) -> None:
        """Nothing: lists are trained when they are made."""

    def add(self, x: ArrayLike) -> None:
        """`add_items` under numbers that go on."""
        self.add_items(x)

    def add_with_ids(self, x: ArrayLike, ids: ArrayLike) -> None:
        """`add_items`."""
        self.add_items(x, ids)

    def search(self, x: ArrayLike, k: int) -> tuple[NDArray[np.float32], Ids]:
        """Distances and labels, in faiss' order: inner products for "ip" and "cosine", squared distances for "l2"."""
        labels, distances = self.knn_query(x, k)
        return (distances if self._made().form.space == "l2" else np.float32(1) - distances), labels

    def remove_ids(self, ids: ArrayLike) -> int:
        """Forget ids; returns how many there were."""
        return int(self._run(self._made().delete(given.labels(ids))))

    def reconstruct(self, key: int) -> NDArray[np.float32]:
        """One vector."""
        return self.get_items([key])[0]  # type: ignore[no-any-return]

    # ── other libraries' files ────────────────────────────────────────────────────────────────────────────────────

    def import_faiss(self, path: str | Path, *, progress: Hear | None = None) -> None:
        """Add the vectors of a file that faiss wrote (`index/faiss.py` says which), under its labels. An index made
        without `dim` takes the file's, and its space. NookError("corrupt" | "unsupported-index" | "bad-shape")."""
        from inglenook.index import faiss

        found = faiss.read(Path(path).read_bytes())
        if self._collection is None and not self.dim:
            self.space, self.dim = found.space, found.vectors.shape[1]
        self.add_items(found.vectors, found.labels, progress=progress)

    def import_hnswlib(self, path: str | Path, *, progress: Hear | None = None) -> None:
        """Add the vectors of a file that hnswlib wrote, under its labels, without those marked as deleted. The space is
        not in the file: it is this index's. NookError("corrupt" | "bad-shape")."""
        from inglenook.index import foreign

        found = foreign.hnswlib(Path(path).read_bytes(), self.space)
        if self._collection is None and not self.dim:
            self.dim = found.vectors.shape[1]
        self.add_items(found.vectors[~found.deleted], found.labels[~found.deleted], progress=progress)

    # ── ours ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_ids(self) -> Ids:
        """All labels, ascending."""
        return np.sort(self._run(self._made().ids()))

    def optimize(self, progress: Hear | None = None, num_threads: int = -1) -> None:
        """Merge all there is into one segment, the fastest form."""
        with threads.using(num_threads):
            self._run(self._made().maintain(everything=True), progress)

    def refresh(self) -> bool:
        """See what another process has stored since; whether anything was."""
        store = self._store
        if hasattr(store, "refresh") and not store.refresh():
            return False
        return bool(self._run(self._made().refresh()))

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self._made().memory

    @property
    def damage(self) -> list[str]:
        """Pages that could not be read. What they held is not found; everything else is."""
        return sorted(self._made().damage)

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def __len__(self) -> int:
        return self.get_current_count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _attach(self, collection: Collection) -> None:
        if run(collection.open(), self._store):
            known = Form(self.dim, self.space, DTYPES.get(self.dtype, "")) if self.dim else collection.form
            given.same(self._name, collection.form, known)
            run(collection.warm(WARM if self.budget is None else self.budget - collection.memory), self._store)
            self._take(collection)

    def _made(self) -> Collection:
        """The collection, begun if there is none."""
        if self._collection is None:
            collection = Collection(self._name, budget=self.budget, durable=self._durable)
            form = Form(self.dim, self.space, DTYPES.get(self.dtype, self.dtype))
            run(collection.create(form, self.kind, self._options), self._store)
            self._collection = collection
        return self._collection

    def _take(self, collection: Collection) -> None:
        self._collection = collection
        form = collection.form
        self.space, self.dim = form.space, form.dim
        self.dtype = next(name for name, short in DTYPES.items() if short == form.dtype)

    def _run(self, flow: Any, hear: Hear | None = None) -> Any:
        return run(flow, self._store, hear)


__all__: Sequence[str] = ["Index"]
