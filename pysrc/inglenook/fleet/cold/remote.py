"""A worker in another process, as its owner sees it: questions, answers, and that it has gone.

remote = Remote.start(zygote, host, key)
remote.ask("load", …).result()           # (answer, blobs), or NookError
remote.lost                              # it ended; all that was asked failed with NookError("worker-lost")
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Address, Channel, Message
from inglenook.fleet.cold.hosts import Host
from inglenook.fleet.cold.zygote import Child, Zygote

ENTRY = "inglenook.fleet.cold.worker:serve"
PRELOAD = ("inglenook.fleet.cold.worker:warm",)
"""What a zygote of workers imports."""
_numbers = itertools.count(1)


class Remote:
    """The owner's end of one worker."""

    def __init__(self, host: Host, address: Address, channel: Channel, child: Child | None = None) -> None:
        self.host, self.address, self.child = host, address, child
        self.lost = False
        self._channel = channel
        self._waiting: dict[int, Future[Message]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, zygote: Zygote, host: Host, key: bytes) -> Self:
        """Fork a worker into `host`, and connect. Raises NookError("worker-lost")."""
        spec: dict[str, Any] = {"address": host.address, "key": key.hex()}
        if host.down:
            spec |= {"down": host.down, "up": host.up, "rate": host.rate}
        child = zygote.spawn(ENTRY, spec, host.namespace)
        address = (host.address, int((child.told or {})["port"]))
        return cls(host, address, Channel.connect(address, key), child)

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
            self._fail(future)
        return future

    def kill(self) -> None:
        """End the worker."""
        if self.child:
            self.child.kill()
        self._channel.close()
        self._thread.join()

    def _listen(self) -> None:
        with contextlib.suppress(NookError):
            for said, blobs in self._channel:
                if future := self._waiting.get(said["re"]):
                    with contextlib.suppress(InvalidStateError):
                        if "error" in said:
                            future.set_exception(NookError(*said["error"]))
                        else:
                            future.set_result((said, blobs))
        with self._lock:
            self.lost = True
            waiting = [*self._waiting.values()]
        for future in waiting:
            self._fail(future)

    def _fail(self, future: Future[Message]) -> None:
        with contextlib.suppress(InvalidStateError):
            future.set_exception(channels.lost(f"The worker on {self.host.name} has ended"))
