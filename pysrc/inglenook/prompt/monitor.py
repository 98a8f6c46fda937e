"""Watches a prompt in use: whether it still keeps its requirements, however long one looks."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.prompt.ast import Prompt
from inglenook.prompt.sequential import Drift
from inglenook.prompt.suite import Trial
from inglenook.prompt.trace import tested


@dataclass(frozen=True, slots=True)
class Alarm:
    """The requirement `id` fell below its threshold; seen at its run number `runs`, in this trial."""

    id: str
    runs: int
    trial: Trial


class Monitor:
    """One watch for each requirement of a prompt. `alpha`: while all is well, alarms of one are 1/`alpha` runs apart on
    average, or further."""

    def __init__(self, prompt: Prompt, alpha: float = 0.001) -> None:
        self._watches = [(one, Drift(one.threshold, one.worst, alpha)) for one in prompt.requirements]

    def add(self, trial: Trial) -> list[Alarm]:
        """Count one run; the alarms it raised."""
        return [
            Alarm(one.id, watch.runs, trial)
            for one, watch in self._watches
            if (one.metric != "pass" or one.id in tested(trial.case)) and watch.add(float(trial.kept(one)))
        ]
