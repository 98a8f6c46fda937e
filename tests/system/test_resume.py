"""Connections that are lost: the gateway for real, over lines that are cut, with our JavaScript client and with a plain
one."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from inglenook.serve.access import Rules
from inglenook.wire import frames
from inglenook.wire import messages as wire
from system.test_serve import Fountain, served, wait
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from buildlib.project import ROOT


def attach(client: ClientConnection, token: str = "", **seen: int) -> wire.Attached:
    client.send(frames.encode(wire.Attach(token, seen), "attach"))
    told, _ = frames.decode(client.recv(timeout=20))
    assert isinstance(told, wire.Attached) and frames.decode(client.recv(timeout=20))[0] == wire.Done()
    return told


def cut(client: ClientConnection) -> None:
    """The line is gone, and nobody said good-bye."""
    client.socket.close()


def numbers(found: list[wire.Message]) -> list[int]:
    return [int(event.text) for event in found if isinstance(event, wire.Token)]


def test_a_stream_goes_on_over_another_connection() -> None:
    fountain, found = Fountain(size=200, width=4), list[wire.Message]()
    with served(fountain) as host, ExitStack() as lines:
        client = lines.enter_context(connect(f"ws://{host}/ws"))
        token = attach(client).token
        client.send(frames.encode(wire.Chat([]), "1"))
        while not (found and isinstance(found[-1], wire.ENDS)):
            if len(found) % 50 == 49:  # in the middle of everything that is on its way
                cut(client)
                client = lines.enter_context(connect(f"ws://{host}/ws"))
                assert attach(client, token, **{"1": len(found)}).streams == ["1"]
            message, stream = frames.decode(client.recv(timeout=20))
            assert stream == "1"
            found.append(message)
            if len(found) % 10 == 0:
                client.send(frames.encode(wire.Ack({"1": len(found)}), "ack"))
    assert numbers(found) == list(range(200)) and found[-1] == wire.Done() and fountain.closed == 1


def test_who_stays_away_is_not_waited_for() -> None:
    fountain = Fountain(width=10)
    with served(fountain, Rules(keep=0.3)) as host, connect(f"ws://{host}/ws") as client:
        token = attach(client).token
        client.send(frames.encode(wire.Chat([]), "1"))
        client.recv(timeout=20)
        cut(client)
        wait(lambda: fountain.closed == 1)
        assert fountain.made < 200  # no further ahead than the window
        for wrong in (token, "x" * 43):
            with connect(f"ws://{host}/ws") as again:
                again.send(frames.encode(wire.Attach(wrong, {"1": 1}), "attach"))
                failed, _ = frames.decode(again.recv(timeout=20))
                assert isinstance(failed, wire.Failed) and failed.code == "no-session" and failed.hint


def test_a_second_connection_takes_the_session_over() -> None:
    fountain = Fountain(size=500, width=4)
    with served(fountain) as host, connect(f"ws://{host}/ws") as first, connect(f"ws://{host}/ws") as second:
        token = attach(first).token
        first.send(frames.encode(wire.Chat([]), "1"))
        first.recv(timeout=20)
        assert attach(second, token, **{"1": 0}).streams == ["1"]
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                first.recv(timeout=20)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4001
        assert numbers([frames.decode(second.recv(timeout=20))[0] for _ in range(60)]) == list(range(60))


def test_whoever_asks_for_nothing_for_long_is_let_go() -> None:
    with served(Fountain(size=3), Rules(idle=0.3)) as host, connect(f"ws://{host}/ws") as client:
        client.send(frames.encode(wire.Chat([]), "1"))
        found = [frames.decode(client.recv(timeout=20))[0] for _ in range(4)]
        assert found[-1] == wire.Done()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


def test_with_a_key_a_ticket_lets_a_page_in_once() -> None:
    import httpx

    with served(Fountain(size=3), Rules(key="secret")) as host:
        made = httpx.post(f"http://{host}/ticket", headers={"Authorization": "Bearer secret"}).json()
        offered: Any = [frames.SUBPROTOCOL, f"ticket.{made['ticket']}"]
        with connect(f"ws://{host}/ws", subprotocols=offered) as client:
            assert client.subprotocol == frames.SUBPROTOCOL  # the ticket is not said back
        for protocols in (offered, [frames.SUBPROTOCOL], [frames.SUBPROTOCOL, "ticket."], None):
            with pytest.raises(Exception, match="HTTP 403"):
                connect(f"ws://{host}/ws", subprotocols=protocols)
        with connect(f"ws://{host}/ws", additional_headers={"Authorization": "Bearer secret"}):
            pass
        assert httpx.post(f"http://{host}/ticket").status_code == 401


# ── our JavaScript, over a line that is cut at any byte ───────────────────────────────────────────────────────────


@contextmanager
def cutter(host: str, seed: int) -> Iterator[tuple[str, list[int]]]:
    """A way to `host` that breaks after a random number of bytes; gives its "host:port", and those numbers."""
    cuts = list[int]()
    loop, rnd = asyncio.new_event_loop(), random.Random(seed)
    name, port = host.split(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(name, int(port))
        left = rnd.randrange(300 if len(cuts) > 1 else 1500, 12_000)  # a server that was never met is not waited for
        cuts.append(left)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal left
            while left > 0 and (data := await source.read(700)):
                target.write(data[:left])
                left -= len(data)
                await target.drain()

        tasks = [asyncio.ensure_future(pump(reader, up_writer)), asyncio.ensure_future(pump(up_reader, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, up_writer):
            end.transport.abort()  # type: ignore[attr-defined]

    server = loop.run_until_complete(asyncio.start_server(carry, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", cuts
    finally:
        asyncio.run_coroutine_threadsafe(_end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end() -> None:
    """Whatever this loop still does."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


