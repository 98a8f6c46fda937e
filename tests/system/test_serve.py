"""The gateway, for real: uvicorn on a port, clients over TCP."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from inglenook.errors import NookError
from inglenook.flow import Pause, adrive
from inglenook.nook import Nook
from inglenook.serve import gateway, run
from inglenook.serve.access import Rules
from inglenook.wire import frames
from inglenook.wire import messages as wire
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from buildlib.project import ROOT

NO_MODELS = {"INGLENOOK_MODELS": str(ROOT / "nowhere")}


@pytest.fixture
def nook(tmp_path: Path) -> Iterator[Nook]:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "oven.md").write_text("# Ovens\n\nThe oven gets to 250 degrees in nine minutes.\n")
    (docs / "fridge.md").write_text("# Fridges\n\nA fridge keeps milk cold for a week.\n")
    with Nook(tmp_path / "docs.nook", models=tmp_path / "none", where="server") as nook:
        nook.add(docs)
        yield nook


def test_a_key_that_no_client_can_send_is_refused(nook: Nook) -> None:
    for key in ("schlüssel", "a b", "a\n"):
        with pytest.raises(NookError) as error:
            run.serve(nook, "127.0.0.1", 0, key=key)
        assert error.value.code == "bad-key" and key not in str(error.value)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99999), ("127.0.0.1", -1), ("é" * 70, 0)])
def test_what_is_no_port_and_no_name_is_told(nook: Nook, host: str, port: int) -> None:
    with pytest.raises(NookError) as error:
        run.serve(nook, host, port)
    assert error.value.code == "port" and error.value.hint


def test_the_collector_leaves_alone_what_was_there_before_clients_came(nook: Nook) -> None:
    frozen = list[int]()

    def ready(url: str) -> None:
        frozen.append(gc.get_freeze_count())
        raise KeyboardInterrupt

    gc.unfreeze()
    try:
        with pytest.raises(KeyboardInterrupt):
            run.serve(nook, "127.0.0.1", 0, ready=ready)
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000


@contextmanager
def served(nook: Any, rules: Rules | None = None, site: Path | None = None, fleet: Any = None) -> Iterator[str]:
    """The gateway in a thread; gives its "host:port"."""
    config = uvicorn.Config(gateway.app(nook, rules or Rules(), site, fleet), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait(lambda: server.started)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def wait(until: Callable[[], object], seconds: float = 20) -> None:
    """Poll until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def events(client: ClientConnection, stream: str) -> list[wire.Message]:
    """All events of a stream, its end included."""
    found: list[wire.Message] = []
    while not found or not isinstance(found[-1], wire.ENDS):
        message, of = frames.decode(client.recv(timeout=20))
        if of == stream:
            found.append(message)
    return found


def test_a_client_opens_searches_and_asks(nook: Nook) -> None:
    with served(nook) as host, connect(f"ws://{host}/ws", subprotocols=[frames.SUBPROTOCOL]) as client:  # type: ignore[list-item]
        assert client.subprotocol == frames.SUBPROTOCOL
        client.send(frames.encode(wire.Open("anything"), "1"))
        client.send(frames.encode(wire.Search("hot oven", 5), "2"))
        status, end = events(client, "1")
        assert isinstance(status, wire.Status) and (status.where, status.documents) == ("server", 2)
        assert end == wire.Done()
        hits = events(client, "2")[0]
        assert isinstance(hits, wire.Hits) and hits.hits[0].path == "oven.md"
        client.send(frames.encode(wire.Ask("How hot does the oven get?", write=False), "3"))
        answer = events(client, "3")
        passage = next(event for event in answer if isinstance(event, wire.Passage))
        assert "250 degrees" in passage.text
        assert isinstance(answer[-1], wire.Done)


def test_files_go_up_and_a_nook_comes_down(nook: Nook) -> None:
    with served(nook) as host, connect(f"ws://{host}/ws", max_size=None) as client:
        files = [wire.Upload("new.txt", b"Kettles whistle."), wire.Upload("bad.pdf", b"%PDF-1.7 no")]
        client.send(frames.encode(wire.Add(files), "1"))
        found = events(client, "1")
        assert [event.card.path for event in found if isinstance(event, wire.Added)] == ["new.txt"]
        assert [event.code for event in found if isinstance(event, wire.Skipped)] == ["broken"]
        client.send(frames.encode(wire.Export(), "2"))
        [blob] = [event for event in events(client, "2") if isinstance(event, wire.Blob)]
        assert len(blob.data) > 100
        client.send(frames.encode(wire.Import(blob.data[:-20]), "3"))
        assert isinstance(events(client, "3")[-1], wire.Failed)
    assert len(nook.documents()) == 3


