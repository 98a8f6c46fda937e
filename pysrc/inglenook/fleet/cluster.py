"""Workers as actors of a Ray cluster: Ray places them, we carry calls and streams.

    with RayRuntime("auto") as runtime: ...           # RayRuntime(): a cluster of this machine alone

Each actor takes calls with `post` and is asked for replies with `poll`, which waits, so that many streams cost one call
of Ray for each batch of tokens. Tensors go by `transport`, not through here. Needs `inglenook[cluster]`; where nodes
are not on loopback, Ray wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on each of them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.fleet.actor import Actor, Call, Reply
from inglenook.fleet.runtime import Spec
from inglenook.fleet.worker import Worker


class RayRuntime:
    """Connects to the cluster at `address`, or starts one of this machine. What was connected before stays so."""

    def __init__(self, address: str | None = None, **options: Any) -> None:
        """`options` go to `ray.init`. Raises NookError("no-ray" | "cluster")."""
        try:
            import ray
        except ImportError as error:
            raise NookError("no-ray", "A cluster needs Ray.", 'Install it: pip install "inglenook[cluster]"') from error
        self._ray, self._ours = ray, not ray.is_initialized()
        self._workers: list[Worker] = []
        if self._ours:
            try:
                ray.init(
                    address=address or "local",
                    include_dashboard=False,
                    log_to_driver=False,
                    namespace="inglenook",
                    **options,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise NookError(
                    "cluster", f"There is no Ray cluster: {error}", "Is it up, and the token right?"
                ) from error

    def spawn(self, spec: Spec, on_death: Callable[[], None] = lambda: None) -> Worker:
        """As `Runtime.spawn`. Ray waits until some node has the threads, GPUs and resources."""
        kind = self._ray.remote(
            num_cpus=spec.threads, num_gpus=spec.gpus, resources=spec.resources, max_restarts=0,
            runtime_env={"env_vars": spec.environment()}, concurrency_groups={"post": 1, "poll": 1},
        )(_host(self._ray))  # fmt: skip
        worker = Worker(spec.name, _Actor(self._ray, kind.remote(spec)), on_death)
        self._workers = [worker, *(worker for worker in self._workers if worker.alive)]
        return worker

    def close(self) -> None:
        """End all workers, and the connection if it was made here."""
        for worker in self._workers:
            worker.close()
        if self._ours:
            self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Actor:
    """The link to an actor of Ray."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle

    def post(self, call: Call) -> None:
        self._handle.post.remote(call)

    def receive(self) -> list[Reply]:
        try:
            replies: list[Reply] = self._ray.get(self._handle.poll.remote())
        except (self._ray.exceptions.RayError, RuntimeError, SystemExit) as error:  # the last when Ray itself ends
            raise EOFError(str(error)) from error
        return replies

    def kill(self) -> None:
        self._ray.kill(self._handle, no_restart=True)

    def close(self, timeout: float) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, RuntimeError):
            self._ray.wait([self._handle.finish.remote()], timeout=timeout)
            self.kill()


def _host(ray: Any) -> type:
    """The class that runs in the cluster."""

    class Host:
        def __init__(self, spec: Spec) -> None:
            self._outbox: queue.SimpleQueue[Reply] = queue.SimpleQueue()
            self._actor = Actor(spec.make, self._outbox.put)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

        @ray.method(concurrency_group="post")
        def post(self, call: Call) -> None:
            self._actor.post(call)

        @ray.method(concurrency_group="post")
        def finish(self) -> None:
            self._actor.post(None)
            self._thread.join()

        @ray.method(concurrency_group="poll")
        def poll(self) -> list[Reply]:
            replies = [self._outbox.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    replies.append(self._outbox.get_nowait())
            return replies

        def _run(self) -> None:
            try:
                self._actor.run()
            except BaseException:
                traceback.print_exc()
                os._exit(1)  # an actor whose object failed is no use: Ray tells of its death

    return Host
