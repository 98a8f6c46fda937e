"""The history of a prompt: what was released, on what evidence, and the way back. One JSON object a line.

A rollback forgets nothing: the old text is released again, under a new version, and says what it undoes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields

from inglenook import depth
from inglenook.errors import NookError
from inglenook.prompt.ast import named
from inglenook.prompt.change import Comparison, Level, bump


@dataclass(frozen=True, slots=True)
class Release:
    """A version: its `text` (the prompt file), `digest`, the level it was, and of each requirement what was found."""

    version: str
    digest: str
    text: str
    level: Level | None = None
    target: str = ""
    evidence: dict[str, str] = field(default_factory=dict)
    note: str = ""


def following(history: Sequence[Release], digest: str, text: str, found: Comparison, target: str = "") -> Release:
    """The next release. Raises NookError("not-released") if something was lost and no major version says so, or if what
    could be lost is undecided, and as `checked`, NookError("prompt-version") if there is no version to follow."""
    checked(history, digest, target)
    if not history:
        return Release("1.0.0", digest, text, None, target)
    level = found.level
    if level is None:
        open_ones = ", ".join(one.what for one in found.shifts if one.change == "undecided")
        hint = "Give it more runs, or a wider margin."
        raise NookError("not-released", f"It is not known yet whether anything is lost: {open_ones}.", hint)
    evidence = {
        one.what: f"{one.change} {one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}] {one.runs}" for one in found.shifts
    }
    note = "; ".join(f"{level}: {said}" for level, said in found.promises)
    return Release(bump(history[-1].version, level), digest, text, level, target, evidence, note)


def checked(history: Sequence[Release], digest: str, target: str) -> None:
    """Raises NookError("not-released") if this is what was released last."""
    if history and (history[-1].digest, history[-1].target) == (digest, target):
        raise NookError("not-released", f"This is {history[-1].version} already.", "Change it, or ask another model.")


def rollback(history: Sequence[Release], version: str) -> Release:
    """The release that takes everything back to `version`. Raises NookError("no-part") if there is none such."""
    [old], last = named("version", [version], {one.version: one for one in history}), history[-1]
    return Release(bump(last.version, "major"), old.digest, old.text, "major", old.target, old.evidence,
                   f"back to {version}, undoing {last.version}")  # fmt: skip


def dump(*releases: Release) -> str:
    """A line of each, with its end."""
    return "".join(json.dumps(asdict(release), ensure_ascii=False) + "\n" for release in releases)


def load(text: str, path: str = "history") -> list[Release]:
    """The releases of a history, oldest first. A torn last line is dropped. Raises NookError("history") for others."""
    names, found = {one.name for one in fields(Release)}, list[Release]()
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = depth.parse(line)
            texts = [told.pop(name, None) for name in ("version", "digest", "text")]
            if not told.keys() <= names or not all(isinstance(one, str) for one in texts):
                raise ValueError("it is no release")
            found.append(Release(*texts, **told))
        except (ValueError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            raise NookError("history", f"{path}:{number} cannot be read: {error}.", "Take the line out.") from None
    return found
