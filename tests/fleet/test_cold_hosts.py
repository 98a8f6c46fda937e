"""Throttled hosts are as slow as they say; zygotes fork, report, and take their children with them."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from inglenook.errors import NookError
from inglenook.fleet.cold import hosts as bed
from inglenook.fleet.cold.hosts import Bucket, Hosts
from inglenook.fleet.cold.zygote import Zygote

ROOT = pytest.mark.skipif(
    not bed.available(), reason="network namespaces need root, ip and tc: user-space buckets only"
)
RATE = 2e6


def busy():
    """A machine with more to do than processors makes hosts slower than they say, never faster."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) + 1


@pytest.fixture(params=[pytest.param(True, marks=ROOT), False], ids=["namespaces", "buckets"])
def hosts(request):
    with Hosts.open(2, RATE, namespaces=request.param) as hosts:
        yield hosts


def test_both_directions_are_throttled(hosts):
    for speed in hosts.probe(hosts[0], 400_000):
        assert busy() or speed > 0.8 * RATE
        assert speed < 1.08 * RATE


def test_hosts_have_their_own_networks_and_flows_of_one_share_it(hosts):
    def both(*which):
        """Seconds until two flows of 300 kB have ended."""
        threads = [threading.Thread(target=hosts._flow, args=(hosts[i], 300_000), kwargs={"down": True}) for i in which]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    assert both(0, 0) > 0.95 * (600_000 - bed.BURST) / RATE
    assert busy() or both(0, 1) < 0.75 * 600_000 / RATE


def test_processes_share_a_bucket(tmp_path):
    code = "import sys; from inglenook.fleet.cold.hosts import Bucket; b = Bucket(sys.argv[1], 1e6)\n"
    code += "for _ in range(10): b.take(16384)"
    Bucket(tmp_path / "b", 1e6).take(1)
    began = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "b"]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert time.monotonic() - began > (20 * 16384 - bed.BURST) / 1e6


@ROOT
def test_nothing_is_left_behind():
    code = "import os; from inglenook.fleet.cold.hosts import Hosts\n"
    code += "h = Hosts.open(1, 1e6); print(os.getpid()); os._exit(1)"
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout)
    assert (bed.NETNS / f"nook{pid}-0").exists()
    with Hosts.open(1, 1e6) as hosts:
        assert not (bed.NETNS / f"nook{pid}-0").exists(), "what a killed process left is swept"
        mine = Path(hosts[0].namespace)
        assert mine.exists()
    assert not mine.exists()
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert f"nook{os.getpid()}" not in links and f"nv{os.getpid()}-" not in links


# what zygotes fork, below


def tell(spec, report):
    report({"pid": os.getpid(), "spec": spec, "warm": "decimal" in sys.modules})
    threading.Event().wait()


def fail(spec, report):
    raise SystemExit(3)


def listen(spec, report):
    with socket.create_server((spec["address"], 0)) as server:
        report({"port": server.getsockname()[1]})
        threading.Event().wait()


@pytest.fixture(scope="module")
def zygote():
    with Zygote(["decimal", __name__]) as zygote:
        yield zygote


def test_a_child_starts_warm_and_fast(zygote):
    zygote.wait()
    began = time.monotonic()
    child = zygote.spawn(f"{__name__}:tell", {"a": [1]})
    took = time.monotonic() - began
    assert child.told == {"pid": child.pid, "spec": {"a": [1]}, "warm": True} and child.alive
    assert took < 1, "an interpreter with its imports takes longer"
    child.kill()
    assert child.status == -9 and not Path(f"/proc/{child.pid}").exists()
    child.kill()


def test_a_child_that_fails_is_a_typed_error_and_the_next_one_starts(zygote, capfd):
    with pytest.raises(NookError) as error:
        zygote.spawn(f"{__name__}:fail", {})
    assert error.value.code == "worker-lost" and error.value.hint
    zygote.spawn(f"{__name__}:tell", {}).kill()


def test_many_children_report_to_their_own(zygote):
    children = [zygote.spawn(f"{__name__}:tell", {"i": i}) for i in range(8)]
    assert [child.told["spec"]["i"] for child in children] == list(range(8))
    assert len({child.pid for child in children}) == 8
    for child in children:
        child.kill()


@ROOT
def test_a_child_is_in_the_network_of_its_host(zygote):
    with Hosts.open(1, RATE, namespaces=True) as hosts:
        child = zygote.spawn(f"{__name__}:listen", {"address": hosts[0].address}, hosts[0].namespace)
        socket.create_connection((hosts[0].address, child.told["port"]), 5).close()
        child.kill()
        with pytest.raises(NookError) as error:
            zygote.spawn(f"{__name__}:listen", {"address": hosts[0].address}, str(bed.NETNS / "nowhere"))
        assert error.value.code == "worker-lost"


def test_children_end_with_the_zygote_and_it_with_its_owner():
    code = f"""
import os, sys
from inglenook.fleet.cold.zygote import Zygote
zygote = Zygote([{__name__!r}])
child = zygote.spawn("{__name__}:tell", {{}})
print(zygote.pid, child.pid, flush=True)
os._exit(0)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in done.stdout.split()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in done.stdout.split())
