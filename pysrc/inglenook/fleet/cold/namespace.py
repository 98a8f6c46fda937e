"""Into a network namespace of Linux, and what else the C library has that Python 3.11 lacks."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from inglenook.errors import NookError

NEW_NETWORK = 0x40000000  # CLONE_NEWNET, linux/sched.h
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def enter(path: Path | str) -> None:
    """Move the calling thread into the network namespace at `path`; sockets it makes from now on are of that network.

    Raises NookError("namespace").
    """
    try:
        with Path(path).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except (OSError, AttributeError) as error:
        hint = "Network namespaces need Linux and root."
        raise NookError("namespace", f"There is no way into {path}: {error}.", hint) from error


def die_with_parent() -> None:
    """Have this process killed when the one that forked it ends, however it ends."""
    ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
