"""The loop of one worker: requests in, iterations out, tokens in, answers out. No clock, no I/O.

    loop = Loop(policy, arena, services)
    loop.arrive(request, now)
    while iteration := loop.next(now):
        tokens = executor.run(iteration)          # or the simulator's
        for finished in loop.ran(iteration, tokens, seconds, now): ...

Continuous batching with iteration-level preemption: after each iteration the policy chooses anew, and who is not chosen
keeps its pages. Where pages are short, answers give way in the order of their keys, the highest first; what they had
computed is computed again later (vLLM's recomputation, 2309.06180, section 4.5).
"""

from __future__ import annotations

from collections.abc import Iterable

from inglenook.errors import NookError
from inglenook.fleet.arena import Arena
from inglenook.fleet.iteration import Iteration, Piece
from inglenook.fleet.policy import Choice, Policy
from inglenook.fleet.request import Answer, Finished, Request, State
from inglenook.fleet.service import Service


class Loop:
    """Services are learnt from as requests come and go; each is registered in the arena under its name."""

    def __init__(self, policy: Policy, arena: Arena, services: Iterable[Service]) -> None:
        self.policy, self.arena = policy, arena
        self.services = {service.name: service for service in services}
        self.queues: dict[str, dict[str, Answer]] = {name: {} for name in self.services}
        self._where: dict[str, str] = {}
        self._running: dict[str, Answer] = {}
        self._arrivals = 0
        for service in self.services.values():
            arena.register(service.name, service.token_bytes, service.floor)
        policy.start(self.services, arena)

    @property
    def waiting(self) -> int:
        """How many answers are unfinished."""
        return len(self._where)

    def arrive(self, request: Request, now: float) -> None:
        """Take a request. Raises NookError: "model" (no such service), "duplicate", "prompt" (it is empty), "context"
        (longer than the service allows), "memory" (it would never fit beside the others' floors)."""
        service = self.services.get(request.service)
        if service is None:
            hint = f"One of: {', '.join(self.services)}."
            raise NookError("model", f"There is no model {request.service} here.", hint)
        if request.id in self._where:
            raise NookError("duplicate", f"A request {request.id} is under way.", "Give each request its own id.")
        if not request.prompt or request.most < 1:
            raise NookError("prompt", "There is nothing to answer, or with.", "Send a prompt; allow a token at least.")
        tokens = len(request.prompt) + request.most
        if tokens > service.context:
            hint = f"Prompt and answer may have {service.context:,} tokens together."
            raise NookError("context", f"{request.id} would need {tokens:,} tokens.", hint)
        floors = sum(other.floor for other in self.services.values() if other is not service)
        if self.arena.pages_for(service.name, tokens) > self.arena.pages - floors:
            hint = "Give the worker more memory, or the request fewer tokens."
            raise NookError("memory", f"{request.id} would never fit into this worker's memory.", hint)
        self._arrivals += 1
        answer = Answer(request, now, self._arrivals)
        self.queues[service.name][request.id] = answer
        self._where[request.id] = service.name
        service.arrived(len(request.prompt), now)
        self.policy.arrive(answer, now)

    def cancel(self, request_id: str, now: float) -> Finished | None:
        """Stop an answer: None if there is no such one. If it is in the iteration under way, its pages stay its own
        until that has run."""
        name = self._where.get(request_id)
        if name is None:
            return None
        return self._end(self.queues[name][request_id], State.CANCELLED, "cancelled", now)

    def next(self, now: float) -> Iteration | None:
        """The iteration to run now; None if there is nothing to do. One is under way at a time."""
        if self._running:
            raise NookError("busy", "An iteration is under way.", "Tell what it gave before asking for the next.")
        for choice in self.policy.choose(self.queues, now):
            if pieces := self._pieces(choice, now):
                return Iteration(choice.service, pieces)
        return None

    def ran(self, iteration: Iteration, tokens: dict[str, int], seconds: float, now: float) -> list[Finished]:
        """Hear what an iteration gave: the answers that it ended."""
        done = []
        running, self._running = self._running, {}
        for piece in iteration.pieces:
            answer = running[piece.request]
            if answer.state is State.CANCELLED:
                self._release(answer)
                continue
            answer.computed += len(piece.tokens)
            answer.used += seconds
            answer.last = now
            if piece.wants:
                token = tokens[piece.request]
                answer.tokens.append(token)
                answer.first = now if answer.first is None else answer.first
                if token in answer.request.stops or answer.written >= answer.request.most:
                    reason = "stop" if token in answer.request.stops else "length"
                    done.append(self._end(answer, State.FINISHED, reason, now))
        self.policy.ran(iteration.model, list(running.values()), seconds, now)
        return done

    def _pieces(self, choice: Choice, now: float) -> tuple[Piece, ...]:
        pieces = []
        for answer, count in choice.shares:
            if not self._room(answer, count, now):
                continue
            start, end = answer.computed, answer.computed + count
            answer.state = State.RUNNING
            self._running[answer.request.id] = answer
            tokens = tuple(answer.tokens[start:end])
            pieces.append(Piece(answer.request.id, tokens, start, answer.pages, end == len(answer.tokens)))
        return tuple(pieces)

    def _room(self, answer: Answer, count: int, now: float) -> bool:
        """Get the pages for `count` more tokens, if need be from answers with higher keys; False if that is not
        enough."""
        name = answer.service
        wanted = self.arena.pages_for(name, answer.computed + count) - len(answer.pages)
        if wanted <= 0:
            return True
        if self.arena.available(name) < wanted and not self._evict(answer, wanted, now):
            return False
        answer.pages += tuple(self.arena.take(name, wanted))
        return True

    def _evict(self, answer: Answer, wanted: int, now: float) -> bool:
        """Make room for `wanted` pages; nobody is evicted if that would not be enough.

        Against a limit of its own only its own service's pages help; against the want of free ones all do, of other
        services those above their floors.
        """
        name, mine = answer.service, self._rank(answer, now)
        held = [
            (self._rank(other, now), other)
            for queue in self.queues.values()
            for other in queue.values()
            if other.pages and other is not answer and other.request.id not in self._running
        ]
        later = [other for rank, other in sorted(held, key=lambda pair: pair[0], reverse=True) if rank > mine]
        barred, short = wanted - self.arena.allowed(name), wanted - self.arena.spare(name)
        victims = []
        for other in later:
            if barred > 0 and other.service == name:
                victims.append(other)
                barred -= len(other.pages)
                short -= len(other.pages)
        above = {other: self.arena.held(other) - service.floor for other, service in self.services.items()}
        for other in later:
            owner = other.service
            freed = len(other.pages) if owner == name else min(len(other.pages), above[owner])
            if short > 0 and freed > 0 and other not in victims:
                victims.append(other)
                above[owner] -= freed
                short -= freed
        if max(barred, short) > 0:
            return False
        for other in victims:
            self._release(other)
            other.state = State.EVICTED
            other.evicted += 1
        return True

    def _rank(self, answer: Answer, now: float) -> tuple[float, int]:
        return self.policy.key(answer, now), answer.order

    def _release(self, answer: Answer) -> None:
        self.arena.give(answer.service, answer.pages)
        answer.pages, answer.computed = (), 0

    def _end(self, answer: Answer, state: State, reason: str, now: float) -> Finished:
        answer.state = state
        request = answer.request
        del self.queues[answer.service][request.id], self._where[request.id]
        if request.id not in self._running:
            self._release(answer)
        if state is State.FINISHED:
            self.services[answer.service].finished(answer.written)
        written = tuple(answer.tokens[len(request.prompt) :])
        return Finished(
            request, written, reason, answer.arrived, answer.first, now, answer.used, answer.evicted
        )  # fmt: skip
