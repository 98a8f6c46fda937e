"""The gateway alone: what it adds to every token, what connections cost.

python3 build.py bench serve gateway [--quick] [--force]

A thread in the server's process says tokens at their time, each with the moment it was said, as an engine's threads
would; another process reads them over TCP and looks at the clock before anything else. What lies between is the
gateway, the kernel's sockets and the reader. The floor is the same server with nothing of ours in it: uvicorn sends the
same frames as soon as they are said.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import heapq
import json
import multiprocessing
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import uvicorn
from inglenook.serve import gateway
from inglenook.serve import run as serving
from inglenook.serve.access import Rules
from inglenook.wire import frames
from inglenook.wire import messages as wire

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import percentile, quiet, report

MANY, SOME = 1000, 200  # connections that stream at once
PACE = {MANY: 0.2, SOME: 0.05}  # seconds between two tokens of a stream
WARM = 2.0  # seconds that are not counted
PATIENCE = 3.0  # seconds a reader may take nothing, here
DEAF = 50  # clients that never read


class Producer:
    """In place of a nook: a thread says a token of every stream once in a while, at evenly spread times."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, float, asyncio.AbstractEventLoop, asyncio.Queue[int]]] = []
        self._lock = threading.Lock()
        self._gone: set[int] = set()
        self._count = 0
        self.library = SimpleNamespace(status=lambda: SimpleNamespace(documents=0, chunks=0))
        threading.Thread(target=self._speak, daemon=True).start()

    def workers(self) -> list[Any]:
        return []

    async def astream(
        self, request: wire.Request, emit: Callable[[object], None], before: Callable[[], Awaitable[None]]
    ) -> None:
        if not isinstance(request, wire.Chat):
            return
        if not request.temperature:  # as fast as it is taken
            while True:
                await before()
                await asyncio.sleep(0)
                emit(wire.Token("x" * 50_000))
        said: asyncio.Queue[int] = asyncio.Queue()
        number = self._begin(request.temperature, said)
        try:
            while True:
                moment = await said.get()
                await before()
                emit(wire.Token(str(moment)))
        finally:
            self._gone.add(number)

    def begin(self, pace: float) -> asyncio.Queue[int]:
        """A stream for the floor."""
        said: asyncio.Queue[int] = asyncio.Queue()
        self._begin(pace, said)
        return said

    def _begin(self, pace: float, said: asyncio.Queue[int]) -> int:
        with self._lock:
            self._count += 1
            spread = (self._count * 0.6180339887) % 1 * pace  # the golden ratio's multiples lie evenly
            entry = (time.perf_counter() + spread, self._count, pace, asyncio.get_running_loop(), said)
            heapq.heappush(self._due, entry)
            return self._count

    def _speak(self) -> None:
        while True:
            now = time.perf_counter()
            with self._lock:
                while self._due and self._due[0][0] <= now:
                    due, number, pace, loop, said = heapq.heappop(self._due)
                    if number not in self._gone:
                        loop.call_soon_threadsafe(said.put_nowait, time.perf_counter_ns())
                        heapq.heappush(self._due, (due + pace, number, pace, loop, said))
                wait = self._due[0][0] - time.perf_counter() if self._due else 0.01
            time.sleep(min(0.01, max(0.0, wait)))


async def floor(producer: Producer, receive: Any, send: Any) -> None:
    """A WebSocket that sends what is said, and knows nothing of sessions, limits and slow readers."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None})
    asked = json.loads((await receive())["text"])
    said = producer.begin(asked["temperature"])
    while True:
        frame = frames.encode(wire.Token(str(await said.get())), asked["id"])
        await send({"type": "websocket.send", "text": frame})


def server(pipe: Connection) -> None:
    """The server's process: says its port, then its memory whenever it is asked."""
    _many_files()
    producer = Producer()
    ours = gateway.app(producer, Rules(patience=PATIENCE, keep=5.0))  # type: ignore[arg-type]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/floor":
            try:
                await floor(producer, receive, send)
            except Exception:
                return
        else:
            await ours(scope, receive, send)

    running = uvicorn.Server(serving.config(app, frames.LARGEST, port=0))
    threading.Thread(target=running.run, daemon=True).start()
    while not running.started:
        time.sleep(0.01)
    serving.calm()
    pipe.send(running.servers[0].sockets[0].getsockname()[1])
    while pipe.recv():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free counts as free
        pipe.send((_memory(), time.process_time()))


