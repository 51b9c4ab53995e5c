"""What was masked in each run, so that it is masked wherever it turns up again in that run: logs, errors, other objects.

Of one worker. Runs that were not heard of for longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.limits import RunKey

MOST_RUNS = 1000

Kept = TypeVar("Kept")


class PerRun(Generic[Kept]):
    """make: what a run begins with."""

    def __init__(self, make: Callable[[], Kept], most: int = MOST_RUNS) -> None:
        self._make = make
        self._most = most
        self._runs: OrderedDict[RunKey, Kept] = OrderedDict()

    def of(self, run: RunKey) -> Kept:
        known = self._runs.get(run)
        if known is None:
            known = self._runs[run] = self._make()
            if len(self._runs) > self._most:
                self._runs.popitem(last=False)
        else:
            self._runs.move_to_end(run)
        return known
