"""The same vectors on every road: sentence-transformers (recorded), our plain forward pass, ONNX, our kernel."""

import json
from pathlib import Path

import numpy as np
import pytest
from inglenook.embed.encoder import DIMENSIONS
from inglenook.embed.reference import Reference
from inglenook.embed.session import OnnxEncoder, pad, pool
from inglenook.errors import NookError
from inglenook.onnx import InferenceSession
from inglenook.platform.native.models import Encoder

from tests.reference import embed_models

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "static/models"
FOLDER = ROOT / "tests/reference"
TOKENS = [entry["ids"] for entry in json.loads((FOLDER / "embed.json").read_text("utf-8"))]
EXPECTED = np.load(FOLDER / "embed.npy").astype(np.float32)
FLOAT, QUANTISED = 0.999, 0.985


def built(name):
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not built")
    return path


def cosines(vectors, expected=EXPECTED):
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(expected), DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    return (vectors * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)


@pytest.fixture(scope="module")
def reference():
    return Reference.load(built("minilm-l6.safetensors").read_bytes())


def test_the_recorded_vectors_tell_texts_apart():
    """Else agreement with them would mean little."""
    assert len(TOKENS) >= 40
    assert max(map(len, TOKENS)) == 256
    near = np.triu(EXPECTED @ EXPECTED.T, 1)
    same = {(i, j) for i in range(len(TOKENS)) for j in range(i) if TOKENS[i] == TOKENS[j]}
    assert (near > 0.985).sum() == len(same)


def test_the_plain_forward_pass_agrees(reference):
    """On the short texts and one of the longest: it is slow."""
    longest = max(range(len(TOKENS)), key=lambda number: len(TOKENS[number]))
    chosen = [number for number, tokens in enumerate(TOKENS) if len(tokens) < 64 or number == longest]
    vectors = np.stack([reference.encode(TOKENS[number]) for number in chosen])
    assert cosines(vectors, EXPECTED[chosen]).min() > 0.99999


def test_float_onnx_agrees(reference):
    """The checkpoint as an ONNX graph through the binding, padded batches and all."""
    with InferenceSession(embed_models.minilm(reference.tensors)) as session:
        encoder = OnnxEncoder(session)
        vectors = np.zeros((len(TOKENS), DIMENSIONS), np.float32)
        for short in (True, False):
            batch = [number for number, tokens in enumerate(TOKENS) if (len(tokens) <= 64) == short]
            vectors[batch] = encoder.encode([TOKENS[number] for number in batch])
    assert cosines(vectors).min() > FLOAT


def test_int8_onnx_agrees():
    """Other people's quantisation: as good as ours must be on average, less so where a text is far from English."""
    with InferenceSession(built("minilm-l6.int8.onnx")) as session:
        encoder = OnnxEncoder(session)
        found = cosines(np.concatenate([encoder.encode([tokens]) for tokens in TOKENS]))
    assert found.mean() > QUANTISED
    assert found.min() > 0.97


def test_padding_does_not_show():
    ids, mask = pad([[101, 7, 102], [101, 102]])
    assert ids.tolist() == [[101, 7, 102], [101, 102, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    hidden = np.array([[[3, 0], [3, 0], [0, 0]], [[0, 1], [0, 1], [9, 9]]], np.float32)
    np.testing.assert_allclose(pool(hidden, mask), [[1, 0], [0, 1]])


def test_the_kernel_agrees():
    """What ships: our own quantised weights through our own kernel."""
    weights = built("minilm-l6.nkm")
    try:
        encoder = Encoder(weights, threads=2)
    except NookError as error:
        if error.code != "kernel-missing":
            raise
        pytest.skip(str(error))
    assert cosines(encoder.encode(TOKENS)).min() > QUANTISED
