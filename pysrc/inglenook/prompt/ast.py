"""What a prompt is made of: segments of text with typed slots, and how they become messages.

    prompt = Prompt((Segment("task", "Sort this ticket: {{ticket}}", "task"),), (Slot("ticket"),), name="triage")
    rendered = prompt.render({"ticket": "My card was charged twice."})
    rendered.messages[0].content[rendered.spans[0][0].start:]     # the characters that came from "task"

In a segment's text `{{name}}` is a slot and `\\{{` two braces; two braces are followed by nothing else. Neighbouring
segments of one role are one message, a line break between them unless the second is `glue`d on. Everything is
immutable: `without`, `only` and `put` give another prompt. Wrong parts raise NookError("prompt-part" | "prompt-slot"),
wrong values NookError("prompt-value").
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, TypeVar, get_args

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Message, Settings
from inglenook.prompt.requirement import Requirement

T = TypeVar("T")
Kind: TypeAlias = Literal["persona", "task", "context", "constraint", "example", "format", "guard", "input", "text"]
Role: TypeAlias = Literal["system", "user", "assistant"]
Type: TypeAlias = Literal["text", "line", "integer", "number", "boolean", "choice", "json"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROLES: tuple[Role, ...] = get_args(Role)
TYPES: tuple[Type, ...] = get_args(Type)

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# An escape, a slot, or two braces that are neither.
_MARK = re.compile(r"\\\{\{|\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}|\{\{")


@dataclass(frozen=True, slots=True)
class Slot:
    """A hole in a prompt, filled when it is rendered.

    `type`: text (any), line (no line break), integer, number, boolean, choice (one of `choices`), json (any JSON).
    `least` and `most` bound a number, or how many characters a text has. `trusted` says that values come from whoever
    wrote the prompt, not from outside. A slot that is neither `required` nor has a `default` is filled with nothing.
    None is no value.
    """

    name: str
    type: Type = "text"
    required: bool = True
    default: object = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    description: str = ""
    examples: tuple[object, ...] = ()
    trusted: bool = False

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.name):
            raise NookError("prompt-slot", f"{self.name!r} is no name for a slot.", "Use letters, digits and _.")
        if self.type not in TYPES:
            raise NookError(
                "prompt-slot", f"The slot {self.name} has the type {self.type!r}.", nearest(self.type, TYPES)
            )
        if (self.type == "choice") != bool(self.choices):
            hint = "Slots of type choice have `choices`, others have none."
            raise NookError(
                "prompt-slot", f"The slot {self.name} of type {self.type} has {len(self.choices)} choices.", hint
            )
        for value in (*self.examples, *([] if self.default is None else [self.default])):
            self.spell(value)

    def spell(self, value: object) -> str:
        """The value as it stands in the prompt. Raises NookError("prompt-value") if it is none of this slot's."""
        match self.type, value:
            case "json", _:
                return json.dumps(value, ensure_ascii=False)
            case "boolean", bool():
                return "true" if value else "false"
            case "choice", str() if value in self.choices:
                return value
            case (("text" | "line"), str()) if self.type == "text" or "\n" not in value:
                self._bounded(len(value), value)
                return value
            case (("integer" | "number"), (int() | float())) if not isinstance(value, bool) and abs(value) < math.inf:
                if self.type == "number" or value == int(value):
                    self._bounded(value, value)
                    return str(int(value)) if self.type == "integer" else str(value)
        wanted = f"one of {', '.join(self.choices)}" if self.type == "choice" else f"of type {self.type}"
        raise NookError("prompt-value", f"{short(value)} is no value for the slot {self.name}.", f"It is {wanted}.")

    def _bounded(self, size: float, value: object) -> None:
        unit = " characters" if isinstance(value, str) else ""
        if self.least is not None and size < self.least:
            hint = f"At least {self.least:g}{unit}."
            raise NookError("prompt-value", f"{short(value)} is too little for the slot {self.name}.", hint)
        if self.most is not None and size > self.most:
            hint = f"At most {self.most:g}{unit}."
            raise NookError("prompt-value", f"{short(value)} is too much for the slot {self.name}.", hint)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt that can be tested, moved or left out by itself.

    `requirements` are ids; a `protected` segment is changed by people only, never by a pass or by evolution; with
    `when` it is there only if that slot has a value that is not false, empty or 0, as in Jinja and Handlebars. `lead`
    and `tag` are how its file writes it, not what it is.
    """

    name: str
    text: str
    kind: Kind = "text"
    role: Role = "user"
    requirements: tuple[str, ...] = ()
    protected: bool = False
    glue: bool = False
    when: str = ""
    lead: str = field(default="", compare=False, repr=False)
    tag: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise NookError("prompt-part", f"{self.name!r} is no name for a segment.", "Use letters, digits, - and _.")
        for value, known in ((self.kind, KINDS), (self.role, ROLES)):
            if value not in known:
                raise NookError(
                    "prompt-part", f"{value!r} is unknown in the segment {self.name}.", nearest(value, known)
                )
        for match in _MARK.finditer(self.text):
            if match[0] == "{{":
                hint = r"A slot is {{name}}; write \{{ for two braces."
                there = self.text[match.start() : match.start() + 20].split("\n")[0]
                raise NookError("prompt-slot", f"The segment {self.name} has {there!r}, which is no slot.", hint)

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots in its text, in order, each once."""
        return tuple(dict.fromkeys(match[1] for match in _MARK.finditer(self.text) if match[1]))

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Its text as (literal, "") and ("", slot), in order; literals as they are rendered."""
        end = 0
        for match in _MARK.finditer(self.text):
            literal = self.text[end : match.start()] + ("" if match[1] else "{{")
            if literal:
                yield literal, ""
            if match[1]:
                yield "", match[1]
            end = match.end()
        if end < len(self.text):
            yield self.text[end:], ""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of a message came from `segment`; from its `slot`, or from its own text ("")."""

    start: int
    end: int
    segment: str
    slot: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with values: the messages, and of each message the spans, in order. Line breaks that join segments are
    in none."""

    messages: tuple[Message, ...]
    spans: tuple[tuple[Span, ...], ...]

    def source(self, message: int, at: int) -> Span | None:
        """Where the character `at` of a message came from."""
        return next((span for span in self.spans[message] if span.start <= at < span.end), None)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and all that is said about it. `target` is the model it is written for ("": any), `front` and `tail` are
    how its file writes the rest: no part of what it is."""

    segments: tuple[Segment, ...]
    slots: tuple[Slot, ...] = ()
    name: str = "prompt"
    version: str = "0.1.0"
    description: str = ""
    target: str = ""
    settings: Settings = field(default_factory=Settings)
    requirements: tuple[Requirement, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    front: str = field(default="", compare=False, repr=False)
    tail: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        parts: dict[str, Sequence[Segment | Slot]] = {"segments": self.segments, "slots": self.slots}
        for what, some in parts.items():
            names = [part.name for part in some]
            if twice := {name for name in names if names.count(name) > 1}:
                raise NookError("prompt-part", f"Two {what} are called {min(twice)}.", "Give each its own name.")
        known = [slot.name for slot in self.slots]
        for segment in self.segments:
            for name in (*segment.slots, *filter(None, [segment.when])):
                if name not in known:
                    raise unknown_slot(name, known, f"the segment {segment.name}")

    def __getitem__(self, name: str) -> Segment:
        """The segment of that name. Raises KeyError."""
        return {one.name: one for one in self.segments}[name]

    def slot(self, name: str) -> Slot:
        """The slot of that name. Raises KeyError."""
        return {one.name: one for one in self.slots}[name]

    @property
    def digest(self) -> str:
        """32 hex digits that change when anything changes that a model could notice."""
        said = [[one.name, one.text, one.role, one.glue, one.when] for one in self.segments]
        slots = [[one.name, one.type, one.required, one.default] for one in self.slots]
        empty = Call("", (), self.settings).canonical()
        return hashlib.sha256(json.dumps([said, slots, empty]).encode()).hexdigest()[:32]

    def without(self, names: Collection[str]) -> Prompt:
        """The prompt without these segments; slots stay declared, so the same values still fit."""
        return replace(self, segments=tuple(one for one in self.segments if one.name not in names))

    def only(self, names: Collection[str]) -> Prompt:
        """The prompt with these segments alone, in its own order."""
        return replace(self, segments=tuple(one for one in self.segments if one.name in names))

    def put(self, segment: Segment, before: str | None = None) -> Prompt:
        """The prompt with this segment in the place of the one of its name; else before `before`, else at the end."""
        names = [one.name for one in self.segments]
        if segment.name in names:
            at = names.index(segment.name)
            return replace(self, segments=(*self.segments[:at], segment, *self.segments[at + 1 :]))
        at = names.index(before) if before is not None else len(names)
        return replace(self, segments=(*self.segments[:at], segment, *self.segments[at:]))

    def render(self, values: Mapping[str, object] | None = None) -> Rendered:
        """The messages for these values of the slots.

        Raises NookError("prompt-slot") for values of slots that are not there and for required slots without a value,
        NookError("prompt-value") for values that do not fit their slots.
        """
        given = self._given(values or {})
        filled = {slot.name: "" if (value := given[slot.name]) is None else slot.spell(value) for slot in self.slots}
        messages: list[Message] = []
        spans: list[tuple[Span, ...]] = []
        role, text, marks = "", "", list[Span]()

        def close() -> None:
            if role:
                messages.append(Message(role, text))
                spans.append(tuple(marks))

        for segment in self.segments:
            if segment.when and not given[segment.when]:
                continue
            if segment.role != role:
                close()
                role, text, marks = segment.role, "", []
            elif not segment.glue:
                text += "\n"
            for literal, slot in segment.pieces():
                piece = filled[slot] if slot else literal
                if piece:
                    marks.append(Span(len(text), len(text) + len(piece), segment.name, slot))
                text += piece
        close()
        return Rendered(tuple(messages), tuple(spans))

    def call(self, values: Mapping[str, object] | None = None, target: str = "", seed: int = 0) -> Call:
        """The call that asks `target` (the prompt's own, if none is given) with these values."""
        return Call(target or self.target, self.render(values).messages, self.settings, seed)

    def _given(self, values: Mapping[str, object]) -> dict[str, object]:
        """The value of each slot: what is given, else its default."""
        known = [slot.name for slot in self.slots]
        for name in values:
            if name not in known:
                raise unknown_slot(name, known, "the values")
        found: dict[str, object] = {}
        for slot in self.slots:
            value = values.get(slot.name)
            found[slot.name] = value = slot.default if value is None else value
            if value is None and slot.required:
                hint = f"Give one of type {slot.type}: --set {slot.name}=…"
                raise NookError("prompt-slot", f"The slot {slot.name} has no value.", hint)
        return found


def escape(text: str) -> str:
    """A text as a segment's text that renders as just this text."""
    return text.replace("{{", r"\{{")


def unknown_slot(name: str, known: Iterable[str], where: str) -> NookError:
    """The error for a slot that is not declared."""
    return NookError("prompt-slot", f"There is no slot {name}, which {where} names.", nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the known name that looks most like this one, else all of them."""
    known = list(known)
    found = difflib.get_close_matches(name, known, 1, 0.7)
    return f"Did you mean {found[0]}?" if found else f"One of: {', '.join(known) or 'none'}."


def named(what: str, names: Iterable[str], known: Mapping[str, T], code: str = "no-part") -> list[T]:
    """What goes by these names. Raises NookError(code) for one that there is none of."""
    for name in names:
        if name not in known:
            raise NookError(code, f"There is no {what} {name!r}.", nearest(name, known))
    return [known[name] for name in names]


def short(value: object) -> str:
    """A value for a message to people."""
    said = repr(value)
    return said if len(said) <= 40 else said[:37] + "…"
