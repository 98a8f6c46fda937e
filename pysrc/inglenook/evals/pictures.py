"""Pictures as files: opened by Pillow, with one word for all that may be wrong with them."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inglenook.errors import NookError


def pillow(module: str = "Image", without: str = "") -> Any:
    """A module of Pillow; `without` says what else can be done where it is not. Raises NookError("no-pillow")."""
    try:
        return importlib.import_module(f"PIL.{module}")
    except ModuleNotFoundError:
        hint = f'Install it: pip install "inglenook[finance]"{without}.'
        raise NookError("no-pillow", "Reading and drawing pictures needs Pillow.", hint) from None


@contextmanager
def opened(data: bytes, where: str, without: str = "") -> Iterator[Any]:
    """A PNG, JPEG, GIF or WebP file as Pillow's image, to be worked on inside: what is broken shows only then.

    `where` is how errors call it. Raises NookError("no-pillow" | "bad-image")."""
    images = pillow(without=without)
    try:
        with images.open(io.BytesIO(data)) as image:
            yield image
    except (OSError, SyntaxError, ValueError, images.DecompressionBombError) as error:
        hint = "Save it again as PNG or JPEG, or leave the row out."
        raise NookError("bad-image", f"{where[0].upper()}{where[1:]} cannot be read: {error}.", hint) from None
