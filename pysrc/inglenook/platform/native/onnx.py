"""ONNX on a machine: the PyPI package `onnxruntime` behind the face of `inglenook.onnx`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np

from inglenook.errors import NookError
from inglenook.platform.session import Model, NodeArg, Report

_NAMES = {"cpu": "CPUExecutionProvider", "wasm": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_LAST = "CPUExecutionProvider"


class Session:
    """A session of `onnxruntime`."""

    def __init__(self, model: Model, providers: list[str]) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise NookError("onnx", "ONNX models need onnxruntime.", "Run: pip install onnxruntime") from error
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise NookError("onnx", f"There is no model at {os.fspath(model)}.", "Check the path.")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors are raised, so they need not be printed
        wanted = [_NAMES.get(name, name) for name in providers]
        present = [name for name in dict.fromkeys([*wanted, _LAST]) if name in ort.get_available_providers()]
        try:
            self._session = ort.InferenceSession(
                model if isinstance(model, bytes) else os.fspath(model), options, providers=present
            )
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise NookError("onnx", f"The model could not be loaded: {error}", "Is it an ONNX model?") from error
        self.inputs = [NodeArg(entry.name, entry.type, list(entry.shape)) for entry in self._session.get_inputs()]
        self.outputs = [NodeArg(entry.name, entry.type, list(entry.shape)) for entry in self._session.get_outputs()]
        self.providers: list[str] = self._session.get_providers()

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run and wait."""
        try:
            return list(self._session.run(outputs, feeds))
        except Exception as error:
            raise NookError("onnx", f"The model could not be run: {error}", "Check the inputs' shapes.") from error

    async def run_async(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run in a thread."""
        return await asyncio.to_thread(self.run, outputs, feeds)

    def close(self) -> None:
        """Free the memory."""
        del self._session


def open_now(model: Model, providers: list[str]) -> Session:
    """Load a model and wait for it."""
    return Session(model, providers)


async def open_async(model: Model, providers: list[str], report: Report | None = None) -> Session:
    """Load a model in a thread. Nothing has to come from afar, so there is nothing to report."""
    return await asyncio.to_thread(Session, model, providers)
