"""The prompt file: front matter that says what a prompt is, and segments that are what it says.

    ---
    name: triage
    version: 1.2.0
    settings: {max_tokens: 8, temperature: 0}
    slots:
      ticket: {type: text, most: 4000}
    requirements:
      - {id: R1, text: Names a queue., threshold: 0.95, margin: 0.1}
    ---
    {{! a note for people}}
    {{#seg task kind=task req=R1 protect}}
    Which queue is it for: billing, technical or sales?
    {{/seg}}
    {{#seg ticket kind=input}}
    <ticket>{{ticket}}</ticket>
    {{/seg}}

A tag has a line of its own; `kind=`, `role=`, `req=R1,R2`, `when=slot`, `protect` and `glue` may follow the name. A
segment's text is what stands between the ends of the two lines, without the last line break. Printing gives back the
very file that was read, but for what was changed.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from typing import Any

from inglenook.errors import NookError
from inglenook.evals.calls import Settings
from inglenook.prompt import document
from inglenook.prompt.ast import TYPES, Prompt, Segment, Slot, unknown_slot
from inglenook.prompt.document import Document, Table
from inglenook.prompt.requirement import METRICS, OPS, SORTS, Requirement
from inglenook.wire.messages import Slo

_FENCE = "---"
_OPEN = re.compile(r"\{\{#seg(?:[ \t]+(?P<said>[^{}]*?))?[ \t]*\}\}[ \t]*")
_CLOSE = re.compile(r"\{\{/seg\}\}[ \t]*")
_NOTE = re.compile(r"\{\{![^{}]*\}\}[ \t]*|[ \t]*")
_FLAGS, _KEYS = ("protect", "glue"), ("kind", "role", "req", "when")
_PLAIN = Prompt(())


def parse(text: str, path: str = "prompt") -> Prompt:
    """The prompt of a file's text; `path` is only for messages.

    Raises NookError("prompt-yaml" | "prompt-file" | "prompt-part" | "prompt-slot" | "prompt-value" |
    "prompt-requirement"), each with file and line.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    if not lines or lines[0].rstrip() != _FENCE:
        hint = "Begin with front matter between two lines ---, or make the file: inglenook prompt import FILE."
        raise NookError("prompt-file", f"{path}:1: This is no prompt file.", hint)
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise NookError("prompt-file", f"{path}:1: The front matter does not end.", "Close it with a line ---.")
    front = "".join(lines[: end + 1])
    prompt = _front(front, path)
    known = {slot.name for slot in prompt.slots}
    segments: list[Segment] = []
    lead, at = "", end + 1
    while at < len(lines):
        line = lines[at].removesuffix("\n")
        if opened := _OPEN.fullmatch(line):
            last = next((n for n in range(at + 1, len(lines)) if _ends(lines[n])), None)
            if last is None or not _ends(lines[last], closing=True):
                raise _error(path, at, f"The segment opened by {line} does not end.", "Close it with a line {{/seg}}.")
            segment = _segment(lines[at : last + 1], opened["said"] or "", path, at, known)
            segments.append(replace(segment, lead=lead))
            lead, at = "", last + 1
        elif _NOTE.fullmatch(line):
            lead, at = lead + lines[at], at + 1
        else:
            hint = "Text stands between {{#seg NAME}} and {{/seg}}, each on a line of its own; notes in {{! … }}."
            raise _error(path, at, f"{line[:40]!r} stands in no segment.", hint)
    if not segments:
        raise _error(path, end, "The prompt has no segment.", "Add one: {{#seg task}}, its text, {{/seg}}.")
    try:
        return replace(prompt, segments=tuple(segments), tail=lead)
    except NookError as error:
        raise _error(path, end, error.message, error.hint, error.code) from None


def show(prompt: Prompt) -> str:
    """The prompt as a file: as the file it came from writes it, wherever that still says the same."""
    text = _head(prompt)
    for segment in prompt.segments:
        text = text if text.endswith("\n") else f"{text}\n"
        text += segment.lead + _shown(segment)
    return (text if text.endswith("\n") or not prompt.tail else f"{text}\n") + prompt.tail


