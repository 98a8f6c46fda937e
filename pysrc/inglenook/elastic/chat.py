"""SmolLM2's chat format: what people write stays text, whatever it contains.

The model's own template (tokenizer.chat_template in its GGUF file, ChatML) is Jinja; this is the same as a function,
held to it by tests/system. `encode` does not tokenise the rendered text: control tokens are put in by id and the
content between them is encoded as plain text, so a document that contains "<|im_end|>" cannot end its own turn.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

Message = tuple[str, str]  # role, content

ROLES = ("system", "user", "assistant")
FAR = 4  # times the context: what is longer is not shortened, but refused
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


def fitted(
    messages: Sequence[Message], tokenizer: Tokenizer, context: int, answer: int, truncate: bool
) -> tuple[list[int], int]:
    """The ids of a chat for a model that reads `context` tokens, and of how many all of it has. With `truncate` it is
    `shortened` to leave room for an answer of so many, or for half of the context.

    Raises NookError("context") for what is far longer than that before it is cut into tokens: of millions of letters
    that alone takes seconds. What is a little longer comes as it is.
    """
    letters, most = sum(len(content) for _, content in messages), (FAR if truncate else 1) * context
    if letters > most * tokenizer.longest or len(messages) > most:
        told = (
            f"The prompt has {letters:,} characters in {len(messages):,} turns; the model reads {context - 1:,} tokens."
        )
        raise NookError("context", told, "Ask with less text.")
    ids = whole = encode(messages, tokenizer)
    room = context - min(answer, context // 2)
    if truncate and len(ids) > room:
        ids = shortened(messages, room, tokenizer)
    return ids, len(whole)


def shortened(messages: Sequence[Message], most: int, tokenizer: Tokenizer) -> list[int]:
    """The ids of at most `most` tokens of a chat that is longer: the oldest turns go first, the system's stays, and of
    the last turn the end. Raises NookError("context") if not even that leaves room."""
    turns = _known(messages) if tokenizer.chat else _turns(messages, _system(tokenizer))
    system = [turn for turn in turns[:1] if turn[0] == "system"]
    rest = turns[len(system) :]
    # Where most templates want a chat to begin, the last turn in any case; the more turns, the more tokens.
    starts = [n for n, (role, _) in enumerate(rest) if n in (0, len(rest) - 1) or not tokenizer.chat or role == "user"]
    fits = lambda n: len(encode([*system, *rest[n:]], tokenizer)) <= most
    if starts:
        rest = rest[starts[bisect_left(starts, True, hi=len(starts) - 1, key=fits)] :]
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
