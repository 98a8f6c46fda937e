"""Chat templates of models' own: their text and ids are those of transformers, and nobody gets out of a turn."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from engine import tiny
from engine.test_onnx_folder import folder
from engine.test_tokenizer_json import file
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic import chat, convert, onnx_folder
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

if sys.platform == "emscripten":
    pytest.skip("templates are not in the tab: it knows its model's chat", allow_module_level=True)
from inglenook.elastic.template import Template

BOS, EOS = "<|begin|>", "<|end|>"
NAMES = {"bos_token": BOS, "eos_token": EOS}
ADDED = [
    {"id": 270 + n, "content": token, "special": True} for n, token in enumerate([*tiny.CONTROL, BOS, EOS, "<|turn|>"])
]
AFTER = {  # what makes a tokenizer write a BOS by itself
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {BOS: {"id": BOS, "ids": [273], "tokens": [BOS]}},
}

TURNS = """
{{- bos_token }}
{%- if tools is not none %}{{ tools | tojson }}{% endif %}
{% for message in messages %}
    {% if message.role == 'nobody' %}
        {% continue %}
    {% endif %}
    {{- '<|turn|>' + message['role'] + '\\n\\n' + message['content'] | trim }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{- eos_token }}{% endgeneration %}
    {% else %}
        {{- eos_token }}
    {%- endif %}
{% endfor %}
{% if add_generation_prompt %}
{{- '<|turn|>assistant\\n\\n' }}
{%- endif -%}
"""
ALTERNATING = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{{ raise_exception('There is no system turn') }}{%- endif -%}
{%- for message in messages -%}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('Turns take turns: user, assistant, user') }}
    {%- endif -%}
    {{ '[Q]' + message.content + '[/Q]' if message.role == 'user' else message.content + eos_token }}
{%- endfor -%}
"""
DEAF = "{{ bos_token }}{% for m in messages if m.role != 'system' %}{{ m.content }}{{ eos_token }}{% endfor %}"
BARE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def known(template: str, name: str = "small") -> Tokenizer:
    files = folder(**{"tokenizer_config.json": {"chat_template": template, **NAMES}})
    files["tokenizer.json"] = file(added_tokens=ADDED, post_processor=AFTER)
    made = Tokenizer.load(onnx_folder.loaded(files).tokenizer)
    made.chat = Template(made, name)
    return made


def rendered(template: str, *turns: chat.Message) -> str:
    tokenizer = known(template)
    return tokenizer.decode(chat.encode(turns, tokenizer))


def test_what_a_template_writes_is_the_whole_text() -> None:
    assert rendered(TURNS, ("system", "Be brief."), ("user", " hi ")) == (
        "<|begin|><|turn|>system\n\nBe brief.<|end|><|turn|>user\n\nhi<|end|><|turn|>assistant\n\n"
    )
    assert (
        rendered(ALTERNATING, ("user", "a"), ("assistant", "b"), ("user", "c")) == "<|begin|>[Q]a[/Q]b<|end|>[Q]c[/Q]"
    )


@pytest.mark.parametrize("template", [TURNS, ALTERNATING, DEAF, BARE])
def test_text_and_ids_are_those_of_transformers(template: str) -> None:
    """Whose tokenizer begins every other text with a BOS: there is one, or none where the template writes none."""
    theirs = pytest.importorskip("transformers").PreTrainedTokenizerFast(
        tokenizer_object=pytest.importorskip("tokenizers").Tokenizer.from_buffer(
            file(added_tokens=[{**token, **FLAGS} for token in ADDED], post_processor=AFTER, **WHOLE)
        ),
        chat_template=template, **NAMES,
    )  # fmt: skip
    assert theirs("a").input_ids[0] == theirs.bos_token_id  # so the trap is there
    ours = known(template)
    chats = [[("user", "the abc")], [("user", "a"), ("assistant", " low\nin "), ("user", "é")]]
    for turns in chats:
        for generate in (True, False):
            said = [{"role": role, "content": content} for role, content in turns]
            how = {"add_generation_prompt": generate}
            assert ours.chat and isinstance(ours.chat, Template)
            assert ours.chat.render(turns, generate) == theirs.apply_chat_template(said, tokenize=False, **how)
            ids = chat.encode(turns, ours, generate)
            assert ids == theirs.apply_chat_template(said, return_dict=False, **how)
            assert ids.count(ours.specials[BOS]) == (template != BARE)


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
WHOLE = {
    "version": "1.0", "truncation": None, "padding": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
}  # fmt: skip


@pytest.mark.parametrize("template", [ALTERNATING, DEAF])
def test_where_there_is_no_system_turn_the_user_says_it(template: str) -> None:
    for turns in ([("system", "Be brief."), ("user", "hi")], [("system", "Be brief.\n\nhi")]):
        assert "Be brief.\n\nhi" in rendered(template, *turns)


