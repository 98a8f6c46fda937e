"""A small random Llama and text for it, for all tests of the pipeline: width 64, hidden 128, four layers."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import numpy as np
import torch

torch.set_num_threads(1)  # what is small is slower on several, and much so on a busy machine

from engine import tiny
from inglenook.train.weights import Weights, of_gguf

VOCABULARY = 48


def gguf(layers: int = 4) -> tiny.Gguf:
    return tiny.llama(layers=layers, width=64, hidden=128, vocabulary=VOCABULARY)


def weights(layers: int = 4) -> Weights:
    return of_gguf(gguf(layers))


def tokens(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Windows (count, length) in which each token says something of the next."""
    random = np.random.default_rng(seed)
    ids = np.zeros((count, length), np.int64)
    for at in range(1, length):
        ids[:, at] = (ids[:, at - 1] * 3 + random.integers(0, 4, count)) % VOCABULARY
    return ids