def _memory() -> int:
    """Bytes of this process that no other has."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Reader(asyncio.Protocol):
    """A client of a few lines, so that its own work is small beside what is measured: it asks for a stream and notes of
    each token when it was said and when it came, in ns."""

    def __init__(self, path: str, requests: list[wire.Request], deaf: bool = False) -> None:
        self.came: list[tuple[int, int]] = []
        self.ready = asyncio.get_running_loop().create_future()
        self._path, self._requests, self._deaf = path, requests, deaf
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n{head}Sec-WebSocket-Version: 13\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        self._data += data
        if not self.ready.done():
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
                return
            assert b" 101 " in head, head
            for number, request in enumerate(self._requests):
                self.transport.write(_masked(str(frames.encode(request, str(number))).encode()))
            self.ready.set_result(None)
            if self._deaf:
                self.transport.pause_reading()
        while len(self._data) > 1:
            size, at = self._data[1], 2
            if size == 126:
                size, at = int.from_bytes(self._data[2:4], "big"), 4
            assert size < 127
            if len(self._data) < at + size:
                return
            frame, self._data = self._data[at : at + size], self._data[at + size :]
            if frame.startswith(b'{"type":"Token"'):
                self.came.append((int(frame.split(b'"text":"')[1].split(b'"')[0]), now))


def _masked(payload: bytes) -> bytes:
    size = len(payload)
    assert size < 65536
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload  # masked with zeros, RFC 6455, 5.3


async def connected(port: int, count: int, path: str, requests: list[wire.Request], deaf: bool = False) -> list[Reader]:
    """So many clients."""
    loop, readers = asyncio.get_running_loop(), list[Reader]()
    for _ in range(count):
        make = lambda: Reader(path, requests, deaf)
        _, reader = await loop.create_connection(make, "127.0.0.1", port)
        readers.append(reader)
        await reader.ready
    return readers


async def left(readers: list[Reader]) -> None:
    """All of them go."""
    for reader in readers:
        reader.transport.abort()
    await asyncio.sleep(1.0)


async def streaming(port: int, count: int, path: str, seconds: float) -> tuple[list[float], float]:
    """Milliseconds that each token was on its way to `count` streams, and the share of tokens that came at all."""
    asked = wire.Chat([], temperature=PACE[count])
    readers = await connected(port, count, path, [asked])
    gc.collect()
    gc.disable()  # the reader's own pauses are none of the gateway's
    await asyncio.sleep(WARM)
    begin = time.perf_counter_ns()
    await asyncio.sleep(seconds)
    end = time.perf_counter_ns()
    await asyncio.sleep(0.5)
    gc.enable()
    ways = [(came - said) / 1e6 for r in readers for said, came in r.came if begin <= said < end]
    await left(readers)
    return ways, len(ways) / (count * seconds / PACE[count])


class Served:
    """A server in a process of its own, since memory that was freed is not given back."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=server, args=(theirs,), daemon=True)
        self._process.start()
        self.port = int(self._pipe.recv())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def told(self) -> tuple[int, float]:
        """Bytes of its memory, and seconds that its processor has worked."""
        self._pipe.send(True)
        memory, worked = self._pipe.recv()
        return int(memory), float(worked)


async def weighed(count: int, requests: list[wire.Request], deaf: bool = False) -> tuple[float, float]:
    """kB that each of so many connections takes, soon and after a reader's patience has ended."""
    with Served() as one:
        await left(await connected(one.port, 20, "/ws", requests[:0]))  # everything is imported
        empty, found = one.told()[0], list[float]()
        readers = await connected(one.port, count, "/ws", requests, deaf)
        for wait in (1.0, 2 * PATIENCE + 1 if deaf else 0.0):
            await asyncio.sleep(wait)
            found.append((one.told()[0] - empty) / count / 1e3)
        await left(readers)
    return found[0], found[1]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The figures: medians of the rounds, the arms taking turns within a round."""
    rounds, seconds = (2, 3.0) if options.quick else (5, 10.0)
    _many_files()
    told: dict[str, list[float]] = {}
    note = lambda name, value: told.setdefault(name, []).append(value)

    async def round_(one: Served) -> None:
        for name, path in (("", "/ws"), ("_floor", "/floor")):
            before = one.told()[1]
            ways, share = await streaming(one.port, SOME, path, seconds)
            note(f"cpu{name}", 1e6 * (one.told()[1] - before) / (len(ways) * (seconds + WARM) / seconds))
            note(f"added{name}_p50", statistics.median(ways))
            note(f"added{name}_p99", percentile(ways, 99, 3))
            note(f"share{name}", share)
        ways, share = await streaming(one.port, MANY, "/ws", seconds)
        note("many_p50", statistics.median(ways))
        note("many_p99", percentile(ways, 99, 3))
        note("many_share", share)
        note("idle", (await weighed(MANY, []))[0])
        note("attached", (await weighed(MANY, [wire.Attach()]))[0])
        soon, later = await weighed(DEAF, [wire.Chat([])], deaf=True)
        note("deaf", soon)
        note("deaf_later", later)

    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", flush=True)
        with Served() as one:
            asyncio.run(round_(one))
    middle = {name: statistics.median(values) for name, values in told.items()}
    if min(told["share"] + told["many_share"]) < 0.97:
        print("  Tokens are missing: the machine cannot keep the pace, and what came says little.")
    return {
        "gateway_connections": MANY,
        "gateway_added_p50_ms_200": round(middle["added_p50"], 3),
        "gateway_added_p99_ms_200": round(middle["added_p99"], 3),
        "gateway_added_p99_ms_200_least": round(min(told["added_p99"]), 3),
        "gateway_added_p99_ms_200_most": round(max(told["added_p99"]), 3),
        "gateway_floor_p99_ms_200": round(middle["added_floor_p99"], 3),
        "gateway_added_p50_ms_1000": round(middle["many_p50"], 3),
        "gateway_added_p99_ms_1000": round(middle["many_p99"], 3),
        "gateway_came_1000": round(middle["many_share"], 3),
        "gateway_cpu_us_token": round(middle["cpu"], 1),
        "gateway_floor_cpu_us_token": round(middle["cpu_floor"], 1),
        "idle_connection_kb": round(middle["idle"], 1),
        "idle_attached_connection_kb": round(middle["attached"], 1),
        "unread_connection_kb": round(max(told["deaf"]), 1),
        "unread_connection_later_kb": round(max(told["deaf_later"]), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--force", action="store_true")
    load = quiet()
    report({**run(parser.parse_args()), "load_average": load, "processors": os.cpu_count() or 0})