def place(prompt: Prompt, segment: str, at: int) -> tuple[int, int]:
    """Line and column, from 1, of the character `at` of a segment's text in the file that `show` gives; (1, 1) for no
    segment."""
    for n, one in enumerate(prompt.segments):
        if one.name == segment:
            before = show(replace(prompt, segments=prompt.segments[:n], tail="")) if n else _head(prompt)
            before = before if before.endswith("\n") else f"{before}\n"
            line = before.count("\n") + one.lead.count("\n") + 2 + one.text.count("\n", 0, at)
            return line, at - (one.text.rfind("\n", 0, at) + 1) + 1
    return 1, 1


def header(prompt: Prompt) -> dict[str, Any]:
    """The front matter as plain JSON: what is not as by default."""
    said: dict[str, Any] = {"name": prompt.name, "version": prompt.version}
    said |= {key: value for key in ("description", "target") if (value := getattr(prompt, key))}
    if settings := _changed(prompt.settings, Settings()):
        said["settings"] = settings
    if prompt.slots:
        said["slots"] = {slot.name: _changed(slot, Slot(slot.name)) for slot in prompt.slots}
    if prompt.requirements:
        said["requirements"] = [{"id": one.id} | _changed(one, Requirement(one.id)) for one in prompt.requirements]
    return said | ({"metadata": dict(prompt.metadata)} if prompt.metadata else {})


def _head(prompt: Prompt) -> str:
    if prompt.front and _front(prompt.front, "") == prompt.only(()):
        return prompt.front
    return f"{_FENCE}\n{document.dump(header(prompt))}{_FENCE}\n"


def requirements(table: Table) -> tuple[Requirement, ...]:
    """The requirements that a front matter, or a file of their own, lists under `requirements`."""
    return tuple(_requirement(one) for one in table.tables("requirements"))


def _front(text: str, path: str) -> Prompt:
    """The prompt that front matter, fences and all, describes: all but its segments."""
    inside = text[text.index("\n") + 1 : text.rindex(_FENCE)]
    table = _table(document.load(inside, path, 2))
    prompt = Prompt(
        (),
        tuple(_slot(name, table.table("slots")) for name in table.mapping("slots")),
        table.text("name", _PLAIN.name),
        table.text("version", _PLAIN.version),
        table.text("description"),
        table.text("target"),
        _settings(table.table("settings")),
        requirements(table),
        table.mapping("metadata"),
        front=text,
    )
    table.done()
    ids = [one.id for one in prompt.requirements]
    if twice := {one for one in ids if ids.count(one) > 1}:
        raise table.error(f"Two requirements have the id {min(twice)}.", "Give each its own.", "requirements")
    return prompt


def _table(read: Document) -> Table:
    return Table(read, (), {}) if read.value is None else read.table()


def _slot(name: str, slots: Table) -> Slot:
    table = Table(slots.document, (*slots.place, name), {}) if slots.get(name) is None else slots.table(name)
    try:
        slot = Slot(
            name,
            table.one("type", TYPES, "text"),  # type: ignore[arg-type]
            table.flag("required", True),
            table.get("default"),
            table.texts("choices"),
            table.maybe("least"),
            table.maybe("most"),
            table.text("description"),
            tuple(table.items("examples")),
            table.flag("trusted"),
        )
    except NookError as error:
        if error.code == "prompt-file":
            raise
        raise table.document.error(error.message, error.hint, table.place, error.code) from None
    table.done()
    return slot


def _settings(table: Table) -> Settings:
    plain = Settings()
    slo = table.table("slo")
    wanted = Slo(slo.maybe("first"), slo.maybe("token")) if slo.data else None
    slo.done()
    settings = Settings(
        table.whole("max_tokens", plain.max_tokens),
        table.number("temperature", plain.temperature),
        table.number("top_p", plain.top_p),
        table.texts("stop"),
        table.mapping("response_format") or None,
        table.whole("logprobs", plain.logprobs),
        wanted,
        table.whole("level", 0) if "level" in table else None,
    )
    table.done()
    return settings