SCRIPT = """
  import { Client } from './web/lib/client.js';
  import { serverLink } from './web/lib/remote.js';
  const [url, key] = process.argv.slice(1);
  const client = new Client(() => serverLink(new URL(url), key, 60_000), () => ({ type: 'Open' }));
  const read = async (n) => {
    const texts = [];
    for await (const event of client.request({ type: 'Chat', messages: [] })) {
      texts.push(Number(event.text));
      if (n === 3 && texts.length === 40) break;
    }
    return texts;
  };
  console.log(JSON.stringify(await Promise.all([0, 1, 2, 3].map(read))));
  client.close();
"""


STUB = """
  const sent = [];
  let socket;
  globalThis.WebSocket = class {
    static OPEN = 1;
    readyState = 1;
    constructor() {
      socket = this;
      setTimeout(() => this.onopen());
    }
    send(frame) {
      sent.push(JSON.parse(frame));
    }
    close() {}
  };
  const { serverLink } = await import('./web/lib/remote.js');
  const later = (ms) => new Promise((done) => setTimeout(done, ms));
  const hear = (message) => socket.onmessage({ data: JSON.stringify(message) });
  const attached = (...streams) => {
    hear({ type: 'Attached', id: 'attach', token: 't', streams, window: 64, keep_ms: 1 });
    hear({ type: 'Done', id: 'attach' });
  };
  const reconnected = async () => {
    const before = socket;
    socket.onclose({ code: 1006, reason: '' });
    while (socket === before) await later(5);
    await later(5);
  };
  const link = serverLink(new URL('ws://x/ws'));
  await later(5);
"""


ACKS = """
  attached();
  link.post({ type: 'Chat', id: '1' });
  const acks = () => sent.filter(({ type }) => type === 'Ack').map(({ seen }) => seen['1']);
  for (let n = 0; n < 2; n++) {
    hear({ type: 'Token', id: '1', text: 'a' });
    hear({ type: 'Token', id: '1', text: 'b' });
    if (acks().length > n) throw new Error('at once');
    await later(400);
  }
  for (let n = 0; n < 16; n++) hear({ type: 'Token', id: '1', text: 'c' });
  hear({ type: 'Done', id: '1' });
  console.log(JSON.stringify(acks()));
  link.close();
"""


GREETING = """
  link.post({ type: 'Chat', id: '1' });
  link.post({ type: 'Chat', id: '2' });
  link.post({ type: 'Cancel', id: '3', stream: '2' });
  await reconnected();
  attached();
  link.post({ type: 'Chat', id: '4' });
  await reconnected();
  link.post({ type: 'Cancel', id: '5', stream: '4' });
  attached('1', '4');
  console.log(JSON.stringify(sent.map(({ type, id, token }) => [type, id, token ?? ''])));
  link.close();
"""


SILENCE = """
  link.close();
  const silent = serverLink(new URL('ws://x/ws'), '', 200);
  silent.post({ type: 'Chat', id: '1' });
  const error = await new Promise((done) => (silent.onclose = done));
  console.log(JSON.stringify([error.code, error.message]));
"""


def stubbed(script: str) -> Any:
    """What the link does where the test plays the server."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, "--input-type=module", "-e", STUB + script]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_what_came_is_acknowledged_by_number_by_end_and_by_time() -> None:
    assert stubbed(ACKS) == [2, 4, 16, 21]


def test_nothing_goes_out_before_the_server_has_said_what_it_knows() -> None:
    """So a connection that is lost during the greeting costs nothing, and what was stopped meanwhile stays stopped."""
    assert stubbed(GREETING) == [
        ["Attach", "attach", ""],
        ["Attach", "attach", ""],
        ["Chat", "1", ""],
        ["Chat", "4", ""],
        ["Attach", "attach", "t"],
        ["Cancel", "5", ""],
    ]


def test_a_server_that_takes_connections_and_says_nothing_is_given_up() -> None:
    assert stubbed(SILENCE) == ["server-gone", "The server did not answer."]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_nothing_comes_twice_over_a_line_that_is_cut(seed: int) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    told = subprocess.run([node, "--help"], capture_output=True, text=True, check=True).stdout
    flags = [flag for flag in ("--experimental-websocket",) if flag in told]  # later ones have it anyway
    fountain = Fountain(size=400, width=4)
    with served(fountain, Rules(key="secret")) as host, cutter(host, seed) as (line, cuts):
        command = [node, *flags, "--input-type=module", "-e", SCRIPT, f"ws://{line}/ws", "secret"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
        assert ran.returncode == 0, ran.stderr
        *whole, stopped = json.loads(ran.stdout)
        assert whole == [list(range(400))] * 3 and stopped == list(range(40))
        assert len(cuts) > 5
        wait(lambda: fountain.closed == 4)  # each was run once
