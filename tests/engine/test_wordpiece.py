"""WordPiece against the `tokenizers` library: ids it gave for varied texts, and itself where there is one."""

import json
import random
import zlib
from pathlib import Path

import pytest
from inglenook.embed.tokenizer import LIMIT, WordPiece

ROOT = Path(__file__).parents[2]
VOCAB = ROOT / "static/models/minilm-l6.vocab.txt"
RECORDED = json.loads((ROOT / "tests/reference/embed.json").read_text("utf-8"))

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = [*SPECIAL, "un", "##aff", "##able", "the", "##s", "中", ",", "##f", "##fable", "caf", "##e"]
CLS, SEP = 2, 3


@pytest.fixture
def small():
    return WordPiece.load("\n".join(SMALL).encode())


@pytest.fixture(scope="module")
def full():
    if not VOCAB.exists():
        pytest.skip(f"{VOCAB.relative_to(ROOT)} is not built")
    return WordPiece.load(VOCAB.read_bytes())


@pytest.fixture(scope="module")
def library(full):
    """The reference implementation, set up from the same vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.BertWordPieceTokenizer(
        {piece: number for number, piece in enumerate(VOCAB.read_text("utf-8").splitlines())}
    )
    tokenizer.enable_truncation(LIMIT)
    return lambda text: tokenizer.encode(text).ids


def pieces(tokenizer, text):
    return [SMALL[number] for number in tokenizer.encode(text)[1:-1]]


def test_the_longest_piece_wins(small):
    assert pieces(small, "unaffable") == ["un", "##aff", "##able"]
    assert pieces(small, "unffable") == ["un", "##f", "##fable"]


def test_a_word_with_an_unknown_part_is_unknown_as_a_whole(small):
    assert pieces(small, "unaffables unaffablez thes") == ["un", "##aff", "##able", "##s", "[UNK]", "the", "##s"]


def test_case_accents_and_controls_do_not_count(small):
    assert pieces(small, "THE CAFÉ\u200b \u0000the\u00adS") == ["the", "caf", "##e", "the", "##s"]


def test_ideographs_and_punctuation_stand_alone(small):
    assert pieces(small, "the中the,the") == ["the", "中", "the", ",", "the"]


def test_very_long_words_are_unknown(small):
    assert pieces(small, "un" + "s" * 98) == ["un"] + ["##s"] * 98
    assert pieces(small, "un" + "s" * 99) == ["[UNK]"]


def test_special_tokens_written_in_the_text_are_taken_at_their_word(small):
    assert pieces(small, "the[SEP]the [sep]") == ["the", "[SEP]", "the", "[UNK]", "[UNK]", "[UNK]"]


def test_the_limit_counts_the_special_tokens(small):
    assert small.encode("the " * 999, 5) == [CLS, 8, 8, 8, SEP]
    assert small.encode("[SEP]" * 999, 4) == [CLS, SEP, SEP, SEP]
    assert small.encode("the", 2) == [CLS, SEP]
    assert small.encode("") == [CLS, SEP]


def test_unpaired_surrogates_do_no_harm(small):
    assert pieces(small, "th\ud800e") == ["the"]


def test_what_is_no_vocabulary_is_refused():
    with pytest.raises(ValueError, match="not a WordPiece vocabulary"):
        WordPiece.load(b"hello\nworld\n")


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: ascii(entry["text"][:24]))
def test_recorded_ids(full, entry):
    assert full.encode(entry["text"]) == entry["ids"]


CHARACTERS = [*range(0xD800), *range(0xE000, 0x20000), *range(0x2A600, 0x2FB00), *range(0xE0000, 0xE0200)]
CHECKSUM = 3387752524  # of the library's ids: they must hold in Pythons that know other versions of Unicode


def checksum(encode):
    total = 0
    for code in CHARACTERS:
        total = zlib.crc32(repr(encode(f"a{chr(code)}b")).encode(), total)
    return total


def test_every_character(full):
    assert checksum(full.encode) == CHECKSUM


def test_every_character_is_as_in_the_library(full, library):
    for code in CHARACTERS:
        text = f"a{chr(code)}b"
        assert full.encode(text) == library(text), hex(code)
    assert checksum(library) == CHECKSUM


def test_mixed_characters(full, library):
    ordinary = [chr(code) for code in range(32, 127)] + [
        "[SEP]",
        "[MASK]",
        "[CLS",
        "##",
        "é",
        "İ",
        "中",
        "あ",
        "각",
        "\n",
    ]
    strange = [chr(code) for code in [*range(0xA0, 0x3100), *range(0xA000, 0xD800), *range(0xE000, 0x20000)]]
    draw = random.Random(7)
    for _ in range(4000):
        text = "".join(draw.choice(ordinary if draw.random() < 0.8 else strange) for _ in range(draw.randrange(40)))
        assert full.encode(text) == library(text), ascii(text)


def test_any_text_at_all(full, library):
    hypothesis = pytest.importorskip("hypothesis")

    @hypothesis.settings(max_examples=1000, deadline=None, derandomize=True)
    @hypothesis.given(hypothesis.strategies.text(hypothesis.strategies.characters(exclude_categories=["Cs"])))
    def check(text):
        assert full.encode(text) == library(text)

    check()


def test_real_lines(full, library):
    lines = 0
    for path in [*ROOT.glob("*.md"), *ROOT.glob("pysrc/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        for line in path.read_text("utf-8").splitlines():
            assert full.encode(line) == library(line)
            lines += 1
    assert lines > 1000
