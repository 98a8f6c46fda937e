"""The language model of a machine: a build of our kernel, or any ONNX decoder; the first that computes rightly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from inglenook.elastic import onnx_folder, selfcheck
from inglenook.elastic.onnx_model import OnnxModel
from inglenook.errors import NookError
from inglenook.flow import Candidates, Forward, Loaded, drive
from inglenook.onnx import InferenceSession
from inglenook.platform.native.models import LanguageModel

Kind = TypeVar("Kind", bound="Model")


class Model(Protocol):
    """What answers Forward, Score and Copy."""

    context: int
    pages: int

    def forward(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """See `flow.Forward`."""

    def score(self, tokens: list[int], at: int, *, level: int = 0, pages: Sequence[int] = ()) -> np.ndarray:
        """See `flow.Score`."""

    def copy(self, source: int, target: int) -> None:
        """See `flow.Copy`."""

    def close(self) -> None:
        """Free the memory."""


def forward(model: Model, effect: Forward) -> Candidates:
    """Answer a Forward."""
    return model.forward(
        effect.tokens, effect.at, effect.top, level=effect.level, pages=effect.pages, each=effect.each,
        allow=effect.allow,
    )  # fmt: skip


def kernel(artifact: Path, tokenizer: Path) -> tuple[Model, Loaded]:
    """Our kernel over an artifact; the plain build where the one for this processor computes wrongly.

    Raises NookError("backend" | "model-missing" | "model-corrupt" | "kernel-missing" | "memory").
    """
    builds: list[Callable[[], LanguageModel]] = [
        lambda: LanguageModel(artifact),
        lambda: LanguageModel(artifact, plain=True),
    ]
    check = artifact.with_suffix(".check.json")
    model = right(builds, check.read_bytes() if check.is_file() else b"")
    return model, Loaded(tokenizer.read_bytes(), model.config, model.pages, model.context)


def onnx(path: Path) -> tuple[Model, Loaded]:
    """An ONNX decoder, with what lies beside it (`onnx_folder`). Raises NookError as that does, or "backend"."""
    root = Path(onnx_folder.root(path.as_posix()) or ".")
    there = [name for name in onnx_folder.FILES if (root / name).is_file()]
    loaded = onnx_folder.loaded({name: (root / name).read_bytes() for name in there})
    model = right([lambda: OnnxModel(InferenceSession(path), loaded.config)], onnx_folder.reference(loaded.config))
    return model, dataclasses.replace(loaded, pages=model.pages, context=model.context)


def right(builds: Sequence[Callable[[], Kind]], reference: bytes) -> Kind:
    """The first of the builds whose first logits are those of the reference; without a reference the first.

    Raises NookError("backend") where none computes rightly.
    """
    for build in builds:
        model = build()
        try:
            if reference:
                answer = lambda effect, emit, model=model: forward(model, effect)
                list(drive(selfcheck.flow(reference), answer))
            return model
        except NookError as error:
            model.close()
            if error.code != "backend" or build is builds[-1]:
                raise
    raise NookError("model-missing", "There is no language model to load.", "")
