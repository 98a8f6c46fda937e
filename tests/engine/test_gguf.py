"""GGUF: a writer of our own makes files, the reader must give back what went in, and never crash on damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from engine.tiny import NUMBER, gguf, text
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.gguf import KINDS, Gguf
from inglenook.errors import NookError

LAST = text("last") + struct.pack("<IQI", 1, 5, 1)


def sample(align: int = 32) -> bytes:
    random = np.random.default_rng(1)
    blocks = np.zeros(3, KINDS[3][2])
    blocks["d"], blocks["m"], blocks["qs"] = 0.5, -1, random.integers(0, 256, (3, 16))
    tensors = {
        "plain": ("F32", (2, 3), np.arange(6, dtype="<f4").tobytes()),
        "packed": ("Q4_1", (3, 32), blocks.tobytes()),
        "last": ("F16", (5,), np.arange(5).astype("<f2").tobytes()),
    }
    metadata = {"name": "tiny", "layers": 2, "words": ["a", "ß", ""], "kinds": [1, 2, 3], "yes": True}
    return gguf(metadata, tensors, align)


@pytest.mark.parametrize("align", [8, 32, 64])
def test_what_was_written_is_read(align: int) -> None:
    file = Gguf(sample(align))
    assert file.metadata["name"] == "tiny" and file.metadata["layers"] == 2 and file.metadata["yes"] is True
    assert file.metadata["words"] == ["a", "ß", ""] and file.metadata["kinds"].tolist() == [1, 2, 3]
    assert list(file.tensors) == ["plain", "packed", "last"]
    assert file.tensor("plain").dequantise().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert file.tensor("last").dequantise().tolist() == [0, 1, 2, 3, 4]
    assert file.tensor("packed").blocks.shape == (3, 1)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_dequantise_follows_the_formula_value_by_value(kind: str) -> None:
    dtype = KINDS[NUMBER[kind]][2]
    rows, columns = 4, 96
    blocks = np.frombuffer(np.random.default_rng(2).bytes(rows * 3 * dtype.itemsize), dtype).copy().reshape(rows, 3)
    for field in ("d", "m"):
        if field in (dtype.names or ()):
            blocks[field] = np.random.default_rng(3).normal(size=(rows, 3))
    got = Gguf(gguf({}, {"w": (kind, (rows, columns), blocks.tobytes())})).tensor("w").dequantise()
    assert got.shape == (rows, columns) and got.dtype == np.float32
    for row in range(rows):
        for column in range(columns):
            block, place = blocks[row, column // 32], column % 32
            scale = np.float32(block["d"])
            if kind == "Q8_0":
                want = np.float32(block["qs"][place]) * scale
            else:
                nibble = int(block["qs"][place % 16]) >> (4 if place >= 16 else 0) & 15
                want = np.float32(nibble - 8) * scale if kind == "Q4_0" else nibble * scale + np.float32(block["m"])
            assert got[row, column] == want


def test_a_file_on_disk_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(sample())
    assert Gguf.open(tmp_path / "m.gguf").tensor("plain").dequantise().sum() == 15
    with pytest.raises(NookError) as missing:
        Gguf.open(tmp_path / "none.gguf")
    assert missing.value.code == "model-missing" and missing.value.hint


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: b"", "model-corrupt"),
        (lambda data: b"PK\3\4" + data, "model-unsupported"),
        (lambda data: data[:4] + b"\2\0\0\0" + data[8:], "model-unsupported"),
        (lambda data: data.replace(text("packed") + b"\2", text("packed") + b"\x63"), "model-corrupt"),  # dimensions
        (lambda data: data.replace(LAST, LAST[:-4] + b"\x0e\0\0\0"), "model-unsupported"),  # its type: Q6_K
        (lambda data: data.replace(LAST, LAST.replace(b"\5", b"\0")), "model-corrupt"),  # no columns
        (lambda data: data.replace(text("plain"), text("other").replace(b"oth", b"\xff\xfe\xff")), "model-corrupt"),
    ],
)
def test_damage_is_named(damage, code: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NookError) as error:
        Gguf(damage(sample()))
    assert error.value.code == code


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(NookError, match=r"blk\.7"):
        Gguf(sample()).tensor("blk.7")


def test_every_truncation_is_an_error() -> None:
    data = sample()
    for size in range(len(data)):
        with pytest.raises(NookError):
            Gguf(data[:size])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_flipped_bytes_never_crash(data: st.DataObject) -> None:
    raw = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        file = Gguf(bytes(raw))
    except NookError:
        return
    for tensor in file.tensors.values():
        assert tensor.dequantise().shape == tensor.shape


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_an_error(body: bytes) -> None:
    for data in (body, b"GGUF" + body, b"GGUF\3\0\0\0" + body):
        try:
            Gguf(data)
        except NookError as error:
            assert error.code in ("model-corrupt", "model-unsupported")
