"""Pruning of what is old, now and then, in a thread of its own: the first worker of a gateway does it for all.

Several gateways on one store take turns. What fails is logged and tried again; it never touches the writing of records.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from chaperone.settings.gateway import AuditSettings
from chaperone.store.engine import is_sqlite, store_url
from chaperone.store.interface import Pruned
from chaperone.store.signing import KEY_FILE, Signer, load_signer

log = logging.getLogger(__name__)

FIRST = 60.0
EVERY = 3600.0
"""Seconds from the start to the first pruning, and between two."""


class Pruning:
    """`start` and `stop` once each. prune: removes what is too old by now; raises whatever it likes. what: in words."""

    def __init__(
        self,
        prune: Callable[[], Pruned],
        what: str = "audit records",
        *,
        first: float = FIRST,
        every: float = EVERY,
    ) -> None:
        self._prune = prune
        self._what = what
        self._first = first
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pruning", daemon=True)

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
            except OSError as fault:
                log.error("%s could not be pruned", self._what, extra={"cause": str(fault)})  # noqa: TRY400  a store that is away is one line
                continue
            except Exception:
                log.exception("%s could not be pruned", self._what)
                continue
            if pruned.removed:
                log.info(
                    "%s were pruned",
                    self._what,
                    extra={"removed": pruned.removed, "held": pruned.held},
                )


def signer_of_settings(settings: AuditSettings) -> Signer:
    """The key that signs this gateway's checkpoints into its store. Raises KeyFileError."""
    url = store_url(settings.store)
    beside = Path(str(url.database)).parent if is_sqlite(url) else Path()
    return load_signer(settings.signing_key or beside / KEY_FILE)
