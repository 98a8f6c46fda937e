"""Bytes of everything that is shipped, raw and gzipped, and the budgets that must hold."""

from __future__ import annotations

import gzip
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from buildlib import assets, wheels
from buildlib.project import ROOT, STATIC, tree

WEB = ROOT / "web"
WIDGET_GZIP = 60_000
WORKBENCH = 600_000
WHEEL = 178_000
ROOMS = {
    "index": 160_000, "topics": 20_000, "elastic": 100_000, "train": 50_000, "evals": 118_000, "prompt": 152_000,
    "doctor": 70_000, "fleet": 140_000,
}  # fmt: skip
ENTRY = 30 + 46 + 60  # bytes of a zip's two headers, and of a line of RECORD, of which a digest is not made smaller
# `import … from './x.js'`, `export … from './x.js'`, `import './x.js'`; not `import('./x.js')`, which waits.
IMPORT = re.compile(r"""^\s*(?:import|export)\b(?:[^'"();]*?\bfrom)?\s*['"](\.[^'"]+)['"]""", re.MULTILINE)


def run() -> int:
    """Print the table; 1 if a budget is broken."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in tree(STATIC, "*"):
        if name := assets.group(path):
            groups[name].append(path)
    for name, files in sorted(groups.items()):
        total = [0, 0]
        for path in files:
            size = (path.stat().st_size, zipped([path]))
            total = [total[0] + size[0], total[1] + size[1]]
            print(f"  {path.relative_to(ROOT).as_posix():66}{size[0]:>13,}{size[1]:>13,}")
        print(f"{name:68}{total[0]:>13,}{total[1]:>13,}\n")
    pages = [path for path in tree(WEB, "*") if path.suffix in (".js", ".css", ".html")]
    print(
        f"{'web/ (scripts, styles, pages)':68}{sum(path.stat().st_size for path in pages):>13,}{zipped(pages):>13,}\n"
    )
    broken = sum(not _budget(*budget) for budget in _budgets())
    return 1 if broken else 0


def _budgets() -> Iterable[tuple[str, int, int]]:
    widget = WEB / "elements.js"
    if widget.exists():
        yield "widget: elements.js and what it imports, gzip", zipped(imported(widget)), WIDGET_GZIP
    if (archive := STATIC / "py" / "workbench.tar.gz").exists():
        yield "workbench: Python that comes when it is opened", archive.stat().st_size, WORKBENCH
    with tempfile.TemporaryDirectory() as folder:
        yield from _rooms(wheels.own(Path(folder)))


def _rooms(wheel: Path) -> Iterable[tuple[str, int, int]]:
    """The wheel by rooms, each a library of its own size, the rest is the app's. An entry takes its bytes and what the
    archive says of it, twice, and once more in the list of sums."""
    rest = wheel.stat().st_size
    with zipfile.ZipFile(wheel) as parts:
        for room, limit in ROOMS.items():
            inside = [part for part in parts.infolist() if part.filename.startswith(f"inglenook/{room}/")]
            size = sum(part.compress_size + ENTRY + 2 * len(part.filename) for part in inside)
            rest -= size
            yield f"inglenook.{room} in our own wheel", size, limit
    yield "the rest of our own wheel", rest, WHEEL


def _budget(name: str, size: int, limit: int) -> bool:
    print(f"{'ok  ' if size <= limit else 'OVER'} {name}: {size:,} of {limit:,} bytes")
    return size <= limit


def imported(script: Path) -> list[Path]:
    """A module and every module it imports statically, each once."""
    found = [script.resolve()]
    for path in found:
        for name in IMPORT.findall(path.read_text("utf-8")):
            other = (path.parent / name).resolve()
            if other not in found:
                found.append(other)
    return found


def zipped(files: list[Path]) -> int:
    """Bytes of the files when each is sent gzipped."""
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)
