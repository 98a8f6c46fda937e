"""Drafts with the real model: the same answer, token for token, in fewer passes where it quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.tiny import run
from inglenook.elastic import chat
from inglenook.elastic.cache import Cache
from inglenook.elastic.decode import Generation, generate
from inglenook.elastic.sample import Sampler
from inglenook.elastic.speculate import Speculator
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.flow import Copy, Forward
from inglenook.platform.native.models import LanguageModel

Needs = Callable[..., Path]
PASSAGE = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n\n")[1]
QUOTE = f"Here is a passage:\n\n{PASSAGE}\n\nRepeat the passage word for word."
FREE = "Tell me a story about a fox."


class Machine:
    """The real model and its tokenizer; `passes` counts."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        self.model = LanguageModel(model, threads=1, context=1024, pages=20)
        self.tokenizer = Tokenizer.load(tokenizer.read_bytes())
        self.passes = 0

    def answer(self, effect: Forward | Copy) -> Any:
        if isinstance(effect, Copy):
            return self.model.copy(effect.source, effect.target)
        self.passes += 1
        how: dict[str, Any] = {"level": effect.level, "pages": effect.pages, "each": effect.each}
        return self.model.forward(effect.tokens, effect.at, effect.top, **how)

    def write(self, asked: str, speculator: Speculator | None, sampler: Sampler) -> tuple[Generation, int]:
        """The answer, and the passes it took."""
        before, cache = self.passes, Cache(20)
        prompt = chat.encode([("user", asked)], self.tokenizer)
        flow = generate(
            prompt, self.tokenizer, cache=cache, max_tokens=40, sampler=sampler, context=1024, speculator=speculator
        )
        return run(flow, self.answer)[1], self.passes - before


@pytest.fixture
def machine(needs: Needs) -> Iterator[Machine]:
    needs("pysrc/inglenook/kernels/libmodels.so")
    models = ("static/models/smollm2-135m-instruct.nkm", "static/models/smollm2-135m-instruct.tokenizer.json")
    made = Machine(*map(needs, models))
    yield made
    made.model.close()


@pytest.mark.parametrize("asked", [QUOTE, FREE])
@pytest.mark.parametrize(("temperature", "guard"), [(0.0, 8), (0.9, 4)])
def test_the_answer_is_the_same_in_no_more_passes(machine: Machine, asked: str, temperature: float, guard: int) -> None:
    speculator = Speculator()
    speculator.passed(1, 1.0)
    speculator.passed(4, 1.3)  # drafts look cheap: many are made, wrong ones too
    plain, needed = machine.write(asked, None, Sampler(temperature, 0.95, 7, guard))
    made, passes = machine.write(asked, speculator, Sampler(temperature, 0.95, 7, guard))
    assert made.ids == plain.ids and made.text == plain.text and made.stop == plain.stop
    assert passes <= needed
    if asked == QUOTE and temperature == 0:
        assert passes < 0.8 * needed
