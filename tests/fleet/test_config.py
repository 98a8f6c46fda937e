"""What an operator may write, and what is said of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from inglenook.errors import NookError
from inglenook.fleet.config import FILE, HOST, MODEL, Config
from inglenook.fleet.convert import CHUNKS
from inglenook.wire.messages import Slo

from buildlib.project import ROOT

WEIGHTS = '[models.small]\nweights = "."\n'
VLLM = '[models.large]\nweights = "large"\nengine = "vllm"\n'
HOSTS = '[hosts.a]\naddress = "10.0.0.2:4100"\nmemory = "16 GiB"\nbandwidth = "1 Gbit/s"\n'
KEY = 'key = "fleet.key"\n'
PIPED = '[models.large]\nweights = "converted"\nengine = "pipeline"\n'
AWAY = '[models.large]\nweights = "http://10.0.0.9:8100/large/"\nengine = "pipeline"\n'


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
        'device = "cuda:0"\ndtype = "bfloat16"\nprofiles = "p.json"\nkey = "fleet.key"\n'
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


def test_machines_and_what_runs_on_them(tmp_path: Path) -> None:
    (tmp_path / "fleet.key").write_text("k" * 16 + "\n")
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / CHUNKS).touch()
    two = HOSTS + HOSTS.replace("hosts.a", "hosts.b").replace("1 Gbit/s", "80.5Mbit/s")
    made = said(tmp_path, KEY + two + PIPED + AWAY.replace("large]", "away]") + "idle = 60\n")
    assert made.key == b"k" * 16 and "kkk" not in repr(made)
    a, b = made.sites
    assert (a.name, a.address, a.memory, a.bandwidth) == ("a", ("10.0.0.2", 4100), 16 << 30, 125e6)
    assert (b.name, b.bandwidth) == ("b", 80.5e6 / 8)
    here, away = made.models["large"], made.models["away"]
    assert (here.engine, here.url, here.weights) == ("pipeline", "", tmp_path / "converted")
    assert away.url == "http://10.0.0.9:8100/large" and away.idle == 60
    assert away.weights.parent == tmp_path / "fleet.outlines" and away.tokenizer == away.weights


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
        (KEY + PIPED, "models.large.engine needs machines to run on"),
        (HOSTS + PIPED, "key is missing"),
        ('key = "gone"\n' + HOSTS + PIPED, "key: The key"),
        ('key = "short"\n' + HOSTS + PIPED, "key: The key"),
        ("key = 5\n" + HOSTS + PIPED, "key cannot be 5"),
        ("hosts = 5\n" + PIPED, "hosts is no table"),
        ("[hosts]\na = 5\n" + PIPED, "hosts.a is no table"),
        (KEY + HOSTS.replace("10.0.0.2:4100", "10.0.0.2") + PIPED, "hosts.a.address cannot be '10.0.0.2'"),
        (KEY + HOSTS.replace("4100", "70000") + PIPED, "hosts.a.address cannot be '10.0.0.2:70000'"),
        (KEY + HOSTS.replace("16 GiB", "16") + PIPED, "hosts.a.memory cannot be '16'"),
        (KEY + HOSTS.replace("1 Gbit/s", "1 GB") + PIPED, "hosts.a.bandwidth cannot be '1 GB'"),
        (KEY + HOSTS.replace("bandwidth", "speed") + PIPED, "hosts.a.speed is no key"),
        (KEY + HOSTS.partition("memory")[0] + PIPED, "hosts.a.memory is missing"),
        (KEY + HOSTS + PIPED.replace("converted", "large"), "models.large.weights names"),
        (KEY + HOSTS + AWAY.replace("http:", "https:"), "models.large.weights is no store's address"),
        (KEY + HOSTS + AWAY.replace("pipeline", "torch"), "models.large.weights is no store's address"),
        (KEY + HOSTS + PIPED + "floor = 0.5\n", "models.large.floor is not for a pipeline, which shares no arena"),
        (KEY + HOSTS + PIPED + "share = 2\n", "models.large.share is not for a pipeline, which shares no worker"),
        (KEY + HOSTS + PIPED + "options = { a = 1 }\n", "models.large.options are vLLM's"),
        (KEY + HOSTS + AWAY + 'tokenizer = "gone"\n', "models.large.tokenizer names"),
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
    (tmp_path / "fleet.key").write_text("k" * 16)
    (tmp_path / "short").write_text("k")
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / CHUNKS).touch()
    with pytest.raises(NookError) as wrong:
        said(tmp_path, text)
    assert wrong.value.code == "fleet" and wrong.value.message.startswith(f"fleet.toml: {told}") and wrong.value.hint


def test_the_readme_shows_what_is_right(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown, more = re.findall(r"^```toml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    for name in re.findall(r'^weights = "([^:]*?)"', shown + more, re.MULTILINE):
        (tmp_path / name).touch()
    assert len(said(tmp_path, shown).models) == 2
    (tmp_path / "fleet.key").write_text("k" * 16)
    assert len(said(tmp_path, more).sites) == 2
    told = readme.partition("### Many models")[2]
    assert [key for key in {**FILE, **HOST, **MODEL} if key not in told] == []


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for text in ("workers = = 2", "[models", f"a = {'[' * 5000}{']' * 5000}"):
        with pytest.raises(NookError, match="is no TOML"):
            said(tmp_path, text)
    with pytest.raises(NookError, match="can't be read"):
        Config.load(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(NookError, match="is no TOML"):
        Config.load(tmp_path / "bytes.toml")
