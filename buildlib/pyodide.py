"""Python for the tab: Pyodide's files, its wheels, and bundles and a memory snapshot that make it start fast.

What lands in static/ and how web/lib/pyodide.js uses it:

| file | what | loaded |
|---|---|---|
| pyodide/pyodide.{mjs,asm.mjs,asm.wasm} | Pyodide itself, unchanged | by `loadPyodide({indexURL})` |
| pyodide/python_stdlib.zip | the standard library as bytecode without docstrings | by Pyodide, by this name |
| pyodide/pyodide-lock.json | Pyodide's lock, cut to the wheels that are here | by `loadPackage` |
| pyodide/*.whl | scikit-learn and what it needs, and the whole numpy | `await python.loadPackage('scikit-learn')` |
| pyodide/snapshot.bin.gz | memory after start, numpy and the engine imported | web/lib/snapshot.js |
| py/{numpy,inglenook,pypdfium2}.tar.gz | bytecode for /lib/python3.14/site-packages | web/lib/unpack.js |
| py/workbench.tar.gz | the same for what the workbench's worker alone runs, with PyYAML | `loadWorkbench` |

The snapshot fits this python_stdlib.zip and this numpy and no other; an engine that is newer than the one in it is
imported anew. Without the snapshot everything works the same, only slower.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import shutil
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buildlib import fetch
from buildlib.pins import NODE_FILES, PDFIUM, PYODIDE_FOLDER, PYODIDE_WHEELS, PYYAML
from buildlib.project import ROOT, STATIC, Problem, cache, run, sha256, step, tree

OUT = STATIC / "pyodide"
PY = STATIC / "py"
NOTICES = STATIC / "notices"
HERE = Path(__file__).parent
NODE = ROOT / "node_modules" / "pyodide"
ENGINE = ROOT / "pysrc" / "inglenook"
SITE = "/lib/python3.14/site-packages"
# By the names of pyodide-lock.json. numpy is here for scikit-learn and for those who want all of it.
WHEELS = ("numpy", "scikit-learn", "scipy", "joblib", "threadpoolctl")
# What no tab starts with: servers and machines; the workbench; readers of foreign weights with what they write; plain
# passes that tests hold ours against. The second encoder stays: pages may use it (tests/browser/test_onnx.py).
ELSEWHERE = (
    "serve/", "fleet/", "train/", "evals/", "doctor/", "prompt/", "platform/native/", "platform/browser/workbench/",
    "__main__.py", "nook.py", "kernels/",
    "elastic/convert.py", "elastic/gguf.py", "elastic/recipe.py", "elastic/reference.py", "elastic/template.py",
    "embed/convert.py", "embed/reference.py", "wire/frames.py", "wire/generate.py", "wire/session.py",
)  # fmt: skip
# What of it the workbench's worker adds; but command lines, sockets, what needs files of weights or pictures, and what
# no job there asks for.
WORKBENCH = ("evals/", "doctor/", "prompt/", "platform/browser/workbench/")
MACHINES = (
    "evals/charts/", "evals/command.py", "evals/author.py", "evals/fetch.py", "evals/finance.py", "evals/finscore.py",
    "evals/gateway.py", "evals/items.py", "doctor/command.py", "doctor/kits.py", "doctor/plain.py", "doctor/remote.py",
    "prompt/asking.py", "prompt/command.py", "prompt/given.py", "prompt/making.py",
    "evals/defects.py", "evals/judging.py", "prompt/capability.py", "prompt/chain.py", "prompt/junit.py",
    "prompt/metrics.py", "prompt/monitor.py", "prompt/sarif.py",
)  # fmt: skip
# Standard library modules that numpy and Pyodide's own code import, beside those the engine's sources name.
STDLIB = (
    "asyncio", "base64", "collections.abc", "contextlib", "ctypes", "datetime", "encodings.idna", "functools",
    "inspect", "io", "numbers", "pathlib", "pickle", "platform", "shutil", "tarfile", "textwrap", "traceback",
    "warnings",
)  # fmt: skip
# Parts of numpy that the engine's calls import only when they run.
NUMPY = ("numpy", "numpy.ma")
COMPILER = [HERE / "compile.py", HERE / "runtime.mjs", Path(__file__)]
LINKERS = [ROOT / "web" / "lib" / name for name in ("snapshot.js", "unpack.js")]


def build(dist: str | None = None) -> None:
    """Everything under static/pyodide and static/py. `dist` names a Pyodide distribution (a folder or URL) to use."""
    core = {name: NODE / Path(name).name for name in NODE_FILES if name.startswith("pyodide/")}
    step("pyodide", [*COMPILER, *core.values()], [OUT / "pyodide.mjs", OUT / "python_stdlib.zip"], _core)
    wheels = _wheels(dist)
    step("wheels", [*COMPILER, *wheels.values()], [OUT / "pyodide-lock.json"], lambda: _lock(wheels))
    step("numpy", [*COMPILER, wheels["numpy"]], [PY / "numpy.tar.gz"], lambda: _numpy(wheels["numpy"]))
    pdfium = fetch.whole(PDFIUM)
    step("pypdfium2", [*COMPILER, pdfium], [PY / "pypdfium2.tar.gz"], lambda: _pdfium(pdfium))
    engine()
    workbench()
    modules = [*sorted({*STDLIB, *_imports()}), *NUMPY, *_modules()]
    archives = [OUT / "python_stdlib.zip", PY / "numpy.tar.gz", PY / "inglenook.tar.gz"]
    parts = [*COMPILER, *LINKERS, NODE / "pyodide.asm.wasm", *archives, *modules]
    step("snapshot", parts, [OUT / "snapshot.bin.gz"], lambda: _snapshot(archives, modules))


def engine() -> None:
    """The engine's own archive."""
    files = _sources()
    inputs = [*COMPILER, *(str(path) for path in files), *files]
    step("engine", inputs, [PY / "inglenook.tar.gz"], lambda: _packed(files, PY / "inglenook.tar.gz"))


