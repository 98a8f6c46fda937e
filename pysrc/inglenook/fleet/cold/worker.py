"""The process that holds stages of a model: it fetches them, runs them, and hands on what they made.

A worker knows nothing of pipelines. Each `run` brings its route, and the worker runs the layers of the first hop and
sends the rest of the way on; so the same worker serves as a stage of a pipeline and, once it has all layers, alone.

    load {parts, layers, share, cache, shape, …}   fetch parts of the model, beside everything else
    run {hops, pieces, ways} + states              wait for the layers of the first hop, run them, pass on
    pull {from, first, last, moves}                keys and values of layers from another worker: of each move's
                                                   request, in its pages, from one token to another
    drop {requests}                                leave out what has not been pulled yet of these
    export {first, last, pages, start, tokens}     give them
    status                                         how far the fetch is

Each message has an `id`, and is answered on the connection that owns the worker (`run`) or that it came by (the rest):
{"re": id, …} or {"re": id, "error": [code, message, hint]}. Everything that touches keys and values is done in turn by
one thread; fetches have threads of their own.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet.arena import token_bytes
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Address, Channel, Pace
from inglenook.fleet.cold.chunks import Cache, Fetch, Share
from inglenook.fleet.cold.hosts import Bucket
from inglenook.fleet.cold.zygote import Report
from inglenook.fleet.iteration import Piece, Sampling
from inglenook.fleet.torch import memory
from inglenook.fleet.torch.batch import Batch
from inglenook.fleet.torch.sample import choose
from inglenook.fleet.torch.stage import Stage
from inglenook.fleet.weights import EMBEDDING

BLOCK = 32
"""Tokens whose keys and values are given at a time."""

Said = dict[str, Any]


def warm() -> None:
    """What a zygote does before it forks: one thread (a pool of threads does not outlive a fork), one product."""
    torch.set_num_threads(1)
    torch.nn.functional.linear(torch.ones(4, 64), torch.ones(64, 64))


def serve(spec: Mapping[str, Any], report: Report) -> None:
    """A worker at `spec`'s address, until the connection that came first ends."""
    torch.set_num_threads(int(spec.get("threads", 1)))
    down, up = (Bucket(spec[way], spec["rate"]).take if spec.get(way) else channels.free for way in ("down", "up"))
    listener = channels.listen(spec["address"])
    report({"port": listener.address[1]})
    Worker(bytes.fromhex(spec["key"]), up, down).run(listener)


