"""Private AI for the documents people already have: the same engine in a browser tab, on a machine, behind a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inglenook.nook import Answer as Answer
    from inglenook.nook import Nook as Nook

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Nook` and `Answer` come with the native drivers, which the tab does not have."""
    if name in ("Answer", "Nook"):
        from inglenook import nook

        return getattr(nook, name)
    raise AttributeError(name)
