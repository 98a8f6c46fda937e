"""A nook in a file: whatever happens to the writer, what was acknowledged is there."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inglenook.errors import NookError
from inglenook.index import container
from inglenook.platform.native import store as native
from inglenook.platform.native.store import FileStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notes.nook"


def everything(path):
    with FileStore(path, readonly=True) as store:
        return store.scan("")


def test_the_life_of_a_store(path):
    with FileStore(path) as store:
        assert store.scan("") == {} and store.get(["a"]) == [None]
        store.commit({"d/2": b"two", "d/1": b"one", "x/1": b""}, [])
        store.commit({"d/2": b"TWO"}, ["d/1", "d/2", "nothing"])
        assert store.get(["d/2", "d/1", "x/1", "d/2"]) == [b"TWO", None, b"", b"TWO"]
        assert list(store.scan("d/")) == ["d/2"] and store.size() == path.stat().st_size
    with FileStore(path) as store:
        assert store.scan("") == {"d/2": b"TWO", "x/1": b""}
    assert container.read(path.read_bytes()) == {"d/2": b"TWO", "x/1": b""}  # the file itself is an export


def test_an_export_is_a_store(path):
    path.write_bytes(container.write({"a": b"1", "b": b"2"}))
    with FileStore(path) as store:
        store.commit({"c": b"3"}, ["a"])
    assert everything(path) == {"b": b"2", "c": b"3"}


def test_cut_at_every_byte(path, monkeypatch):
    """The file as it is after each byte was written: the last commit that is whole counts, all of it or none."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    rng = random.Random(1)
    states, sizes, state = [{}], [0], {}
    with FileStore(path) as store:
        for n in range(14):
            puts = {f"d/{rng.randrange(12)}": rng.randbytes(rng.randrange(80)) for _ in range(rng.randrange(1, 5))}
            gone = [f"d/{rng.randrange(12)}"] if n % 3 == 0 else []
            store.commit(puts, gone)
            state = {key: page for key, page in (state | puts).items() if key not in gone or key in puts}
            states.append(state)
            sizes.append(path.stat().st_size)
    data, cut = path.read_bytes(), path.with_name("cut.nook")
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        expected = states[max(n for n, end in enumerate(sizes) if end <= size)]
        assert everything(cut) == expected, size
    for size in range(0, len(data), 29):  # and it goes on from there
        cut.write_bytes(data[:size])
        expected = states[max(n for n, end in enumerate(sizes) if end <= size)]
        with FileStore(cut) as store:
            store.commit({"new": b"page"}, [])
        assert everything(cut) == expected | {"new": b"page"}


