"""Templates of other tools: their slots and conditions become ours, and ours theirs.

| dialect | slot | condition | two braces |
|---|---|---|---|
| `JINJA` (promptfoo, prompty, lm-eval) | `{{ x }}` | `{% if x %}…{% endif %}` | `{% raw %}{{{% endraw %}` |
| `HANDLEBARS` (dotprompt) | `{{x}}` | `{{#if x}}…{{/if}}` | `\\{{` |
| `PLAIN` (GitHub, OpenAI evals) | `{{x}}` | none | `{{` |

Only conditions on a slot that hold no other are carried; loops, filters, partials and comments are not, and stay in the
text as they stood, escaped, so that nothing is lost silently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from inglenook.prompt.ast import Prompt, Role, Segment, escape
from inglenook.prompt.exchange.carried import Loss
from inglenook.prompt.exchange.paragraphs import named, paragraphs


@dataclass(frozen=True)
class Dialect:
    """`condition` finds conditions (groups: slot, text), `opened` and `closed` write one; `raw` finds braces that are
    text, `braces` writes them."""

    condition: re.Pattern[str] | None
    opened: str
    closed: str
    raw: re.Pattern[str] | None
    braces: str


JINJA = Dialect(
    re.compile(r"\{%-?\s*if\s+(\w+)\s*-?%\}((?:(?!\{%-?\s*(?:if|el|for)).)*?)\{%-?\s*endif\s*-?%\}", re.DOTALL),
    "{{% if {} %}}", "{% endif %}", re.compile(r"\{%-?\s*raw\s*-?%\}(.*?)\{%-?\s*endraw\s*-?%\}", re.DOTALL),
    "{% raw %}{{{% endraw %}",
)  # fmt: skip
HANDLEBARS = Dialect(
    re.compile(r"\{\{#if\s+(\w+)\s*\}\}((?:(?!\{\{(?:#|else)).)*?)\{\{/if\}\}", re.DOTALL),
    "{{{{#if {}}}}}", "{{/if}}", re.compile(r"\\(\{\{)"), r"\{{",
)  # fmt: skip
PLAIN = Dialect(None, "", "", None, "{{")

# In the order they are tried: a slot, a path of one, anything else that is template.
_SLOT = re.compile(r"\{\{\{?-?[ \t]*([A-Za-z_]\w*)[ \t]*-?\}\}\}?")
_PATH = re.compile(r"\{\{[ \t]*([A-Za-z_][\w]*(?:[.-]\w+)+)[ \t]*\}\}")
_OTHER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HELD = re.compile("\x00(\\d+)\x00")


@dataclass
class Reader:
    """Turns messages of another tool's template into segments, and keeps what it met: slots, and what is lost."""

    dialect: Dialect
    where: str
    slots: dict[str, None] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    lost: list[Loss] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def literal(self, role: Role, content: str) -> list[Segment]:
        """The segments of a message that is no template: braces in it are braces."""
        made = []
        for piece in paragraphs(content):
            name, kind = named(piece, role, self.names)
            made.append(Segment(name, escape(piece), kind, role))
        return made

    def message(self, role: Role, content: str) -> list[Segment]:
        """The segments of one message; rendered, they give its text."""
        made: list[Segment] = []
        for text, when in self._conditions(content):
            for n, piece in enumerate(paragraphs(text)):
                glue = bool(made) and n == 0 and not piece.startswith("\n")
                if made and n == 0 and not glue:
                    piece = piece[1:]
                name, kind = named(piece, role, self.names)
                made.append(Segment(name, self._slots(piece), kind, role, glue=glue, when=when))
        return made

    def _conditions(self, content: str) -> list[tuple[str, str]]:
        pieces, end = [], 0
        for match in self.dialect.condition.finditer(content) if self.dialect.condition else ():
            pieces += [(content[end : match.start()], ""), (match[2], match[1])]
            self.slots[match[1]] = None
            self.optional.add(match[1])
            end = match.end()
        pieces.append((content[end:], ""))
        return [piece for piece in pieces if piece[0]] or [("", "")]

    def _slots(self, text: str) -> str:
        held: list[str] = []

        def hold(piece: str) -> str:
            held.append(piece)
            return f"\0{len(held) - 1}\0"

        def slot(match: re.Match[str]) -> str:
            self.slots[match[1]] = None
            return hold(f"{{{{{match[1]}}}}}")

        def path(match: re.Match[str]) -> str:
            name = re.sub(r"\W", "_", match[1])
            self.slots[name] = None
            self.lost.append(Loss(self.where, match[1], f"the slot {name} stands for it: slots have no parts"))
            return hold(f"{{{{{name}}}}}")

        def other(match: re.Match[str]) -> str:
            self.lost.append(Loss(self.where, match[0][:60], "slots and simple conditions only; it stays as text"))
            return hold(escape(match[0]))

        if self.dialect.raw:
            text = self.dialect.raw.sub(lambda match: hold(escape(match[1])), text)
        text = _OTHER.sub(other, _PATH.sub(path, _SLOT.sub(slot, text)))
        text = escape(text)
        return _HELD.sub(lambda match: held[int(match[1])], text)


