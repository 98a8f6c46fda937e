"""What a segment needs of an index kind: which rows are likely, and the arrays that say so after a reload.

A kind never sees exact vectors at query time: *codes steer*, the collection fetches the best rows' vectors in one
batch and confirms them. `flat` scans int8 codes and proves what it leaves out; `ivf` and `hnsw` promise nothing but a
recall. A kind may order the rows as it likes, so that near rows lie near in storage: `order` tells.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.form import Form

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]
Vectors = NDArray[np.float32]
Allow = NDArray[np.bool_]
Arrays = dict[str, NDArray[np.generic]]

NOTHING = float("-inf")
MODULES = {"flat": "linear", "ivf": "lists", "hnsw": "network", "webanns": "paper"}
"""The module of each kind."""
GOES_ON = ("ivf",)
"""Kinds whose builds can be taken up again."""


class Found(NamedTuple):
    """Candidates: `rows` and their `scores` as codes tell them (upper bounds where the kind proves). `ceiling` is a
    bound of every other allowed row's score; NOTHING (-inf) where the kind proves none."""

    rows: Rows
    scores: Scores
    ceiling: float = NOTHING


class Kind(Protocol):
    """Rows 0 … count - 1 of one segment, or of the head. `exact`: its scores are bounds, its ceilings are proven."""

    exact: bool

    @property
    def count(self) -> int:
        """Rows."""

    @property
    def memory(self) -> int:
        """Bytes held."""

    def candidates(
        self, query: Vectors, want: int, *, k: int = 10, allow: Allow | None = None, effort: int = 0
    ) -> Found:
        """About `want` rows that may be among the `k` with the highest scores. `allow` (count,) by row. `effort` is
        what the kind calls nprobe or ef; 0: as it thinks best."""

    def arrays(self) -> Arrays:
        """What has to be stored. Large arrays have a row per row, or per block of rows."""


class Pieces(NamedTuple):
    """Codes of some lists: those of lists[i] begin at byte offsets[i] of pages[which[i]]."""

    lists: Rows
    pages: Sequence[bytes]
    which: NDArray[np.integer]
    offsets: NDArray[np.int64]


@runtime_checkable
class Confirming(Protocol):
    """A kind that confirms its candidates itself, once vectors (count, dim) are attached to it."""

    def attach(self, vectors: Vectors) -> None: ...

    def nearest(
        self, query: Vectors, k: int, want: int, *, allow: Allow | None = None, effort: int = 0
    ) -> tuple[Rows, Scores]:
        """The k + 1 nearest rows of a query (dim,), of whatever length, among `want` candidates or more, and exact
        scores, best first, equal ones by row. NookError("bad-vector")."""


@runtime_checkable
class Listed(Protocol):
    """A kind whose codes lie in lists (its array "blocks"), so that a query can do with those of some of them."""

    @property
    def paged(self) -> bool:
        """Whether the codes are in storage: then a query asks `lists`, has their codes read, and asks `among`."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where in the codes each list begins, in bytes, and at last where they end."""

    @property
    def starts(self) -> NDArray[np.int32]:
        """The first row of each list, and at last how many rows there are."""

    def lists(self, query: Vectors, *, k: int = 10, allow: Allow | None = None, effort: int = 0) -> Rows:
        """The lists that a query looks into, most promising first."""

    def among(self, query: Vectors, want: int, pieces: Pieces, *, k: int = 10, allow: Allow | None = None) -> Found:
        """`Kind.candidates` among some lists."""


class Built(NamedTuple):
    """A kind and its order: row i of the kind is row order[i] of what it was built from; None: the same."""

    kind: Kind
    order: NDArray[np.integer] | None


Steps = Generator[tuple[float, float], None, Built]
"""A build that can be stopped between steps: yields (done, total) and returns what was built."""


class _Module(Protocol):
    """A module that makes a kind."""

    def build(self, form: Form, vectors: Vectors, options: Mapping[str, int]) -> Steps: ...
    def load(self, form: Form, arrays: Arrays) -> Kind: ...


def build(
    name: str, form: Form, vectors: Vectors, options: Mapping[str, int] | None = None, state: Arrays | None = None
) -> Steps:
    """Build the kind `name` of vectors (n, dim), as `Form.floats` gives them. A kind of GOES_ON fills `state` with what
    it knows, and goes on from there when it is given it again."""
    if state is not None and name in GOES_ON:
        return cast(Any, _module(name)).build(form, vectors, options or {}, state)  # type: ignore[no-any-return]
    return _module(name).build(form, vectors, options or {})


def load(name: str, form: Form, arrays: Arrays) -> Kind:
    """The kind `name` from what `arrays` gave. NookError("corrupt")."""
    module = _module(name)
    try:
        return module.load(form, arrays)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        message = f"The parts of an index of the kind {name} do not fit together ({error})."
        raise NookError("corrupt", message, "What can be read is still searched.") from None


def _module(name: str) -> _Module:
    if name not in MODULES:
        raise NookError("bad-kind", f"There is no index kind {name!r}.", f"Kinds are {', '.join(MODULES)}.")
    return cast(_Module, import_module(f"inglenook.index.{MODULES[name]}"))
