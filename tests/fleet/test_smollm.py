"""SmolLM2-135M-Instruct, the file the build fetched: the engine writes exactly what the plain pass writes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")

from collections.abc import Callable
from pathlib import Path

from fleet.llama import Worker
from inglenook.elastic.convert import export
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Reference
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.fleet.iteration import Iteration, Sampling
from inglenook.fleet.weights import Checkpoint

pytestmark = pytest.mark.slow

QUESTIONS = ["What is the capital of France?", "Count from one to ten.", "Why is the sky blue? Answer in one sentence."]
COUNT = 16


def test_the_real_model_writes_what_the_plain_pass_writes(needs: Callable[..., Path], tmp_path: Path) -> None:
    path = needs("static/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    export(path, tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.load((tmp_path / "tokenizer.json").read_bytes())
    prompts = [
        tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n") for question in QUESTIONS
    ]
    wanted, plain = [], Reference(Gguf.open(path))
    for prompt in prompts:
        tokens = [int(plain.best(prompt, 0).ids[0])]
        while len(tokens) < COUNT:
            tokens.append(int(plain.best(tokens[-1:], len(prompt) + len(tokens) - 1).ids[0]))
        wanted.append(tokens)
    del plain
    assert "Paris" in tokenizer.decode(wanted[0])

    worker, checkpoint = Worker(16, 1 << 20), Checkpoint.open(path)
    worker.add("m", checkpoint, cuts=[14])
    assert worker.write("m", "alone", prompts[0], COUNT, chunk=5) == wanted[0]
    written: list[list[int]] = [[] for _ in prompts]
    for i in range(len(prompts)):
        worker.executor.admit(str(i), Sampling())
    for turn in range(COUNT + 2 * len(prompts)):  # each joins two iterations after the one before it
        pieces = []
        for i, prompt in enumerate(prompts):
            if turn >= 2 * i and len(written[i]) < COUNT:
                at = len(prompt) + len(written[i]) - 1
                piece = (written[i][-1:], at) if written[i] else (prompt, 0)
                pieces.append(worker.piece("m", str(i), *piece))
        if pieces:
            for name, token in worker.executor.run(Iteration("m", tuple(pieces))).items():
                written[int(name)].append(token)
    assert written == wanted