def write(prompt: Prompt, dialect: Dialect) -> tuple[list[tuple[Role, str]], list[Loss]]:
    """The prompt's messages as (role, template), and what the dialect has no way to say."""
    lost: list[Loss] = []
    messages: list[tuple[Role, str]] = []
    runs: list[list[Segment]] = []
    for segment in prompt.segments:
        if runs and runs[-1][-1].role == segment.role:
            runs[-1].append(segment)
        else:
            runs.append([segment])
    for run in runs:
        fixed = next((n for n, one in enumerate(run) if not one.when), len(run))
        if fixed == len(run) or (fixed and run[fixed].glue):
            lost.append(Loss(run[0].name, "a turn that may be empty", "its line breaks stay where it is"))
        text = ""
        for n, segment in enumerate(run):
            said = "".join(f"{{{{{slot}}}}}" if slot else literal.replace("{{", dialect.braces)
                           for literal, slot in segment.pieces())  # fmt: skip
            if dialect.raw is None and any("{{" in literal for literal, _ in segment.pieces()):
                lost.append(Loss(segment.name, "two braces that are text", "the format has only slots in braces"))
            leads = n < fixed < len(run)  # conditions before the first text that is always there bring their break
            said = f"{said}\n" if leads else said if segment.glue or n in (0, fixed) else f"\n{said}"
            if segment.when and dialect.condition:
                said = dialect.opened.format(segment.when) + said + dialect.closed
            elif segment.when:
                lost.append(
                    Loss(segment.name, f"when={segment.when}", "the format has no conditions; it always stands")
                )
            text += said
        messages.append((run[0].role, text))
    return messages, lost


def unsaid(prompt: Prompt, *kept: str) -> list[Loss]:
    """What no foreign format but the `kept` ones carries: segments' names and traces, requirements, bounds of slots."""
    lost = []
    if prompt.requirements and "requirements" not in kept:
        lost.append(Loss(prompt.name, f"{len(prompt.requirements)} requirements", "the format has no place for them"))
    if any(one.protected or one.requirements for one in prompt.segments):
        lost.append(Loss(prompt.name, "what segments are traced to, and protected", "the format has no segments"))
    for slot in prompt.slots:
        bounds = [name for name in ("least", "most", "trusted") if getattr(slot, name)]
        typed = [] if "types" in kept or slot.type in ("text", "line") else [f"type {slot.type}"]
        if bounds or typed:
            lost.append(Loss(f"slot {slot.name}", ", ".join([*typed, *bounds]), "the format does not type slots so"))
    settings = prompt.settings
    ours = [name for name in ("slo", "level", "logprobs") if getattr(settings, name)]
    return lost + [Loss(prompt.name, f"settings.{name}", "only elastic models of ours know it") for name in ours]
