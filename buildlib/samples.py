"""The sample library: State of the Union addresses, as a person would have them, and the project's own pages.

The addresses are in the public domain; the npm package they come in is Apache-2.0. It holds each as one line without
paragraphs, so we set them again: sentences become paragraphs where the subject changes (Hearst, "TextTiling", 1997, as
a shortest path), lines in capitals become headings. Most become Markdown, some HTML, some a PDF with real pages.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from buildlib import paper, project

# Year and president as in the package's file names, and how it is set where not as Markdown.
ADDRESSES = """
1790_george_washington_n 1796_george_washington_n 1801_thomas_jefferson_dr:html 1803_thomas_jefferson_dr
1806_thomas_jefferson_dr 1815_james_madison_dr 1823_james_monroe_dr 1862_abraham_lincoln_r:pdf 1872_ulysses_s_grant_r
1881_chester_a_arthur_r 1887_grover_cleveland_d 1913_woodrow_wilson_d 1917_woodrow_wilson_d 1923_calvin_coolidge_r
1930_herbert_hoover_r 1934_franklin_d_roosevelt_d:html 1937_franklin_d_roosevelt_d 1941_franklin_d_roosevelt_d:pdf
1944_franklin_d_roosevelt_d 1947_harry_s_truman_d 1949_harry_s_truman_d 1958_dwight_d_eisenhower_r
1962_john_f_kennedy_d:pdf 1964_lyndon_b_johnson_d 1965_lyndon_b_johnson_d 1972_richard_nixon_r 1975_gerald_r_ford_r
1980_jimmy_carter_d 1982_ronald_reagan_r 1986_ronald_reagan_r 1990_george_bush_r 1996_william_j_clinton_d
2002_george_w_bush_r 2010_barack_obama_d:html 2019_donald_j_trump_r 2021_joseph_r_biden_d
""".split()  # noqa: SIM905

PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LOG.md")
FEWEST, BEST, MOST = 180, 520, 1_100  # characters of a paragraph

_HEADING = re.compile(r"(?:(?<=[.!?:\"”])|^)\s*((?:[IVX]+\.\s+)?[A-Z][A-Z,'&\- ]{3,}[A-Z]\b)(?=\s+[A-Z][a-z]|\s+A\s)")
_SMALL = frozenset("A An And Of The In On For To At By With".split())  # noqa: SIM905


@dataclass(frozen=True)
class Address:
    """An address: the paragraphs of each of its sections; the first section has no heading."""

    year: int
    president: str
    sections: list[tuple[str, list[str]]]

    @property
    def title(self) -> str:
        """What a person would call it."""
        return f"State of the Union {self.year}, {self.president}"


SPOKEN = 1_619_568_000  # when the newest was spoken: the date of all sample files, so that they come out the same


def build(root: Path, package: Path, kept: Path) -> Path:
    """Set the addresses below `root`/static/samples/files and index them into sample.nook beside it; its path.

    `package` is the archive of the npm package. The index is made by the engine itself in the nook `kept`, which stays:
    what did not change since is not embedded again.
    """
    sys.path.insert(0, str(root / "pysrc"))
    folder = root / "static" / "samples" / "files"
    shutil.rmtree(folder, ignore_errors=True)
    write(package, folder / "addresses")
    for name in PAGES:
        if (root / name).exists():
            (folder / "inglenook").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / "inglenook" / name)
    for path in project.tree(folder, "*"):
        os.utime(path, (SPOKEN, SPOKEN))
    return index(folder, folder.parent / "sample.nook", kept)


def write(package: Path, folder: Path) -> list[Path]:
    """Write the addresses of the package's archive into `folder`, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with tarfile.open(package) as archive:
        for entry in ADDRESSES:
            name, _, form = entry.partition(":")
            member = archive.extractfile(f"package/data/{name}.json")
            if member is None:
                raise project.Problem(f"{name} is not in the package", "Pin the version that buildlib/pins.py names.")
            address = read(json.load(member))
            slug = re.sub(r"\W+", "-", address.president.lower()).strip("-")
            path = folder / f"{address.year}-{slug}.{form or 'md'}"
            path.write_bytes(FORMS[form or "md"](address))
            written.append(path)
    return written


