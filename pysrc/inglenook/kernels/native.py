"""The C kernels of wasm/ on a machine: the shared libraries beside this file, through ctypes.

`libmodels.so` runs anywhere; `libmodels.wide.so` needs AVX2 and is taken where the processor has it. Calls release the
interpreter's lock. Set INGLENOOK_KERNELS=plain to keep to the first.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from inglenook.errors import NookError

FOLDER = Path(__file__).parent
ALIGN = 64

_P, _I, _Z = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "llama_bytes": (_Z, [_P, _I, _I, _I]),
    "llama_open": (_P, [_P, _P, _P, _P, _I, _I, _I]),
    "llama_forward": (_I, [_P, _P, _I, _I, _P, _I, _I, _I, _P, _P, _P, _P]),
    "llama_batch": (_I, [_P, _P, _I, _P, _P, _I, _I, _I, _P, _P, _I, _P, _P, _P]),
    "llama_score": (_I, [_P, _P, _I, _I, _P, _I, _P]),
    "llama_copy": (_I, [_P, _I, _I]),
    "llama_read": (None, [_P, _P, _Z]),
    "llama_logits": (_P, [_P, _I]),
    "llama_thread": (None, [_P, _I]),
    "llama_close": (None, [_P]),
    "bert_bytes": (_Z, [_P]),
    "bert_open": (_P, [_P, _P, _P, _P]),
    "bert_encode": (_I, [_P, _P, _I, _P]),
    "models_multiply": (None, [_I, _I, _P, _I, _I, _I, _P, _I, _P, _P]),
    "models_scratch": (_Z, [_I, _I, _I]),
    "models_crc": (ctypes.c_uint32, [_P, _Z]),
}


@lru_cache
def library(plain: bool | None = None) -> ctypes.CDLL:
    """The kernels, the fastest this machine runs. Raises NookError("kernel-missing") where they were not built."""
    if plain is None:
        plain = os.environ.get("INGLENOOK_KERNELS") == "plain"
    loaded = _load("libmodels.so")
    if not plain and loaded.models_wide() and (FOLDER / "libmodels.wide.so").exists():
        loaded = _load("libmodels.wide.so")
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(FOLDER / name))
    except OSError as error:
        hint = "Install the wheel inglenook-kernels; in a source tree run `python3 build.py dev` once."
        raise NookError("kernel-missing", f"The compiled kernel {name} cannot be loaded.", hint) from error


def arena(size: int) -> np.ndarray:
    """`size` bytes, zeroed, starting at a multiple of 64."""
    room = np.zeros(size + ALIGN, np.uint8)
    start = -room.ctypes.data % ALIGN
    return room[start : start + size]
