"""The development server: types, ranges, revalidation, isolation; nothing outside of the site."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from buildlib.server import Page, serve

Answer = tuple[int, dict[str, str], bytes]
DATA = bytes(range(256)) * 40


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "web" / "lib").mkdir(parents=True)
    (tmp_path / "static").mkdir()
    (tmp_path / "web" / "index.html").write_text("<!doctype html>home")
    (tmp_path / "web" / "lib" / "a b.js").write_text("export {};")
    (tmp_path / "web" / ".hidden").write_text("hidden")
    (tmp_path / "static" / "data.bin").write_bytes(DATA)
    (tmp_path / "static" / "code.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "web" / "link").symlink_to(tmp_path / "secret.txt")
    return tmp_path


@pytest.fixture
def url(tree: Path) -> Iterator[str]:
    with serve(tree) as url:
        yield url


def get(url: str, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_folders_give_their_index(url: str) -> None:
    status, headers, body = get(url, "/")
    assert (status, body) == (200, b"<!doctype html>home")
    assert headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "kind"), [("/lib/a%20b.js", "text/javascript; charset=utf-8"), ("/static/code.wasm", "application/wasm")]
)
def test_types_are_those_that_browsers_insist_on(url: str, path: str, kind: str) -> None:
    assert get(url, path)[1]["content-type"] == kind


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=100-199", (100, 200)),
        ("bytes=10000-", (10000, len(DATA))),
        ("bytes=-5", (len(DATA) - 5, len(DATA))),
        ("bytes=10200-99999", (10200, len(DATA))),
        ("bytes=-99999", (0, len(DATA))),
    ],
)
def test_a_range_gives_those_bytes(url: str, wanted: str, span: tuple[int, int]) -> None:
    status, headers, body = get(url, "/static/data.bin", Range=wanted)
    assert (status, body) == (206, DATA[slice(*span)])
    assert headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/{len(DATA)}"
    assert headers["content-length"] == str(len(body))


@pytest.mark.parametrize("wanted", [f"bytes={len(DATA)}-", "bytes=-0"])
def test_a_range_past_the_end_is_refused(url: str, wanted: str) -> None:
    status, headers, _ = get(url, "/static/data.bin", Range=wanted)
    assert (status, headers["content-range"]) == (416, f"bytes */{len(DATA)}")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=5-2", "lines=1-2", "bytes=-", "nonsense"])
def test_what_is_no_single_range_gives_the_whole_file(url: str, wanted: str) -> None:
    status, _, body = get(url, "/static/data.bin", Range=wanted)
    assert (status, body) == (200, DATA)


def test_an_unchanged_file_is_not_sent_again(url: str, tree: Path) -> None:
    _, headers, _ = get(url, "/static/data.bin")
    assert headers["cache-control"] == "no-cache"
    assert get(url, "/static/data.bin", If_None_Match=headers["etag"])[::2] == (304, b"")
    assert get(url, "/static/data.bin", If_Modified_Since=headers["last-modified"])[0] == 304
    (tree / "static" / "data.bin").write_bytes(b"new")
    assert get(url, "/static/data.bin", If_None_Match=headers["etag"])[::2] == (200, b"new")
    assert get(url, "/static/data.bin", Range="bytes=0-0", If_Range=headers["etag"])[::2] == (200, b"new")


def test_head_says_what_get_would(url: str) -> None:
    status, headers, body = get(url, "/static/data.bin", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(DATA)), b"")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/static/../../secret.txt", "/%2e%2e/secret.txt", "/static/%2e%2e%2fsecret.txt", "/.hidden",
     "/link", "/none", "/lib/none.js", "/%00", "/static/..%5csecret.txt"],
)  # fmt: skip
def test_nothing_outside_of_the_site_is_served(url: str, path: str) -> None:
    status, _, body = get(url, path)
    assert status == 404
    assert b"secret" not in body


def test_isolation_is_a_choice(url: str, tree: Path) -> None:
    names = {"cross-origin-opener-policy", "cross-origin-embedder-policy"}
    assert names <= get(url, "/")[1].keys()
    assert names <= get(url, "/none")[1].keys()
    with serve(tree, isolated=False) as plain:
        assert not names & get(plain, "/")[1].keys()
        assert "cross-origin-resource-policy" in get(plain, "/")[1]


def test_pages_can_be_laid_beside_the_files(tree: Path) -> None:
    page = Page(b"foreign", headers={"Content-Security-Policy": "default-src 'none'"})
    with serve(tree, pages={"elsewhere/page.html": page}) as url:
        status, headers, body = get(url, "/elsewhere/page.html?query")
        assert (status, body) == (200, b"foreign")
        assert headers["content-security-policy"] == "default-src 'none'"


def test_many_ask_at_once(url: str) -> None:
    connections = [http.client.HTTPConnection(urlsplit(url).netloc, timeout=10) for _ in range(40)]
    for connection in connections:
        connection.request("GET", "/static/data.bin")
    assert all(connection.getresponse().read() == DATA for connection in connections)
    for connection in connections:
        connection.close()
