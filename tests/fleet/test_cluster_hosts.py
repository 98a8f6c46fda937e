"""A real Ray of several hosts, each a network namespace; skipped where Ray or namespaces cannot be had."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet.test_cluster import HAS_RAY, needs_ray
from fleet.test_runtime import COUNTER, broken, caught, counted
from inglenook.fleet.cold import hosts as beds
from inglenook.fleet.cold.hosts import Host, Hosts
from inglenook.fleet.runtime import Spec
from inglenook.fleet.supervise import Supervised

PATIENCE = 90.0
STORE = 80 << 20  # bytes of a node's object store
MODULES = {"PYTHONPATH": os.pathsep.join(sys.path)}
pytestmark = [
    needs_ray, pytest.mark.slow,
    pytest.mark.skipif(not (HAS_RAY and beds.available()), reason="network namespaces need Linux and root"),
]  # fmt: skip


class Node:
    """A host's share of the cluster: its daemons, and all that they start, in a group of processes of their own."""

    def __init__(self, host: Host, head: str) -> None:
        self.host, self.network = host, Path(host.namespace).stat().st_ino
        kinds = {"seat": 1, host.name: 4}
        entry = Path(sys.executable).parent / "ray"
        command = [
            "ip", "netns", "exec", Path(host.namespace).name, sys.executable, entry, "start", "--address", head,
            "--node-ip-address", host.address, "--num-cpus", "4", "--resources", json.dumps(kinds),
            "--object-store-memory", str(STORE), "--disable-usage-stats", "--block",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """The host is gone, all at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def cluster(token: None) -> Iterator[tuple[Any, list[Node]]]:
    """A runtime whose head is on this side, without room for workers, and two hosts that joined it."""
    import ray
    from inglenook.fleet.cluster import RayRuntime

    with Hosts.open(2, 1e9, namespaces=True) as hosts:
        with RayRuntime(num_cpus=0, object_store_memory=STORE, _node_ip_address=hosts.gateway) as runtime:
            nodes: list[Node] = []
            try:
                for host in hosts:  # one by one: on one file system two would take each other's names
                    nodes.append(Node(host, ray.get_runtime_context().gcs_address))
                    end = time.monotonic() + PATIENCE
                    while sum(node["Alive"] for node in ray.nodes()) <= len(nodes):
                        assert time.monotonic() < end, f"{host.name} did not join"
                        time.sleep(0.2)
                yield runtime, nodes
            finally:
                for node in nodes:
                    node.kill()


def on(node: Node, target: str) -> Spec:
    return Spec(node.host.name, target, resources={node.host.name: 1}, env=MODULES)


def test_workers_are_where_they_were_asked_for(cluster) -> None:
    runtime, nodes = cluster
    workers = [runtime.spawn(on(node, COUNTER)) for node in nodes]
    networks = [worker.call("network", timeout=PATIENCE) for worker in workers]
    assert networks == [node.network for node in nodes] and Path("/proc/self/ns/net").stat().st_ino not in networks
    assert [*workers[1].stream("count", 0, 500)] == [*range(500)]
    for worker in workers:
        worker.close()


def test_tensors_go_from_host_to_host_by_their_own_way(cluster) -> None:
    runtime, nodes = cluster
    here, there = (runtime.spawn(on(node, "fleet.targets:End")) for node in nodes)
    address = there.call("listen", nodes[1].host.address, timeout=PATIENCE)
    assert address.startswith(f"tcp://{nodes[1].host.address}:")
    sum_here = here.submit("send", address, 300, 1000)
    shape, total = there.call("receive", timeout=PATIENCE)
    assert shape == (300, 1000) and total == sum_here.result(PATIENCE) == float(np.arange(300_000).sum())
    for worker in (here, there):
        worker.close()


def test_when_a_host_is_gone_its_streams_go_on_elsewhere(cluster) -> None:
    """Last, since one of the two hosts does not come back."""
    runtime, nodes = cluster
    spec = Spec("a", COUNTER, resources={"seat": 1}, env=MODULES)
    with Supervised(runtime, spec) as kept:
        first = kept.call("network", timeout=PATIENCE)
        items = asyncio.run(counted(kept, 1, next(node for node in nodes if node.network == first).kill, at=50))
        assert items == [*range(len(items))] and len(items) > 50
        assert kept.call("network", timeout=PATIENCE) in {node.network for node in nodes} - {first}
        caught("worker-lost", lambda: asyncio.run(broken(kept, lambda: kept.worker(PATIENCE).kill())))
