"""The Python wheels: ours, which runs anywhere, and one with the compiled kernels of this machine's kind.

A wheel is a zip with a list of what is in it. We write that zip ourselves: each file is packed by Zopfli, and comments,
which are for those who change the code, stay in the source tree. Docstrings and line numbers are as written.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import sys
import sysconfig
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path

import zopfli.zlib

from buildlib.project import ROOT, Problem
from buildlib.project import run as call

KERNELS = "pysrc/inglenook/kernels"
Files = dict[str, bytes]


def own(out: Path) -> Path:
    """Our wheel, as pyproject.toml describes it, into the folder `out`."""
    with tempfile.TemporaryDirectory() as folder:
        call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], quiet=True)
        [made] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(made) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}
    files = {name: bare(data) if name.endswith(".py") else data for name, data in files.items()}
    return _write(out / made.name, files)


def kernels(out: Path, version: str) -> Path:
    """The shared libraries for the folder `inglenook/kernels`, as a wheel for machines like this one."""
    libraries = sorted((ROOT / KERNELS).glob("*.so"))
    if not libraries:
        raise Problem("The native kernels are not built.", "Run `python3 build.py dev` or `test` first.")
    tag = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    stem = f"inglenook_kernels-{version}"
    about = [
        "Metadata-Version: 2.4", "Name: inglenook-kernels", f"Version: {version}", "License-Expression: Apache-2.0",
        "Summary: The compiled kernels of inglenook: vector search, the encoder, the language model.",
        "Requires-Python: >=3.11", f"Requires-Dist: inglenook=={version}",
    ]  # fmt: skip
    how = ["Wheel-Version: 1.0", "Generator: inglenook", "Root-Is-Purelib: false", f"Tag: {tag}"]
    files = {f"inglenook/kernels/{path.name}": path.read_bytes() for path in libraries}
    files[f"{stem}.dist-info/METADATA"] = ("\n".join(about) + "\n").encode()
    files[f"{stem}.dist-info/WHEEL"] = ("\n".join(how) + "\n").encode()
    files[f"{stem}.dist-info/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    return _write(out / f"{stem}-{tag}.whl", files)


def bare(source: bytes) -> bytes:
    """Python source without its comments, every line where it was."""
    text = source.decode()
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    return "".join(lines).encode()


def _write(out: Path, files: Files) -> Path:
    """A wheel of `files` and their RECORD, the same bytes each time."""
    info = next(name.split("/")[0] for name in files if ".dist-info/" in name)
    lines = [f"{name},sha256={_hash(data)},{len(data)}" for name, data in files.items()]
    record = f"{info}/RECORD"
    out.write_bytes(_zip(files | {record: "".join(f"{line}\n" for line in [*lines, f"{record},,"]).encode()}))
    return out


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(files: Files) -> bytes:
    """A zip archive (PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16), its dates the first day zip knows."""
    body, directory = b"", b""
    for name, data in files.items():
        deflated = zopfli.zlib.compress(data)[2:-4]  # without zlib's own head and tail
        method, stored = (8, deflated) if len(deflated) < len(data) else (0, data)
        same = struct.pack("<5H3I2H", 20, 0x800, method, 0, 0x21, zlib.crc32(data), len(stored), len(data),
                           len(name.encode()), 0)  # fmt: skip
        mode = (0o100755 if name.endswith(".so") else 0o100644) << 16
        unix = struct.pack("<4s2B", b"PK\1\2", 20, 3)
        directory += unix + same + struct.pack("<3H2I", 0, 0, 0, mode, len(body)) + name.encode()
        body += b"PK\3\4" + same + name.encode() + stored
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return body + directory + end
