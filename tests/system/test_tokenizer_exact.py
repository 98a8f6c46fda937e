"""The tokenizer and the chat format against `tokenizers`, `transformers` and Jinja, over the real vocabulary.

transformers reads the pre-tokenizer of a GGUF file as plain GPT-2, without the single digits of the model's own
tokenizer.json; so the oracle is put together here: Digits(individual_digits=True), then ByteLevel.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from engine.test_tokenizer_json import LLAMA3
from engine.tiny import gguf as tiny_gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic import chat
from inglenook.elastic.convert import export
from inglenook.elastic.pattern import SMOLLM, compiled
from inglenook.elastic.tokenizer import Stream, Tokenizer
from inglenook.elastic.tokenizer_json import convert
from inglenook.errors import NookError
from system.smollm2 import ROOT, gguf

tokenizers = pytest.importorskip("tokenizers")
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
HARD = [
    "  12 a  3\t\n 4", "it's we'll I'VE 's ''s 'S", "a\x1c\x1d b\x85c\u200b\ufeff", "\r\n\r\n  x\u3000\u2003 a",
    "🙂👨‍👩‍👧‍👦🏳️‍🌈 שלום עולם مرحبا بالعالم  \n\n\n  日本語のテキスト", "½²³ ⅷ 一二三 ٣٤ १२",
    "x" * 3000, "ab" * 5000, " " * 300, "<|im_end|>",
    "x<|im_start|>user\n<|endoftext|><repo_name> <|im_end", "def f(x):\n\treturn x**2  # ok\n",
    "e\u0301 n\u0303 \u0e01\u0e33 각", "\0\1\2 \x7f", "https://a.b/c?d=e&f=%20#g", "12.345,67 $1,000.00",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    export(gguf(), out)
    return Tokenizer.load(out.read_bytes())


@pytest.fixture(scope="module")
def theirs(ours: Tokenizer) -> tuple[Any, Any]:
    """The oracle that knows control tokens, and the one that does not."""
    merges = [tuple(merge.split(" ")) for merge in ours._ranks]

    def make() -> Any:
        made = tokenizers.Tokenizer(tokenizers.models.BPE(dict(ours._ids), merges))
        made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Digits(individual_digits=True),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        made.decoder = tokenizers.decoders.ByteLevel()
        return made

    with_control = make()
    with_control.add_special_tokens(
        [tokenizers.AddedToken(text, special=True, normalized=False) for text in ours.specials]
    )
    return with_control, make()


def lines() -> list[str]:
    """A few thousand lines of prose, markup and code: the project's own, whose every file is text."""
    files = sorted(path for end in ("md", "py", "js", "c", "h", "css", "html") for path in ROOT.glob(f"*/**/*.{end}"))
    own = [path for path in files if not {"node_modules", "static"} & set(path.parts)]
    found = [line for path in own for line in path.read_text("utf-8", "replace").splitlines()]
    return random.Random(0).sample(found, min(len(found), 3000))


def check(ours: Tokenizer, theirs: tuple[Any, Any], text: str) -> None:
    with_control, plain = theirs
    ids = ours.encode(text)
    assert ids == with_control.encode(text).ids
    assert ours.encode(text, special=False) == plain.encode(text).ids
    assert ours.decode(ids) == with_control.decode(ids, skip_special_tokens=False)


def test_hard_cases(ours: Tokenizer, theirs: tuple[Any, Any]) -> None:
    for text in HARD:
        check(ours, theirs, text)


def test_lines_of_prose_and_code(ours: Tokenizer, theirs: tuple[Any, Any]) -> None:
    found = lines()
    assert len(found) > 500
    for line in found:
        check(ours, theirs, line)
    check(ours, theirs, "\n".join(found))


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text(ours: Tokenizer, theirs: tuple[Any, Any], text: str) -> None:
    check(ours, theirs, text)


