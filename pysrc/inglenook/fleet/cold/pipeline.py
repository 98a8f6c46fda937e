"""A model started as a pipeline of several workers, and merged into whole ones while it answers.

    pipeline = Pipeline.start(source, plan, machines, pages=256, tokens=16)
    pipeline.admit("r", Sampling()); pipeline.run(iteration)      # an `iteration.Executor`: from the first moment on
    flight = pipeline.begin(iteration); …; flight.finish()       # or in two parts, with other work between them

The pipeline answers as soon as each stage has its part. Then the full workers fetch the parts they lack, beside the
work; new requests go to a worker that has all of them; those that are under way follow, their keys and values pulled
over layer range by layer range with the network to themselves, most of them while the pipeline writes on, the last few
between two iterations; low-memory workers end. With one full worker that is scaling down, with several scaling up. No
token depends on it: the same layers run over the same keys and values, wherever they are.

Source: Lou et al., HydraServe (2502.15524), pipeline consolidation. Ours: the whole of it stands behind the executor's
interface, pages have the same numbers everywhere (so what moves is not renumbered), requests move as virtual machines
do (pre-copy; Clark et al., NSDI'05), and what a lost worker means.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from typing import Self

from inglenook.errors import NookError
from inglenook.fleet.cold import split
from inglenook.fleet.cold.channel import Message
from inglenook.fleet.cold.chunks import Share
from inglenook.fleet.cold.flight import Flight, WorkerLost
from inglenook.fleet.cold.network import Claim, Fetch, Network
from inglenook.fleet.cold.plan import Place, Plan
from inglenook.fleet.cold.remote import Machine, Remote
from inglenook.fleet.cold.split import Part
from inglenook.fleet.iteration import Iteration, Piece, Sampling
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.weights import Checkpoint

AGAIN = 5.0  # seconds until a fetch in the background that failed is tried again
FEW = 4  # tokens of a request that may be copied while it waits
ROUNDS = 5  # in which what it wrote meanwhile is copied beside the work


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from: what its files say, the sums of their chunks, the address of its folder at a store."""

    checkpoint: Checkpoint
    manifest: Manifest
    url: str

    def share(self, parts: Iterable[Part], here: Iterable[Part] = ()) -> Share:
        """What a worker that has `here` fetches to have `parts`, too."""
        have = {name for part in here for name in part.names(self.checkpoint)}
        names = dict.fromkeys(name for part in parts for name in part.names(self.checkpoint) if name not in have)
        return Share.of(self.checkpoint, self.manifest, self.url, names)


@dataclass(slots=True, eq=False)
class _Member:
    """A worker: its part of the pipeline; `loaded` when that is there, `whole` when all layers are."""

    remote: Remote
    part: Part
    full: bool
    loaded: Future[Message]
    whole: Future[Message] | None = None
    again: float = 0.0
    requests: int = 0

    @property
    def ready(self) -> bool:
        """Whether it can answer alone."""
        return _fine(self.whole) and not self.remote.lost

    @property
    def gone(self) -> bool:
        """Whether it ended, or can't get its part."""
        return self.remote.lost or (self.loaded.done() and not _fine(self.loaded))


@dataclass(slots=True)
class _Held:
    """A request: how its tokens are chosen, who runs it (None: the pipeline), and the pages of so many tokens. Of these
    the first `copied` are at the one who is `next` to run it."""

    sampling: Sampling
    member: _Member | None
    pages: Sequence[int] = ()
    tokens: int = 0
    next: _Member | None = None
    copied: int = 0


