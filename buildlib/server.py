"""The development server: web/ at /, static/ at /static/. Standard library only; tests use it too.

with serve(ROOT, isolated=True) as url: …
"""

from __future__ import annotations

import mimetypes
import os
import re
import shutil
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from buildlib import assets, bundle, pyodide
from buildlib.project import ROOT, say

TYPES = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html",
    ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml", ".md": "text/markdown",
    ".webmanifest": "application/manifest+json", ".txt": "text/plain", ".gz": "application/gzip",
}  # fmt: skip
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
BLOCK = 1 << 20


@dataclass(frozen=True)
class Page:
    """Something served beside the files: tests lay foreign pages and their policies this way."""

    body: bytes
    type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """Files with one range, ETag and revalidation on every use."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are sent apart: the second would wait for the first's ACK, 40 ms
    server: Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        if (page := self.server.pages.get(urlsplit(self.path).path.lstrip("/"))) is not None:
            self._give(page, body)
            return
        path = self._path()
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        if self.server.before:
            self.server.before(path)
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
            if self._unchanged(tag, stat.st_mtime):
                self.send_response(HTTPStatus.NOT_MODIFIED)
                self._headers(tag, stat.st_mtime)
                self.end_headers()
                return
            start, end = 0, stat.st_size
            status = HTTPStatus.OK
            if self.headers.get("If-Range") in (None, tag) and (wanted := self.headers.get("Range")):
                span = _range(wanted, stat.st_size)
                if span == ():
                    self._refuse(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{stat.st_size}"}
                    )
                    return
                if span:
                    start, end = span
                    status = HTTPStatus.PARTIAL_CONTENT
            self.send_response(status)
            self._headers(tag, stat.st_mtime)
            self.send_header("Content-Type", _type(path))
            self.send_header("Content-Length", str(end - start))
            if status is HTTPStatus.PARTIAL_CONTENT:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{stat.st_size}")
            self.end_headers()
            if body:
                self._send(file, start, end)

    def _give(self, page: Page, body: bool) -> None:
        self.send_response(HTTPStatus.OK)
        self._policies()
        for name, value in {"Cache-Control": "no-store", **page.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", page.type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if body:
            self.wfile.write(page.body)

    def _send(self, file: object, start: int, end: int) -> None:
        file.seek(start)  # type: ignore[attr-defined]
        while start < end:
            block = file.read(min(BLOCK, end - start))  # type: ignore[attr-defined]
            if not block:
                self.close_connection = True  # the file shrank: the promised length cannot be kept
                return
            try:
                self.wfile.write(block)
            except ConnectionError:
                self.close_connection = True  # the browser went away
                return
            start += len(block)

    def _path(self) -> Path | None:
        """The file a URL names, or None. Nothing outside of web/ and static/ is ever served."""
        parts = [part for part in unquote(urlsplit(self.path).path).split("/") if part]
        if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            return None
        if self.server.root == ROOT and parts and "/".join(parts) in bundle.SERVED:
            path = bundle.fresh("/".join(parts))
            return path if path.is_file() else None
        base = self.server.root / ("static" if parts[:1] == ["static"] else "web")
        path = base.joinpath(*(parts[1:] if parts[:1] == ["static"] else parts))
        if path.is_dir():
            path /= "index.html"
        return path if path.is_file() and path.resolve().is_relative_to(base.resolve()) else None

    def _unchanged(self, tag: str, modified: float) -> bool:
        if (tags := self.headers.get("If-None-Match")) is not None:
            return tags.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in tags.split(","))
        try:
            return int(modified) <= parsedate_to_datetime(self.headers["If-Modified-Since"]).timestamp()
        except (TypeError, ValueError, KeyError):
            return False

    def _headers(self, tag: str, modified: float) -> None:
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", formatdate(modified, usegmt=True))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Accept-Ranges", "bytes")
        self._policies()

    def _policies(self) -> None:
        self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.send_header("Access-Control-Allow-Origin", "*")  # a page of another site may embed the element
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (ISOLATION if self.server.isolated else {}).items():
            self.send_header(name, value)

    def _refuse(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self._policies()
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


def _range(wanted: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """The half-open span a Range asks for; () if it lies outside, None if it is no single range (RFC 9110, 14)."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted.strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    return (start, end) if start < end else ()


def _type(path: Path) -> str:
    kind = TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/json" else kind


class Server(ThreadingHTTPServer):
    """`before` is called with each file that is about to be served."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        root: Path,
        port: int,
        isolated: bool,
        before: Callable[[Path], None] | None = None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self.root, self.isolated, self.before, self.pages = root, isolated, before, pages or {}
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}/"


@contextmanager
def serve(
    root: Path = ROOT, *, port: int = 0, isolated: bool = True, pages: Mapping[str, Page] | None = None
) -> Iterator[str]:
    """Serve `root` in a thread; gives the URL (it ends with "/"). `pages` are served beside the files, by path."""
    with Server(root, port, isolated, pages=pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def dev(port: int, *, isolated: bool, browser: bool) -> int:
    """Serve until Ctrl+C. The engine's archive is made again when its sources change: edit, reload."""
    lock = threading.Lock()

    def before(path: Path) -> None:
        if path == assets.MANIFEST:
            with lock:
                pyodide.engine()
                assets.build()

    with Server(ROOT, port, isolated, before) as server:
        say("serving; Ctrl+C ends it")
        print(server.url, flush=True)
        if browser and (shutil.which("xdg-open") or sys.platform in ("darwin", "win32")):
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0
