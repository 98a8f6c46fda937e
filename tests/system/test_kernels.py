"""The C kernels on a machine: products against numpy, encoder and language model against their plain versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from inglenook.elastic import convert as lm_convert
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Reference
from inglenook.embed import convert as embed_convert
from inglenook.embed import reference as embed_reference
from inglenook.errors import NookError
from inglenook.kernels import native, pack
from inglenook.platform.native.models import Encoder, LanguageModel

LIBRARY = "pysrc/inglenook/kernels/libmodels.so"
GGUF = "static/models/SmolLM2-135M-Instruct.Q4_1.gguf"
LM = "static/models/smollm2-135m-instruct.nkm"
SAFETENSORS = "static/models/minilm-l6.safetensors"
ENCODER = "static/models/minilm-l6.nkm"
KINDS = {"q4": 0, "q7": 1, "q8": 2}

Needs = Callable[..., Path]


@pytest.fixture(params=["wide", "plain"])
def build(request: pytest.FixtureRequest, needs: Needs, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both builds: the one for AVX2 where this machine has it, and the one for any machine."""
    needs(LIBRARY)
    monkeypatch.setenv("INGLENOOK_KERNELS", request.param)
    native.library.cache_clear()
    yield request.param
    native.library.cache_clear()


def multiply(form: str, packed: np.ndarray, rows: int, x: np.ndarray) -> np.ndarray:
    """x (tokens, columns) times the packed rows, by the kernel."""
    lib, x = native.library(), np.ascontiguousarray(x, np.float32)
    tokens, columns = x.shape
    out = np.empty((tokens, rows), np.float32)
    scratch = native.arena(lib.models_scratch(KINDS[form], columns, tokens))
    weights = native.arena(packed.nbytes)
    weights[:] = packed.reshape(-1)
    lib.models_multiply(
        KINDS[form], weights.ctypes.data, rows, columns, x.ctypes.data, tokens, scratch.ctypes.data, out.ctypes.data
    )
    return out


def rounded(x: np.ndarray, form: str) -> np.ndarray:
    """Activations as the kernel rounds them: 8 bits (7 for q7) with a scale for each block."""
    top = 63 if form == "q7" else 127
    cut = x.reshape(len(x), -1, pack.BLOCK[form])
    peak = np.abs(cut).max(axis=2, keepdims=True)
    inverse = np.divide(np.float32(top), peak, out=np.zeros_like(peak), where=peak > 0)
    return (np.rint(cut * inverse) * (peak.astype(np.float64) / top)).reshape(x.shape)


