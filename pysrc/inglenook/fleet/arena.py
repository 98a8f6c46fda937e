"""One arena of fixed pages of memory for the keys and values of several models of different shapes.

    arena = Arena(pages=512, page_bytes=1 << 18)
    arena.register("small", token_bytes(shape, 4), floor=32)   # 32 pages are kept for it, whoever asks
    pages = arena.take("small", 3)
    arena.give("small", pages)

The idea is SeaLLM's unified KV cache (2504.15720, by its abstract): pages have one size in bytes, and each model packs
as many tokens into one as its shape allows, so that any model can use what another gave back. Pages as in
PagedAttention (2309.06180, section 4). Floors and limits are ours, after the quotas of MuxServe (2404.02015).

This is the accounting alone; the bytes lie in `fleet.torch.memory`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from inglenook.elastic.shape import Shape
from inglenook.errors import NookError


def token_bytes(shape: Shape, item: int, layers: int | None = None) -> int:
    """Bytes that one token's keys and values take in `layers` layers (all of them), of numbers of `item` bytes."""
    return 2 * (shape.layers if layers is None else layers) * shape.kv_heads * shape.head * item


@dataclass(slots=True)
class _Tenant:
    token_bytes: int
    floor: int
    limit: int
    held: set[int] = field(default_factory=set)


class Arena:
    """`pages` pages of `page_bytes` bytes, numbered from 0."""

    def __init__(self, pages: int, page_bytes: int) -> None:
        if pages < 1 or page_bytes < 1:
            raise NookError("arena", f"{pages} pages of {page_bytes} bytes are no arena.", "Give it some memory.")
        self.pages = pages
        self.page_bytes = page_bytes
        self._free = list(reversed(range(pages)))
        self._tenants: dict[str, _Tenant] = {}

    @property
    def free(self) -> int:
        """Pages that nobody holds."""
        return len(self._free)

    def register(self, model: str, token_bytes: int, floor: int = 0, limit: int | None = None) -> None:
        """Let `model` in. `floor` pages are kept for it, and it holds `limit` at most (None: no limit of its own).

        Raises NookError("arena"): the name is taken, a token is larger than a page, or the floors exceed the arena.
        """
        if model in self._tenants:
            raise NookError("arena", f"{model} is in the arena already.", "Give each model its own name.")
        if not 1 <= token_bytes <= self.page_bytes:
            hint = f"A page must hold a token, {token_bytes} bytes here."
            raise NookError("arena", f"Pages of {self.page_bytes} bytes do not fit {model}.", hint)
        self._tenants[model] = _Tenant(token_bytes, 0, self.pages)
        try:
            self.adjust(model, floor, limit)
        except NookError:
            del self._tenants[model]
            raise

    def adjust(self, model: str, floor: int, limit: int | None = None) -> None:
        """Another floor and limit from now on; pages that are held stay held. Raises NookError("arena")."""
        tenant, most = self._of(model), self.pages if limit is None else limit
        others = sum(other.floor for other in self._tenants.values() if other is not tenant)
        if not 0 <= floor <= most or others + floor > self.pages:
            hint = f"The others' floors take {others} of {self.pages} pages."
            raise NookError("arena", f"{model} cannot have a floor of {floor} and a limit of {most} pages.", hint)
        tenant.floor, tenant.limit = floor, most

    def remove(self, model: str) -> None:
        """Let `model` go; the pages it holds are free."""
        tenant = self._of(model)
        self._free += sorted(tenant.held, reverse=True)
        del self._tenants[model]

    def tokens_per_page(self, model: str) -> int:
        """How many tokens of `model` a page holds."""
        return self.page_bytes // self._of(model).token_bytes

    def pages_for(self, model: str, tokens: int) -> int:
        """How many pages `tokens` tokens of `model` take."""
        return -(-tokens // self.tokens_per_page(model))

    def held(self, model: str) -> int:
        """How many pages `model` holds."""
        return len(self._of(model).held)

    def available(self, model: str) -> int:
        """How many pages `model` may take now."""
        return max(0, min(self.spare(model), self.allowed(model)))

    def spare(self, model: str) -> int:
        """How many pages are free for `model`: all that are, less what is missing to the others' floors. Below 0 if
        that is more."""
        tenant = self._of(model)
        owed = sum(max(0, other.floor - len(other.held)) for other in self._tenants.values() if other is not tenant)
        return len(self._free) - owed

    def allowed(self, model: str) -> int:
        """How many more pages the limit of `model` allows. Below 0 if it holds more than that since it was lowered."""
        tenant = self._of(model)
        return tenant.limit - len(tenant.held)

    def take(self, model: str, pages: int) -> list[int]:
        """The numbers of `pages` pages, now held by `model`. Raises NookError("arena-full") and takes none."""
        there = self.available(model)
        if not 0 <= pages <= there:
            hint = "Wait until another request is done, or put one off."
            raise NookError("arena-full", f"{model} may take {there} pages now, not {pages}.", hint)
        taken = [self._free.pop() for _ in range(pages)]
        self._of(model).held.update(taken)
        return taken

    def give(self, model: str, pages: Iterable[int]) -> None:
        """Give pages back. Raises NookError("arena"), and gives none, if one is not held by `model` or comes twice."""
        tenant, given = self._of(model), list(pages)
        if len(set(given)) != len(given) or not tenant.held.issuperset(given):
            raise NookError("arena", f"{model} gave back pages that it does not hold.", "This is a defect: report it.")
        tenant.held.difference_update(given)
        self._free += reversed(given)

    def _of(self, model: str) -> _Tenant:
        try:
            return self._tenants[model]
        except KeyError:
            raise NookError("arena", f"{model} is not in the arena.", "Register it first.") from None
