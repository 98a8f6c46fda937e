"""Frames between workers: what is sent arrives, queues are bounded, and what goes wrong is told at both ends."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.fleet import frame as frames
from inglenook.fleet.bounded import Bounded
from inglenook.fleet.frame import Frame
from inglenook.fleet.lanes import SLOT, SLOTS
from inglenook.fleet.transport import Transport, connect, listen

TORCH = importlib.util.find_spec("torch") is not None
SCHEMES = [
    "tcp",
    pytest.param("shm", marks=pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="no sockets of Unix")),
    pytest.param(
        "gloo", marks=pytest.mark.skipif(not TORCH, reason="torch is not there: `build.py test cluster` installs it")
    ),
]
PATIENCE = 30.0


def address(scheme: str, folder: Path) -> str:
    return f"shm://{folder}/s.sock" if scheme == "shm" else f"{scheme}://127.0.0.1:0"


@pytest.fixture(params=SCHEMES)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Transport, Transport]]:
    with listen(address(request.param, tmp_path), bound=1 << 16) as listener, ThreadPoolExecutor(1) as beside:
        accepted = beside.submit(listener.accept, PATIENCE)
        one = connect(listener.address, bound=1 << 16)
        other = accepted.result(PATIENCE)
    assert not (tmp_path / "s.sock").exists()
    yield one, other
    for end in (one, other):
        end.close()


def caught(code: str, call) -> NookError:
    with pytest.raises(NookError) as error:
        call()
    assert error.value.code == code and error.value.hint
    return error.value


def test_what_is_sent_arrives_in_order_both_ways(ends: tuple[Transport, Transport]) -> None:
    random = np.random.default_rng(0)
    arrays = [
        np.zeros((0, 4), np.float32), np.array(3.5), random.integers(0, 9, (3, 5)), np.arange(7, dtype=np.uint8),
        random.normal(size=(SLOTS + 3, SLOT // 4)).astype(np.float32), random.normal(size=(2, 3)).astype(np.float16).T,
    ]  # fmt: skip
    for sender, receiver in (ends, ends[::-1]):
        work = threading.Thread(target=lambda s=sender: [s.send(Frame.of(a, i=i)) for i, a in enumerate(arrays)])
        work.start()
        for i, array in enumerate(arrays):
            got = receiver.recv(PATIENCE)
            assert got.said == {"i": i} and got.array().dtype == array.dtype and np.array_equal(got.array(), array)
        work.join()


def test_both_may_send_before_anybody_receives(ends: tuple[Transport, Transport]) -> None:
    array = np.arange(1 << 20, dtype=np.float32)
    for end in ends:
        end.send(Frame.of(array), PATIENCE)
    for end in ends:
        assert np.array_equal(end.recv(PATIENCE).array(), array)


def test_who_does_not_receive_stops_who_sends(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    piece, sent = np.zeros(1 << 20, np.uint8), 0
    with pytest.raises(NookError) as slow:
        for sent in range(1000):
            piece[0] = sent % 256
            sender.send(Frame.of(piece.copy()), timeout=0.5)
    assert slow.value.code == "transport-slow" and sent < 20  # what sockets and slots hold, and a frame on each side
    assert [receiver.recv(PATIENCE).array()[0] for _ in range(sent)] == list(range(sent))
    sender.send(Frame.of(piece), PATIENCE)
    receiver.recv(PATIENCE)
    caught("transport-slow", lambda: receiver.recv(0.05))


def test_an_end_is_told_after_what_was_sent(ends: tuple[Transport, Transport]) -> None:
    one, other = ends
    for i in range(3):
        one.send(Frame.of(np.array([i])))
    one.close()
    assert [int(other.recv(PATIENCE).array()[0]) for _ in range(3)] == [0, 1, 2]
    caught("transport-closed", lambda: other.recv(PATIENCE))
    caught("transport-closed", lambda: one.send(Frame.of(np.array([1]))))
    caught("transport-closed", lambda: one.recv())
    with pytest.raises(NookError) as gone:
        for _ in range(1000):
            other.send(Frame.of(np.zeros(1 << 16, np.uint8)), PATIENCE)
    assert gone.value.code == "transport-closed"


ENDLESS = """
import sys
import numpy as np
from inglenook.fleet.transport import Frame, connect
end = connect(sys.argv[1])
while True:
    end.send(Frame.of(np.ones(10)))
