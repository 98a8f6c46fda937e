"""The engine in torch writes what the plain pass writes, however requests are batched, cut and placed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")

from pathlib import Path

import numpy as np
import torch
from fleet.llama import Worker, write
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.reference import Reference
from inglenook.errors import NookError
from inglenook.fleet.iteration import Iteration, Piece, Sampling
from inglenook.fleet.torch.batch import Batch
from inglenook.fleet.torch.memory import Cache, Memory
from inglenook.fleet.torch.sample import choose
from inglenook.fleet.torch.stage import Stage
from inglenook.fleet.weights import Checkpoint, layer_name

PROMPTS = [[7, 3, 9, 1], [5], list(range(20)), [11, 11, 2]]


def logits(checkpoint: Checkpoint, tokens: list[int], page_bytes: int = 1 << 12, **options) -> np.ndarray:
    """Scores after each of some tokens, by one stage."""
    shape = checkpoint.shape
    cache = Cache(Memory(64, page_bytes), shape, 0, shape.layers, **options)
    stage = Stage.whole(checkpoint, cache)
    batch = Batch.of([Piece("a", tuple(tokens), 0, tuple(range(63, -1, -1)), True)], cache)
    states = batch.tokens
    every = Batch(batch.tokens, batch.positions, batch.rows, batch.groups, torch.arange(len(tokens)))
    return stage.forward(every, states).numpy()


@settings(max_examples=20)
@given(
    st.integers(1, 3), st.sampled_from([(4, 1), (4, 2), (4, 4), (6, 3), (1, 1), (9, 3)]), st.sampled_from([4, 8, 16]),
    st.integers(1, 40),
)  # fmt: skip
def test_any_shape_scores_as_the_plain_pass(
    tmp_path_factory: pytest.TempPathFactory, layers: int, heads: tuple[int, int], head: int, length: int
) -> None:
    seed = layers * 1000 + head * 50 + length
    gguf, checkpoint = write(
        tmp_path_factory.mktemp("shape"), layers=layers, heads=heads[0], kv_heads=heads[1], width=heads[0] * head,
        hidden=96, kind="F32", seed=seed,
    )  # fmt: skip
    tokens = np.random.default_rng(seed).integers(0, 50, length).tolist()
    plain = Reference(gguf).logits(tokens)
    assert np.abs(logits(checkpoint, tokens) - plain).max() < 1e-4 * max(1.0, np.abs(plain).max())


def test_half_precision_is_close(tmp_path: Path) -> None:
    gguf, checkpoint = write(tmp_path)
    plain = Reference(gguf).logits(PROMPTS[2])
    rough = logits(checkpoint, PROMPTS[2], dtype=torch.bfloat16)
    assert 0 < np.abs(rough - plain).max() < 0.05 * np.abs(plain).max()


@pytest.fixture
def alone(tmp_path: Path) -> list[list[int]]:
    """What each prompt is continued with when nothing else is going on, by the plain pass."""
    gguf, _ = write(tmp_path)
    found = []
    for prompt in PROMPTS:
        plain, tokens = Reference(gguf), list(prompt)
        for at in range(20):
            tokens.append(int(plain.best(tokens if not at else tokens[-1:], 0 if not at else len(tokens) - 1).ids[0]))
        found.append(tokens[len(prompt) :])
    return found


def test_a_request_alone_is_the_plain_pass(tmp_path: Path, alone: list[list[int]]) -> None:
    worker = Worker()
    worker.add("m", write(tmp_path)[1])
    assert [worker.write("m", str(i), prompt, 20) for i, prompt in enumerate(PROMPTS)] == alone


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_prompt_in_chunks_is_the_whole_prompt(tmp_path: Path, alone: list[list[int]], chunk: int) -> None:
    worker = Worker()
    worker.add("m", write(tmp_path)[1])
    assert [worker.write("m", str(i), prompt, 20, chunk=chunk) for i, prompt in enumerate(PROMPTS)] == alone


@pytest.mark.parametrize("cuts", [[1], [1, 2], [3]])
def test_stages_in_a_row_are_one(tmp_path: Path, cuts: list[int]) -> None:
    _, checkpoint = write(tmp_path, layers=4)
    whole, cut = Worker(), Worker()
    whole.add("m", checkpoint)
    cut.add("m", checkpoint, cuts=cuts)
    for i, prompt in enumerate(PROMPTS):
        assert cut.write("m", str(i), prompt, 12) == whole.write("m", str(i), prompt, 12)


@settings(max_examples=12)
@given(st.data())
def test_mixed_batches_write_what_is_written_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Two models in one arena, requests that come, are put off, go on and end at random; chunks of prompts and single
    tokens in one iteration."""
    folder, page_bytes = tmp_path_factory.mktemp("mixed"), 1 << 11
    models = {
        "a": write(folder, "a", kind="F32")[1],
        "b": write(folder, "b", layers=3, heads=3, kv_heads=1, width=48, kind="F32")[1],
    }
    worker = Worker(256, page_bytes)
    for name, checkpoint in models.items():
        worker.add(name, checkpoint)
    requests = {}
    for i in range(data.draw(st.integers(1, 6))):
        tokens = st.lists(st.integers(0, 49), min_size=1, max_size=30)
        requests[str(i)] = (data.draw(st.sampled_from("ab")), data.draw(tokens), data.draw(st.integers(0, 2)))
    todo = {name: list(prompt) for name, (_, prompt, _) in requests.items()}
    at, written = dict.fromkeys(requests, 0), {name: [] for name in requests}
    for name, (_, _, hot) in requests.items():
        worker.executor.admit(name, Sampling(0.8 * hot, 0.9 if hot == 2 else 1.0, seed=int(name)))
    while todo:
        model = data.draw(st.sampled_from(sorted({requests[name][0] for name in todo})))
        here = [name for name in todo if requests[name][0] == model]
        chosen = data.draw(st.lists(st.sampled_from(here), min_size=1, unique=True))
        pieces = []
        for name in chosen:
            now = todo[name][: data.draw(st.integers(1, 12))]
            todo[name] = todo[name][len(now) :]
            pieces.append(worker.piece(model, name, now, at[name], wants=not todo[name]))
            at[name] += len(now)
        for name, token in worker.executor.run(Iteration(model, tuple(pieces))).items():
            written[name].append(token)
            todo[name] = [token]
            if len(written[name]) == 8:
                del todo[name]
                worker.arena.give(model, worker.held.pop(name))
    for name, (model, prompt, hot) in requests.items():
        lone = Worker(64, page_bytes)
        lone.add(model, models[model])
        way = Sampling(0.8 * hot, 0.9 if hot == 2 else 1.0, seed=int(name))
        assert lone.write(model, name, prompt, 8, way=way) == written[name]


