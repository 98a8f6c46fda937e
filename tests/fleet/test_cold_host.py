"""A machine's host: workers for who has its key, none for others, and none that outlive their owner."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from inglenook.__main__ import main
from inglenook.errors import NookError
from inglenook.fleet.cold import channel as channels
from inglenook.fleet.cold.channel import Channel
from inglenook.fleet.cold.machine import There
from inglenook.fleet.cold.remote import HostLost, Remote

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")


@dataclass
class Running:
    """A host's process, and where it listens."""

    process: subprocess.Popen[str]
    address: tuple[str, int]

    def workers(self) -> list[int]:
        """The processes that its zygote has forked."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                if int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found


@contextmanager
def hosting(key: Path, address: str = "127.0.0.1", *before: str, port: int = 0) -> Iterator[Running]:
    """`inglenook fleet host` on an address, as a process; `before` is what its command begins with."""
    command = [sys.executable, "-m", "inglenook", "fleet", "host", "--key", str(key), "--threads", "1"]
    command += ["--listen", f"{address}:{port}"]
    with subprocess.Popen([*before, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            told = process.stdout.readline()
            assert f"had at {address}:" in told
            yield Running(process, (address, int(told.split(address + ":")[1].split(".")[0])))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "fleet.key"
    path.write_text(secrets.token_hex(16) + "\n")
    return path


@pytest.fixture(scope="module")
def host(key: Path) -> Iterator[Running]:
    with hosting(key) as host:
        yield host


@pytest.fixture
def there(host: Running, key: Path) -> Iterator[There]:
    made = There("a", host.address, channels.read_key(key))
    made.wait(20)
    yield made
    made.close()


def wait(until: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def until_it_ends(line: socket.socket) -> None:
    line.settimeout(30)
    with suppress(ConnectionResetError):
        while line.recv(4096):
            pass


def test_workers_are_forked_and_ended(there: There, host: Running) -> None:
    began = time.monotonic()
    one, other = Remote.start(there), Remote.start(there)
    assert time.monotonic() - began < 3, "torch's import alone takes longer"
    assert len(host.workers()) == 2 and one.address[1] != other.address[1]
    assert one.ask("status").result(10)[0]["received"] == 0
    one.kill()
    assert len(host.workers()) == 1 and not other.lost
    other.kill()
    assert not host.workers()


def test_who_has_another_key_gets_nothing(host: Running, there: There) -> None:
    with pytest.raises(NookError, match="has another key") as refused:
        Channel.connect(host.address, b"x" * 32)
    assert refused.value.code == "worker-lost" and refused.value.hint
    other = There("b", host.address, b"x" * 32)
    other.wait(20)
    assert other.problem and "has another key" in other.problem.message
    with pytest.raises(HostLost) as lost:
        Remote.start(other)
    assert lost.value.host == "b" and not host.workers()
    other.close()
    Remote.start(there).kill()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"\x00\x00\x00\x05hello" * 3])
def test_strangers_are_hung_up_on_and_the_host_lives_on(host: Running, there: There, sent: bytes) -> None:
    with socket.create_connection(host.address, 5) as line:
        line.sendall(sent)
        with suppress(OSError):  # it may have hung up already
            line.shutdown(socket.SHUT_WR)
        until_it_ends(line)
    Remote.start(there).kill()


@pytest.mark.parametrize(
    "said", [{}, {"op": "fork"}, {"id": 1}, {"id": 1, "op": "end"}, {"id": 1, "op": "end", "pid": os.getpid()}]
)
def test_what_is_no_message_ends_its_connection(
    host: Running, there: There, key: Path, said: dict[str, object]
) -> None:
    line = Channel.connect(host.address, channels.read_key(key))
    line.send(said)
    with pytest.raises(EOFError):
        line.receive()
    line = Channel.connect(host.address, channels.read_key(key))
    line.send({"id": 1, "op": "dance"})
    assert line.receive()[0]["error"][0] == "protocol"
    line._connection.send_bytes(b"\xff\xff\xff\xff{")
    with pytest.raises(EOFError):
        line.receive()
    line.close()
    Remote.start(there).kill()


def test_who_says_nothing_is_hung_up_on(host: Running) -> None:
    with socket.create_connection(host.address, 5) as line:
        until_it_ends(line)


def test_workers_end_with_their_owner(host: Running, key: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from inglenook.fleet.cold.channel import read_key
from inglenook.fleet.cold.machine import There
from inglenook.fleet.cold.remote import Remote
there = There("a", ({host.address[0]!r}, {host.address[1]}), read_key(Path({str(key)!r})))
there.wait(20)
Remote.start(there), there.fork()
print("forked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout and owner.stdout.readline() == "forked\n"
        assert len(host.workers()) == 2
        owner.kill()
        wait(lambda: not host.workers())


def test_workers_end_with_the_host_which_is_found_again(key: Path) -> None:
    with hosting(key) as host:
        there = There("a", host.address, channels.read_key(key))
        there.wait(20)
        worker = Remote.start(there)
        workers = host.workers()
        assert len(workers) == 1
        host.process.send_signal(signal.SIGKILL)
        wait(lambda: worker.lost and there.problem)
        wait(lambda: not Path(f"/proc/{workers[0]}").exists())
        with pytest.raises(HostLost):
            Remote.start(there)
        worker.kill()
    with hosting(key, port=host.address[1]):
        wait(lambda: not there.problem)
        Remote.start(there).kill()
        there.close()


def silence(line: Channel) -> float:
    """Seconds since something came over a connection (`tcp_info`)."""
    with socket.socket(fileno=os.dup(line._connection.fileno())) as end:
        told = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("12I", told, 8)[11]) / 1e3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tcp_info is Linux's")
def test_a_worker_that_answers_nothing_for_long_is_not_taken_for_gone(there: There, host: Running) -> None:
    """Its kernel gives the sign of life."""
    worker = Remote.start(there)
    [process] = host.workers()
    os.kill(process, signal.SIGSTOP)
    threads = Path(f"/proc/{process}/task")
    wait(lambda: all(path.read_text().rpartition(")")[2].split()[0] == "T" for path in threads.glob("*/stat")))
    answer = worker.ask("status")
    wait(lambda: silence(worker._channel) > 1.5 * channels.GONE)
    assert not worker.lost and not answer.done()
    os.kill(process, signal.SIGCONT)
    assert answer.result(10)[0]["received"] == 0
    worker.kill()


def test_a_host_that_can_fork_no_more_ends(key: Path) -> None:
    with hosting(key) as host:
        [zygote] = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/stat")
            if path.exists() and path.read_text().rpartition(")")[2].split()[1] == str(host.process.pid)
        ]
        os.kill(zygote, signal.SIGKILL)
        assert host.process.wait(10) == 1


def test_a_key_or_an_address_that_is_of_no_use(
    tmp_path: Path, key: Path, host: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short").write_text("abc")
    for name, told in (("gone", "can't be read"), ("short", "is shorter than 16 bytes")):
        assert main(["fleet", "host", "--key", str(tmp_path / name)]) == 1
        assert told in capsys.readouterr().err
    assert main(["fleet", "host", "--key", str(key), "--listen", f"127.0.0.1:{host.address[1]}"]) == 1
    assert "can't be used" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fleet", "host", "--key", str(key), "--listen", "nowhere"])
