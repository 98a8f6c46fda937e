"""FinMME's files as the hub has them, and pictures as its script sends them: what needs pyarrow and Pillow."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine.test_evals_finance import PNG, ROW
from inglenook.errors import NookError
from inglenook.evals import finance, items
from inglenook.evals.charts import synthetic
from inglenook.evals.finscore import mark
from inglenook.evals.items import Item


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_tables_are_read_batch_by_batch(tmp_path: Path, kind: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    told = [{**ROW, "answer": "5", "id": n, "image": {"bytes": PNG, "path": None}, "asset": "FX"} for n in range(200)]
    table: Any = arrow.Table.from_pylist(told)
    path = tmp_path / ("set.parquet" if kind == "parquet" else "set.arrow")
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        make = arrow.ipc.new_stream if kind == "stream" else arrow.ipc.new_file
        with make(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=64)
    found = list(items.load(path))
    assert [item.id for item in found] == [str(n) for n in range(200)]
    assert found[7].image == PNG and found[7].more == {"asset": "FX"} and found[7].options is None


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("set.parquet", "set.arrow"):
        (tmp_path / name).write_bytes(b"PAR1 and then nothing")
        with pytest.raises(NookError) as error:
            list(items.load(tmp_path / name))
        assert error.value.code == "bad-item" and name in error.value.message


def test_without_the_extra_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "set.parquet").write_bytes(b"PAR1")
    code = """
import pathlib, sys
sys.modules["pyarrow"] = sys.modules["PIL.Image"] = sys.modules["PIL"] = None
from inglenook.errors import NookError
from inglenook.evals import finance, items
from inglenook.evals.charts import synthetic
from inglenook.evals.finscore import mark
for act in (lambda: list(items.load(pathlib.Path(sys.argv[1]))),
            lambda: finance.official(items.Item("1", "q", "numerical", "1", b""))):
    try:
        act()
    except NookError as error:
        print(error.code, "inglenook[finance]" in error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "set.parquet")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["no-pyarrow", "True", "no-pillow", "True"]


def test_pictures_are_sent_as_the_official_script_does() -> None:
    pillow = pytest.importorskip("PIL.Image")
    made = io.BytesIO()
    picture = pillow.new("RGBA", (2048, 512), (255, 0, 0, 0))
    picture.putpixel((2047, 0), (0, 0, 255, 255))
    picture.save(made, format="PNG")
    sent = finance.official(Item("1", "q", "numerical", "1", made.getvalue()))
    seen = pillow.open(io.BytesIO(sent.data))
    assert (sent.media, seen.size, seen.mode, seen.format) == ("image/jpeg", (1024, 256), "RGB", "JPEG")
    assert min(seen.getpixel((0, 100))) > 250  # what is clear becomes white
    huge = io.BytesIO()
    pillow.new("1", (20_000, 20_000)).save(huge, format="PNG")  # few bytes, and more pixels than Pillow opens
    for data in (b"\x89PNG\r\n\x1a\n" + bytes(20) + b"IEND", huge.getvalue()):
        with pytest.raises(NookError, match="image of item 7 cannot be read"):
            finance.official(Item("7", "q", "numerical", "1", data))


def test_a_synthetic_set_is_drawn_read_and_scored(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = synthetic.write(tmp_path / "set", 9, seed=3)
    found = list(items.load(path))
    assert len(found) == 9 and len(list((tmp_path / "set").glob("*.png"))) == 3
    assert all(item.more["synthetic"] and item.image for item in found)
    seen = pillow.open(io.BytesIO(found[0].image))
    assert seen.size == (640, 420) and len(seen.getcolors(1 << 20)) > 10
    marked = [(item, mark(item, f"Answer: {','.join(item.answer) if item.options else item.answer}")) for item in found]
    told = finance.summary("gold", marked, by=("main_class",))
    assert told["repo"]["strict_accuracy"] == 1.0 and len(told["by"]["main_class"]) >= 1  # type: ignore[index]
    with pytest.raises(NookError, match="not there"):
        synthetic.write(tmp_path / "no" / "set", 1, seed=3)


def test_the_command_draws_a_set(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    command = [sys.executable, "-m", "inglenook", "eval", "charts", "-o", str(tmp_path / "set"), "--count", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "4 synthetic questions" in done.stdout, done.stderr
    assert [item.id for item in items.load(tmp_path / "set" / "synthetic.jsonl")][:1] == ["synthetic-0-00000-0"]
