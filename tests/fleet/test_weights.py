"""Weights from GGUF and safetensors: the same tensors under the same names, by ranges of bytes; damage is told."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from engine import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.__main__ import main
from inglenook.elastic.gguf import Gguf
from inglenook.errors import NookError
from inglenook.fleet import safetensors
from inglenook.fleet.convert import CHUNKS, WEIGHTS, convert
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.weights import EMBEDDING, HEAD, Checkpoint, layer_name, part_names, tensor_shape


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    path.write_bytes(tiny.llama()._data.tobytes())
    return path


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    convert(source, tmp_path / "model", "F32", chunk=1000)
    return tmp_path / "model"


def test_gguf_and_its_conversion_say_the_same(source: Path, folder: Path) -> None:
    theirs, ours = Checkpoint.open(source), Checkpoint.open(folder)
    assert theirs.shape == ours.shape and theirs.tied and ours.tied
    assert list(theirs.places) == list(ours.places)
    for name in theirs.places:
        assert np.array_equal(theirs.read(name), ours.read(name)), name
        assert ours.read(name).shape == tensor_shape(ours.shape, name)


def test_rotary_pairs_lie_half_a_head_apart(source: Path) -> None:
    gguf, found = Gguf.open(source), Checkpoint.open(source)
    head = found.shape.head
    for part, known in (("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k")):
        theirs, ours = gguf.tensor(f"blk.1.{known}.weight").dequantise(), found.read(layer_name(1, part))
        for row in range(len(theirs)):
            start, at = row - row % head, row % head
            assert np.array_equal(ours[start + at // 2 + at % 2 * head // 2], theirs[row])


def test_a_range_of_the_file_is_the_tensor(source: Path, folder: Path) -> None:
    for checkpoint in (Checkpoint.open(source), Checkpoint.open(folder)):
        for name, place in checkpoint.places.items():
            data = (checkpoint.folder / place.file).read_bytes()[place.start : place.end]
            assert np.array_equal(place.decode(data), checkpoint.read(name))
            with pytest.raises(NookError) as short:
                place.decode(data[:-1])
            assert short.value.code == "model-corrupt"


def test_converted_tensors_lie_in_the_order_they_are_needed(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    ends = [0]
    for place in checkpoint.places.values():
        assert place.start >= ends[-1]
        ends.append(place.end)
    shape = checkpoint.shape
    stages = [part_names(i, i + 1, embeds=i == 0, heads=i == shape.layers - 1, tied=True) for i in (0, 1)]
    assert stages[0][0] == stages[1][0] == EMBEDDING
    assert sorted({*stages[0], *stages[1]}) == sorted(checkpoint.places)
    assert part_names(1, 2, embeds=False, heads=True, tied=False)[-1] == HEAD


def test_transformers_reads_what_was_converted(folder: Path) -> None:
    header = safetensors.open_header(folder / WEIGHTS)
    reader = pytest.importorskip("safetensors.numpy", reason="safetensors is not there")
    theirs = reader.load_file(folder / WEIGHTS)
    ours = Checkpoint.open(folder)
    assert set(theirs) == set(header.entries) and header.metadata == {"format": "pt"}
    assert all(np.array_equal(theirs[name], ours.read(name)) for name in theirs)


def test_half_precision_is_half_as_large(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "half", "F16")
    whole, half = Checkpoint.open(source), Checkpoint.open(tmp_path / "half")
    for name, place in half.places.items():
        assert place.kind == "F16" and np.array_equal(half.read(name), whole.read(name).astype(np.float16))


def test_bf16_is_the_upper_half(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2")
    safetensors.write(tmp_path / "x", [("x", "BF16", (3,))], [raw])
    entry = safetensors.open_header(tmp_path / "x").entries["x"]
    data = (tmp_path / "x").read_bytes()[entry.start : entry.end]
    assert safetensors.floats(entry.kind, data, entry.shape).tolist() == values.tolist()
    with pytest.raises(NookError) as unknown:
        safetensors.floats("I8", data, (6,))
    assert unknown.value.code == "model-unsupported"


def test_several_files_are_one_model(source: Path, folder: Path) -> None:
    whole = Checkpoint.open(source)
    (folder / WEIGHTS).unlink()
    where = {}
    for part in (0, 1):
        names = list(whole.places)[part::2]
        file = f"model-0000{part + 1}-of-00002.safetensors"
        safetensors.write(
            folder / file, [(name, "F32", whole.places[name].shape) for name in names], map(whole.read, names)
        )
        where |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    split = Checkpoint.open(folder)
    assert all(np.array_equal(split.read(name), whole.read(name)) for name in whole.places)


def test_a_manifest_finds_the_chunk_that_is_wrong(folder: Path) -> None:
    manifest = Manifest.parse((folder / CHUNKS).read_text())
    data = bytearray((folder / WEIGHTS).read_bytes())
    assert manifest.size == len(data) and manifest.chunk == 1000
    manifest.verify(folder / WEIGHTS)
    place = Checkpoint.open(folder).places[layer_name(1, "mlp.up_proj")]
    chunks = manifest.covering(place.start, place.end)
    assert manifest.bounds(chunks[0])[0] <= place.start and place.end <= manifest.bounds(chunks[-1])[1]
    assert list(manifest.covering(5, 5)) == []
    data[place.start] ^= 1
    wrong = place.start // 1000
    for index in chunks:
        start, end = manifest.bounds(index)
        if index != wrong:
            manifest.check(index, data[start:end])
            continue
        with pytest.raises(NookError) as caught:
            manifest.check(index, data[start:end])
        assert caught.value.code == "model-corrupt" and f"Chunk {wrong}" in caught.value.message
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(NookError):
        manifest.verify(folder / WEIGHTS)

    with pytest.raises(NookError) as caught:
        manifest.verify(folder / "gone")
    assert caught.value.code == "model-missing"


ENDLESS = '{"file": "x", "size": 1e400, "chunk": 4, "sums": []}'


@pytest.mark.parametrize(
    "told", ["", "[]", ENDLESS, '{"file": "x", "size": 10, "chunk": 0, "sums": []}', '{"size": 4}']
)
def test_a_manifest_that_is_none_is_told(told: str) -> None:
    with pytest.raises(NookError) as caught:
        Manifest.parse(told)
    assert caught.value.code == "model-corrupt"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"model_type": "gpt2"}, "model-unsupported"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "model-unsupported"),
        ({"attention_bias": True}, "model-unsupported"),
        ({"head_dim": 5}, "model-unsupported"),
        ({"hidden_act": "gelu"}, "model-unsupported"),
        ({"num_attention_heads": 3}, "model-unsupported"),
        ({"num_attention_heads": 0}, "model-corrupt"),
        ({"hidden_size": None}, "model-corrupt"),
        ({"vocab_size": 49}, "model-corrupt"),
        ({"num_hidden_layers": 3}, "model-corrupt"),
    ],
)
def test_a_config_that_does_not_fit_is_told(folder: Path, changed: dict, code: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(NookError) as caught:
        Checkpoint.open(folder)
    assert caught.value.code == code and caught.value.hint


@settings(max_examples=60)
@given(st.data())
def test_damage_ends_in_an_error_that_says_so(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    values = np.arange(12, dtype="<f4")
    path = tmp_path_factory.mktemp("damage") / "x.safetensors"
    safetensors.write(path, [("a", "F32", (3, 2)), ("b", "F32", (6,))], [values[:6], values[6:]], format="pt")
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 49))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        header = safetensors.open_header(path)
    except NookError as error:
        assert error.code == "model-corrupt" and error.hint
    else:
        assert all(0 <= entry.start <= entry.end <= len(raw) for entry in header.entries.values())


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
        {"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}},
        {"a": [1]},
        {"__metadata__": {"a": 1}},
        {"__metadata__": 5},
        [],
    ],
)
def test_headers_that_lie_are_refused(header: object) -> None:
    said = json.dumps(header).encode()
    with pytest.raises(NookError) as caught:
        safetensors.read_header(struct.pack("<Q", len(said)) + said)
    assert caught.value.code == "model-corrupt"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")

    def values():
        yield np.zeros(2, "<f4")
        raise full

    with pytest.raises(NookError) as caught:
        safetensors.write(tmp_path / "x", [("a", "F32", (2,)), ("b", "F32", (2,))], values())
    assert caught.value.code == "quota" and not list(tmp_path.iterdir())


def test_the_command_converts_and_verifies(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["fleet", "convert", str(source), "-o", str(out), "--dtype", "float32", "--chunk", "1"]) == 0
    assert main(["fleet", "verify", str(out)]) == 0
    assert "1 chunks" in capsys.readouterr().out
    data = bytearray((out / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (out / WEIGHTS).write_bytes(data)
    assert main(["fleet", "verify", str(out)]) == 1
    assert "model-corrupt" in capsys.readouterr().err
    assert main(["fleet", "verify", str(tmp_path)]) == 1
    assert main(["fleet", "convert", str(tmp_path / "no.gguf"), "-o", str(out)]) == 1
    with pytest.raises(SystemExit) as usage:
        main(["fleet", "convert", str(source), "-o", str(out), "--chunk", "0"])
    assert usage.value.code == 2
