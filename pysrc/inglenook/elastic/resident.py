"""The one language model of an engine, whichever library asks it: what is known of it, and what its pages hold."""

from __future__ import annotations

from inglenook.elastic.cache import Cache
from inglenook.elastic.latency import Latency
from inglenook.elastic.levels import Level, levels_of, smallest
from inglenook.elastic.plan import Quality
from inglenook.elastic.speculate import Speculator
from inglenook.flow import Loaded


class Resident:
    """Nothing is known until it was loaded; `latency` is None until it was measured on this device."""

    def __init__(self) -> None:
        self.loaded = Loaded(b"")
        self.cache = Cache(0)
        self.speculator = Speculator()
        self.latency: Latency | None = None
        self.answers = 0  # since the latency was kept

    def loads(self, loaded: Loaded) -> bool:
        """It was asked for; returns whether it was loaded anew, so that its pages are empty."""
        if self.cache.pages and loaded.instance == self.loaded.instance:
            return False
        self.cache.forget()
        if loaded.device != self.loaded.device:
            self.latency = None
        self.loaded, self.cache = loaded, Cache(loaded.pages)
        self.speculator = Speculator(smallest(loaded.config))
        return True

    @property
    def levels(self) -> tuple[Level, ...]:
        """The whole model first."""
        return levels_of(self.loaded.config)

    @property
    def quality(self) -> Quality:
        """What its levels can be expected to be worth."""
        return Quality.of(self.loaded.config)

    @property
    def device(self) -> str:
        """What a measured latency holds for: this device with these levels."""
        return f"{self.loaded.device} {[level.ratio for level in self.levels]}"
