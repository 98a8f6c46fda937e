"""`inglenook serve`: the gateway in uvicorn, on this machine only unless told otherwise."""

from __future__ import annotations

import gc
import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp

from inglenook.completions import bearer
from inglenook.errors import NookError
from inglenook.nook import Nook
from inglenook.serve import gateway, logs
from inglenook.serve.access import Rules

if TYPE_CHECKING:
    from inglenook.serve.fleet import Fleet


def origins(host: str, port: int, more: Iterable[str] = ()) -> frozenset[str]:
    """The pages that may connect to a server at host and port: its own, and those named."""
    names = {host} | ({"localhost", "127.0.0.1", "[::1]"} if is_loopback(host) else set())
    own = {f"{scheme}://{_bracketed(name)}:{port}" for name in names for scheme in ("http", "https")}
    return frozenset(origin.lower().rstrip("/") for origin in (*own, *more))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    nook: Nook,
    host: str,
    port: int,
    *,
    site: Path | None = None,
    allow: Iterable[str] = (),
    writable: bool = True,
    key: str = "",
    log: str = "quiet",
    fleet: Fleet | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until interrupted; `ready` hears the URL. Raises NookError("port" | "no-site" | "bad-key")."""
    bearer(key)  # what no client could send is told now
    if site is not None and not (site / "index.html").is_file():
        raise NookError("no-site", f"{site} holds no index.html.", "Build the site first, or leave --site out.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host.strip("[]"), port))
            listening.listen()  # from here on clients may come; they wait until the server is up
        except (OSError, OverflowError, TypeError) as error:  # taken or not ours; no port; no name
            hint = "Choose another with --port, or --port 0 for any."
            told = error.strerror if isinstance(error, OSError) else error
            raise NookError("port", f"{host}:{port} can't be used: {told}.", hint) from error
        port = listening.getsockname()[1]
        rules = Rules(origins(host, port, allow), writable, key=key)
        logs.start(log)
        running = uvicorn.Server(config(gateway.app(nook, rules, site, fleet), rules.largest))
        calm()
        ready(f"http://{_bracketed(host)}:{port}/")
        running.run(sockets=[listening])


def calm() -> None:
    """Let the collector look no more at what is there by now: every stream would stand still while it goes through all
    of a nook's objects."""
    gc.collect()
    gc.freeze()


def config(app: ASGIApp, largest: int, **more: Any) -> uvicorn.Config:
    """How uvicorn runs the gateway; `largest` is the most bytes of a message."""
    return uvicorn.Config(
        app,
        log_config=None,  # its warnings go where ours do
        log_level="warning",
        access_log=False,
        ws_max_size=largest,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # packing drawn pages would hold up the other streams
        ws_ping_interval=20,
        timeout_graceful_shutdown=3,
        server_header=False,
        **more,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
