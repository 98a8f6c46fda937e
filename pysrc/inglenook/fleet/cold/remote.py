"""A worker in another process, as its owner sees it: questions, answers, and that it has gone.

remote = Remote.start(machine)
remote.ask("load", …).result()           # (answer, blobs), or NookError
remote.lost                              # it ended; all that was asked failed with NookError("worker-lost")

`machine` has the kinds of machines there are.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Protocol, Self

from inglenook.errors import NookError
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Address, Channel, Message

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Forked:
    """A process that was forked: where it listens, and how it is ended."""

    address: Address
    kill: Callable[[], None]


class Machine(Protocol):
    """Where workers are forked, which know `key`, as all of one fleet do. `problem`: why that can't be asked now."""

    name: str
    key: bytes
    problem: NookError | None

    def fork(self) -> Forked:
        """A worker that listens. Raises NookError("worker-lost")."""


class HostLost(NookError):
    """A worker could not be started on the machine called `host`."""

    def __init__(self, host: str, why: NookError) -> None:
        self.host = host
        super().__init__("worker-lost", why.message, why.hint)


class Remote:
    """The owner's end of one worker, on the machine called `host`."""

    def __init__(self, host: str, channel: Channel, forked: Forked) -> None:
        self.host, self.forked = host, forked
        self.lost = False
        self._channel = channel
        self._waiting: dict[int, Future[Message]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, machine: Machine) -> Self:
        """Fork a worker on a machine, and connect. Raises HostLost."""
        try:
            forked = machine.fork()
            try:
                return cls(machine.name, Channel.connect(forked.address, machine.key), forked)
            except NookError:
                forked.kill()
                raise
        except NookError as error:
            raise HostLost(machine.name, error) from error

    @property
    def address(self) -> Address:
        """Where it is for other workers."""
        return self.forked.address

    def ask(self, op: str, *blobs: bytes, also: Sequence[Remote] = (), **said: Any) -> Future[Message]:
        """The answer is (said, blobs), its exception a NookError. `also` are workers that may answer in place of this
        one; if any of them is lost, so is the answer."""
        number, future = next(_numbers), Future[Message]()
        asked = (self, *also)
        future.add_done_callback(lambda _: [remote._waiting.pop(number, None) for remote in asked])
        for remote in asked:
            with remote._lock:
                if not remote.lost:
                    remote._waiting[number] = future
                    continue
            remote._fail(future)
            return future
        try:
            self._channel.send({"op": op, "id": number, **said}, *blobs)
        except NookError:
            self._lose()
        return future

    def join(self) -> None:
        """Wait until it is lost."""
        self._thread.join()

    def kill(self) -> None:
        """End the worker."""
        self.forked.kill()
        self._channel.close()
        self.join()

    def _listen(self) -> None:
        with contextlib.suppress(NookError):
            for said, blobs in self._channel:
                if future := self._waiting.get(said["re"]):
                    with contextlib.suppress(InvalidStateError):
                        if "error" in said:
                            future.set_exception(NookError(*said["error"]))
                        else:
                            future.set_result((said, blobs))
        self._lose()

    def _lose(self) -> None:
        with self._lock:
            self.lost = True
            waiting = [*self._waiting.values()]
        for future in waiting:
            self._fail(future)

    def _fail(self, future: Future[Message]) -> None:
        with contextlib.suppress(InvalidStateError):
            future.set_exception(channels.lost(f"The worker on {self.host} has ended"))
