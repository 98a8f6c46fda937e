"""vLLM as a worker's engine: what it is asked, and that its tokens, reasons and errors come out as those of ours.

vLLM needs a GPU and gigabytes, so an engine with its face stands in for it here, made after vLLM 0.33's `LLMEngine`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from fleet import served
from fleet.targets import ThreadRuntime
from fleet.test_serving import wait
from inglenook.errors import NookError
from inglenook.fleet import vllm
from inglenook.fleet.actor import Out, Reply
from inglenook.fleet.config import Config
from inglenook.fleet.host import Row
from inglenook.fleet.iteration import Sampling
from inglenook.fleet.layout import Layout
from inglenook.fleet.request import Request
from inglenook.fleet.serving import Serving

CONTEXT, ROOM = 16, 2


class Kind(Enum):
    CUMULATIVE, DELTA, FINAL_ONLY = range(3)


@dataclass
class Params:
    temperature: float
    top_p: float
    seed: int | None
    max_tokens: int
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool
    output_kind: Kind


@dataclass
class Arguments:
    model: str
    skip_tokenizer_init: bool = False
    max_model_len: int = CONTEXT
    enforce_eager: bool = False


class Engine:
    """Counts on from the prompt's last token, up to ROOM requests at a time; 13 is what breaks it."""

    made: ClassVar[list[Arguments]] = []

    def __init__(self) -> None:
        self.running: dict[str, tuple[list[int], Params, list[int]]] = {}

    @classmethod
    def from_engine_args(cls, arguments: Arguments) -> Engine:
        if "broken" in arguments.model:
            raise ValueError("no model of a known architecture")
        cls.made.append(arguments)
        return cls()

    def add_request(self, request_id: str, prompt: dict[str, list[int]], params: Params) -> None:
        tokens = prompt["prompt_token_ids"]
        if len(tokens) + params.max_tokens > CONTEXT:
            raise ValueError(f"the prompt is longer than {CONTEXT}")
        self.running[request_id] = (tokens, params, [])

    def abort_request(self, request_ids: list[str]) -> None:
        for name in request_ids:
            self.running.pop(name, None)

    def has_unfinished_requests(self) -> bool:
        return bool(self.running)

    def step(self) -> list[Any]:
        told = []
        for name, (prompt, params, written) in list(self.running.items())[:ROOM]:
            token = prompt[-1] + len(written) + 1
            written.append(token)
            reason = "error" if token == 13 else "stop" if token in params.stop_token_ids else None
            reason = reason or ("length" if len(written) == params.max_tokens else None)
            if reason:
                del self.running[name]
            new = [token] if params.output_kind is Kind.DELTA else list(written)
            told.append(SimpleNamespace(
                request_id=name, outputs=[SimpleNamespace(token_ids=new, finish_reason=reason)], finished=bool(reason)
            ))  # fmt: skip
        return told


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM is there, as far as can be seen."""
    face, sampling = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    face.__dict__.update(EngineArgs=Arguments, LLMEngine=Engine, SamplingParams=Params)
    sampling.__dict__.update(RequestOutputKind=Kind)
    monkeypatch.setitem(sys.modules, "vllm", face)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)


@pytest.fixture
def driver(there: None) -> vllm.Driver:
    return vllm.open("m", "/models/m", {"max_model_len": 8})


def asked(driver: vllm.Driver, name: str, *prompt: int, most: int = 3, stops: tuple[int, ...] = ()) -> list[Reply]:
    """What is said of a request, as it grows."""
    said: list[Reply] = []
    driver.generate(Out(1, said.append), Request(name, "m", prompt, most, frozenset(stops), Sampling(0.5, 0.9, 7)))
    return said


def kinds(said: list[Reply]) -> list[Any]:
    return [reply.value if reply.kind == "item" else (reply.kind, reply.value) for reply in said]


def test_the_engine_is_opened_without_a_tokenizer(driver: vllm.Driver) -> None:
    assert Engine.made[-1] == Arguments("/models/m", skip_tokenizer_init=True, max_model_len=8)


def test_tokens_come_one_by_one_and_end_with_their_reason(driver: vllm.Driver) -> None:
    first, second = asked(driver, "a", 3, 4), asked(driver, "b", 20, most=9, stops=(22,))
    assert driver.status() == {"requests": 2, "iterations": 0}
    asked(driver, "waits", 3)
    assert driver.tick(["m"]) == [Row("m", "ready", 0, 3)]
    assert driver.step()
    assert driver.tick(["m"]) == [Row("m", "ready", 2, 1)]  # vLLM stands in for ROOM of them
    driver.cancel("waits")
    assert driver.tick(["m"]) == [Row("m", "ready", 2, 0)]
    assert kinds(first) == [5] and kinds(second) == [21]
    while driver.step():
        pass
    assert kinds(first) == [5, 6, 7, ("end", "length")]
    assert kinds(second) == [21, 22, ("end", "stop")]
    assert driver.status() == {"requests": 0, "iterations": 3} and driver.tick(["m"]) == [Row("m", "ready")]


def test_what_is_asked_of_vllm(driver: vllm.Driver) -> None:
    asked(driver, "a", 3, stops=(9, 8))
    [(prompt, params, _)] = driver._engine.running.values()
    assert prompt == [3] and params == Params(0.5, 0.9, 7, 3, [8, 9], True, False, Kind.DELTA)


def test_who_goes_is_in_no_iteration_after(driver: vllm.Driver) -> None:
    said: list[Reply] = []
    out = Out(1, said.append)
    driver.generate(out, Request("a", "m", (1,), 9))
    other = asked(driver, "b", 1)
    driver.step()
    out.closed = True
    out.on_close()
    driver.step()
    assert kinds(said) == [2] and kinds(other) == [2, 3] and "a" not in driver._engine.running
    driver.cancel("b")
    assert kinds(other)[-1] == ("end", "cancelled") and not driver.step()


def test_errors_belong_to_their_request(driver: vllm.Driver) -> None:
    well, broken = asked(driver, "a", 1), asked(driver, "b", 11)
    with pytest.raises(NookError) as error:
        asked(driver, "a", 1)
    assert error.value.code == "duplicate"
    with pytest.raises(NookError, match="longer than 16") as error:
        asked(driver, "c", *range(20))
    assert error.value.code == "refused"
    with pytest.raises(NookError) as error:
        driver.generate(Out(1, lambda _: None), Request("d", "other", (1,), 1))
    assert error.value.code == "no-model"
    while driver.step():
        pass
    assert kinds(well) == [2, 3, 4, ("end", "length")]
    assert kinds(broken)[:2] == [12, 13] and broken[-1].kind == "error" and broken[-1].value[0] == "worker-failed"


def test_without_vllm_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(NookError, match=r"vLLM, which is not here") as error:
        vllm.open("m", "/models/m")
    assert error.value.code == "no-vllm" and "inglenook[vllm]" in error.value.hint


def test_what_vllm_will_not_run_is_told(there: None) -> None:
    for model, options in (("/models/broken", {}), ("/models/m", {"no_such_option": 1})):
        with pytest.raises(NookError, match="vLLM cannot run m: ") as error:
            vllm.open("m", model, options)
        assert error.value.code == "vllm" and "models.m.options" in error.value.hint


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Config]:
    """A fleet of a model that shares a worker, and one of vLLM's, of which more is told."""
    served.models(tmp_path)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "config.json").write_text('{"max_position_embeddings": 128}')

    def made(more: str) -> Config:
        file = served.write(tmp_path, names=("small",))
        own = f'[models.large]\nweights = "large"\nengine = "vllm"\n{more}'
        file.write_text(f"{file.read_text()}{own}", "utf-8")
        return Config.load(file)

    return made


