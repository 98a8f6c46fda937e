"""Pages: what a nook is made of. A page is sealed bytes under a key; a store is a map of them and knows no more.

    meta            the nook's name (JSON)
    d/<document>    its card, page offsets and chunk table (JSON)
    x/<document>/n  its text from character n · PIECE on (UTF-8, deflated): a passage is read without the whole text
    l/<document>    its postings (`search.lexical`)
    v/<document>    its vectors and the name of the space they are in, or where else they are
    s/<document>    the bytes of the file
    t/<what>        what holds for this device only, such as how fast it is; it stays behind when the nook leaves it

A sealed page is magic (4 bytes), format version (u16), flags (u16, 0), CRC-32 of all but magic and itself (u32), then
the payload; all numbers little-endian. The version is the one of the writer. Where an old page differs from today's, a
function in MIGRATIONS brings it forward; `migrate` does so for a whole nook in one commit when it is opened.

Errors: NookError("corrupt" | "newer-format", …).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.flow import Flow, Scan
from inglenook.index.entry import Entry, Table, integers, pack
from inglenook.wire.messages import Card

FORMAT = 4
META = "meta"
DEVICE = "t/"

PIECE = 8192
"""Characters of text in a page. Half as many would cost an eighth more bytes, twice as many twice the inflating."""

LONGEST = 1 << 29
"""Bytes of the longest text that is inflated; more is a bomb."""

_MAGIC = b"nkpg"
_HEAD = struct.Struct("<4sHHI")
_VECTORS = struct.Struct("<BBHII")  # bytes per number, 0, length of the space's name, vectors, dimensions
_ELSEWHERE = struct.Struct("<q")  # the first id in the live index; bytes per number and dimensions are 0 then


# ── sealing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def seal(payload: bytes, version: int | None = None) -> bytes:
    """A page that can be checked when it is read, in today's format unless `version` says another."""
    version = FORMAT if version is None else version
    crc = zlib.crc32(payload, zlib.crc32(struct.pack("<HH", version, 0)))
    return _HEAD.pack(_MAGIC, version, 0, crc) + payload


def unseal(page: bytes) -> bytes:
    """The payload of a page, as its writer's version laid it out."""
    stamp(page)
    _, _, _, crc = _HEAD.unpack_from(page)
    if zlib.crc32(page[_HEAD.size :], zlib.crc32(page[4:8])) != crc:
        raise _corrupt("its checksum is wrong")
    return page[_HEAD.size :]


def stamp(page: bytes) -> int:
    """The format version of a page."""
    if len(page) < _HEAD.size or page[:4] != _MAGIC:
        raise _corrupt("it does not begin as a page does")
    version: int = _HEAD.unpack_from(page)[1]
    if version > FORMAT:
        message = f"This nook was written by a newer Inglenook (format {version}; this one reads up to {FORMAT})."
        raise NookError("newer-format", message, "Reload the page, or update Inglenook, and open it again.")
    return version


def _corrupt(why: str) -> NookError:
    hint = "Add the files again, or import a copy that was exported earlier."
    return NookError("corrupt", f"A stored page is damaged: {why}.", hint)


# ── migration ─────────────────────────────────────────────────────────────────────────────────────────────────────


Payloads = dict[str, bytes]  # by key


def _name_to_json(old: Payloads) -> Payloads:
    """Format 1 kept the bare name in the meta page; since format 2 it is JSON, which has room for more."""
    return {key: _dumps({"name": payload.decode()}) for key, payload in old.items()}


def _text_in_pieces(old: Payloads) -> Payloads:
    """Format 2 kept each text in one page; since format 3 it is in pieces, and the document's page tells its length."""
    new: Payloads = {}
    for key, payload in old.items():
        kind, document = key.split("/", 1)
        if kind == "d":
            deflated = old.get(f"x/{document}")
            plain = "" if deflated is None else _inflated(deflated, LONGEST)
            new[key] = _dumps({**_loads(payload), "length": len(plain)})
            new |= dict(_pieces(document, plain))
    return new


