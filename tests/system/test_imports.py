"""How the rooms depend on one another: on what lies below them, never in a circle."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from buildlib.pyodide import ELSEWHERE

SOURCES = Path(__file__).parents[2] / "pysrc"


def module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The `known` modules that a module imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from known & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield from known & {name if name in known else node.module}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules each of which imports the one before it, the first being the last; empty if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_in_a_circle() -> None:
    paths = {module(path): path for path in SOURCES.rglob("*.py")}
    del paths["inglenook"]  # the package's own name hands on `Nook` when somebody asks for it
    imports = {name: set(imported(path, set(paths))) for name, path in paths.items()}
    assert imports["inglenook.onnx"] > {"inglenook.platform.native.onnx", "inglenook.platform.browser.onnx"}
    assert circle(imports) == []
    assert "inglenook.errors" in circle({**imports, "inglenook.errors": {"inglenook.nook"}})


WITHOUT = """
import importlib, sys

class Away:
    @staticmethod
    def find_spec(name, path, target=None):
        if any(name == room or name.startswith(room + ".") for room in ROOMS):
            raise ModuleNotFoundError(f"{name} is not in the tab")

ROOMS = sys.argv[1:]
sys.meta_path.insert(0, Away)
library = importlib.import_module("inglenook.library")
for room, name in library.ROOMS.values():
    getattr(importlib.import_module(f"inglenook.{room}"), name)
"""


def test_a_tab_starts_without_what_is_left_out_of_it() -> None:
    rooms = [f"inglenook.{name.rstrip('/').removesuffix('.py').replace('/', '.')}" for name in ELSEWHERE]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *rooms], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
