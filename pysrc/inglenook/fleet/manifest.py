"""Sums of a file's chunks, so that what is fetched in pieces is checked in pieces.

manifest = Manifest.of(path)                     # once, where the weights are kept
for index in manifest.covering(place.start, place.end):
    start, end = manifest.bounds(index)           # fetch these bytes, then
    manifest.check(index, data)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from inglenook.depth import parse
from inglenook.errors import NookError

CHUNK = 4 << 20
"""Bytes of a chunk, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`file` has `size` bytes; chunk i, of `chunk` bytes but for the last, has the SHA-256 `sums[i]` (hexadecimal)."""

    file: str
    size: int
    chunk: int
    sums: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, chunk: int = CHUNK) -> Manifest:
        """Read a file and sum its chunks."""
        sums = []
        with path.open("rb") as file:
            while data := file.read(chunk):
                sums.append(hashlib.sha256(data).hexdigest())
        return cls(path.name, path.stat().st_size, chunk, tuple(sums))

    @classmethod
    def parse(cls, text: str | bytes) -> Manifest:
        """The manifest in `text`. Raises NookError("model-corrupt")."""
        try:
            said = parse(text)
            made = cls(str(said["file"]), int(said["size"]), int(said["chunk"]), tuple(map(str, said["sums"])))
            if made.chunk < 1 or len(made.sums) != -(-made.size // made.chunk):
                raise ValueError("the wrong number of chunks")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise NookError("model-corrupt", "The list of a model's chunks is damaged.", "Convert it again.") from error
        return made

    def json(self) -> str:
        """What `parse` reads."""
        return json.dumps(dataclasses.asdict(self))

    def bounds(self, index: int) -> tuple[int, int]:
        """The bytes of a chunk: from, to."""
        return index * self.chunk, min(self.size, (index + 1) * self.chunk)

    def covering(self, start: int, end: int) -> range:
        """The chunks that hold the bytes from `start` to `end`."""
        return range(start // self.chunk, -(-end // self.chunk)) if end > start else range(0)

    def check(self, index: int, data: bytes | memoryview) -> None:
        """Raises NookError("model-corrupt") if `data` is not that chunk."""
        if hashlib.sha256(data).hexdigest() != self.sums[index]:
            message = f"Chunk {index} of {self.file} is not what it should be: {len(data)} bytes of another sum."
            raise NookError("model-corrupt", message, "Fetch it again, from another place if that goes on.")

    def verify(self, path: Path) -> None:
        """Check a whole file. Raises NookError("model-missing" | "model-corrupt")."""
        if not path.is_file():
            raise NookError("model-missing", f"There is no {path.name} at {path.parent}.", "Fetch it again.")
        if path.stat().st_size != self.size:
            message = f"{path.name} has {path.stat().st_size} bytes, not {self.size}."
            raise NookError("model-corrupt", message, "Fetch it again.")
        with path.open("rb") as file:
            for index in range(len(self.sums)):
                self.check(index, file.read(self.chunk))