def workbench() -> None:
    """The archive that the workbench's worker unpacks beside the engine's."""
    files = [path for path in tree(ENGINE, "*.py") if _named(path, WORKBENCH) and not _named(path, MACHINES)]
    yaml = fetch.whole(PYYAML)
    inputs = [*COMPILER, *(str(path) for path in files), *files, yaml]
    step("workbench", inputs, [PY / "workbench.tar.gz"], lambda: _workbench(files, yaml))


def _core() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, digest in NODE_FILES.items():
        if name.startswith("pyodide/"):
            source = ROOT / "node_modules" / name
            if sha256(source) != digest:
                raise Problem(f"node_modules/{name} is not the pinned file.", "Remove node_modules and build again.")
            if source.suffix in (".mjs", ".wasm"):
                shutil.copyfile(source, OUT / source.name)

    def lay(folder: Path) -> None:
        with zipfile.ZipFile(NODE / "python_stdlib.zip") as bundle:
            bundle.extractall(folder)
        shutil.rmtree(folder / "pydoc_data", ignore_errors=True)

    with (
        _compiled(lay, "/lib/python314.zip", optimize=2) as folder,
        zipfile.ZipFile(OUT / "python_stdlib.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle,
    ):
        for path in tree(folder, "*"):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, path.read_bytes())


def _wheels(dist: str | None) -> dict[str, Path]:
    """Pyodide's own wheels by name, each one checked against the lock of the npm package."""
    lock = json.loads((NODE / "pyodide-lock.json").read_text())["packages"]
    names = {lock[name]["file_name"]: lock[name]["sha256"] for name in WHEELS}
    if dist is None:
        taken = fetch.take(PYODIDE_WHEELS, {PYODIDE_FOLDER + name: digest for name, digest in names.items()})
        found = {Path(member).name: path for member, path in taken.items()}
    else:
        found = {name: _from(dist, name, digest) for name, digest in names.items()}
    return {name: found[lock[name]["file_name"]] for name in WHEELS}


def _from(dist: str, name: str, digest: str) -> Path:
    """A wheel of a Pyodide distribution named by the user: a folder, or a URL."""
    kept = cache() / digest[:16] / name
    if kept.exists():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / name
        if urllib.parse.urlsplit(dist).scheme in ("http", "https"):
            with urllib.request.urlopen(f"{dist.rstrip('/')}/{name}") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        elif (Path(dist) / name).is_file():
            shutil.copyfile(Path(dist) / name, part)
        else:
            raise Problem(f"{dist} has no {name}.", "--pyodide-dist takes the folder of Pyodide's wheels, or its URL.")
        fetch.keep(part, kept, digest, f"{name} of {dist}")
    return kept


def _lock(wheels: dict[str, Path]) -> None:
    """Pyodide's lock, cut to the wheels we have; and those wheels."""
    lock = json.loads((NODE / "pyodide-lock.json").read_text())
    lock["packages"] = {name: lock["packages"][name] for name in sorted(wheels)}
    for name, path in wheels.items():
        fetch.place(path, OUT / lock["packages"][name]["file_name"])
        _notices(path, name)
    (OUT / "pyodide-lock.json").write_text(json.dumps(lock, separators=(",", ":")) + "\n")


