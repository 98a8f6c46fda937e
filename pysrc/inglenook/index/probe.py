"""How inverted lists are asked: in C (wasm/codes.c) where that was built, and the same in numpy as its oracle."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import rabitq
from inglenook.index.codes import ADDRESS, INT, LONG, Floats, address, bind
from inglenook.index.inverted import SPACES, Inverted
from inglenook.index.kernel import Allow, Rows, Scores
from inglenook.index.kind import Pieces
from inglenook.index.rabitq import Bytes, Int32s

Exact = NDArray[np.floating] | None
Query = NDArray[np.floating]


class Effort(NamedTuple):
    """How to look: `want` candidates for `k` neighbours, in at most `most` lists, until `enough` rows were seen (of
    those allowed); `allow` (rows,) or None for all; rows that bounds rule out are dropped at `sure` (0: none)."""

    want: int
    k: int
    most: int = 0
    enough: int = 0
    allow: Allow | None = None
    sure: float = 0


class Probe(Protocol):
    """What `IVF` needs; see its methods."""

    @property
    def memory(self) -> int:
        """Bytes held to work in."""

    @property
    def looked(self) -> tuple[int, int]:
        """Lists looked into and rows seen by the last query."""

    def search(self, query: Query, effort: Effort, exact: Exact = None) -> tuple[Rows, Scores]:
        """The best rows, by the vectors `exact` where these are given."""

    def lists(self, query: Query, most: int, enough: int, opened: Int32s | None) -> Int32s:
        """The lists to look into; `opened` is how many rows of each are allowed."""

    def scan(self, query: Query, pieces: Pieces, effort: Effort) -> tuple[Rows, Scores]:
        """The best rows of some lists, whose blocks are given."""


def make(ivf: Inverted, slope: float, plain: bool = False) -> Probe:
    """The compiled one where there is one."""
    if plain or bind("nook_ivf_room", LONG, ADDRESS, INT, INT) is None:
        return Plain(ivf, slope)
    return Compiled(ivf, slope)


def bad_query() -> NookError:
    """The error for a query of other than finite numbers."""
    return NookError("bad-vector", "The query is not made of finite numbers.", "Embed the question again.")


class _Lists(ctypes.Structure):
    """`Lists` of wasm/codes.c."""

    _fields_ = (
        *((name, INT) for name in ("dim", "width", "rows", "lists", "space", "rounds", "half")),
        *((name, ctypes.c_float) for name in ("slope", "noise", "fine_noise", "bound")),
        *((name, ADDRESS) for name in ("mean", "signs", "centroids", "centres", "factors", "start", "first")),
        *((name, ADDRESS) for name in ("blocks", "fine", "exact")),
    )


class Compiled:
    """Asks C. Calls into numpy cost microseconds in the tab: addresses are computed once."""

    def __init__(self, ivf: Inverted, slope: float) -> None:
        three = [ADDRESS] * 3
        self._room = bind("nook_ivf_room", LONG, ADDRESS, INT, INT)
        self._search = bind("nook_ivf_search", INT, *three, INT, INT, INT, INT, *three)
        self._lists = bind("nook_ivf_lists", INT, *three, INT, INT, INT, INT, ADDRESS, ADDRESS)
        self._scan = bind("nook_ivf_scan", INT, *three, ADDRESS, INT, INT, INT, *three)
        self._estimates = bind("nook_ivf_estimates", None, ADDRESS, ADDRESS, INT, *three)
        coded = ivf.coded
        self._kept = (
            ivf.mean, ivf.rotation.signs, ivf.centroids.codes, ivf.centres, coded.factors, ivf.start, ivf.first,
            coded.blocks, coded.fine,
        )  # fmt: skip
        for array in self._kept:
            if array is not None and not array.flags.c_contiguous:
                raise ValueError("an index is made of contiguous arrays")
        self._view = _Lists(
            ivf.dim, ivf.rotation.width, ivf.ntotal, ivf.nlist, SPACES.index(ivf.space), len(ivf.rotation.signs), 0,
            slope, coded.noise, coded.fine_noise, 0, *map(address, self._kept), None,
        )  # fmt: skip
        self._at = ctypes.addressof(self._view)
        self._exact: Exact = None
        self._query = np.zeros(ivf.dim, np.float32)
        self._query_at = self._query.ctypes.data
        self._most = (0, 0)
        self._fit(max(ivf.dials.want, 128), 32)

    @property
    def looked(self) -> tuple[int, int]:
        lists, rows = self._counts.tolist()
        return lists, rows

    def search(self, query: Query, effort: Effort, exact: Exact = None) -> tuple[Rows, Scores]:
        want, k, most, enough, allow, sure = effort
        self._ready(query, want, k, sure)
        if exact is not self._exact:
            self._show(exact)
        at = None
        if allow is not None:
            allow = np.ascontiguousarray(allow, np.bool_)
            at = allow.ctypes.data
        places = self._at, self._arena, self._query_at
        found = self._search(*places, want, k, most, enough, at, self._rows_at, self._scores_at)  # type: ignore[misc]
        if found < 0:
            raise bad_query()
        return self._rows[:found].copy(), self._scores[:found].copy()

    def lists(self, query: Query, most: int, enough: int, opened: Int32s | None) -> Int32s:
        self._ready(query, 1, 1, 0)
        out = np.empty(min(most, self._view.lists), np.int32)
        places = self._at, self._arena, self._query_at
        found = self._lists(*places, 1, 1, len(out), enough, address(opened), address(out))  # type: ignore[misc]
        if found < 0:
            raise bad_query()
        return out[:found]

    def scan(self, query: Query, pieces: Pieces, effort: Effort) -> tuple[Rows, Scores]:
        want, k, _, _, allow, sure = effort
        self._ready(query, want, k, sure)
        self._show(None)
        places = self._at, self._arena
        if self._lists(*places, self._query_at, want, k, 0, 0, None, None) < 0:  # type: ignore[misc]
            raise bad_query()
        pages = (ctypes.c_char_p * len(pieces.pages))(*pieces.pages)  # where they are, without a copy
        blocks = np.frombuffer(memoryview(pages), np.uintp)[pieces.which] + pieces.offsets.astype(np.uintp)
        lists, allow = (
            np.ascontiguousarray(pieces.lists, np.int32),
            None if allow is None else np.ascontiguousarray(allow),
        )
        inputs, results = (address(blocks), address(lists)), (self._rows_at, self._scores_at)
        found = self._scan(*places, *inputs, len(lists), want, k, address(allow), *results)  # type: ignore[misc]
        return self._rows[:found].copy(), self._scores[:found].copy()

    def estimates(self, query: Query, number: int, blocks: Bytes) -> tuple[Floats, Floats]:
        """All estimates of a list's blocks (blocks, block_bytes), and how far they may be off for ε = 1."""
        self._ready(query, 1, 1, 0)
        self._lists(self._at, self._arena, self._query_at, 1, 1, 0, 0, None, None)  # type: ignore[misc]
        scores, errors = np.zeros((2, len(blocks) * rabitq.BLOCK), np.float32)
        self._estimates(self._at, self._arena, number, address(blocks), address(scores), address(errors))  # type: ignore[misc]
        return scores, errors

    def _show(self, exact: Exact) -> None:
        self._exact, self._view.exact = exact, address(exact)
        self._view.half = int(exact is not None and exact.itemsize == 2)

    def _ready(self, query: Query, want: int, k: int, sure: float) -> None:
        self._query[:] = query
        self._view.bound = sure
        self._fit(want, k)

    def _fit(self, want: int, k: int) -> None:
        if want > self._most[0] or k > self._most[1]:
            self._most = want, k = max(want, self._most[0]), max(k, self._most[1])
            room = np.zeros(self._room(self._at, want, k) + 64, np.uint8)  # type: ignore[misc]
            skip = -room.ctypes.data % 64
            self.memory = room.nbytes + 8 * want
            self._arena, self._held = room.ctypes.data + skip, room
            self._counts = room[skip : skip + 8].view(np.int32)
            self._rows, self._scores = np.empty(want, np.int32), np.empty(want, np.float32)
            self._rows_at, self._scores_at = self._rows.ctypes.data, self._scores.ctypes.data