def test_every_character_is_of_the_same_class(theirs: tuple[Any, Any]) -> None:
    """After a letter, a space and a full stop every character of Unicode must be cut in the same places.

    All of the two planes where the scripts are; beyond, where whole planes are alike, every eleventh.
    """
    split = theirs[1].pre_tokenizer.pre_tokenize_str
    points = [point for point in POINTS if point < 0x20000 or point % 11 == 0]
    for at in range(0, len(points), 500):
        text = "".join(f"a{chr(point)} {chr(point)}.{chr(point)}\n" for point in points[at : at + 500])
        cuts = [begin for _, (begin, _) in split(text)]
        assert [match.start() for match in compiled(SMOLLM).finditer(text)] == cuts, hex(points[at])


def test_random_ids_decode_alike(ours: Tokenizer, theirs: tuple[Any, Any]) -> None:
    chance = random.Random(1)
    for _ in range(300):
        ids = [chance.randrange(len(ours)) for _ in range(20)]
        assert ours.decode(ids) == theirs[0].decode(ids, skip_special_tokens=False)
        stream = Stream(ours)
        whole = "".join(map(stream.push, ids))
        assert theirs[0].decode(ids, skip_special_tokens=True).startswith(whole)


def test_sizes_and_ends(ours: Tokenizer) -> None:
    assert len(ours) == 49_152 and ours.ends == {0, 2} and ours.specials[chat.END] == 2


MESSAGES = st.lists(st.tuples(st.sampled_from(chat.ROLES), TEXT), max_size=4)


@settings(deadline=None)
@given(messages=MESSAGES, generate=st.booleans())
def test_the_chat_format_is_the_models_own(ours: Tokenizer, messages: list[chat.Message], generate: bool) -> None:
    """As transformers renders it: a sandboxed Jinja environment with trimmed blocks."""
    sandbox = pytest.importorskip("jinja2.sandbox")
    template = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(ours.template)
    turns = [{"role": role, "content": content} for role, content in messages]
    assert chat.render(messages, generate) == template.render(messages=turns, add_generation_prompt=generate)
    if not any(text in content for text in ours.specials for _, content in messages):
        assert chat.encode(messages, ours, generate) == ours.encode(chat.render(messages, generate))


def test_a_model_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(tiny_gguf({"tokenizer.ggml.model": "llama"}, {}))
    with pytest.raises(NookError) as error:
        export(tmp_path / "m.gguf", tmp_path / "t.json")
    assert error.value.code == "model-unsupported" and not (tmp_path / "t.json").exists()


def test_the_file_is_plain_json(ours: Tokenizer, tmp_path: Path) -> None:
    export(gguf(), tmp_path / "t.json")
    file = json.loads((tmp_path / "t.json").read_bytes())
    assert set(file) == {"format", "tokens", "merges", "special", "ends", "template"}


@pytest.fixture(scope="module", params=["ByteLevel", "Split", "NFC"])
def other(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any]:
    """Small tokenizers of other families, from the tokenizer.json that `tokenizers` itself writes."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    pre = tokenizers.pre_tokenizers
    split = pre.Split(tokenizers.Regex(LLAMA3), "isolated")
    trained.pre_tokenizer = (
        pre.ByteLevel(add_prefix_space=False)
        if request.param == "ByteLevel"
        else pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    )
    if request.param == "NFC":
        trained.normalizer = tokenizers.normalizers.NFC()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator([*HARD, (ROOT / "ARCHITECTURE.md").read_text("utf-8")], trainer)
    return Tokenizer.load(convert(trained.to_str().encode(), [1])), trained


@pytest.mark.parametrize("text", HARD)
def test_other_families_are_exact_on_hard_texts(other: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = other
    assert ours.encode(text) == theirs.encode(text).ids


@given(TEXT)
@settings(max_examples=300)
def test_other_families_are_exact(other: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = other
    assert ours.encode(text) == theirs.encode(text).ids
