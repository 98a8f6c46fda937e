"""The clock that flows measure with. Callers go through the module, so that a test can turn it."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds, from some moment on."""
    return time.perf_counter()


def since(began: float) -> float:
    """Milliseconds that went by since `began`."""
    return (now() - began) * 1e3
