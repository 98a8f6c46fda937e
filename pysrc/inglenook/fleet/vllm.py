"""vLLM as the engine of a worker, in place of `host.Host`: an optional extra, for machines that have it.

    runtime.spawn(Spec("large", "inglenook.fleet.vllm:open", ("large", "/models/large", {"max_model_len": 8192})))

vLLM has a scheduler and a memory of its own, so a worker of this kind serves one model, shares no arena, and none of
`fleet.policy` decides what it runs: there is nothing to place, and its speed is not measured. Requests, tokens, reasons
and errors are the same. One thing is not: a request that is run again from its beginning is written as before, but one
that goes on after tokens already written draws others, since vLLM's draws depend on how many were made.

Uses `vllm.LLMEngine` as vLLM 0.33 has it: `add_request`, `step`, `abort_request`, `has_unfinished_requests`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from inglenook.errors import NookError
from inglenook.fleet.actor import Out
from inglenook.fleet.host import Row
from inglenook.fleet.request import Request

REASONS = {"stop": "stop", "length": "length", "abort": "cancelled"}


@dataclass(frozen=True, slots=True)
class Parts:
    """What of vLLM is used: its engine, and the two types that say how a request is to be written."""

    engine: Any
    params: Any
    delta: Any


def open(service: str, model: str, options: dict[str, Any] | None = None) -> Driver:
    """The engine with a model's folder loaded. `options`: more arguments of `vllm.EngineArgs`.

    Raises NookError("no-vllm" | "vllm": its word on the model and the options).
    """
    try:
        from vllm import EngineArgs, LLMEngine, SamplingParams  # type: ignore[import-not-found]
        from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found]
    except ImportError as error:
        hint = 'Install it where the workers are: pip install "inglenook[vllm]"'
        raise NookError("no-vllm", f"The engine of {service} is vLLM, which is not here ({error}).", hint) from None
    try:
        engine = LLMEngine.from_engine_args(EngineArgs(model=model, skip_tokenizer_init=True, **(options or {})))
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        hint = f"Look at models.{service}.options, and at what the worker wrote."
        raise NookError("vllm", f"vLLM cannot run {service}: {error}", hint) from error
    return Driver(service, Parts(engine, SamplingParams, RequestOutputKind.DELTA))


class Driver:
    """The target of an actor, as `host.Host`: `generate` streams tokens, who goes cancels, `tick` tells how it is."""

    def __init__(self, service: str, parts: Parts) -> None:
        self._service, self._parts, self._engine = service, parts, parts.engine
        self._outs: dict[str, Out] = {}
        self._waiting: set[str] = set()  # those that have no token yet
        self.iterations = 0

    def generate(self, out: Out, request: Request) -> None:
        """Write an answer. Raises NookError("no-model" | "duplicate" | "refused": vLLM's word on what it is asked)."""
        if request.service != self._service:
            raise NookError("no-model", f"There is no model {request.service} here.", "Ask for one that is served.")
        if request.id in self._outs:
            raise NookError("duplicate", f"A request {request.id} is under way.", "Give each request its own id.")
        sampling = request.sampling
        params = self._parts.params(
            temperature=sampling.temperature, top_p=sampling.top_p, seed=sampling.seed, max_tokens=request.most,
            stop_token_ids=sorted(request.stops), ignore_eos=True, detokenize=False, output_kind=self._parts.delta,
        )  # fmt: skip
        try:
            self._engine.add_request(request.id, {"prompt_token_ids": list(request.prompt)}, params)
        except (ValueError, TypeError) as error:  # a prompt that is empty or too long, odds that are none
            raise NookError("refused", f"vLLM refused the request: {error}", "Ask for less.") from error
        self._outs[request.id] = out
        self._waiting.add(request.id)
        out.on_close = lambda: self.cancel(request.id)

    def cancel(self, request_id: str) -> None:
        """Stop a request, if it is under way: it is in no iteration after this. Its stream ends."""
        if out := self._outs.pop(request_id, None):
            self._waiting.discard(request_id)
            self._engine.abort_request([request_id])
            out.end("cancelled")

    def status(self) -> dict[str, int]:
        """How many requests are under way, and how many iterations were run."""
        return {"requests": len(self._outs), "iterations": self.iterations}

    def tick(self, here: Collection[str]) -> list[Row]:
        """How its model is, which is always here."""
        queued = len(self._waiting)
        return [Row(self._service, "ready", len(self._outs) - queued, queued)]

    def step(self) -> bool:
        """Run one of vLLM's iterations; whether there was one. What it raises ends the worker, as its engine ended."""
        if not self._engine.has_unfinished_requests():
            return False
        self.iterations += 1
        for told in self._engine.step():
            out, written = self._outs.get(told.request_id), told.outputs[0]
            if out is None:
                continue  # it was cancelled while this ran
            self._waiting.discard(told.request_id)
            for token in written.token_ids:
                out.send(int(token))
            if told.finished:
                self._outs.pop(told.request_id)
                self._end(out, str(written.finish_reason))
        return True

    def _end(self, out: Out, reason: str) -> None:
        if reason in REASONS:
            out.end(REASONS[reason])
        else:
            out.fail(NookError("worker-failed", f"vLLM ended the request: {reason}.", "Ask again."))
