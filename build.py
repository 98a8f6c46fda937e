#!/usr/bin/env python3
"""Build, run, test and release Inglenook. Needs Python ≥ 3.11, git and node ≥ 20; the rest it gets itself.

python3 build.py dev                     set everything up, serve the app on localhost and open it
python3 build.py test [SUITE] [ARGS…]    engine | wire | train | system | browser | all (default); ARGS go to pytest
python3 build.py check                   linters, types, docs, generated files
python3 build.py bench NAME [ARGS…]      tests/bench/NAME.py; its last line is one JSON object
python3 build.py size                    bytes of everything that is shipped, and the budgets
python3 build.py release                 dist/: the site, the Python wheel, the npm package
python3 build.py clean                   remove what was built (the cache of downloads stays)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from buildlib import venv
from buildlib.project import Problem


def arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser("build.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pyodide-dist", metavar="URL|DIR", help="take Pyodide's wheels from its own distribution")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    dev = verbs.add_parser("dev", help="serve the app")
    dev.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    dev.add_argument("--no-open", action="store_true", help="do not open a browser")
    dev.add_argument("--no-isolation", action="store_true", help="leave off the headers that allow threads")
    test = verbs.add_parser("test", help="run the tests", add_help=False)
    test.add_argument("suite", nargs="?", default="all")
    bench = verbs.add_parser("bench", help="measure", add_help=False)
    bench.add_argument("name")
    for name in ("check", "size", "release", "clean"):
        verbs.add_parser(name)
    known, rest = parser.parse_known_args(argv)
    if rest and known.verb not in ("test", "bench"):
        parser.error(f"unknown: {' '.join(rest)}")
    return known, rest


def main(argv: list[str]) -> int:
    args, rest = arguments(argv)
    if args.verb == "clean":
        from buildlib import clean

        return clean.run()
    venv.enter([str(Path(__file__).resolve()), *argv])
    from buildlib import checks, everything, release, server, sizes, suites

    if args.verb == "dev":
        everything.build(args.pyodide_dist)
        return server.dev(args.port, isolated=not args.no_isolation, browser=not args.no_open)
    if args.verb == "test":
        return suites.run(args.suite, rest, args.pyodide_dist)
    if args.verb == "check":
        return checks.run()
    everything.build(args.pyodide_dist)
    verbs = {"bench": lambda: suites.bench(args.name, rest), "size": sizes.run, "release": release.run}
    return verbs[args.verb]()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.exit(f"build.py: {problem}" + (f"\n  {problem.hint}" if problem.hint else ""))
    except KeyboardInterrupt:
        sys.exit(130)
