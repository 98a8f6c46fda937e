"""The driver of an examination: keeps the engine with the switches that are asked for, and a fresh one where the last
crashed. Stopping is closing the iterator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import inglenook
from inglenook.doctor import exam, probes
from inglenook.doctor.asks import Case, Properties
from inglenook.doctor.engine import FILES, INSIDE, TOKENS, Asked, Crash, Engine, Hang, ask
from inglenook.doctor.exam import Examining, Report, Step, Told
from inglenook.doctor.probes import Probe
from inglenook.doctor.samples import Facts
from inglenook.doctor.truth import LOUD, Truth
from inglenook.errors import NookError

SECONDS = 20.0
"""An answer may take so long."""
FEW = 220  # the longest prompts where passes are dear


def examine(
    engine: Engine, truth: Truth | None, *, few: bool = False, deep: bool = True, first: bool = False,
    seconds: float = SECONDS, chosen: Sequence[Probe] = probes.PROBES, case: Case | None = None,
) -> Iterator[Told | Report]:  # fmt: skip
    """Examine an engine, or run the one `case` on it. The last item is the report.

    The engine is not closed; engines that are made of it are.
    """
    known = knowledge(engine, truth, few)
    if case:
        work = exam.again(engine.name, known, case)
    else:
        work = exam.examine(engine.name, known, engine.tiers, engine.switches, deep=deep, first=first, chosen=chosen)
    return _driven(engine, work, seconds)


def report(items: Iterator[Told | Report], heard: Callable[[Told], None] = lambda told: None) -> Report:
    """The report at the end."""
    for item in items:
        if isinstance(item, Report):
            return item
        heard(item)
    raise NookError("stopped", "The examination was stopped.", "Begin it again.")


def knowledge(engine: Engine, truth: Truth | None, few: bool = False) -> exam.Known:
    """What probes know of the engine, by switches. Where a model of ours is run its properties are known, too."""
    ours = bool({TOKENS, INSIDE} & engine.tiers)
    expected: dict[str, object] = {}
    if ours and FILES in engine.tiers:
        expected["version"] = inglenook.__version__
        if truth:
            expected["activations"] = truth.activations
    made: dict[tuple[str, ...], Facts] = {}

    def known(switches: tuple[str, ...]) -> Facts:
        if switches not in made:
            right = truth.of(switches, LOUD) if truth else None
            room = (right.context if right else 0) - 16
            rows = int(right.told.get("vocabulary", len(right.tokens))) if right else 0
            room = min(room, FEW) if few else room
            made[switches] = Facts(right, rows, room, few, ours, engine.damages, frozenset(switches), expected)
        return made[switches]

    return known


def _driven(engine: Engine, work: Examining, seconds: float) -> Iterator[Told | Report]:
    now: Engine | None = None
    on: tuple[str, ...] = ()
    asked: Asked | None = None
    error: NookError | Crash | Hang | None = None
    try:
        while True:
            try:
                item = work.throw(error) if error else work.send(asked) if asked else next(work)
            except StopIteration as end:
                yield end.value
                return
            asked = error = None
            if isinstance(item, Told):
                yield item
                continue
            try:
                if now is None or item.fresh or on != item.switches:
                    if now:
                        _closed(now)
                    now, on = None, item.switches
                    now = _made(engine, item.switches, seconds)
                asked = ask(now, item.ask, seconds)
            except (NookError, Crash, Hang) as raised:
                error = raised
                if not isinstance(raised, NookError) and now:
                    _closed(now)
                    now = None
    finally:
        work.close()
        if now:
            _closed(now)


class _Factory:
    """Making an engine is asked of it like anything else: it may fail, crash or hang."""

    def __init__(self, engine: Engine, switches: tuple[str, ...]) -> None:
        self.engine, self.switches = engine, switches

    def answer(self, what: object) -> Engine:
        return self.engine.switched(self.switches)


def _made(engine: Engine, switches: tuple[str, ...], seconds: float) -> Engine:
    made: Engine = ask(_Factory(engine, switches), Properties(), seconds).value  # type: ignore[arg-type]
    return made


def _closed(engine: Engine) -> None:
    """Free its memory; one that is broken may not be able to."""
    try:
        engine.close()
    except Exception:
        return


__all__ = ["SECONDS", "Step", "examine", "knowledge", "report"]