class Plain:
    """Asks numpy."""

    def __init__(self, ivf: Inverted, slope: float) -> None:
        self._ivf, self._slope, self.looked, self.memory = ivf, slope, (0, 0), 0

    def search(self, query: Query, effort: Effort, exact: Exact = None) -> tuple[Rows, Scores]:
        ivf, allow, blocks = self._ivf, effort.allow, self._ivf.coded.blocks
        assert blocks is not None
        opened = None
        if allow is not None and ivf.ntotal:
            opened = np.add.reduceat(allow, ivf.start[:-1], dtype=np.int32)
        lists = self.lists(query, effort.most, effort.enough, opened)
        pieces = [blocks[ivf.first[number] : ivf.first[number + 1]] for number in lists]
        return self._among(query, lists, pieces, effort, exact)

    def lists(self, query: Query, most: int, enough: int, opened: Int32s | None) -> Int32s:
        ivf = self._ivf
        order = np.argsort(-self.promises(query), kind="stable")
        counts = np.diff(ivf.start) if opened is None else opened
        order = order[counts[order] > 0]
        before = np.cumsum(counts[order]) - counts[order]
        return np.asarray(order[before < enough][:most], np.int32)

    def promises(self, query: Query) -> Floats:
        """What the best row of each list could score; C looks at 8 bits of each of the query's numbers for this."""
        ivf, turned = self._ivf, self._turned(query)[1]
        inner = ivf.centroids.values @ turned
        reach = self._slope * self._apart(turned, inner) * ivf.centres[:, 3]
        return np.asarray((inner + reach) * (2 if ivf.space == "l2" else 1) + ivf.centres[:, 2], np.float32)

    def scan(self, query: Query, pieces: Pieces, effort: Effort) -> tuple[Rows, Scores]:
        wide, first = self._ivf.block_bytes, self._ivf.first
        blocks = [
            np.frombuffer(pieces.pages[n], np.uint8, (first[number + 1] - first[number]) * wide, offset).reshape(
                -1, wide
            )
            for number, n, offset in zip(pieces.lists.tolist(), pieces.which.tolist(), pieces.offsets.tolist())
        ]
        return self._among(query, pieces.lists, blocks, effort)

    def estimates(self, query: Query, number: int, blocks: Bytes) -> tuple[Floats, Floats]:
        """As `Compiled.estimates`."""
        ivf = self._ivf
        shift, turned, _ = self._turned(query)
        inner, width = ivf.centroids.values @ turned, ivf.rotation.width
        base = inner * 2 - ivf.centroids.squares if ivf.space == "l2" else inner
        error = ivf.coded.noise * self._apart(turned, inner)[number]
        scores, errors = rabitq.estimates(
            blocks, width, ivf.coded.factors[number], rabitq.tables(turned), (float(base[number]), float(error))
        )
        return scores + np.float32(shift), errors

    def _turned(self, query: NDArray[np.floating]) -> tuple[float, Floats, Floats]:
        """What centring took from every score, the query rotated, and as it is (of unit length for cosine)."""
        ivf = self._ivf
        asked = np.asarray(query, np.float32)
        square = float(asked.astype(np.float64) @ asked)
        if not square <= 3e38:
            raise bad_query()
        if ivf.space == "cosine" and square > 0:
            asked = asked * np.float32(1 / np.sqrt(square))
        turned = ivf.rotation.apply(asked[None], ivf.mean if ivf.space == "l2" else None, plain=True)[0]
        shift = square - float(turned @ turned) if ivf.space == "l2" else float(asked.astype(np.float64) @ ivf.mean)
        return shift, turned, asked

    def _apart(self, turned: Floats, inner: Floats) -> Floats:
        """Distances to the centroids."""
        apart: Floats = np.sqrt(np.maximum(turned @ turned - 2 * inner + self._ivf.centroids.squares, 0))
        return apart

    def _among(
        self, query: Query, lists: Int32s, pieces: Iterable[Bytes], effort: Effort, exact: Exact = None
    ) -> tuple[Rows, Scores]:
        want, k, _, _, allow, sure = effort
        ivf, coded = self._ivf, self._ivf.coded
        shift, turned, asked = self._turned(query)
        found: list[tuple[Any, ...]] = []
        for number, piece in zip(lists.tolist(), pieces):
            begin, end = ivf.start[number], ivf.start[number + 1]
            scores, errors = (column[: end - begin] for column in self.estimates(query, number, piece))
            rows = np.arange(begin, end, dtype=np.int32)
            keep = slice(None) if allow is None else allow[begin:end]
            found.append((rows[keep], scores[keep], errors[keep], np.full(end - begin, number)[keep]))
        nothing = tuple(np.zeros(0, kind) for kind in (np.int32, np.float32, np.float32, np.int32))
        rows, scores, errors, owners = (np.concatenate(column) for column in zip(nothing, *found))
        self.looked = len(lists), len(rows)
        best = np.lexsort((rows, -scores))[:want]
        rows, scores, errors, owners = rows[best], scores[best].astype(np.float32), errors[best], owners[best]
        if coded.fine is not None and len(rows):
            inner = ivf.centroids.values @ turned
            base = (inner * 2 - ivf.centroids.squares if ivf.space == "l2" else inner)[owners] + np.float32(shift)
            scores = rabitq.fine_scores(coded.fine[rows], ivf.rotation.width, coded.factors[owners], turned, base)
            errors = errors * np.float32(coded.fine_noise / coded.noise if coded.noise else 0)
        if sure > 0 and len(rows) > k:
            limit = np.partition(scores - sure * errors, -k)[-k]
            keep = scores + sure * errors >= limit
            rows, scores = rows[keep], scores[keep]
        if exact is not None:
            vectors = exact[rows].astype(np.float32)
            if ivf.space == "cosine" and exact.dtype == np.float16:  # only about as long as they should be
                lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                vectors /= np.where(lengths > 0, lengths, 1)
            scores = -((vectors - asked) ** 2).sum(1) if ivf.space == "l2" else vectors @ asked
        order = np.lexsort((rows, -scores))[: k if exact is not None else None]
        return rows[order].astype(np.int32), scores[order].astype(np.float32)
