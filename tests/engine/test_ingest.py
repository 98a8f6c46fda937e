"""Reading: every format's text and structure, and what is found out about a file."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from inglenook.errors import NookError
from inglenook.flow import Pause
from inglenook.ingest import read
from inglenook.ingest.language import guess
from inglenook.types import Document, File
from inglenook.wire.messages import Progress

from tests.engine.ingest_files import docx, word, word_table, zipped


def run(path: str, data: bytes | str) -> Document:
    """Read a file to the end."""
    return steps(path, data)[0]


def steps(path: str, data: bytes | str) -> tuple[Document, list[Any]]:
    flow = read(File(path, data.encode() if isinstance(data, str) else data))
    seen: list[Any] = []
    while True:
        try:
            seen.append(next(flow))
        except StopIteration as stop:
            return stop.value, seen


def chunk_of(document: Document, words: str) -> Any:
    """The chunk that holds these words."""
    [found] = [one for one in document.chunks if words in document.text[one.start : one.end]]
    return found


# ── Markdown ──────────────────────────────────────────────────────────────────────────────────────────────────────

MARKDOWN = """\
---
title: "The front"
---
Big *title*
===========

A paragraph with **bold**, _italics_, `code_x*y`, a [link](http://x.y/a_(b) "t"), ![a picture](p.png),
a second line, &amp;, <b>a tag</b>, 2*3*4, snake_case_name, \\*no stars\\* and <https://example.org>.

## List ##

- one
  goes on
- [x] two
  1. inner

> quoted
> text

| Name | Value |
|------|:-----:|
| a `x|y` | 1 |
| b\\|c | 2 |

### Code

```python
def f():  # **not bold**
    return "<b>"
```

    indented = code

<script>
alert("gone")
</script>
[ref]: http://nowhere
Last words.
"""


def test_markdown_is_plain_text_with_structure() -> None:
    document = run("a.md", MARKDOWN)
    text = document.text
    assert document.type == "markdown" and document.title == "The front"
    assert "with bold, italics, code_x*y, a link, a picture, a second line, &, a tag, 2*3*4" in text
    assert "snake_case_name, *no stars* and https://example.org." in text
    assert "- one\n  goes on\n- two\n  1. inner" in text
    assert "quoted text" in text
    assert "Name | Value\na `x | y` | 1\nb|c | 2" in text
    assert 'def f():  # **not bold**\n    return "<b>"' in text
    assert "indented = code" in text
    assert "alert" not in text and "nowhere" not in text and "#" not in text.replace("# **not", "")
    assert chunk_of(document, "def f()").heading == "Big title › List"
    assert chunk_of(document, "def f()").kind == "code"
    assert chunk_of(document, "b|c").heading == "Big title"


def test_long_sections_name_their_heading() -> None:
    body = "\n\n".join(f"Paragraph {i} tells something about the matter at hand, at length." * 3 for i in range(9))
    document = run("a.md", f"# One\n\n{body}\n\n## Two\n\nEnd here.\n")
    assert document.chunks[1].heading == "One"
    assert chunk_of(document, "End here").heading == "One"
    assert document.title == "One"


@pytest.mark.parametrize(
    "text", ["# ", "```", "|-", "> " * 500, "- " * 500, "[" * 3000, "*a **b " * 500, "`a``b" * 500]
)
def test_odd_markdown_is_read(text: str) -> None:
    document = run("a.md", "word\n\n" + text)
    assert document.text.startswith("word")


# ── HTML ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HTML = """<!DOCTYPE html><html lang="de-AT"><head><title>My &amp; page</title><style>p{}</style>
<script>if (a<b) "</p>"; alert('gone')</script></head><body><nav>menu</nav>
<h1>Top</h1><p>Hello <b>bold</b> text<br>new
line</p><ul><li>a<ul><li>b</li></ul></li><li>c</ul><ol><li>one<li>two</ol><pre>  code
   x</pre><table><caption>Cap</caption><tr><th>N</th><th>V</th></tr><tr><td>a<p>b</p></td><td>1</td></tr></table>
<p hidden>unseen</p><h2>Low</h2><p onclick="alert(1)">5 < 6 &lt;script&gt; &#x1F600; &nbsp; &eacute;<!-- no --></p>
<svg><text>gone</text></svg><img alt="a cat" src="javascript:alert(1)"></body></html>"""


def test_html_is_plain_text_with_structure() -> None:
    document = run("page", HTML)
    text = document.text
    assert (document.type, document.title, document.language) == ("html", "My & page", "de")
    assert "Hello bold text\nnew line" in text
    assert "- a\n  - b\n- c" in text and "1. one\n2. two" in text
    assert "  code\n   x" in text
    assert "N | V\na b | 1" in text
    assert "5 < 6 <script> 😀 é" in text
    assert "a cat" in text
    for gone in ("alert", "menu", "unseen", "gone", "no -->", "onclick"):
        assert gone not in text
    assert chunk_of(document, "5 < 6").heading == "Top"


def test_html_without_end_tags_or_with_broken_ones() -> None:
    document = run("a.html", "<p>one<p>two <b title='x>y'>bold</i> <a href=\"q>three</p><div>four<h1>five")
    assert "one\n\ntwo bold" in document.text and "five" in document.text


# ── DOCX ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_docx_keeps_headings_lists_and_tables() -> None:
    data = docx(
        word("The title", "Titel"),
        word("First", "berschrift1"),
        word("Some text <here>. " * 30),
        word("a", level=0),
        word("b", level=1),
        word_table([["Name", "Value"], ["x", "1"]]),
        word("Second", "Heading2"),
        word("End."),
        "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>x</w:delText><w:t>deleted</w:t></w:r></w:del></w:p>",
        title="From the properties",
    )
    document = run("report.docx", data)
    assert (document.type, document.title) == ("docx", "From the properties")
    assert "- a\n  - b\n\nName | Value\nx | 1" in document.text
    assert "kept" in document.text and "deleted" not in document.text
    end = chunk_of(document, "End.")
    assert end.heading == "First" and document.text[end.start : end.end].startswith("Second")


def test_docx_is_known_by_its_content() -> None:
    assert run("notes.txt", docx(word("Hello there."))).type == "docx"


# ── tables and records ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("path", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv", "|")])
def test_csv_repeats_its_header_above_every_passage(path: str, mark: str) -> None:
    rows = [["name", "value", "note"], *([f"row {i}", str(i), f'"say ""{i}""{mark}\n twice"'] for i in range(90))]
    document = run(path, "\r\n".join(mark.join(row) for row in rows))
    assert document.type == "csv" and document.title == "a"
    assert f'row 7 | 7 | say "7"{mark.strip()} twice' in document.text
    assert document.text.startswith("name | value | note\n")
    assert len(document.chunks) > 3
    assert {one.heading for one in document.chunks[1:]} == {"name | value | note"}
    assert {one.kind for one in document.chunks} == {"table"}


def test_csv_without_header() -> None:
    document = run("a.csv", "\n".join(f"{i},{i * i},word word word word" for i in range(200)))
    assert {one.heading for one in document.chunks} == {""}


def test_json_lines_give_a_block_per_record() -> None:
    lines = [json.dumps({"title": f"T{i}", "body": {"text": "word " * 60, "n": i}, "none": None}) for i in range(5)]
    document = run("a.jsonl", "\n".join(lines))
    assert document.type == "jsonl" and len(document.chunks) == 5
    assert document.text.startswith("title: T0\nbody › text: word word")
    assert "none" not in document.text


def test_json_of_any_shape_keeps_every_value() -> None:
    value = {"a": [1, -2.5e30, True, None, {"b": 'x\u00e9\n"q"'}], "c": {}, "d": [], "e": "\U0001f600"}
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)):
        document = run("a.json", text)
        assert document.text == 'a: 1\na: -2.5e+30\na: true\na › b: xé\n"q"\ne: 😀'


@pytest.mark.parametrize("text", ['{"a" 1}', '{"a": 1', "[1,,2]", "[1 2]", '{"a": 1,}', "{1: 2}", "[1]]", '["\\u12"]'])
def test_what_is_no_json_is_text(text: str) -> None:
    with pytest.raises(ValueError):
        json.loads(text)
    document = run("a.json", text)
    assert document.text == text and document.warnings


def test_json_accepts_what_the_standard_library_accepts() -> None:
    for text in ("[]1", '{"a": [[], {}, [{"b": [1]}]]}', "3", '"x"', "[true, false, null]", '{"a": {"b": {"c": 1}}}'):
        try:
            json.loads(text)
            valid = True
        except ValueError:
            valid = False
        if valid:
            assert not run("a.json", text).warnings


# ── text and code ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_is_kept_as_it_is() -> None:
    text = "One line\nand another.\n\n  Two.\n\n- a\n- b\n"
    document = run("a.txt", text.replace("\n", "\r\n"))
    assert document.text == text and document.type == "text" and document.title == "a"


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("x.py", "python"),
        ("x.rs", "rust"),
        ("src/x.TSX", "typescript"),
        ("Makefile", "make"),
        ("x.zig", "zig"),
        ("Dockerfile", "dockerfile"),
        ("x.html.vue", "vue"),
        ("x.sql", "sql"),
        ("x.yaml", "yaml"),
    ],
)
def test_code_is_known_by_its_name(path: str, language: str) -> None:
    document = run(path, "def f():\n    return 1\n")
    assert (document.type, document.language) == ("code", language)
    assert document.text == "def f():\n    return 1\n"


def test_a_script_without_extension() -> None:
    assert run("tool", "#!/usr/bin/env python3\nprint(1)\n").language == "python"


@pytest.mark.parametrize(
    ("encoding", "mark", "warned"),
    [
        ("utf-8", b"", False),
        ("utf-8", b"\xef\xbb\xbf", False),
        ("utf-16-le", b"\xff\xfe", False),
        ("utf-16-be", b"\xfe\xff", False),
        ("utf-16-le", b"", True),
        ("utf-16-be", b"", True),
        ("utf-32-le", b"\xff\xfe\0\0", False),
        ("cp1252", b"", True),
    ],
)
def test_encodings(encoding: str, mark: bytes, warned: bool) -> None:
    text = "Grüße aus Köln – “quoted” text, naïve café. " * 5
    document = run("a.txt", mark + text.encode(encoding))
    assert document.text == text
    assert bool(document.warnings) == warned


def test_html_may_say_its_encoding() -> None:
    page = '<html><head><meta charset="shift_jis"></head><body><p>日本語のページ</p></body></html>'
    assert "日本語のページ" in run("a.html", page.encode("shift_jis")).text


@pytest.mark.parametrize(
    "text",
    [
        "مرحبا بالعالم. هذا نص عربي.",
        "שלום עולם",
        "नमस्ते दुनिया।",
        "สวัสดีชาวโลก",
        "こんにちは。世界",
        "안녕하세요 세계",
        "Γειά σου Κόσμε",
        "👩‍👩‍👧‍👦 family 🇩🇪",
        "a\u202eb\u202c c",
        "ᚠᛇᚻ",
        "𒀀𒀁 𐍈",
        "\u200b\u200bzero width",
    ],
)
def test_any_script_is_kept(text: str) -> None:
    for path in ("a.txt", "a.md", "a.html", "a.csv"):
        assert text in run(path, text).text
    assert text in run("a.docx", docx(word(text))).text
    assert text in run("a.jsonl", json.dumps({"x": text})).text


def test_nuls_and_lone_surrogates_never_reach_the_text() -> None:
    documents = [
        run("a.txt", b"one\0two " + b"word " * 100),
        run("a.json", b'{"a": "x\\ud800y\\u0000z"}'),
        run("a.html", "<p>x&#xd800;y&#0;z</p>"),
    ]
    for document in documents:
        document.text.encode("utf-8")
        assert "\0" not in document.text
    assert documents[0].text.startswith("onetwo") and documents[1].text == "a: x\ufffdyz"


# ── mislabelled ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_html_named_pdf_is_read_as_html() -> None:
    assert run("report.pdf", "<!doctype html><p>Please log in.</p>").type == "html"


def test_text_named_docx_is_read_with_a_warning() -> None:
    document = run("a.docx", "Just some text.")
    assert document.type == "text" and "DOCX" in document.warnings[0]


@pytest.mark.parametrize(
    ("inside", "what"), [("xl/workbook.xml", "spreadsheet"), ("content.xml", "OpenDocument"), ("x", "zip")]
)
def test_other_zips_are_named(inside: str, what: str) -> None:
    with pytest.raises(NookError, match=what) as error:
        run("a.zip", zipped({inside: "x"}))
    assert error.value.code == "unsupported" and error.value.hint


# ── language ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en", "The decision was that we raise the price in the spring, and it is not for this year."),
        ("de", "Die Entscheidung war, dass wir den Preis im Frühjahr erhöhen, und sie ist nicht für dieses Jahr."),
        ("fr", "La décision était que nous augmentons le prix au printemps et elle n'est pas pour cette année."),
        ("es", "La decisión fue que se sube el precio en la primavera y no es para este año como los otros."),
        ("it", "La decisione era che il prezzo della merce aumenta in primavera e non è per gli altri."),
        ("pt", "A decisão foi que o preço não aumenta na primavera e não é para este ano, mas para os outros."),
        ("nl", "De beslissing was dat het de prijs in het voorjaar niet is van een jaar, maar ook voor die andere."),
        ("sv", "Beslutet var att vi höjer det på våren och inte är som ett år för de andra, men till den som kan."),
        ("pl", "Decyzja jest taka, że nie podnosimy ceny w tym roku, ale jak się to stanie, to przez wiosnę."),
        ("tr", "Bu karar bir yıl için değil, ama daha sonra çok olan fiyat ve ne kadar olarak."),
        ("ru", "Решение было таким, что мы не повышаем цену в этом году, но это как и все."),
        ("uk", "Рішення було таким, що ми не підвищуємо ціну в цьому році, але це як і всі, які є."),
        ("ja", "価格を春に上げることに決めました。"),
        ("zh", "我们决定在春天提高价格。"),
        ("ko", "우리는 봄에 가격을 올리기로 했다."),
        ("ar", "قررنا رفع السعر في الربيع."),
        ("fa", "ما تصمیم گرفتیم قیمت را در بهار بالا ببریم که چه گفت پس گاه."),
        ("he", "החלטנו להעלות את המחיר."),
        ("hi", "हमने कीमत बढ़ाने का फैसला किया।"),
        ("th", "เราตัดสินใจขึ้นราคา"),
        ("el", "Αποφασίσαμε."),
        ("", "xyzzy qwrt 123"),
        ("", ""),
        ("", "12 + 34 = 46"),
    ],
)
def test_language(tag: str, text: str) -> None:
    assert guess(text) == tag


# ── the flow ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reading_pauses_and_tells_how_far_it_is() -> None:
    text = "\n\n".join(f"Paragraph {i} with *some* words in it, to be read." for i in range(20_000))
    document, seen = steps("a.md", text)
    assert sum(isinstance(item, Pause) for item in seen) >= 10
    progress = [item for item in seen if isinstance(item, Progress)]
    assert [item.done for item in progress] == sorted(item.done for item in progress)
    assert all(item.stage == "read" and item.done <= item.total for item in progress)
    assert len(document.chunks) > 1000


def test_no_pause_is_far_from_the_next() -> None:
    text = "".join(f"<h2>Part {i}</h2><p>{'word ' * 40}</p>" for i in range(4000))
    flow = read(File("a.html", text.encode()))
    gaps, last = [], perf_counter()
    for item in flow:
        if isinstance(item, Pause):
            gaps.append(perf_counter() - last)
            last = perf_counter()
    gaps.sort()
    assert len(gaps) > 5 and gaps[len(gaps) // 2] < 0.1


def test_a_flow_can_be_stopped_anywhere() -> None:
    text = "\n\n".join(f"Paragraph {i}." for i in range(50_000))
    flow = read(File("a.txt", text.encode()))
    for _ in range(3):
        next(flow)
    flow.close()
    assert next(flow, None) is None
