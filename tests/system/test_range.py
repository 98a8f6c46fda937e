"""A `.nook` file on a web server: what is read of it, and what happens when the server, or the file, is another."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.index import Index, container, pages, ranges
from inglenook.index.ranges import runs
from inglenook.platform.native.range import RangeStore
from inglenook.platform.native.store import FileStore

MANY = {f"{kind}/{i:04}": pages.seal(f"{kind}{i}".encode() * 40) for kind in "dlvx" for i in range(300)}


class Server(ThreadingHTTPServer):
    """One file, `data`. `way`: how ranges are answered."""

    data, tag, way, asked = b"", '"1"', "ranges", ()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, data = self.server, self.server.data
        wanted = self.headers.get("Range", "")
        server.asked = (*server.asked, wanted)
        if server.way == "gone":
            return self.give(404, b"")
        if server.way == "whole" or self.headers.get("If-Range", server.tag) != server.tag:
            return self.give(200, data)
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last) + 1, len(data)) if first else len(data)
        if start >= len(data):
            return self.give(416, b"")
        if server.way == "short":
            end -= (end - start) // 2
        return self.give(206, data[start:end], f"bytes {start}-{end - 1}/{len(data)}")

    def give(self, status, body, span=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if span:
            self.send_header("Content-Range", span)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(data, way="ranges"):
    server = Server(("127.0.0.1", 0), Handler)
    server.data, server.way = data, way
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/x.nook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def code_of(call, *arguments):
    with pytest.raises(NookError) as error:
        call(*arguments)
    assert error.value.hint
    return error.value.code


@pytest.mark.parametrize("tail", [200, 5000, 1 << 16])
def test_pages_and_what_they_cost(tail, monkeypatch):
    monkeypatch.setattr(ranges, "TAIL", tail)
    monkeypatch.setattr(ranges, "GAP", 500)
    with serving(container.write(MANY)) as (server, url):
        store = RangeStore(url)
        directory = store.ranges.received
        assert len(server.asked) <= 3 and directory < max(60_000, tail + 20)
        keys = ["d/0007", "none", "d/0008", "x/0100", "d/0007"]
        assert store.get(keys) == [MANY.get(key) for key in keys]
        assert len(server.asked) <= 5 and store.ranges.received - directory < 3 * len(MANY["d/0007"]) + 500
        assert store.scan("l/") == {key: page for key, page in MANY.items() if key.startswith("l/")}
        assert store.size() == len(server.data) and store.get([]) == []
        assert code_of(store.commit, {"a": b""}, []) == "read-only"
        store.close()


def test_a_file_of_many_commits(tmp_path):
    path = tmp_path / "x.nook"
    with FileStore(path) as file:
        for n in range(30):
            file.commit({f"k{n % 7}": b"%d" % n * 900}, [f"k{(n + 3) % 7}"])
        there = file.scan("")
    with serving(path.read_bytes()) as (_, url):
        assert RangeStore(url).scan("") == there


def test_a_server_that_ignores_ranges(monkeypatch):
    data = container.write(MANY)
    with serving(data, "whole") as (server, url):
        store = RangeStore(url)
        assert store.get(["d/0007", "x/0100"]) == [MANY["d/0007"], MANY["x/0100"]] and len(server.asked) == 1
        for module in (ranges, __import__("inglenook.platform.native.range", fromlist=["_"])):
            monkeypatch.setattr(module, "WHOLE", len(data) - 1)
        assert code_of(RangeStore, url) == "no-ranges"


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', ""])
def test_a_file_that_changes_is_noticed(tag, monkeypatch):
    monkeypatch.setattr(ranges, "TAIL", 100)
    with serving(container.write(MANY)) as (server, url):
        server.tag = tag
        store = RangeStore(url)
        assert store.get(["d/0007"]) == [MANY["d/0007"]]
        server.data, server.tag = container.write(MANY | {"a": b"new"}), tag.replace("1", "2")
        assert code_of(store.get, ["d/0007"]) == "changed"
        server.data = server.data[:50]
        assert code_of(store.get, ["d/0007"]) == "changed"
        server.way = "gone"
        assert code_of(store.get, ["d/0007"]) == "changed"


def test_what_else_may_be_there():
    data = container.write(MANY)
    for content, code in (
        (data[:-1], "truncated"),
        (data[: len(data) // 2], "truncated"),
        (b"", "truncated"),
        (b"NOOK", "truncated"),
        (b"%PDF-1.7" + bytes(500), "corrupt"),
        (b"NOOK\x63" + data[5:], "newer-format"),
    ):
        with serving(content) as (_, url):
            assert code_of(RangeStore, url) == code, content[:9]
    with serving(data, "gone") as (_, url):
        assert code_of(RangeStore, url) == "no-nook"
    with serving(data, "short") as (_, url):
        assert code_of(RangeStore, url) in ("unreachable", "truncated")
    assert code_of(RangeStore, url) == "unreachable"
    assert code_of(RangeStore, "notes.nook") == "no-nook"


def test_any_flipped_byte_is_noticed(monkeypatch):
    data = container.write({key: MANY[key] for key in list(MANY)[:20]})
    random = np.random.default_rng(0)
    with serving(data) as (server, url):
        for at in random.integers(8, len(data), 120).tolist():
            broken = bytearray(data)
            broken[at] ^= 1 << int(random.integers(0, 8))
            server.data = bytes(broken)
            with pytest.raises(NookError) as error:
                store = RangeStore(url)
                store.scan("")
            assert error.value.code in ("corrupt", "truncated", "unreachable") and error.value.hint


def test_neighbours_are_one_range():
    places = [container.Place(n * 1000, 900, 0) for n in (1, 2, 3, 40, 41, 90)]
    found = runs(places)
    assert found == [(1000, 3900), (40000, 41900), (90000, 90900)]
    assert all(a[1] < b[0] for a, b in pairwise(found))


def test_an_index_opens_with_little_of_it(tmp_path):
    """Opening reads codes, not vectors; a query reads some pages of these, in one batch."""
    path, vectors = tmp_path / "x.nook", np.random.default_rng(0).normal(size=(6000, 128)).astype(np.float32)
    index = Index("cosine", 128)
    index.add_items(vectors)
    index.save_index(path)
    with serving(path.read_bytes()) as (_, url):
        store = RangeStore(url)
        remote = Index(store=store, budget=2 << 20)
        assert len(remote) == 6000 and store.ranges.received < 0.3 * store.size()  # a byte of four, and ids
        before = store.ranges.received
        labels, distances = remote.knn_query(vectors[:3], 5)
        expected, apart = index.knn_query(vectors[:3], 5)
        assert (labels == expected).all() and np.allclose(distances, apart, atol=1e-6)
        assert store.ranges.received - before < 0.25 * store.size() and remote._collection.stats().trips_at(1) == 1
