"""The process of a machine that has workers forked for whoever knows its key: `inglenook fleet host`.

    with Host(("10.0.0.2", 4100), key) as host: host.run()

    fork {}        a worker of this machine, warm and with the same key: {"port": …, "pid": …}
    end {pid}      end it

Each is answered as a worker's messages are. Workers end when the connection does that had them forked, and with this
process. What is no such message ends its connection. Connections are authenticated, not encrypted: they are for a
network of one's own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Address
from inglenook.fleet.cold.machine import ENTRY, PRELOAD
from inglenook.fleet.cold.zygote import Child, Zygote

STRANGERS = 64  # connections at a time that have not proved the key yet


class Host:
    """Listens at `address` (port 0: at a free one); its workers have `threads` for their numerics. Raises
    NookError("port")."""

    def __init__(self, address: Address, key: bytes, threads: int = 1) -> None:
        try:
            self._listener = channels.listen(*address)
        except OSError as error:
            hint = "Give an address of this machine, and a port that is free."
            raise NookError("port", f"{address[0]}:{address[1]} can't be used: {error.strerror}.", hint) from error
        self.address: Address = self._listener.address
        self._key, self._threads = key, threads
        self._zygote = Zygote(PRELOAD)
        self._doors = threading.Semaphore(STRANGERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._zygote.close()

    def wait(self) -> None:
        """Until workers can be forked. Raises NookError("worker-lost"): what they need can't be imported."""
        self._zygote.wait()

    def run(self) -> None:
        """Serve, for good. Raises NookError("worker-lost") when no more workers can be forked."""
        threading.Thread(target=self._accept, daemon=True).start()
        self._zygote.join()
        raise NookError("worker-lost", "What workers are forked from has ended.", "Start the host again.")

    def _accept(self) -> None:
        while True:
            self._doors.acquire()
            try:
                connection = self._listener.accept()
            except ConnectionError:  # they left before they were let in
                self._doors.release()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        """One owner, until he goes."""
        try:
            channel = channels.accept(connection, self._key)
        except NookError:
            return
        finally:
            self._doors.release()
        children: dict[int, Child] = {}
        try:
            for said, _ in channel:
                number = said["id"]
                try:
                    told = self._do(said, children)
                except NookError as error:
                    told = {"error": [error.code, error.message, error.hint]}
                channel.send({"re": number, **told})
        except (NookError, LookupError, TypeError):
            pass  # it was no message, or nobody is there any more
        finally:
            channel.close()
            for child in children.values():
                child.kill()

    def _do(self, said: Mapping[str, Any], children: dict[int, Child]) -> dict[str, Any]:
        match said["op"]:
            case "fork":
                spec = {"address": self.address[0], "key": self._key.hex(), "threads": self._threads}
                child = self._zygote.spawn(ENTRY, spec)
                children[child.pid] = child
                return {"port": (child.told or {})["port"], "pid": child.pid}
            case "end":
                children.pop(said["pid"]).kill()
                return {}
            case op:
                raise NookError("protocol", f"A host knows no {op!r}.", "Run one version on all machines.")
