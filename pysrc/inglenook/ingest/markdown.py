"""Markdown as plain text with its structure: headings, lists, tables, quotes, code.

The block rules of CommonMark that matter for reading, GitHub's tables, and front matter; marks of emphasis, links and
HTML tags give way to their text (the source: spec.commonmark.org, 0.31).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from inglenook.ingest.block import Writer, one_line
from inglenook.ingest.table import row

_FENCE = re.compile(r" {0,3}(?:>\s?)*(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)(.*)")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]+|$)(?:\[[ xX]\][ \t]+)?")
_DIVIDER = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_QUOTE = re.compile(r"^ {0,3}(?:>[ ]?)+")
_REFERENCE = re.compile(r" {0,3}\[[^\[\]\n]{1,200}\]:[ \t]*\S+")
_RAW = re.compile(r" {0,3}<(script|style|template)\b", re.I)
_FRONT = re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.S)

_MARKED = re.compile(r"[`*_\[<&\\~]")
_LONGEST = 400  # lines of a list
_COMMENT = re.compile(r"<!--.{0,20000}?-->", re.S)
_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n](?:[^\n]{0,400}?[^`])??)\1(?!`)")
_IMAGE = re.compile(r"!\[([^\[\]]{0,500})\](?:\([^()\n]{0,2000}\)|\[[^\[\]]{0,200}\])")
_LINK = re.compile(r"\[([^\[\]]{1,1000})\](?:\((?:[^()\n]|\([^()\n]{0,500}\)){0,2000}\)|\[[^\[\]]{0,200}\])")
_AUTO = re.compile(r"<((?:https?|mailto):[^\s<>]{1,2000})>")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,1000}>")
_STRONG = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*]{1,1000}?)(?<=[^\s*])\1(?!\*)")
_UNDER = re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])([^_]{1,1000}?)(?<=[^\s_])\1(?![\w_])")
_STRIKE = re.compile(r"~~(?=\S)([^~]{1,1000}?)(?<=\S)~~")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def inline(text: str) -> str:
    """A text without the marks of Markdown: what a reader of the rendered page sees."""
    if not _MARKED.search(text) or len(text) > 100_000:  # so much is no paragraph; leave it as it is
        return text
    kept: list[str] = []

    def keep(literal: str) -> str:
        kept.append(literal)
        return f"\x00{len(kept) - 1}\x01"  # `clean` has left no such characters in the text

    text = _CODE.sub(lambda match: keep(match[2].strip() or match[2]), text)
    text = _ESCAPE.sub(lambda match: keep(match[1]), text)
    text = _AUTO.sub(lambda match: keep(match[1]), text)
    text = _IMAGE.sub(r"\1", _COMMENT.sub("", text))
    text = _TAG.sub("", _LINK.sub(r"\1", text))
    for _ in range(2):  # bold inside italics and the other way round
        text = _STRIKE.sub(r"\1", _UNDER.sub(r"\2", _STRONG.sub(r"\2", text)))
    text = html.unescape(text) if "&" in text else text
    return re.sub("\x00(\\d+)\x01", lambda match: kept[int(match[1])], text)


def parse(text: str, writer: Writer) -> Iterator[int]:
    """Blocks of a Markdown text. Yields characters done."""
    at = 0
    front = _FRONT.match(text, 0, 20_000)
    if front:
        _front_matter(front[1], writer)
        at = front.end()
    lines = text[at:].split("\n")
    done, number, count = at, 0, len(lines)
    while number < count:
        taken = _block(lines, number, writer)
        done += sum(len(line) + 1 for line in lines[number : number + taken])
        number += taken
        yield min(done, len(text))


def _front_matter(text: str, writer: Writer) -> None:
    title = re.search(r"^title:[ \t]*(.+)$", text, re.M)
    if title:
        writer.title = title[1].strip().strip("\"'")
    writer.block(text.strip("\n"), "list")


def _block(lines: list[str], at: int, writer: Writer) -> int:
    """Write the block that begins at line `at`; returns how many lines it took."""
    line = lines[at]
    if not line.strip():
        return 1
    if fence := _FENCE.match(line):
        return _fenced(lines, at, fence[1], writer)
    if heading := _ATX.match(line):
        writer.heading(inline(re.sub(r"(?:^|[ \t]+)#+[ \t]*$", "", heading[2].rstrip())), len(heading[1]))
        return 1
    if _RULE.match(line):
        return 1
    if raw := _RAW.match(line):
        return _until(lines, at, f"</{raw[1].lower()}")
    if line.lstrip().startswith("<!--"):
        return _until(lines, at, "-->")
    if _REFERENCE.match(line):
        return 1
    if line.startswith(("    ", "\t")) and not _ITEM.match(line):
        return _indented(lines, at, writer)
    if "|" in line and at + 1 < len(lines) and "-" in lines[at + 1] and _DIVIDER.match(lines[at + 1]):
        return _table(lines, at, writer)
    if _ITEM.match(line):
        return _list(lines, at, writer)
    return _paragraph(lines, at, writer)


def _until(lines: list[str], at: int, mark: str) -> int:
    end = at
    while end < len(lines) and mark not in lines[end].lower():
        end += 1
    return min(end, len(lines) - 1) - at + 1


def _fenced(lines: list[str], at: int, fence: str, writer: Writer) -> int:
    end = at + 1
    while end < len(lines):
        close = _FENCE.match(lines[end])
        if close and close[1].startswith(fence) and not lines[end].strip(" >`~"):
            break
        end += 1
    writer.block("\n".join(_QUOTE.sub("", line) if lines[at].lstrip().startswith(">") else line
                           for line in lines[at + 1 : end]).strip("\n"), "code")  # fmt: skip
    return end - at + 1


def _indented(lines: list[str], at: int, writer: Writer) -> int:
    end = at
    while end < len(lines) and (lines[end].startswith(("    ", "\t")) or not lines[end].strip()):
        end += 1
    code = [line[4:] if line.startswith("    ") else line[1:] for line in lines[at:end]]
    writer.block("\n".join(code).strip("\n"), "code")
    return end - at


def _table(lines: list[str], at: int, writer: Writer) -> int:
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    rows = [row(_cells(line)) for line in (lines[at], *lines[at + 2 : end])]
    writer.block("\n".join(line for line in rows if line), "table", rows[0] if len(rows) > 1 else "")
    return end - at


def _cells(line: str) -> list[str]:
    line = line.strip()
    line = line.removeprefix("|")
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    return [inline(cell.replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", line)]


def _list(lines: list[str], at: int, writer: Writer) -> int:
    """Items with their continuation lines; code inside an item stays as it is."""
    out: list[str] = []
    end, blank, fence = at, False, ""
    while end < len(lines):
        line = lines[end]
        mark = _FENCE.match(line.lstrip())
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
            else:
                out.append(line)
        elif not line.strip():
            blank = True
        elif (item := _ITEM.match(line)) and not _RULE.match(line):
            if end - at > _LONGEST and len(item[1]) <= len(lines[at]) - len(lines[at].lstrip()):
                break  # what follows is a list of its own: so a very long one can pause
            bullet = item[2] if item[2][0].isdigit() else "-"
            out.append(f"{item[1].expandtabs(4)}{bullet} {inline(line[item.end() :])}")
            blank = False
        elif line.startswith((" ", "\t")):
            if mark:
                fence = mark[1]
            else:
                out.append(line[: len(line) - len(line.lstrip())] + inline(line.strip()))
            blank = False
        elif blank or _ATX.match(line) or mark or _RULE.match(line):
            break
        else:
            out.append(inline(line))
        end += 1
    writer.block("\n".join(out), "list")
    return end - at


def _paragraph(lines: list[str], at: int, writer: Writer) -> int:
    parts: list[str] = []
    end = at
    while end < len(lines):
        line = _QUOTE.sub("", lines[end])
        if not line.strip():
            break
        if end > at and not line == lines[end] == "":
            setext = _SETEXT.match(line)
            if setext:
                writer.heading(inline(" ".join(parts)), 1 if setext[1][0] == "=" else 2)
                return end - at + 1
            item = _ITEM.match(line)
            if _ATX.match(line) or _FENCE.match(line) or _RULE.match(line) or (item and not item[2][0].isdigit()):
                break
        hard = line.endswith(("  ", "\\"))
        parts.append(line.strip().removesuffix("\\") + ("\n" if hard else " "))
        end += 1
    paragraph = inline("".join(parts))
    writer.block("\n".join(one_line(part) for part in paragraph.split("\n")).strip())
    return max(1, end - at)
