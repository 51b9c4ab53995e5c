"""Pruning of old audit records, now and then, in a thread of its own: the first worker of a gateway does it for all.

Several gateways on one store take turns. What fails is logged and tried again; it never touches the writing of records.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from chaperone.store.interface import Pruned

log = logging.getLogger(__name__)

FIRST = 60.0
EVERY = 3600.0
"""Seconds from the start to the first pruning, and between two."""


class Pruning:
    """`start` and `stop` once each. prune: removes what is too old by now; raises whatever it likes."""

    def __init__(self, prune: Callable[[], Pruned], *, first: float = FIRST, every: float = EVERY) -> None:
        self._prune = prune
        self._first = first
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-pruning", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A piece that is being removed is ended first; nobody waits for it."""
        self._stop.set()

    def _run(self) -> None:
        pause = self._first
        while not self._stop.wait(pause):
            pause = self._every
            try:
                pruned = self._prune()
            except Exception:
                log.exception("audit records could not be pruned")
                continue
            if pruned.removed:
                log.info("audit records were pruned", extra={"removed": pruned.removed, "held": pruned.held})