MIGRATIONS: dict[int, tuple[tuple[str, ...], Callable[[Payloads], Payloads]]] = {
    1: ((META,), _name_to_json),
    2: (("d", "x"), _text_in_pieces),
}
"""Version → the kinds of pages that the next one has otherwise, and the function that takes them all to it."""


def upgrade(pages: Mapping[str, bytes]) -> dict[str, bytes]:
    """All pages in today's format."""
    found = {key: (stamp(page), page) for key, page in pages.items()}
    same = {key: page for key, (version, page) in found.items() if version == FORMAT}
    old = {key: (version, unseal(page)) for key, (version, page) in found.items() if version < FORMAT}
    for step, (kinds, change) in sorted(MIGRATIONS.items()):
        mine = {k: payload for k, (version, payload) in old.items() if version <= step and _kind(k) in kinds}
        for key in mine:
            del old[key]
        old |= {key: (step + 1, payload) for key, payload in change(mine).items()}
    return same | {key: seal(payload) for key, (_, payload) in old.items()}


def migrate(meta: bytes) -> Flow:
    """Bring an opened nook forward. Returns (puts, deletes): one commit that does it; both empty if it is current.

    The meta page carries the version of the nook: it is rewritten by the same commit, so a migration that is cut off
    begins anew.
    """
    version = stamp(meta)
    if version == FORMAT:
        return {}, []
    old = {META: meta}
    for kind in sorted({kind for step, (kinds, _) in MIGRATIONS.items() if step >= version for kind in kinds}):
        old |= (yield Scan(f"{kind}/")) if kind != META else {}
    puts = upgrade(old)
    return puts, sorted(old.keys() - puts.keys())


def _kind(key: str) -> str:
    return key.split("/", 1)[0]


# ── what the pages hold ───────────────────────────────────────────────────────────────────────────────────────────


def meta(name: str) -> bytes:
    """The page `meta`."""
    return seal(_dumps({"name": name}))


def read_meta(page: bytes) -> str:
    """The nook's name."""
    name = _loads(unseal(page)).get("name")
    if not isinstance(name, str):
        raise _corrupt("the nook has no name")
    return name


def document(entry: Entry) -> bytes:
    """The page `d/`: everything of an entry but its place in memory."""
    steps = [offset - before for offset, before in zip(entry.pages, [0, *entry.pages])]
    return seal(
        _dumps(
            {
                "card": asdict(entry.card),
                "digest": entry.digest,
                "length": entry.length,
                "pages": steps,
                "chunks": pack(entry.chunks),
            }
        )
    )


def read_document(page: bytes) -> Entry:
    """An entry, its passages made as they are asked for."""
    content = _loads(unseal(page))
    try:
        offsets, [length] = list(accumulate(integers(content["pages"]))), integers([content["length"]])
        if not 0 <= length <= LONGEST:
            raise ValueError("length")
        return Entry(_card(content["card"]), str(content["digest"]), offsets, Table(content["chunks"]), length)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _corrupt(f"its contents do not fit together ({error})") from None


def keys(entry: Entry) -> list[str]:
    """The keys of all pages that a document may have."""
    document = entry.card.document
    return [*(f"{kind}/{document}" for kind in "dlvs"), *text_keys(document, 0, entry.length)]


