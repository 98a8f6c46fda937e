"""The C kernels on a machine: products against numpy, encoder and language model against their plain versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inglenook.elastic import convert as lm_convert
from inglenook.elastic.reference import Reference
from inglenook.embed import convert as embed_convert
from inglenook.embed import reference as embed_reference
from inglenook.errors import NookError
from inglenook.flow import Forward
from inglenook.kernels import native, pack
from inglenook.platform.native import lm
from inglenook.platform.native.models import Encoder, LanguageModel
from system import elastic as elastic_models
from system.elastic import cosines

from buildlib.models import RECIPE

LIBRARY = "pysrc/inglenook/kernels/libmodels.so"
GGUF = "static/models/SmolLM2-135M-Instruct.Q4_1.gguf"
LM = "static/models/smollm2-135m-instruct.nkm"
SAFETENSORS = "static/models/minilm-l6.safetensors"
ENCODER = "static/models/minilm-l6.nkm"
KINDS = {"q4": 0, "q4b": 0, "q7": 1, "q8": 2, "q8b": 2, "q8p": 3, "high": 4}
FORMS = [form for form in KINDS if form != "high"]

WHOLE = 512
"""So many best that the head is not screened for them."""

Needs = Callable[..., Path]


@pytest.fixture(params=["wide", "plain"])
def build(request: pytest.FixtureRequest, needs: Needs, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both builds: the one for AVX2 where this machine has it, and the one for any machine."""
    needs(LIBRARY)
    monkeypatch.setenv("INGLENOOK_KERNELS", request.param)
    native.library.cache_clear()
    yield request.param
    native.library.cache_clear()


def multiply(form: str, packed: np.ndarray, rows: int, x: np.ndarray, columns: int = 0) -> np.ndarray:
    """x (tokens, n) times the first n of `columns` (0: n) columns of the packed rows, by the kernel."""
    lib, x = native.library(), np.ascontiguousarray(x, np.float32)
    tokens, first = x.shape
    out = np.empty((tokens, rows), np.float32)
    scratch = native.arena(lib.models_scratch(KINDS[form], first, tokens))
    weights = native.arena(packed.nbytes)
    weights[:] = packed.reshape(-1)
    lib.models_multiply(
        KINDS[form], form.endswith("b"), weights.ctypes.data, rows, columns or first, first, x.ctypes.data, tokens,
        scratch.ctypes.data, out.ctypes.data,
    )  # fmt: skip
    return out


def rounded(x: np.ndarray, form: str) -> np.ndarray:
    """Activations as the kernel rounds them: 8 bits (7 for q7) with a scale for each block."""
    top = 63 if form == "q7" else 127
    cut = x.reshape(len(x), -1, pack.BLOCK[form])
    peak = np.abs(cut).max(axis=2, keepdims=True)
    inverse = np.divide(np.float32(top), peak, out=np.zeros_like(peak), where=peak > 0)
    return (np.rint(cut * inverse) * (peak.astype(np.float64) / top)).reshape(x.shape)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 7, 64])
