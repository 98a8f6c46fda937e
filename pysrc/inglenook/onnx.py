"""ONNX models, in the tab as on a machine: a face like that of the PyPI package `onnxruntime`.

    session = await InferenceSession.create("static/models/some.onnx", providers=["webgpu", "wasm"])
    [logits] = await session.run_async(["logits"], {"input_ids": ids})

On CPython it is `onnxruntime` itself (`platform/native/onnx.py`); in the browser onnxruntime-web in a worker of its own
(`platform/browser/onnx.py`). The synchronous `InferenceSession(…)` and `run(…)` work everywhere on CPython, and in the
browser where it can suspend WebAssembly (JSPI). Everything that fails raises NookError("onnx", …).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Self

import numpy as np

from inglenook.errors import NookError
from inglenook.platform.session import DTYPES, Backend, Model, NodeArg, Report

__all__ = ["DTYPES", "InferenceSession", "Model", "NodeArg", "Report"]


class InferenceSession:
    """A loaded model.

    `model` is its bytes or where it is: a file natively, an asset of the site ("static/models/…") in the browser.
    `providers` are tried in order, "webgpu", "cuda", "wasm" and "cpu" or onnxruntime's own long names; what this
    platform lacks is passed over and the processor serves in the end. `get_providers()` tells what was found.
    """

    def __init__(self, model: Model, providers: Sequence[str] = ()) -> None:
        self._backend: Backend | None = _platform().open_now(model, list(providers))

    @classmethod
    async def create(
        cls, model: Model, providers: Sequence[str] = (), report: Report | None = None
    ) -> InferenceSession:
        """Load a model without blocking: the way to do it in the browser, where `report` hears of its bytes as they
        come. Cancelling it stops the download."""
        session = cls.__new__(cls)
        session._backend = await _platform().open_async(model, list(providers), report)
        return session

    def get_inputs(self) -> list[NodeArg]:
        """The inputs, in the model's order."""
        return self._open().inputs

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the model's order."""
        return self._open().outputs

    def get_providers(self) -> list[str]:
        """What the model runs on, such as ["WebGpuExecutionProvider", "CPUExecutionProvider"]."""
        return self._open().providers

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the model; the outputs asked for (None: all), in that order."""
        return self._open().run(*self._checked(output_names, feeds))

    async def run_async(self, output_names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The same without blocking."""
        return await self._open().run_async(*self._checked(output_names, feeds))

    def close(self) -> None:
        """Free the model's memory; the session cannot be used any more. Closing twice is no error."""
        backend, self._backend = self._backend, None
        if backend:
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Backend:
        if self._backend is None:
            raise NookError("onnx", "The session is closed.", "Create a new one.")
        return self._backend

    def _checked(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        """Say what is wrong with names and types before a runtime says it in its own way."""
        backend = self._open()
        known = [output.name for output in backend.outputs]
        names = known if output_names is None else list(output_names)
        wrong = [name for name in names if name not in known]
        if wrong:
            raise NookError("onnx", f"The model has no output {_list(wrong)}.", f"It has {_list(known)}.")
        inputs = {entry.name: entry for entry in backend.inputs}
        missing, unknown = [n for n in inputs if n not in feeds], [n for n in feeds if n not in inputs]
        if missing or unknown:
            what = f"misses the input {_list(missing)}" if missing else f"has no input {_list(unknown)}"
            raise NookError("onnx", f"The model {what}.", f"It takes {_list(list(inputs))}.")
        arrays = {}
        for name, entry in inputs.items():
            array = np.asarray(feeds[name])
            expected = DTYPES.get(entry.type)
            if expected is None or array.dtype != expected:
                hint = (
                    f"Convert it with .astype(np.{expected})." if expected else "This type of input is not supported."
                )
                raise NookError("onnx", f"The input '{name}' is {array.dtype}, not {entry.type}.", hint)
            arrays[name] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        return names, arrays


def _platform() -> ModuleType:
    if sys.platform == "emscripten":
        from inglenook.platform.browser import onnx
    else:
        from inglenook.platform.native import onnx
    return onnx


def _list(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