def _requirement(table: Table) -> Requirement:
    plain = Requirement("R")
    try:
        made = Requirement(
            table.text("id"),
            table.text("text"),
            table.one("sort", SORTS, plain.sort),  # type: ignore[arg-type]
            table.one("metric", METRICS, plain.metric),
            table.one("op", OPS, plain.op),
            table.maybe("limit"),
            table.number("threshold", plain.threshold),
            table.number("margin", plain.margin),
            table.number("alpha", plain.alpha),
            table.number("beta", plain.beta),
            table.texts("needs"),
            table.text("rationale"),
        )
    except NookError as error:
        if error.code == "prompt-file":
            raise
        raise table.document.error(error.message, error.hint, table.place, error.code) from None
    table.done()
    return made


def _segment(lines: list[str], attributes: str, path: str, at: int, known: set[str]) -> Segment:
    """The segment of its lines, from tag to tag, the first being line `at` (from 0) of the file."""
    inside = "".join(lines[1:-1])
    tag = lines[0] + (inside if inside == "\n" else "") + lines[-1]
    try:
        segment = Segment(text=inside.removesuffix("\n"), tag=tag, **_attributes(attributes))
    except NookError as error:
        wrong = next((n for n, line in enumerate(lines[1:-1], 1) if not _sound(line)), 0)
        raise _error(path, at + wrong, error.message, error.hint, error.code) from None
    for name in (*segment.slots, *filter(None, [segment.when])):
        if name not in known:
            told = unknown_slot(name, sorted(known), f"the segment {segment.name}")
            where = next((n for n, line in enumerate(lines[1:-1], 1) if name in Segment("x", line).slots), 0)
            hint = f"{told.hint} Declare it in the front matter: slots: {{{name}: {{type: text}}}}."
            raise _error(path, at + where, told.message, hint, told.code)
    return segment


def _attributes(said: str) -> dict[str, Any]:
    """What a tag says, as fields of a segment. Raises NookError("prompt-part")."""
    name, *rest = said.split() or [""]
    found: dict[str, Any] = {"name": name}
    for word in rest:
        key, given, value = word.partition("=")
        if key in found or key not in (_KEYS if given else _FLAGS):
            hint = f"After the name may stand, once each: {' '.join([*(f'{one}=…' for one in _KEYS), *_FLAGS])}."
            raise NookError("prompt-part", f"The tag of the segment {name} has {word!r}.", hint)
        found[key] = value if given else True
    ids = tuple(filter(None, found.pop("req", "").split(",")))
    return {("protected" if key == "protect" else key): value for key, value in found.items()} | {"requirements": ids}


def _shown(segment: Segment) -> str:
    first, _, rest = segment.tag.partition("\n")
    opened = _OPEN.fullmatch(first)
    plain = Segment(text=segment.text, **_attributes(opened["said"] or "")) if opened else None
    if plain != segment:
        words = [segment.name, *(f"{key}={value}" for key in ("kind", "role", "when")
                                 if (value := getattr(segment, key)) != getattr(Segment("x", ""), key))]  # fmt: skip
        words += [f"req={','.join(segment.requirements)}"] if segment.requirements else []
        words += [word for word, on in (("protect", segment.protected), ("glue", segment.glue)) if on]
        first, rest = f"{{{{#seg {' '.join(words)}}}}}", "{{/seg}}\n"
    if segment.text:
        rest = f"{segment.text}\n{rest.lstrip(chr(10))}"
    return f"{first}\n{rest}"


def _ends(line: str, closing: bool = False) -> bool:
    """Whether a segment ends here: by its closing tag, or wrongly by another's opening."""
    line = line.removesuffix("\n")
    return bool(_CLOSE.fullmatch(line) or (not closing and _OPEN.fullmatch(line)))


def _sound(line: str) -> bool:
    try:
        Segment("x", line)
    except NookError:
        return False
    return True


def _changed(one: Any, plain: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as in `plain`, as plain JSON."""
    said: dict[str, Any] = {}
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if value != getattr(plain, field.name):
            inner = _changed(value, Slo()) if isinstance(value, Slo) else value
            said[field.name] = list(inner) if isinstance(inner, tuple) else inner
    return said


def _error(path: str, at: int, message: str, hint: str, code: str = "prompt-file") -> NookError:
    return NookError(code, f"{path}:{at + 1}: {message}", hint)
