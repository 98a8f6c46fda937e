"""OpenAI evals: JSONL, each line a chat (`input`) and the `ideal` answer, or several that are right.

A file has no template: what all its lines share becomes segments, and each turn that differs becomes a slot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.prompt.ast import Prompt, Slot
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.exchange import chat, dialect
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import PLAIN, Reader


def read(text: str, path: str, open: Open) -> Imported:
    """A JSONL file of samples. Raises NookError("prompt-import") for a line that is none, with its number."""
    lost: list[Loss] = []
    samples = list(_samples(text, path, lost))
    if not samples:
        raise NookError(
            "prompt-import", f"{path}:1: There is no sample.", 'Lines are {"input": [messages], "ideal": …}.'
        )
    roles = [role for role, _ in samples[0][1]]
    kept = [one for one in samples if [role for role, _ in one[1]] == roles]
    for line, turns, _ in samples:
        if [role for role, _ in turns] != roles:
            lost.append(Loss(f"{path}:{line}", "a sample", f"its turns are not {', '.join(roles)} as in the first"))
    slots: list[Slot] = []
    messages: list[tuple[str, str | None]] = []
    for n, (role, first) in enumerate(samples[0][1]):
        if len({turns[n][1] for _, turns, _ in kept}) == 1:
            messages.append((role, first))
        else:
            slots.append(Slot("input" if not slots else f"input_{len(slots) + 1}"))
            messages.append((role, None))
    reader = Reader(PLAIN, path)
    filled = iter(slots)
    segments = []
    for said, content in messages:
        role = chat.role(said, path)
        template = f"{{{{{next(filled).name}}}}}" if content is None else None
        segments += reader.literal(role, content or "") if template is None else reader.message(role, template)
    differing = [n for n, (_, content) in enumerate(messages) if content is None]
    cases = [
        Case(f"line {line}", {slot.name: turns[n][1] for slot, n in zip(slots, differing, strict=True)}, _checks(ideal))
        for line, turns, ideal in kept
    ]
    name = re.sub(r"\W+", "-", path.rpartition("/")[2].partition(".")[0]) or "prompt"
    return Imported((Prompt(tuple(segments), tuple(slots), name),), tuple(cases), (), tuple(lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """Samples: the prompt rendered for each case, and what the answer must begin with, or be."""
    lost = dialect.unsaid(prompt, "types")
    if not cases:
        lost.append(Loss(prompt.name, "the prompt", "samples are made of cases, and there are none"))
    lines = []
    for case in cases:
        ideal, rest = _ideal(case)
        if rest:
            lost.append(Loss(f"case {case.name}", ", ".join(rest), "a sample has only what the answer begins with"))
        rendered = prompt.render(case.values)
        messages = [{"role": one.role, "content": one.content} for one in rendered.messages]
        lines.append(json.dumps({"input": messages, "ideal": ideal}, ensure_ascii=False))
    return Exported("".join(f"{line}\n" for line in lines), lost=tuple(lost))


def _samples(text: str, path: str, lost: list[Loss]) -> Iterator[tuple[int, list[tuple[str, str]], Any]]:
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            sample = parse(line)
            said = sample["input"]
            turns = [("user", said)] if isinstance(said, str) else [(str(m["role"]), _text(m["content"])) for m in said]
        except (ValueError, KeyError, TypeError) as error:
            hint = 'A line is {"input": [{"role": …, "content": …}], "ideal": …}.'
            raise NookError("prompt-import", f"{path}:{n}: This is no sample: {error}.", hint) from None
        more = sorted(sample.keys() - {"input", "ideal"})
        lost += [Loss(f"{path}:{n}", key, "a sample here has input and ideal") for key in more]
        yield n, turns, sample.get("ideal")


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise ValueError("a message that is no text")
    return content


def _checks(ideal: Any) -> tuple[Assertion, ...]:
    """`ideal` as the basic evaluation Match reads it: the answer begins with it, or with one of them."""
    if ideal is None:
        return ()
    if isinstance(ideal, list):
        return (Assertion("regex", f"^(?:{'|'.join(re.escape(str(one)) for one in ideal)})"),)
    return (Assertion("starts-with", str(ideal)),)


def _ideal(case: Case) -> tuple[Any, list[str]]:
    """The ideal answers of a case, and the types of assertions that are none."""
    found, rest = [], []
    for one in case.assertions:
        several = re.fullmatch(r"\^\(\?:(.*)\)", str(one.value), re.DOTALL) if one.type == "regex" else None
        if one.type in ("starts-with", "equals"):
            found.append(str(one.value))
            rest += ["that nothing follows"] if one.type == "equals" else []
        elif several:
            found += [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in re.split(r"(?<!\\)\|", several[1])]
        else:
            rest.append(one.type)
    return (found[0] if len(found) == 1 else found or None), rest
