"""ONNX in the tab: onnxruntime-web in a worker (web/onnx-worker.js) behind the face of `inglenook.onnx`.

The engine's worker registers the worker's client (web/lib/onnx.js) as the module `inglenook_onnx`:
`pyodide.registerJsModule('inglenook_onnx', new Onnx())`. Arrays cross as bytes that are handed over, not copied.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from importlib import import_module
from typing import Any, TypeVar

import js
import numpy as np
from pyodide.ffi import JsException, can_run_sync, create_proxy, run_sync, to_js

from inglenook.errors import NookError
from inglenook.platform.session import DTYPES, Model, NodeArg, Report

_T = TypeVar("_T")
_WEB_NAMES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
} | {name: name[7:-1] for name in DTYPES if name not in ("tensor(float)", "tensor(double)")}
_NAMES = {web: name for name, web in _WEB_NAMES.items()}
_PROVIDERS = {"CPUExecutionProvider": "wasm", "cpu": "wasm", "WebGpuExecutionProvider": "webgpu"}


class Session:
    """A session that lives in the worker."""

    def __init__(self, client: Any, opened: Any) -> None:
        self._client, self._session = client, opened.session
        self.inputs = [_node(entry) for entry in opened.inputs]
        self.outputs = [_node(entry) for entry in opened.outputs]
        webgpu = ["WebGpuExecutionProvider"] if opened.provider == "webgpu" else []
        self.providers = [*webgpu, "CPUExecutionProvider"]

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run and wait, where the browser can."""
        return _wait(self.run_async(outputs, feeds), "run_async")

    async def run_async(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run in the worker."""
        types = {entry.name: _WEB_NAMES[entry.type] for entry in self.inputs}
        sent = [[name, types[name], list(array.shape), _to_js(array)] for name, array in feeds.items()]
        try:
            answer = await self._client.run(self._session, to_js(outputs), to_js(sent))
        except JsException as error:
            raise _error(error) from None
        return [_from_js(tensor) for tensor in answer]

    def close(self) -> None:
        """Free the memory."""
        self._client.release(self._session)


def open_now(model: Model, providers: list[str]) -> Session:
    """Load a model and wait for it, where the browser can."""
    return _wait(open_async(model, providers), "InferenceSession.create")


async def open_async(model: Model, providers: list[str], report: Report | None = None) -> Session:
    """Load a model in the worker. Cancelling it stops the download."""
    try:
        client = import_module("inglenook_onnx")
    except ImportError as error:
        raise NookError("onnx", "ONNX models are not available here.", "Register web/lib/onnx.js.") from error
    wanted = [_PROVIDERS.get(name, name) for name in providers]
    source = to_js(model) if isinstance(model, bytes) else os.fspath(model)
    abort, heard = js.AbortController.new(), create_proxy(report or (lambda done, total: None))
    try:
        return Session(client, await client.create(source, to_js(wanted), heard, abort.signal))
    except JsException as error:
        raise _error(error) from None
    except asyncio.CancelledError:
        abort.abort()
        raise
    finally:
        heard.destroy()


def _wait(work: Awaitable[_T], instead: str) -> _T:
    if not can_run_sync():
        work.close()  # type: ignore[attr-defined]
        raise NookError("onnx", "This browser cannot wait for a result here.", f"Use `await {instead}(…)`.")
    result: _T = run_sync(work)
    return result


def _to_js(array: np.ndarray) -> Any:
    copy = js.Uint8Array.new(array.nbytes)
    copy.assign(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return copy


def _from_js(tensor: Any) -> np.ndarray:
    shape: tuple[int, ...] = tuple(tensor.dims)
    array = np.empty(shape, DTYPES[_NAMES[tensor.type]])
    if array.nbytes:
        tensor.data.assign_to(array.reshape(-1).view(np.uint8))
    return array


def _node(entry: Any) -> NodeArg:
    kind = _NAMES.get(entry.type, f"tensor({entry.type})")
    return NodeArg(entry.name, kind, [size if isinstance(size, int) else (size or None) for size in entry.shape])


def _error(error: Any) -> NookError:
    code, hint = getattr(error, "code", None), getattr(error, "hint", None)
    return NookError(code if isinstance(code, str) else "onnx", str(error.message), hint if hint else "")
