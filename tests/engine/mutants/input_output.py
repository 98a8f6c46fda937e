"""Input and output: tokens, what is asked, templates, text as it streams, ends, and the shape of responses."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from engine.mutants.mutant import answers, chat, configured, ids, planted
from inglenook.doctor.asks import Detokenize, Properties, Template, Tokenize, Write
from inglenook.doctor.engine import Engine
from inglenook.doctor.kits import PlainKit
from inglenook.elastic.pattern import GPT2
from inglenook.wire.messages import Token

# ── tokenization ──────────────────────────────────────────────────────────────────────────────────────────────────


@planted("Tokenization", "inglenook.elastic.tokenizer:Tokenizer._plain", shows=answers(Tokenize("a\r\nb")))
def ends_of_lines_made_one(plain: Any) -> Any:
    """The line ends of other systems become this one's."""
    return lambda self, text: plain(self, text.replace("\r\n", "\n"))


@planted("Tokenization", "inglenook.elastic.tokenizer:Tokenizer._merge", shows=answers(Tokenize("x" + "ab" * 40)))
def long_words_in_pieces(merge: Any) -> Any:
    """Words of more than 64 characters are merged in pieces."""
    return lambda self, word: [token for at in range(0, len(word), 64) for token in merge(self, word[at : at + 64])]


@planted(
    "Tokenization", "inglenook.elastic.tokenizer:Tokenizer.encode",
    shows=answers(Tokenize("a<|im_end|>b"), chat("a<|im_end|>b")),
)  # fmt: skip
def control_tokens_in_plain_text(encode: Any) -> Any:
    """Control tokens count in what people write, too."""
    return lambda self, text, special=True: encode(self, text, True)


@configured("Tokenization", shows=answers(Tokenize("a    1")))
def words_cut_as_gpt2_does(kit: PlainKit) -> PlainKit:
    """Text is cut into words by the pattern of another tokenizer, which differs in spaces before digits."""
    return dataclasses.replace(kit, tokenizer=json.dumps({**json.loads(kit.tokenizer), "cut": GPT2}).encode())


# ── input validation ──────────────────────────────────────────────────────────────────────────────────────────────


@planted("Input validation", "inglenook.doctor.plain:Paged._read", shows=answers(Write((5, -2, 9))))
def ids_below_zero(read: Any) -> Any:
    """Ids below zero are not refused; they count from the end of the vocabulary."""
    return lambda self, tokens, *told: read(self, [max(0, token) for token in tokens], *told)


@planted("Input validation", "inglenook.elastic.decode:generate", shows=answers(Write(())))
def nothing_is_continued(generate: Any) -> Any:
    """An empty prompt is not refused: something is written from nowhere."""
    return lambda prompt, *told, **more: generate(prompt or [0], *told, **more)


@planted("Input validation", "inglenook.completions:request", shows=answers(chat(temprature=1)))
def unknown_fields_are_dropped(request: Any) -> Any:
    """Fields that there are not, as misspelt ones, are passed over in silence."""
    from inglenook.completions import _TAKEN

    return lambda body: request({name: value for name, value in body.items() if name in _TAKEN})


@planted("Input validation", "inglenook.completions:_whole", shows=answers(chat(max_tokens=0), chat(max_tokens="5")))
def any_number_of_tokens(whole: Any) -> Any:
    """How many tokens are wanted is not looked at: none, or a text."""
    return lambda name, value, least: value


# ── prompt template ───────────────────────────────────────────────────────────────────────────────────────────────

TALK = (("user", " hi "), ("assistant", "yes"), ("user", "why"))
RULED = (("system", "be brief"), *TALK)


@planted("Prompt template", "inglenook.elastic.chat:encode", shows=answers(Template(TALK)))
def no_line_after_a_turn(encode: Any) -> Any:
    """The line's end after a turn is missing."""

    def new(messages: Any, tokenizer: Any, *told: Any) -> list[int]:
        made, end = encode(messages, tokenizer, *told), tokenizer.specials["<|im_end|>"]
        return [token for before, token in zip([-1, *made], made, strict=False) if before != end]

    return new


@planted("Prompt template", "inglenook.elastic.chat:encode", shows=answers(Template(TALK), chat()))
def nobody_is_to_answer(encode: Any) -> Any:
    """The prompt does not end with the head of the assistant's turn."""
    return lambda messages, tokenizer, generate=True: encode(messages, tokenizer, False)


@planted("Prompt template", "inglenook.elastic.chat:_turns", shows=answers(Template(TALK), Template(RULED)))
def default_system_before_the_callers(turns: Any) -> Any:
    """The default of the system's turn comes even where the caller has one."""

    def new(messages: Any, *system: str) -> Any:
        made = turns(messages, *system)
        return made if made[:1] != list(messages[:1]) else [*turns([("user", "")], *system)[:1], *made]

    return new


@planted("Prompt template", "inglenook.elastic.chat:encode", shows=answers(Template(TALK), chat()))
def token_before_the_beginning(encode: Any) -> Any:
    """A token that begins texts stands before the chat, whose template has none."""
    return lambda messages, tokenizer, *told: [0, *encode(messages, tokenizer, *told)]


@planted("Prompt template", "inglenook.elastic.chat:_turns", shows=answers(Template(TALK), Template(TALK[2:])))
def content_is_trimmed(turns: Any) -> Any:
    """Space at the ends of what people write is taken away."""
    return lambda messages, *system: turns([(role, content.strip()) for role, content in messages], *system)


# ── detokenisation, streaming ─────────────────────────────────────────────────────────────────────────────────────


