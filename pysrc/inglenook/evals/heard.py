"""A call as a message to our own engine, and what its events come to: the same in a tab, on a machine, on a line."""

from __future__ import annotations

import time
from typing import Any

from inglenook import completions
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, body
from inglenook.wire import messages as wire

ENDS = frozenset({"model-missing", "kernel-missing", "model-corrupt", "model-unsupported", "memory", "worker-died"})
"""Codes of errors after which the model of this machine answers no other call either."""


def request(call: Call, level: int | None = None) -> wire.Chat:
    """The call as a message to our own engine. Raises NookError("request" | "schema") if there is no such message."""
    settings = call.settings
    told: dict[str, Any] = body(call)
    if settings.slo is not None:
        given = {"first": settings.slo.first, "token": settings.slo.token}
        told["slo"] = {name: ms for name, ms in given.items() if ms is not None}
    if (chosen := settings.level if settings.level is not None else level) is not None:
        told["level"] = chosen
    return completions.request(told)


class Heard:
    """What the events of a chat come to."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first_ms = 0.0
        self._texts: list[str] = []
        self._logprobs: list[wire.Logprob] = []
        self._timing = wire.Timing()

    def event(self, event: object) -> None:
        match event:
            case wire.Token():
                self._first_ms = self._first_ms or self._ms()
                self._texts.append(event.text)
                self._logprobs += event.logprobs
            case wire.Timing():
                self._timing = event

    def reply(self) -> Reply:
        timing = self._timing
        return Reply(
            "".join(self._texts),
            "length" if timing.stop == "length" else "stop",
            self._first_ms,
            self._ms(),
            timing.prompt_tokens,
            timing.tokens,
            tuple(self._logprobs) or None,
        )

    def failed(self, error: NookError) -> Reply:
        """Raises the error if it would be the same with every call."""
        if error.code in ENDS:
            raise error
        return Reply.failed(error, self._ms())

    def _ms(self) -> float:
        return (time.perf_counter() - self._began) * 1e3
