"""The command line of it: `inglenook train prompt DOCUMENTS… -o DIR`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from inglenook.evals.command import positive


def add(kinds: Any) -> None:
    """The options of `inglenook train prompt`, among the `kinds` of training."""
    about = "the two heads that squeeze prompts, on what the language model makes of pieces of your documents"
    command: argparse.ArgumentParser = kinds.add_parser("prompt", help=about, description=about.capitalize() + ".")
    command.set_defaults(command=_prompt)
    command.add_argument("documents", type=Path, nargs="+", help="files and folders to ask questions about")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="labels.jsonl and heads.py")
    command.add_argument("--models", type=Path, default=None, metavar="DIR", help="where the models are")
    command.add_argument("--count", type=positive, default=300, help="examples (300); a run that was stopped goes on")
    command.add_argument("--seed", type=int, default=0)


def _prompt(options: argparse.Namespace) -> int:
    from inglenook.nook import Nook
    from inglenook.platform.native.engine import models_folder
    from inglenook.train.prompt import run

    options.output.mkdir(parents=True, exist_ok=True)
    models = run.Models(options.models or models_folder())
    try:
        with Nook(options.output / "train.nook", options.models) as nook:
            nook.add(options.documents)
            made, report = run.train(
                nook, models, options.output, count=options.count, seed=options.seed, progress=_progress
            )
    finally:
        models.close()
    (options.output / "heads.py").write_text(run.module(made))
    print(json.dumps(report))
    return 0


def _progress(done: int, count: int) -> None:
    print(f"\r{done} of {count} examples", end="" if done < count else "\n", file=sys.stderr, flush=True)
