"""The keys of one issuer over time: fetched in the background, kept while the issuer is down, asked sparingly.

Only the worker (`keep`) fetches, so there is one fetch at a time and no client that goes away can stop it. A
token with an unknown key id wakes the worker, but not more often than every 30 seconds, failures counted.
Whoever waits for a fetch waits a short, bounded time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from chaperone.core.token import Refused, unauthenticated
from gateway.authn.discovery import FetchedKeys, FetchKeys
from gateway.authn.keys import KeyRing, KeySetError, Verifier

log = logging.getLogger(__name__)

COOLDOWN = 30.0
"""Seconds between two fetches that tokens may cause."""
UNKNOWN_FOR = 60.0
"""Seconds for which a key id that a fresh set did not have is not asked for again."""
MAX_UNKNOWN = 1024
STALE_FOR = 86400.0
"""Seconds for which keys are used after the last successful fetch."""
PATIENCE = 2.0
"""Longest wait of a request for a fetch in flight."""
LONGEST_SLEEP = 60.0
FIRST_RETRY, LAST_RETRY = 1.0, 60.0

UNAVAILABLE = Refused(
    503,
    "the keys of the token's issuer cannot be fetched at the moment: try again",
    "no keys of the issuer are at hand",
)


class KeySet:
    """The keys of one issuer. generation changes with every change of the keys.

    fetch: raises KeySetError. clock: Unix seconds.
    """

    def __init__(self, issuer: str, fetch: FetchKeys, clock: Callable[[], float]) -> None:
        self.issuer = issuer
        self.generation = 0
        self.last_error = ""
        self.fetched_at: float | None = None
        self._fetch = fetch
        self._clock = clock
        self._ring: KeyRing | None = None
        self._attempted_at = float("-inf")
        self._due_at = float("-inf")
        self._failures = 0
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._wanted = asyncio.Event()
        self._landed = asyncio.Event()

    @property
    def ring(self) -> KeyRing | None:
        """The keys as far as they may be used now."""
        if self.fetched_at is None or self._clock() - self.fetched_at > STALE_FOR:
            return None
        return self._ring

    def find(self, algorithm: str, key_id: str | None) -> Verifier | Refused | None:
        """The key for a token's header, without waiting. None: `await` it with `find_newer`."""
        ring = self.ring
        return ring.find(algorithm, key_id) if ring else None

    async def find_newer(self, algorithm: str, key_id: str | None) -> Verifier | Refused:
        """The same, after a fetch that may bring the key, if one is in flight or may be made."""
        if self.ring and key_id is not None and self._is_known_unknown(key_id):
            return unauthenticated("the token's key is unknown to its issuer")
        asked_at = self._clock()
        if self.ask():
            await self._wait()
        ring = self.ring
        if ring is None:
            return UNAVAILABLE
        found = ring.find(algorithm, key_id)
        if found is None and key_id is not None and self._fetched_since(asked_at):
            self._remember_unknown(key_id)
        return found or unauthenticated("the token's key is unknown to its issuer")

    def ask(self) -> bool:
        """Wake the worker if a fetch may be made now. True: a fetch is on its way."""
        if not self._landed.is_set() and self._attempted_at != float("-inf"):
            return True
        if self._clock() - self._attempted_at < COOLDOWN:
            return False
        self._landed.clear()
        self._wanted.set()
        return True

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._landed.wait()
        except TimeoutError:
            log.info("keys are slow to come", extra={"issuer": self.issuer})

    def _fetched_since(self, moment: float) -> bool:
        """Only a set fetched after the question can say that a key does not exist."""
        return self.fetched_at is not None and self.fetched_at >= moment

    def _is_known_unknown(self, key_id: str) -> bool:
        return self._unknown.get(key_id, float("-inf")) > self._clock()

    def _remember_unknown(self, key_id: str) -> None:
        self._unknown[key_id] = self._clock() + UNKNOWN_FOR
        while len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    async def keep(self) -> None:
        """Fetch when it is time or when asked, for ever. To be run as one task by the owner."""
        while True:
            if self._wanted.is_set() or self._clock() >= self._due_at:
                await self.refresh()
            await self._until_due()

    async def _until_due(self) -> None:
        delay = min(max(self._due_at - self._clock(), 0.0), LONGEST_SLEEP)
        try:
            async with asyncio.timeout(delay):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def refresh(self) -> None:
        """One fetch. A failure keeps the keys there are."""
        self._wanted.clear()
        self._landed.clear()
        self._attempted_at = self._clock()
        try:
            self._take(await self._fetch())
        except KeySetError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - an issuer's odd answer must not end the gateway
            self._fail(f"the keys of {self.issuer} cannot be used: {type(error).__name__}")
        finally:
            self._landed.set()

    def _take(self, fetched: FetchedKeys) -> None:
        if self._ring != fetched.ring:
            self.generation += 1
            self._unknown.clear()
            log.info(
                "an issuer's keys changed", extra={"issuer": self.issuer, "keys": len(fetched.ring.keys)}
            )
        self._ring = fetched.ring
        self.fetched_at = self._clock()
        self._due_at = self.fetched_at + fetched.max_age
        self._failures = 0
        self.last_error = ""

    def _fail(self, error: str) -> None:
        self._failures += 1
        self.last_error = error
        first = FIRST_RETRY if self._ring is None else COOLDOWN
        self._due_at = self._clock() + min(first * 2 ** min(self._failures - 1, 10), LAST_RETRY)
        log.warning(
            "an issuer's keys cannot be fetched",
            extra={"issuer": self.issuer, "error": error, "has_keys": self.ring is not None},
        )
