"""Machines that fork workers out of a warm zygote: this one, as hosts of a test bed, and others.

here = Here(hosts[0], zygote, key)                    # a host of the test bed
there = There("a", ("10.0.0.2", 4100), key)           # a machine where `inglenook fleet host` runs
forked = there.fork(); forked.address; forked.kill()
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any

from inglenook.errors import NookError
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Address, Channel
from inglenook.fleet.cold.hosts import Host
from inglenook.fleet.cold.remote import Forked, Remote
from inglenook.fleet.cold.zygote import Zygote

ENTRY = "inglenook.fleet.cold.worker:serve"
PRELOAD = ("inglenook.fleet.cold.worker:warm",)
"""What a zygote of workers imports."""
AGAIN = 1.0  # seconds between two tries to reach a machine
PATIENCE = 10.0  # seconds for its answer


class Here:
    """A host of this machine's test bed."""

    problem = None

    def __init__(self, host: Host, zygote: Zygote, key: bytes) -> None:
        self.name, self.key = host.name, key
        self._host, self._zygote = host, zygote

    def fork(self) -> Forked:
        host = self._host
        spec: dict[str, Any] = {"address": host.address, "key": self.key.hex()}
        if host.down:
            spec |= {"down": host.down, "up": host.up, "rate": host.rate}
        child = self._zygote.spawn(ENTRY, spec, host.namespace)
        return Forked((host.address, int((child.told or {})["port"])), child.kill)


class There:
    """The `host.Host` at an address. It is connected with whenever it can be; workers end with the connection."""

    def __init__(self, name: str, address: Address, key: bytes) -> None:
        self.name, self.key = name, key
        self.problem: NookError | None = channels.lost(f"{address[0]}:{address[1]} was not reached yet")
        self._address = address
        self._host: Remote | None = None
        self._tried, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"machine {name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until it was tried to reach it."""
        self._tried.wait(seconds)

    def fork(self) -> Forked:
        host = self._host
        if host is None or host.lost:
            raise self.problem or channels.lost(f"{self.name} has gone")
        try:
            told, _ = host.ask("fork").result(PATIENCE)
        except TimeoutError:
            raise channels.lost(f"{self.name} forks no worker") from None
        return Forked((self._address[0], told["port"]), partial(self._end, host, told["pid"]))

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        if host := self._host:
            host.kill()
        self._thread.join()

    def _end(self, host: Remote, pid: int) -> None:
        with suppress(NookError, TimeoutError):  # it has gone, and the worker with it
            host.ask("end", pid=pid).result(PATIENCE)

    def _keep(self) -> None:
        """Connect, and again when the connection is lost."""
        while not self._closed.is_set():
            try:
                channel = Channel.connect(self._address, self.key)
            except NookError as error:
                self.problem = error
                self._tried.set()
            else:
                self._host = host = Remote(self.name, channel, Forked(self._address, lambda: None))
                self.problem = None
                self._tried.set()
                if self._closed.is_set():
                    host.kill()
                host.join()
                self.problem = channels.lost(f"{self.name} has gone")
            self._closed.wait(AGAIN)
