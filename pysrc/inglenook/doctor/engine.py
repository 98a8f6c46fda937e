"""An engine under examination: a few methods, whoever implements them.

`local` wraps our own (native kernels, the plain pass, ONNX), `remote` anything behind an OpenAI-compatible URL.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inglenook.doctor.asks import Ask, Within, Write
from inglenook.errors import NookError

FILES, API, TOKENS, INSIDE = "files", "api", "tokens", "inside"
TIERS = (FILES, API, TOKENS, INSIDE)
"""From what any engine has to what only ours lets one see."""


class Engine(Protocol):
    """What probes ask."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def tiers(self) -> frozenset[str]:
        """How deep it lets one look."""

    @property
    def switches(self) -> frozenset[str]:
        """The interventions it can make (`interventions.SWITCHES`)."""

    @property
    def damages(self) -> Mapping[str, tuple[str, ...]]:
        """The ways in which it can be given a damaged model, with the codes of errors one of which should come."""

    def answer(self, ask: Ask) -> Any:
        """Answer, blocking. A NookError is an answer too; anything else that is raised is a crash."""

    def switched(self, switches: Sequence[str]) -> Engine:
        """The same engine, fresh, with these switches on."""

    def close(self) -> None:
        """Free its memory."""


class Crash(Exception):
    """The engine raised what is no NookError: `what` is one line that begins with its `kind`, `where` the innermost
    place in it."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what)
        self.what, self.where = what, where
        self.kind = what.partition(":")[0]


class Hang(BaseException):
    """Nothing came in time, or never will. No `Exception`, so that an engine which swallows those cannot hide it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and how long it took."""

    value: Any
    ms: float


def ask(engine: Engine, what: Ask, seconds: float) -> Asked:
    """Ask an engine. Raises NookError as it does, else Crash, or Hang after so many seconds."""
    began = time.perf_counter()
    try:
        if isinstance(what, Within):
            with SURROUNDINGS[what.where](engine) as other:
                value = _limited(lambda: other.answer(what.ask), seconds)
        else:
            value = _limited(lambda: engine.answer(what), seconds)
    except (NookError, Hang, KeyboardInterrupt):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "inglenook" in f.filename), frames[-1] if frames else None)
        where = f"{place.filename.rpartition('inglenook/')[2]}:{place.lineno} in {place.name}" if place else ""
        raise Crash(f"{type(error).__name__}: {error}"[:300], where) from error
    return Asked(value, (time.perf_counter() - began) * 1e3)


@contextmanager
def _directory(engine: Engine) -> Iterator[Engine]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield engine
        finally:
            os.chdir(before)


JOB = {
    "LANG": "C", "LC_ALL": "C", "TZ": "Asia/Kolkata", "HOME": "/nowhere", "USER": "nobody", "TERM": "dumb", "CI": "1",
    "DEBUG": "1", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7",
    "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "INGLENOOK_KERNELS": "plain",
}  # fmt: skip


@contextmanager
def _environment(engine: Engine) -> Iterator[Engine]:
    before = dict(os.environ)
    os.environ.update(JOB)
    for name in ("PATH", "HOSTNAME", "PWD"):
        os.environ.pop(name, None)
    try:
        yield engine
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _chance(engine: Engine) -> Iterator[Engine]:
    """Other states of the generators that a process shares, each time."""
    states = random.getstate(), np.random.get_state()
    random.seed(time.perf_counter_ns())
    np.random.seed(time.perf_counter_ns() % 2**32)
    try:
        yield engine
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def _day(engine: Engine) -> Iterator[Engine]:
    """Some 400 days later."""
    now = time.time
    time.time = lambda: now() + 3.5e7
    try:
        yield engine
    finally:
        time.time = now


@contextmanager
def _machine(engine: Engine) -> Iterator[Engine]:
    """Of another name, with more cores, as another process."""
    places = ((os, "cpu_count", 64), (os, "getpid", 4242), (platform, "node", "elsewhere"))
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, value in places:
        setattr(module, name, lambda value=value: value)
    try:
        yield engine
    finally:
        for (module, name, _), was in zip(places, before, strict=True):
            setattr(module, name, was)


@contextmanager
def _beside(engine: Engine) -> Iterator[Engine]:
    """Another engine of the same kind in the same process, at work before."""
    other = engine.switched(())
    try:
        other.answer(Write((1, 2, 3, 4, 5), 4, temperature=1.0, seed=11))
        yield engine
    finally:
        other.close()


@contextmanager
def _made(engine: Engine) -> Iterator[Engine]:
    """An engine that was made in other surroundings."""
    with _directory(engine), _environment(engine), _chance(engine), _day(engine), _machine(engine):
        other = engine.switched(())
        try:
            yield other
        finally:
            other.close()


SURROUNDINGS: dict[str, Callable[[Engine], AbstractContextManager[Engine]]] = {
    "another directory": _directory,
    "another environment": _environment,
    "another state of chance": _chance,
    "another day": _day,
    "another machine": _machine,
    "another engine beside it": _beside,
    "made elsewhere": _made,
}


def _limited(call: Callable[[], Any], seconds: float) -> Any:
    """Call it in a thread and wait so long; where there are no threads, just call it."""
    result: list[Any] = []

    def work() -> None:
        try:
            result[:] = [call(), None]
        except BaseException as error:
            result[:] = [None, error]

    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no threads here (the tab)
        return call()
    try:
        thread.join(seconds)
    finally:
        if thread.is_alive():  # end loops in Python; one that waits for a lock waits on
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Hang))
            thread.join(0.2)
    if not result:
        raise Hang(f"No answer within {seconds:g} s.")
    value, error = result
    if error is not None:
        raise error
    return value
