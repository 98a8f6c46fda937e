"""Where workers run: processes of this machine, or Ray actors of a cluster, behind one interface.

    with LocalRuntime() as runtime:                   # or fleet.cluster.RayRuntime("auto")
        worker = runtime.spawn(Spec("small", "inglenook.fleet.driver:Driver", (config,), threads=2))

Local is the default and imports nothing of Ray. A worker ends with whoever spawned it, however that ends.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self

from inglenook.fleet.actor import Actor, Call, Reply
from inglenook.fleet.worker import Worker


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run: `target` is "module:Class", made with `args` in the worker. `threads` are for its numerics; `gpus`
    and `resources` are for runtimes that place workers; `env` is set before anything is imported."""

    name: str
    target: str
    args: tuple[Any, ...] = ()
    threads: int = 1
    gpus: float = 0
    resources: dict[str, float] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What is set where it runs."""
        return {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads), **self.env}

    def make(self) -> Any:
        """The object, made here."""
        return named(self.target)(*self.args)


def named(target: str) -> Any:
    """What "module:Name" names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


class Runtime(Protocol):
    """A context; leaving it ends all its workers."""

    def spawn(self, spec: Spec, on_death: Callable[[], None] = lambda: None) -> Worker:
        """Start a worker and do not wait for it: `Worker.ready` does. `on_death`: as `Worker`'s."""

    def close(self) -> None:
        """End all workers."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LocalRuntime:
    """Processes of this machine, each with a pipe. Threads here do no harm: on Linux they are forked from a process
    that has imported the modules `preload`, and does nothing else; elsewhere they are spawned."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        self._context.set_forkserver_preload([*preload])
        self._workers: list[Worker] = []

    def spawn(self, spec: Spec, on_death: Callable[[], None] = lambda: None) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_run, args=(theirs, spec), name=spec.name, daemon=True)
        process.start()
        theirs.close()
        worker = Worker(spec.name, _Pipe(process, ours), on_death)
        self._workers = [worker, *(worker for worker in self._workers if worker.alive)]
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pipe:
    """The link to a local process."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self._process, self._connection = process, connection
        self._sending = threading.Lock()

    def post(self, call: Call | None) -> None:
        with self._sending:
            self._connection.send(call)

    def receive(self) -> list[Reply]:
        try:
            return [self._connection.recv()]
        except (EOFError, OSError):
            self._end(5.0)
            raise

    def kill(self) -> None:
        self._process.kill()

    def close(self, timeout: float) -> None:
        with suppress(OSError):
            self.post(None)
        self._end(timeout)

    def _end(self, timeout: float) -> None:
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _run(connection: Connection, spec: Spec) -> None:
    """The process of a local worker."""
    os.environ.update(spec.environment())
    if torch := sys.modules.get("torch"):  # it was there before the fork, and read another environment
        torch.set_num_threads(spec.threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for whoever spawned it, who ends its workers in order
    actor = Actor(spec.make, connection.send)

    def listen() -> None:
        with suppress(EOFError, OSError):
            while (call := connection.recv()) is not None:
                actor.post(call)
        actor.post(None)  # told to end, or whoever spawned it is gone

    threading.Thread(target=listen, daemon=True).start()
    with suppress(BrokenPipeError):
        actor.run()
