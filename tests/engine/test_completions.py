"""Chat completions in OpenAI's shape: requests that are right and wrong, and what becomes of the events."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from engine.odd import ODD, places
from inglenook import completions
from inglenook.errors import NookError
from inglenook.wire import codec
from inglenook.wire import messages as wire

HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells.", "parameters": {"type": "object"}},
}


EVERYTHING: dict[str, Any] = {
    "model": "any", "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"}],
    "max_completion_tokens": 5, "max_tokens": 9, "temperature": 1, "top_p": 0.5, "seed": -3, "stop": "x",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "null"}}},
    "tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}, "logprobs": True,
    "top_logprobs": 3, "n": 1, "slo": {"first": 300}, "level": 1, "stream": True, "user": None,
}  # fmt: skip
RIGHT: list[dict[str, Any]] = [
    {}, EVERYTHING, {"stop": ["a", "b"]}, {"tools": [WEATHER]}, {"response_format": {"type": "json_object"}},
    {"regex": "a|b", "response_format": {"type": "text"}}, {"tool_choice": "none"}, {"logprobs": True},
    {"logprobs": False, "max_tokens": None}, {"tools": [{"type": "function", "function": {"name": "clock"}}]},
    {"frequency_penalty": 0, "parallel_tool_calls": False, "metadata": {}},
]  # fmt: skip
WRONG: list[dict[str, Any]] = [
    {"messages": None}, {"messages": "hi"}, {"messages": [5]}, {"messages": [{"content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a"}}]}]},
    {"n": 2}, {"frequency_penalty": 0.5}, {"logit_bias": {"1": 5}}, {"max_tokens": 0}, {"max_tokens": 1.5},
    {"max_tokens": True}, {"temperature": -1}, {"temperature": "hot"}, {"temperature": float("nan")}, {"top_p": 2},
    {"seed": "x"}, {"stop": 5}, {"stop": [5]}, {"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 21},
    {"response_format": "json"}, {"response_format": {"type": "xml"}}, {"response_format": {"type": "json_schema"}},
    {"regex": 5}, {"regex": "a", "response_format": {"type": "json_object"}}, {"tools": WEATHER},
    {"tools": [{"type": "code"}]}, {"tools": [{"type": "function", "function": {"name": 5}}]},
    {"tools": [{"type": "function", "function": {"name": "a", "description": 5}}]},
    {"tool_choice": 5}, {"tool_choice": {"type": "function", "function": {}}}, {"slo": {"last": 5}}, {"slo": 300},
    {"slo": {"first": "1s"}}, {"level": -1}, {"level": 0.5}, {"level": "small"},
]  # fmt: skip


def test_a_request_with_nothing_but_messages() -> None:
    assert completions.request({"messages": HI}) == wire.Chat([wire.Turn("user", "hi")])


def test_a_request_with_everything() -> None:
    asked = completions.request(EVERYTHING)
    assert asked == wire.Chat(
        [wire.Turn("system", "Be kind."), wire.Turn("assistant", "", [wire.Call("weather", '{"a":1}')]),
         wire.Turn("tool", "rain")],
        5, 1.0, 0.5, -3, ["x"], wire.Slo(300.0), wire.Form("schema", '{"type":"null"}'),
        [wire.Tool("weather", "Tells.", '{"type":"object"}')], "required", "weather", 3, level=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, wire.Form("json")),
        ({"regex": "a|b"}, wire.Form("regex", "a|b")),
    ],
)
def test_forms(given: Any, form: wire.Form | None) -> None:
    assert completions.request({"messages": HI, **given}).form == form


@pytest.mark.parametrize("ms", [float("nan"), float("inf"), 10**400])
def test_a_latency_is_a_number(ms: float) -> None:
    with pytest.raises(NookError) as error:
        completions.request({"messages": HI, "slo": {"first": ms}})
    assert error.value.code == "request"


@pytest.mark.parametrize("given", WRONG, ids=json.dumps)
def test_what_is_asked_wrongly(given: Any) -> None:
    with pytest.raises(NookError) as error:
        completions.request({"messages": HI, **given})
    assert error.value.code == "request" and error.value.hint


def test_whatever_stands_anywhere_the_request_is_a_message_or_refused() -> None:
    """Every value of a full request in turn gives way to every odd one; what is taken fits the wire, as it must."""
    for way in places(EVERYTHING):
        for odd in ODD:
            *outer, last = way
            body = copy.deepcopy(EVERYTHING)
            holder: Any = body
            for key in outer:
                holder = holder[key]
            holder[last] = odd
            try:
                asked = completions.request(body)
            except NookError as error:
                assert error.code in ("request", "schema") and error.message and error.hint, (way, odd)
            else:
                text, blobs = codec.dump(asked, "s")
                assert codec.load(text, blobs)[0] == asked, (way, odd)


HELLO = wire.Logprob(
    "Hé", [72, 195, 169], -0.25, [wire.Likely("Hé", [72, 195, 169], -0.25), wire.Likely("x", [120], -2.0)]
)
EVENTS = [
    wire.Progress("load", 0, 1),
    wire.Token("Hé", [HELLO]),
    wire.Token("y"),
    wire.Timing(prompt_tokens=7, tokens=2, stop="length"),
]
CALLED = [wire.Called([wire.Call("weather", '{"a":1}')]), wire.Timing(prompt_tokens=7, tokens=9)]
ASKED = wire.Chat(logprobs=1)


def test_a_whole_completion() -> None:
    made = completions.whole(EVENTS, wire.Chat())
    assert made["object"] == "chat.completion" and made["id"].startswith("chatcmpl-")
    message = {"role": "assistant", "content": "Héy"}
    assert made["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}]
    assert made["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert made["timing"]["prompt_tokens"] == 7


def test_log_probabilities() -> None:
    [content] = completions.whole(EVENTS, ASKED)["choices"][0]["logprobs"]["content"]
    assert content == {
        "token": "Hé", "bytes": [72, 195, 169], "logprob": -0.25,
        "top_logprobs": [{"token": "Hé", "bytes": [72, 195, 169], "logprob": -0.25},
                         {"token": "x", "bytes": [120], "logprob": -2.0}],
    }  # fmt: skip


def test_calls() -> None:
    [choice] = completions.whole(CALLED, wire.Chat())["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"a":1}'} and call["id"].startswith("call_")


def test_a_stream() -> None:
    first, *middle, last = completions.chunks(EVENTS, ASKED)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"] for chunk in middle] == [{"content": "Hé"}, {"content": "y"}]
    assert middle[0]["choices"][0]["logprobs"]["content"][0]["token"] == "Hé"
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert len({chunk["id"] for chunk in (first, *middle, last)}) == 1 and "usage" not in last


def test_a_stream_that_counts() -> None:
    *others, last = completions.chunks(CALLED, wire.Chat(), counted=True)
    assert all(chunk["usage"] is None for chunk in others)
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 16
    [delta] = [
        chunk["choices"][0]["delta"]["tool_calls"] for chunk in others if "tool_calls" in chunk["choices"][0]["delta"]
    ]
    assert delta[0]["index"] == 0 and delta[0]["type"] == "function"
    assert others[-1]["choices"][0]["finish_reason"] == "tool_calls"
