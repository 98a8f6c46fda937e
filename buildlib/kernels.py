"""The C kernels of wasm/, from one source: WebAssembly with SIMD and with relaxed SIMD, each with and without threads,
and native libraries. Zig (the PyPI package `ziglang`) is the compiler; the same input gives the same bytes."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from buildlib.project import STAMPS, run, step

MODELS = ("panel.c", "team.c", "attention.c", "head.c", "pass.c", "llama.c", "bert.c", "crc.c", "probe.c")
SIDE = ("vectors.c", "nearest.c", "hnsw.c", "lazy.c", "codes.c", "kmeans.c")
HELPED = ("kmeans.c",)  # what the tab's helpers do
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror", "-g0"]
BASE = "mvp+simd128+mutable_globals+bulk_memory+sign_ext+nontrapping_fptoint"
RELAXED = {"simd": "", "relaxed": "+relaxed_simd"}
STACK = 64 << 10
MOST_MEMORY = 1 << 30  # what a threaded memory may grow to; only what is used is taken


def build(root: Path, zig: list[str]) -> list[Path]:
    """Compile what changed. Returns the files made: static/kernels/*.wasm and *.so, pysrc/inglenook/kernels/*.so."""
    site, native = root / "static" / "kernels", root / "pysrc" / "inglenook" / "kernels"
    sources = sorted([*(root / "wasm").glob("*.c"), *(root / "wasm").glob("*.h"), Path(__file__)])
    plans = [(site / f"models.{name}{suffix}.wasm", threads)
             for name in RELAXED for suffix, threads in (("", False), (".threads", True))]  # fmt: skip
    helpers = [site / f"vectors.{name}.threads.wasm" for name in RELAXED]
    sides = [site / f"vectors.{name}.so" for name in RELAXED]
    parts = {"models": MODELS, "vectors": SIDE}
    machine = [native / f"lib{name}.so" for name in parts]
    wide = [path.with_suffix(".wide.so") for path in machine] if _x86() else []
    outputs = [*(path for path, _ in plans), *helpers, *sides, *machine, *wide]

    def make() -> None:
        for path, threads in plans:
            _standalone(root, zig, path, RELAXED[path.name.split(".")[1]], threads)
        for path in helpers:
            _standalone(root, zig, path, RELAXED[path.name.split(".")[1]], True)
        for path in sides:
            _side(root, zig, path, RELAXED[path.name.split(".")[1]])
        for path in (*machine, *wide):
            sources = [*parts[path.name.split(".")[0].removeprefix("lib")], "native.c"]
            _native(root, zig, path, sources, "x86_64_v3" if path in wide else "baseline")

    step("kernels", sources, outputs, make)
    return outputs


def _standalone(root: Path, zig: list[str], out: Path, relaxed: str, threads: bool) -> None:
    """A module of its own. Its memory is its own too, or with threads an import that all of them share."""
    features = f"-mcpu={BASE}{relaxed}{'+atomics' if threads else ''}"
    sources = HELPED if out.name.startswith("vectors") else MODELS
    objects = [_object(root, zig, source, [features], out.stem) for source in sources]
    shared = ["--shared-memory", "--import-memory", f"--max-memory={MOST_MEMORY}"] if threads else []
    options = ["--no-entry", "--strip-all", "-z", f"stack-size={STACK}", *shared]
    exports = ["--export-dynamic", "--export=__heap_base", "--export=__stack_pointer"]
    run([*zig, "wasm-ld", *options, *exports, "-o", out, *objects])


def _side(root: Path, zig: list[str], out: Path, relaxed: str) -> None:
    """A side module, which shares Pyodide's memory."""
    made = [_object(root, zig, source, [f"-mcpu={BASE}{relaxed}", "-fPIC"], out.stem) for source in SIDE]
    run([*zig, "wasm-ld", "-shared", "--experimental-pic", "--no-entry", "--strip-all", "-o", out, *made])


def _object(root: Path, zig: list[str], source: str, flags: list[str], build: str) -> Path:
    made = STAMPS / "objects" / f"{build}.{Path(source).stem}.o"
    made.parent.mkdir(parents=True, exist_ok=True)
    # Loop strength reduction would turn constant offsets of loads into additions of their own.
    target = ["--target=wasm32-freestanding", "-fvisibility=hidden", "-mllvm", "-disable-lsr"]
    run([*zig, "cc", *target, *FLAGS, *flags, "-c", root / "wasm" / source, "-o", made])
    return made


def _native(root: Path, zig: list[str], out: Path, sources: list[str], cpu: str = "baseline") -> None:
    files = [root / "wasm" / source for source in sources]
    run([*zig, "cc", *FLAGS, f"-mcpu={cpu}", "-fPIC", "-shared", "-fvisibility=hidden", "-s", "-o", out, *files])


def _x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32
