"""What a step of the pipeline leaves on disk: one `.npz`, written whole or not at all, read instead of done again."""

from __future__ import annotations

import json
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
        if stamp.exists() and stamp.read_text() != said:
            raise NookError(
                "other-run", f"{path} holds a run with other options.", "Name another folder, or remove that one."
            )
        stamp.write_text(said)

    def step(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of step `name`: read where it was done, else made and kept."""
        target = self.path / f"{name}.npz"
        if not target.exists():
            part = target.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **make())  # type: ignore[arg-type]
            part.replace(target)
        with np.load(target, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
