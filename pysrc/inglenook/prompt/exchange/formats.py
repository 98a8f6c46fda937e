"""All formats by their names, and which one a file seems to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inglenook.errors import NookError
from inglenook.prompt.ast import Prompt, Slot, nearest
from inglenook.prompt.case import Case
from inglenook.prompt.exchange import chat, dotprompt, github, lm_eval, openai_evals, promptfoo, prompty
from inglenook.prompt.exchange.carried import Exported, Imported, Open
from inglenook.prompt.exchange.dialect import PLAIN, Reader


class Read(Protocol):
    def __call__(self, text: str, path: str, open: Open) -> Imported: ...


@dataclass(frozen=True, slots=True)
class Format:
    """`write` is None for what is only read; `suffix` ends the name of its files."""

    read: Read
    write: Callable[[Prompt, Sequence[Case]], Exported] | None
    suffix: str


def _text(text: str, path: str, open: Open) -> Imported:
    """Plain text: one message of the user, a segment a paragraph."""
    if not text.strip():
        raise NookError("prompt-import", f"{path} is empty.", "Write into it.")
    reader = Reader(PLAIN, path)
    name = re.sub(r"\W+", "-", path.rpartition("/")[2].partition(".")[0]).strip("-") or "prompt"
    prompt = chat.assemble(reader, [("user", text.removesuffix("\n"))], list[Slot](), name=name)
    return Imported((prompt,), lost=tuple(reader.lost))


FORMATS = {
    "promptfoo": Format(promptfoo.read, promptfoo.write, ".yaml"),
    "prompty": Format(prompty.read, prompty.write, ".prompty"),
    "dotprompt": Format(dotprompt.read, dotprompt.write, ".prompt"),
    "github": Format(github.read, github.write, ".prompt.yml"),
    "openai-evals": Format(openai_evals.read, openai_evals.write, ".jsonl"),
    "lm-eval": Format(lm_eval.read, lm_eval.write, ".yaml"),
    "text": Format(_text, None, ".txt"),
}


_SUFFIXES = {
    ".prompt.yml": "github", ".prompt.yaml": "github", ".prompty": "prompty", ".prompt": "dotprompt",
    ".jsonl": "openai-evals", ".txt": "text", ".md": "text",
}  # fmt: skip


def guess(text: str, path: str) -> str:
    """The name of the format that a file seems to have. Raises NookError("prompt-format") if it seems none."""
    if found := next((name for suffix, name in _SUFFIXES.items() if path.endswith(suffix)), None):
        return found
    keys = set(re.findall(r"^([\w$]+):", text, re.MULTILINE))
    for name, telling in (("promptfoo", "prompts"), ("lm-eval", "doc_to_text"), ("github", "messages")):
        if telling in keys:
            return name
    raise NookError("prompt-format", f"{path} has no format that is known here.", f"Name one: {', '.join(FORMATS)}.")


def read(name: str, text: str, path: str, open: Open) -> Imported:
    """What a file of that format holds. Raises what the format raises, NookError("prompt-import") for odd values."""
    try:
        return named(name).read(text, path, open)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        hint = "Write it as the tool's manual does."
        raise NookError("prompt-import", f"{path}: A value is not as {name} has it: {error}.", hint) from None


def named(name: str) -> Format:
    """The format of that name. Raises NookError("prompt-format")."""
    if name not in FORMATS:
        raise NookError("prompt-format", f"There is no format {name}.", nearest(name, FORMATS))
    return FORMATS[name]