def text_keys(document: str, start: int, end: int) -> list[str]:
    """The keys of the pages that hold the characters `start` to `end` of a document's text; at least one."""
    return [f"x/{document}/{n}" for n in range(start // PIECE, max(start, end - 1) // PIECE + 1)]


def text(document: str, plain: str) -> dict[str, bytes]:
    """The pages `x/` by key. Lone surrogates, which files have been seen to hold, survive."""
    return dict(texts(document, plain))


def texts(document: str, plain: str) -> Iterator[tuple[str, bytes]]:
    """The same, one after the other."""
    return ((key, seal(payload)) for key, payload in _pieces(document, plain))


def read_text(page: bytes) -> str:
    """A piece of a text."""
    return _inflated(unseal(page), 4 * PIECE)


def _pieces(document: str, plain: str) -> Iterator[tuple[str, bytes]]:
    keys = text_keys(document, 0, len(plain))
    pieces = (plain[i * PIECE : (i + 1) * PIECE].encode("utf-8", "surrogatepass") for i in range(len(keys)))
    return ((key, zlib.compress(piece, 6)) for key, piece in zip(keys, pieces, strict=True))


def _inflated(payload: bytes, most: int) -> str:
    """The text of a deflated payload, of at most so many bytes."""
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(payload, most)
        if not inflate.eof:
            raise _corrupt("its text is cut off or far too long")
        return plain.decode("utf-8", "surrogatepass")
    except (zlib.error, UnicodeDecodeError) as error:
        raise _corrupt(f"its text cannot be read ({error})") from None


def vectors(space: str, rows: NDArray[np.floating]) -> bytes:
    """The page `v/`: rows (n, dim) in half precision, or in single where half cannot hold them.

    Half precision costs nothing in recall on unit vectors (tests/engine/test_pages.py measures it).
    """
    with np.errstate(over="ignore"):
        half = np.asarray(rows, "<f2")
    kept = half if np.isfinite(half).all() else np.asarray(rows, "<f4")
    name = space.encode()
    return seal(_VECTORS.pack(kept.itemsize, 0, len(name), *kept.shape) + name + kept.tobytes())


def read_vectors(page: bytes) -> tuple[str, NDArray[np.float32]]:
    """The space and float32 rows (n, dim)."""
    payload = unseal(page)
    try:
        width, _, length, n, dim = _VECTORS.unpack_from(payload)
        start = _VECTORS.size + length
        kind = {2: "<f2", 4: "<f4"}[width]
        rows = np.frombuffer(payload, kind, offset=start).reshape(n, dim).astype(np.float32)
        return payload[_VECTORS.size : start].decode(), rows
    except (struct.error, KeyError, ValueError) as error:
        raise _corrupt(f"its vectors cannot be read ({error})") from None


class Elsewhere(NamedTuple):
    """Where the vectors of a document are that its page `v/` does not hold: `rows` in the live index, from the id
    `first` on (since format 4)."""

    space: str
    first: int
    rows: int


def moved(place: Elsewhere) -> bytes:
    """The page `v/` of a document whose vectors are elsewhere."""
    name = place.space.encode()
    return seal(_VECTORS.pack(0, 0, len(name), place.rows, 0) + name + _ELSEWHERE.pack(place.first))


def elsewhere(page: bytes) -> Elsewhere | None:
    """Where the vectors of a page `v/` are; None where they are in it."""
    stamp(page)
    if page[_HEAD.size : _HEAD.size + 1] != b"\0":
        return None
    payload = unseal(page)
    try:
        _, _, length, rows, _ = _VECTORS.unpack_from(payload)
        (first,) = _ELSEWHERE.unpack(payload[_VECTORS.size + length :])
        return Elsewhere(payload[_VECTORS.size : _VECTORS.size + length].decode(), first, rows)
    except (struct.error, ValueError) as error:
        raise _corrupt(f"it does not tell where its vectors are ({error})") from None


_FIELDS = [(field.name, {"str": str, "int": int, "float": float}[str(field.type)]) for field in fields(Card)]


def _card(values: object) -> Card:
    if not isinstance(values, dict):
        raise TypeError("no card")
    for name, kind in _FIELDS:
        if type(values[name]) is not kind and not (kind is float and type(values[name]) is int):
            raise TypeError(f"{name} of the card")
    return Card(**values)


def _dumps(content: dict[str, object]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode()


def _loads(payload: bytes) -> dict[str, object]:
    try:
        content = parse(payload)
    except ValueError as error:
        raise _corrupt(f"it is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise _corrupt("it holds no object")
    return content