def test_a_read_only_server_changes_nothing(nook: Nook) -> None:
    with served(nook, Rules(writable=False)) as host, connect(f"ws://{host}/ws") as client:
        client.send(frames.encode(wire.Add([wire.Upload("new.txt", b"x")]), "1"))
        [failed] = events(client, "1")
        assert isinstance(failed, wire.Failed) and failed.code == "read-only"
    assert len(nook.documents()) == 2


def test_only_allowed_pages_may_connect(nook: Nook) -> None:
    rules = Rules(run.origins("127.0.0.1", 80, ["https://docs.example/"]))
    with served(nook, rules) as host:
        for origin in ("http://127.0.0.1:80", "http://localhost:80", "https://docs.example", None):
            with connect(f"ws://{host}/ws", origin=origin) as client:  # type: ignore[arg-type]
                client.send(frames.encode(wire.Look(), "1"))
                assert len(events(client, "1")) == 2
        for origin in ("http://evil.example", "http://127.0.0.1:81", f"http://{host}.evil.example", "null"):
            with pytest.raises(InvalidStatus):
                connect(f"ws://{host}/ws", origin=origin)  # type: ignore[arg-type]


def test_another_version_is_refused(nook: Nook) -> None:
    with served(nook) as host, pytest.raises(InvalidStatus):
        connect(f"ws://{host}/ws", subprotocols=["inglenook.v9"])  # type: ignore[list-item]


@pytest.mark.parametrize("frame", ["garbage", b"\xff\xff\xff\xff", b"", '{"type":"Search"}'])
def test_garbage_ends_the_connection_and_nothing_else(nook: Nook, frame: str | bytes) -> None:
    with served(nook) as host:
        with connect(f"ws://{host}/ws") as client:
            client.send(frame)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code in (1002, 1009)
        with connect(f"ws://{host}/ws") as client:
            client.send(frames.encode(wire.Look(), "1"))
            assert len(events(client, "1")) == 2


# ── streams that go on and on ─────────────────────────────────────────────────────────────────────────────────────


class Fountain:
    """Stands in for a nook: an answer of `size` tokens of `width` characters, one between two pauses."""

    def __init__(self, size: int = 10**9, width: int = 2000) -> None:
        self.size, self.width = size, width
        self.made = 0
        self.closed = 0

    def handle(self, request: wire.Request) -> Iterator[object]:
        if isinstance(request, wire.Look):
            raise NookError("code", "message", "hint")
        if isinstance(request, wire.List):
            raise ValueError("secret")
        try:
            for n in range(self.size):
                yield Pause()
                self.made += 1
                yield wire.Token(f"{n} ".ljust(self.width))
        finally:
            self.closed += 1

    async def astream(
        self, request: wire.Request, emit: Callable[[object], None], before: Callable[[], Awaitable[None]]
    ) -> None:
        async def perform(effect: object) -> None:
            await before()
            await asyncio.sleep(0)

        await adrive(self.handle(request), perform, emit)


def test_errors_end_their_stream_and_keep_secrets() -> None:
    with served(Fountain()) as host, connect(f"ws://{host}/ws") as client:
        client.send(frames.encode(wire.Look(), "1"))
        assert events(client, "1") == [wire.Failed("code", "message", "hint")]
        client.send(frames.encode(wire.List(), "2"))
        [failed] = events(client, "2")
        assert isinstance(failed, wire.Failed) and failed.code == "internal" and "secret" not in str(failed)


def test_cancel_stops_the_work() -> None:
    fountain = Fountain()
    with served(fountain) as host, connect(f"ws://{host}/ws") as client:
        client.send(frames.encode(wire.Chat([]), "1"))
        client.recv(timeout=20)
        client.send(frames.encode(wire.Cancel("1"), "2"))
        assert events(client, "1")[-1] == wire.Cancelled()
        assert fountain.closed == 1
        made = fountain.made
        client.send(frames.encode(wire.Look(), "3"))
        events(client, "3")
        assert fountain.made == made


