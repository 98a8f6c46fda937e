"""A test bed: several hosts on one machine, each behind a slow network of its own.

    with Hosts.open(4, rate=10e6) as hosts:       # bytes/s, in each direction
        print(hosts.kind)                         # "namespaces", or "user-space buckets" without root
        hosts[0].namespace, hosts[0].address; hosts.gateway      # this side's address, not throttled

With root each host is a network namespace, joined to a bridge by a veth pair whose both ends pass a token bucket (tc
tbf) of at most 16 KB: a larger one lets a whole activation through at full speed. Without root there is one token
bucket per host and direction in user space, shared by all flows and processes of that host (`Bucket`; what reads or
writes a socket there takes from it). Namespaces are removed when the test bed closes; those of a process that was
killed, when the next one opens.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from inglenook.errors import NookError
from inglenook.fleet.cold import namespace as namespaces

BURST = 16 << 10  # bytes that pass a bucket at once
NETNS = Path("/var/run/netns")
_OURS = re.compile(r"nook(\d+)-\d+")


class Bucket:
    """A token bucket of `rate` bytes/s that processes share through a file (the generic cell rate algorithm)."""

    def __init__(self, path: Path | str, rate: float) -> None:
        self.rate = rate
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, 8)
        self._map = mmap.mmap(self._file, 8)
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Wait until `size` bytes may pass."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                now = time.monotonic()
                due = max(struct.unpack("<d", self._map[:8])[0], now - BURST / self.rate) + size / self.rate
                self._map[:8] = struct.pack("<d", due)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        if due > now:
            time.sleep(due - now)


@dataclass(frozen=True, slots=True)
class Host:
    """A host: its address, and its network namespace or ("") the files of its buckets, of `rate` bytes/s."""

    name: str
    address: str
    namespace: str = ""
    down: str = ""
    up: str = ""
    rate: float = 0.0


class Hosts(Sequence[Host]):
    """The hosts; `gateway` is the address at which they reach this side; `rate` in bytes/s."""

    def __init__(self, kind: str, hosts: Sequence[Host], gateway: str, rate: float) -> None:
        self.kind, self.gateway, self.rate = kind, gateway, rate
        self._hosts = tuple(hosts)
        self._folder = ""

    def __getitem__(self, index: int) -> Host:  # type: ignore[override]
        return self._hosts[index]

    def __len__(self) -> int:
        return len(self._hosts)

    @classmethod
    def open(cls, count: int, rate: float, *, namespaces: bool | None = None) -> Self:
        """Set up `count` hosts, with `namespaces` or buckets (None: whichever can be had)."""
        if available() if namespaces is None else namespaces:
            return cls._namespaces(count, rate)
        folder = tempfile.mkdtemp(prefix="nook-hosts-")
        hosts = [
            Host(f"h{i}", f"127.0.0.{i + 2}", "", f"{folder}/{i}.down", f"{folder}/{i}.up", rate) for i in range(count)
        ]
        made = cls("user-space buckets", hosts, "127.0.0.1", rate)
        made._folder = folder
        return made

    @classmethod
    def _namespaces(cls, count: int, rate: float) -> Self:
        _sweep()
        me = os.getpid()
        bridge, net = f"nook{me}", f"10.{64 + me // 256 % 64}.{me % 256}"
        hosts = [Host(f"h{i}", f"{net}.{i + 2}", str(NETNS / f"nook{me}-{i}")) for i in range(count)]
        made = cls("namespaces", hosts, f"{net}.1", rate)
        shape = f"tbf rate {int(rate * 8)}bit burst {BURST} latency 50ms"
        try:
            _run(
                f"ip link add {bridge} type bridge", f"ip addr add {net}.1/24 dev {bridge}", f"ip link set {bridge} up"
            )
            for i, host in enumerate(hosts):
                name, out = Path(host.namespace).name, f"nv{me}-{i}"
                inside = f"ip -n {name}"
                _run(
                    f"ip netns add {name}",
                    f"ip link add {out} type veth peer name eth0 netns {name}",
                    f"ip link set {out} master {bridge} up",
                    f"{inside} addr add {host.address}/24 dev eth0",
                    f"{inside} link set eth0 up",
                    f"{inside} link set lo up",
                    f"tc qdisc add dev {out} root {shape}",
                    f"tc -n {name} qdisc add dev eth0 root {shape}",
                )
        except BaseException:
            made.close()
            raise
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take it all down."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            _remove(os.getpid())

    def probe(self, host: Host, size: int = 2_000_000) -> tuple[float, float]:
        """Bytes/s (down, up) of a flow of `size` bytes, by the sender's clock, less what a bucket lets through at
        once: a busy machine makes it less, never more."""
        return self._flow(host, size, down=True), self._flow(host, size, down=False)

    def _flow(self, host: Host, size: int, *, down: bool) -> float:
        listener = socket.create_server((self.gateway, 0))
        measured: list[float] = []
        bucket = Bucket(host.down if down else host.up, self.rate).take if host.down else lambda size: None

        def there() -> None:
            if host.namespace:
                namespaces.enter(host.namespace)
            with socket.create_connection(listener.getsockname()[:2], 10) as end:
                if down:
                    _drain(end, size, bucket)
                else:
                    measured.append(_send(end, size, bucket))

        thread = threading.Thread(target=there, daemon=True)
        thread.start()
        with listener, listener.accept()[0] as end:
            if down:
                measured.append(_send(end, size, lambda size: None))
            else:
                _drain(end, size, lambda size: None)
            thread.join()
        return measured[0]


def available() -> bool:
    """Whether this process may make network namespaces and shape them."""
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("ip") and shutil.which("tc")):
        return False
    name = f"nook{os.getpid()}-99"
    try:
        _run(f"ip netns add {name}", f"ip netns del {name}")
    except NookError:
        return False
    return True


def _run(*commands: str) -> None:
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            hint = "Hosts in namespaces need root, ip and tc; without them use buckets."
            raise NookError("hosts", f"{command}: {done.stderr.strip() or done.returncode}.", hint)


def _remove(pid: int) -> None:
    """The namespaces, veth pairs and bridge of a process. The kernel takes a namespace's devices away some time after
    it has gone, so a pair is deleted by name: what opens next may want that name."""
    names = [path.name for path in NETNS.iterdir()] if NETNS.is_dir() else []
    for name in names:
        if (ours := _OURS.fullmatch(name)) and int(ours[1]) == pid:
            subprocess.run(["ip", "link", "del", f"nv{name[4:]}"], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", f"nook{pid}"], capture_output=True, check=False)


def _sweep() -> None:
    """Remove what processes that are gone have left."""
    names = [path.name for path in NETNS.iterdir()] if NETNS.is_dir() else []
    for pid in {int(ours[1]) for name in names if (ours := _OURS.fullmatch(name))}:
        if not Path(f"/proc/{pid}").exists():
            _remove(pid)


def _drain(end: socket.socket, size: int, pace: Callable[[int], None]) -> None:
    """Take what comes, and say when it was all."""
    left = size
    while left:
        pace(min(BURST, left))
        piece = end.recv(min(BURST, left), socket.MSG_WAITALL)
        if not piece:
            return
        left -= len(piece)
    end.sendall(b".")


def _send(end: socket.socket, size: int, pace: Callable[[int], None]) -> float:
    """Send it and wait until the other side has it all; bytes/s after the first burst."""
    began, data = time.monotonic(), bytes(BURST)
    for at in range(0, size, BURST):
        pace(min(BURST, size - at))
        end.sendall(data[: size - at])
    end.recv(1)
    return (size - BURST) / (time.monotonic() - began)
