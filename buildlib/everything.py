"""All that a running page needs, in order. Each step is skipped when nothing it depends on has changed."""

from __future__ import annotations

from buildlib import assets, fetch, models, pyodide, venv
from buildlib.pins import ADDRESSES
from buildlib.project import ROOT, STATIC, cache, digest, say, sha256, step, tree

ROOMS = ("ingest", "embed", "index", "search")  # what the index of the sample library depends on


def build(pyodide_dist: str | None = None) -> None:
    """Node packages, Python for the tab, kernels, models, samples, the manifest."""
    venv.node()
    kernels()
    pyodide.build(pyodide_dist)
    models.build()
    samples()
    assets.build()


def kernels() -> None:
    """C to WebAssembly (static/kernels) and to the machine (pysrc/inglenook/kernels)."""
    made = models.optional("buildlib.kernels", ROOT)
    if made is None:
        say("buildlib/kernels.py is not there yet: no kernels are made")
        return
    made.build(ROOT, venv.ZIG)


def samples() -> None:
    """The sample library (static/samples), indexed by the engine itself: again when text or engine changed."""
    made = models.optional("buildlib.samples", ROOT)
    if made is None:
        say("buildlib/samples.py is not there yet: no sample library is made")
        return
    package = fetch.whole(ADDRESSES)
    models.take(ADDRESSES, {})
    engine = [path for room in ROOMS for path in tree(ROOT / "pysrc" / "inglenook" / room, "*.py")]
    pages = [path for path in map(ROOT.joinpath, made.PAGES) if path.exists()]
    makers = [ROOT / "buildlib" / name for name in ("samples.py", "paper.py")]
    nook = STATIC / "samples" / "sample.nook"
    encoder = STATIC / "models" / "minilm-l6.nkm"
    weights = [sha256(encoder)] if encoder.exists() else []
    kept = cache() / f"sample-{digest([*engine, *weights])[:16]}.nook"
    inputs = [package, *makers, *pages, *engine, *weights]
    step("samples", inputs, [nook], lambda: made.build(ROOT, package, kept))
