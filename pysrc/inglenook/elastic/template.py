"""A model's own chat template: the Jinja in its tokenizer_config.json, chat_template.jinja or GGUF file.

    tokenizer.chat = Template(tokenizer, "small")      # from now on `chat.encode` goes by it

It is rendered in Jinja's sandbox with what transformers gives to templates: trimmed blocks, loop controls, `tojson`,
`raise_exception`, `strftime_now`. What it writes is the whole text: no tokenizer of ours adds anything, so a text
begins with one BOS, or with none, as the template says.

What people write stays text: where a message holds a control token's text, a noncharacter breaks it before the template
sees it, and is left out of what is encoded. Of a template that takes no system turn, the first turn of the user does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

MARK = "\ufdd0"
_PROBE = "a probe"
_HINT = "Take the template from the model's own page, or name another tokenizer."


class Template:
    """The template of a tokenizer, of the model that errors call `name`. Raises NookError("model-unsupported")."""

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        self._tokenizer, self._name = tokenizer, name
        controls = sorted(tokenizer.specials, key=len, reverse=True)
        self._controls = re.compile(f"({'|'.join(map(re.escape, controls)) or '(?!)'})")
        try:
            self._template = _environment().from_string(tokenizer.template)
        except TemplateSyntaxError as error:
            raise self._broken(f"is no Jinja, in line {error.lineno}: {str(error.message).rstrip('.')}") from error
        try:
            shown = _PROBE in self.render([("user", _PROBE)])
        except NookError as error:
            raise NookError("model-unsupported", error.message, _HINT) from error
        if not shown:
            raise self._broken("leaves out what the user says")
        try:
            self._system = _PROBE in self.render([("system", _PROBE), ("user", "x")])
        except NookError:
            self._system = False

    def render(self, messages: Sequence[tuple[str, str]], generate: bool = True) -> str:
        """The template's text. Raises NookError("role" | "model-unsupported")."""
        turns = [{"role": role, "content": content} for role, content in messages]
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=generate, tools=None, documents=None, **self._tokenizer.names
            )
        except _Refusal as error:
            message = f"The chat template of {self._name} refuses this chat: {error.message}"
            raise NookError("role", message, "Send the turns that it wants, in its order.") from error
        except Exception as error:  # whatever its expressions come to
            raise self._broken(f"fails: {str(error).rstrip('.')}") from error

    def encode(self, messages: Sequence[tuple[str, str]], generate: bool = True) -> list[int]:
        """The ids of `render`'s text, except that nothing inside a message becomes a control token."""
        turns = [(role, self._plain(content)) for role, content in messages]
        if not self._system and turns and turns[0][0] == "system":
            (_, told), *turns = turns
            at = next((n for n, (role, _) in enumerate(turns) if role == "user"), None)
            if at is None:
                turns = [("user", told), *turns]
            else:
                turns[at] = ("user", f"{told}\n\n{turns[at][1]}")
        ids: list[int] = []
        for n, part in enumerate(self._controls.split(self.render(turns, generate))):
            if n % 2:
                ids.append(self._tokenizer.specials[part])
            else:
                ids += self._tokenizer.encode(part.replace(MARK, ""), special=False)
        return ids

    def _plain(self, content: str) -> str:
        return self._controls.sub(lambda found: f"{found[0][0]}{MARK}{found[0][1:]}", content.replace(MARK, ""))

    def _broken(self, what: str) -> NookError:
        return NookError("model-unsupported", f"The chat template of {self._name} {what}.", _HINT)


class _Refusal(TemplateError):
    """What a template says with `raise_exception`."""


class _Generation(Extension):
    """{% generation %} … {% endgeneration %}: what a model is trained to write. Here it is just text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    made.filters["tojson"] = _json
    made.globals.update(raise_exception=_refuse, strftime_now=lambda form: datetime.now().strftime(form))
    return made


def _refuse(message: str) -> None:
    raise _Refusal(message)


def _json(value: Any, indent: int | None = None, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **how)
