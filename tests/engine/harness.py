"""A library on a dictionary, with an encoder and a language model small enough to reason about."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from inglenook.elastic.turns import Turns
from inglenook.embed.encoder import DIMENSIONS
from inglenook.errors import NookError
from inglenook.flow import (
    Admit,
    Candidates,
    Commit,
    Copy,
    Effect,
    Encode,
    Forward,
    Get,
    Hold,
    Load,
    Loaded,
    Measure,
    Pause,
    Scan,
    Stored,
    drive,
)
from inglenook.index.store import Change, MemoryStore
from inglenook.library import Library
from inglenook.topics.cluster import Cluster, cluster
from inglenook.wire import messages as wire

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CONFIG: Any = {"name": "tiny", "layers": 2, "hidden": 64, "kv_heads": 2, "vocabulary": 49152}


class Driver:
    """Answers effects from memory. `fail` may raise or answer in place of it."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.library = Library()
        self.models = True
        self.instance, self.context = 1, 2048  # of the language model
        self.turns, self.config = Turns(), CONFIG
        self.reads = 0
        self.commits = 0
        self.fail: Callable[[Effect], None] = lambda effect: None

    def perform(self, effect: Effect, emit: Any = None) -> Any:
        self.fail(effect)
        match effect:
            case Get(keys):
                self.reads += 1
                return [self.pages.get(key) for key in keys]
            case Scan(prefix):
                return {key: self.pages[key] for key in sorted(self.pages) if key.startswith(prefix)}
            case Commit(puts, deletes):
                self.commits += 1
                store = MemoryStore()
                store.pages = self.pages
                return store.commit(puts, deletes, effect.expect if isinstance(effect, Change) else None)
            case Encode(tokens):
                return np.stack([bag(t) for t in tokens])
            case Load("threads"):
                return Loaded(b"")
            case Load(model):
                if not self.models:
                    raise NookError("model-missing", f"no {model}")
                if model == "encoder":
                    return Loaded("\n".join(WORDS).encode())
                return Loaded(b"", self.config, 64, self.context, self.instance, "test")
            case Measure():
                return Stored(sum(map(len, self.pages.values())))
            case Admit(app, slo, tokens, since):
                return self.turns.admit(app, slo, tokens, since)
            case Hold():
                return lambda: None
            case Pause():
                return None
            case Cluster(vectors, groups):
                return cluster(vectors, groups)
            case Forward():
                return Candidates(np.zeros(1, np.int32), np.zeros(1, np.float32))
            case Copy():
                return None
        raise TypeError(effect)

    def run(self, request: wire.Request) -> list[Any]:
        return list(drive(self.library.handle(request), self.perform))

    def open(self) -> list[Any]:
        return list(drive(self.library.open("test"), self.perform))

    def add(self, **files: str | bytes) -> list[Any]:
        uploads = [
            wire.Upload(name.replace("_", "."), data.encode() if isinstance(data, str) else data)
            for name, data in files.items()
        ]
        return self.run(wire.Add(uploads))

    def reopened(self, prepare: bool = True) -> Driver:
        """The same pages under a new library: what a reload sees, once the encoder is there or before."""
        other = Driver()
        other.pages = dict(self.pages)
        other.open()
        if prepare:
            other.run(wire.Prepare("encoder"))
        return other


def bag(tokens: list[int]) -> np.ndarray:
    """A vector that depends on which tokens there are, as an encoder's does."""
    vector = np.zeros(DIMENSIONS, np.float32)
    for i, token in enumerate(tokens):
        pair = f"{tokens[i - 1]} {token}".encode() if i else b""
        vector[zlib.crc32(pair) % DIMENSIONS] += 1
    return vector / max(1e-9, float(np.linalg.norm(vector)))


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
