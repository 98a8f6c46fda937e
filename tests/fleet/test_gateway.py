"""A fleet behind the gateway, for OpenAI's client and the wire protocol; with torch, the texts of real engines."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine import tiny
from fleet import served as fleets
from fleet.targets import ThreadRuntime
from inglenook.__main__ import main
from inglenook.completions import MODEL
from inglenook.elastic import chat
from inglenook.elastic.tokenizer import Stream
from inglenook.errors import NookError
from inglenook.fleet.config import Config
from inglenook.fleet.convert import TOKENIZER
from inglenook.fleet.runtime import LocalRuntime
from inglenook.fleet.serving import ENGINE, Serving
from inglenook.fleet.tokenizers import tokenizer, tokenizers
from inglenook.nook import Nook
from inglenook.serve.access import Rules
from inglenook.serve.fleet import Fleet
from inglenook.types import Hit
from inglenook.wire import frames
from inglenook.wire import messages as wire
from system.smollm2 import gguf
from system.test_openai import client, said
from system.test_serve import events, wait
from system.test_serve import served as gateway
from system.test_watch import Answering, read
from websockets.sync.client import connect

openai = pytest.importorskip("openai", reason="the openai client is not here (python3 build.py dev)")
torch = pytest.mark.skipif(not find_spec("torch"), reason="torch is not there: `build.py test cluster` installs it")

HI = [{"role": "user", "content": "hi"}]


@contextmanager
def running(
    folder: Path, top: str = "", each: str = "", *, real: bool = False, rules: Rules | None = None
) -> Iterator[str]:
    """A gateway with a fleet of both models: of threads that count, or of processes that compute. Gives its host."""
    with begun(Config.load(fleets.write(folder, top, each)), real=real, rules=rules) as host:
        yield host


@contextmanager
def begun(config: Config, *, real: bool, rules: Rules | None = None) -> Iterator[str]:
    runtime = LocalRuntime() if real else ThreadRuntime()
    with Serving.start(config, engine=ENGINE if real else fleets.ENGINE, runtime=runtime) as serving:
        with gateway(Answering(*said("resident")), rules, fleet=Fleet(serving, tokenizers(config))) as host:
            yield host


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fleet")
    fleets.models(made)
    return made


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[str]:
    with running(folder, each="slo = { first = 60000, token = 60000 }") as host:
        yield host


def asked(host: str, **body: Any) -> Any:
    return client(host).chat.completions.create(**{"model": "small", "messages": HI, "max_tokens": 6, **body})


def streamed(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# ── an engine that counts ─────────────────────────────────────────────────────────────────────────────────────────


def test_models_of_the_fleet_stand_beside_the_resident_one(host: str) -> None:
    assert {MODEL, "small", "wide"} <= {model.id for model in client(host).models.list()}
    assert client(host).models.retrieve("wide").id == "wide"
    assert asked(host, model=MODEL).choices[0].message.content == "resident"
    made = asked(host)
    written = made.choices[0].message.content
    assert made.model == "small" and len(written) == 6 and written in "abcdefghijklmnopqrstuvwxyz" * 2
    assert made.choices[0].finish_reason == "length"
    assert made.usage.completion_tokens == 6 and made.usage.prompt_tokens == len(
        chat.encode([("user", "hi")], tiny.tokenizer())
    )
    assert made.timing["met"] is True and made.timing["model"] == "small"


def test_streams_stops_and_usage(host: str) -> None:
    whole = asked(host, max_tokens=20).choices[0].message.content
    *chunks, last, usage = asked(host, max_tokens=20, stream=True, stream_options={"include_usage": True})
    assert streamed(chunks) == whole and last.choices[0].finish_reason == "length"
    assert {chunk.model for chunk in chunks} == {"small"} and usage.usage.completion_tokens == 20
    stopped = asked(host, max_tokens=20, stop=[whole[7:9]])
    assert stopped.choices[0].message.content == whole[:7] and stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"model": "huge"}, openai.NotFoundError, "no-model"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, openai.BadRequestError, "context"),
        ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "request"),
        ({"logprobs": True}, openai.BadRequestError, "request"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, openai.BadRequestError, "role"),
        ({"extra_body": {"slo": {"first": -1}}}, openai.BadRequestError, "slo"),
    ],
)
def test_what_cannot_be_answered(host: str, body: dict[str, Any], kind: Any, code: str) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as wrong:
            asked(host, **body, stream=stream)
        assert wrong.value.code == code and wrong.value.body["hint"]


def test_an_answer_takes_what_room_there_is(host: str) -> None:
    made = asked(host, max_tokens=10**6)
    assert made.usage.total_tokens == fleets.CONTEXT and made.choices[0].finish_reason == "length"


def test_the_wire_asks_them_too(host: str) -> None:
    text = "The oven gets to 250 degrees in nine minutes."
    hit = Hit("d", 0, "a.md", "a", "notes", "markdown", 0, len(text), None, "", text, 1.0)
    with connect(f"ws://{host}/ws", subprotocols=[frames.SUBPROTOCOL]) as line:  # type: ignore[list-item]
        turn = [wire.Turn("user", "hi")]

        def ask(request: wire.Request, stream: str) -> list[wire.Message]:
            line.send(frames.encode(request, stream))
            return events(line, stream)

        chatted = ask(wire.Chat(turn, 6, model="wide"), "1")
        written = ask(wire.Write("How hot?", [hit], max_tokens=4, model="small"), "2")
        unknown = ask(wire.Chat(turn, model="huge"), "3")
    for found, size in ((chatted, 6), (written, 4)):
        assert sum(len(event.text) for event in found if isinstance(event, wire.Token)) == size
        assert isinstance(found[-2], wire.Timing) and found[-2].tokens == size and found[-1] == wire.Done()
    assert isinstance(unknown[-1], wire.Failed) and unknown[-1].code == "no-model"


def test_an_operator_sees_the_fleet(host: str) -> None:
    asked(host)
    figures = httpx.get(f"http://{host}/metrics.json").json()
    wait(lambda: "ready" in {row["state"] for row in httpx.get(f"http://{host}/metrics.json").json()["workers"][1:]})
    rows = {row["model"]: row for row in figures["workers"]}
    assert {"small", "wide"} <= rows.keys() and rows["small"]["name"] == "worker 1" and rows["small"]["pages"] > 10
    [small] = [row for row in figures["models"] if row["model"] == "small"]
    assert (
        small["answers"] >= 1 and small["slo"]["met"] == small["slo"]["promised"] >= 1 and small["first_ms"]["p50"] > 0
    )
    found = read(httpx.get(f"http://{host}/metrics").text)
    assert found['inglenook_model_answers_total{model="small",met="true"}'] >= 1
    assert found['inglenook_kv_pages{worker="worker 1",model="wide"}'] == rows["wide"]["pages"]
    assert 'inglenook_model_ready{worker="worker 1",model="wide"}' in found


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_leaves_the_batch(folder: Path, host: str, stream: bool) -> None:
    (folder / "small" / "slow").write_text("0.01")
    (folder / "small" / "ran").unlink(missing_ok=True)
    body = json.dumps({"model": "small", "messages": HI, "max_tokens": 1500, "stream": stream}).encode()
    name, port = host.split(":")
    with socket.create_connection((name, int(port))) as line:
        line.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        wait((folder / "small" / "ran").exists)
    (folder / "small" / "slow").unlink()
    time.sleep(0.2)
    last = (folder / "small" / "ran").read_text()
    time.sleep(0.2)
    assert (folder / "small" / "ran").read_text() == last  # 1,500 iterations would take longer


def test_names_and_tokenizers_are_checked(folder: Path, tmp_path: Path) -> None:
    small = {"weights": str(folder / "small")}
    with pytest.raises(NookError, match="is the server's own model") as taken:
        tokenizers(Config.of({"models": {MODEL: small}}, tmp_path / "f.toml"))
    assert taken.value.code == "fleet"
    with pytest.raises(NookError, match=r"models\.a: .*") as missing:
        tokenizers(Config.of({"models": {"a": {**small, "tokenizer": str(tmp_path)}}}, tmp_path / "f.toml"))
    assert missing.value.code == "model-missing"


def test_chats_go_by_the_models_own_templates(tmp_path: Path) -> None:
    fleets.models(tmp_path)
    own = tmp_path / "small" / TOKENIZER
    told = json.loads(own.read_text("utf-8"))
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    own.write_text(json.dumps({**told, "template": template, "names": {"bos_token": "<|endoftext|>"}}), "utf-8")
    with running(tmp_path) as host:
        assert asked(host).usage.prompt_tokens == len(tiny.tokenizer().encode("<|endoftext|>[user]hi"))
        assert asked(host, model="wide").usage.prompt_tokens == len(chat.encode([("user", "hi")], tiny.tokenizer()))
    own.write_text(json.dumps({**told, "template": "{% for %}"}), "utf-8")
    with pytest.raises(NookError, match=r"^models\.small: The chat template of small is no Jinja") as broken:
        tokenizers(Config.load(tmp_path / "fleet.toml"))
    assert broken.value.code == "model-unsupported"


def test_without_jinja_it_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads((folder / "small" / TOKENIZER).read_text("utf-8"))
    (tmp_path / "t.json").write_text(json.dumps({**told, "template": "{{ messages[0].content }}"}), "utf-8")
    assert tokenizer(tmp_path / "t.json", "small").chat
    monkeypatch.setitem(sys.modules, "inglenook.elastic.template", None)
    with pytest.raises(NookError, match="needs Jinja") as error:
        tokenizer(tmp_path / "t.json", "small")
    assert error.value.code == "no-jinja" and error.value.hint


def test_without_a_fleet_there_is_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[wire.Request] = [wire.Chat([wire.Turn("user", "hi")], model="small"), wire.Write("hi", model="small")]
    with Nook.open(tmp_path / "a.nook", models=tmp_path) as nook:
        for request in asked:
            with pytest.raises(NookError) as wrong:
                list(nook.stream(request))
            assert wrong.value.code == "no-model" and wrong.value.hint
    (tmp_path / "f.toml").write_text("workers = 0")
    assert main(["serve", str(tmp_path / "a.nook"), "--fleet", str(tmp_path / "f.toml")]) == 1
    assert "f.toml: workers cannot be 0. (fleet)" in capsys.readouterr().err


# ── engines that compute ──────────────────────────────────────────────────────────────────────────────────────────


def alone(folder: Path, name: str, count: int, seed: int | None = None) -> str:
    """What a model writes after `HI` by itself, in this process."""
    from fleet.llama import Worker
    from inglenook.fleet.iteration import Sampling
    from inglenook.fleet.weights import Checkpoint

    worker, known = Worker(64, 1 << 14), tokenizer(folder / name, name)
    worker.add(name, Checkpoint.open(folder / name))
    way = Sampling() if seed is None else Sampling(1.0, 1.0, seed)
    tokens = worker.write(name, "alone", chat.encode([("user", "hi")], known), count, way=way)
    ends = [at for at, token in enumerate(tokens) if token in known.ends]
    stream = Stream(known)
    return "".join(stream.push(token) for token in tokens[: min(ends, default=count)])


@torch
@pytest.mark.slow
def test_real_engines_write_what_each_writes_alone(folder: Path) -> None:
    """Two shapes at once on one worker that gives weights up; then a worker is killed in the middle of answers."""
    wanted = {(name, seed): alone(folder, name, 200, seed) for name in fleets.SHAPES for seed in (None, 7)}
    with running(folder, each="idle = 1", real=True) as host:
        found: dict[Any, str] = {}

        def ask(name: str, seed: int | None) -> None:
            way = {} if seed is None else {"temperature": 1, "seed": seed}
            chunks = asked(host, model=name, max_tokens=200, stream=True, **way)
            found[name, seed] = streamed(chunks)

        def all_at_once(meanwhile: Callable[[], None] = lambda: None) -> None:
            found.clear()
            threads = [threading.Thread(target=ask, args=key) for key in wanted]
            for thread in threads:
                thread.start()
            meanwhile()
            for thread in threads:
                thread.join(120)
            assert found == wanted

        def rows() -> list[dict[str, Any]]:
            return httpx.get(f"http://{host}/metrics.json").json()["workers"][1:]

        def kill() -> None:
            wait(lambda: sum(row["running"] for row in rows()) > 0, 60)
            [process] = [one for one in multiprocessing.active_children() if one.name == "worker 1"]
            os.kill(process.pid, signal.SIGKILL)

        all_at_once()
        wait(lambda: {row["state"] for row in rows()} == {"cold"}, 60)
        all_at_once()
        all_at_once(kill)


@torch
@pytest.mark.slow
def test_real_weights_know_the_capital_of_france(tmp_path: Path) -> None:
    """As the build fetched them: a GGUF file, whose tokenizer is in it."""
    said = {"arena": "200 MiB", "models": {"smollm2": {"weights": str(gguf()), "context": 1024}}}
    question = [{"role": "user", "content": "What is the capital of France?"}]
    with begun(Config.of(said, tmp_path / "fleet.toml"), real=True) as host:
        made = asked(host, model="smollm2", messages=question, max_tokens=24)
    assert made.choices[0].message.content == "The capital of France is Paris."
    assert made.choices[0].finish_reason == "stop"
