"""dotprompt files: front matter with a schema of what goes in and comes out, and a Handlebars template with roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inglenook.prompt.ast import Prompt, Slot, Type
from inglenook.prompt.case import Case
from inglenook.prompt.exchange import chat, dialect, front
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import HANDLEBARS, Reader

NAMES = {"maxOutputTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
_ROLE = re.compile(r"\{\{\s*role\s+[\"'](\w+)[\"']\s*\}\}\n?")
_FIELD = re.compile(r"(?P<name>\w+)(?P<optional>\?)?(?:\((?P<sort>\w+)(?:,\s*(?P<about>.*))?\))?")
_TYPES: dict[str, Type] = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean",
                           "any": "json", "object": "json", "array": "json", "null": "json"}  # fmt: skip


def read(text: str, path: str, open: Open) -> Imported:
    """A dotprompt .prompt file. Raises NookError("prompt-yaml" | "prompt-file" | "prompt-import")."""
    table, body = front.split(text, path)
    reader = Reader(HANDLEBARS, path)
    given = table.table("input")
    slots = [*_slots(given.get("schema") or {}, given.mapping("default"), reader.lost)]
    settings = chat.settings(table.mapping("config"), NAMES, path, reader.lost)
    output = table.table("output")
    form, schema = output.text("format"), output.get("schema")
    if schema is not None or form == "json":
        settings = replace(settings, response_format=_form(schema, reader.lost))
    target = table.text("model")
    prompt = chat.assemble(
        reader, _turns(body), slots, name=table.text("name", "prompt"), description=table.text("description"),
        version=table.text("version", "0.1.0"), target=target, settings=settings, metadata=table.mapping("metadata"),
    )  # fmt: skip
    for key in table.rest():
        reader.lost.append(Loss(f"{path}:{table.document.line((key,))}", key, "prompt files hold no such thing"))
    return Imported((prompt,), (), (target,) if target else (), tuple(reader.lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """A dotprompt file."""
    messages, lost = dialect.write(prompt, HANDLEBARS)
    lost += dialect.unsaid(prompt, "types")
    said: dict[str, Any] = {"name": prompt.name}
    for key in ("description", "version"):
        if getattr(prompt, key):
            said[key] = getattr(prompt, key)
    if prompt.target:
        said["model"] = prompt.target
    if told := chat.told(prompt.settings, NAMES):
        said["config"] = told
    if prompt.slots:
        said["input"] = {"schema": dict(_field(slot) for slot in prompt.slots)}
        if defaults := {slot.name: slot.default for slot in prompt.slots if slot.default is not None}:
            said["input"]["default"] = defaults
        if any(slot.examples for slot in prompt.slots):
            lost.append(Loss(prompt.name, "examples of slots", "a schema holds none"))
    if form := prompt.settings.response_format:
        schema = form.get("json_schema")
        said["output"] = {"format": "json"} | ({"schema": schema.get("schema")} if isinstance(schema, dict) else {})
    if prompt.metadata:
        said["metadata"] = dict(prompt.metadata)
    if cases:
        lost.append(Loss(prompt.name, f"{len(cases)} cases", "dotprompt holds no tests"))
    body = "\n".join(
        f'{{{{role "{"model" if role == "assistant" else role}"}}}}\n{content}' for role, content in messages
    )
    return Exported(front.joined(said, body + "\n"), lost=tuple(lost))


def _turns(body: str) -> list[tuple[str, str]]:
    marks = list(_ROLE.finditer(body))
    turns = [("user", body[: marks[0].start()] if marks else body)]
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    turns += [(mark[1], body[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    return [(role, text.removesuffix("\n")) for role, text in turns if text.strip()]


def _slots(schema: Any, defaults: dict[str, Any], lost: list[Loss]) -> list[Slot]:
    """The fields of a Picoschema, or of a JSON schema, as slots."""
    slots = []
    if "properties" in schema:
        required = schema.get("required") or []
        fields = {name + ("" if name in required else "?"): one for name, one in schema["properties"].items()}
    else:
        fields = schema
    for key, said in fields.items():
        field = _FIELD.fullmatch(key)
        if field is None:
            lost.append(Loss("input.schema", key, "it is no name of a slot"))
            continue
        name, about = field["name"], field["about"] or ""
        choices: tuple[str, ...] = ()
        if isinstance(said, dict) and field["sort"] is None:
            kind, about = str(said.get("type", "object")), str(said.get("description", about))
            choices = tuple(map(str, said.get("enum", [])))
        elif field["sort"] == "enum" and isinstance(said, list):
            kind, choices = "string", tuple(map(str, said))
        elif field["sort"]:
            kind = field["sort"]
        else:
            kind, _, told = str(said).partition(",")
            about = told.strip() or about
        if kind in ("object", "array"):
            lost.append(Loss(f"slot {name}", "the schema within it", "a slot of type json takes any JSON"))
        default = defaults.get(name)
        slots.append(Slot(name, "choice" if choices else _TYPES.get(kind.strip(), "text"),
                          not field["optional"] and default is None, default, choices, description=about))  # fmt: skip
    return slots


def _form(schema: Any, lost: list[Loss]) -> dict[str, object]:
    if schema is None:
        return {"type": "json_object"}
    if isinstance(schema, dict) and "type" in schema and "properties" in schema:
        return {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    properties, required = {}, []
    for slot in _slots(schema if isinstance(schema, dict) else {}, {}, lost):
        kind = {"text": "string", "json": None, "choice": None}.get(slot.type, slot.type)
        said: dict[str, object] = {"type": kind} if kind else {}
        said |= {"enum": list(slot.choices)} if slot.choices else {}
        said |= {"description": slot.description} if slot.description else {}
        properties[slot.name] = said
        required += [slot.name] if slot.required else []
    whole = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "output", "schema": whole}}


def _field(slot: Slot) -> tuple[str, Any]:
    about = f", {slot.description}" if slot.description else ""
    name = slot.name + ("" if slot.required else "?")
    if slot.choices:
        return f"{name}(enum{about})", list(slot.choices)
    kind = {"text": "string", "line": "string", "json": "any"}.get(slot.type, slot.type)
    return name, kind + about
