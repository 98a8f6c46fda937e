"""GGUF: a writer of our own makes files, the reader must give back what went in, and never crash on damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.elastic.gguf import KINDS, Gguf
from inglenook.errors import NookError

NUMBER = {name: number for number, (name, _, _) in KINDS.items()}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def typed(value: object) -> bytes:
    """A metadata value with its type number in front."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<Iq", 11, value)
        case float():
            return struct.pack("<Id", 12, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case list() if value and isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case list():
            return struct.pack("<IIQ", 9, 5, len(value)) + np.array(value, "<i4").tobytes()
    raise TypeError(value)


def write(
    metadata: dict[str, object], tensors: dict[str, tuple[str, tuple[int, ...], bytes]], align: int = 32
) -> bytes:
    """A GGUF v3 file of the tensors name → (kind, numpy shape, bytes)."""
    if align != 32:
        metadata = {**metadata, "general.alignment": align}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + typed(value) for key, value in metadata.items())
    body = b""
    for name, (kind, shape, raw) in tensors.items():
        body += bytes(-len(body) % align)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", NUMBER[kind], len(body))
        body += raw
    return head + bytes(-len(head) % align) + body


def sample(align: int = 32) -> bytes:
    random = np.random.default_rng(1)
    blocks = np.zeros(3, KINDS[3][2])
    blocks["d"], blocks["m"], blocks["qs"] = 0.5, -1, random.integers(0, 256, (3, 16))
    tensors = {
        "plain": ("F32", (2, 3), np.arange(6, dtype="<f4").tobytes()),
        "packed": ("Q4_1", (3, 32), blocks.tobytes()),
        "last": ("F16", (5,), np.arange(5).astype("<f2").tobytes()),
    }
    return write({"name": "tiny", "layers": 2, "words": ["a", "ß", ""], "kinds": [1, 2, 3], "yes": True}, tensors, align)


@pytest.mark.parametrize("align", [8, 32, 64])
def test_what_was_written_is_read(align: int) -> None:
    gguf = Gguf(sample(align))
    assert gguf.metadata["name"] == "tiny" and gguf.metadata["layers"] == 2 and gguf.metadata["yes"] is True
    assert gguf.metadata["words"] == ["a", "ß", ""] and gguf.metadata["kinds"].tolist() == [1, 2, 3]
    assert list(gguf.tensors) == ["plain", "packed", "last"]
    assert gguf.tensor("plain").dequantise().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert gguf.tensor("last").dequantise().tolist() == [0, 1, 2, 3, 4]
    assert gguf.tensor("packed").blocks.shape == (3, 1)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_dequantise_follows_the_formula_value_by_value(kind: str) -> None:
    dtype = KINDS[NUMBER[kind]][2]
    rows, columns = 4, 96
    blocks = np.frombuffer(np.random.default_rng(2).bytes(rows * 3 * dtype.itemsize), dtype).copy().reshape(rows, 3)
    for field in ("d", "m"):
        if field in (dtype.names or ()):
            blocks[field] = np.random.default_rng(3).normal(size=(rows, 3))
    got = Gguf(write({}, {"w": (kind, (rows, columns), blocks.tobytes())})).tensor("w").dequantise()
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
        (lambda data: data.replace(text("packed") + b"\2", text("packed") + b"\x63"), "model-corrupt"),
        (lambda data: data.replace(text("last") + struct.pack("<IQI", 1, 5, 1), text("last") + struct.pack("<IQI", 1, 5, 14)), "model-unsupported"),
        (lambda data: data.replace(text("plain"), text("other").replace(b"other", b"\xff\xfe\xff\xfe\xff")), "model-corrupt"),
    ],
)  # fmt: skip
def test_damage_is_named(damage, code: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NookError) as error:
        Gguf(damage(sample()))
    assert error.value.code == code


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(NookError, match="blk.7"):
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
        gguf = Gguf(bytes(raw))
    except NookError:
        return
    for tensor in gguf.tensors.values():
        assert tensor.dequantise().shape == tensor.shape


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_an_error(body: bytes) -> None:
    for data in (body, b"GGUF" + body, b"GGUF\3\0\0\0" + body):
        try:
            Gguf(data)
        except NookError as error:
            assert error.code in ("model-corrupt", "model-unsupported")
