"""The flow from texts to vectors, driven by a dictionary's worth of driver; and the plain forward pass on its own."""

import json
import math
import struct

import numpy as np
import pytest
from inglenook.embed import encoder, reference
from inglenook.embed.tokenizer import WordPiece
from inglenook.errors import Cancelled
from inglenook.flow import Encode, Pause, drive

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


@pytest.fixture
def tokenizer():
    return WordPiece(PIECES)


def vector(tokens):
    """A unit row that is different for every token sequence."""
    row = np.random.default_rng(tokens).standard_normal(encoder.DIMENSIONS)
    return (row / np.linalg.norm(row)).astype(np.float32)


def run(texts, tokenizer, **options):
    """Drive the flow; returns (vectors, batches of token sequences, events)."""
    batches, answer = [], []

    def perform(effect, emit):
        if isinstance(effect, Pause):
            return None
        assert isinstance(effect, Encode)
        batches.append(effect)
        return np.stack([vector(tokens) for tokens in effect.tokens])

    def flow():
        answer.append((yield from encoder.embed(texts, tokenizer, **options)))

    events = list(drive(flow(), perform))
    return answer[0], batches, events


def test_rows_come_back_in_the_order_of_the_texts(tokenizer):
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(list("abcdefgh"), size)) for size in draw.integers(0, 300, 200)]
    vectors, batches, _ = run(texts, tokenizer)
    np.testing.assert_array_equal(vectors, [vector(tokenizer.encode(text)) for text in texts])
    assert vectors.dtype == np.float32
    lengths = [len(tokens) for batch in batches for tokens in batch.tokens]
    assert lengths == sorted(lengths, reverse=True)
    assert all(len(batch.tokens) * max(map(len, batch.tokens)) <= 2048 for batch in batches)


def test_equal_texts_are_embedded_once(tokenizer):
    vectors, batches, _ = run(["a b", "c", "A  B", "c", "c"], tokenizer)
    assert sum(len(batch.tokens) for batch in batches) == 2
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], vectors[4])


def test_progress_counts_texts_up_to_all_of_them(tokenizer):
    texts = [f"{a} {b} {c}" for a in "abcdefgh" for b in "abcdefgh" for c in "aabc"]
    _, batches, events = run(texts, tokenizer, progress=lambda done: done)
    assert events == sorted(events)
    assert events[-1] == len(texts)
    assert len(events) == len(batches) > 4


def test_a_query_is_urgent_and_alone(tokenizer):
    _, batches, events = run(["a b c"], tokenizer, urgent=True)
    assert [batch.urgent for batch in batches] == [True]
    assert events == []


def test_nothing_to_embed_asks_for_nothing(tokenizer):
    vectors, batches, _ = run([], tokenizer)
    assert vectors.shape == (0, encoder.DIMENSIONS)
    assert batches == []


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
