"""Making inverted lists: train centroids, assign vectors to them, encode, and find out how hard queries must look."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import kernel, threads
from inglenook.index.codes import Floats, Rotation
from inglenook.index.inverted import SPACES
from inglenook.index.ivf import IVF
from inglenook.index.kmeans import Centroids, assign, centroids_of, train
from inglenook.index.quantise import Codes
from inglenook.index.rabitq import Encoder
from inglenook.index.tune import ASKED, NOISE, Trial

PER_LIST = 100
"""Rows a list has on average: shorter lists mean fewer rows to see but more centroids, and half-empty blocks."""
SAMPLE = 40
"""Vectors a centroid is trained on."""
SLICE = 4096
"""Vectors treated between two steps."""


class Matrix(Protocol):
    """What vectors are read from: an array, or anything that gives rows by slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


class Step(NamedTuple):
    """How far a build is: the stage, and how much of the whole is done, 0 … 1."""

    stage: str
    done: float


def build(
    vectors: Matrix, *, space: str = "cosine", lists: int | None = None, seed: int = 0, fine: bool = True,
    recall: float = 0.97, steps: Callable[[Step], None] | None = None,
) -> IVF:  # fmt: skip
    """`building`, run to its end; `steps` is told how far it is."""
    work = building(vectors, space=space, lists=lists, seed=seed, fine=fine, recall=recall)
    while True:
        try:
            step = next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if steps:
            steps(step)


