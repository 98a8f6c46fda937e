"""Who may fetch over which host's network, so that fetches under way still end in time.

    network = Network({"h0": 10e6, "h1": 10e6})         # bytes/s
    network.offer("h0", now)                            # bytes/s that one more fetch would get; 0: it may not begin
    fetch = network.begin("h0", 5e6, deadline, now); …; network.end(fetch, now)
    claim = network.claim(["h0", "h1"], now); network.granted(claim, now); …; network.release(claim)

Fetches of a host share its bandwidth equally. One more may begin only if each of those under way would still end before
its deadline with the smaller share; shares only grow as others end, so a promise once made holds. KV pages migrate
alone: a claim waits until its hosts have no fetch, and keeps new ones away meanwhile.

Source: Lou et al., HydraServe (2502.15524), contention-aware placement, and the rule its artifact runs. Ours: claims
are granted in the order they were made (no deadlock), and what was really fetched corrects the reckoning (`progress`).
Sans-I/O: the caller tells the time, in seconds, never going backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from inglenook.errors import NookError


@dataclass(slots=True, eq=False)
class Fetch:
    """A fetch under way: bytes `left` by the last reckoning, and the time it must have ended."""

    host: str
    left: float
    deadline: float


@dataclass(slots=True, eq=False)
class Claim:
    """A wish to have `hosts` for KV pages alone."""

    hosts: frozenset[str]


@dataclass(slots=True)
class _Link:
    bandwidth: float
    at: float = -math.inf
    fetches: list[Fetch] = field(default_factory=list)

    @property
    def active(self) -> list[Fetch]:
        return [fetch for fetch in self.fetches if fetch.left > 0]


class Network:
    """The fetches and claims of all hosts; `bandwidth` in bytes/s by host."""

    def __init__(self, bandwidth: Mapping[str, float]) -> None:
        self._links = {name: _Link(float(rate)) for name, rate in bandwidth.items()}
        self._claims: list[Claim] = []

    def offer(self, host: str, now: float) -> float:
        """The share a new fetch on `host` would get, or 0 if it would make another late or KV pages have claimed it."""
        link = self._look(host, now)
        if any(host in claim.hosts for claim in self._claims):
            return 0.0
        share = link.bandwidth / (len(link.active) + 1)
        late = any(fetch.left > (fetch.deadline - now) * share for fetch in link.active)
        return 0.0 if late else share

    def begin(self, host: str, size: float, deadline: float, now: float) -> Fetch:
        """Start a fetch of `size` bytes. NookError("network-busy") if the host has no share to offer.

        A fetch whose own deadline its share misses begins all the same (somebody waits for it), but others owe it
        nothing: its deadline counts as infinite.
        """
        share = self.offer(host, now)
        if not share:
            raise NookError("network-busy", f"The network of {host} is promised to others.", "Fetch on another host.")
        fetch = Fetch(host, size, deadline if size <= (deadline - now) * share else math.inf)
        self._links[host].fetches.append(fetch)
        return fetch

    def progress(self, fetch: Fetch, left: float, now: float) -> None:
        """What is really left of `fetch`, as its worker tells."""
        self._look(fetch.host, now)
        fetch.left = left

    def end(self, fetch: Fetch, now: float) -> None:
        """`fetch` is complete, or given up; until told so the network holds it for under way."""
        link = self._look(fetch.host, now)
        link.fetches = [other for other in link.fetches if other is not fetch]

    def busy(self, host: str, now: float) -> int:
        """Fetches under way on `host`."""
        return len(self._look(host, now).fetches)

    def soonest(self, now: float) -> tuple[float, Fetch] | None:
        """When the next fetch will have all its bytes (now, if it has), if nothing changes before, and which."""
        found = []
        for host in self._links:
            link = self._look(host, now)
            if link.fetches:
                fetch = min(link.fetches, key=lambda fetch: fetch.left)
                found.append((now + fetch.left * len(link.active) / link.bandwidth, fetch))
        return min(found, key=lambda pair: pair[0], default=None)

    def claim(self, hosts: Iterable[str], now: float) -> Claim:
        """Ask for `hosts` alone; see `granted`."""
        claim = Claim(frozenset(hosts))
        for host in claim.hosts:
            self._look(host, now)
        self._claims.append(claim)
        return claim

    def granted(self, claim: Claim, now: float) -> bool:
        """Whether the claim's hosts are free: no fetch there and no earlier claim."""
        earlier = self._claims[: self._claims.index(claim)]
        free = not any(self.busy(host, now) for host in claim.hosts)
        return free and not any(claim.hosts & other.hosts for other in earlier)

    def release(self, claim: Claim) -> None:
        """The pages have moved (or will not)."""
        self._claims.remove(claim)

    def _look(self, host: str, now: float) -> _Link:
        """Bring a link up to `now`: equal shares, larger ones whenever a fetch has all its bytes."""
        if host not in self._links:
            raise NookError("host-unknown", f"There is no host {host}.", f"One of: {', '.join(self._links)}.")
        link = self._links[host]
        while link.at < now and (active := link.active):
            share = link.bandwidth / len(active)
            got = min((now - link.at) * share, *(fetch.left for fetch in active))
            for fetch in active:
                fetch.left = fetch.left - got if fetch.left > got else 0.0
            link.at += got / share
            if all(fetch.left for fetch in active):
                break
        link.at = max(link.at, now)
        return link
