"""What a store has of a model but its weights: sizes, names and places, sums, tokenizer.

    outline.bring(config)        # for each model of a fleet whose weights are at a URL: into the folder `weights`

The folder is then as `fleet convert` leaves one, but that of the weights' file only the header is there and the rest is
a hole of the same size: a checkpoint can be opened and a tokenizer read, and the hosts fetch the rest.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from inglenook.errors import NookError
from inglenook.fleet.config import Config
from inglenook.fleet.convert import BESIDE, CHUNKS, TOKENIZER
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.safetensors import header_bytes

PATIENCE = 10.0  # seconds
LARGEST = 64 << 20  # bytes of a file but the weights'
NAMES = (TOKENIZER, "tokenizer.json", "tokenizer_config.json", *BESIDE)


def bring(config: Config) -> None:
    """Fetch what is at the stores' URLs. Raises NookError("fetch" | "model-corrupt" | "fleet")."""
    for model in config.models.values():
        if model.url:
            _bring(model.url, model.weights)


def _bring(url: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", CHUNKS, *NAMES):
            data = _get(url, name)
            if data is not None:
                (folder / name).write_bytes(data)
            elif name in NAMES:
                (folder / name).unlink(missing_ok=True)
            else:
                raise NookError("fetch", f"There is no {name} at {url}.", "Put there what `fleet convert` made.")
        manifest = Manifest.parse((folder / CHUNKS).read_bytes())
        first = _get(url, manifest.file, (0, 8)) or b""
        header = first + (_get(url, manifest.file, (8, header_bytes(first))) or b"")
        with (folder / Path(manifest.file).name).open("wb") as file:
            file.write(header)
            file.truncate(manifest.size)
    except OSError as error:
        raise NookError("fleet", f"{folder} can't be written: {error.strerror}.", "Make room there.") from error


def _get(url: str, name: str, part: tuple[int, int] | None = None) -> bytes | None:
    """A file, or the bytes from `part[0]` to `part[1]` of it; None if it is not there."""
    asked = urllib.request.Request(f"{url}/{name}", headers={"Range": f"bytes={part[0]}-{part[1] - 1}"} if part else {})
    most = part[1] - part[0] if part else LARGEST
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            data = bytes(answer.read(most + 1))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise NookError("fetch", f"The store answered {error.code} for {url}/{name}.", "Look at its log.") from error
    except (OSError, http.client.HTTPException) as error:
        hint = "Check that it runs and can be reached from here."
        raise NookError("fetch", f"The store of {url} is not there: {error}.", hint) from error
    if len(data) > most:
        raise NookError("fetch", f"{url}/{name} is larger than asked for.", "The store must know ranges of bytes.")
    return data
