"""prompty files: front matter and `system:` / `user:` / `assistant:` turns in Jinja. Read in versions 1 and 2, written
in version 2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from inglenook.prompt.ast import Prompt, Slot, Type
from inglenook.prompt.case import Case
from inglenook.prompt.document import Table
from inglenook.prompt.exchange import chat, dialect, front
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import JINJA, Reader

NAMES = {"maxOutputTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
_FIRST = {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop": "stop",
          "response_format": "response_format", "max_completion_tokens": "max_tokens"}  # fmt: skip
_TURN = re.compile(r"^[ \t]*#?[ \t]*(system|user|assistant|developer)(?:\[[^\]\n]*\])?:[ \t]*$\n?", re.MULTILINE)
_KINDS: dict[str, Type] = {"string": "text", "integer": "integer", "float": "number", "number": "number",
                           "boolean": "boolean", "object": "json", "array": "json"}  # fmt: skip


def read(text: str, path: str, open: Open) -> Imported:
    """A .prompty file. Raises NookError("prompt-yaml" | "prompt-file" | "prompt-import")."""
    table, body = front.split(text, path)
    reader = Reader(JINJA, path)
    lost = reader.lost
    model = table.get("model", {})
    model = {"id": model} if isinstance(model, str) else model or {}
    first = model.get("configuration") or {}
    target = str(model.get("id") or first.get("azure_deployment") or first.get("name") or "")
    said = {**(model.get("parameters") or {}), **(model.get("options") or {})}
    settings = chat.settings(said, {**_FIRST, **NAMES}, path, lost)
    for key in model.keys() - {"id", "options", "parameters", "configuration", "api"}:
        lost.append(Loss(path, f"model.{key}", "where a model is reached is said when it is asked"))
    slots, sample = _slots(table, lost)
    template = table.get("template", {})
    form = template.get("format", "jinja2") if isinstance(template, dict) else template
    if isinstance(form, dict):
        form = form.get("kind", "jinja2")
    if form not in ("jinja2", "mustache"):
        lost.append(Loss(path, f"the template format {form}", "read as Jinja"))
    metadata = dict(table.mapping("metadata"))
    for key in ("authors", "tags", "displayName"):
        if key in table:
            metadata[key] = table.get(key)
    prompt = chat.assemble(
        reader, _turns(body), slots, name=table.text("name", "prompt"), description=table.text("description"),
        version=table.text("version") or str(metadata.pop("version", "0.1.0")), target=target, settings=settings,
        metadata=metadata,
    )  # fmt: skip
    for key in table.rest().keys() - {"$schema"}:
        lost.append(Loss(f"{path}:{table.document.line((key,))}", key, "prompt files hold no such thing"))
    cases = (
        (Case("sample", {k: v for k, v in sample.items() if k in {s.name for s in prompt.slots}}),) if sample else ()
    )
    return Imported((prompt,), cases, (target,) if target else (), tuple(lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """A .prompty file of version 2."""
    messages, lost = dialect.write(prompt, JINJA)
    lost += dialect.unsaid(prompt, "types")
    said: dict[str, Any] = {"name": prompt.name}
    if prompt.description:
        said["description"] = prompt.description
    said["metadata"] = {**prompt.metadata, "version": prompt.version}
    said["model"] = {"id": prompt.target} | ({"options": told} if (told := chat.told(prompt.settings, NAMES)) else {})
    if prompt.settings.response_format:
        lost.append(Loss(prompt.name, "settings.response_format", "prompty names outputs, not a schema"))
    if prompt.slots:
        said["inputs"] = [_input(slot, lost) for slot in prompt.slots]
    said["template"] = {"format": {"kind": "jinja2"}, "parser": {"kind": "prompty"}}
    if cases:
        lost.append(Loss(prompt.name, f"{len(cases)} cases", "prompty holds no tests"))
    for role, content in messages:
        if _TURN.search(content):
            lost.append(Loss(role, "a line that reads like a turn", "prompty begins a turn there"))
    body = "\n".join(f"{role}:\n{content}\n" for role, content in messages)
    return Exported(front.joined(said, body), lost=tuple(lost))


def _turns(body: str) -> list[tuple[str, str]]:
    """The turns of a body; the break before the next turn, and an empty line, belong to neither."""
    marks = list(_TURN.finditer(body))
    if not marks:
        return [("user", body.removesuffix("\n"))]
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    texts = [body[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    cut = [text[:-2] if text.endswith("\n\n") else text.removesuffix("\n") for text in texts[:-1]]
    return [(mark[1], text) for mark, text in zip(marks, [*cut, texts[-1].removesuffix("\n")], strict=True)]


def _slots(table: Table, lost: list[Loss]) -> tuple[list[Slot], dict[str, Any]]:
    """The declared inputs; and the sample of version 1, or the examples of version 2."""
    sample: dict[str, Any] = dict(table.mapping("sample")) if isinstance(table.get("sample", {}), dict) else {}
    slots = []
    for name, one in _inputs(table):
        kind = str(one.get("kind") or one.get("type") or "string")
        if kind not in _KINDS:
            lost.append(Loss(f"input {name}", f"the kind {kind}", "it is taken as text"))
        values = [str(value) for value in one.get("enumValues") or []]
        kind_of: Type = "choice" if values else _KINDS.get(kind, "text")
        for key in ("sample", "example"):
            if one.get(key) is not None:
                sample[name] = one[key]
        slots.append(Slot(name, kind_of, bool(one.get("required", True)) and "default" not in one, one.get("default"),
                          tuple(values), description=str(one.get("description") or "")))  # fmt: skip
    return slots, sample


def _inputs(table: Table) -> Iterator[tuple[str, dict[str, Any]]]:
    said = table.get("inputs", [])
    listed = [{"name": name, **(one if isinstance(one, dict) else {"default": one})} for name, one in said.items()] \
        if isinstance(said, dict) else said  # fmt: skip
    for one in listed:
        if not isinstance(one, dict) or "name" not in one:
            raise table.error("An input has no name.", "Write a list of {name, kind}.", "inputs")
        yield str(one["name"]), one


def _input(slot: Slot, lost: list[Loss]) -> dict[str, Any]:
    kind = {"text": "string", "line": "string", "choice": "string", "integer": "integer", "number": "float",
            "boolean": "boolean", "json": "object"}[slot.type]  # fmt: skip
    said: dict[str, Any] = {"name": slot.name, "kind": kind}
    if slot.choices:
        said["enumValues"] = list(slot.choices)
    for key in ("description", "default"):
        if getattr(slot, key):
            said[key] = getattr(slot, key)
    if not slot.required and slot.default is None:
        said["required"] = False
    if slot.examples:
        said["example"] = slot.examples[0]
        if len(slot.examples) > 1:
            lost.append(Loss(f"slot {slot.name}", "all examples but the first", "an input has one"))
    return said
