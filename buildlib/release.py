"""dist/: the site as one folder, the Python wheels, and the npm package."""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from pathlib import Path

from buildlib import assets, bundle, venv, wheels
from buildlib.project import DIST, ROOT, STATIC, Problem, say, tree
from buildlib.project import run as call

WEB = ROOT / "web"
# The npm package carries what search needs; the language model and the sample library stay with the site.
NPM_GROUPS = ("core", "encoder", "pdf")
LEGAL = ("LICENSE", "THIRD_PARTY.md")
ENTRIES = {".": "inglenook.js", "./elements": "elements.js"}


def run() -> int:
    """Make all of dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    number = version()
    site(DIST / "site")
    made = [wheels.own(DIST), wheels.kernels(DIST, number), npm(DIST)]
    for path in made:
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")
    return 0


def version() -> str:
    """The one version, of pyproject.toml; package.json must agree."""
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    node = json.loads((ROOT / "package.json").read_text())["version"]
    if python != node:
        raise Problem(f"pyproject.toml says {python}, package.json says {node}.", "Make them the same.")
    return str(python)


def site(out: Path, groups: tuple[str, ...] | None = None) -> Path:
    """The page and what it downloads, as any static server can serve it. `groups` limits the assets."""
    shutil.copytree(WEB, out)
    bundle.make(out, "--allow-overwrite", "--minify-syntax", "--minify-whitespace")
    for folder in ("app", "workbench"):
        shutil.rmtree(out / folder)  # it is in main.js, and in workbench.js
    chosen = [
        path
        for path in tree(STATIC, "*")
        if (groups is None and not _source(path)) or assets.group(path) in (groups or ())
    ]
    entries = json.loads(assets.MANIFEST.read_text())["files"]
    for path in [*chosen, *tree(STATIC / "notices", "*")]:
        target = out / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    kept = [entry for entry in entries if (out / str(entry["path"])).exists()]
    if groups is None:
        kept += assets.shell(out)
    manifest = out / assets.MANIFEST.relative_to(ROOT)
    manifest.write_text(json.dumps({"version": version(), "files": kept}, separators=(",", ":")) + "\n")
    for name in LEGAL:
        shutil.copyfile(ROOT / name, out / name)
    say(f"{out.name}: {sum(path.stat().st_size for path in tree(out, '*')):,} bytes")
    return out


def _source(path: Path) -> bool:
    """Whether a file under static/ is only an input of the build, or of a bench."""
    return path.relative_to(STATIC).parts[0] in ("elastic", "models", "samples") and not assets.group(path)


def npm(out: Path) -> Path:
    """The npm package: the site's scripts with their types, and the assets that search needs."""
    stage = site(out / "npm", NPM_GROUPS)
    shutil.copyfile(ROOT / "README.md", stage / "README.md")
    types(stage)
    described = json.loads((ROOT / "package.json").read_text())
    entries = {name: file for name, file in ENTRIES.items() if (stage / file).exists()}
    package = {key: described[key] for key in ("name", "version", "description", "license", "type", "engines")}
    package |= {
        "keywords": ["search", "rag", "private", "pyodide", "webassembly", "llm", "embeddings"],
        "exports": {
            **{
                name: {"types": f"./{Path(file).with_suffix('.d.ts')}", "default": f"./{file}"}
                for name, file in entries.items()
            },
            "./static/*": "./static/*",
        },
        "files": ["**/*.js", "**/*.d.ts", "**/*.css", "static", *LEGAL],
        "sideEffects": ["./elements.js", "./elements/*.js"],
    }
    (stage / "package.json").write_text(json.dumps(package, indent=2) + "\n")
    call([venv.tool("publint"), "--strict", stage])
    call(
        [shutil.which("npm") or "npm", "pack", "--ignore-scripts", "--pack-destination", out, "--loglevel", "error"],
        cwd=stage,
        quiet=True,
    )
    shutil.rmtree(stage)
    return next(out.glob("*.tgz"))


def types(out: Path) -> None:
    """The types of the package's entries and of what they import, one file beside each script. The project's own
    settings are for the operator's page, too, which lies elsewhere and is no part of it."""
    emitted = {
        "noEmit": False,
        "declaration": True,
        "emitDeclarationOnly": True,
        "rootDir": str(WEB),
        "outDir": str(out),
    }
    entries = [str(WEB / file) for file in ENTRIES.values()]
    settings = {"extends": str(ROOT / "tsconfig.json"), "compilerOptions": emitted, "include": [], "files": entries}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tsconfig.json"
        file.write_text(json.dumps(settings))
        call([venv.tool("tsc"), "-p", file])