@pytest.mark.parametrize("form", KINDS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 7, 64])
def test_products_are_those_of_numpy(build: str, form: str, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    rows, columns = 40, 320
    weights = rng.standard_normal((rows, columns)).astype(np.float32)
    x = rng.standard_normal((tokens, columns)).astype(np.float32) * rng.uniform(0.01, 9, (tokens, 1)).astype(np.float32)
    x[0, :64] = 0  # a block without anything in it
    packed = {"q4": pack.quantise_q4, "q7": pack.quantise_q7, "q8": pack.quantise_q8}[form](weights)
    expected = rounded(x, form) @ pack.unpack(form, packed, rows, columns).astype(np.float64).T
    got = multiply(form, packed, rows, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(x).max() * columns)


@pytest.mark.parametrize(("form", "top"), [("q4", 15), ("q8", 255), ("q8", 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_overflow(build: str, form: str, top: int, sign: int) -> None:
    """All weights and activations at their ends: 16-bit sums reach 30,480 (q4), and must not wrap."""
    rows, columns = 8, 128
    scale = np.ones((rows, columns // pack.BLOCK[form]), np.float16)
    zero = np.zeros_like(scale)
    packed = pack.pack(form, np.full((rows, columns), top, np.uint8), scale, None if form == "q8" else zero)
    value = (top - 128) if form == "q8" else top
    x = np.full((5, columns), sign, np.float32)
    np.testing.assert_allclose(multiply(form, packed, rows, x), np.full((5, rows), sign * value * columns), rtol=1e-5)


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1)])
@pytest.mark.parametrize("peak", [63, 33, 17])
def test_the_largest_sums_that_q7_may_have_do_not_overflow(build: str, signs: tuple[int, int], peak: int) -> None:
    """Both lanes of a block sum to what the converter allows (520), with all activations at their ends."""
    rows, (whole, rest) = 8, divmod(pack.LANE, peak)
    lane = np.array([peak] * whole + [rest] + [0] * (31 - whole))
    row = np.stack([sign * lane.reshape(16, 2) for sign in signs], axis=1).reshape(64)
    packed = pack.pack("q7", np.tile(row + pack.ZERO["q7"], (rows, 1)).astype(np.uint8), np.ones((rows, 1), np.float16))
    for ends in (np.ones(64), -np.ones(64), np.where(row < 0, -1, 1), np.where(row < 0, 1, -1)):
        got = multiply("q7", packed, rows, np.tile(ends, (5, 1)).astype(np.float32))
        np.testing.assert_allclose(got, np.full((5, rows), ends @ row), rtol=1e-5, atol=1e-3)


def test_builds_agree_to_the_bit(needs: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(LIBRARY, LM, ENCODER)
    results = []
    for build in ("wide", "plain"):
        monkeypatch.setenv("INGLENOOK_KERNELS", build)
        native.library.cache_clear()
        model, encoder = LanguageModel(needs(LM), threads=1, context=64), Encoder(needs(ENCODER))
        model.forward(list(range(40, 61)), 0, 1)
        results.append((model.logits(), encoder.encode([[101, 7592, 2088, 102], [101, *range(2000, 2070), 102]])))
        model.close()
    native.library.cache_clear()
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


# ── the language model ──────────────────────────────────────────────────────────────────────────────────────────────

PROMPTS = (
    "The capital of France is", "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Water boils at a temperature of", "Der schnelle braune Fuchs springt über den faulen",
    "In 1969 the first men landed on the", "1, 2, 3, 4, 5, 6, 7,",
)  # fmt: skip


@pytest.fixture
def prompts(needs: Needs) -> list[list[int]]:
    from inglenook.elastic.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(needs("static/models/smollm2-135m-instruct.tokenizer.json").read_bytes())
    return [tokenizer.encode(text) for text in PROMPTS]


@pytest.fixture
def model(needs: Needs) -> Iterator[LanguageModel]:
    needs(LIBRARY)
    made = LanguageModel(needs(LM), threads=1, context=256)
    yield made
    made.close()


@pytest.mark.slow
def test_logits_are_near_those_of_the_plain_pass(needs: Needs, model: LanguageModel, prompts: list[list[int]]) -> None:
    """Activations of 8 bits cost a little: on average under a tenth of the logits' own spread, and no first choice
    that was clear."""
    reference = Reference(Gguf.open(needs(GGUF)))
    errors, agreed, clear = [], 0, 0
    for tokens in prompts:
        expected = reference.logits(tokens)[-1]
        best = model.forward(tokens, 0, 5)
        got = model.logits()
        errors.append(np.abs(got - expected).mean() / expected.std())
        np.testing.assert_allclose(best.logits, np.sort(got)[::-1][:5], rtol=0)
        np.testing.assert_array_equal(got[best.ids], best.logits)
        first, second = np.sort(expected)[::-1][:2]
        if first - second > 0.5:
            clear += 1
            agreed += int(best.ids[0] == expected.argmax())
    assert np.mean(errors) < 0.08, errors
    assert clear >= 3 and agreed == clear


def test_a_prompt_gives_the_same_bits_however_it_is_cut(model: LanguageModel) -> None:
    tokens = [int(t) for t in np.random.default_rng(3).integers(0, 49000, 150)]
    model.forward(tokens, 0, 1)
    whole = model.logits()
    for cut in (1, 7, 64):
        for at in range(0, len(tokens), cut):
            model.forward(tokens[at : at + cut], at, 1)
        np.testing.assert_array_equal(model.logits(), whole)


def test_going_back_forgets_what_came_after(needs: Needs, model: LanguageModel) -> None:
    shared, first, second = list(range(100, 140)), list(range(200, 230)), list(range(300, 310))
    model.forward(shared + first, 0, 1)
    model.forward(second, len(shared), 1)
    after = model.logits()
    fresh = LanguageModel(needs(LM), threads=1, context=256)
    fresh.forward(shared + second, 0, 1)
    np.testing.assert_array_equal(after, fresh.logits())
    with pytest.raises(NookError, match="forward"):
        model.forward([1], len(shared) + len(second) + 1, 1)
    fresh.close()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(needs: Needs, model: LanguageModel, threads: int) -> None:
    team = LanguageModel(needs(LM), threads=threads, context=256)
    tokens = [int(t) for t in np.random.default_rng(4).integers(0, 49000, 71)]
    for at, part in ((0, tokens), (71, [17]), (72, [18, 19]), (74, [20])):
        model.forward(part, at, 1)
        team.forward(part, at, 1)
        np.testing.assert_array_equal(team.logits(), model.logits())
    team.close()


def test_what_cannot_be_run_is_said(model: LanguageModel) -> None:
    wrong = (([], 0, "forward"), ([1], 5, "forward"), ([49152], 0, "forward"), ([1] * 257, 0, "context"))
    for tokens, at, code in wrong:
        with pytest.raises(NookError) as caught:
            model.forward(tokens, at, 1)
        assert caught.value.code == code


def test_a_smaller_model_is_a_prefix_of_the_same_weights(needs: Needs, tmp_path: Path, model: LanguageModel) -> None:
    """A layer with half of its neurons and one group gives what a float model gives whose other weights are zero."""
    reference = Reference(Gguf.open(needs(GGUF)))
    for layer, (hidden, groups) in {3: (768, 3), 10: (1536, 1), 20: (32, 2), 25: (0, 0)}.items():
        model.size(layer, hidden, groups)
        cut = reference._layers[layer]
        cut.down[:, hidden:] = 0
        cut.o[:, groups * 192 :] = 0
    tokens = [504, 3575, 282, 4649, 314]
    expected = reference.logits(tokens)[-1]
    model.forward(tokens, 0, 1)
    assert np.abs(model.logits() - expected).mean() < 0.12 * expected.std()
    with pytest.raises(NookError):
        model.size(0, 33, 3)
    with pytest.raises(NookError):
        model.size(99, 32, 3)


# ── the encoder ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def passages(needs: Needs) -> list[list[int]]:
    """The project's own words, cut into pieces of 1 to 500 tokens."""
    from inglenook.embed.tokenizer import WordPiece

    tokenizer = WordPiece.load(needs("static/models/minilm-l6.vocab.txt").read_bytes())
    words = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8").split()
    return [tokenizer.encode(" ".join(words[i * 11 :][:n])) for i, n in enumerate([1, 3, 6, 12, 25, 60, 90, 200])]


def test_vectors_are_near_those_of_the_plain_encoder(build: str, needs: Needs, passages: list[list[int]]) -> None:
    reference = embed_reference.Reference.load(needs(SAFETENSORS).read_bytes())
    got = Encoder(needs(ENCODER), threads=2).encode(passages)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    cosines = [float(vector @ reference.encode(tokens)) for vector, tokens in zip(got, passages, strict=True)]
    assert min(cosines) > 0.99 and np.mean(cosines) > 0.997, cosines


def test_a_passage_does_not_depend_on_its_neighbours(needs: Needs, passages: list[list[int]]) -> None:
    needs(LIBRARY)
    encoder = Encoder(needs(ENCODER))
    together = encoder.encode(passages)
    for i in reversed(range(len(passages))):
        np.testing.assert_array_equal(encoder.encode([passages[i]])[0], together[i])


def test_sequences_that_cannot_be_embedded_are_said(needs: Needs) -> None:
    needs(LIBRARY)
    encoder = Encoder(needs(ENCODER))
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.encode([[101] * 512]).shape == (1, 384)
    for tokens in ([], [101] * 513, [30522], [-1]):
        with pytest.raises(NookError, match="tokens"):
            encoder.encode([[101, 102], tokens])


# ── artifacts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_missing_files_are_said(needs: Needs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(LIBRARY)
    with pytest.raises(NookError, match="model-missing"):
        LanguageModel(tmp_path / "none.nkm")
    with pytest.raises(NookError, match="model-unsupported"):
        LanguageModel(needs(ENCODER))
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    native.library.cache_clear()
    with pytest.raises(NookError, match="kernel-missing"):
        Encoder(needs(ENCODER))
    native.library.cache_clear()


@pytest.mark.slow
def test_converting_gives_the_same_bytes(needs: Needs, tmp_path: Path) -> None:
    embed_convert.convert(needs(SAFETENSORS), tmp_path / "encoder.nkm")
    lm_convert.convert(needs(GGUF), tmp_path / "lm.nkm")
    assert (tmp_path / "encoder.nkm").read_bytes() == needs(ENCODER).read_bytes()
    assert (tmp_path / "lm.nkm").read_bytes() == needs(LM).read_bytes()