class Worker:
    """Stages over one cache. `up` and `down` throttle in user space."""

    def __init__(self, key: bytes, up: Pace, down: Pace) -> None:
        self._key, self._up, self._down = key, up, down
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._owner: Channel | None = None
        self._next: dict[Address, Channel] = {}
        self._cache: memory.Cache | None = None
        self._stages: dict[int, Stage] = {}  # by their first layer
        self._embedding: np.ndarray | None = None
        self._loading = threading.Condition()
        self._failed: NookError | None = None
        self._fetches: list[Fetch] = []
        self._dropped: set[str] = set()  # requests whose pages are no longer theirs

    def run(self, listener: Any) -> None:
        """Do the jobs that come over connections, until the owner has gone."""
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        while job := self._jobs.get():
            job()

    def _accept(self, listener: Any) -> None:
        while True:
            connection = listener.accept()
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: Any) -> None:
        try:
            channel = channels.accept(connection, self._key, self._up, self._down)
        except NookError:
            return
        if self._owner is None:
            self._owner = channel
        try:
            for said, blobs in channel:
                self._take(channel, said, blobs)
        finally:
            channel.close()
            if channel is self._owner:
                self._fail(channels.lost("The owner of this worker has gone"))
                self._jobs.put(None)

    def _take(self, channel: Channel, said: Said, blobs: list[memoryview]) -> None:
        """Where the work of a message is done: in turn, or beside it."""
        match said["op"]:
            case "run":
                owner = self._owner or channel
                self._jobs.put(lambda: self._answer(owner, said, lambda: self._forward(said, blobs)))
            case "export":
                self._jobs.put(lambda: self._answer(channel, said, lambda: self._export(said)))
            case "drop":
                self._dropped |= {*said["requests"]}
                self._answer(channel, said, lambda: ({}, b""))
            case "load" | "pull" as op:
                self._dropped -= {move[0] for move in said.get("moves", ())}
                work = self._load if op == "load" else self._pull
                threading.Thread(target=self._answer, args=(channel, said, lambda: work(said)), daemon=True).start()
            case "status":
                received = sum(fetch.received for fetch in self._fetches)
                self._answer(channel, said, lambda: ({"received": received}, b""))

    def _answer(self, channel: Channel, said: Said, work: Callable[[], tuple[Said, bytes] | None]) -> None:
        """Do it and tell what came of it; nothing is told where somebody else will."""
        try:
            try:
                done = work()
            except NookError as error:
                channel.send({"re": said["id"], "error": [error.code, error.message, error.hint]})
            except Exception as error:
                told = ["worker", f"A worker failed: {error!r}.", "Its output tells more."]
                channel.send({"re": said["id"], "error": told})
                raise
            else:
                if done:
                    channel.send({"re": said["id"], **done[0]}, done[1])
        except NookError:
            return  # nobody is there to be told

    def _load(self, said: Said) -> tuple[Said, bytes]:
        """Fetch the parts' tensors in turn; those that are here already are not in the share."""
        began, shape = time.monotonic(), Shape(**said["shape"])
        try:
            with self._loading:
                kept = self._cache = self._cache or _cache(shape, said)
                self._failed = None
            stages = [Stage(shape, **part, cache=kept, tied=said["tied"]) for part in said["parts"]]
            waiting = {name: [stage for stage in stages if name in stage.missing] for s in stages for name in s.missing}
            cached = Cache(Path(said["cache"])) if said["cache"] else None
            with Fetch(Share.heard(said["share"]), cache=cached, pace=self._down) as fetch:
                self._fetches.append(fetch)
                for name in waiting.keys() - {place.name for place in fetch.share.places}:
                    if name != EMBEDDING or self._embedding is None:
                        raise NookError("stage", f"{name} is neither here nor fetched.", "This is a defect: report it.")
                    for stage in waiting[name]:
                        stage.load(name, self._embedding)
                for place, raw in fetch:
                    values = place.decode(raw)
                    for stage in waiting[place.name]:
                        stage.load(place.name, values)
                    if place.name == EMBEDDING and said["tied"] and not said["whole"]:
                        self._embedding = values  # the other end of the model needs it, too
        except NookError as error:
            self._fail(error)
            raise
        with self._loading:
            self._stages |= {stage.first: stage for stage in stages}
            if said["whole"]:
                self._embedding = None
            self._loading.notify_all()
        return {"received": fetch.received, "seconds": time.monotonic() - began}, b""

    def _fail(self, error: NookError) -> None:
        """Whoever waits for layers waits in vain."""
        with self._loading:
            self._failed = error
            self._loading.notify_all()

    def _forward(self, said: Said, blobs: list[memoryview]) -> tuple[Said, bytes] | None:
        """Run the first hop; the tokens, or None if others go on."""
        hop, *rest = said["hops"]
        stages, cache = self._row(hop["first"], hop["last"])
        pieces = [
            Piece(r, tuple(tokens), start, tuple(pages), wants) for r, tokens, start, pages, wants in said["pieces"]
        ]
        batch = Batch.of(pieces, cache)
        states = torch.frombuffer(bytearray(blobs[0]), dtype=cache.dtype).view(-1, cache.shape.width) if blobs else None
        x = batch.tokens if states is None else states
        for stage in stages:
            x = stage.forward(batch, x)
        if rest:
            self._to(rest[0]["address"]).send({**said, "hops": rest}, memoryview(x.numpy()).cast("B"))
            return None
        wanted = [piece for piece in pieces if piece.wants]
        if not wanted:
            return {"tokens": {}}, b""
        ways = [Sampling(*said["ways"][piece.request]) for piece in wanted]
        tokens = choose(x, ways, [piece.start + len(piece.tokens) for piece in wanted])
        return {"tokens": {piece.request: token for piece, token in zip(wanted, tokens, strict=True)}}, b""

    def _row(self, first: int, last: int) -> tuple[list[Stage], memory.Cache]:
        """The stages that together have the layers, when they are loaded; or the error of their fetch."""

        def found() -> list[Stage]:
            row, at = [], first
            while at < last and at in self._stages:
                row.append(self._stages[at])
                at = row[-1].last
            return row if at == last else []

        with self._loading:
            self._loading.wait_for(lambda: found() or self._failed)
            row = found()
            if not row or self._cache is None:
                raise self._failed or NookError("stage", "These layers are not here.", "This is a defect: report it.")
            return row, self._cache

    def _export(self, said: Said) -> tuple[Said, bytes]:
        exported = self._kept().export(said["pages"], said["first"], said["last"], said["tokens"], said["start"])
        return {"shape": list(exported.shape)}, exported.contiguous().numpy().tobytes()

    def _pull(self, said: Said) -> tuple[Said, bytes]:
        """Ask another worker for keys and values, some tokens at a time, and put them in here: both go on with their
        work meanwhile."""
        channel = channels.Channel.connect(tuple(said["from"]), self._key, self._up, self._down)
        layers, moved = {"first": said["first"], "last": said["last"]}, 0
        try:
            blocks = [
                (request, pages, at, min(at + BLOCK, end))
                for request, pages, start, end in said["moves"]
                for at in range(start, end, BLOCK)
            ]
            for number, (request, pages, start, end) in enumerate(blocks):
                if request in self._dropped:
                    continue
                asked = {**layers, "pages": pages, "start": start, "tokens": end}
                channel.send({"op": "export", "id": number, **asked})
                try:
                    answer, blobs = channel.receive()
                except EOFError:
                    raise channels.lost("A worker went while its keys and values were moved") from None
                if "error" in answer:
                    raise NookError(*answer["error"])
                exported = torch.frombuffer(bytearray(blobs[0]), dtype=self._kept().dtype).view(answer["shape"])
                accept = partial(self._kept().accept, pages, said["first"], said["last"], exported, start)
                self._in_turn(partial(self._unless_dropped, request, accept))
                moved += len(blobs[0])
        finally:
            channel.close()
        return {"moved": moved}, b""

    def _unless_dropped(self, request: str, work: Callable[[], None]) -> None:
        if request not in self._dropped:
            work()

    def _in_turn(self, work: Callable[[], None]) -> None:
        """Have the jobs' thread do `work`, and wait until it has; its error is raised here."""
        done: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

        def job() -> None:
            try:
                work()
            except Exception as error:
                done.put(error)
            else:
                done.put(None)

        self._jobs.put(job)
        if error := done.get():
            raise error

    def _kept(self) -> memory.Cache:
        if self._cache is None:
            raise NookError("kv", "Nothing is kept here yet.", "Load a model first.")
        return self._cache

    def _to(self, address: list[Any]) -> Channel:
        """The channel to the next worker of a route."""
        where = (address[0], address[1])
        if where not in self._next:
            self._next[where] = channels.Channel.connect(where, self._key, self._up, self._down)
        return self._next[where]


def _cache(shape: Shape, said: Said) -> memory.Cache:
    first, last = said["layers"]
    page = said["tokens"] * token_bytes(shape, 4, last - first)
    return memory.Cache(memory.Memory(said["pages"], page), shape, first, last, tokens=said["tokens"])
