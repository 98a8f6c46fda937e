"""What a step of the pipeline leaves on disk: one `.npz`, written whole or not at all, read instead of done again."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.errors import NookError

Arrays = dict[str, np.ndarray]


class Folder:
    """The checkpoints of one run. `options` are what the result depends on: a folder of other options is refused."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        said = json.dumps(options, indent=1, sort_keys=True)
        stamp = path / "options.json"
        if not stamp.exists():
            part = stamp.with_suffix(".part")
            part.write_text(said)
            part.replace(stamp)
        elif stamp.read_text() != said:
            raise NookError(
                "other-run", f"{path} holds a run with other options.", "Name another folder, or remove that one."
            )

    def step(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of step `name`: read where it was done, else made and kept. Raises NookError("checkpoint")."""
        target = self.path / f"{name}.npz"
        if not target.exists():
            part = target.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **make())  # type: ignore[arg-type]
            part.replace(target)
        try:
            with np.load(target, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            hint = "Remove it: this step is then done again."
            raise NookError("checkpoint", f"{target} is damaged.", hint) from None
