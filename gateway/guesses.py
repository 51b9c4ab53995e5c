"""How often a run may try values where the live object has masked ones.

Whoever may write a field can compare: a write that changes nothing looks different from one that does (the version of
the object, a conflict of an apply). That cannot be hidden, so it is counted. Sending one value again is no new guess.
Counted in each worker for itself; the runs and objects that were not heard of for longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gateway.limits import RunKey

MOST_GUESSES = 40
"""Different values for the masked fields of one object, in one run."""
MOST_OBJECTS = 10_000
"""Pairs of run and object that are remembered."""


class Guesses:
    """What is remembered of a value is a number that means nothing in another process."""

    def __init__(self, most: int = MOST_GUESSES, objects: int = MOST_OBJECTS) -> None:
        self.most = most
        self._objects = objects
        self._tried: OrderedDict[tuple[RunKey, str], set[int]] = OrderedDict()

    def admit(self, run: RunKey, uid: str, values: Iterable[tuple[str, str | bytes]]) -> bool:
        """values: (path class, value). False: these would be too many; they are not counted."""
        new = {hash(value) for value in values}
        if not new:
            return True
        tried = self._tried.setdefault((run, uid), set())
        self._tried.move_to_end((run, uid))
        if len(self._tried) > self._objects:
            self._tried.popitem(last=False)
        if len(tried | new) > self.most:
            return False
        tried |= new
        return True