@planted("Detokenisation / streaming", "inglenook.elastic.tokenizer:Stream.push", shows=answers(chat(regex="ü{3} y")))
def bytes_on_their_own(push: Any) -> Any:
    """Each token's bytes are made text on their own, so that a character of two tokens is lost."""

    def new(self: Any, token: int) -> str:
        piece = self._tokenizer.piece(token)
        return "" if self._tokenizer.is_special(token) else piece.decode("utf-8", "replace")

    return new


@planted(
    "Detokenisation / streaming", "inglenook.elastic.decode:Held.flush", shows=answers(chat(regex="abx", stop=["xy"]))
)
def held_text_is_lost(flush: Any) -> Any:
    """What was held back, since it might have begun a stop string, does not come after all."""

    def new(self: Any) -> str:
        kept = self.out
        flush(self)
        self.out = kept
        return ""

    return new


@planted(
    "Detokenisation / streaming", "inglenook.completions:chunks",
    shows=answers(chat(regex="x 1 y", stream=True), chat(regex="x 1 y")),
)  # fmt: skip
def spaces_do_not_stream(chunks: Any) -> Any:
    """Pieces of a stream that are nothing but space are taken for empty ones."""

    def new(events: Iterable[object], *told: Any) -> Iterator[Any]:
        return chunks([one for one in events if not isinstance(one, Token) or one.text.strip()], *told)

    return new


@planted(
    "Detokenisation / streaming", "inglenook.elastic.tokenizer:Tokenizer.decode",
    shows=lambda engine: engine.answer(Detokenize(tuple(engine.answer(Tokenize(" the low"))))),
)  # fmt: skip
def first_space_is_eaten(decode: Any) -> Any:
    """Text that begins with a space comes back without it."""
    return lambda self, tokens: decode(self, tokens).removeprefix(" ")


# ── termination ───────────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Termination handling", "inglenook.elastic.tokenizer:Tokenizer.__init__",
    shows=answers(Properties(), Write(ids(9), 40, temperature=1.5, seed=24)),
)  # fmt: skip
def one_end_of_two(init: Any) -> Any:
    """Of the tokens that end a text only the first does."""

    def new(self: Any, *told: Any, **more: Any) -> None:
        init(self, *told, **more)
        self.ends = frozenset(sorted(self.ends)[:1])

    return new


@planted(
    "Termination handling", "inglenook.elastic.decode:Held._partial",
    shows=answers(chat(regex="xyz", stop=["y"]), chat(regex="xyz", stop=["yz"])),
)  # fmt: skip
def stops_within_a_piece_only(partial: Any) -> Any:
    """A stop string that comes in two pieces is not found."""
    return lambda self, held: 0


@planted("Termination handling", "inglenook.elastic.decode:Held._let", shows=answers(chat(regex="xyz", stop=["y"])))
def stop_is_part_of_the_answer(let: Any) -> Any:
    """An answer has the stop string at its end."""

    def new(self: Any, held: str, size: int) -> str:
        found = [at + len(stop) for stop in self._stops if (at := held.find(stop)) >= 0]
        return let(self, held, min(found) if found and self.stopped else size)

    return new


@planted("Termination handling", "inglenook.elastic.decode:generate", shows=answers(Write(ids(20), 5)))
def one_more_than_asked(generate: Any) -> Any:
    """One token more is written than was asked for."""
    return lambda *told, max_tokens, **more: generate(*told, max_tokens=max_tokens + 1, **more)


@planted(
    "Termination handling", "inglenook.elastic.decode:Held.push",
    shows=answers(chat(regex="xyz", stop=["x"]), chat(regex="xyz", stop=["y"])),
)  # fmt: skip
def no_stop_at_the_beginning(push: Any) -> Any:
    """A stop string with which the answer begins does not stop it."""

    def new(self: Any, text: str) -> str:
        stops = self._stops
        if not self.out:
            self._stops = []
        try:
            return push(self, text)
        finally:
            self._stops = stops

    return new


# ── the shape of responses ────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Response formatting", "inglenook.completions:chunks",
    shows=answers(chat(stream=True, stream_options={"include_usage": True})),
)  # fmt: skip
def usage_does_not_stream(chunks: Any) -> Any:
    """A stream does not end with the usage, though that was asked for."""
    return lambda events, asked, counted=False: chunks(events, asked)


@planted("Response formatting", "inglenook.completions:_reason", shows=answers(chat(regex="x{30}")))
def always_at_its_end(reason: Any) -> Any:
    """An answer that was cut off says that it came to its end."""
    return lambda timing, called: "tool_calls" if called else "stop"


def called(completion: Any) -> Any:
    """The function that is called."""
    return completion["choices"][0]["message"]["tool_calls"][0]["function"]


NOTHING = {"properties": {}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "look", "parameters": NOTHING}}


@planted(
    "Response formatting", "inglenook.completions:_call",
    shows=lambda engine: called(engine.answer(chat(max_tokens=90, tools=[TOOL], tool_choice="required"))),
)  # fmt: skip
def arguments_as_an_object(call: Any) -> Any:
    """The arguments of a call come as an object instead of its text."""

    def new(asked: Any) -> dict[str, Any]:
        told = call(asked)
        return {**told, "function": {**told["function"], "arguments": json.loads(asked.arguments)}}

    return new


def near(engine: Engine) -> bool:
    """Whether a completion was made about now, in seconds."""
    return bool(abs(engine.answer(chat())["created"] - time.time()) < 60)


@planted("Response formatting", "inglenook.completions:_head", shows=near)
def created_in_milliseconds(head: Any) -> Any:
    """When a completion was made is told in milliseconds."""
    return lambda kind: {**head(kind), "created": int(time.time() * 1000)}
