"""Messages as other tools write them, lists of {role, content}, to and from prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from inglenook.errors import NookError
from inglenook.evals.calls import Settings
from inglenook.prompt.ast import ROLES, Prompt, Role, Slot
from inglenook.prompt.document import Table
from inglenook.prompt.exchange.carried import Loss
from inglenook.prompt.exchange.dialect import Reader

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "developer": "system",
                           "model": "assistant", "human": "user", "ai": "assistant"}  # fmt: skip


def assemble(reader: Reader, messages: Iterable[tuple[str, str]], slots: Iterable[Slot] = (), **more: Any) -> Prompt:
    """The prompt of (role, template) messages; slots that the templates use and nobody declares are texts."""
    segments = [segment for said, content in messages for segment in reader.message(role(said, reader.where), content)]
    declared = {slot.name: slot for slot in slots}
    used = [declared.get(name, Slot(name, required=name not in reader.optional)) for name in reader.slots]
    return Prompt(
        tuple(segments), (*used, *(slot for slot in declared.values() if slot.name not in reader.slots)), **more
    )


def role(said: str, where: str) -> Role:
    """Our name of a role. Raises NookError("prompt-import") if there is none."""
    if said.lower() not in _ROLES:
        raise NookError(
            "prompt-import", f"{where}: A message has the role {said!r}.", f"Use one of: {', '.join(ROLES)}."
        )
    return _ROLES[said.lower()]


def messages(table: Table, key: str, reader: Reader) -> list[tuple[str, str]]:
    """The messages listed under a key. Parts that are no text are lost."""
    found = []
    for one in table.tables(key):
        content = one.get("content", "")
        if isinstance(content, list):
            texts = [part.get("text", "") for part in content if isinstance(part, dict) and part.get("type") == "text"]
            if len(texts) < len(content):
                where = f"{one.document.path}:{one.document.line(one.place)}"
                reader.lost.append(Loss(where, "parts of a message that are no text", "prompt files hold text"))
            content = "\n".join(texts)
        found.append((one.text("role"), content if isinstance(content, str) else one.text("content")))
    return found


def settings(said: Mapping[str, Any], names: Mapping[str, str], where: str, lost: list[Loss]) -> Settings:
    """Settings of a model as another tool calls them; `names` gives ours. What we have none of is lost."""
    made: dict[str, Any] = {}
    for key, value in said.items():
        name = names.get(key)
        try:
            if name is None or value is None:
                lost.append(Loss(where, f"the setting {key}", "there is no such setting here"))
            elif name == "stop":
                made[name] = (value,) if isinstance(value, str) else tuple(map(str, value))
            elif name == "max_tokens":
                made[name] = int(value)
            elif name == "response_format":
                made[name] = dict(value)
            else:
                made[name] = float(value)
        except (TypeError, ValueError):
            hint = "Write it as the tool's manual does."
            raise NookError("prompt-import", f"{where}: The setting {key} cannot be {value!r}.", hint) from None
    return replace(Settings(), **made)


def told(said: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    """Settings that are not as by default, as another tool calls them."""
    plain = Settings()
    values = {
        other: getattr(said, ours) for other, ours in names.items() if getattr(said, ours) != getattr(plain, ours)
    }
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
