"""The flow from texts to vectors, driven by a dictionary's worth of driver; and the plain forward pass on its own."""

import json
import math
import struct

import numpy as np
import pytest
from inglenook.embed import conveyor, encoder, reference
from inglenook.embed.conveyor import Conveyor
from inglenook.embed.tokenizer import WordPiece
from inglenook.errors import Cancelled
from inglenook.flow import Begin, Encode, Pause, drive

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


@pytest.fixture
def tokenizer():
    return WordPiece(PIECES)


def vector(tokens):
    """A unit row that is different for every token sequence."""
    row = np.random.default_rng(tokens).standard_normal(encoder.DIMENSIONS)
    return (row / np.linalg.norm(row)).astype(np.float32)


def run(flow):
    """Drive a flow; returns (its answer, what it asked to encode, when batches were begun and finished, events)."""
    batches, log, answer = [], [], []

    def perform(effect, emit):
        if isinstance(effect, Pause):
            return None
        assert isinstance(effect, Encode)
        batches.append(effect)
        log.append("finish")
        return np.stack([vector(tokens) for tokens in effect.tokens])

    def watched():
        value = None
        while True:
            try:
                item = flow.send(value)
            except StopIteration as end:
                answer.append(end.value)
                return
            if isinstance(item, Begin):
                log.append("begin")
            value = yield item

    events = list(drive(watched(), perform))
    return answer[0], batches, log, events


def convey(texts, tokenizer):
    """Embed by a conveyor: (vectors, batches, log, sizes of what was delivered)."""
    vectors, sizes = {}, []

    def deliver(batch):
        sizes.append(len(batch))
        vectors.update(batch)
        yield Pause()

    def flow():
        conveyor = Conveyor(tokenizer, deliver)
        for number, text in enumerate(texts):
            yield from conveyor.put(number, text)
        yield from conveyor.end()

    _, batches, log, _ = run(flow())
    assert sorted(vectors) == list(range(len(texts)))
    return [vectors[number] for number in range(len(texts))], batches, log, sizes


def test_rows_come_back_in_the_order_of_the_texts(tokenizer):
    texts = ["a b", "c", "A  B", "c d e", "c"]
    vectors, batches, _, _ = run(encoder.embed(texts, tokenizer, urgent=True))
    np.testing.assert_array_equal(vectors, [vector(tokenizer.encode(text)) for text in texts])
    assert vectors.dtype == np.float32
    assert [batch.urgent for batch in batches] == [True]
    assert len(batches[0].tokens) == 3  # equal ones travel once


def test_nothing_to_embed_asks_for_nothing(tokenizer):
    vectors, batches, _, _ = run(encoder.embed([], tokenizer))
    assert vectors.shape == (0, encoder.DIMENSIONS)
    assert batches == []
    assert convey([], tokenizer)[1:] == ([], [], [])


def test_a_conveyor_gives_every_passage_its_vector_in_batches_of_like_work(tokenizer):
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(list("abcdefgh"), size)) for size in draw.integers(0, 300, 200)]
    vectors, batches, _, sizes = convey(texts, tokenizer)
    np.testing.assert_array_equal(vectors, [vector(tokenizer.encode(text)) for text in texts])
    work = [sum(map(len, batch.tokens)) for batch in batches]
    assert len(work) > 4 and all(conveyor.BATCH <= tokens < conveyor.BATCH + 256 for tokens in work[:-1])
    for batch in batches:
        lengths = [len(tokens) for tokens in batch.tokens]
        assert lengths == sorted(lengths, reverse=True) and not batch.urgent
    assert sum(sizes) == len(texts) and len(sizes) == len(batches)


def test_a_conveyor_has_the_next_batch_begun_before_it_waits_for_one(tokenizer):
    texts = [" ".join("abcdefgh"[(n >> 3 * i) & 7] for i in range(4)) + " a" * 250 for n in range(80)]
    _, batches, log, _ = convey(texts, tokenizer)
    assert len(batches) == 5
    assert log == ["begin", *["begin", "finish"] * 4, "finish"]


def test_equal_passages_of_a_batch_travel_once(tokenizer):
    vectors, batches, _, sizes = convey(["a b", "c", "A  B", "c", "c"], tokenizer)
    assert sum(len(batch.tokens) for batch in batches) == 2 and sizes == [5]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], vectors[4])


def test_stop_takes_effect_between_batches(tokenizer):
    def perform(effect, emit):
        if isinstance(effect, Encode):
            raise Cancelled

    with pytest.raises(Cancelled):
        list(drive(encoder.embed(["a", "b"], tokenizer), perform))


def test_a_heading_is_embedded_with_its_passage(tokenizer):
    assert encoder.passage("", "b") == "b"
    assert tokenizer.encode(encoder.passage("a", "b")) == tokenizer.encode("a b")


def test_erf():
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    np.testing.assert_allclose(reference.erf(x), [math.erf(v) for v in x.tolist()], atol=5e-7)


def test_safetensors_are_read_in_place():
    values = np.arange(6, dtype=np.float32)
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "half": {"dtype": "F16", "shape": [1], "data_offsets": [24, 26]},
            "m": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        }
    ).encode()
    tensors = reference.read_safetensors(struct.pack("<Q", len(header)) + header + values.tobytes() + b"\0\0")
    assert list(tensors) == ["m"]
    np.testing.assert_array_equal(tensors["m"], values.reshape(2, 3))


def test_the_reference_sees_order_and_context():
    """A model of random weights: swapped tokens and other neighbours must show in the states, padding cannot."""
    draw = np.random.default_rng(11)

    def weights(*shape):
        return draw.standard_normal(shape, np.float32) * np.float32(0.2)

    width, vocabulary = 24, 7
    tensors = {
        "embeddings.word_embeddings.weight": weights(vocabulary, width),
        "embeddings.position_embeddings.weight": weights(16, width),
        "embeddings.token_type_embeddings.weight": weights(2, width),
    }
    layer = "encoder.layer.0"
    for name, shape in {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (48, width),
        "output.dense": (width, 48),
    }.items():
        tensors |= {f"{layer}.{name}.weight": weights(*shape), f"{layer}.{name}.bias": weights(shape[0])}
    for name in ("embeddings", f"{layer}.attention.output", f"{layer}.output"):
        tensors |= {f"{name}.LayerNorm.weight": 1 + weights(width), f"{name}.LayerNorm.bias": weights(width)}
    model = reference.Reference(tensors)
    assert model.layers == 1
    first, swapped, other = model.hidden([1, 2, 3]), model.hidden([2, 1, 3]), model.hidden([1, 2, 4])
    assert first.shape == (3, width)
    assert np.abs(first[2] - swapped[2]).max() > 1e-3
    assert np.abs(first[0] - other[0]).max() > 1e-3
    assert abs(np.linalg.norm(model.encode([1, 2, 3])) - 1) < 1e-6