def test_a_fleet_has_a_worker_of_it_beside_the_others(there: None, config: Callable[[str], Config]) -> None:
    said: list[str] = []
    one = config("options = { enforce_eager = true }")
    with Serving.start(one, engine=served.ENGINE, runtime=ThreadRuntime(), told=said.append) as fleet:

        async def write(model: str, *prompt: int) -> list[int]:
            return [token async for token in fleet.generate(model, prompt, most=3)]

        async def both() -> list[list[int]]:
            return await asyncio.gather(write("large", 3), write("small", 3), write("large", 5))

        large, small, other = asyncio.run(both())
        assert large == [4, 5, 6] and other == [6, 7, 8] and len(small) == 3
        wait(lambda: {(name, row.model, row.state) for name, row in fleet.rows()} == {
            ("worker 1", "small", "ready"), ("worker 2", "large", "ready")
        })  # fmt: skip
        with pytest.raises(NookError, match="longer than 16"):
            asyncio.run(write("large", *range(20)))
    assert Engine.made[-1] == Arguments(str(one.models["large"].weights.resolve()), True, 128, True)
    assert said == ["measuring small …"]


def test_a_fleet_of_vllm_alone_measures_nothing(there: None, config: Callable[[str], Config]) -> None:
    whole = config("context = 100")
    alone = replace(whole, models={"large": whole.models["large"]})
    with Serving.start(alone, engine=served.ENGINE, runtime=ThreadRuntime(), told=lambda line: pytest.fail(line)):
        assert Engine.made[-1].max_model_len == 100


@pytest.mark.parametrize(
    ("more", "config_json", "told"),
    [
        ("context = 999", None, "models.large.context is 999 tokens"),
        ("", "{}", "models.large.context is not in its config.json"),
        ("", "[", "models.large.context is not in its config.json"),
    ],
)
def test_a_context_that_vllm_cannot_have(
    config: Callable[[str], Config], more: str, config_json: str | None, told: str
) -> None:
    one = config(more)
    if config_json:
        (one.models["large"].weights / "config.json").write_text(config_json)
    with pytest.raises(NookError, match=re.escape(told)) as wrong:
        Layout(one, served.ENGINE)
    assert wrong.value.code == "fleet" and wrong.value.hint


def test_a_fleet_does_not_start_without_it(monkeypatch: pytest.MonkeyPatch, config: Callable[[str], Config]) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(NookError, match="The engine of large is vLLM, which is not here") as error:
        Serving.start(config(""), engine=served.ENGINE, runtime=ThreadRuntime())
    assert error.value.code == "no-vllm"


def test_the_stand_in_has_the_face_of_vllm() -> None:
    real = pytest.importorskip("vllm", reason="vLLM is not installed")
    for name in ("add_request", "abort_request", "step", "has_unfinished_requests"):
        ours = list(inspect.signature(getattr(Engine, name)).parameters)
        assert list(inspect.signature(getattr(real.LLMEngine, name)).parameters)[: len(ours)] == ours
