"""Objects that live in workers of the tests, and a runtime whose workers are threads."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from inglenook.errors import NookError
from inglenook.fleet.actor import Actor, Call, Out, Reply
from inglenook.fleet.frame import Frame
from inglenook.fleet.runtime import Spec
from inglenook.fleet.transport import connect, listen
from inglenook.fleet.worker import Worker


class Counter:
    """Adds, fails, and counts for whoever listens, one number a step."""

    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise NookError("start", "It starts below nothing.", "Start at 0.")
        self.total, self.closed = start, 0
        self._counts: deque[tuple[Out, int, int]] = deque()

    def add(self, number: int) -> int:
        self.total += number
        return self.total

    def fail(self, known: bool) -> None:
        raise NookError("known", "It went wrong.", "Do it rightly.") if known else ValueError("unknown")

    def setting(self, name: str) -> str | None:
        return os.environ.get(name)

    def where(self) -> int:
        return os.getpid()

    def forked(self, module: str) -> tuple[int, bool]:
        """From which process, and whether a module came with it."""
        return os.getppid(), module in sys.modules

    def threads(self) -> int:
        return int(sys.modules["torch"].get_num_threads())

    def network(self) -> int:
        """Of Linux: which network it is in."""
        return Path("/proc/self/ns/net").stat().st_ino

    def die(self) -> None:
        os._exit(3)

    def count(self, out: Out, start: int, end: int) -> None:
        if start > end:
            raise NookError("known", "It would never end.", "Start below the end.")
        out.on_close = self._close
        self._counts.append((out, start, end))

    def _close(self) -> None:
        self.closed += 1

    def closes(self) -> int:
        return self.closed

    def step(self) -> bool:
        if not self._counts:
            return False
        out, at, end = self._counts.popleft()
        if out.closed:
            return True
        if at == end:
            out.end({"counted": end})
        elif at == -1:
            raise RuntimeError("a step that fails")
        else:
            out.send(at)
            self._counts.append((out, at + 1, end))
        return True


class End:
    """An end of a transport."""

    def listen(self, host: str) -> str:
        self._listener = listen(f"tcp://{host}:0")
        return self._listener.address

    def receive(self) -> tuple[tuple[int, ...], float]:
        with self._listener as listener:
            end = listener.accept(30.0)
        array = end.recv(30.0).array()
        end.close()
        return array.shape, float(array.sum())

    def send(self, address: str, *shape: int) -> float:
        array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        end = connect(address)
        end.send(Frame.of(array))
        end.close()
        return float(array.sum())


class ThreadRuntime:
    """Workers that are threads of this process: what is said of processes without their cost."""

    def __init__(self) -> None:
        self.spawned: list[Worker] = []

    def spawn(self, spec: Spec, on_death: Callable[[], None] = lambda: None) -> Worker:
        worker = Worker(spec.name, Thread(spec), on_death)
        self.spawned.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.spawned:
            worker.close()


class Thread:
    """A link to an actor in a thread. Killed, it is heard of no more."""

    def __init__(self, spec: Spec) -> None:
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self._dead = False
        self._actor = Actor(spec.make, self._emit)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def post(self, call: Call) -> None:
        if self._dead:
            raise BrokenPipeError
        self._actor.post(call)

    def receive(self) -> list[Reply]:
        reply = self._replies.get()
        if reply is None or self._dead:
            raise EOFError
        return [reply]

    def kill(self) -> None:
        self._dead = True
        self._replies.put(None)

    def close(self, timeout: float) -> None:
        self._actor.post(None)
        self._thread.join(timeout)
        self.kill()

    def _emit(self, reply: Reply) -> None:
        if self._dead:
            raise BrokenPipeError
        self._replies.put(reply)

    def _run(self) -> None:
        try:
            self._actor.run()
        except (RuntimeError, BrokenPipeError):
            self.kill()
        except BaseException:  # a defect: it is told, and nobody waits for what will not come
            self.kill()
            raise