def test_a_client_that_goes_away_stops_its_work() -> None:
    fountain = Fountain()
    with served(fountain) as host:
        with connect(f"ws://{host}/ws") as client:
            for n in range(5):
                client.send(frames.encode(wire.Chat([]), str(n)))
            seen: set[str] = set()
            while len(seen) < 5:
                seen.add(frames.decode(client.recv(timeout=20))[1])
        wait(lambda: fountain.closed == 5)


def test_a_slow_reader_holds_its_stream_up_and_loses_nothing() -> None:
    fountain = Fountain(size=4000, width=50_000)  # 200 MB, were it all kept
    with served(fountain) as host, connect(f"ws://{host}/ws", max_queue=2, compression=None) as client:
        client.send(frames.encode(wire.Chat([]), "1"))
        client.recv(timeout=20)
        seen = -1
        while seen != fountain.made:  # until it stands still
            seen = fountain.made
            time.sleep(0.5)
        assert fountain.made < 1500
        found = events(client, "1")
        numbers = [int(event.text.split()[0]) for event in found if isinstance(event, wire.Token)]
        assert numbers == list(range(1, 4000))
        assert found[-1] == wire.Done()


def test_a_reader_that_never_reads_is_given_up() -> None:
    fountain = Fountain(width=50_000)
    with (
        served(fountain, Rules(patience=0.5)) as host,
        connect(f"ws://{host}/ws", max_queue=2, compression=None) as client,
    ):
        client.send(frames.encode(wire.Chat([]), "1"))
        client.recv(timeout=20)
        wait(lambda: fountain.closed == 1)


def test_many_streams_share_a_connection() -> None:
    fountain = Fountain(size=30, width=10)
    with served(fountain) as host, connect(f"ws://{host}/ws") as client:
        for n in range(20):
            client.send(frames.encode(wire.Chat([]), str(n)))
        counts: dict[str, int] = {}
        ends = 0
        while ends < 20:
            message, stream = frames.decode(client.recv(timeout=20))
            counts[stream] = counts.get(stream, 0) + 1
            ends += isinstance(message, wire.ENDS)
        assert set(counts.values()) == {31} and len(counts) == 20


# ── the site, and the command ─────────────────────────────────────────────────────────────────────────────────────


def test_health_and_site(nook: Nook, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "static").mkdir(parents=True)
    (site / "index.html").write_text("<!doctype html><title>Hello</title>")
    (site / "static" / "a.wasm").write_bytes(bytes(5000))
    (site / "main.js").write_text("export {};")
    (tmp_path / "secret.txt").write_text("secret")
    with served(nook, site=site) as host:
        health = httpx.get(f"http://{host}/healthz").json()
        assert (health["status"], health["documents"]) == ("ok", 2)
        page = httpx.get(f"http://{host}/")
        assert "Hello" in page.text
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
        assert page.headers["cross-origin-embedder-policy"] == "require-corp"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert httpx.get(f"http://{host}/main.js").headers["content-type"].startswith("text/javascript")
        part = httpx.get(f"http://{host}/static/a.wasm", headers={"Range": "bytes=10-19"})
        assert part.status_code == 206 and len(part.content) == 10
        assert part.headers["content-type"] == "application/wasm"
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/static/..%2f..%2fsecret.txt", "/none"):
            assert "secret" not in httpx.get(f"http://{host}{path}").text
        with connect(f"ws://{host}/ws") as client:
            client.send(frames.encode(wire.Look(), "1"))
            assert len(events(client, "1")) == 2


def test_the_command_serves_until_it_is_interrupted(nook: Nook) -> None:
    path = nook.path
    nook.close()
    command = [sys.executable, "-m", "inglenook", "serve", str(path), "--port", "0"]
    environment = os.environ | NO_MODELS | {"PYTHONPATH": str(ROOT / "pysrc")}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = line.split(" at ")[1].split()[0]
        assert url.startswith("http://127.0.0.1:")
        origin = url.rstrip("/")
        with connect(url.replace("http", "ws") + "ws", origin=origin) as client:  # type: ignore[arg-type]
            client.send(frames.encode(wire.Search("milk"), "1"))
            [hits, _] = events(client, "1")
            assert isinstance(hits, wire.Hits) and hits.hits[0].path == "fridge.md"
        assert json.loads(httpx.get(url + "healthz").text)["status"] == "ok"
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=20)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0, complaints
    assert "Traceback" not in complaints
