"""Chat completions by the real model on this machine: JSON is valid, calls can be made, a seed writes the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.written import valid
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError
from inglenook.nook import Nook

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "born": {"type": "integer", "minimum": 1000, "maximum": 2030},
        "languages": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 4},
    },
    "required": ["name", "born"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
ASK = [
    {"role": "user", "content": "Ada Lovelace was born in 1815 in London. She spoke English and French. Who was she?"}
]


@pytest.fixture(scope="module")
def nook(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nook]:
    with Nook.open(tmp_path_factory.mktemp("chat") / "chat.nook") as nook:
        try:
            nook.chat([{"role": "user", "content": "hi"}], max_tokens=1)
        except NookError as error:
            if error.code not in ("model-missing", "kernel-missing"):
                raise
            pytest.skip(f"{error.message} {error.hint}")
        yield nook


def content(made: dict[str, Any]) -> str:
    return str(made["choices"][0]["message"]["content"])


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_json_of_a_schema(nook: Nook, temperature: float, seed: int) -> None:
    made = nook.chat(ASK, response_format=FORMAT, max_tokens=200, temperature=temperature, seed=seed)
    assert made["choices"][0]["finish_reason"] == "stop"
    assert valid(PERSON, json.loads(content(made)))


def test_what_the_prompt_says_is_found_in_the_json(nook: Nook) -> None:
    told = json.loads(content(nook.chat(ASK, response_format=FORMAT, max_tokens=200)))
    assert "Lovelace" in told["name"] and told["born"] == 1815


def test_a_pattern(nook: Nook) -> None:
    asked = [{"role": "user", "content": "Is the sun hot? Answer yes or no."}]
    assert content(nook.chat(asked, regex="yes|no")) in ("yes", "no")


def test_any_object(nook: Nook) -> None:
    made = nook.chat(ASK, response_format={"type": "json_object"}, max_tokens=300)
    if made["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(content(made)), dict)
    else:
        assert content(made).startswith("{")


def test_a_call_of_a_function(nook: Nook) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}}, "required": ["city"]}
    function = {"name": "weather", "description": "The weather in a city.", "parameters": parameters}
    asked = [{"role": "user", "content": "What is the weather in Paris?"}]
    made = nook.chat(asked, tools=[{"type": "function", "function": function}], tool_choice="required")
    [choice] = made["choices"]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather" and "Paris" in json.loads(call["function"]["arguments"])["city"]


def test_the_examples_of_the_readme_run(nook: Nook, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (root / "README.md").read_text("utf-8")
    examples = [block for block in re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S) if "nook.chat(" in block]
    assert examples
    for example in examples:
        exec(example, {"nook": nook})
    said = capsys.readouterr().out
    assert said.startswith('weather {"city":') and len(said.splitlines()[1]) > 40


def test_a_stream_is_what_comes_at_once(nook: Nook) -> None:
    options: dict[str, Any] = {"temperature": 1, "seed": 11, "max_tokens": 40, "logprobs": True, "top_logprobs": 2}
    once, chunks = nook.chat(ASK, **options), [*nook.chat(ASK, stream=True, **options)]
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == content(once)
    told = [token for delta in deltas for token in (delta["logprobs"] or {"content": []})["content"]]
    whole = once["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in told] == [token["token"] for token in whole]
    assert b"".join(bytes(token["bytes"]) for token in whole).decode() == content(once)
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in whole)


def test_log_probabilities_sum_to_one_at_most(nook: Nook, root: Path) -> None:
    [first, *_] = nook.chat(ASK, logprobs=True, top_logprobs=20, max_tokens=1)["choices"][0]["logprobs"]["content"]
    odds = [2.718281828 ** token["logprob"] for token in first["top_logprobs"]]
    assert 0.5 < sum(odds) <= 1.0001 and odds == sorted(odds, reverse=True)


def test_every_text_can_be_written_in_the_real_vocabulary(nook: Nook) -> None:
    """The masks of the real vocabulary allow the tokens in which a text is encoded."""
    from inglenook.elastic.grammar import Grammar, Mask

    tokenizer: Tokenizer = nook.library.tokenizers["lm"]
    grammar = Grammar.of_schema({"type": "object"})
    text = json.dumps(
        {"näme": "Zoë \n\t🙂", "n": [1, -2.5, None, True], "": {}}, ensure_ascii=False, separators=(",", ":")
    )
    mask = Mask(grammar, tokenizer)
    for token in tokenizer.encode(text, special=False):
        assert mask.allow()[token // 8] >> token % 8 & 1
        mask.advance(token)
    assert mask.complete
