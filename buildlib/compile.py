"""Compile a tree of modules to bytecode without sources. Runs inside the tab's Python, under node (runtime.mjs).

/job/in holds the files as they will lie, /job/job.json says {"prefix": where they will lie, "optimize": 0…2}. Every
*.py becomes a *.pyc of the same name in /job/out (Python imports those where there is no source); the rest is copied.
"""

import json
import py_compile
import shutil
from pathlib import Path

job = json.loads(Path("/job/job.json").read_text())
for path in sorted(Path("/job/in").rglob("*")):
    name = path.relative_to("/job/in")
    target = Path("/job/out") / name
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        continue
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".py":
        shutil.copyfile(path, target)
        continue
    py_compile.compile(
        str(path),
        cfile=str(target.with_suffix(".pyc")),
        dfile=f"{job['prefix']}/{name}",
        doraise=True,
        optimize=job["optimize"],
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