def building(
    vectors: Matrix, *, space: str = "cosine", lists: int | None = None, seed: int = 0, fine: bool = True,
    recall: float = 0.97, state: dict[str, NDArray[Any]] | None = None, plain: bool = False,
) -> Generator[Step, None, IVF]:  # fmt: skip
    """An index of vectors (n, dim), a generator that yields how far it is after each slice of work.

    `lists` of them (1: a flat scan of codes), `fine` codes or not, dials for this `recall` of 10 neighbours. Everything
    follows from `seed`. `vectors` is read by slices, three times. `state` is filled with what cost time (centroids and
    labels): a build that is given it, with the same vectors and arguments, goes on from there.
    Raises NookError("bad-vector") for a vector that is not finite.
    """
    if space not in SPACES:
        raise ValueError(f"space is one of {SPACES}, not {space!r}")
    n, dim = vectors.shape
    if not 2 <= dim <= kernel.WIDEST:
        raise NookError("bad-shape", f"Vectors have 2 to {kernel.WIDEST} dimensions, not {dim}.", "Use another model.")
    state = {} if state is None else state
    rotation = Rotation(dim, seed)
    scanner = kernel.Plain() if plain else kernel.load() or kernel.Plain()
    quantise = scanner.quantise
    slices = [slice(begin, min(begin + SLICE, n)) for begin in range(0, n, SLICE)]

    if "labels" not in state:
        k = min(lists or max(1, round(n / PER_LIST)), max(n, 1))
        parts = []
        for part in _spread(n, max(k * SAMPLE, 4096), np.random.default_rng(seed)):
            parts.append(prepared(vectors[part], space, part.start))
            yield Step("train", 0.03 * part.stop / n)
        sample = np.concatenate(parts) if parts else np.zeros((0, dim), np.float32)
        mean = sample.mean(0, dtype=np.float64).astype(np.float32) if n else np.zeros(dim, np.float32)
        training = train(quantise(rotation.apply(sample, mean, plain=plain)), k, seed, plain=plain)
        del sample, parts
        while True:
            try:
                done, total = next(training)
            except StopIteration as trained:
                centroids = trained.value
                break
            yield Step("train", 0.03 + 0.47 * done / total)
        state |= {"mean": mean, "labels": np.full(n, -1, np.int32), "distances": np.zeros(n, np.float32)}
        state |= centroids._asdict()
    mean, labels = state["mean"], state["labels"]
    centroids = Centroids(*(state[name] for name in Centroids._fields))

    def turned(rows: slice) -> tuple[Floats, Codes]:
        """Rotated vectors and their codes."""
        given = vectors[rows]

        def some(part: slice) -> tuple[Floats, Codes]:
            values = rotation.apply(prepared(given[part], space, rows.start + part.start), mean, plain=plain)
            return values, quantise(values)

        pieces = threads.each(some, len(given))
        if len(pieces) == 1:
            return pieces[0]
        codes = Codes(*map(np.concatenate, zip(*(codes for _, codes in pieces))))
        return np.concatenate([values for values, _ in pieces]), codes

    for rows in slices:
        if labels[rows.stop - 1] < 0:
            values, codes = turned(rows)
            found, near = assign(codes, centroids, plain=plain)
            state["distances"][rows] = np.sqrt(np.maximum(np.einsum("ij,ij->i", values, values) - near, 0))
            labels[rows] = found
            yield Step("assign", 0.5 + 0.25 * rows.stop / n)

    used, labels = np.unique(labels, return_inverse=True)
    labels = labels.astype(np.int32)
    if n:
        centroids = Centroids(*(np.ascontiguousarray(column[used]) for column in centroids))
    else:
        centroids = centroids_of(np.zeros((1, rotation.width), np.float32))
    counts = np.bincount(labels, minlength=len(centroids.spacing))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    permutation = np.argsort(labels, kind="stable").astype(np.int64)
    order = np.empty(n, np.int32)
    order[permutation] = np.arange(n, dtype=np.int32)

    own = np.sort(np.random.default_rng([seed, 1]).permutation(n)[: min(ASKED, max(16, n // 50))])
    picked = [prepared(vectors[slice(int(i), int(i) + 1)], space, int(i)) for i in own]
    queries = np.concatenate([np.zeros((0, dim), np.float32), *picked])
    noise = np.random.default_rng([seed, 2]).standard_normal(queries.shape, np.float32)
    queries += noise * (state["distances"][own, None] * np.float32(NOISE / dim**0.5))
    asked = quantise(rotation.apply(queries, mean if space == "l2" else None, plain=plain))
    trial = Trial(queries, order[own], asked, scanner, squared=space == "l2")
    encoder = Encoder(centroids, start, squared=space == "l2", fine=fine, plain=plain)
    for rows in slices:
        values, codes = turned(rows)
        encoder.add(values, labels[rows], order[rows])
        trial.compare(codes, np.einsum("ij,ij->i", values, values), order[rows])
        yield Step("encode", 0.75 + 0.24 * rows.stop / n)
    ivf = IVF(
        dim=dim, space=space, rotation=rotation, mean=mean, centroids=centroids, start=start, permutation=permutation,
        coded=encoder.finish(), plain=plain,
    )  # fmt: skip
    ivf.dials = trial.dials(ivf, recall)
    yield Step("tune", 1.0)
    return ivf


def prepared(vectors: NDArray[Any], space: str, first: int = 0) -> Floats:
    """Vectors as float32, of unit length for "cosine" (zeros stay zero). `first` is the number of the first."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    bad = np.flatnonzero(~(squares < 3e38))
    if len(bad):
        raise NookError("bad-vector", f"Vector {first + bad[0]} is not made of finite numbers.", "Leave it out.")
    if space != "cosine":
        return vectors
    lengths = np.sqrt(np.where(squares > 0, squares, 1))[:, None].astype(np.float32)
    return np.asarray(vectors / lengths, np.float32)


def _spread(n: int, size: int, random: np.random.Generator) -> Sequence[slice]:
    """Short runs of rows, spread over all n, about `size` rows in total, in order."""
    run = 16
    runs = np.arange(0, n, run)
    picked = np.sort(random.permutation(len(runs))[: -(-size // run)])
    return [slice(int(runs[i]), min(int(runs[i]) + run, n)) for i in picked]