def index(folder: Path, nook: Path, kept: Path) -> Path:
    """Bring the nook `kept` to what lies in the folders below `folder`, each a collection; `nook` is its export."""
    from inglenook.nook import Nook
    from inglenook.wire.messages import Skipped

    with Nook.open(kept) as opened:
        there: set[str] = set()
        for collection in sorted(path for path in folder.iterdir() if path.is_dir()):
            for result in opened.add(collection, collection.name):
                if isinstance(result, Skipped):
                    raise project.Problem(f"{result.path} could not be indexed: {result.message}", result.hint)
                there.add(result.card.document)
        opened.remove(card.document for card in opened.documents() if card.document not in there)
        opened.export(nook)
    return nook


# ── setting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read(raw: dict[str, object]) -> Address:
    """An address out of the package's JSON."""
    text = re.sub(r"\s+", " ", str(raw["text"])).strip()
    parts = _HEADING.split(text)
    sections = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    made = [(_title(head), list(paragraphs(body.strip()))) for head, body in sections if body.strip() or head]
    president = re.sub(r"\b([A-Z])\b(?!\.)", r"\1.", str(raw["name"]))
    return Address(int(str(raw["year"])), president, made)


def paragraphs(text: str) -> Iterator[str]:
    """Cut running text into paragraphs where what is said changes.

    The cost of a paragraph is how far its length is from `BEST`; the cost of a break is how alike the sentences before
    and after it are. The cheapest way through is found by dynamic programming.
    """
    from inglenook.search.sentences import sentences
    from inglenook.search.terms import terms

    spans = sentences(text)
    counts = [Counter(w for w in terms(text[s.start : s.end]) if len(w) > 3) for s in spans]
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(spans) + 1):
        choices = []
        for start in range(end - 1, -1, -1):
            length = spans[end - 1].end - spans[start].start
            if length > MOST and start < end - 1:
                break
            alike = 1.0 if length < FEWEST and end < len(spans) else 0.0
            if end < len(spans):
                alike += _alike(counts[max(0, end - 3) : end], counts[end : end + 3])
            choices.append((best[start][0] + 0.5 * abs(math.log(length / BEST)) + alike, start))
        best.append(min(choices))
    cuts, at = [], len(spans)
    while at:
        cuts.append((best[at][1], at))
        at = best[at][1]
    for start, end in reversed(cuts):
        yield text[spans[start].start : spans[end - 1].end]


def _alike(before: list[Counter[str]], after: list[Counter[str]]) -> float:
    """Cosine of the words of two groups of sentences."""
    one, other = sum(before, Counter()), sum(after, Counter())
    dot = sum(count * other[word] for word, count in one.items())
    return dot / (math.hypot(*one.values()) * math.hypot(*other.values()) or 1.0)


def _title(head: str) -> str:
    """A heading in capitals as a heading in a book."""
    words = [w if re.fullmatch(r"[IVX]+\.", w) else w.capitalize() for w in head.split()]
    return " ".join(w.lower() if n and w in _SMALL else w for n, w in enumerate(words))


def markdown(address: Address) -> bytes:
    """An address as Markdown."""
    parts = [f"# {address.title}"]
    for head, body in address.sections:
        parts += [f"## {head}"] * bool(head) + [p.replace("*", r"\*").replace("_", r"\_") for p in body]
    return ("\n\n".join(parts) + "\n").encode()


def page(address: Address) -> bytes:
    """An address as an HTML page."""
    body = "\n".join(
        (f"<h2>{html.escape(head)}</h2>\n" if head else "") + "\n".join(f"<p>{html.escape(p)}</p>" for p in paragraphs)
        for head, paragraphs in address.sections
    )
    title = html.escape(address.title)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
    return text.encode()


def pdf(address: Address) -> bytes:
    """An address as a PDF."""
    return paper.draw(address.title, address.sections)


FORMS = {"md": markdown, "html": page, "pdf": pdf}
