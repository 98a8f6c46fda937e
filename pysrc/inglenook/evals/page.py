"""Results for people: tables as text, and tables and marked texts as one HTML file that needs nothing else.

The file has no scripts and asks for nothing: its own policy allows its style, by hash, and forbids the rest. Whoever
makes one gives words; escaping is done here.
"""

from __future__ import annotations

import base64
import hashlib
import html as markup
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from inglenook.types import Json

Tone: TypeAlias = Literal["", "good", "bad", "open"]
_STYLE = """
:root { color-scheme: light dark; --paper: light-dark(#fbf7ef, #1b1613); --ink: light-dark(#2b2118, #f0e6d8);
  --soft: light-dark(#68594a, #b8a795); --line: light-dark(#dfd4c2, #3d3229); --sunk: light-dark(#f2ebdd, #15110e);
  --good: light-dark(#44613a, #a9c995); --bad: light-dark(#a3271b, #f5998a); --open: light-dark(#80560a, #e3b968); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word; }
h1 { line-height: 1.2; margin-bottom: .25rem; }
h1 .badge { font-size: 1rem; vertical-align: middle; }
section { margin: 1.5rem 0 2.25rem; overflow-x: auto; }
h2, caption { font-size: 1.15rem; font-weight: 600; text-align: left; margin: 0; padding: .25rem 0; }
table { border-collapse: collapse; min-width: min(30rem, 100%); }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .875rem; vertical-align: bottom; }
td { max-width: 30rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.share { white-space: nowrap; font-variant-numeric: tabular-nums; }
meter { width: 6rem; margin-right: .5rem; vertical-align: middle; }
.note { color: var(--soft); margin: .25rem 0 .5rem; max-width: 48rem; }
.badge { border: 1px solid; border-radius: 1rem; padding: .05rem .6rem; font-size: .875rem; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
pre { background: var(--sunk); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  white-space: pre-wrap; font: .875rem/1.7 ui-monospace, monospace; margin: .25rem 0 1rem; }
mark { background: none; color: var(--ink); border-bottom: 2px solid var(--line); }
mark small { color: var(--soft); font: .75rem system-ui, sans-serif; margin-right: .35rem; user-select: none; }
mark.good { border-color: var(--good); } mark.bad { border-color: var(--bad); } mark.open { border-color: var(--open); }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{_HASH}'"


@dataclass(frozen=True, slots=True)
class Badge:
    """A word that says how something stands."""

    word: str
    tone: Tone = ""

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, 0 … 1, drawn as a bar."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.0%}"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words, numbers, badges and shares; None is shown as "-". `note` says how to read it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of a text, and the name of the part it came from ("": of none)."""

    text: str
    name: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """Texts with their parts marked, each under a heading of its own: (heading, pieces)."""

    title: str
    texts: Sequence[tuple[str, Sequence[Mark]]]
    note: str = ""


def text(tables: Sequence[Table]) -> str:
    """Plain text in columns."""
    parts = []
    for table in tables:
        cells = [list(table.columns), *([_cell(value) for value in row] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        numbers = [all(_is_number(row[at]) for row in table.rows) and bool(table.rows) for at in range(len(widths))]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(row, widths, numbers)
            ).rstrip()
            for row in cells
        ]
        lines += [table.note] * bool(table.note)
        parts.append("\n".join([table.title, *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def html(title: str, parts: Sequence[Table | Passage], told: Json, badge: Badge | None = None, note: str = "") -> str:
    """One file; `told` goes along as JSON for programs."""
    data = json.dumps(told, ensure_ascii=False).replace("<", "\\u003c")
    body = "\n".join(_table(one) if isinstance(one, Table) else _passage(one) for one in parts)
    head = markup.escape(title) + (f" {_badge(badge)}" if badge else "")
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{markup.escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<h1>{head}</h1>{_note(note)}\n{body}\n"
        f'<script type="application/json" id="results">{data}</script>\n</html>\n'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{markup.escape(one)}</th>' if one else "<td></td>" for one in table.columns)
    rows = "\n".join(f"<tr>{''.join(map(_column, row))}</tr>" for row in table.rows)
    top = f"<caption>{markup.escape(table.title)}</caption>\n<thead><tr>{head}</tr></thead>"
    return f"<section><table>\n{top}\n<tbody>\n{rows}\n</tbody>\n</table>{_note(table.note)}</section>"


def _passage(passage: Passage) -> str:
    texts = "".join(
        f'<p class="note">{markup.escape(name)}</p><pre>{"".join(map(_mark, pieces))}</pre>'
        for name, pieces in passage.texts
    )
    return f"<section><h2>{markup.escape(passage.title)}</h2>{_note(passage.note)}{texts}</section>"


def _mark(mark: Mark) -> str:
    said = markup.escape(mark.text)
    if not (mark.name or mark.tone):
        return said
    label = f"<small>{markup.escape(mark.name)}</small>" if mark.name else ""
    return f'<mark class="{mark.tone}">{label}{said}</mark>'


def _column(value: Any) -> str:
    if isinstance(value, Badge):
        return f"<td>{_badge(value)}</td>"
    if isinstance(value, Share):
        return f'<td class="share"><meter value="{value.value:.4f}">{value}</meter>{value}</td>'
    return f"<td{' class=number' * _is_number(value)}>{markup.escape(_cell(value))}</td>"


def _badge(badge: Badge) -> str:
    return f'<span class="badge {badge.tone}">{markup.escape(badge.word)}</span>'


def _note(note: str) -> str:
    return f'\n<p class="note">{markup.escape(note)}</p>' if note else ""


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if type(value) is int else str(value)


def _is_number(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value.rstrip("%").strip().replace(".", "", 1).isdigit())
