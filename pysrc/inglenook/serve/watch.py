"""What goes on in a server: every request of both faces is counted here, and told to the log when it is over.

Of a request only its kind, its end and its times are kept, never a word of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import inglenook
from inglenook import completions
from inglenook.errors import NookError
from inglenook.library import Library
from inglenook.nook import Nook, Worker
from inglenook.serve.metrics import Family, Histogram
from inglenook.wire import messages as wire

if TYPE_CHECKING:
    from inglenook.serve.fleet import Fleet

LATELY = 300.0  # seconds that count as lately
MOST = 2000  # answers of that time that are kept
FIRST = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)

log = logging.getLogger("inglenook.serve")


class Watch:
    """A nook whose requests are counted, and those that name a model of its fleet. `connections` and `away` are the
    gateway's."""

    def __init__(self, nook: Nook, fleet: Fleet | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._nook, self._fleet, self._clock = nook, fleet, clock
        self._began = clock()
        self.connections = self.away = 0
        self._open = 0
        self._ends: Counter[tuple[str, str]] = Counter()  # by kind of request and its end
        self._pieces = self._written = self._read = 0
        self._slo: Counter[bool] = Counter()
        self._by_model: Counter[tuple[str, bool | None]] = Counter()  # answers, by whether they kept what was promised
        self._first, self._token = Histogram(FIRST), Histogram(TOKEN)
        self._answers: deque[tuple[float, wire.Timing]] = deque(maxlen=MOST)

    @property
    def library(self) -> Library:
        """The nook's."""
        return self._nook.library

    @property
    def models(self) -> tuple[str, ...]:
        """The fleet's."""
        return self._fleet.models if self._fleet else ()

    async def astream(
        self, request: wire.Request, emit: Callable[[object], None], before: Callable[[], Awaitable[None]]
    ) -> None:
        """As `Nook.astream`, of the nook or the fleet. Raises NookError("no-model") for a model that neither has."""
        told: dict[str, Any] = {"app": getattr(request, "app", "")}

        def heard(event: object) -> None:
            if isinstance(event, wire.Token):
                self._pieces += 1
            elif isinstance(event, wire.Timing) and event.tokens:
                self._answered(event)
                told.update(tokens=event.tokens, first_ms=round(event.first_ms, 1), met=event.met)
            emit(event)

        with self._counted(type(request).__name__, told):
            if not isinstance(request, (wire.Chat, wire.Write)) or request.model in ("", completions.MODEL):
                await self._nook.astream(request, heard, before)
            elif self._fleet and request.model in self._fleet.models:
                told["model"] = request.model
                await self._fleet.astream(request, heard, before)
            else:
                known = ", ".join((completions.MODEL, *self.models))
                raise NookError("no-model", f"There is no model {request.model[:80]!r} here.", f"There is {known}.")

    async def aembed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """As `Nook.aembed`."""
        told: dict[str, Any] = {"texts": len(texts)}
        with self._counted("Embed", told):
            vectors, tokens = await self._nook.aembed(texts)
            self._read += tokens
            return vectors, tokens

    @contextmanager
    def _counted(self, kind: str, told: dict[str, Any]) -> Iterator[None]:
        began, end = self._clock(), "done"
        self._open += 1
        try:
            yield
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        except NookError as error:
            end = error.code
            raise
        except Exception:
            end = "internal"
            raise
        finally:
            self._open -= 1
            self._ends[kind, end] += 1
            ms = round(1e3 * (self._clock() - began), 1)
            log.info("%s: %s", kind, end, extra={"request": kind, "end": end, "ms": ms, **told})

    def _answered(self, timing: wire.Timing) -> None:
        self._written += timing.tokens
        self._read += timing.prompt_tokens
        self._first.add(timing.first_ms / 1e3)
        self._token.add(timing.token_ms / 1e3)
        if timing.met is not None:
            self._slo[timing.met] += 1
        self._by_model[timing.model, timing.met] += 1
        self._answers.append((self._clock(), timing))

    # ── what it comes to ──────────────────────────────────────────────────────────────────────────────────────────

    def families(self) -> list[Family]:
        """For Prometheus."""
        ends = [("", {"request": kind, "end": end}, n) for (kind, end), n in sorted(self._ends.items())]
        slo = [("", {"met": str(met).lower()}, self._slo[met]) for met in (True, False)]
        kept = {True: "true", False: "false", None: "not promised"}
        models = [
            ("", {"model": name, "met": kept[met]}, n) for (name, met), n in sorted(self._by_model.items(), key=str)
        ]
        return [
            _one("uptime_seconds", "gauge", "Since the start.", self._clock() - self._began),
            _one("connections", "gauge", "WebSockets that are open.", self.connections),
            _one("clients_away", "gauge", "Clients without a connection that may come back.", self.away),
            _one("requests_open", "gauge", "Requests under way.", self._open),
            Family("inglenook_requests_total", "counter", "Requests that have ended, by kind and end.", [*ends]),
            _one("written_tokens_total", "counter", "Tokens of answers that are done.", self._written),
            _one("read_tokens_total", "counter", "Tokens of their prompts, and of embedded texts.", self._read),
            Family("inglenook_slo_total", "counter", "Answers that were promised a latency.", [*slo]),
            Family("inglenook_model_answers_total", "counter", "Answers by model and whether in time.", [*models]),
            self._first.family("inglenook_first_token_seconds", "Time to the first token."),
            self._token.family("inglenook_token_seconds", "Time per token after it."),
            self._each("worker_running", "Requests that have the worker's model.", "running"),
            self._each("worker_queued", "Requests that wait for it.", "queued"),
            self._each("kv_pages_used", "Key-value pages in use.", "used"),
            self._each("kv_pages", "Key-value pages there are, for all models of a worker.", "pages"),
            self._each("model_ready", "Whether a model's weights are there.", "ready"),
        ]

    def _each(self, name: str, help: str, field: str) -> Family:
        """A gauge of every worker."""
        samples = [
            (
                {"worker": worker.name, "model": worker.model},
                worker.state == field if field == "ready" else getattr(worker, field),
            )
            for worker in self.workers()
        ]
        return Family(f"inglenook_{name}", "gauge", help, [("", *sample) for sample in samples])

    def workers(self) -> list[Worker]:
        """Who answers, as they are now."""
        return [*self._nook.workers(), *(self._fleet.workers() if self._fleet else ())]

    def snapshot(self) -> dict[str, Any]:
        """For the operator's page: counts since the start, and what lately was."""
        since = self._clock() - LATELY
        lately = [timing for at, timing in self._answers if at >= since]
        by_model: dict[str, list[wire.Timing]] = {}
        for timing in lately:
            by_model.setdefault(timing.model, []).append(timing)
        return {
            "version": inglenook.__version__,
            "uptime_s": self._clock() - self._began,
            "connections": self.connections,
            "away": self.away,
            "open": self._open,
            "pieces": self._pieces,
            **_paces(lately),
            "requests": [[kind, end, n] for (kind, end), n in sorted(self._ends.items())],
            "workers": [asdict(worker) for worker in self.workers()],
            "models": [{"model": name, **_paces(some)} for name, some in sorted(by_model.items())],
        }


def _one(name: str, kind: str, help: str, value: float) -> Family:
    return Family(f"inglenook_{name}", kind, help, [("", {}, value)])


def _paces(answers: list[wire.Timing]) -> dict[str, Any]:
    """How fast some answers were, and how many kept what was promised."""
    promised = [timing.met for timing in answers if timing.met is not None]
    return {
        "answers": len(answers),
        "first_ms": _spread([timing.first_ms for timing in answers]),
        "token_ms": _spread([timing.token_ms for timing in answers if timing.tokens > 1]),
        "slo": {"promised": len(promised), "met": sum(promised)},
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    return {"p50": float(np.median(values)), "p99": float(np.quantile(values, 0.99))} if values else None
