"""What an operator says of a fleet: one TOML file, checked before anything is started.

    workers = 2                # each a process that runs some of the models
    runtime = "local"          # or "ray", where `ray` is the address of a cluster
    policy = "doubling"        # or fcfs, roundrobin, adbs, spatial
    arena = "512 MiB"          # of each worker, for the keys and values of its models
    idle = 600                 # seconds without a request after which a model gives its weights up; 0: never

    [models.small]
    weights = "small"          # a .gguf file, or a folder of config.json and *.safetensors, seen from this file
    slo = { first = 800, token = 60 }       # milliseconds: what an answer should keep
    floor = 0.1                # the part of its worker's arena that is its own

A model may run on other machines, started as a pipeline of them by cold.driver, where `inglenook fleet host` runs:

    key = "fleet.key"          # a file that all of them have

    [hosts.a]
    address = "10.0.0.2:4100"
    memory = "16 GiB"          # for weights, keys and values
    bandwidth = "1 Gbit/s"

    [models.large]
    engine = "pipeline"
    weights = "http://10.0.0.9/large"       # or a folder; what `inglenook fleet convert` made
    slo = { first = 4000, token = 200 }     # decides over how many of them

`FILE`, `HOST` and `MODEL` say the rest. A mistake is NookError("fleet"), which names the file, the key and what to
write.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inglenook.errors import NookError
from inglenook.fleet.cold.channel import Address, read_key
from inglenook.fleet.convert import CHUNKS
from inglenook.wire.messages import Slo

ENGINES = ("torch", "vllm", "pipeline")
POLICIES = ("doubling", "fcfs", "roundrobin", "adbs", "spatial")
ITEMS = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
RATES = {"kbit/s": 125, "Mbit/s": 125 * 10**3, "Gbit/s": 125 * 10**6}  # bytes/s
NEEDED = {"weights", "address", "memory", "bandwidth"}  # keys that can't be left out
LEAST = 64  # tokens of a context
OWN = {"model", "max_model_len", "skip_tokenizer_init"}  # options of vLLM that are told in other ways
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]i?B|KiB)")
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]bit/s)")
_ADDRESS = re.compile(r"([A-Za-z0-9.-]+):(\d{1,5})")
_STORE = re.compile(r"http://[^/?#\s]+(/[^?#\s]*)?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")

Right = Callable[[Any], bool]
FILE: dict[str, tuple[Any, Right, str]] = {
    "workers": (1, lambda said: type(said) is int and 1 <= said <= 1024, "a whole number from 1 on"),
    "runtime": ("local", lambda said: said in ("local", "ray"), '"local" or "ray"'),
    "ray": ("", lambda said: isinstance(said, str), 'the address of a Ray cluster, as "auto"'),
    "policy": ("doubling", lambda said: said in POLICIES, f"one of {', '.join(POLICIES)}"),
    "arena": ("512 MiB", lambda said: isinstance(said, str) and bool(_SIZE.fullmatch(said)), 'a size, as "512 MiB"'),
    "idle": (0, lambda said: _number(said, 0, 1e9), "seconds, or 0 for never"),
    "threads": (0, lambda said: type(said) is int and 0 <= said <= 1024, "a whole number; 0 shares the processors out"),
    "device": ("cpu", lambda said: isinstance(said, str) and said.startswith(("cpu", "cuda")), '"cpu" or "cuda"'),
    "dtype": ("float32", lambda said: said in ITEMS, "float32, float16 or bfloat16"),
    "profiles": ("", lambda said: isinstance(said, str), "the file where measured speeds are kept"),
    "key": ("", lambda said: isinstance(said, str), "the file of the key that the hosts have, too"),
}
"""Keys of the file: what holds where they are left out, what is right, and how that is told."""
HOST: dict[str, tuple[Any, Right, str]] = {
    "address": (
        None,
        lambda said: isinstance(said, str) and bool(_ADDRESS.fullmatch(said)),
        'where `inglenook fleet host` listens, as "10.0.0.2:4100"',
    ),
    "memory": (None, lambda said: isinstance(said, str) and bool(_SIZE.fullmatch(said)), 'a size, as "16 GiB"'),
    "bandwidth": (None, lambda said: isinstance(said, str) and bool(_RATE.fullmatch(said)), 'as "80 Mbit/s"'),
}
"""Keys of a machine's table."""
MODEL: dict[str, tuple[Any, Right, str]] = {
    "weights": (None, lambda said: isinstance(said, str) and said != "", "the path of a model, or of its store"),
    "tokenizer": ("", lambda said: isinstance(said, str), "the path of a tokenizer's file or folder"),
    "context": (
        0,
        lambda said: type(said) is int and (not said or said >= LEAST),
        "0 (all that the model reads), or 64 tokens and more",
    ),
    "slo": ({}, lambda said: isinstance(said, dict), "{ first = milliseconds, token = milliseconds }"),
    "floor": (0, lambda said: _number(said, 0, 1), "a part of the arena, 0 to 1"),
    "share": (1, lambda said: _number(said, 1e-6, 1e6), "its part of all requests, in proportion to the others'"),
    "idle": (None, lambda said: _number(said, 0, 1e9), "seconds, or 0 for never"),
    "engine": ("torch", lambda said: said in ENGINES, f"one of {', '.join(ENGINES)}"),
    "options": ({}, lambda said: isinstance(said, dict), "a table of what vLLM's EngineArgs take"),
}
"""Keys of a model's table."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: `tokenizer` is a file or a folder, `floor` a part of the arena, `idle` seconds (0: never). With the
    `engine` "vllm" it has a worker of its own, which is given the `options`; with "pipeline" it runs on the hosts, and
    where its weights are at a `url`, `weights` is the folder of what `cold.outline` brings."""

    name: str
    weights: Path
    tokenizer: Path
    context: int
    slo: Slo
    floor: float
    share: float
    idle: float
    engine: str
    options: dict[str, Any]
    url: str


