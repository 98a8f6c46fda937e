"""SmolLM2's chat format: what people write stays text, whatever it contains.

The model's own template (tokenizer.chat_template in its GGUF file, ChatML) is Jinja; this is the same as a function,
held to it by tests/system. `encode` does not tokenise the rendered text: control tokens are put in by id and the
content between them is encoded as plain text, so a document that contains "<|im_end|>" cannot end its own turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

Message = tuple[str, str]  # role, content

ROLES = ("system", "user", "assistant")
START, END = "<|im_start|>", "<|im_end|>"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_DEFAULT = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^<>{}'\"]+)<\|im_end\|>")  # of other models' templates


def render(messages: Sequence[Message], generate: bool = True) -> str:
    """The template's text; with `generate` it ends where the assistant is to go on."""
    turns = "".join(f"{START}{role}\n{content}{END}\n" for role, content in _turns(messages))
    return turns + (f"{START}assistant\n" if generate else "")


def encode(messages: Sequence[Message], tokenizer: Tokenizer, generate: bool = True) -> list[int]:
    """The ids of `render`'s text, except that nothing inside a message becomes a control token.

    Where the model's own template has another default for the system's turn, that one is taken. Raises
    NookError("role" | "model-unsupported"), the latter for models whose chats are no ChatML, and that have no
    `Tokenizer.chat`.
    """
    if tokenizer.chat:
        return tokenizer.chat.encode(_known(messages), generate)
    if not {START, END} <= tokenizer.specials.keys():
        hint = "Use a model whose chats are ChatML, with <|im_start|> and <|im_end|>."
        raise NookError("model-unsupported", "The chat format of this model is not known.", hint)
    start, end = tokenizer.specials[START], tokenizer.specials[END]
    ids: list[int] = []
    for role, content in _turns(messages, _system(tokenizer)):
        ids += [start, *tokenizer.encode(f"{role}\n{content}", special=False), end]
        ids += tokenizer.encode("\n", special=False)
    if generate:
        ids += [start, *tokenizer.encode("assistant\n", special=False)]
    return ids


def shortened(messages: Sequence[Message], most: int, tokenizer: Tokenizer) -> list[int]:
    """The ids of at most `most` tokens of a chat that is longer: the oldest turns go first, the system's stays, and of
    the last turn the end. Raises NookError("context") if not even that leaves room."""
    turns = _known(messages) if tokenizer.chat else _turns(messages, _system(tokenizer))
    system = [turn for turn in turns[:1] if turn[0] == "system"]
    rest = turns[len(system) :]
    while len(rest) > 1 and len(encode([*system, *rest], tokenizer)) > most:
        rest = rest[1:]
        while tokenizer.chat and len(rest) > 1 and rest[0][0] != "user":  # where most templates want a chat to begin
            rest = rest[1:]
    ids = encode([*system, *rest], tokenizer)
    if len(ids) <= most:
        return ids
    role, content = rest[-1] if rest else ("user", "")
    room = most - len(encode([*system, (role, "")], tokenizer))
    if room <= 0:
        raise NookError("context", f"The instructions alone have more than {most} tokens.", "Shorten the system turn.")
    kept = b"".join(map(tokenizer.piece, tokenizer.encode(content, special=False)[-room:])).decode("utf-8", "ignore")
    while len(ids := encode([*system, (role, kept)], tokenizer)) > most:
        kept = kept[max(1, len(kept) // 64) :]
    return ids


def _system(tokenizer: Tokenizer) -> str:
    """What the model's own template gives the system to say where nobody does."""
    default = _DEFAULT.search(tokenizer.template)
    return default[1] if default else SYSTEM


def _turns(messages: Sequence[Message], system: str = SYSTEM) -> list[Message]:
    turns = _known(messages)
    return [("system", system), *turns] if turns and turns[0][0] != "system" else turns


def _known(messages: Sequence[Message]) -> list[Message]:
    for role, _ in messages:
        if role not in ROLES:
            raise NookError("role", f"There is no role {role!r} in a chat.", f"Use one of {', '.join(ROLES)}.")
    return list(messages)