"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_who_waits_is_told_when_the_other_is_killed(scheme: str, tmp_path: Path) -> None:
    with listen(address(scheme, tmp_path)) as listener:
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen([sys.executable, "-c", ENDLESS, listener.address], env=path) as process:
            end = listener.accept(10 * PATIENCE)
            assert end.recv(PATIENCE).array().sum() == 10
            process.kill()
    with pytest.raises(NookError) as gone:
        while True:
            end.recv(PATIENCE)
    assert gone.value.code == "transport-closed"
    end.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n....",
        frames.LENGTHS.pack(frames.MAGIC, frames.HEAD + 1, 0),
        frames.LENGTHS.pack(frames.MAGIC, 2, frames.DATA + 1),
        frames.LENGTHS.pack(frames.MAGIC, 2, 0) + b"[]",
        frames.LENGTHS.pack(frames.MAGIC, 2, 0) + b"{{",
    ],
)
def test_what_is_no_frame_ends_the_connection(sent: bytes) -> None:
    with listen("tcp://127.0.0.1:0") as listener:
        host, port = listener.address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as peer:
            end = listener.accept(PATIENCE)
            peer.sendall(sent)
            caught("protocol", lambda: end.recv(PATIENCE))
            caught("transport-closed", lambda: end.send(Frame.of(np.ones(1))))
            peer.settimeout(PATIENCE)
            assert peer.recv(1) == b""
        end.close()


@settings(max_examples=100)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda told: json.dumps(told).encode(),
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["F32", "U8", "X", 3]), "said": st.sampled_from([{}, [], 1])},
                optional={
                    "shape": st.one_of(st.integers(), st.lists(st.one_of(st.integers(-2, 9), st.floats()), max_size=3))
                },
            ),
        ),
    ),
    st.integers(0, 100),
)
def test_any_head_is_read_or_refused(text: bytes, size: int) -> None:
    try:
        frame = frames.read_head(text, size)
    except NookError as error:
        assert error.code == "protocol"
    else:
        assert isinstance(frame.said, dict) and int(np.prod(frame.shape)) * frames.KINDS[frame.kind] == size


def test_frames_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    caught("too-large", lambda: Frame.of(np.ones(1), text="x" * frames.HEAD).head())
    monkeypatch.setattr(frames, "DATA", 7)
    caught("too-large", lambda: Frame.of(np.ones(1)).head())
    caught("protocol", lambda: Frame.of(np.ones(1, np.complex64)))
    caught("protocol", lambda: Frame("BF16", (2,), memoryview(bytes(4)), {}).array())


@pytest.mark.parametrize("where", ["nccl://0", "tcp://", "tcp://host", "tcp://host:x", "shm://", "x"])
def test_other_transports_are_refused(where: str) -> None:
    for use in (listen, connect):
        caught("transport-unsupported", lambda use=use: use(where))


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with listen("tcp://127.0.0.1:0") as listener:
        caught("transport-slow", lambda: listener.accept(0.05))
        where = listener.address
    caught("transport-closed", lambda: connect(where))
    caught("transport-closed", lambda: connect(f"shm://{tmp_path}/none"))


def test_connections_leave_nothing_open(tmp_path: Path) -> None:
    def cycle() -> None:
        with listen(address("shm", tmp_path)) as listener:
            one = connect(listener.address)
            other = listener.accept(PATIENCE)
        one.send(Frame.of(np.ones(3)))
        assert other.recv(PATIENCE).array().sum() == 3
        one.close()
        other.close()
        gc.collect()

    cycle()
    opened = Path("/proc/self/fd")
    before = len([*opened.iterdir()]) if opened.exists() else 0
    for _ in range(3):
        cycle()
    assert not before or len([*opened.iterdir()]) == before


def test_a_queue_takes_what_is_larger_than_itself_alone() -> None:
    queue: Bounded[str] = Bounded(10)
    queue.put("large", 50)
    caught("transport-slow", lambda: queue.put("small", 1, 0.01))
    assert queue.get() == "large" and queue.held == 0
    queue.put("small", 6)
    queue.put("small", 4)
    caught("transport-slow", lambda: queue.put("small", 1, 0.01))
    queue.end(NookError("over", "It is over.", "So it is."))
    assert queue.get() == queue.get() == "small"
    caught("over", queue.get)
    caught("over", lambda: queue.put("small", 1))