@dataclass(frozen=True, slots=True)
class Site:
    """A machine: where its host listens, its memory in bytes, its network in bytes/s."""

    name: str
    address: Address
    memory: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Config:
    """A fleet. `arena` in bytes; `threads` of each worker; `profiles` is the file of what was measured; `key` is that
    of the hosts at `sites`."""

    file: Path
    workers: int
    runtime: str
    ray: str
    policy: str
    arena: int
    threads: int
    device: str
    dtype: str
    profiles: Path
    models: dict[str, Model]
    sites: tuple[Site, ...]
    key: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read a file. Raises NookError("fleet")."""
        try:
            said = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise NookError("fleet", f"{path} can't be read: {error.strerror}.", "Check the path.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NookError("fleet", f"{path} is no TOML: {error}.", "Look at that line.") from error
        return cls.of(said, path)

    @classmethod
    def of(cls, said: dict[str, Any], path: Path) -> Config:
        """The fleet that the tables of the file `path` say. Raises NookError("fleet")."""
        said = dict(said)
        tables, machines = said.pop("models", {}), said.pop("hosts", {})
        told = _taken(path, "", said, FILE)
        if not isinstance(tables, dict) or not tables:
            raise _wrong(path, "models", "names no model", 'Add a table: [models.NAME], with weights = "PATH".')
        models = {name: _model(path, name, table, told["idle"]) for name, table in tables.items()}
        if not isinstance(machines, dict):
            raise _wrong(path, "hosts", "is no table", "Write [hosts.NAME] for each machine, and its keys below.")
        sites = tuple(_site(path, name, table) for name, table in machines.items())
        for name in (model.name for model in models.values() if model.engine == "pipeline" and not sites):
            hint = f"Add a table for each: [hosts.NAME], with {', '.join(HOST)}."
            raise _wrong(path, f"models.{name}.engine", "needs machines to run on", hint)
        if sum(model.floor for model in models.values()) > told["workers"]:
            raise _wrong(path, "floor", "adds up to more than all arenas", "Lower some of them.")
        arena = int(_amount(told["arena"], _SIZE, UNITS))
        return cls(
            path, told["workers"], told["runtime"], told["ray"], told["policy"], arena,
            told["threads"] or max(1, (os.cpu_count() or 1) // told["workers"]), told["device"], told["dtype"],
            path.parent / (told["profiles"] or f"{path.stem}.profiles.json"), models,
            sites, _key(path, told["key"]) if sites else b"",
        )  # fmt: skip


def _site(path: Path, name: str, table: Any) -> Site:
    at = f"hosts.{name}"
    if not isinstance(table, dict):
        raise _wrong(path, at, "is no table", f"Write [{at}], and its keys below.")
    told = _taken(path, f"{at}.", table, HOST)
    host, _, port = told["address"].partition(":")
    if not 0 < int(port) < 1 << 16:
        raise _wrong(path, f"{at}.address", f"cannot be {told['address']!r}", f"It is {HOST['address'][2]}.")
    return Site(
        name, (host, int(port)), _amount(told["memory"], _SIZE, UNITS), _amount(told["bandwidth"], _RATE, RATES)
    )


def _key(path: Path, said: str) -> bytes:
    """The key in a file that is seen from the file `path`."""
    if not said:
        raise _wrong(path, "key", "is missing", f"It is {FILE['key'][2]}: inglenook fleet host --key FILE.")
    try:
        return read_key(path.parent / said)
    except NookError as error:
        raise NookError("fleet", f"{path.name}: key: {error.message}", error.hint) from error


def _amount(said: str, shape: re.Pattern[str], units: dict[str, int]) -> float:
    """What a size or a rate comes to."""
    number, unit = shape.fullmatch(said).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def _model(path: Path, name: str, table: Any, idle: float) -> Model:
    at = f"models.{name}"
    if not _NAME.fullmatch(name):
        raise _wrong(path, at, "is no name", "Use letters, digits, and . _ / - between them.")
    if not isinstance(table, dict):
        raise _wrong(path, at, "is no table", f"Write [{at}], and its keys below.")
    told = _taken(path, f"{at}.", table, MODEL)
    slo = told["slo"]
    if not slo.keys() <= {"first", "token"} or not all(_number(ms, 1e-3, 1e9) for ms in slo.values()):
        raise _wrong(path, f"{at}.slo", "is no latency", f"It is {MODEL['slo'][2]}.")
    weights, url = path.parent / told["weights"], ""
    if _STORE.fullmatch(told["weights"]) and told["engine"] == "pipeline":
        url = told["weights"].rstrip("/")
        weights = path.parent / f"{path.stem}.outlines" / hashlib.sha256(url.encode()).hexdigest()[:16]
    elif "://" in told["weights"]:
        hint = 'Write http://HOST/MODEL, and engine = "pipeline".'
        raise _wrong(path, f"{at}.weights", "is no store's address, or its engine takes none", hint)
    elif not weights.exists():
        raise _wrong(path, f"{at}.weights", f"names {weights}, which is not there", "Check the path.")
    tokenizer = path.parent / told["tokenizer"] if told["tokenizer"] else weights
    if not tokenizer.exists() and not (url and tokenizer is weights):
        raise _wrong(path, f"{at}.tokenizer", f"names {tokenizer}, which is not there", "Check the path.")
    if told["engine"] == "vllm":
        _fits_vllm(path, at, weights, told)
        idle = 0
    elif told["engine"] == "pipeline":
        _fits_hosts(path, at, weights, url, told)
    if told["options"] and told["engine"] != "vllm":
        raise _wrong(path, f"{at}.options", "are vLLM's", 'Add engine = "vllm", or leave them out.')
    return Model(
        name, weights, tokenizer, told["context"], Slo(**{key: float(ms) for key, ms in slo.items()}), told["floor"],
        told["share"], idle if told["idle"] is None else told["idle"], told["engine"], told["options"], url,
    )  # fmt: skip


def _fits_hosts(path: Path, at: str, weights: Path, url: str, told: dict[str, Any]) -> None:
    """Raises NookError("fleet") for what a model on the hosts, whose keys and values lie there, cannot be told."""
    if not url and not (weights / CHUNKS).is_file():
        what = f"names {weights}, which hosts cannot fetch"
        raise _wrong(path, f"{at}.weights", what, f"Make it so: inglenook fleet convert {weights} -o DIR.")
    for key, what in {"floor": "shares no arena", "share": "shares no worker"}.items():
        if told[key] != MODEL[key][0]:
            raise _wrong(path, f"{at}.{key}", f"is not for a pipeline, which {what}", "Leave it out.")


def _fits_vllm(path: Path, at: str, weights: Path, told: dict[str, Any]) -> None:
    """Raises NookError("fleet") for what vLLM, which has a worker and memory of its own, cannot be told."""
    if not (weights / "config.json").is_file():
        hint = "vLLM reads folders of config.json and *.safetensors."
        raise _wrong(path, f"{at}.weights", f"names {weights}, which vLLM cannot read", hint)
    for key, what in {"floor": "shares no arena", "share": "shares no worker", "idle": "keeps its weights"}.items():
        if told[key] not in (MODEL[key][0], 0):
            raise _wrong(path, f"{at}.{key}", f"is not for vLLM, which {what}", "Leave it out.")
    if type(told["options"].get("tensor_parallel_size", 1)) is not int:
        raise _wrong(path, f"{at}.options.tensor_parallel_size", "is no number of GPUs", "Write a whole number.")
    for option in told["options"].keys() & OWN:
        hint = "Say the context's length as `context`." if option == "max_model_len" else "Leave it out."
        raise _wrong(path, f"{at}.options.{option}", "is told by the file's other keys", hint)


def _taken(path: Path, at: str, said: dict[str, Any], keys: dict[str, tuple[Any, Right, str]]) -> dict[str, Any]:
    """Every key's value. Raises NookError("fleet") for one that is wrong, missing or unknown."""
    for key in said.keys() - keys.keys():
        raise _wrong(path, f"{at}{key}", "is no key", f"There is {', '.join(keys)}.")
    told = {}
    for key, (default, right, shape) in keys.items():
        value = told[key] = said.get(key, default)
        if (key in said or key in NEEDED) and not right(value):
            what = f"cannot be {value!r}" if key in said else "is missing"
            raise _wrong(path, f"{at}{key}", what, f"It is {shape}.")
    return told


def _number(said: Any, least: float, most: float) -> bool:
    return type(said) in (int, float) and least <= said <= most


def _wrong(path: Path, key: str, what: str, hint: str) -> NookError:
    return NookError("fleet", f"{path.name}: {key} {what}.", hint)
