"""What an operator may write, and what is said of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from inglenook.errors import NookError
from inglenook.fleet.config import FILE, MODEL, Config
from inglenook.wire.messages import Slo

from buildlib.project import ROOT

WEIGHTS = '[models.small]\nweights = "."\n'
VLLM = '[models.large]\nweights = "large"\nengine = "vllm"\n'


def said(folder: Path, text: str) -> Config:
    file = folder / "fleet.toml"
    file.write_text(text, "utf-8")
    return Config.load(file)


def test_one_model_is_enough(tmp_path: Path) -> None:
    made = said(tmp_path, WEIGHTS)
    assert (made.workers, made.runtime, made.policy, made.arena) == (1, "local", "doubling", 512 << 20)
    assert made.threads >= 1 and made.profiles == tmp_path / "fleet.profiles.json"
    [model] = made.models.values()
    assert (model.name, model.slo, model.floor, model.idle, model.context) == ("small", Slo(), 0, 0, 0)
    assert model.weights == model.tokenizer == tmp_path / "."


def test_all_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.json").touch()
    top = (
        'workers = 3\nruntime = "ray"\nray = "auto"\npolicy = "adbs"\narena = "1.5 GB"\nidle = 60\nthreads = 2\n'
        'device = "cuda:0"\ndtype = "bfloat16"\nprofiles = "p.json"\n'
    )
    table = (
        'tokenizer = "t.json"\ncontext = 512\nslo = { first = 800, token = 60.5 }\nfloor = 0.5\nshare = 2\nidle = 0\n'
    )
    made = said(tmp_path, f'{top}{WEIGHTS}{table}[models."b/2.1"]\nweights = "."\n')
    assert (made.workers, made.ray, made.arena, made.threads, made.dtype) == (3, "auto", 1_500_000_000, 2, "bfloat16")
    small, other = made.models.values()
    assert (small.slo, small.floor, small.share, small.idle) == (Slo(800.0, 60.5), 0.5, 2, 0)
    assert (other.name, other.idle) == ("b/2.1", 60) and made.profiles.name == "p.json"
    assert (small.engine, small.options) == ("torch", {})
    (tmp_path / "config.json").touch()
    more = 'engine = "vllm"\noptions = { enforce_eager = true }\n'
    own = said(tmp_path, f"idle = 60\n{WEIGHTS}{more}").models["small"]
    assert (own.engine, own.options, own.idle) == ("vllm", {"enforce_eager": True}, 0)  # vLLM keeps its weights
    table += more
    keys = {line.split(" = ")[0] for line in (top + table).splitlines()} | {"weights"}
    assert keys == FILE.keys() | MODEL.keys()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "models names no model"),
        ("models = 3", "models names no model"),
        ("workers = 0\n" + WEIGHTS, "workers cannot be 0"),
        ("workers = true\n" + WEIGHTS, "workers cannot be True"),
        ('workers = "2"\n' + WEIGHTS, "workers cannot be '2'"),
        ('runtime = "slurm"\n' + WEIGHTS, "runtime cannot be 'slurm'"),
        ('policy = "best"\n' + WEIGHTS, "policy cannot be 'best'"),
        ('policy = ["fcfs"]\n' + WEIGHTS, "policy cannot be"),
        ('arena = "512"\n' + WEIGHTS, "arena cannot be '512'"),
        ("arena = 512\n" + WEIGHTS, "arena cannot be 512"),
        ("idle = -1\n" + WEIGHTS, "idle cannot be -1"),
        ("idel = 5\n" + WEIGHTS, "idel is no key"),
        ("[models.small]\n", "models.small.weights is missing"),
        ('[models.small]\nweights = ""\n', "models.small.weights cannot be ''"),
        ('[models.small]\nweights = "gone"\n', "models.small.weights names"),
        (WEIGHTS + 'tokenizer = "gone"\n', "models.small.tokenizer names"),
        (WEIGHTS + "context = 5\n", "models.small.context cannot be 5"),
        (WEIGHTS + "floor = 1.5\n", "models.small.floor cannot be 1.5"),
        (WEIGHTS + "slo = { first = 0 }\n", "models.small.slo is no latency"),
        (WEIGHTS + "slo = { frist = 5 }\n", "models.small.slo is no latency"),
        (WEIGHTS + "slo = 5\n", "models.small.slo cannot be 5"),
        (WEIGHTS + "floors = 1\n", "models.small.floors is no key"),
        (WEIGHTS + 'engine = "sglang"\n', "models.small.engine cannot be 'sglang'"),
        (WEIGHTS + 'engine = "vllm"\n', "models.small.weights names"),
        (WEIGHTS + "options = { enforce_eager = true }\n", "models.small.options are vLLM's"),
        (VLLM + "options = true\n", "models.large.options cannot be True"),
        (VLLM + "floor = 0.5\n", "models.large.floor is not for vLLM, which shares no arena"),
        (VLLM + "share = 2\n", "models.large.share is not for vLLM, which shares no worker"),
        (VLLM + "idle = 60\n", "models.large.idle is not for vLLM, which keeps its weights"),
        (VLLM + "options = { model = 'x' }\n", "models.large.options.model is told by the file's other keys"),
        (VLLM + "options = { max_model_len = 9 }\n", "models.large.options.max_model_len is told by"),
        (VLLM + "options = { tensor_parallel_size = '2' }\n", "models.large.options.tensor_parallel_size is no number"),
        ("[models]\nsmall = 5\n", "models.small is no table"),
        ('[models."a b"]\nweights = "."\n', "models.a b is no name"),
        (
            WEIGHTS + 'floor = 0.6\n[models.b]\nweights = "."\nfloor = 0.6\n',
            "floor adds up to more than all arenas",
        ),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_to_write(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "config.json").touch()
    with pytest.raises(NookError) as wrong:
        said(tmp_path, text)
    assert wrong.value.code == "fleet" and wrong.value.message.startswith(f"fleet.toml: {told}") and wrong.value.hint


def test_the_readme_shows_one_that_is_right(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for name in re.findall(r'^weights = "(.*?)"', shown, re.MULTILINE):
        (tmp_path / name).touch()
    assert len(said(tmp_path, shown).models) == 2
    told = (ROOT / "README.md").read_text("utf-8").partition("### Many models")[2]
    assert [key for key in {**FILE, **MODEL} if key not in told] == []


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for text in ("workers = = 2", "[models"):
        with pytest.raises(NookError, match="is no TOML"):
            said(tmp_path, text)
    with pytest.raises(NookError, match="can't be read"):
        Config.load(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(NookError, match="is no TOML"):
        Config.load(tmp_path / "bytes.toml")
