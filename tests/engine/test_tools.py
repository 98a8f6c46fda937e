"""JSON, patterns and calls of functions that a chat asks for: the prompt, what may be written, what came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine.tiny import tokenizer
from engine.written import write
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.chat import SYSTEM
from inglenook.elastic.tools import CLOSE, OPEN, Asked, called
from inglenook.errors import NookError
from inglenook.wire.messages import Call, Chat, Form, Tool, Turn

TINY = tokenizer()
NODE = {"type": "object", "properties": {"n": {"type": "integer"}, "next": {"$ref": "#"}}}
WEATHER = Tool(
    "weather",
    "Tells the weather.",
    json.dumps({"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}}, "required": ["city"]}),
)
CHAIN = Tool("chain", parameters=json.dumps(NODE))
CLOCK = Tool("clock")


def asked(*tools: Tool, **options: Any) -> Asked:
    return Asked.of(Chat([Turn("user", "hi")], tools=list(tools), **options))


def matches(of: Asked, text: str) -> bool:
    assert of.grammar is not None
    return of.grammar.matches(text)


def test_nothing_asked_changes_nothing() -> None:
    assert asked() == Asked([("user", "hi")], None)
    assert asked(WEATHER, choice="none") == asked()


def test_only_text_beside_a_call_is_free() -> None:
    assert asked(WEATHER).free
    assert not asked().free and not asked(form=Form("json")).free
    for options in ({"choice": "none"}, {"choice": "required"}, {"tool": "weather"}, {"form": Form("json")}):
        assert not asked(WEATHER, **options).free


def test_json_of_a_form() -> None:
    of = asked(form=Form("json"))
    assert matches(of, '{"a":1}') and not matches(of, "[1]") and not matches(of, "hello")
    of = asked(form=Form("schema", '{"type":"array"}'))
    assert matches(of, "[1]") and not matches(of, "{}")
    assert of.messages == [("system", SYSTEM + '\n\nAnswer with JSON of this schema: {"type":"array"}'), ("user", "hi")]
    of = asked(form=Form("regex", "yes|no"))
    assert matches(of, "yes") and not matches(of, "maybe") and of.messages == [("user", "hi")]


def test_the_callers_own_system_message_stays() -> None:
    turns = [Turn("system", "Be kind."), Turn("user", "hi")]
    [(role, content), *rest] = Asked.of(Chat(turns, form=Form("json"))).messages
    assert (role, content) == ("system", "Be kind.\n\nAnswer with a JSON object.") and rest == [("user", "hi")]


CALL = f'{OPEN}{{"name":"weather","arguments":{{"city":"Ulm"}}}}{CLOSE}'


@pytest.mark.parametrize(
    ("options", "text", "may"),
    [
        ({}, CALL, True),
        ({}, "It rains.", True),
        ({}, "", True),
        ({}, "<tool_box>", True),
        ({}, f"{OPEN}weather", False),
        ({}, CALL + " and more", False),
        ({}, CALL.replace("weather", "wether"), False),
        ({}, CALL.replace("city", "town"), False),
        ({}, CALL.replace("Ulm", "Munich"), False),
        ({}, f'{OPEN}{{"name":"clock","arguments":{{}}}}{CLOSE}', True),
        ({}, f'{OPEN}{{"name":"clock","arguments":{{"a":1}}}}{CLOSE}', False),
        ({}, f'{OPEN}{{"name":"chain","arguments":{{"n":1,"next":{{"next":{{"n":2}}}}}}}}{CLOSE}', True),
        ({"choice": "required"}, CALL, True),
        ({"choice": "required"}, "It rains.", False),
        ({"choice": "required", "tool": "clock"}, CALL, False),
        ({"choice": "required", "tool": "weather"}, CALL, True),
        ({"form": Form("regex", "yes|no")}, CALL, True),
        ({"form": Form("regex", "yes|no")}, "yes", True),
        ({"form": Form("regex", "yes|no")}, "It rains.", False),
        ({"form": Form("json"), "choice": "required"}, "{}", False),
    ],
)
def test_what_may_be_written_with_functions(options: Any, text: str, may: bool) -> None:
    of = asked(WEATHER, CLOCK, CHAIN, **options)
    assert of.aside == OPEN and matches(of, text) == may


def test_functions_are_told_to_the_model() -> None:
    [(role, told), _] = asked(WEATHER, CLOCK).messages
    assert role == "system" and told.startswith(SYSTEM) and "You may call" in told
    listed = [json.loads(line) for line in told.split("<tools>\n")[1].split("\n</tools>")[0].splitlines()]
    assert [tool["name"] for tool in listed] == ["weather", "clock"]
    assert listed[0]["parameters"] == json.loads(WEATHER.parameters)
    [(_, told), _] = asked(WEATHER, CLOCK, tool="clock", choice="required").messages
    assert "weather" not in told and "Call one" in told


def test_earlier_calls_and_results_are_told_as_the_model_wrote_them() -> None:
    turns = [
        Turn("user", "Ulm?"),
        Turn("assistant", "", [Call("weather", '{"city":"Ulm"}')]),
        Turn("tool", "rain"),
        Turn("assistant", "Wait.", [Call("clock", "{}")]),
    ]
    assert Asked.of(Chat(turns)).messages == [
        ("user", "Ulm?"),
        ("assistant", CALL),
        ("user", "<tool_response>rain</tool_response>"),
        ("assistant", f'Wait.\n{OPEN}{{"name":"clock","arguments":{{}}}}{CLOSE}'),
    ]


def test_a_call_is_read_when_it_is_whole() -> None:
    assert called(CALL) == [Call("weather", '{"city":"Ulm"}')]
    for text in (CALL[:-1], CALL[:30], OPEN, "", "It rains.", " " + CALL):
        assert called(text) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.sampled_from(["weather", "clock", "chain", ""]))
def test_whatever_is_written_is_a_call_that_can_be_made(seed: int, tool: str) -> None:
    of = asked(WEATHER, CLOCK, CHAIN, tool=tool, choice="required")
    assert of.grammar is not None
    [call] = called(write(of.grammar, TINY, seed, most=60))
    assert call.name in ([tool] if tool else ["weather", "clock", "chain"])
    assert isinstance(json.loads(call.arguments), dict)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tools": [Tool("two words")]}, "tools"),
        ({"tools": [Tool("")]}, "tools"),
        ({"tools": [CLOCK, CLOCK]}, "tools"),
        ({"tools": [Tool("a", "", '{"type":"string"}')]}, "tools"),
        ({"tools": [Tool("a", "", "[]")]}, "tools"),
        ({"tools": [Tool("a", "", "{")]}, "schema"),
        ({"tools": [Tool("a", "", "[" * 200)]}, "schema"),
        ({"tools": [Tool("a", "", '{"not":{}}')]}, "schema"),
        ({"choice": "perhaps"}, "tools"),
        ({"choice": "required"}, "tools"),
        ({"tool": "clock"}, "tools"),
        ({"form": Form("yaml")}, "form"),
        ({"form": Form("schema", "nul")}, "schema"),
        ({"form": Form("schema", '{"const":NaN}')}, "schema"),
        ({"form": Form("regex", "(")}, "regex"),
        ({"form": Form("regex", "("), "tools": [CLOCK]}, "regex"),
    ],
)
def test_what_cannot_be_asked(options: Any, code: str) -> None:
    with pytest.raises(NookError) as error:
        Asked.of(Chat([Turn("user", "hi")], **options))
    assert error.value.code == code and error.value.hint


def test_grammars_are_kept() -> None:
    assert asked(WEATHER).grammar is asked(WEATHER).grammar
    assert asked(WEATHER).grammar is not asked(WEATHER, choice="required").grammar
