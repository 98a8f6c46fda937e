"""Bad input: every file that can't be read says why and what to do, and no file whatever does anything worse."""

from __future__ import annotations

import random
import time
import zipfile
from io import BytesIO

import pytest
from inglenook.errors import NookError
from inglenook.ingest import docx as docx_reader
from inglenook.ingest import read
from inglenook.types import Document, File

from tests.engine.ingest_files import docx, paragraph, pdf, word, word_table, zipped
from tests.engine.test_ingest import run

LINE = "One line of text that is there to be read. "
GOOD = {
    "a.pdf": pdf(
        [[(72, 700, 20, "Heading"), *paragraph("text with infor-\nmation, well-\nKnown", 72, 660)], []], title="T"
    ),
    "a.docx": docx(word("a", "Titel"), word("b", level=1), word_table([["N", "V"], ["a", "1"]]), title="T"),
    "a.md": b"# One\n\n- a **b**\n- c\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\ncode\n```\n> q\n\nTwo\n===\n[l](u)",
    "a.html": b"<html><title>x</title><ul><li>a<li>b</ul><table><tr><th>a<td>b</table><pre>x</pre><!-- --><p hidden>n",
    "a.csv": b'a,b\n1,"2\n3"\n',
    "a.json": b'{"a":[1,{"b":"c\\u00e9"}],"d":null}',
    "a.txt": "Grüße مرحبا 日本。 e.g. foo.\n\nTwo".encode(),
    "a.py": b"def f():\n  return 1\n\nclass A:\n  pass\n",
}


def failing(path: str, data: bytes, **more: int) -> NookError:
    """The error that reading this gives."""
    with pytest.raises(NookError) as error:
        for _ in read(File(path, data), **more):
            pass
    assert path in error.value.message or error.value.code == "empty"
    assert error.value.hint
    return error.value


def whole(document: Document) -> None:
    """The passages hold all of the text, none twice."""
    at = 0
    for one in document.chunks:
        piece = document.text[one.start : one.end]
        assert piece and piece == piece.strip() and len(piece) <= 650
        assert not document.text[at : one.start].strip()
        at = one.end
    assert not document.text[at:].strip()


@pytest.mark.parametrize("data", [b"", b"   \n\n\t", b"\0\0\0", "\ufeff".encode(), b"\xff\xfe \0"])
@pytest.mark.parametrize("path", ["a.txt", "a.md", "a.csv", "a.py", "none"])
def test_empty(path: str, data: bytes) -> None:
    assert failing(path, data).code == "empty"


def test_empty_files_of_binary_formats() -> None:
    assert failing("a.pdf", b"").code == "empty"
    assert failing("a.docx", b"").code == "empty"


def test_too_large_is_refused_before_reading() -> None:
    error = failing("a.txt", b"x" * 1001, largest=1000)
    assert error.code == "too-large"
    assert len(run("a.txt", b"x" * 1000).text) == 1000


def test_the_usual_limit_is_500_megabytes() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 500_000_001

    assert failing("a.txt", Huge(b"x")).code == "too-large"


def test_encrypted_pdf() -> None:
    assert failing("a.pdf", pdf([[(72, 700, 12, "secret")]], encrypt=True)).code == "encrypted"


def test_encrypted_docx() -> None:
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 600
    assert failing("a.docx", data).code == "encrypted"


def test_old_office_files_are_told_apart() -> None:
    assert failing("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000).code == "unsupported"


@pytest.mark.parametrize("data", [b"%PDF-1.7\nnothing here", GOOD["a.pdf"][:200], b"%PDF-", b"\xff\x81garbage\x8d"])
def test_broken_pdf(data: bytes) -> None:
    assert failing("a.pdf", data).code == "broken"


def test_pdf_without_text() -> None:
    error = failing("scan.pdf", pdf([[], []]))
    assert error.code == "no-text" and "OCR" in error.hint


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff\xd8\xff\xe0" + bytes(100), b"\x7fELF" + bytes(200),
     bytes(range(256)) * 20, b"MZ" + bytes(range(200)), random.Random(1).randbytes(5000)],
)  # fmt: skip
@pytest.mark.parametrize("path", ["a.txt", "a.md", "picture", "a.csv"])
def test_binary(path: str, data: bytes) -> None:
    assert failing(path, data).code == "binary"


# ── DOCX ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_zip_bomb() -> None:
    begin = time.process_time()
    assert failing("a.docx", docx(word("x" * 50_000_000))).code == "bomb"
    assert failing("a.docx", docx(word("x"), more=b"\0" * 80_000_000)).code == "bomb"
    assert time.process_time() - begin < 10


def test_zip_bomb_that_lies_about_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(docx(word("word " * 200_000)))
    with zipfile.ZipFile(BytesIO(bytes(data))) as archive:
        size = archive.getinfo("word/document.xml").file_size
    data = data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert failing("a.docx", bytes(data)).code == "broken"  # the zip reader stops at what was promised
    monkeypatch.setattr(docx_reader, "LARGEST", 100_000)
    assert failing("a.docx", docx(word("word " * 200_000))).code == "bomb"


def test_docx_that_is_none() -> None:
    assert failing("a.docx", zipped({"hello.txt": "x"})).code == "broken"
    assert failing("a.docx", b"PK\x03\x04 and then nothing").code == "broken"
    assert failing("a.docx", zipped({"word/document.xml": "<not xml"})).code == "broken"
    assert failing("a.docx", zipped({"word/document.xml": b"\xff\xfe\xff"})).code == "broken"