@pytest.mark.parametrize("filler", [b"\0", b"\xff", container.END])
def test_garbage_behind_the_last_commit(path, filler):
    """Blocks that a file system allotted and never filled; bytes that look like an end."""
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
    with path.open("ab") as file:
        file.write(filler * (1_300_000 // len(filler) ** 2))
    with FileStore(path) as store:
        assert store.scan("") == {"a": b"1"}
        store.commit({"b": b"2"}, [])
    assert everything(path) == {"a": b"1", "b": b"2"}


def test_a_nook_inside_a_nook(path):
    """A page may hold a whole .nook file, footer and all, and be the last thing written before a kill."""
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
        before = path.stat().st_size
        store.commit({"s/1": path.read_bytes()}, [])
    data = path.read_bytes()
    path.write_bytes(data[: before + before])  # the inner file is whole, the outer commit is not
    assert everything(path) == {"a": b"1"}


@pytest.mark.parametrize("commits", [1, 3])
def test_a_cut_export_is_not_an_empty_nook(path, commits):
    data = container.write({f"k{n}": bytes(100) for n in range(commits)})
    for size in (container.HEADER.size + 80, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(NookError) as error:
            FileStore(path)
        assert error.value.code == "truncated" and path.read_bytes() == data[:size]


def test_other_files_are_left_alone(path):
    newer = bytearray(container.write({"a": b"1"}))
    newer[4] = 99
    for content, code in ((b"my diary", "corrupt"), (b"%PDF-1.7" + bytes(500), "corrupt"), (newer, "newer-format")):
        path.write_bytes(content)
        with pytest.raises(NookError) as error:
            FileStore(path)
        assert error.value.code == code and error.value.hint and path.read_bytes() == content
    with pytest.raises(NookError) as error:
        FileStore(path.parent / "none.nook", readonly=True)
    assert error.value.code == "no-nook"
    with pytest.raises(NookError) as error:
        FileStore(path.parent / "no folder" / "x.nook")
    assert error.value.code == "no-nook"


WRITER = """
import random, sys
from inglenook.platform.native import store as native
native.SMALL = 20_000  # compact often
store, rng = native.FileStore(sys.argv[1]), random.Random(int(sys.argv[2]))
for n in range(10**9):
    # both pages say n: a commit that is torn would show; the filler is replaced each time, so garbage grows
    store.commit({"a": b"%d" % n, f"f/{n % 7}": rng.randbytes(rng.randrange(4000)), "z": b"%d" % n}, [f"f/{n % 5}"])
    print(n, flush=True)
"""


def test_kill_while_writing(path):
    """SIGKILL at arbitrary moments, compactions included: nothing acknowledged is lost, nothing is half there."""
    environment = os.environ | {"PYTHONPATH": str(Path(native.__file__).parents[3])}
    rng = random.Random(7)
    for attempt in range(12):
        command = [sys.executable, "-c", WRITER, str(path), str(attempt)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        first = writer.stdout.readline()
        deadline = time.monotonic() + rng.uniform(0.0, 0.15)
        while time.monotonic() < deadline:
            pass
        writer.send_signal(signal.SIGKILL)
        lines = (first + writer.stdout.read()).decode().split("\n")
        writer.wait()
        acknowledged = int(lines[-2])
        with FileStore(path) as store:
            a, z = store.get(["a", "z"])
            assert a == z and int(a) in (acknowledged, acknowledged + 1)
            assert set(store.scan("f/")) <= {f"f/{n}" for n in range(7)}
            store.commit({}, ["a"])
        everything(path)


def test_one_writer_many_readers(path):
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
        with pytest.raises(NookError) as error:
            FileStore(path)
        assert error.value.code == "locked"
        with FileStore(path, readonly=True) as reader:
            store.commit({"a": b"2"}, [])
            store.compact()
            with pytest.raises(NookError) as error:
                FileStore(path)  # the lock moved to the new file
            assert error.value.code == "locked"
            assert reader.get(["a"]) == [b"1"]  # as it was when it was opened
            with pytest.raises(NookError) as error:
                reader.commit({"a": b"3"}, [])
            assert error.value.code == "read-only"
    assert everything(path) == {"a": b"2"}
    FileStore(path).close()


def test_a_file_is_compacted_when_half_of_it_is_garbage(path, monkeypatch):
    monkeypatch.setattr(native, "SMALL", 10_000)
    page = random.Random(0).randbytes(3000)
    with FileStore(path) as store:
        for n in range(100):
            store.commit({f"k{n % 3}": page, "n": b"%d" % n}, [])
            assert store.size() <= 2 * (3 * 3000 + 10_000) + 4000
        assert path.stat().st_size == store.size()
    assert everything(path) == {"k0": page, "k1": page, "k2": page, "n": b"99"}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_many_small_commits_open_quickly(path, monkeypatch):
    """Directories are merged now and then, so opening reads no more entries than twice the pages."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with FileStore(path) as store:
        for n in range(1500):
            store.commit({f"d/{n % 100}": b"%d" % n}, [])
    with FileStore(path, readonly=True) as store:
        assert store._log.told <= 2 * 100 + native.SLACK
        assert store.get(["d/99"]) == [b"1499"]
    assert container.read(path.read_bytes()) == everything(path)


@pytest.mark.parametrize("after", [0, 10, 200, 1000, 1060])
def test_a_full_disk_takes_nothing_away(path, monkeypatch, after):
    """The disk takes some bytes of a commit and then no more: the store says so and is as it was."""
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
        before = path.read_bytes()
        left = [after]

        def write(file, data):
            taken = data[: left[0]]
            left[0] -= file.write(taken)
            if len(taken) < len(data):
                raise OSError(errno.ENOSPC, "No space left on device")
            return len(data)

        with monkeypatch.context() as full:
            full.setattr(native, "_write", write)
            with pytest.raises(NookError) as error:
                store.commit({"a": b"2", "b": bytes(1000)}, ["a"])
        assert error.value.code == "quota" and error.value.hint
        assert store.scan("") == {"a": b"1"} and path.read_bytes() == before
        store.commit({"b": b"3"}, [])
    assert everything(path) == {"a": b"1", "b": b"3"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_first_commit_on_a_full_disk(path, monkeypatch):
    with FileStore(path) as store:
        with Path("/dev/full").open("wb", buffering=0) as full:
            monkeypatch.setattr(native, "_write", lambda _, data: full.write(data))
            with pytest.raises(NookError) as error:
                store.commit({"a": b"1"}, [])
            monkeypatch.undo()
        assert error.value.code == "quota" and store.scan("") == {}
        store.commit({"a": b"1"}, [])
    assert everything(path) == {"a": b"1"}


def test_compaction_that_fails_changes_nothing(path, monkeypatch):
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        store.compact()
        monkeypatch.undo()
        store.commit({"b": b"2"}, [])
    assert everything(path) == {"a": b"1", "b": b"2"}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_page_is_down_before_its_footer(path, monkeypatch):
    """Power may fail between any two writes, and a disk may reorder what no fsync parts."""
    order = []
    with FileStore(path) as store:
        store.commit({"a": b"1"}, [])
        write, sync = native._write, os.fsync
        monkeypatch.setattr(native, "_write", lambda file, data: order.append(bytes(data)) or write(file, data))
        monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or sync(file))
        store.commit({"b": b"page"}, [])
    assert order[0] == b"page" and order[1] == "sync" and order[2].endswith(container.END) and order[3] == "sync"
