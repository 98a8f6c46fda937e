"""static/assets.json: what the page may download, in groups it asks for as it needs them.

Each file has its size and sha256, and one over 4 MiB also those of its parts, so that a download that is cut goes on
where it stopped and every part is checked on arrival (web/lib/assets.js).
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from pathlib import Path

from buildlib.project import ROOT, STATIC, tree

WEB = ROOT / "web"
PART = 4 << 20
MANIFEST = STATIC / "assets.json"
# The first pattern that matches gives the group; files that match none are not part of the site.
GROUPS = (
    ("pyodide/*.whl", "science"),
    ("pyodide/*", "core"),
    ("py/pypdfium2*", "pdf"),
    ("py/workbench*", "workbench"),
    ("py/*", "core"),
    ("models/*.gguf", ""),
    ("models/*.safetensors", ""),
    ("models/pp-ocrv4-*", "charts"),
    ("models/*.onnx", "onnx"),
    ("models/minilm-l6.tokenizer.json", "onnx"),
    ("models/minilm-l6.*", "encoder"),
    ("models/*", "lm"),
    ("ort/*", "onnx"),
    ("kernels/encoder*", "encoder"),
    ("kernels/lm*", "lm"),
    ("kernels/*", "core"),
    ("samples/sample.nook", "sample"),
)


def group(path: Path) -> str:
    """The group of a file under static/; "" if it is not the page's to download."""
    name = path.relative_to(STATIC).as_posix()
    return next((group for pattern, group in GROUPS if fnmatch.fnmatch(name, pattern)), "")


def shell(site: Path) -> list[dict[str, object]]:
    """The entries of a release's own scripts, styles and pages: with them in its list, web/sw.js serves one version as
    a whole. The folder `site` holds them as they will be served; sw.js is the browser's to keep."""
    own = [path.relative_to(WEB) for path in tree(WEB, "*") if (site / path.relative_to(WEB)).exists()]
    return [describe(site / path, site) | {"group": "shell"} for path in own if path.as_posix() != "sw.js"]


def describe(path: Path, site: Path = ROOT) -> dict[str, object]:
    """The manifest's entry of one file of the folder `site`."""
    parts, total, size = [], hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(PART):
            total.update(block)
            parts.append(hashlib.sha256(block).hexdigest())
            size += len(block)
    entry: dict[str, object] = {"path": path.relative_to(site).as_posix(), "size": size, "sha256": total.hexdigest()}
    if path.suffix == ".gz":
        entry["inflated"] = int.from_bytes(block_end(path), "little")
    if len(parts) > 1:
        entry |= {"part": PART, "parts": parts}
    return entry | {"group": group(path) if site == ROOT else ""}


def block_end(path: Path) -> bytes:
    """The last word of a file: a gzip file has its inflated size there (RFC 1952, 2.3.1)."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return file.read()


def build() -> list[Path]:
    """Write the manifest; files that did not change since the last one are not read again. Returns its files."""
    known: dict[str, tuple[float, dict[str, object]]] = {}
    if MANIFEST.exists():
        made = MANIFEST.stat().st_mtime
        known = {str(entry["path"]): (made, entry) for entry in json.loads(MANIFEST.read_text())["files"]}
    files = [path for path in tree(STATIC, "*") if group(path)]
    entries = []
    for path in files:
        made, entry = known.get(path.relative_to(ROOT).as_posix(), (0.0, {}))
        stat = path.stat()
        fresh = (
            ("inflated" in entry) == (path.suffix == ".gz")
            and entry.get("size") == stat.st_size
            and max(stat.st_mtime, stat.st_ctime) < made
        )
        entries.append(entry if fresh and entry.get("group") == group(path) else describe(path))
    text = json.dumps({"files": entries}, indent=1) + "\n"
    part = MANIFEST.with_suffix(".part")
    part.write_text(text)
    part.replace(MANIFEST)
    return files
