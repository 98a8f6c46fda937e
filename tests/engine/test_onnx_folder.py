"""A folder of Hugging Face's: where its files are, what they say, and what is told where they say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine.test_tokenizer_json import file
from inglenook.elastic import chat, onnx_folder
from inglenook.elastic.levels import levels_of
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

CHATML = "{{- '<|im_start|>system\\nYou are brief<|im_end|>\\n' }}"


def folder(**changed: Any) -> dict[str, bytes]:
    files = {
        "config.json": {"eos_token_id": 271, "max_position_embeddings": 512},
        "tokenizer_config.json": {"chat_template": CHATML},
        **changed,
    }
    return {name: json.dumps(told).encode() for name, told in files.items()} | {"tokenizer.json": file()}


@pytest.mark.parametrize(
    ("model", "root"),
    [
        ("https://a.b/m/onnx/model.onnx", "https://a.b/m/"),
        ("/models/m/model.onnx", "/models/m/"),
        ("onnx/model.onnx", ""),
        ("model.onnx", ""),
        ("/x-onnx/model.onnx", "/x-onnx/"),
    ],
)
def test_files_lie_beside_the_model_or_above(model: str, root: str) -> None:
    assert onnx_folder.root(model) == root


@pytest.mark.parametrize(
    ("more", "ends"), [({}, {271}), ({"generation_config.json": {"eos_token_id": [3, 4]}}, {3, 4})]
)
def test_what_it_says_is_taken_over(more: dict[str, Any], ends: set[int]) -> None:
    loaded = onnx_folder.loaded(folder(**more))
    tokenizer = Tokenizer.load(loaded.tokenizer)
    assert tokenizer.ends == ends and loaded.config["max_position_embeddings"] == 512
    assert [level.ratio for level in levels_of(loaded.config)] == [1.0]
    ids = chat.encode([("user", "the abc")], tokenizer)
    wanted = "<|im_start|>system\nYou are brief<|im_end|>\n<|im_start|>user\nthe abc<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(ids) == wanted


def test_several_templates_have_a_default() -> None:
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    loaded = onnx_folder.loaded(folder(**{"tokenizer_config.json": {"chat_template": several}}))
    assert Tokenizer.load(loaded.tokenizer).template == CHATML


def test_a_chat_of_another_format_is_refused() -> None:
    files = folder() | {"tokenizer.json": file(added_tokens=[])}
    with pytest.raises(NookError) as error:
        chat.encode([("user", "x")], Tokenizer.load(onnx_folder.loaded(files).tokenizer))
    assert error.value.code == "model-unsupported" and error.value.hint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_or_damaged_is_told(name: str) -> None:
    for files, code in (
        ({k: v for k, v in folder().items() if k != name}, "model-missing"),
        (folder() | {name: b"[]"}, "model-corrupt"),
        (folder() | {name: b"{"}, "model-corrupt"),
    ):
        with pytest.raises(NookError) as error:
            onnx_folder.loaded(files)
        assert (error.value.code == code and name in error.value.message) or error.value.hint
