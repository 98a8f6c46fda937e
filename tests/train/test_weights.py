"""Weights from both kinds of files: the same model, and a typed error for what is none."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import json
import struct
from pathlib import Path

import numpy as np
from inglenook.errors import NookError
from inglenook.train import weights as reading
from train import small


def safetensors(folder: Path, dtype: str) -> Path:
    """The small model as other tools write it: rotary pairs half a head apart, other names."""
    weights = small.weights()
    shape, head = weights.shape, weights.shape.head
    entries, body = {}, b""
    theirs = reading._THEIRS
    for name in reading.names(shape.layers):
        value = weights[name]
        parts = name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):
                cut = value.reshape(-1, head // 2, 2, value.shape[1])
                value = cut.transpose(0, 2, 1, 3).reshape(value.shape)
            full = f"model.layers.{parts[1]}.{theirs[parts[2]]}.weight"
        else:
            full = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[parts[0]]
        raw = value.astype("<f4")
        data = (raw.view("<u4") >> 16).astype("<u2").tobytes() if dtype == "BF16" else raw.tobytes()
        entries[full] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    said = {
        "model_type": "llama", "tie_word_embeddings": True, "num_hidden_layers": shape.layers,
        "hidden_size": shape.width, "intermediate_size": shape.hidden, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocabulary, "rope_theta": shape.theta,
        "max_position_embeddings": shape.context, "rms_norm_eps": shape.epsilon,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(said))
    return path


def test_both_kinds_of_files_say_the_same(tmp_path: Path) -> None:
    ours, theirs = small.weights(), reading.read(safetensors(tmp_path, "F32"))
    assert theirs.shape == ours.shape
    assert all(np.array_equal(theirs[name], ours[name]) for name in reading.names(ours.shape.layers))


def test_half_the_bits_are_the_upper_ones(tmp_path: Path) -> None:
    ours, theirs = small.weights(), reading.read(safetensors(tmp_path, "BF16"))
    name = "blk.1.ffn_up.weight"
    assert 0 < np.abs(theirs[name] - ours[name]).max() <= np.abs(ours[name]).max() / 128


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    path = safetensors(tmp_path, "F32")
    whole = path.read_bytes()
    for broken in (whole[:4], whole[:2000], whole[:8] + b"x" + whole[9:]):
        path.write_bytes(broken)
        with pytest.raises(NookError) as caught:
            reading.read(path)
        assert caught.value.code == "model-corrupt"
    safetensors(tmp_path, "I32")
    with pytest.raises(NookError) as caught:
        reading.read(path)
    assert caught.value.code == "model-unsupported"  # and not damaged
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    path.write_bytes(whole)
    with pytest.raises(NookError) as caught:
        reading.read(path)
    assert caught.value.code == "model-unsupported"
    for broken in (
        "[]",
        "[" * 99_999,
        '{"model_type": "llama", "tie_word_embeddings": 1, "num_attention_heads": 1e400}',
    ):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(NookError) as caught:
            reading.read(path)
        assert caught.value.code == "model-corrupt"
    (tmp_path / "config.json").unlink()
    with pytest.raises(NookError) as caught:
        reading.read(path)
    assert caught.value.code == "model-missing"
