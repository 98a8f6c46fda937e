"""Weights in panels: what is packed comes back, and the artifact around it says where everything is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.kernels import artifact, pack

RNG = np.random.default_rng(7)


def some(rows: int, columns: int) -> pack.Array:
    """Weights of uneven size: rows whose range differs, one of zeros, one that is constant, one of a single sign."""
    w = RNG.standard_normal((rows, columns)).astype(np.float32) * RNG.uniform(0.01, 3, (rows, 1)).astype(np.float32)
    w[1], w[2], w[3] = 0, 0.25, np.abs(w[3]) + 1
    return w


FORMS = [("q4", 15), ("q4b", 15), ("q7", 127), ("q8", 255), ("q8b", 255), ("q8p", 255)]


@pytest.mark.parametrize(("form", "top"), FORMS)
def test_every_value_stands_in_its_place(form: str, top: int) -> None:
    rows, columns = 24, 640
    block = pack.BLOCK[form]
    q = RNG.integers(0, top + 1, (rows, columns)).astype(np.uint8)
    scale = RNG.uniform(0.1, 2, (rows, columns // block)).astype(np.float16)
    minimum = RNG.uniform(-2, 2, (rows, columns // block)).astype(np.float16)
    packed = pack.pack(form, q, scale, None if form in pack.ZERO else minimum)
    d, m = (np.repeat(part.astype(np.float32), block, axis=1) for part in (scale, minimum))
    expected = (q.astype(np.float32) - pack.ZERO[form]) * d if form in pack.ZERO else q.astype(np.float32) * d + m
    np.testing.assert_array_equal(pack.unpack(form, packed, rows, columns), expected)


def test_bytes_of_a_block_are_those_the_kernel_reads() -> None:
    """wasm/panel.h: scales, minima, then groups of 4 columns; low nibbles are rows 0..3, high nibbles rows 4..7."""
    q = np.zeros((8, 32), np.uint8)
    q[2, 5], q[6, 5] = 9, 4
    scale = np.arange(8, dtype=np.float16)[:, None]
    packed = pack.pack("q4", q, scale, scale + np.float16(8)).reshape(-1)
    assert len(packed) == 160
    np.testing.assert_array_equal(packed[:32].view("<f2"), np.arange(16))
    at = 32 + (5 // 4) * 16 + 2 * 4 + 5 % 4
    assert packed[at] == 9 | 4 << 4
    assert np.count_nonzero(packed[32:]) == 1
    assert pack.pack("q7", np.zeros((8, 64), np.uint8), scale).size == 528
    assert pack.pack("q8", np.zeros((8, 32), np.uint8), scale).size == 272
    q[2, 5], q[6, 5] = 0x9A, 0x4B
    planes = pack.pack("q8p", q, scale)
    assert len(planes) == 144 + 128
    assert planes[at - 16] == 9 | 4 << 4 and planes[144 + at - 32] == 0xA | 0xB << 4
    assert np.count_nonzero(planes[16:]) == 2


def test_quantising_errs_by_half_a_step_at_most() -> None:
    weights = some(16, 192)
    back = pack.unpack("q4", pack.quantise("q4", weights), *weights.shape)
    cut = weights.reshape(16, -1, pack.BLOCK["q4"])
    step = (cut.max(axis=2) - cut.min(axis=2)) / 15
    # half a step, and what rounding scale (15 times) and minimum to half floats may add
    allowed = 0.5 * step + 2.0**-11 * (15 * step + np.abs(cut).max(axis=2)) + 1e-7
    assert (np.abs(back.reshape(cut.shape) - cut).max(axis=2) <= allowed).all()


def lanes(packed: pack.Bytes, rows: int, columns: int) -> np.ndarray:
    """The q - 64 of packed q7 weights: (rows, blocks, lanes, columns of a lane)."""
    q = packed.reshape(rows // 8, columns // 64, 528)[:, :, 16:].reshape(rows // 8, columns // 64, 16, 8, 2, 2)
    return (q.astype(int) - 64).transpose(0, 3, 1, 4, 2, 5).reshape(rows, columns // 64, 2, 32)


def test_steps_of_q7_are_as_small_as_sums_of_16_bits_allow() -> None:
    """Half a step of error at most; the step is that of 63 levels, or larger where a lane would sum to too much."""
    weights = some(16, 192)
    weights[4], weights[5, :64] = np.sign(weights[4]), np.where(np.arange(64) % 4 < 2, 1, 0.01)
    packed = pack.quantise("q7", weights)
    q = lanes(packed, *weights.shape)
    sums, peaks = np.abs(q).sum(axis=3), np.abs(q).max(axis=(2, 3))
    assert sums.max() <= pack.LANE and (peaks <= 63).all()
    zero = np.abs(weights.reshape(16, -1, 64)).max(axis=2) == 0
    assert ((peaks >= 62) | (sums.max(axis=2) > 0.93 * pack.LANE) | zero).all()
    assert (sums[4] == 32 * 16).all()
    cut = weights.reshape(16, -1, 64)
    step = packed.reshape(2, 3, 528)[:, :, :16].copy().view("<f2").astype(np.float32).transpose(0, 2, 1).reshape(16, 3)
    error = np.abs(pack.unpack("q7", packed, *weights.shape).reshape(cut.shape) - cut).max(axis=2)
    assert (error <= step * (0.5 + 63 * 2.0**-11) + 1e-7).all()


def test_q8_pads_rows_and_errs_by_half_a_step_at_most() -> None:
    weights = some(11, 64)
    back = pack.unpack("q8", pack.quantise("q8", weights), 16, 64)
    assert not back[11:].any()
    cut = weights.reshape(11, -1, 32)
    step = np.abs(cut).max(axis=2) / 127
    assert (np.abs(back[:11].reshape(cut.shape) - cut).max(axis=2) <= 0.56 * step + 1e-7).all()


def test_shapes_that_do_not_fill_panels_are_refused() -> None:
    with pytest.raises(ValueError, match="panels"):
        pack.pack("q4", np.zeros((7, 32), np.uint8), np.zeros((7, 1), np.float16), np.zeros((7, 1), np.float16))
    with pytest.raises(ValueError, match="panels"):
        pack.pack("q4", np.zeros((8, 33), np.uint8), np.zeros((8, 1), np.float16), np.zeros((8, 1), np.float16))


def test_artifact_says_where_its_tensors_are(tmp_path: Path) -> None:
    first, second = np.arange(5, dtype=np.float32), np.arange(24, dtype=np.float64).reshape(4, 6)
    tensors = [artifact.floats("a", first), artifact.floats("b", second, "f64")]
    for name in ("one", "two"):
        artifact.write(tmp_path / name, "lm", [3, artifact.word(1.5)], {"width": 8}, tensors)
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    header = artifact.read_header(tmp_path / "one")
    assert (header.kind, header.words) == ("lm", [3, 0x3FC00000])
    assert header.start % 64 == 0 and header.start + header.size == len(data)
    assert all(offset % 64 == 0 for offset in header.offsets)
    body = data[header.start :]
    np.testing.assert_array_equal(np.frombuffer(body, "<f4", 5, header.offsets[0]), first)
    np.testing.assert_array_equal(np.frombuffer(body, "<f8", 24, header.offsets[1]).reshape(4, 6), second)


def test_damaged_artifacts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.nkm"
    with pytest.raises(NookError, match="model-missing"):
        artifact.read_header(path)
    artifact.write(path, "lm", [1], {}, [artifact.floats("a", np.zeros(100, np.float32))])
    whole = path.read_bytes()
    start = artifact.read_header(path).start
    far = json.dumps({"kind": "lm", "words": [], "config": {}, "tensors": [{"offset": 64, "bytes": 1 << 40}]}).encode()
    far += b" " * (start - 8 - len(far))
    damaged = {
        "empty": b"", "cut in its header": whole[: start - 10], "cut in a tensor": whole[: start + 100],
        "other letters": b"GGUF" + whole[4:], "no JSON": whole[:8] + b"?" * (len(whole) - 8),
        "a length beyond the file": whole[:4] + b"\xff\xff\xff\x7f" + whole[8:],
        "a tensor beyond the file": whole[:8] + far + whole[start:],
    }  # fmt: skip
    for what, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(NookError) as caught:
            artifact.read_header(path)
        assert caught.value.code == "model-corrupt", what
