"""The site's files, with the headers that isolate its pages and keep them from talking to anyone else."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TYPES = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".md": "text/markdown",
    ".webmanifest": "application/manifest+json", ".gz": "application/gzip", ".nook": "application/octet-stream",
}  # fmt: skip


class Site:
    """A folder as an ASGI application."""

    def __init__(self, folder: Path) -> None:
        for suffix, kind in TYPES.items():
            mimetypes.add_type(kind, suffix)
        self._files = StaticFiles(directory=folder, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["type"] == "http":
            await self._files(scope, receive, guarded)
        else:  # a WebSocket on a path that has none
            await send({"type": "websocket.close", "code": 1008, "reason": "the socket is at /ws"})
