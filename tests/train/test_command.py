"""`inglenook train elastic`: from a model file and text to an artifact with levels and its manifest."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import gzip
import hashlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from engine import tiny
from inglenook.__main__ import main
from inglenook.elastic.reference import Reference
from inglenook.errors import NookError
from inglenook.kernels.artifact import read_header
from inglenook.train import text

WORDS = "the abc low in a low abc, the abc in the low. " * 60


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """A model, its tokenizer, and text in two forms."""
    gguf = tiny.llama(layers=2, width=64, hidden=128, vocabulary=280)
    model, tokens = tmp_path / "small.gguf", tmp_path / "tokens.json"
    model.write_bytes(gguf._data.tobytes())
    ours = tiny.tokenizer()
    said = {"format": 1, "tokens": "\n".join(ours.tokens), "merges": "\n".join(tiny.MERGES), "special": [0, 1, 2],
            "ends": [0, 2], "template": ""}  # fmt: skip
    tokens.write_text(json.dumps(said))
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text(WORDS * 40)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps({"abstract": WORDS}).encode()))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return SimpleNamespace(model=model, tokens=tokens, notes=folder, out=tmp_path / "out")


def test_the_whole_way(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "elastic", str(files.model), "-o", str(files.out), "--tokenizer", str(files.tokens)]
    command += ["--text", str(files.notes), "--held-out", str(files.notes / "a.md"), "--held-out-tokens", "1024"]
    command += ["--ratios", "0.8,0.5", "--ranks", "0,32", "--steps", "2,2", "--dtype", "float32", "--rivals"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out.count("perplexity") == 7 and "fit 2/2" in told.err
    manifest = json.loads((files.out / "manifest.json").read_text())
    artifact = files.out / manifest["file"]
    assert manifest["size"] == artifact.stat().st_size
    assert manifest["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    levels = Reference(artifact).levels
    assert [level.ratio for level in levels] == [level["ratio"] for level in manifest["levels"]]
    assert [level.perplexity for level in levels] == [level["perplexity"] for level in manifest["levels"]]
    rivals = read_header(artifact).config["rivals"]
    assert set(rivals) == {"contextual", "fitted", "layers", "magnitude"}
    assert all(len(found) == 2 and min(found) > 1 for found in rivals.values())
    before = artifact.read_bytes()
    artifact.unlink()
    assert main(command) == 0  # all steps are read, the artifact is made again
    assert artifact.read_bytes() == before


def test_without_torch_it_says_what_to_install(
    files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    paths = [str(files.model), "-o", str(files.out), "--text", str(files.notes), "--held-out", str(files.notes)]
    assert main(["train", "elastic", *paths]) == 1
    assert "inglenook[train]" in capsys.readouterr().err


def test_documents_of_a_folder_become_windows(files: SimpleNamespace) -> None:
    texts = list(text.documents([files.notes]))
    assert texts == [WORDS * 40, WORDS]
    tokenizer = tiny.tokenizer()
    ids = text.stream(texts, tokenizer, limit=5000)
    assert len(ids) == 5000 and ids[0] == min(tokenizer.ends)
    cut = text.windows(ids, 64, seed=3)
    assert cut.shape == (78, 64)
    assert sorted(map(bytes, cut)) == sorted(map(bytes, text.windows(ids, 64, None)))
    assert np.array_equal(cut, text.windows(ids, 64, seed=3)) and not np.array_equal(cut, text.windows(ids, 64, 4))
    assert len(text.mixed([ids[:640], ids[:10]], 64, 0)) == 10


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", "x", "format"),
        ("a.jsonl", "{", "format"),
        ("a.jsonl", '{"title": "x"}', "format"),
        ("a.jsonl", "5", "format"),
        ("a.jsonl", '["text"]', "format"),
        ("a.jsonl", "[" * 100_000, "format"),
        ("a.txt.gz", "x", "format"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, name: str, content: str, code: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(NookError) as caught:
        list(text.documents([path]))
    assert caught.value.code == code
    with pytest.raises(NookError) as caught:
        list(text.documents([tmp_path / "none.txt"]))
    assert caught.value.code == "no-file"
    with pytest.raises(NookError) as caught:
        text.windows(np.zeros(5, np.int32), 8)
    assert caught.value.code == "text-short"
    with pytest.raises(NookError, match="has 5 tokens"):
        text.mixed([np.zeros(5, np.int32), np.zeros(3, np.int32)], 8, 0)
    (tmp_path / "b.jsonl").write_text('{"text": "a\u2028b"}\n')
    assert list(text.documents([tmp_path / "b.jsonl"])) == ["a\u2028b"]
