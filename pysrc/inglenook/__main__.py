"""The command line: `inglenook index | search | ask | export | serve | train | doctor | prompt | eval | fleet`.

What it prints is on stdout, progress on stderr.

Exit codes: 0 done; 1 an error, told in one line; 2 wrong usage; 3 done, but some files could not be read;
4 something is wrong with the engine that was examined; 130 stopped by Ctrl+C (what was stored stays).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import inglenook
from inglenook.doctor import command as doctor_command
from inglenook.errors import NookError
from inglenook.evals import command as eval_command
from inglenook.evals.command import positive
from inglenook.fleet import command as fleet_command
from inglenook.prompt import command as prompt_command
from inglenook.train import command as train_command
from inglenook.types import Filter, Hit
from inglenook.wire import messages as wire

FAILED, PARTLY, STOPPED = 1, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding shows "?" rather than fail
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except NookError as error:
        print(f"inglenook: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("inglenook: stopped; what was stored stays.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # `inglenook search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        hint = "See to the path, to its rights and to the room on the disk."
        told = NookError("io", f"{error.filename or 'A file'}: {error.strerror or error}.", hint)
        print(f"inglenook: {told}", file=sys.stderr)
        return FAILED


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    top = argparse.ArgumentParser(prog="inglenook", description="Private AI for the documents you already have.")
    top.add_argument("--version", action="version", version=f"inglenook {inglenook.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    index = _command(commands, "index", _index, "read files and folders into a .nook file")
    index.add_argument("paths", nargs="+", type=Path, metavar="DIR", help="folders and files to read")
    index.add_argument("-o", "--output", type=Path, default=Path("docs.nook"), help="the .nook file (docs.nook)")
    index.add_argument("--collection", default="notes", help="the collection the files go to (notes)")
    index.add_argument("--prune", action="store_true", help="forget documents of the collection that are not there now")

    search = _command(commands, "search", _search, "find passages")
    _questions(search, "query", "words, or a question")
    search.add_argument(
        "--mode", choices=("hybrid", "lexical", "vector"), default="hybrid",
        help="by words and meaning, by words alone, by meaning alone (hybrid)",
    )  # fmt: skip

    ask = _command(commands, "ask", _ask, "answer a question from the documents")
    _questions(ask, "question", "what to answer from the documents")
    ask.add_argument("--no-write", action="store_true", help="only the passages that answer, no model")
    ask.add_argument("--tokens", type=positive, default=160, metavar="N", help="the longest written answer (160)")

    export = _command(commands, "export", _export, "write the whole nook to one compact file")
    export.add_argument("nook", type=Path, help="the .nook file")
    export.add_argument("output", type=Path, help="the file to write")

    serve = _command(commands, "serve", _serve, "answer over a WebSocket and as OpenAI does, with the site beside")
    serve.add_argument("nook", type=Path, help="the .nook file")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1: this machine only)")
    serve.add_argument("--port", type=int, default=8765, help="the port; 0 takes any (8765)")
    serve.add_argument("--site", type=Path, metavar="DIR", help="a folder of files to serve beside the socket")
    serve.add_argument("--fleet", type=Path, metavar="TOML", help="serve the models that a file names, too")
    serve.add_argument("--origin", action="append", default=[], metavar="URL", help="a page that may connect, too")
    serve.add_argument(
        "--key", help="what clients must know; better in $INGLENOOK_KEY, where no list of processes has it"
    )
    serve.add_argument(
        "--log", choices=("quiet", "text", "json"), default="quiet", help="a line for each request (quiet)"
    )
    rights = serve.add_mutually_exclusive_group()
    rights.add_argument("--writable", action="store_true", default=None, help="clients may change the nook")
    rights.add_argument("--read-only", dest="writable", action="store_false", help="clients may not change the nook")

    about = "prepare a model for the tab (needs inglenook[train])"
    train_command.add(commands.add_parser("train", help=about, description=about.capitalize() + "."))
    about = "find out what is wrong with a language model's engine, and why"
    doctor_command.add(commands.add_parser("doctor", help=about, description=about.capitalize() + "."))
    about = "measure any model: fairness in roles, questions about financial charts"
    eval_command.add(commands.add_parser("eval", help=about, description=about.capitalize() + "."))
    about = "check, try, build and exchange prompts that are files"
    prompt_command.add(commands.add_parser("prompt", help=about, description=about.capitalize() + "."))
    about = "models for many workers: convert and verify what they fetch"
    fleet_command.add(commands.add_parser("fleet", help=about, description=about.capitalize() + "."))
    return top


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    command.set_defaults(command=run)
    command.add_argument("--json", action="store_true", help="print JSON") if name != "serve" else None
    return command


def _questions(command: argparse.ArgumentParser, name: str, help: str) -> None:
    command.add_argument("nook", type=Path, help="the .nook file")
    command.add_argument(name, help=help)
    command.add_argument("-k", type=positive, default=8 if name == "question" else 10, help="how many passages")
    command.add_argument("--collection", action="append", default=[], help="only of this collection")
    command.add_argument("--path", action="append", default=[], metavar="GLOB", help="only of these files")
    command.add_argument("--type", action="append", default=[], help="only of this type (pdf, markdown, …)")


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _index(options: argparse.Namespace) -> int:
    for path in options.paths:
        if not path.exists():
            raise NookError("no-file", f"{path} is not there.", "Check the spelling.")
    with _progress() as report, _nook(options.output, make=True) as nook:
        results = nook.add(options.paths, options.collection, report)
        skipped = [result for result in results if isinstance(result, wire.Skipped)]
        added = [result for result in results if isinstance(result, wire.Added)]
        removed: list[str] = []
        if options.prune:
            seen = {result.path for result in skipped} | {result.card.path for result in added}
            gone = [c for c in nook.documents() if c.collection == options.collection and c.path not in seen]
            removed = [card.path for card in gone]
            nook.remove([card.document for card in gone])
        status = nook.library.status()
    unchanged = sum(result.unchanged for result in added)
    if options.json:
        _print_json(
            {
                "added": [result.card.path for result in added if not result.unchanged],
                "unchanged": unchanged,
                "removed": removed,
                "skipped": [dataclasses.asdict(result) for result in skipped],
                "documents": status.documents,
                "chunks": status.chunks,
                "vectors": status.vectors,
            }
        )
    else:
        parts = [f"{len(added) - unchanged} read", f"{unchanged} unchanged", f"{len(skipped)} skipped"]
        parts += [f"{len(removed)} removed"] if removed else []
        print(f"{options.output}: {', '.join(parts)}; {status.documents} documents, {status.chunks} passages.")
    return PARTLY if skipped else 0


def _search(options: argparse.Namespace) -> int:
    with _nook(options.nook) as nook:
        hits = nook.search(options.query, options.k, _filter(options), options.mode)
    if options.json:
        _print_json([dataclasses.asdict(hit) for hit in hits])
        return 0
    for n, hit in enumerate(hits, 1):
        print(f"{n}. {_place(hit)}  {hit.score:.3f}")
        print(f"   {' '.join(hit.text.split())}")
    if not hits:
        print("Nothing was found.")
    return 0


def _ask(options: argparse.Namespace) -> int:
    with _nook(options.nook) as nook:
        question: dict[str, Any] = {
            "k": options.k, "filter": _filter(options), "write": not options.no_write, "max_tokens": options.tokens,
        }  # fmt: skip
        if options.json:
            _print_json(dataclasses.asdict(nook.ask(options.question, **question)))
            return 0
        nook.prepare()
        sources: dict[tuple[str, int], tuple[int, Hit]] = {}

        def number(hit: Hit) -> int:
            return sources.setdefault((hit.document, hit.chunk), (len(sources) + 1, hit))[0]

        written = False
        for event in nook.stream(wire.Ask(options.question, **question)):
            match event:
                case wire.Passage():
                    print(f"{' '.join(event.text.split())} [{number(event.hit)}]", flush=True)
                case wire.NoSource():
                    near = " The nearest passages:" if event.nearest else ""
                    print(f"No source found: nothing in the documents answers this.{near}")
                    for hit in event.nearest:
                        number(hit)
                case wire.Token():
                    print(event.text if written else f"\n{event.text.lstrip()}", end="", flush=True)
                    written = True
                case wire.Citation():
                    number(event.hit)
        print("\n" if written else "")
        for n, hit in sources.values():
            print(f"[{n}] {_place(hit)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _nook(options.nook) as nook:
        path = nook.export(options.output)
    size = path.stat().st_size
    _print_json({"path": str(path), "size": size}) if options.json else print(f"{path}: {size / 1e6:.1f} MB.")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from inglenook.serve import run

    writable = run.is_loopback(options.host) if options.writable is None else options.writable
    key = options.key or os.environ.get("INGLENOOK_KEY", "")
    with _nook(options.nook, where="server") as nook, _fleet(options.fleet) as fleet, suppress(KeyboardInterrupt):
        rights = "clients may change it" if writable else "read-only"
        if not key and not run.is_loopback(options.host):
            rights += "; whoever reaches it may ask, --key lets in who knows it"
        run.serve(
            nook,
            options.host,
            options.port,
            site=options.site,
            allow=options.origin,
            writable=writable,
            log=options.log,
            key=key,
            fleet=fleet,
            ready=lambda url: print(f"{options.nook} is at {url} ({rights}). Ctrl+C ends it.", flush=True),
        )
    return 0


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _nook(path: Path, make: bool = False, where: str = "machine") -> Iterator[inglenook.Nook]:
    if not make and not path.is_file():
        raise NookError("no-nook", f"{path} is not there.", f"Make it: inglenook index DIR -o {path}")
    if make and not path.parent.is_dir():
        raise NookError("no-folder", f"The folder {path.parent} is not there.", "Make it first.")
    with inglenook.Nook(path, where=where) as nook:
        yield nook


@contextmanager
def _fleet(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield None
        return
    from inglenook.fleet.cold import outline
    from inglenook.fleet.config import Config
    from inglenook.fleet.serving import Serving
    from inglenook.fleet.tokenizers import tokenizers
    from inglenook.serve.fleet import Fleet

    config = Config.load(path)
    outline.bring(config)
    known = tokenizers(config)
    with Serving.start(config, told=lambda line: print(line, flush=True)) as serving:
        yield Fleet(serving, known)


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(tuple(options.collection), tuple(options.path), tuple(options.type))


def _place(hit: Hit) -> str:
    parts = [hit.path, f"page {hit.page}" if hit.page else "", hit.heading]
    return ", ".join(part for part in parts if part)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def _progress() -> Iterator[Callable[[wire.Event], None]]:
    """Tells on stderr what goes on: a line that changes on a terminal, only what went wrong elsewhere."""
    live = sys.stderr.isatty()
    shown = ""

    def clear() -> None:
        nonlocal shown
        if shown:
            print("\r" + " " * len(shown) + "\r", end="", file=sys.stderr, flush=True)
            shown = ""

    def report(event: wire.Event) -> None:
        nonlocal shown
        if isinstance(event, wire.Skipped):
            clear()
            print(f"skipped: {event.message} ({event.code}) {event.hint}".rstrip(), file=sys.stderr)
        elif isinstance(event, wire.Added):
            for warning in event.warnings:
                clear()
                print(f"{event.card.path}: {warning}", file=sys.stderr)
        elif isinstance(event, wire.Progress):
            if event.stage == "embed" and not event.total and event.note:
                clear()
                print(event.note, file=sys.stderr)
            elif live:
                clear()
                share = f"{event.done:.0f}/{event.total:.0f} {event.unit}" if event.total else ""
                shown = f"{event.stage} {share} {event.note}"[:100]
                print(shown, end="", file=sys.stderr, flush=True)

    try:
        yield report
    finally:
        clear()


if __name__ == "__main__":
    sys.exit(main())
