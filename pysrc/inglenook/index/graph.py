"""The arrays of a graph of near neighbours (HNSW, 1603.09320) over int8 codes: what is stored, checked and grown.

    codes    int8 (n, stride)   the vectors' codes (`index.quantise`)
    facts    FACT (n,)          what makes scores of codes; the twin: the next row with the same code, not in the graph
    levels   uint8 (n,)         the highest level of each row
    places   int32 (n,)         a row's first list in `upper`: the sum of the levels before it
    links    int32 (n, 2m)      level 0: rows, from the front, ended by -1
    upper    int32 (sum, m)     levels 1, 2, …: `levels[row]` lists from `places[row]` on
    centre   float32 (dim,)     what was taken from the vectors before they became codes

Rows up to `count` have codes; those up to `linked` are in the graph. What is between waits to be put in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.quantise import Codes, stride

SPACES = ("ip", "cosine", "l2")
FACT = np.dtype([("scale", "<f4"), ("bias", "<f4"), ("shift", "<i4"), ("twin", "<i4")])
FORMAT = 1
MOST_LINKS = 100
"""The largest M: the kernel has room for lists of 2M + 1 rows."""
MOST_EFFORT = 1 << 20
LEVELS = 15
_HEAD = ("format", "space", "m", "effort", "seed", "dim", "count", "linked", "entry")

Links = NDArray[np.int32]


ADDRESSES = (
    "codes", "facts", "centre", "levels", "places", "links", "upper",  # the arrays
    "seen", "pool", "heap", "code",  # the notes of walks
)  # fmt: skip


class Layout(ctypes.Structure):
    """`Graph` of wasm/near.h."""

    _fields_ = [(name, ctypes.c_int32) for name in ("stride", "dim", "space", "m", "effort", "linked", "entry", "top")]
    _fields_ += [(name, ctypes.c_void_p) for name in ADDRESSES]
    _fields_ += [(name, ctypes.c_float) for name in ("code_scale", "offset")]


class Graph:
    """The arrays, and nothing that walks them."""

    def __init__(self, dim: int, space: str, m: int, effort: int, seed: int) -> None:
        if space not in SPACES:
            raise ValueError(f"space is one of {', '.join(SPACES)}, not {space!r}")
        if not (2 <= m <= MOST_LINKS and 1 <= effort <= MOST_EFFORT and dim >= 1):
            raise ValueError(f"M lies in 2…{MOST_LINKS}, ef_construction and dim are positive")
        self.dim, self.space, self.m, self.effort, self.seed = dim, space, m, effort, seed
        self.count = self.linked = 0
        self.version = 0  # another one after each change: of the arrays, of what is linked
        self.entry = self.top = -1
        self.centre = np.zeros(dim, np.float32)
        self.lists = 0  # lists of `upper` in use
        self.codes = np.empty((0, stride(dim)), np.int8)
        self.facts = np.empty(0, FACT)
        self.levels, self.places = np.empty(0, np.uint8), np.empty(0, np.int32)
        self.links, self.upper = np.empty((0, 2 * m), np.int32), np.empty((0, m), np.int32)

    @property
    def memory(self) -> int:
        """Bytes held, room to grow included."""
        parts = (self.codes, self.facts, self.levels, self.places, self.links, self.upper, self.centre)
        return sum(part.nbytes for part in parts)

    def lists_of(self, row: int, level: int) -> Links:
        """The list of a row on a level, its -1s included; a view."""
        lists: Links = self.upper[self.places[row] + level - 1] if level else self.links[row]
        return lists

    def append(self, given: Coded, levels: NDArray[np.uint8] | None = None) -> NDArray[np.int32]:
        """Room for more rows, with their codes and facts; not in the graph yet. Returns the rows.

        Their levels are drawn, unless they are given.
        """
        codes, bias = given
        first, more = self.count, len(bias)
        rows = np.arange(first, first + more)
        levels = draw(rows, self.seed, self.m) if levels is None else levels
        self.reserve(first + more, self.lists + int(levels.sum(dtype=np.int64)))
        self.codes[rows] = codes.codes
        facts = self.facts[first : first + more]
        facts["scale"], facts["bias"], facts["twin"] = codes.scale, bias, -1
        facts["shift"] = 255 * codes.codes.sum(axis=1, dtype=np.int32)
        self.levels[rows] = levels
        self.places[rows] = self.lists + np.cumsum(levels, dtype=np.int32) - levels
        self.count += more
        self.version += 1
        self.lists += int(levels.sum(dtype=np.int64))
        return rows.astype(np.int32)

    def reserve(self, rows: int, lists: int = 0) -> None:
        """Room for so many rows and lists of upper levels; both keep what they hold."""
        self.version += 1
        if rows > len(self.codes):
            room = max(rows, len(self.codes) * 3 // 2)
            for name in ("codes", "facts", "levels", "places", "links"):
                setattr(self, name, _grown(getattr(self, name), self.count, room))
        if lists > len(self.upper):
            self.upper = _grown(self.upper, self.lists, max(lists, len(self.upper) * 3 // 2))

    def own(self) -> None:
        """Make the arrays that linking changes writable; read from a file, they may not be."""
        self.version += 1
        for name in ("facts", "links", "upper"):
            if not getattr(self, name).flags.writeable:
                setattr(self, name, getattr(self, name).copy())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file holds; little-endian. Views: copy what must outlast the next change."""
        said = (FORMAT, SPACES.index(self.space), self.m, self.effort, self.seed, self.dim, self.count, self.linked)
        n = self.count
        return {
            "head": np.array([*said, self.entry], "<i8"),
            "codes": self.codes[:n], "facts": self.facts[:n], "levels": self.levels[:n],
            "links": self.links[:n], "upper": self.upper[: self.lists], "centre": self.centre,
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Graph:
        """A graph as `arrays` told it; the arrays are used as they are. NookError("corrupt") if they do not fit."""
        try:
            said = dict(zip(_HEAD, (int(value) for value in arrays["head"]), strict=True))
            if said["format"] != FORMAT:
                raise corrupt(f"its format is {said['format']}, not {FORMAT}")
            if said["dim"] != len(arrays["centre"]) or said["space"] < 0:
                raise corrupt("its head does not fit its parts")
            made = cls(said["dim"], SPACES[said["space"]], said["m"], said["effort"], said["seed"])
            made.count, made.linked, made.entry = said["count"], said["linked"], said["entry"]
            for name in ("codes", "facts", "levels", "links", "upper", "centre"):
                kept, given = getattr(made, name), arrays[name]
                if given.dtype != kept.dtype or given.shape[1:] != kept.shape[1:]:
                    raise corrupt(f"{name} have another shape")
                setattr(made, name, np.ascontiguousarray(given))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise corrupt(f"its parts do not fit together ({error})") from None
        made.places = np.cumsum(made.levels, dtype=np.int32) - made.levels
        made.lists = int(made.levels.sum(dtype=np.int64))
        made.check()
        return made

    def _finite(self) -> bool:
        return all(bool(np.isfinite(part).all()) for part in (self.facts["scale"], self.facts["bias"], self.centre))

    def check(self) -> None:
        """NookError("corrupt") unless every number a walk goes by is where it may be; the kernel trusts them."""
        n, linked = self.count, self.linked
        sizes = {len(part) for part in (self.codes, self.facts, self.levels, self.links)}
        if sizes != {n} or not 0 <= linked <= n or len(self.upper) != self.lists or len(self.centre) != self.dim:
            raise corrupt("its parts have different lengths")
        if (self.entry < 0) != (linked == 0) or self.entry >= linked or self.levels.max(initial=0) > LEVELS:
            raise corrupt("its entry or its levels are wrong")
        twins = self.facts["twin"]
        wrong = [part.size and (part.min() < -1 or part.max() >= linked) for part in (self.links, self.upper, twins)]
        if any(wrong) or (self.links[linked:] != -1).any() or not self._finite():
            raise corrupt("a link leads nowhere")
        chained = twins[twins >= 0]
        if len(np.unique(chained)) != len(chained) or _cycles(twins):
            raise corrupt("its twins form a circle")
        depth = np.arange(self.lists) - np.repeat(self.places, self.levels) + 1
        if (self.levels[self.upper] < depth[:, None])[self.upper >= 0].any():
            raise corrupt("a link leads to a level that is not there")
        self.top = int(self.levels[self.entry]) if linked else -1
        if linked and self.top < self.levels[:linked].max() and (self.upper[depth > self.top] >= 0).any():
            raise corrupt("its entry is not on the highest level")


def draw(rows: NDArray[np.integer], seed: int, m: int) -> NDArray[np.uint8]:
    """The level of each row: l or more with probability m^-l (section 4.1), by a hash of seed and row (SplitMix64)."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64) + np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    levels = np.zeros(len(rows), np.uint8)
    for level in range(1, LEVELS + 1):
        levels += x < np.uint64(2**64 // m**level)
    return levels


class Coded(NamedTuple):
    """Vectors as a graph takes them: their codes and what each score has beside the product of codes, float32 (n,)."""

    codes: Codes
    bias: NDArray[np.float32]


def coded(vectors: NDArray[np.float32], codes: Codes, centre: NDArray[np.float32], space: str) -> Coded:
    """Of vectors (n, dim) that the centre was taken from. l2: -|x|² of the code, which makes distances those of codes
    among each other; else centre·x of the vector, so that a code's error counts only against the other's difference."""
    if space != "l2":
        return Coded(codes, np.einsum("ij,j->i", vectors, centre))
    lengths = np.einsum("ij,ij->i", codes.codes, codes.codes, dtype=np.int32)
    return Coded(codes, -(codes.scale * codes.scale * lengths.astype(np.float32)))


def corrupt(why: str) -> NookError:
    """A stored graph that must not be walked."""
    return NookError("corrupt", f"A stored graph is damaged: {why}.", "Build the index again, or use a copy of it.")


def _cycles(twins: Links) -> bool:
    """No row is named twice, so a chain that never ends is one that nobody outside of it names."""
    rows = np.arange(len(twins), dtype=np.int32)
    named = np.zeros(len(twins), bool)
    named[twins[twins >= 0]] = True
    heads, reached = rows[~named], 0
    while len(heads):
        reached += len(heads)
        heads = twins[heads]
        heads = heads[heads >= 0]
    return reached != len(twins)


def _grown(part: NDArray[Any], used: int, room: int) -> NDArray[Any]:
    new = np.full((room, *part.shape[1:]), -1, part.dtype) if part.dtype == np.int32 else _empty(room, part)
    new[:used] = part[:used]
    return cast("NDArray[Any]", new)


def _empty(room: int, part: NDArray[Any]) -> NDArray[Any]:
    return np.empty((room, *part.shape[1:]), part.dtype)