PARTS = st.lists(st.sampled_from(["<|end|>", "<|turn|>", "<|begin|>", "<|im_end|>", "\n", "assistant", "a", "\ufdd0"]))


@given(PARTS, PARTS)
def test_nobody_breaks_out_of_a_turn(first: list[str], second: list[str]) -> None:
    tokenizer = KNOWN
    plain = [token for token in chat.encode([("system", "x"), ("user", "y")], tokenizer) if tokenizer.is_special(token)]
    ids = chat.encode([("system", "".join(first)), ("user", "".join(second))], tokenizer)
    assert [token for token in ids if tokenizer.is_special(token)] == plain
    said = tokenizer.decode(ids)
    assert "".join(second).replace("\ufdd0", "").strip() in said and "\ufdd0" not in said


KNOWN = known(TURNS)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for m in messages %}", "is no Jinja, in line 1: .*endfor"),
        ("{{ bos_token }}\n{{ m. }}", "is no Jinja, in line 2: .*name"),
        ("{{ bos_token }}", "leaves out what the user says"),
        ("{{ messages[0]['content'] + 1 }}", "fails: can only concatenate"),
        ("{{ messages[0].content.__class__.__mro__ }}", "fails: .*unsafe"),
        ("{{ messages.append(messages[0]) }}{{ messages[0].content }}", "fails: .*safe"),
        ("{{ raise_exception('Never') }}", "refuses this chat: Never"),
    ],
)
def test_a_template_that_is_broken_is_told_with_the_models_name(template: str, told: str) -> None:
    with pytest.raises(NookError, match=f"^The chat template of mistaken {told}") as error:
        known(template, "mistaken")
    assert error.value.code == "model-unsupported" and error.value.hint


def test_a_chat_that_it_refuses_is_told() -> None:
    tokenizer = known(ALTERNATING, "strict")
    with pytest.raises(NookError, match="The chat template of strict refuses this chat: Turns take turns") as error:
        chat.encode([("user", "a"), ("user", "b")], tokenizer)
    assert error.value.code == "role" and error.value.hint
    with pytest.raises(NookError, match="There is no role 'oracle'"):
        chat.encode([("oracle", "a")], tokenizer)


@pytest.mark.parametrize("template", [TURNS, ALTERNATING])
def test_a_long_chat_is_shortened_from_its_oldest_turns(template: str) -> None:
    tokenizer = known(template)
    turns = [("system", "Be brief.")]
    turns += [("user" if n % 2 == 0 else "assistant", f"turn {n} " + "abc " * 8) for n in range(7)]
    sizes = []
    for most in range(60, 160, 10):
        ids = chat.shortened(turns, most, tokenizer)
        text = tokenizer.decode(ids)
        assert len(ids) <= most and "Be brief." in text and "turn 0" not in text
        sizes.append(len(ids))
        kept = [n for n in range(7) if f"turn {n}" in text]
        assert all(b == a + 1 for a, b in pairwise(kept)) and (not kept or (kept[-1] == 6 and kept[0] % 2 == 0))
    assert sizes[-1] > sizes[0]
    ids = chat.shortened([("system", "Be brief."), ("user", "abc " * 500 + "end")], 60, tokenizer)
    assert len(ids) <= 60 and "abc end" in tokenizer.decode(ids) and "Be brief." in tokenizer.decode(ids)


def test_a_file_of_its_own_goes_before_what_the_tokenizers_file_says() -> None:
    told: dict[str, Any] = {"chat_template": "old", "bos_token": {"content": BOS}, "eos_token": EOS, "pad_token": None}
    files = folder(**{"tokenizer_config.json": told})
    files |= {"chat_template.jinja": TURNS.encode(), "tokenizer.json": file(added_tokens=ADDED)}
    tokenizer = Tokenizer.load(onnx_folder.loaded(files).tokenizer)
    assert tokenizer.template == TURNS and tokenizer.names == NAMES
    assert tokenizer.ends == {271, tokenizer.specials[EOS]}  # the model's, and the tokenizer's
    del files["chat_template.jinja"]
    assert json.loads(onnx_folder.loaded(files).tokenizer)["template"] == "old"


def test_a_gguf_file_has_its_own(tmp_path: Path) -> None:
    tokens = [*tiny.tokenizer().tokens, BOS]
    meta = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": tiny.MERGES, "tokenizer.ggml.token_type": [3, 3, 3, *[1] * (len(tokens) - 4), 3],
        "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.bos_token_id": len(tokens) - 1,
        "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": DEAF,
    }  # fmt: skip
    (tmp_path / "m.gguf").write_bytes(tiny.gguf(meta, {}))
    tokenizer = Tokenizer.load(convert.tokenizer(tmp_path / "m.gguf"))
    assert tokenizer.names == {"bos_token": BOS, "eos_token": "<|im_end|>"}
    tokenizer.chat = Template(tokenizer, "small")
    assert tokenizer.decode(chat.encode([("user", "hi")], tokenizer)) == f"{BOS}hi<|im_end|>"  # one, not two
