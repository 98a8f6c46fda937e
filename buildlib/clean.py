"""The verb `clean`. It runs before there is a .venv and after, so it needs the standard library only."""

from __future__ import annotations

import shutil

from buildlib import venv
from buildlib.project import DIST, ROOT, STAMPS, STATIC, say


def run() -> int:
    """Remove what was built and the tools. The cache of downloads stays, so building again is quick."""
    made = [
        STATIC / name for name in ("pyodide", "py", "models", "kernels", "ort", "samples", "notices", "assets.json")
    ]
    tools = [
        venv.VENV,
        venv.NODE_MODULES,
        *(ROOT / name for name in (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "test-results")),
    ]
    for path in [*made, *(ROOT / "pysrc/inglenook/kernels").glob("*.so"), DIST, STAMPS, *tools]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            continue
        say(f"removed {path.relative_to(ROOT)}")
    return 0
