"""A frame's data by torch.distributed: gloo between processors, NCCL between GPUs. The heads stay in the socket.

Each direction of a connection is a process group of two, made where the connection is; nothing of it is global, so a
process may have many. The data of a head that came is on its way, so nobody waits for what is never sent.
"""

from __future__ import annotations

import socket
from datetime import timedelta

import torch
from torch import Tensor, distributed

from inglenook.errors import NookError
from inglenook.fleet.lanes import closed, exactly

PATIENCE = timedelta(seconds=60)  # for a frame's data, once its head came
PORT = 2  # bytes of a port, as one end tells the other
WAYS = (("there", True), ("back", False))
"""The directions, and whether the first end writes."""


class Collective:
    """A direction of a connection, as `lanes.Lane`: rank 0 writes, rank 1 reads."""

    def __init__(self, group: distributed.ProcessGroup, device: str) -> None:
        self._group, self._device = group, device

    def write(self, data: memoryview) -> None:
        if data:
            sent = torch.frombuffer(data, dtype=torch.uint8).to(self._device)
            self._done(self._group.send([sent], 1, 0), sent)

    def read(self, size: int) -> bytearray:
        data = bytearray(size)
        if size:
            room = torch.frombuffer(data, dtype=torch.uint8)
            came = room if self._device == "cpu" else torch.empty(size, dtype=torch.uint8, device=self._device)
            self._done(self._group.recv([came], 0, 0), came)
            if came is not room:
                room.copy_(came)
        return data

    def _done(self, work: distributed.Work, held: Tensor) -> None:
        """Wait for it; `held` lives until then."""
        try:
            work.wait()
            if held.is_cuda:
                torch.cuda.synchronize()
        except RuntimeError as error:
            raise closed(str(error).splitlines()[0]) from error


def lanes(scheme: str, peer: socket.socket, first: bool) -> tuple[Collective, Collective]:
    """The lanes (out, back) of a connection whose ends have the socket `peer`; one of them is the `first`.

    Raises NookError("transport-unsupported" | "transport-closed").
    """
    kind = {"gloo": "ProcessGroupGloo", "nccl": "ProcessGroupNCCL"}[scheme]
    if not hasattr(distributed, kind) or (scheme == "nccl" and not torch.cuda.is_available()):
        raise NookError("transport-unsupported", f"This torch has no {scheme} here.", "Use tcp://, or another torch.")
    try:
        if first:
            store = distributed.TCPStore("0.0.0.0", 0, 2, is_master=True, timeout=PATIENCE, wait_for_workers=False)
            peer.sendall(store.port.to_bytes(PORT, "little"))
        else:
            port = int.from_bytes(exactly(peer, PORT), "little")
            store = distributed.TCPStore(peer.getpeername()[0], port, 2, timeout=PATIENCE, wait_for_workers=False)
        made = [_group(scheme, distributed.PrefixStore(name, store), peer, first == wrote) for name, wrote in WAYS]
    except (RuntimeError, OSError) as error:
        raise closed(str(error).splitlines()[0]) from error
    out, back = made if first else reversed(made)
    return out, back


def _group(scheme: str, store: distributed.Store, peer: socket.socket, writes: bool) -> Collective:
    rank = 0 if writes else 1
    if scheme == "nccl":
        return Collective(distributed.ProcessGroupNCCL(store, rank, 2), "cuda")
    options = distributed.ProcessGroupGloo._Options()
    options._devices = [distributed.ProcessGroupGloo.create_device(hostname=peer.getsockname()[0])]
    options._timeout = PATIENCE
    return Collective(distributed.ProcessGroupGloo(store, rank, 2, options), "cpu")
