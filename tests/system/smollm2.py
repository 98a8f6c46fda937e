"""Where the build leaves the real model; tests that need it are skipped, with the reason, when it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf() -> Path:
    """The model's file: in static/models, or in the build's cache of downloads."""
    cache = Path(os.environ.get("INGLENOOK_CACHE") or Path.home() / ".cache" / "inglenook")
    for folder in (ROOT / "static" / "models", cache):
        found = sorted(folder.rglob(NAME)) if folder.is_dir() else []
        if found:
            return found[0]
    pytest.skip(f"{NAME} is not there: run build.py")
