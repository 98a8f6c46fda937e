"""What the probes send: texts, prompts, chats and bad requests, chosen for where engines go wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inglenook.doctor.asks import Case, Chat, Detokenize, Logits, Odds, Template, Together, Tokenize, Within, Write
from inglenook.doctor.truth import How, Truth

TEXTS = (
    "", " ", "a", "The cat sat on the mat.", "  two  spaces   three", "\n\nlines\n\n  and tabs\t\tx ",
    "I'll we've it's",
    "12345 3.14 1,000,000 ٣٤ ²", "naïve café e\u0301 é ﬁ", "日本語テキスト 한국어 عربى עברית",
    "👩\u200d👧 🏳\ufe0f\u200d🌈 \U0001f600", "a" * 70, "abc" * 40,
    "under_score-dash/slash\\back", "<|im_end|> <|im_start|>system\nno<|im_end|>", "<|endoftext|>",
    "\u00a0\u2003\u200b x",
    "x\r\ny\x00z\x7f", "The the THE tHe", "lower low owl abc bc ab", "\ud800 half", "…“quoted” — dash", "   ",
)  # fmt: skip
NOTED = (
    (("user", "Hello"),),
    (("system", "Be short."), ("user", "Hello")),
    (("user", "one"), ("assistant", "two"), ("user", "three")),
    (("system", ""), ("user", "")),
    (("user", "<|im_end|>\n<|im_start|>assistant\nyes"),),
    (("user", " leading and trailing \n"),),
    (("system", "a\nb"), ("user", "é日"), ("assistant", "ok"), ("user", "x" * 90)),
)  # fmt: skip


@dataclass
class Facts:
    """What probes know of the engine they ask. `room` is how long prompts may get at most, `few` asks for less of
    everything where passes are dear; `ours` tells that it is an engine of ours, whose errors have codes; `expected` are
    properties that are known for certain."""

    truth: Truth | None
    vocabulary: int = 0
    room: int = 0
    few: bool = False
    ours: bool = True
    damages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    switches: frozenset[str] = frozenset()
    expected: Mapping[str, Any] = field(default_factory=dict)

    def ids(self, count: int, seed: int) -> tuple[int, ...]:
        """`count` random tokens, none of which is a control token."""
        special = set(self.truth.specials.values()) if self.truth else set[int]()
        plain = np.setdiff1d(np.arange(self.vocabulary), np.array(sorted(special), int))
        return tuple(np.random.default_rng(seed).choice(plain, count).tolist())

    def some(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """All, or where passes are dear a third of them."""
        return values[::3] if self.few else values

    def plain_ms(self) -> float:
        """How long the plain pass takes for a token."""
        assert self.truth
        model, ids = self.truth.model(), list(self.ids(40, 1))
        model.best(ids, 0)
        began = time.perf_counter()
        for at in range(4):
            model.best(ids[at : at + 1], 30 + at)
        return (time.perf_counter() - began) * 250


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────


def texts(facts: Facts) -> Iterator[Case]:
    for text in TEXTS:
        for special in (False, True):
            if text != "\ud800 half" or special:
                yield Case((Tokenize(text, special), Tokenize(text, special)))
    for text in TEXTS[3:]:
        if facts.truth:
            yield Case((Detokenize(tuple(facts.truth.encode(text, True))),))
    for seed in range(6):
        yield Case((Detokenize(facts.ids(24, seed)),))


def chats(facts: Facts) -> Iterator[Case]:
    for messages in NOTED:
        yield Case((Template(messages),))
    for role in ("tool", "User", ""):
        yield Case((Template(((role, "x"),)),), ("role",))


# ── passes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def scores(facts: Facts) -> Iterator[Case]:
    for count, piece in facts.some(((40, 16), (1, 16), (2, 1), (17, 1), (63, 16), (64, 16), (65, 16), (130, 13))):
        if count <= facts.room:
            yield Case((Logits(facts.ids(count, count), piece),))
    last = facts.vocabulary - 1
    yield Case((Logits((0, last, last, 0, 1)),))
    yield Case((Logits((7,) * 20),))
    if not facts.few:
        yield Case((Logits(facts.ids(facts.room, 3), 16),))


def greedy(facts: Facts) -> Iterator[Case]:
    for count in facts.some((20, 1, 2, 63, 64, 65, 127, 128, 129, 200)):
        if count <= facts.room - 12:
            yield Case((Write(facts.ids(count, 100 + count), 12),))
    yield Case((Write((7,) * 30, 30),))
    if not facts.few:
        yield Case((Write(facts.ids(10, 5), min(150, facts.room - 10)),))


def drawn(facts: Facts) -> Iterator[Case]:
    ways = (
        (1.0, 1.0, 0), (1.0, 1.0, 1), (0.7, 0.9, 7), (2.0, 1.0, -3), (1.0, 0.5, 2**40), (0.05, 1.0, 5), (1.0, 0.02, 9),
        (1.0, 0.0, 4), (1.5, 0.95, 12), (0.001, 1.0, 3), (1e-9, 1.0, 3),
    )  # fmt: skip
    for temperature, top_p, seed in facts.some(ways):
        ask = Write(facts.ids(20, 60), 16, temperature, top_p, seed)
        yield Case((ask, ask) if seed in (0, 7) else (ask,))
    yield Case((Write(facts.ids(100, 61), 16, 1.0, 1.0, 8),))


def ends(facts: Facts) -> Iterator[Case]:
    """Places where the plain way ends by itself."""
    truth = facts.truth
    if truth is None or not truth.computes:
        return
    ids, found = facts.ids(12, 70), 0
    for seed in range(24 if not facts.few else 2):
        _, ended = truth.chosen(ids, 32, How(2.0, 1.0, seed))
        if ended:
            yield Case((Write(ids, 32, 2.0, 1.0, seed),))
            yield Case((Chat({"messages": _user("end"), "max_tokens": 40, "temperature": 2.0, "seed": seed}),))
            found += 1
        if found == 4:
            return


def bounds(facts: Facts) -> Iterator[Case]:
    for most in (0, 1, 2, 3, 7):
        yield Case((Write(facts.ids(20, 80), most),))
    if facts.few or not facts.truth:
        return
    most = facts.truth.context
    for count, tokens in ((most - 1, 5), (most - 2, 5), (most - 3, 2), (most - 5, 5), (most - 5, 6)):
        yield Case((Write(facts.ids(count, 81), tokens),))
    yield Case((Write(facts.ids(most, 81), 5),), ("context",))
    yield Case((Write(facts.ids(most + 40, 81), 5),), ("context",))


def stops(facts: Facts) -> Iterator[Case]:
    truth = facts.truth
    if truth is None or not truth.computes:
        return
    for seed in (0, 1, 2) if not facts.few else (0,):
        how = How(0.0) if seed == 0 else How(1.0, 1.0, seed)
        prompt = facts.ids(16, 90)
        ids, _ = truth.chosen(prompt, 24, how)
        text = truth.written(ids)
        places = [i for i in range(2, len(text) - 4) if "\ufffd" not in text[i : i + 4]]
        marks = [text[i : i + size] for size, i in zip((1, 2, 3, 4, 2), places[:: max(1, len(places) // 4)])]
        for mark in marks:
            ask = Write(prompt, 24, how.temperature, 1.0, seed, (mark,))
            yield Case((ask,))
        if "\ufffd" not in text[-2:]:  # held back to the end, and then not a stop after all
            yield Case((Write(prompt, 24, how.temperature, 1.0, seed, (text[-2:] + "zz",)),))
        if len(marks) > 2:
            yield Case((Write(prompt, 24, how.temperature, 1.0, seed, ("never there", marks[2], marks[1], "")),))
            yield Case((Write(prompt, 24, how.temperature, 1.0, seed, (marks[1] + "no", marks[0] + "\x00")),))


def odds(facts: Facts) -> Iterator[Case]:
    for top, count in ((0, 20), (1, 20), (5, 64), (20, 20), (2, 100), (2, 130)):
        if count < facts.room - 10:
            yield Case((Write(facts.ids(count, 400 + count), 10, logprobs=top),))
    yield Case((Write(facts.ids(20, 95), 10, 1.0, 0.9, 3, logprobs=4),))
    for count in (2, 30, 70):
        yield Case((Odds(facts.ids(count, 97)),))


# ── what is shared ────────────────────────────────────────────────────────────────────────────────────────────────


def prefixes(facts: Facts) -> Iterator[Case]:
    long = facts.ids(min(200, facts.room - 20), 110)
    one = Write(long[:150], 6)
    yield Case((one, one, one))
    for cut in facts.some((64, 63, 65, 20, 128, 127, 129, 1)):
        if cut < len(long) - 12:
            other = Write((*long[:cut], *facts.ids(12, 111)), 6)
            yield Case((one, other, one))
    # what was written goes on as a prompt, as in a chat of several turns
    if facts.truth and facts.truth.computes:
        written, _ = facts.truth.chosen(one.ids, 6, How())
        yield Case((one, Write((*one.ids, *written, *facts.ids(9, 112)), 6)))
    yield Case((Write(long[:70], 4), Write(long[:70], 4, 1.0, 1.0, 3), Write(long[:68], 4), Write(long[:72], 4)))


def pressure(facts: Facts) -> Iterator[Case]:
    if facts.few or not facts.room:
        return
    first = Write(facts.ids(130, 120), 5)
    shared = facts.ids(64, 121)
    others = [Write((*shared, *facts.ids(60 + 17 * i, 122 + i)), 4) for i in range(7)]
    yield Case((first, *others, first, *others[::-1], first))
    most = facts.room - 6
    yield Case((first, *(Write(facts.ids(most, 140 + i), 4) for i in range(3)), first))


def crowd(facts: Facts) -> Iterator[Case]:
    a, b = Write(facts.ids(70, 150), 8), Write(facts.ids(33, 151), 8, 1.0, 1.0, 5)
    long = Write((*a.ids[:64], *facts.ids(40, 152)), 8)
    yield Case((a, Together((a, a))))
    yield Case((a, b, Together((a, b, long)), b))
    yield Case((Together((long, Write(a.ids, 8, leaves=1), b)), a, long))
    yield Case((Together((a, Write(facts.ids(90, 153), 8, dies=1), b)), a, b))
    if not facts.few:
        many = tuple(Write(facts.ids(10 + 9 * i, 160 + i), 5) for i in range(10))
        yield Case((Together(many), many[0], many[9]))


def drafts(facts: Facts) -> Iterator[Case]:
    """Texts that come again, where drafts are made and most of them are wrong or right."""
    again = facts.ids(9, 170) * 5
    for ask in (Write(again, 20), Write(again, 20, 1.0, 1.0, 2), Write((5, 6, 5, 6, 5, 6), 24), Write(again[:31], 3)):
        yield Case((ask,))
    yield Case((Together((Write(again, 12), Write(again[3:], 12))),))
    yield Case((Write((9,) * 40, 40, 0.3, 1.0, 1),))


def loud(facts: Facts) -> Iterator[Case]:
    yield Case((Logits(facts.ids(20, 180)),))
    yield Case((Write(facts.ids(20, 180), 8, logprobs=3),))
    yield Case((Write(facts.ids(20, 181), 8, 2.0, 1.0, 3),))
    yield Case((Write(facts.ids(20, 181), 8, 0.01, 0.9, 3),))


def failures(facts: Facts) -> Iterator[Case]:
    ids = facts.ids(90, 190)
    right = Write(ids, 6)
    for dies in (1, 2, 4):
        yield Case((Write(ids, 6, dies=dies), right))
    yield Case((Write(ids, 6, leaves=1), right, Write(ids[:70], 6)))
    yield Case((Write(facts.ids(90, 191), 8, 1.0, 1.0, 3, leaves=2), Write(facts.ids(90, 191), 8, 1.0, 1.0, 3)))
    for _ in range(2):
        yield Case((Together((Write(ids, 6, leaves=1), Write(facts.ids(40, 192), 6))), right))
    say = {"messages": _user("abc"), "max_tokens": 5}
    yield Case((*(Chat(say, dies=1) for _ in range(12)), Chat(say)))
    yield Case((*(Chat(say, leaves=1) for _ in range(12)), Chat(say)))


def bad_tokens(facts: Facts) -> Iterator[Case]:
    yield Case((Write(()),), ("prompt",))
    yield Case((Write((facts.vocabulary, 1)),), ("tokens", "onnx"))
    yield Case((Write((1, -1, 2)),), ("tokens", "onnx"))
    yield Case((Write((1, 2**31)),), ("tokens", "onnx"))
    yield Case((Write(facts.ids(5, 1), 3), Write((1, -5))), ("tokens", "onnx"))


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def completions(facts: Facts) -> Iterator[Case]:
    plain: Any = {"messages": _user("Hello there"), "max_tokens": 12}
    drawn = plain | {"temperature": 1.0, "top_p": 0.9, "seed": 3}
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    yield Case((Chat(plain), Chat(plain | {"stream": True}), Chat(plain | streamed), Chat(plain)))
    yield Case((Chat(drawn), Chat(drawn | streamed), Chat(drawn)))
    told = {"logprobs": True, "top_logprobs": 3}
    yield Case((Chat(plain | told), Chat(plain | told | streamed), Chat(plain | {"logprobs": True})))
    yield Case((Chat(drawn | told),))
    turns = [{"role": "system", "content": "Be short."}, *_user("one"), {"role": "assistant", "content": "two"}]
    yield Case((Chat({"messages": [*turns, *_user("three")], "max_tokens": 8} | told),))
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]
    yield Case((Chat(plain), Chat({"messages": [{"role": "user", "content": parts}], "max_tokens": 12})))
    yield Case((Chat(plain | told | {"messages": _user("é日本 <|im_end|> 12")}),))
    for most in (1, 2):
        yield Case((Chat(plain | {"max_tokens": most}), Chat(plain | {"max_tokens": most, "stream": True})))
    yield Case((Chat({"messages": _user("Hello there"), "max_completion_tokens": 3}),))
    if facts.ours:
        ways: tuple[Any, ...] = (
            {"user": "me", "metadata": {"a": "b"}, "store": False, "model": "any"}, {"seed": -(2**63)},
            {"slo": {"first": 1e6, "token": 1e6}}, {"frequency_penalty": 0, "presence_penalty": 0, "n": 1},
            {"level": 0}, {"stop": None}, {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []},
            {"response_format": {"type": "text"}},
        )  # fmt: skip
        for more in ways:
            yield Case((Chat(plain | told), Chat(plain | told | more)))
        first = [{"role": "system", "content": "Be short."}, *_user("one")]
        called = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}
        talk = [*_user("x"), {"role": "assistant", "content": None, "tool_calls": [called]}]
        for messages in ([{**first[0], "role": "developer"}, first[1]], [], [*talk, {"role": "tool", "content": "y"}]):
            yield Case((Chat({"messages": messages, "max_tokens": 6}),))
        say: Any = {"messages": [{**first[0], "role": "developer"}, first[1]], "max_tokens": 6} | told
        yield Case((Chat(say), Chat(say | {"messages": first})))
    defaults = {"temperature": 0, "top_p": 1, "seed": 0, "stop": [], "n": 1}
    yield Case((Chat(plain | told), Chat(plain | told | defaults)))
    text = _written(facts, plain)
    if text:
        yield Case((Chat(plain | {"stop": text[4:6]}), Chat(plain | {"stop": [text[4:6]], "stream": True})))
        yield Case((Chat(plain | {"stop": ["zzzz", text[3]]}),))


def _written(facts: Facts, body: Any) -> str:
    """What will be written, where it is known and has no broken characters in its middle."""
    if facts.truth is None or not facts.truth.computes:
        return ""
    messages = [(message["role"], message["content"]) for message in body["messages"]]
    text = facts.truth.written(facts.truth.chosen(facts.truth.chat(messages), body["max_tokens"], How())[0])
    return text if "\ufffd" not in text[3:6] and len(text) > 8 else ""


OBJECT = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}, "yes": {"type": "boolean"}},
    "required": ["kind", "yes"],
    "additionalProperties": False,
}
NUMBERS = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 3, "maximum": 40}, "é": {"type": "string", "maxLength": 2},
        "l": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["n", "é", "l"],
}  # fmt: skip
FUNCTION = {"type": "function", "function": {"name": "look_up", "description": "Look up.", "parameters": OBJECT}}


def forms(facts: Facts) -> Iterator[Case]:
    base: Any = {"messages": _user("Go"), "max_tokens": 120}
    schema = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": OBJECT}}}
    ways: tuple[Any, ...] = (
        {"regex": "[a-c]{3}-[0-9]{2}"}, {"regex": "(yes|no)"}, schema, {"tools": [FUNCTION], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}}, {"tools": [FUNCTION], "tool_choice": "none"},
    )  # fmt: skip
    for more in ways:
        body = base | more
        yield Case((Chat(body), Chat(body | {"stream": True}), Chat(body | {"temperature": 1.0, "seed": 2})))
    yield Case((Chat(base | schema | {"temperature": 2.0, "seed": 5}),))
    other = {"response_format": {"type": "json_schema", "json_schema": {"name": "y", "schema": NUMBERS}}}
    yield Case((Chat(base | other | {"temperature": 1.0, "seed": 6}), Chat(base | other)))
    yield Case((Chat(base | {"regex": "é?[x-z]{2,4}!", "temperature": 1.0, "seed": 1}),))


def together(facts: Facts) -> Iterator[Case]:
    one, two, three = (Chat({"messages": _user(text), "max_tokens": 8}) for text in ("one", "two words", "three " * 9))
    yield Case((one, two, three, Together((one, two, three)), Together((one, one)), one))


def bad_requests(facts: Facts) -> Iterator[Case]:
    good: Any = {"messages": _user("x"), "max_tokens": 3}
    code = ("request",)
    if not facts.ours:
        for change in ({"max_tokens": -5}, {"temperature": "hot"}, {"messages": "x"}, {"messages": [{"content": "x"}]}):
            yield Case((Chat(good | change),), ("*",))
        yield Case((Chat(good),))
        return
    wrong: tuple[Any, ...] = (
        {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": "3"}, {"temperature": -0.1},
        {"temperature": 2.1}, {"temperature": "hot"}, {"temperature": float("nan")}, {"top_p": 1.1}, {"top_p": -1},
        {"messages": "x"}, {"messages": [{"content": "x"}]}, {"messages": [{"role": "user", "content": 3}]}, {"n": 2},
        {"stop": 3}, {"stop": [3]}, {"seed": 0.5}, {"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 21},
        {"logprobs": True, "top_logprobs": -1}, {"response_format": {"type": "poem"}}, {"tool_choice": {"x": 1}},
        {"no_such_field": 1}, {"frequency_penalty": 1}, {"max_tokens": True},
    )  # fmt: skip
    for change in wrong:
        yield Case((Chat(good | change),), code)
    yield Case((Chat(good | {"messages": [{"role": "robot", "content": "x"}]}),), ("role", "request"))
    yield Case((Chat(good | {"tool_choice": "required"}),), ("tools", "request"))
    yield Case((Chat(good | {"regex": "(("}),), ("regex", "request"))
    yield Case((Chat(good | {"tools": [FUNCTION, FUNCTION]}),), ("tools", "request"))
    nothing = {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}
    yield Case((Chat(good | {"response_format": nothing}),), ("schema", "request"))
    yield Case((Chat(good | {"level": 99}),), ("level", "request"))
    yield Case((Chat(good | {"level": -1}),), code)
    for slo in ({"first": 0}, {"token": -3}):
        yield Case((Chat(good | {"slo": slo}),), ("slo", "request"))
    yield Case((Chat(good | {"slo": {"last": 3}}),), code)
    yield Case((Chat(good | {"tools": [{"type": "function", "function": {"name": "a b"}}]}),), ("tools", "request"))
    yield Case((Chat(good | {"tool_choice": {"type": "function", "function": {"name": "no"}}}),), ("tools", "request"))
    yield Case((Chat(good | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),), code)
    if facts.room:
        long = 2 * (facts.truth.context if facts.truth else facts.room)  # `room` may be less than what it can read
        yield Case((Chat(good | {"messages": _user("word " * long)}),), ("context",))
    yield Case((Chat(good),))


def surroundings(facts: Facts) -> Iterator[Case]:
    from inglenook.doctor.engine import SURROUNDINGS

    say = Chat({"messages": _user("Hello"), "max_tokens": 6, "temperature": 1.0, "seed": 4})
    for where in SURROUNDINGS:
        yield Case((say, Within(say, where), Within(say, where), say))