@pytest.mark.parametrize(
    "prolog",
    ['<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
     '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_impossible(prolog: str, encoding: str) -> None:
    body = (
        f'<?xml version="1.0" encoding="{encoding}"?>{prolog}<document><body><p><r><t>&a;</t></r></p></body></document>'
    )
    data = zipped({"word/document.xml": body.encode(encoding)})
    assert failing("a.docx", data).code == "broken"


def test_docx_without_text() -> None:
    assert failing("a.docx", docx()).code == "no-text"


# ── depth and length ──────────────────────────────────────────────────────────────────────────────────────────────

DEEP = {
    "deep.html": "<div>" * 100_000 + "deep",
    "lists.html": "<ul><li>deep" * 20_000,
    "tables.html": "<table><tr><td>deep" * 20_000,
    "spans.html": "<b><i>" * 50_000 + "deep",
    "deep.json": '{"deep":' * 100_000 + "1" + "}" * 100_000,
    "list.json": "[" * 100_000 + '"deep"' + "]" * 100_000,
    "open.json": "[" * 100_000 + '"deep"',
    "quotes.md": "> " * 50_000 + "deep",
    "links.md": "[" * 50_000 + "deep" + "](x)" * 50_000,
    "items.md": "\n".join("  " * (i % 500) + "- deep" for i in range(20_000)),
    "deep.py": "def f():\n" * 5 + "(" * 100_000 + "deep",
}


@pytest.mark.parametrize("path", DEEP)
def test_depth_costs_nothing(path: str) -> None:
    begin = time.process_time()
    assert "deep" in run(path, DEEP[path]).text
    assert time.process_time() - begin < 15


def test_deep_docx() -> None:
    inner = word("deep")
    for _ in range(3000):
        inner = f"<w:tbl><w:tr><w:tc>{inner}</w:tc></w:tr></w:tbl>"
    assert "deep" in run("a.docx", docx(inner)).text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "unit"),
    [
        *((path, LINE) for path in ("a.txt", "a.md", "a.html", "a.csv", "a.json", "a.py")),
        ("a.txt", "字"),
        ("a.md", "<"),
    ],
)
def test_ten_megabytes_in_one_line(path: str, unit: str) -> None:
    text = "x" + unit * (10_000_000 // len(unit.encode()))
    begin = time.process_time()
    document = run(path, text)
    assert time.process_time() - begin < 40
    whole(document)
    assert len(document.chunks) > 1000


@pytest.mark.parametrize(
    ("path", "unit"),
    [("a.html", "<a "), ("a.html", "<!--"), ("a.html", "<a \"'>"), ("a.html", "<script"), ("a.html", "</"),
     ("a.html", "&"), ("a.html", "<!"), ("a.html", "<?"), ("a.html", "<a b=\""), ("a.md", "`a``b```"), ("a.md", "["),
     ("a.md", "*a **b "), ("a.md", "_a"), ("a.md", "<a"), ("a.md", "![]("), ("a.md", "|-"), ("a.md", "- a\n"),
     ("a.md", "\n>"), ("a.csv", '"'), ("a.csv", ",\n"), ("a.json", '"\\'), ("a.json", "[,"), ("a.txt", "\n \n"),
     ("a.txt", ". "), ("a.py", "def "), ("a.py", "\n\n}")],
)  # fmt: skip
def test_no_text_takes_more_than_linear_time(path: str, unit: str) -> None:
    def seconds(size: int) -> float:
        begin = time.process_time()
        try:
            run(path, "x" + unit * (size // len(unit)) + ">x")
        except NookError:
            pass
        return time.process_time() - begin

    small, large = min(seconds(20_000) for _ in range(3)), seconds(160_000)
    assert large < 40 * small + 0.3


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────────


def spoiled(rnd: random.Random) -> tuple[str, bytes]:
    """A good file that something happened to, under its own name or another's."""
    name = rnd.choice(list(GOOD))
    data = bytearray(GOOD[name])
    kind = rnd.random()
    if kind < 0.1:
        data = bytearray(rnd.randbytes(rnd.randrange(400)))
    elif kind < 0.3:
        del data[rnd.randrange(len(data)) :]
    else:
        for _ in range(rnd.randrange(1, 12)):
            at = rnd.randrange(len(data) + 1)
            choice = rnd.random()
            if choice < 0.4 and at < len(data):
                data[at] = rnd.randrange(256)
            elif choice < 0.6:
                del data[at : at + rnd.randrange(1, 20)]
            elif choice < 0.8 and data:
                here = rnd.randrange(len(data))
                data[at:at] = data[here : here + 30]
            else:
                data[at:at] = rnd.choice(
                    [b"\0", b"<", b'"', b"`", b"\xff", b"\xf0\x9f\x98\x80", b"&#xd800;", b"\\ud800", b"["]
                )
    return rnd.choice([name, name, rnd.choice(list(GOOD)), "none"]), bytes(data)


def test_whatever_happened_to_a_file_nothing_worse_than_an_error_comes_of_it() -> None:
    rnd = random.Random(7)
    outcomes: dict[str, int] = {}
    slowest = 0.0
    for _ in range(2500):
        path, data = spoiled(rnd)
        begin = time.process_time()
        try:
            document = run(path, data)
        except NookError as error:
            outcomes[error.code] = outcomes.get(error.code, 0) + 1
            assert error.hint
        else:
            outcomes["read"] = outcomes.get("read", 0) + 1
            document.text.encode("utf-8")
            whole(document)
            assert document.title and document.chunks
        slowest = max(slowest, time.process_time() - begin)
    assert outcomes["read"] > 500 and outcomes["broken"] > 100 and outcomes["binary"] > 100
    assert slowest < 5