@dataclass(slots=True, eq=False)
class Pipeline:
    """See above; all calls come from one thread. `events` are (seconds since the start, what happened): loaded, whole,
    merged; `moved` bytes of keys and values; `problem` the last error of a fetch in the background, which is tried
    again; `used` when a request last ended."""

    source: Source
    plan: Plan
    network: Network | None
    clock: Callable[[], float]
    pages: int
    tokens: int
    merges: bool
    cache: str = ""
    events: list[tuple[float, str]] = field(default_factory=list)
    moved: int = 0
    problem: NookError | None = None
    used: float = 0.0
    _began: float = 0.0
    _answered: bool = False
    _flying: bool = False
    _claim: Claim | None = None
    _copying: dict[str, set[int]] = field(default_factory=dict)  # the pages that are being copied, by request
    _copies: list[Future[Message]] = field(default_factory=list)
    _rounds: int = 0
    _members: list[_Member] = field(default_factory=list)
    _held: dict[str, _Held] = field(default_factory=dict)
    _ended: deque[Fetch] = field(default_factory=deque)  # told by the threads that hear of it

    @classmethod
    def start(
        cls, source: Source, plan: Plan, machines: Mapping[str, Machine], *, pages: int, tokens: int,
        network: Network | None = None, deadline: float = float("inf"), merges: bool = True, cache: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:  # fmt: skip
        """Fork the workers and have them fetch; returns at once. `pages` of `tokens` tokens are what the arena has that
        numbers them; `cache`, a folder of each host, keeps chunks. Raises NookError("worker-lost")."""
        now = clock()
        made = cls(source, plan, network, clock, pages, tokens, merges, cache, used=now, _began=now)
        try:
            for part, place in zip(split.cut(source.checkpoint, plan.degree), plan.places, strict=True):
                remote = Remote.start(machines[place.host])
                member = _Member(remote, part, place.full, Future())
                made._members.append(member)
                member.loaded = made._load(member, [part], whole=plan.degree == 1, deadline=deadline)
                if plan.degree == 1:
                    member.whole = member.loaded
        except BaseException:
            made.close()
            raise
        return made

    @property
    def places(self) -> list[Place]:
        """Where workers run."""
        return [Place(m.remote.host, m.full) for m in self._members if not m.remote.lost]

    @property
    def requests(self) -> int:
        """How many are admitted."""
        return len(self._held)

    @property
    def hands(self) -> int:
        """How many answer at once: its whole workers, or the pipeline as one."""
        return sum(member.ready for member in self._members) or int(self.ready)

    @property
    def reserved(self) -> int:
        """Bytes of weights that the workers have, or have memory set aside for."""
        whole = sum(place.end - place.start for place in self.source.checkpoint.places.values())
        alive = [member for member in self._members if not member.remote.lost]
        return sum(whole if member.full else member.part.size(self.source.checkpoint) for member in alive)

    @property
    def merged(self) -> bool:
        """Whether only whole workers are left."""
        return all(member.ready for member in self._members)

    @property
    def ready(self) -> bool:
        """Whether somebody can answer now."""
        return any(m.ready for m in self._members) or (self._piped and all(_fine(m.loaded) for m in self._members))

    @property
    def broken(self) -> bool:
        """Whether nobody is left who could answer a new request, now or later."""
        return not self._piped and not self._completing

    def why(self, requests: Iterable[str] = ()) -> NookError:
        """What `requests` hear that nobody is left to answer: why a stage could not be loaded, or that it ended."""
        failed = (member.loaded.exception() for member in self._members if member.gone and not member.remote.lost)
        known = next((error for error in failed if isinstance(error, NookError)), None)
        return known or WorkerLost("The workers of this model have ended.", requests)

    @property
    def _piped(self) -> bool:
        """Whether the pipeline has all its stages."""
        alive = [member.part for member in self._members if not member.gone]
        return sum(part.last - part.first for part in alive) == self.source.checkpoint.shape.layers

    @property
    def _completing(self) -> list[_Member]:
        """Workers that have the whole model, or will."""
        return [member for member in self._members if member.whole and not member.gone]

    def close(self) -> None:
        """End all workers."""
        for member in self._members:
            member.remote.kill()
        self._members.clear()
        self._settle()
        if self._claim and self.network:
            self.network.release(self._claim)

    def admit(self, request: str, sampling: Sampling) -> None:
        """As `Executor.admit`. Raises NookError("worker-lost") if nobody is left to run it."""
        self.step()
        ready = sorted((member for member in self._members if member.ready), key=lambda member: member.requests)
        waiting = [] if self._piped else self._completing
        member = next(iter([*ready, *waiting]), None)
        if not member and not self._piped:
            raise self.why([request])
        if member:
            member.requests += 1
        self._held[request] = _Held(sampling, member)

    def release(self, request: str) -> None:
        """As `Executor.release`."""
        self.used = self.clock()
        if (held := self._held.pop(request, None)) and held.member:
            held.member.requests -= 1

    def run(self, iteration: Iteration) -> dict[str, int]:
        """As `Executor.run`: pieces of different places at once. Raises WorkerLost, and what a fetch raises."""
        return self.begin(iteration).finish()

    def begin(self, iteration: Iteration) -> Flight:
        """The first half of `run`: ask for it. One is under way at a time."""
        self.step()
        groups: dict[_Member | None, list[Piece]] = {}
        for piece in iteration.pieces:
            if piece.request not in self._held:
                raise NookError(
                    "iteration", f"Request {piece.request} was not admitted.", "This is a defect: report it."
                )
            groups.setdefault(self._held[piece.request].member, []).append(piece)
        if not self.merged:
            self._disown(iteration.pieces)
        self._flying = True
        return Flight(iteration, [(pieces, self._ask(member, pieces)) for member, pieces in groups.items()], [self])

    def ended(self, pieces: Sequence[Piece]) -> None:
        """The iteration is over; these were computed, here or elsewhere."""
        self._flying = False
        self._answered |= bool(pieces)
        for piece in pieces:
            if held := self._held.get(piece.request):
                held.pages, held.tokens = piece.pages, piece.start + len(piece.tokens)
                held.copied = min(held.copied, piece.start)  # it may have been pushed out, and begun anew

    def step(self) -> None:
        """Go on with merging as far as that is possible now; every iteration does. While one is under way nothing is
        moved: its keys and values are still being written."""
        self._settle()
        if self._flying or not self.merges or not self._answered:
            return
        now = self.clock()
        for member in self._members:
            if member.full and not member.remote.lost and now >= member.again:
                self._complete(member, now)
        ready = [member for member in self._members if member.ready]
        if ready and self._alone() and self._copied(ready):
            for held in self._held.values():
                if held.member is None and held.next:
                    held.member = held.next
                    held.member.requests += 1
            if self._claim and self.network:
                self.network.release(self._claim)
                self._claim = None
            for member in [m for m in self._members if not m.full]:
                member.remote.kill()
                self._members.remove(member)
            if self.merged and (not self.events or self.events[-1][1] != "merged"):
                self._note("merged")

    def _complete(self, member: _Member, now: float) -> None:
        """Have a full worker fetch what it lacks, if it does not, or again if it failed."""
        if member.whole and member.whole.done() and (error := member.whole.exception()) and not member.remote.lost:
            self.problem = error if isinstance(error, NookError) else None
            member.whole, member.again = None, now + AGAIN
        elif member.whole is None and _fine(member.loaded):
            host = member.remote.host
            if self.network is None or self.network.offer(host, now):
                parts = split.missing(member.part, self.source.checkpoint.shape.layers)
                member.whole = self._load(member, parts, whole=True, deadline=float("inf"))

    def _alone(self) -> bool:
        """Whether keys and values may move now: nothing to move, or the network is granted."""
        moving = any(held.member is None and held.tokens for held in self._held.values())
        if self.network is None or not moving:
            return True
        now = self.clock()
        self._claim = self._claim or self.network.claim({m.remote.host for m in self._members}, now)
        return self.network.granted(self._claim, now)

    def _copied(self, ready: Sequence[_Member]) -> bool:
        """Bring the keys and values of the pipeline's requests to `ready` members: beside the work while many tokens
        are behind, then the rest at once. Whether all are there; those of a stage that is lost are gone, and the next
        iteration says so."""
        piped = [held for held in self._held.values() if held.member is None]
        for index, held in enumerate(piped):
            if held.next is None or not held.next.ready:
                held.next, held.copied = ready[index % len(ready)], 0
        while all(copy.done() for copy in self._copies):
            try:
                self.moved += sum(copy.result()[0]["moved"] for copy in self._copies)
            except NookError as error:
                self.problem = error
                for held in piped:
                    held.copied = 0
                self._copies.clear()
                return False
            behind = max((held.tokens - held.copied for held in piped), default=0)
            self._rounds += 1
            self._copy(ready)
            if not behind:
                return True
            if behind <= FEW or self._rounds > ROUNDS:
                wait(self._copies)
        return False

    def _copy(self, ready: Sequence[_Member]) -> None:
        """Have members pull what the pipeline's requests have written since the last time, from all other stages."""
        self._copies, self._copying = [], {}
        for member in ready:
            moves = []
            for name, held in self._held.items():
                if held.member is None and held.next is member and held.copied < held.tokens:
                    moves.append([name, list(held.pages), held.copied, held.tokens])
                    self._copying[name] = {*held.pages}
                    held.copied = held.tokens
            self._copies += [
                member.remote.ask(
                    "pull", also=[other.remote], first=other.part.first, last=other.part.last, moves=moves,
                    **{"from": other.remote.address},
                )
                for other in self._members if other is not member and moves
            ]  # fmt: skip

    def _disown(self, pieces: Sequence[Piece]) -> None:
        """Whose pages have become others', since they were released or pushed out, has nothing in them any more, and
        nothing more may be copied there."""
        lost: set[str] = set()
        for piece in pieces:
            if piece.pages is (mine := self._held[piece.request]).pages:
                continue
            new = {*piece.pages}.difference(mine.pages)
            for name, held in self._held.items():
                if held is not mine and not new.isdisjoint(held.pages):
                    held.pages, held.tokens, held.copied = (), 0, 0
                    lost.add(name)
            lost |= {
                name for name, pages in self._copying.items() if name != piece.request and not new.isdisjoint(pages)
            }
        if lost := lost & self._copying.keys():
            for member in self._members:
                member.remote.ask("drop", requests=[*lost])

    def _ask(self, member: _Member | None, pieces: Sequence[Piece]) -> Future[Message]:
        """Send pieces on their way: to one worker, or through the pipeline."""
        layers = self.source.checkpoint.shape.layers
        if member:
            row = [(member.remote, 0, layers)]
        else:
            row = [(other.remote, other.part.first, other.part.last) for other in self._members]
            if not self._piped:
                failed: Future[Message] = Future()
                failed.set_exception(self.why(piece.request for piece in pieces))
                return failed
        hops = [{"address": remote.address, "first": first, "last": last} for remote, first, last in row]
        sent = [[p.request, p.tokens, p.start, p.pages, p.wants] for p in pieces]
        ways = {p.request: list(asdict(self._held[p.request].sampling).values()) for p in pieces if p.wants}
        first, *others = (remote for remote, _, _ in row)
        return first.ask("run", also=others, hops=hops, pieces=sent, ways=ways)

    def _load(self, member: _Member, parts: Sequence[Part], *, whole: bool, deadline: float) -> Future[Message]:
        """Have a worker fetch parts, and tell the network of it."""
        checkpoint = self.source.checkpoint
        share = self.source.share(parts, () if member.part in parts else [member.part])
        layers = (0, checkpoint.shape.layers) if member.full else (member.part.first, member.part.last)
        name, fetch = member.remote.host, None
        if self.network:
            fetch = self.network.begin(name, share.size, deadline, self.clock())
        future = member.remote.ask(
            "load", parts=[part.told() for part in parts], layers=layers, share=share.told(), whole=whole,
            cache=self.cache, shape=asdict(checkpoint.shape), tied=checkpoint.tied,
            pages=self.pages, tokens=self.tokens,
        )  # fmt: skip
        future.add_done_callback(lambda done: self._loaded(name, fetch, done, whole))
        return future

    def _loaded(self, host: str, fetch: Fetch | None, done: Future[Message], whole: bool) -> None:
        if fetch:
            self._ended.append(fetch)
        self._note(f"{host} {'whole' if whole else 'loaded'}" if _fine(done) else f"{host} failed")

    def _settle(self) -> None:
        """Tell the network which fetches have ended."""
        while self._ended and self.network:
            self.network.end(self._ended.popleft(), self.clock())

    def _note(self, what: str) -> None:
        self.events.append((self.clock() - self._began, what))


def _fine(future: Future[Message] | None) -> bool:
    return future is not None and future.done() and not future.exception()
