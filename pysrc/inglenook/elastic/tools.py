"""What a chat asks for beside words: JSON, a pattern, a call of one of the caller's functions.

    asked = Asked.of(request)                   # a wire.Chat
    ids = chat.encode(asked.messages, tokenizer)
    mask = Mask(asked.grammar, tokenizer) if asked.grammar else None
    … decode.generate(ids, tokenizer, mask=mask, aside=asked.aside, free=asked.free) …
    calls = called(made.aside)

Functions are told and called as in the Hermes format, which SmolLM2's larger sisters were trained on: JSON between
tags, in turns of ChatML. What the model may write is held to the grammar of the calls that are possible, so a call is
always one of a function that there is, with arguments that its schema allows. Unless a call is demanded, the model may
as well write text that does not begin as a call does, so the two are told apart by how they begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inglenook.depth import parse
from inglenook.elastic.chat import SYSTEM, Message
from inglenook.elastic.grammar import Grammar, regex, schema, text
from inglenook.elastic.grammar.expression import ALL, Arena
from inglenook.errors import NookError
from inglenook.wire.messages import Call, Chat, Tool, Turn

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FORMS = ("json", "schema", "regex")
CHOICES = ("auto", "none", "required")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOTHING = '{"type":"object","properties":{}}'


@dataclass(frozen=True, slots=True)
class Asked:
    """`messages` for the model, and the `grammar` of what it may write (None: anything).

    Text that begins with `aside` is a call and not for people ("": none is possible). Other text is `free` if the
    grammar says nothing of it but that it is no call.
    """

    messages: list[Message]
    grammar: Grammar | None
    aside: str = ""
    free: bool = False

    @classmethod
    def of(cls, request: Chat) -> Asked:
        """Raises NookError("tools" | "form" | "schema" | "regex") for what cannot be asked."""
        _check(request)
        tools = [] if request.choice == "none" else request.tools
        tools = [tool for tool in tools if request.tool in ("", tool.name)]
        must = bool(request.tool) or request.choice == "required"
        notes = [_told(tools, must)] if tools else []
        form = (request.form.kind, request.form.text) if request.form else None
        if form and not must:
            notes += _shape(*form)
        messages = _with_notes([*map(_message, request.messages)], notes)
        pairs = tuple((tool.name, tool.parameters or _NOTHING) for tool in tools)
        grammar = _grammar(form, pairs, must) if form or pairs else None
        return cls(messages, grammar, OPEN if tools else "", bool(tools) and not form and not must)


def called(text: str) -> list[Call]:
    """The call that a text is; none if it was cut off before its end."""
    if not text.startswith(OPEN) or not text.endswith(CLOSE):
        return []
    call = parse(text[len(OPEN) : -len(CLOSE)])
    return [Call(call["name"], json.dumps(call["arguments"], ensure_ascii=False, separators=(",", ":")))]


def _check(request: Chat) -> None:
    names = [tool.name for tool in request.tools]
    for name in names:
        if not _NAME.fullmatch(name):
            raise NookError("tools", f"{name!r} cannot be a function's name.", "Use up to 64 letters, digits, _ and -.")
    if len({*names}) < len(names):
        raise NookError("tools", "Two functions have the same name.", "Give each its own.")
    if request.choice not in CHOICES:
        raise NookError("tools", f"There is no choice {request.choice!r}.", f"Use one of {', '.join(CHOICES)}.")
    if request.tool and request.tool not in names:
        raise NookError("tools", f"There is no function {request.tool!r} to call.", "Choose one of `tools`.")
    if request.choice == "required" and not names:
        raise NookError("tools", "A call is required, but there is no function.", "Pass `tools`.")
    if request.form and request.form.kind not in FORMS:
        raise NookError("form", f"There is no form {request.form.kind!r}.", f"Use one of {', '.join(FORMS)}.")


# ── the prompt ────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(tools: Sequence[Tool], must: bool) -> str:
    lines = []
    for tool in tools:
        told = {"name": tool.name, "description": tool.description, "parameters": _json(tool.parameters or _NOTHING)}
        lines.append(json.dumps(told, ensure_ascii=False, separators=(",", ":")))
    when = "Call one of these functions" if must else "You may call one of these functions if it helps"
    how = f'{OPEN}{{"name":"…","arguments":{{…}}}}{CLOSE}'
    return f"{when}:\n<tools>\n{chr(10).join(lines)}\n</tools>\nTo call it, write nothing but {how}"


def _shape(kind: str, of: str) -> list[str]:
    told = {"json": "Answer with a JSON object.", "schema": f"Answer with JSON of this schema: {of}"}
    return [told[kind]] if kind in told else []


def _with_notes(messages: list[Message], notes: list[str]) -> list[Message]:
    """The notes go to the end of the system's message."""
    if not notes:
        return messages
    head, rest = (messages[0][1], messages[1:]) if messages and messages[0][0] == "system" else (SYSTEM, messages)
    return [("system", "\n\n".join([head, *notes])), *rest]


def _message(turn: Turn) -> Message:
    """A turn as the model's template knows it: calls are what the assistant wrote, results what it was told."""
    if turn.role == "tool":
        return "user", f"<tool_response>{turn.content}</tool_response>"
    calls = [f'{OPEN}{{"name":{json.dumps(call.name)},"arguments":{call.arguments}}}{CLOSE}' for call in turn.calls]
    return turn.role, "\n".join([turn.content] * bool(turn.content or not calls) + calls)


# ── the grammar ───────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=8)
def _grammar(form: tuple[str, str] | None, tools: tuple[tuple[str, str], ...], must: bool) -> Grammar:
    """What may be written. Kept, since grammars keep what they have learnt."""

    def compile(arena: Arena) -> int:
        ways = [
            arena.seq(
                arena.literal(f'{OPEN}{{"name":"{name}","arguments":'.encode()),
                schema.compile(arena, _arguments(name, parameters)),
                arena.literal(f"}}{CLOSE}".encode()),
            )
            for name, parameters in tools
        ]
        if form and not must:
            ways.append(_formed(arena, *form))
        elif not must:
            call = arena.seq(arena.literal(OPEN.encode()), ALL)
            ways.append(arena.both(arena.repeat(text.utf8(arena, text.ANY)), arena.complement(call)))
        return arena.alt(ways)

    return Grammar("regex" if form and form[0] == "regex" and not tools else "schema", compile)


def _formed(arena: Arena, kind: str, of: str) -> int:
    if kind == "regex":
        return regex.compile(arena, of)
    return schema.compile(arena, _json(of) if kind == "schema" else {"type": "object"})


def _arguments(name: str, parameters: str) -> Any:
    """The schema of a function's arguments, which are an object."""
    of = _json(parameters)
    if not isinstance(of, dict) or of.get("type", "object") != "object":
        raise NookError("tools", f"The parameters of {name!r} are no object.", "Give a JSON schema of type object.")
    return {**of, "type": "object"}


def _json(of: str) -> Any:
    try:
        return parse(of)
    except ValueError as error:
        raise NookError("schema", f"The schema is not JSON: {error}.", "Pass a JSON schema.") from None