def _numpy(wheel: Path) -> None:
    """numpy without what no tab needs: tests, type stubs, headers, the Fortran compiler."""

    def lay(folder: Path) -> None:
        with zipfile.ZipFile(wheel) as bundle:
            for name in bundle.namelist():
                parts = Path(name).parts
                if parts[0] != "numpy" or {"tests", "f2py", "include", "_pyinstaller"} & set(parts):
                    continue
                if not name.endswith((".pyi", ".pxd", ".c", ".h", ".a", "conftest.py", "py.typed")):
                    bundle.extract(name, folder)

    with _compiled(lay, SITE, optimize=2) as folder:
        pack(folder, PY / "numpy.tar.gz")


def _pdfium(wheel: Path) -> None:
    def lay(folder: Path) -> None:
        with zipfile.ZipFile(wheel) as bundle:
            for name in bundle.namelist():
                if name.split("/")[0] in ("pypdfium2", "pypdfium2_raw", "pypdfium2_cfg"):
                    bundle.extract(name, folder)

    with _compiled(lay, SITE, optimize=2) as folder:
        pack(folder, PY / "pypdfium2.tar.gz")
    _notices(wheel, "pypdfium2")


def _sources() -> list[Path]:
    return [path for path in tree(ENGINE, "*.py") if not _named(path, ELSEWHERE)]


def _named(path: Path, names: tuple[str, ...]) -> bool:
    """Whether a source of the engine is one of these, or in one of these folders."""
    return path.relative_to(ENGINE).as_posix().startswith(names)


def _packed(files: list[Path], out: Path, also: Callable[[Path], None] = lambda folder: None) -> None:
    """Sources of the engine, and what `also` lays beside them, as an archive of bytecode."""

    def lay(folder: Path) -> None:
        for path in files:
            target = folder / path.relative_to(ENGINE.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        also(folder)

    with _compiled(lay, SITE, optimize=2) as folder:
        pack(folder, out)


def _workbench(files: list[Path], wheel: Path) -> None:
    def yaml(folder: Path) -> None:
        with zipfile.ZipFile(wheel) as bundle:
            for name in bundle.namelist():
                if name.startswith("yaml/") and name.endswith(".py") and name != "yaml/cyaml.py":
                    bundle.extract(name, folder)

    _packed(files, PY / "workbench.tar.gz", yaml)
    _notices(wheel, "pyyaml")


def _imports() -> set[str]:
    """The standard library modules that the engine's sources import."""
    named: set[str] = set()
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                named.add(node.module)
    return {name for name in named if name.split(".")[0] in sys.stdlib_module_names and name != "__future__"}


def _modules() -> list[str]:
    """The engine's own modules that the tab has, by their names."""
    names = [path.relative_to(ENGINE.parent).with_suffix("").as_posix().replace("/", ".") for path in _sources()]
    return [name.removesuffix(".__init__") for name in names]


def _snapshot(archives: list[Path], modules: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "snapshot.bin"
        run([_node(), HERE / "runtime.mjs", NODE, "snapshot", out, *archives, ",".join(modules)], quiet=True)
        (OUT / "snapshot.bin.gz").write_bytes(gzip.compress(out.read_bytes(), 9, mtime=0))


@contextmanager
def _compiled(lay: Callable[[Path], None], prefix: str, optimize: int) -> Iterator[Path]:
    """A folder of bytecode, made by the tab's Python from what `lay` puts into a folder."""
    with tempfile.TemporaryDirectory() as name:
        job = Path(name)
        (job / "in").mkdir()
        (job / "out").mkdir()
        lay(job / "in")
        (job / "job.json").write_text(json.dumps({"prefix": prefix, "optimize": optimize}))
        run([_node(), HERE / "runtime.mjs", NODE, "compile", job], quiet=True)
        yield job / "out"


def _node() -> str:
    return shutil.which("node") or "node"


def pack(folder: Path, out: Path) -> None:
    """A folder as .tar.gz, the same bytes each time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in tree(folder, "*"):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)
    out.write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))


def _notices(wheel: Path, name: str) -> None:
    """The licence files of a wheel, to static/notices/."""
    folder = NOTICES / name
    with zipfile.ZipFile(wheel) as bundle:
        for member in bundle.namelist():
            path = Path(member)
            inside = any(part.endswith(".dist-info") for part in path.parts[:1])
            named = "licenses" in path.parts or path.name.upper().startswith(("LICEN", "COPYING", "NOTICE"))
            if inside and named and not member.endswith("/"):
                target = folder.joinpath(*path.parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(bundle.read(member))
