"""What a collection consists of: one small page, switched by one commit, and the keys of all the others.

i/<collection>/manifest         this page, twice: `manifest` and `mirror`, so that no single byte takes it away
i/<collection>/w/<n>            write-ahead batches (`index/journal.py`)
i/<collection>/t/<segment>      which rows of a segment are dead: a bit each
i/<collection>/draft            how far a large build is, until it is done
i/<collection>/taken            how far streams are (`index/stream.py`)
i/<collection>/<segment>/…      pages of a segment (`index/segment.py`), or of a run of metadata
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from inglenook.errors import NookError
from inglenook.index import pages
from inglenook.index.form import Form

VERSION = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A segment: `count` rows of the index kind `kind`, `per` in a page of vectors; how many pages of each sort it has;
    `born`: the last write-ahead batch that it already knows of; `dead`: whether it has a page of dead rows. While it is
    written: `draft`, the mark of the build (`index/draft.py`), and `turn`, which no two writers have in common."""

    name: str
    kind: str
    count: int
    per: int
    ids: int
    codes: int
    graph: int
    vectors: int
    born: int
    dead: bool = False
    draft: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Pages of metadata (`index/attributes.py`): how many records and pages, and the last batch that is in it."""

    name: str
    rows: int
    pages: int
    born: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`log` is the number of the first write-ahead batch that counts, `cut` that of the last whose deletions can no
    longer be taken back, `next` that of the next segment. `pending` are segments that are being written: where their
    writer died, their pages are garbage."""

    form: Form
    generation: int = 0
    log: int = 0
    cut: int = 0
    next: int = 0
    parts: tuple[Part, ...] = ()
    pending: tuple[Part, ...] = ()
    kind: str = ""
    """The index kind that was asked for, "" where the planner chooses."""
    options: dict[str, int] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    """Metadata: a run of all of it, and one of what was told since."""

    def switched(self, **changes: object) -> Manifest:
        """The next generation."""
        return replace(self, generation=self.generation + 1, **changes)  # type: ignore[arg-type]

    def page(self) -> bytes:
        content = asdict(self) | {"version": VERSION}
        return pages.seal(json.dumps(content, separators=(",", ":")).encode())


def read(page: bytes) -> Manifest:
    """NookError("corrupt" | "newer-format")."""
    try:
        content = json.loads(pages.unseal(page))
        if content.pop("version") > VERSION:
            message = "This index was written by a newer Inglenook."
            raise NookError("newer-format", message, "Reload the page, or update Inglenook, and open it again.")
        form = Form(**content.pop("form"))
        parts, pending = (tuple(Part(**part) for part in content.pop(name)) for name in ("parts", "pending"))
        runs = tuple(Run(**run) for run in content.pop("runs", ()))
        return Manifest(form=form, parts=parts, pending=pending, runs=runs, **content)
    except (ValueError, TypeError, KeyError) as error:
        hint = "Build the index again, or use a copy of it."
        raise NookError("corrupt", f"The manifest of an index is damaged: {error}.", hint) from None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a collection."""

    collection: str

    def __post_init__(self) -> None:
        if not self.collection or not self.collection.isprintable() or "/" in self.collection:
            message = f"{self.collection!r} cannot be the name of an index."
            raise NookError("bad-name", message, "Use letters, digits and spaces.")

    @property
    def manifest(self) -> str:
        return f"i/{self.collection}/manifest"

    @property
    def mirror(self) -> str:
        return f"i/{self.collection}/mirror"

    @property
    def log(self) -> str:
        """What the keys of write-ahead batches begin with."""
        return f"i/{self.collection}/w/"

    def batch(self, number: int) -> str:
        return f"i/{self.collection}/w/{number:08x}"

    @property
    def draft(self) -> str:
        """What a build that was stopped has left (`index/draft.py`)."""
        return f"i/{self.collection}/draft"

    @property
    def taken(self) -> str:
        """How far streams are (`index/stream.py`)."""
        return f"i/{self.collection}/taken"

    def dead(self, segment: str) -> str:
        return f"i/{self.collection}/t/{segment}"

    def of(self, segment: str, sort: str, number: int | None = None) -> str:
        """A page of a segment; numbers are hexadecimal, so that neighbours in order are neighbours in a file."""
        return f"i/{self.collection}/{segment}/{sort}" + ("" if number is None else f"/{number:06x}")

    def run(self, run: Run) -> Iterator[str]:
        """The pages of a run of metadata."""
        return (self.of(run.name, "attributes", n) for n in range(run.pages))

    def all(self, part: Part) -> Iterator[str]:
        """Every page that a segment may have."""
        yield self.of(part.name, "head")
        for sort, number in (
            ("ids", part.ids),
            ("codes", part.codes),
            ("graph", part.graph),
            ("vectors", part.vectors),
        ):
            for n in range(number):
                yield self.of(part.name, sort, n)
        yield self.dead(part.name)
