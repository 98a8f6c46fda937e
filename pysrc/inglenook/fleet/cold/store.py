"""Serves a folder of models over HTTP with ranges, files straight from the page cache to the socket.

    with Store(folder, ("0.0.0.0", 8100)) as store:
        store.url("smollm2")                   # http://…:8100/smollm2

Any web server that knows ranges will do in its place. This one knows GET of one range of the form a-b (RFC 9110,
section 14.1.2); a range that the file does not hold is 416, anything else about a request 400, 404 or 405.
"""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


class Store:
    """A server of its own thread, and one more for each connection."""

    def __init__(self, folder: Path, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        handler = type("Handler", (_Handler,), {"folder": folder.resolve()})
        self._server = _Server(address, handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, model: str, host: str = "") -> str:
        """Where `model`, a folder, is; `host` as others reach it, where that is not the address it listens on."""
        return f"http://{host or self._server.server_address[0]!s}:{self.port}/{model}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Workers that end hang up in the middle: that is nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    folder: Path

    def do_GET(self) -> None:
        path = (self.folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            return self.send_error(404)
        size = path.stat().st_size
        start, end, status = 0, size, 200
        if asked := self.headers.get("Range"):
            if not (match := _RANGE.fullmatch(asked)):
                return self.send_error(400)
            start, end, status = int(match[1]), min(int(match[2]) + 1, size), 206
        if start >= end and asked:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        with path.open("rb") as file:
            try:
                self.connection.sendfile(file, start, end - start)
            except (ConnectionError, TimeoutError):  # the other side has gone: nobody to tell
                self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""
