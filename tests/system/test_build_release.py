"""What is released works without the source tree: the site on a plain server, the wheels in an empty folder."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from buildlib import assets, project, pyodide, release, sizes, wheels

BUILT = (
    "static/assets.json",
    "static/samples/sample.nook",
    "static/py/inglenook.tar.gz",
    "static/models/minilm-l6.nkm",
)
IMPORT_ALL = """
import importlib, pathlib, sys
import inglenook
root = pathlib.Path(inglenook.__file__).parent
extra = ("inglenook.train.", "inglenook.fleet.torch.", "inglenook.fleet.cold.worker")
print(root)
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    try:
        importlib.import_module(name.removesuffix(".__init__"))
    except ModuleNotFoundError as error:  # torch is an extra, of training and the fleet's workers
        if error.name != "torch" or not name.startswith(extra):
            raise
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., Path]) -> Path:
    needs(*BUILT)
    return release.site(tmp_path_factory.mktemp("release") / "site")


@pytest.fixture(scope="module")
def plain(site: Path) -> Iterator[str]:
    """The site as `python -m http.server` gives it: no ranges, no headers of ours. Below a folder, as hosts do."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site.parent))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/site/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.own(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., Path]) -> Path:
    """A folder with both wheels installed by pip and nothing else of ours."""
    needs("pysrc/inglenook/kernels/libmodels.so")
    folder = tmp_path_factory.mktemp("wheels")
    made = [wheel, wheels.kernels(folder, release.version())]
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", target, *made], check=True)
    return target


def run(installed: Path, *arguments: str | Path) -> str:
    """Run Python on the installed wheels, away from the source tree."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=installed, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_of_a_release_is_what_is_there(site: Path) -> None:
    files = {entry["path"]: entry for entry in json.loads((site / "static/assets.json").read_text())["files"]}
    for path, entry in files.items():
        assert (site / path).stat().st_size == entry["size"], path
    shell = {path for path, entry in files.items() if entry["group"] == "shell"}
    own = {path.relative_to(assets.WEB).as_posix() for path in assets.WEB.rglob("*") if path.is_file()}
    bundled = {path for path in own if path.startswith(("app/", "workbench/"))}
    assert bundled and shell == own - bundled - {"sw.js"}
    assert sizes.imported(site / "main.js") == [(site / "main.js").resolve()], "one script, not sixty"
    assert files["main.js"]["sha256"] == assets.describe(site / "main.js", site)["sha256"]
    assert not {
        path for path in files if path.startswith(("bench/", "tests/")) or path.endswith((".gguf", ".safetensors"))
    }
    assert all((site / name).exists() for name in (*release.LEGAL, "sw.js", "static/notices/numpy"))


@pytest.mark.slow
def test_the_site_searches_on_any_server(page: Any, plain: str, console: Any) -> None:
    page.set_default_timeout(180_000)
    page.goto(plain)
    page.get_by_role("button", name="Open the sample library").click()
    page.locator("#question").fill("Who declared unconditional war on poverty?")
    page.locator("#question").press("Enter")
    page.get_by_text("declares unconditional war on poverty").first.wait_for()


def test_every_module_of_the_wheel_can_be_imported(installed: Path) -> None:
    found = run(installed, "-c", IMPORT_ALL).splitlines()
    assert found == [str(installed / "inglenook")]


def test_the_wheel_indexes_and_searches(installed: Path, needs: Callable[..., Path], tmp_path: Path) -> None:
    models = needs("static/models/minilm-l6.nkm").parent
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "hearth.md").write_text("# Hearth\n\nThe chimney pulls the smoke up.\n")
    main = (
        "import os, sys; os.environ['INGLENOOK_MODELS'] = sys.argv.pop(1); import inglenook.__main__ as it; it.main()"
    )
    nook = tmp_path / "notes.nook"
    run(installed, "-c", main, models, "index", tmp_path / "notes", "-o", nook)
    told = run(installed, "-c", main, models, "search", nook, "what carries fumes away", "--json")
    assert "chimney" in told


def test_a_wheel_is_the_same_each_time_and_keeps_lines_and_docstrings(wheel: Path, tmp_path: Path) -> None:
    assert wheels.own(tmp_path).read_bytes() == wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    source = '"""Doc. # no comment"""\n\n# gone\nx = "# stays"  # gone\n'
    assert wheels.bare(source.encode()).decode() == '"""Doc. # no comment"""\n\n\nx = "# stays"\n'


def test_the_kernels_are_asked_for_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "ROOT", tmp_path)
    with pytest.raises(project.Problem, match="not built"):
        wheels.kernels(tmp_path, "1.0")


def test_nothing_the_tab_loads_is_left_out_of_its_archive() -> None:
    """What the tab's modules import of the engine is in its archive too, but for what only a machine imports."""
    files = pyodide._sources()
    kept = {_module(path) for path in files}
    left_out = {_module(path) for path in project.tree(pyodide.ENGINE, "*.py")} - kept
    missing = {(_module(path), name) for path in files for name in _imported(path) & left_out}
    assert missing == {
        ("inglenook", "inglenook.nook"),
        ("inglenook.elastic.shape", "inglenook.elastic.gguf"),  # for the types alone
        ("inglenook.index.public", "inglenook.platform.native.store"),
        ("inglenook.onnx", "inglenook.platform.native"),
        ("inglenook.onnx", "inglenook.platform.native.onnx"),
    }


def _module(path: Path) -> str:
    return ".".join(path.relative_to(pyodide.ENGINE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path) -> set[str]:
    """All that a module imports, and what may be a module among the names it takes from one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


CONSUMER = """
import { open, NookError } from 'inglenook';
import 'inglenook/elements';

const nook = await open('mine');
const { hits } = await nook.search('fire', { k: 3 });
const first: string = hits[0].text;
const made = await nook.chat.completions.create({ messages: [{ role: 'user', content: first }], slo: { first: 800 } });
export const text: string = made.choices[0].message.content ?? '';
// @ts-expect-error -- a number is no name
await open(5);
export const told = (error: unknown): string => (error instanceof NookError ? error.hint : '');
"""


def test_the_npm_package_is_whole_and_its_types_are_those_of_its_scripts(
    tmp_path: Path, needs: Callable[..., Path]
) -> None:
    needs(*BUILT, "node_modules/.bin/tsc")
    package = release.npm(tmp_path)
    modules = tmp_path / "app" / "node_modules"
    with tarfile.open(package) as packed:
        packed.extractall(modules, filter="data")
    root = (modules / "package").rename(modules / "inglenook")
    described = json.loads((root / "package.json").read_text())
    assert all((root / file).exists() for entry in (".", "./elements") for file in described["exports"][entry].values())
    assert (root / "static" / "models" / "minilm-l6.nkm").exists() and not (root / "app").exists()
    assert not [path for path in root.rglob("*.d.ts") if not path.with_suffix("").with_suffix(".js").exists()]
    (tmp_path / "app" / "app.ts").write_text(CONSUMER)
    how = "--noEmit --strict --target esnext --module esnext --moduleResolution bundler --lib esnext,dom"
    command = [project.ROOT / "node_modules" / ".bin" / "tsc", *how.split(), "app.ts"]
    told = subprocess.run(command, cwd=tmp_path / "app", capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