def test_a_models_pages_are_touched_by_it_alone(tmp_path: Path) -> None:
    worker = Worker(16)
    worker.add("a", write(tmp_path, "a")[1])
    worker.add("b", write(tmp_path, "b", layers=3, heads=2, kv_heads=1)[1])
    random = np.random.default_rng(3)
    worker.memory.bytes.copy_(torch.from_numpy(random.integers(0, 256, 16 << 12, np.uint8)))  # what others left there
    first = worker.write("a", "1", PROMPTS[2], 20)
    before = worker.memory.bytes.view(16, -1).clone()
    worker.write("b", "2", PROMPTS[2], 20)
    changed = set((worker.memory.bytes.view(16, -1) != before).any(dim=1).nonzero().flatten().tolist())
    assert changed and changed <= set(worker.held["2"]) and not changed & set(worker.held["1"])
    assert worker.write("a", "3", PROMPTS[2], 20) == first  # whatever bytes were left in the pages, NaN too


def test_what_is_left_in_a_page_does_not_show(tmp_path: Path) -> None:
    clean, dirty = Worker(), Worker()
    for worker in (clean, dirty):
        worker.add("m", write(tmp_path)[1])
    dirty.memory.bytes.view(torch.float32).fill_(float("nan"))
    for worker in (clean, dirty):
        worker.executor.admit("x", Sampling())
        worker.executor.admit("y", Sampling())
    found = [
        worker.executor.run(
            Iteration("m", tuple(worker.piece("m", name, prompt, 0) for name, prompt in (("x", [1]), ("y", [2]))))
        )
        for worker in (clean, dirty)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("tokens", [None, 3])
def test_keys_and_values_move_between_workers(tmp_path: Path, tokens: int | None) -> None:
    """A request begun on two stages goes on at one worker that has all layers, whatever its pages hold."""
    _, checkpoint = write(tmp_path, layers=4)
    shape, prompt = checkpoint.shape, PROMPTS[2]
    expected = Worker()
    expected.add("m", checkpoint)
    wanted = expected.write("m", "r", prompt, 10)

    memories = [Memory(16, 1 << 10), Memory(16, 1 << 11)]
    caches = [Cache(memories[0], shape, 0, 1, tokens=4), Cache(memories[1], shape, 1, 4, tokens=4)]
    pages, x = tuple(range(2, 8)), None
    for i, cache in enumerate(caches):
        stage = Stage(shape, cache.first, cache.last, cache, embeds=i == 0, heads=i == 1, tied=True)
        for name in [*stage.missing]:
            stage.load(name, checkpoint.read(name))
        batch = Batch.of([Piece("r", tuple(prompt), 0, pages, True)], cache)
        x = stage.forward(batch, batch.tokens if x is None else x)
    assert int(x.argmax()) == wanted[0]

    worker = Worker()
    cache = worker.add("m", checkpoint, tokens=tokens)
    worker.executor.admit("r", Sampling())
    held = worker.piece("m", "r", prompt, 0).pages
    cache.accept(held, 0, 1, caches[0].export(pages, 0, 1, len(prompt)))
    cache.accept(held, 1, 3, caches[1].export(pages, 1, 3, len(prompt)))
    cache.accept(held, 3, 4, caches[1].export(pages, 3, 4, len(prompt)))
    written, at = [wanted[0]], len(prompt)
    while len(written) < 10:
        written.append(worker.executor.run(Iteration("m", (worker.piece("m", "r", written[-1:], at),)))["r"])
        at += 1
    assert written == wanted
    with pytest.raises(NookError) as wrong:
        cache.accept(held, 0, 2, caches[0].export(pages, 0, 1))
    assert wrong.value.code == "kv"
    with pytest.raises(NookError):
        cache.accept(held[:1], 0, 1, caches[0].export(pages, 0, 1))
    with pytest.raises(NookError):
        caches[0].export(pages, 1, 2)


def test_attention_and_ffn_are_a_layer(tmp_path: Path) -> None:
    _, checkpoint = write(tmp_path, layers=1)
    cache = Cache(Memory(8, 1 << 12), checkpoint.shape, 0, 1)
    stage = Stage.whole(checkpoint, cache)
    batch = Batch.of([Piece("a", (1, 2, 3), 0, (5,), True)], cache)
    with torch.inference_mode():
        x = torch.from_numpy(checkpoint.read("model.embed_tokens.weight")[[1, 2, 3]])
        x = x + stage.attention(0, x, batch)
        x = x + stage.ffn(0, x)
        assert torch.equal(stage.logits(x[batch.wanted]), stage.forward(batch, batch.tokens))


def test_a_head_of_its_own_is_used(tmp_path: Path) -> None:
    _, checkpoint = write(tmp_path)
    shape = checkpoint.shape
    cache = Cache(Memory(8, 1 << 12), shape, 0, shape.layers)
    stage = Stage(shape, 0, shape.layers, cache, embeds=True, heads=True, tied=False)
    for name in [*stage.missing]:
        read = "model.embed_tokens.weight" if name == "lm_head.weight" else name
        stage.load(name, checkpoint.read(read) * (2 if read != name else 1))
    batch = Batch.of([Piece("a", (4, 2), 0, (0,), True)], cache)
    tied = logits(checkpoint, [4, 2])[-1]
    assert np.allclose(stage.forward(batch, batch.tokens)[0].numpy(), 2 * tied, rtol=1e-4, atol=1e-5)


def test_tensors_may_come_in_any_order_but_once(tmp_path: Path) -> None:
    _, checkpoint = write(tmp_path)
    shape = checkpoint.shape
    cache = Cache(Memory(8, 1 << 12), shape, 0, shape.layers)
    stage = Stage(shape, 0, 2, cache, embeds=True, heads=True, tied=True)
    batch = Batch.of([Piece("a", (4, 2), 0, (0,), True)], cache)
    for name in np.random.default_rng(0).permutation([*stage.missing]).tolist():
        with pytest.raises(NookError) as early:
            stage.forward(batch, batch.tokens)
        assert early.value.code == "stage" and "missing" in early.value.message
        stage.load(name, torch.from_numpy(checkpoint.read(name)).half())
    assert torch.isfinite(stage.forward(batch, batch.tokens)).all()
    for name, code in ((layer_name(0, "mlp.up_proj"), "stage"), ("nothing", "stage")):
        with pytest.raises(NookError) as caught:
            stage.load(name, checkpoint.read(layer_name(0, "mlp.up_proj")))
        assert caught.value.code == code
    other = Stage(shape, 0, 2, cache, embeds=True, heads=True, tied=True)
    with pytest.raises(NookError) as caught:
        other.load(layer_name(0, "mlp.up_proj"), np.zeros((2, 2), np.float32))
    assert caught.value.code == "model-corrupt"


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (Piece("r", (), 0, (0,), True), "iteration"),
        (Piece("r", (1,), -1, (0,), True), "iteration"),
        (Piece("r", (50,), 0, (0,), True), "iteration"),
        (Piece("r", (-1,), 0, (0,), True), "iteration"),
        (Piece("r", (1,), 16, (0,), True), "iteration"),
        (Piece("r", (1,), 0, (), True), "iteration"),
        (Piece("r", (1,), 0, (64,), True), "iteration"),
        (Piece("r", (1,), 0, (-1,), True), "iteration"),
        (Piece("r", (1,) * 65, 0, (0, 1, 2, 3, 4), True), "context"),
        (Piece("stranger", (1,), 0, (0,), True), "iteration"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, piece: Piece, code: str) -> None:
    worker = Worker()
    assert worker.add("m", write(tmp_path)[1]).tokens == 16
    worker.executor.admit("r", Sampling())
    with pytest.raises(NookError) as caught:
        worker.executor.run(Iteration("m", (piece,)))
    assert caught.value.code == code and caught.value.hint
    with pytest.raises(NookError):
        worker.executor.run(Iteration("m", ()))


def test_models_that_are_not_there_or_not_whole_are_refused(tmp_path: Path) -> None:
    worker, (_, checkpoint) = Worker(), write(tmp_path)
    cache = worker.add("m", checkpoint)
    worker.executor.admit("r", Sampling())
    half = Stage(checkpoint.shape, 0, 1, cache, embeds=True, heads=False, tied=True)
    for stages in ([], [half], [half, half]):
        with pytest.raises(NookError) as caught:
            worker.executor.add("half", stages)
        assert caught.value.code == "stage"
    worker.executor.remove("m")
    with pytest.raises(NookError) as caught:
        worker.executor.run(Iteration("m", (worker.piece("m", "r", [1], 0),)))
    assert caught.value.code == "no-model"
    with pytest.raises(NookError):
        Cache(Memory(1, 1000), checkpoint.shape, 0, 2)
    with pytest.raises(NookError):
        Cache(Memory(1, 1 << 12), checkpoint.shape, 0, 2, tokens=17)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.floats(0.05, 3), st.floats(0.01, 1))
def test_draws_stay_within_the_nucleus_and_repeat(seed: int, key: int, temperature: float, top_p: float) -> None:
    scores = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 40)).astype(np.float32))
    way = Sampling(temperature, top_p, key)
    found = [choose(scores, [way], [position])[0] for position in range(20)]
    assert found == [choose(scores, [way], [position])[0] for position in range(20)]
    odds = torch.softmax(scores[0].double() / temperature, 0)
    order = odds.argsort(descending=True)
    before = dict(zip(order.tolist(), (odds[order].cumsum(0) - odds[order]).tolist()))
    assert all(before[token] < top_p + 1e-9 for token in found)
    assert choose(scores, [Sampling()], [0])[0] == int(scores.argmax())


@pytest.mark.parametrize("top_p", [1.0, 0.999999])
def test_draws_follow_the_odds(top_p: float) -> None:
    odds = torch.tensor([0.5, 0.1, 0.0, 0.4])
    rows, many = odds.log().repeat(4000, 1), range(4000)
    found = np.bincount(choose(rows, [Sampling(1.0, top_p, 9)] * 4000, many), minlength=4) / 4000
    assert np.abs(found - odds.numpy()).max() < 0.03 and found[2] == 0
