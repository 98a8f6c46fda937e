"""What a command line names: prompt files, cases, values of slots."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.errors import NookError

if TYPE_CHECKING:
    from inglenook.prompt.ast import Prompt, Slot
    from inglenook.prompt.case import Case
    from inglenook.prompt.exchange.carried import Loss


def text(path: Path) -> str:
    """A file's text. Raises NookError("no-file" | "not-text")."""
    try:
        return path.read_text("utf-8-sig")
    except OSError:
        raise NookError("no-file", f"{path} cannot be read.", "Check the spelling, and that it is a file.") from None
    except UnicodeDecodeError as error:
        raise NookError("not-text", f"{path} is no UTF-8 text: {error.reason}.", "Save it as UTF-8.") from None


def prompt(path: Path) -> Prompt:
    """The prompt of a file. Raises NookError for what is no such file."""
    from inglenook.prompt import file

    return file.parse(text(path), str(path))


def cases(path: Path | None) -> tuple[Case, ...]:
    """The cases of a file with tests; none for no file. What it has that we do not is told on stderr."""
    from inglenook.prompt.exchange import promptfoo

    if path is None:
        return ()
    found, lost = promptfoo.cases(text(path), str(path), lambda name: text(path.parent / name))
    told(lost)
    return found


def values(slots: Sequence[Slot], said: Sequence[str], path: Path | None = None) -> dict[str, object]:
    """The values of a JSON or YAML file, and of NAME=VALUE as `said`: of a slot that is no text, as YAML writes it."""
    from inglenook.prompt import document

    found: dict[str, object] = {}
    if path:
        found |= document.load(text(path), str(path)).table().data
    texts = {slot.name for slot in slots if slot.type in ("text", "line", "choice")}
    for one in said:
        name, _, value = one.partition("=")
        found[name] = value if name in texts else document.load(value, f"--set {name}").value
    return found


def told(lost: Iterable[Loss]) -> None:
    """Say on stderr what could not be carried."""
    for loss in lost:
        print(loss, file=sys.stderr)