def test_products_are_those_of_numpy(build: str, form: str, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    rows, columns = 40, 320
    weights = rng.standard_normal((rows, columns)).astype(np.float32)
    x = rng.standard_normal((tokens, columns)).astype(np.float32) * rng.uniform(0.01, 9, (tokens, 1)).astype(np.float32)
    x[0, :64] = 0  # a block without anything in it
    packed = pack.quantise(form, weights)
    expected = rounded(x, form) @ pack.unpack(form, packed, rows, columns).astype(np.float64).T
    got = multiply(form, packed, rows, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(x).max() * columns)
    for first in (64, 192, 256):
        part = rounded(x[:, :first], form) @ pack.unpack(form, packed, rows, columns)[:, :first].astype(np.float64).T
        got = multiply(form, packed, rows, x[:, :first], columns)
        np.testing.assert_allclose(got, part, rtol=0, atol=2e-6 * np.abs(x).max() * first)


@pytest.mark.parametrize(("plain", "other"), [("q4", "q4b"), ("q8", "q8b"), ("q8", "q8p")])
def test_bands_and_planes_change_no_bit(build: str, plain: str, other: str) -> None:
    rng = np.random.default_rng(3)
    weights, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((40, 640), (7, 544)))
    one, two = (multiply(form, pack.quantise(form, weights), 40, x, 640) for form in (plain, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("tokens", [1, 3, 7])
def test_the_high_plane_alone_stands_for_the_middle_of_the_low_bits(build: str, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    x = rng.standard_normal((tokens, 320)).astype(np.float32)
    q, scale = pack.cut_q8(rng.standard_normal((40, 320)).astype(np.float32))
    middle = (q >> 4 << 4) + 7.5 - pack.ZERO["q8p"]
    expected = rounded(x, "q8p") @ (middle * np.repeat(scale.astype(np.float64), 32, axis=1)).T
    got = multiply("high", pack.pack("q8p", q, scale), 40, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(x).max() * 320)


@pytest.mark.parametrize(("form", "top"), [("q4", 15), ("q8", 255), ("q8", 1), ("q8p", 255), ("q8p", 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_overflow(build: str, form: str, top: int, sign: int) -> None:
    """All weights and activations at their ends: 16-bit sums reach 30,480 (q4), and must not wrap."""
    rows, columns = 8, 128
    scale = np.ones((rows, columns // pack.BLOCK[form]), np.float16)
    zero = np.zeros_like(scale)
    packed = pack.pack(form, np.full((rows, columns), top, np.uint8), scale, None if form in pack.ZERO else zero)
    value = top - pack.ZERO.get(form, 0)
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
    reference = Reference(needs(LM))
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
    wrong: list[tuple[list[int], int, str, dict[str, Any]]] = [
        ([], 0, "forward", {}), ([1], 5, "forward", {}), ([1] * 257, 0, "context", {}),
        ([49152], 0, "tokens", {}), ([-1], 0, "tokens", {}), ([2**40], 0, "tokens", {}),
        ([1], 0, "forward", {"level": 16}), ([1], 0, "forward", {"pages": [4]}), ([1], 0, "forward", {"pages": [-1]}),
        ([1] * 65, 0, "forward", {"pages": [0]}), ([1], 0, "forward", {"allow": bytes(9)}),
        ([1], 0, "forward", {"each": 2}), ([1] * 20, 0, "forward", {"each": 17}),
    ]  # fmt: skip
    for tokens, at, code, how in wrong:
        with pytest.raises(NookError) as caught:
            model.forward(tokens, at, WHOLE, **how)
        assert caught.value.code == code
    with pytest.raises(NookError):
        model.copy(0, 4)


def test_pages_may_lie_anywhere(needs: Needs, model: LanguageModel) -> None:
    """Two sessions whose pages are mixed up, one of which goes on in a copy of the other's beginning."""
    rng = np.random.default_rng(5)
    shared, first, second = ([int(t) for t in rng.integers(0, 49000, n)] for n in (90, 70, 71))
    alone = []
    for part in (first, second):
        model.forward(shared + part, 0)
        alone.append(model.logits())
    mixed = LanguageModel(needs(LM), threads=2, context=256, pages=9)
    one, two = [7, 2, 5], [7, 0, 8]
    mixed.forward(shared, 0, pages=one[:2])
    mixed.copy(2, 0)
    for at in range(0, 70, 10):
        mixed.forward(first[at : at + 10], 90 + at, pages=one)
        mixed.forward(second[at : at + 10], 90 + at, pages=two)
    np.testing.assert_array_equal(mixed.logits(), after(mixed, shared + second[:70], 0, pages=[1, 3, 4]))
    mixed.forward(second[70:], 160, pages=two)
    np.testing.assert_array_equal(mixed.logits(), alone[1])
    mixed.forward(first[69:], 159, pages=one)
    np.testing.assert_array_equal(mixed.logits(), alone[0])
    with pytest.raises(NookError, match="forward"):
        mixed.forward([1], 64, pages=[6, 1])  # nothing was written there
    mixed.close()


def after(model: LanguageModel, tokens: list[int], at: int, **how: Any) -> np.ndarray:
    """All logits after the last token."""
    model.forward(tokens, at, WHOLE, **how)
    return model.logits()


def test_candidates_of_several_tokens_are_those_of_each(model: LanguageModel) -> None:
    tokens = [int(t) for t in np.random.default_rng(6).integers(0, 49000, 75)]
    several = model.forward(tokens, 0, 8, each=13)
    assert several.ids.shape == several.logits.shape == (13, 8) and several.total.shape == (13,)
    for row, size in enumerate(range(63, 76)):
        alone = model.forward(tokens[:size], 0, 8)
        again = several.row(row)
        np.testing.assert_array_equal(alone.ids, again.ids)
        np.testing.assert_array_equal(alone.logits, again.logits)
        assert alone.total == again.total
        assert alone.total == pytest.approx(np.log(np.exp(model.logits().astype(float)).sum()), abs=1e-5)
    nothing = model.forward(tokens, 0, 8, each=0)
    assert nothing.ids.shape == (0, 8)


def test_only_what_is_allowed_comes_after_the_last_token(model: LanguageModel) -> None:
    tokens = [504, 3575, 282, 4649, 314]
    whole = model.forward(tokens, 0, 49152)
    allowed = np.zeros(49152, np.uint8)
    allowed[[0, 7, 500, 49151, *whole.ids[100:103]]] = 1
    allow = np.packbits(allowed, bitorder="little").tobytes()
    some = model.forward(tokens, 0, 5, allow=allow)
    wanted = [int(token) for token in whole.ids if allowed[token]]
    assert some.ids.tolist() == wanted[:5] and some.total == whole.total
    assert model.forward(tokens, 0, 64, allow=allow).ids.tolist() == wanted
    rows = model.forward(tokens, 0, 64, allow=allow, each=2)
    assert (rows.ids[0] >= 0).all() and rows.row(1).ids.tolist() == wanted
    assert model.forward(tokens, 0, 5, allow=bytes(6144)).ids.tolist() == []


def test_scores_are_the_log_probabilities_of_what_follows(model: LanguageModel) -> None:
    tokens = [int(t) for t in np.random.default_rng(7).integers(0, 49000, 150)]
    scores = model.score(tokens, 0)
    assert scores.shape == (149,) and scores.dtype == np.float32
    for at in (1, 63, 64, 65, 149):
        total = model.forward(tokens[:at], 0, 1).total
        assert scores[at - 1] == pytest.approx(model.logits()[tokens[at]] - total, abs=1e-6)
    np.testing.assert_array_equal(model.score(tokens[100:], 100), scores[100:])
    assert model.score([5], 0).shape == (0,)


# ── levels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def elastic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights with three levels, one of which has recovery of rank 32 and gaps."""
    return elastic_models.make(tmp_path_factory.mktemp("elastic") / "elastic.nkm")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_are_those_of_the_plain_pass(build: str, elastic: Path, level: int) -> None:
    reference, kernel = Reference(elastic), LanguageModel(elastic, threads=2, context=128)
    tokens = [int(t) for t in np.random.default_rng(8).integers(0, 512, 90)]
    expected = reference.logits(tokens, level)
    got = np.array([after(kernel, [token], at, level=level) for at, token in enumerate(tokens)])
    np.testing.assert_array_less(0.998, cosines(got, expected))
    other = reference.logits(tokens, (level + 1) % 3)
    assert cosines(got, other).mean() < 0.99, "another level is something else"
    kernel.forward(tokens, 0, WHOLE, level=level)
    np.testing.assert_array_equal(kernel.logits(), got[-1])
    np.testing.assert_allclose(kernel.score(tokens, 0, level=level), reference.score(tokens, 0, level), atol=0.2)
    kernel.close()


@pytest.mark.parametrize("fine", [(), (0,)])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_layer_does_what_the_plain_one_does(build: str, tmp_path: Path, level: int, fine: tuple[int, ...]) -> None:
    """One layer with the plain pass rounding as the kernel does: equal but for values that lie between two steps and
    are rounded the other way, which is seen in fewer than half of the positions."""
    path = elastic_models.make(tmp_path / "one.nkm", layers=1, fine=fine)
    reference, kernel = Reference(path, rounded=True), LanguageModel(path, threads=2, context=128)
    found: list[float] = []
    for tokens in elastic_models.prompts(200):
        got = []
        for at in range(0, len(tokens), 16):
            part = tokens[at : at + 16]
            kernel.forward(part, at, WHOLE, level=level, each=len(part))
            got += [kernel.logits(row) for row in range(len(part))]
        found += list(cosines(np.array(got), reference.logits(tokens, level)))
    assert np.median(found) > 1 - 1e-7 and min(found) > 0.999
    kernel.close()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_best_by_the_screened_head_are_those_of_the_whole_head(build: str, elastic: Path, level: int) -> None:
    kernel = LanguageModel(elastic, threads=2, context=128)
    rng = np.random.default_rng(9)
    allowed = rng.random(512) < 0.3
    allow = np.packbits(allowed, bitorder="little").tobytes()
    same, of = 0, 0
    for at in range(0, 96, 8):
        part = [int(t) for t in rng.integers(0, 512, 8)]
        whole = kernel.forward(part, at, WHOLE, level=level, each=8)
        for some, many in (
            (kernel.forward(part, at, 8, level=level, each=8), 8),
            (kernel.forward(part, at, 8, level=level, each=3), 3),
        ):
            wanted = whole.ids[-many:, :8]
            same, of = same + int((some.ids == wanted).sum()), of + wanted.size
            np.testing.assert_array_equal(some.logits[some.ids == wanted], whole.logits[-many:, :8][some.ids == wanted])
            np.testing.assert_allclose(some.total, whole.total[-many:], atol=0 if level == 0 else 0.05)
        one = kernel.forward(part, at, 8, level=level, allow=allow)
        first = [(int(i), float(x)) for i, x in zip(whole.ids[-1], whole.logits[-1], strict=True) if allowed[i]][:8]
        assert list(zip(one.ids.tolist(), one.logits.tolist(), strict=True)) == first
    assert same / of > 0.99
    kernel.close()


def test_a_switch_of_level_changes_nothing_but_numbers(elastic: Path) -> None:
    kernel = LanguageModel(elastic, threads=2, context=128, pages=6)
    tokens = list(range(100))
    alone = {}
    for level in range(3):
        kernel.forward(tokens, 0, 1, level=level, pages=[2 * level, 2 * level + 1])
        alone[level] = kernel.logits()
    for level in (2, 0, 1, 0, 2):
        kernel.forward(tokens[99:], 99, 1, level=level, pages=[2 * level, 2 * level + 1])
        np.testing.assert_array_equal(kernel.logits(), alone[level])
    kernel.close()


# ── damaged artifacts ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", [0, 5, 9, 30, 900, 5000, -200])
def test_a_changed_byte_is_found(elastic: Path, tmp_path: Path, where: int) -> None:
    data = bytearray(elastic.read_bytes())
    data[where] ^= 4
    damaged = tmp_path / "damaged.nkm"
    damaged.write_bytes(data)
    with pytest.raises(NookError) as error:
        LanguageModel(damaged, threads=1, context=64)
    assert error.value.code == "model-corrupt" and error.value.hint


@pytest.mark.parametrize("size", [0, 3, 15, 64, 4000, -1, -64])
def test_a_file_that_ends_early_is_found(elastic: Path, tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "damaged.nkm"
    damaged.write_bytes(elastic.read_bytes()[:size])
    with pytest.raises(NookError) as error:
        LanguageModel(damaged, threads=1, context=64)
    assert error.value.code == "model-corrupt"


def test_refused_memory_means_less_context(elastic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = native.arena, []

    def refusing(size: int) -> np.ndarray:
        asked.append(size)
        if len(asked) <= refused:
            raise MemoryError
        return whole(size)

    monkeypatch.setattr(native, "arena", refusing)
    rooms = []
    for refused in range(3):  # noqa: B007 (read by `refusing`)
        asked.clear()
        model = LanguageModel(elastic, threads=1)
        rooms.append((model.context, model.pages))
        assert asked == sorted(asked, reverse=True) and model.forward([1], 0).ids.shape == (64,)
        model.close()
    assert rooms == [(2048, 64), (1024, 24), (512, 12)]
    asked.clear()
    refused = 3
    with pytest.raises(NookError) as error:
        LanguageModel(elastic, threads=1)
    assert error.value.code == "memory" and error.value.hint


FORGETFUL = """
import gc, sys, threading, time
from pathlib import Path
from inglenook.platform.native.models import LanguageModel

for number in range(8):
    model = LanguageModel(Path(sys.argv[1]), threads=3)
    model.forward([1, 2, 3], 0, 1)
    if number % 2:
        model.itself = model  # a cycle, which only the collector finds
    del model
    gc.collect()
    other = LanguageModel(Path(sys.argv[1]), threads=2)  # where the first one was, perhaps
    for _ in range(5):
        other.forward([1, 2, 3], 0, 1)
    other.close()
until = time.monotonic() + 20
while threading.active_count() > 1 and time.monotonic() < until:
    time.sleep(0.01)
print("threads:", threading.active_count())
left = LanguageModel(Path(sys.argv[1]), threads=3)  # at the end of the process
"""


def test_a_model_that_is_forgotten_takes_its_threads_along(build: str, elastic: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORGETFUL, elastic], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "threads: 1\n", "")


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
    lm_convert.convert(needs(GGUF), tmp_path / "lm.nkm", RECIPE if RECIPE.exists() else None)
    assert (tmp_path / "encoder.nkm").read_bytes() == needs(ENCODER).read_bytes()
    assert (tmp_path / "lm.nkm").read_bytes() == needs(LM).read_bytes()


# ── several sessions in one pass ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_tokens_of_several_sessions_get_the_bits_they_get_alone(
    build: str, tmp_path: Path, level: int, threads: int
) -> None:
    """At several places, some of them the last or first of a page, some with a mask; on pages in any order."""
    kernel = LanguageModel(elastic_models.make(tmp_path / "tiny.nkm"), threads=threads, context=256, pages=40)
    rng = np.random.default_rng(level)
    pages, lengths = rng.permutation(40).tolist(), [1, 63, 64, 65, 127, 20, 8, 130]
    passes = []
    for n, length in enumerate(lengths):
        own = [pages.pop() for _ in range(length // 64 + 1)]
        kernel.forward(rng.integers(0, 512, length).tolist(), 0, 1, level=level, pages=own)
        allow = rng.integers(0, 256, 64).astype(np.uint8).tobytes() if n % 3 == 1 else None
        token = [int(rng.integers(512))]
        passes.append(Forward(token, length, 20, level=level, pages=own, allow=allow))
    together = kernel.batch(passes)
    again = [lm.forward(kernel, one) for one in passes]  # writes the same keys and values once more
    for one, alone in zip(together, again, strict=True):
        assert one.ids.tolist() == alone.ids.tolist() and one.logits.tolist() == alone.logits.tolist()
        assert one.total == alone.total
    after = [replace(one, tokens=[7], at=one.at + 1) for one in passes if (one.at + 1) % 64]
    for one, alone in zip(kernel.batch(after), [lm.forward(kernel, one) for one in after], strict=True):
        assert one.logits.tolist() == alone.logits.tolist()  # what was written together is read alone
    kernel.close()


def test_what_does_not_go_together_is_refused(build: str, tmp_path: Path) -> None:
    kernel = LanguageModel(elastic_models.make(tmp_path / "tiny.nkm"), threads=1, context=256, pages=20)
    for page in range(18):
        kernel.forward([1, 2], 0, 1, pages=[page])
    good = [Forward([3], 2, 5, pages=[page]) for page in range(16)]
    wanted = lm.forward(kernel, good[0]).logits.tolist()
    for wrong, code in (
        (replace(good[1], pages=[0]), "forward"),  # two write to one page
        (replace(good[1], at=3), "forward"),  # nothing is written before it
        (replace(good[1], tokens=[512]), "tokens"), (replace(good[1], pages=[20]), "forward"),
        (replace(good[1], at=256, pages=list(range(1, 6))), "context"),
    ):  # fmt: skip
        with pytest.raises(NookError) as error:
            kernel.batch([good[0], wrong])
        assert error.value.code == code
    with pytest.raises(NookError, match="17 tokens"):
        kernel.batch([*good, replace(good[0], pages=[16])])
    assert len(kernel.batch(good)) == 16
    assert kernel.batch(good[:1])[0].logits.tolist() == wanted
    kernel.close()
