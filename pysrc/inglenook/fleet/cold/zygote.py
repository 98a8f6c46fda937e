"""A warm process that forks: the runtime is imported once, and a worker starts in milliseconds.

    with Zygote(["inglenook.fleet.cold.worker:warm"]) as zygote:
        child = zygote.spawn("inglenook.fleet.cold.worker:serve", {"address": "10.0.0.2"}, namespace)
        child.told                        # what the worker reported first: where it listens
        child.kill(); child.alive

An entry is a function (spec, report) of a module; a child calls `report` once it is ready. Children end with their
zygote, and it with this process. NookError("worker-lost"): a child ended before it reported, or the zygote is gone.

What HydraServe (2502.15524) gains by starting a runtime beside the fetch, a zygote gains before it; the idea is
Android's, and SOCK's for serverless Python (Oakes et al., ATC'18).
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.fleet.cold import namespace as namespaces

LARGEST = 1 << 16  # bytes of a message between a zygote and its owner
PATIENCE = 60.0  # seconds: for the imports of a zygote, for the first report of a child

Report = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Child:
    """A process that was forked: its number, what it reported, and once it has ended its exit status."""

    zygote: Zygote = field(repr=False)
    pid: int
    told: dict[str, Any] | None = None
    status: int | None = None

    @property
    def alive(self) -> bool:
        return self.status is None

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        self.zygote.kill(self)


class Zygote:
    """`preload` are modules, or functions of modules ("module:function"), imported or called before any fork."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "inglenook.fleet.cold.zygote", str(theirs.fileno()), *preload]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        self._children: dict[int, Child] = {}
        self._pids: list[int] = []
        self._ready = self._gone = False
        self._asking = threading.Lock()
        self._heard = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Until the imports are done; `spawn` waits, too."""
        with self._heard:
            self._heard.wait_for(lambda: self._ready or self._gone, PATIENCE)
            if not self._ready:
                raise _lost("The zygote did not start.")

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def spawn(self, entry: str, spec: Mapping[str, Any], namespace: str = "") -> Child:
        """Fork a child that runs `entry` with `spec` (JSON), in a network namespace (a path); wait for its report."""
        self.wait()
        with self._asking:
            self._send({"entry": entry, "spec": spec, "namespace": namespace})
            with self._heard:
                self._heard.wait_for(lambda: self._pids or self._gone, PATIENCE)
                if not self._pids:
                    raise _lost("The zygote is gone.")
                child = self._children[self._pids.pop()]
        with self._heard:
            self._heard.wait_for(lambda: child.told is not None or not child.alive or self._gone, PATIENCE)
            if child.told is None:
                raise _lost(f"A worker ended before it was ready (status {child.status}).")
        return child

    def kill(self, child: Child) -> None:
        """See `Child.kill`."""
        with self._heard:
            if child.alive and not self._gone:
                self._send({"kill": child.pid})
                self._heard.wait_for(lambda: not child.alive or self._gone, PATIENCE)

    def close(self) -> None:
        """End all children and the zygote."""
        self._socket.shutdown(socket.SHUT_WR)
        self._process.wait()
        self._thread.join()
        self._socket.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError as error:
            raise _lost("The zygote is gone.") from error

    def _listen(self) -> None:
        while data := self._receive():
            said = json.loads(data)
            with self._heard:
                match said:
                    case {"ready": _}:
                        self._ready = True
                    case {"forked": pid}:
                        self._children[pid] = Child(self, pid)
                        self._pids.append(pid)
                    case {"pid": pid, "told": told}:
                        self._children[pid].told = told
                    case {"ended": pid, "status": status}:
                        self._children.pop(pid).status = status
                self._heard.notify_all()
        with self._heard:
            self._gone = True
            for child in self._children.values():
                child.status = -signal.SIGKILL if child.status is None else child.status
            self._heard.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(LARGEST)
        except OSError:
            return b""


def _lost(what: str) -> NookError:
    return NookError("worker-lost", what, "It can be tried again; its output tells why.")


def _named(name: str) -> Any:
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    return getattr(found, function) if function else None


def _main(control: socket.socket, preload: Sequence[str]) -> None:
    """The zygote's process: import, then fork as told until the owner hangs up."""
    namespaces.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for its owner, who ends it and its children
    for name in preload:
        if called := _named(name):
            called()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    say: Report = lambda message: void(control.send(json.dumps(message).encode()))
    children: set[int] = set()
    say({"ready": True})
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            for pid in [*children]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    children.remove(pid)
                    say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
        if control.fileno() in readable:
            data = control.recv(LARGEST)
            if not data:
                break
            asked = json.loads(data)
            if "kill" in asked:
                if asked["kill"] in children:
                    os.kill(asked["kill"], signal.SIGKILL)
                continue
            told_read, told_write = os.pipe()  # the child's number is told before the child can report
            pid = os.fork()
            if not pid:
                os.close(told_write)
                os.read(told_read, 1)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _child(control, asked)
            children.add(pid)
            say({"forked": pid})
            os.close(told_write)
            os.close(told_read)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _child(control: socket.socket, asked: Mapping[str, Any]) -> None:
    """A forked child; never returns."""
    status = 1
    try:
        namespaces.die_with_parent()
        if asked["namespace"]:
            namespaces.enter(asked["namespace"])
        pid = os.getpid()
        report: Report = lambda told: void(control.send(json.dumps({"pid": pid, "told": told}).encode()))
        _named(asked["entry"])(asked["spec"], report)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def void(_: object) -> None:
    """Nothing, whatever it is given."""


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
