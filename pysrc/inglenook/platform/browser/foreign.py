"""The language model of a page that brings its own: an ONNX decoder of its site, on WebGPU if that computes rightly."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import js

from inglenook.elastic import onnx_folder, selfcheck
from inglenook.elastic.onnx_model import OnnxModel
from inglenook.errors import NookError
from inglenook.flow import Copy, Effect, Forward, Loaded, Score, adrive
from inglenook.platform.loading import Loading
from inglenook.platform.session import Report

PROVIDERS = (("webgpu", "wasm"), ("wasm",))
"""What is tried, one after the other, until the first logits are right."""


class ForeignModel:
    """The ONNX decoder at `url`; what tells of it lies beside it (`onnx_folder`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()  # one pass at a time: each needs the keys and values of the one before
        self._model: OnnxModel | None = None
        self._loading = Loading(self._load)

    async def load(self, report: Report) -> Loaded:
        """Answer Load; `report` hears of the model's bytes as they come. Cancelling it stops the download, unless
        others wait for it too. Raises NookError as `onnx_folder.loaded` does, or "backend" or "onnx"."""
        return await self._loading.join(report)

    async def _load(self, report: Report) -> Loaded:
        root = onnx_folder.root(self._url)
        files = {name: data for name in onnx_folder.FILES if (data := await _read(root + name)) is not None}
        loaded = onnx_folder.loaded(files)
        self._model = await self._opened(loaded, report)
        return dataclasses.replace(loaded, pages=self._model.pages, context=self._model.context)

    async def perform(self, effect: Effect) -> Any:
        """Answer Forward, Score and Copy."""
        async with self._lock:
            if self._model is None:
                raise NookError("model-missing", "The language model is not loaded.", "Load it first.")
            return await _perform(self._model, effect)

    async def _opened(self, loaded: Loaded, report: Report) -> OnnxModel:
        """On the first of the providers that computes rightly."""
        reference = onnx_folder.reference(loaded.config)
        for providers in PROVIDERS:
            model = await OnnxModel.create(self._url, providers, loaded.config, report)
            alone = model.providers == ["CPUExecutionProvider"]
            try:
                if reference:
                    answer = lambda effect, model=model: _perform(model, effect)
                    await adrive(selfcheck.flow(reference), answer, lambda event: None)
                return model
            except asyncio.CancelledError:
                model.close()
                raise
            except NookError as error:
                model.close()
                if alone or error.code not in ("backend", "onnx"):
                    raise
                js.console.warn(f"{error} The processor is taken.")
        raise AssertionError("the processor is the last")


async def _perform(model: OnnxModel, effect: Effect) -> Any:
    match effect:
        case Forward(tokens, at, top):
            how: dict[str, Any] = {"level": effect.level, "pages": effect.pages, "each": effect.each}
            return await model.forward_async(tokens, at, top, allow=effect.allow, **how)
        case Score(tokens, at):
            return await model.score_async(tokens, at, level=effect.level, pages=effect.pages)
        case Copy(source, target):
            return model.copy(source, target)
    raise TypeError(f"no language model does {effect}")


async def _read(url: str) -> bytes | None:
    """The file at `url`; None if there is none."""
    response = await js.fetch(url)
    data: bytes | None = (await response.arrayBuffer()).to_bytes() if response.ok else None
    return data
