"""The credential of the data path: a service account that may impersonate and nothing else.

Minted with the control credential and renewed long before it ends, or read from a file that somebody else
renews. `token()` never waits: without a valid token it raises, and the data path answers 503.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaperone.kube.errors import KubeError
from chaperone.kube.tokens import MintedToken
from chaperone.kube.watched_file import WatchedFile

log = logging.getLogger(__name__)

RENEW_AT = 0.8
"""Share of a token's life after which it is renewed."""
SPARE = 5.0
"""Seconds before its end from which on a token is no longer given out: a request must not outlive it at
once."""
BACKOFF_FIRST = 1.0
BACKOFF_MOST = 30.0
REJECTION_PAUSE = 10.0
"""Seconds between two renewals that were asked for because the API server rejected the token."""
FILE_CHECK = 1.0
"""Seconds between two looks at a token file."""


class CredentialUnavailable(Exception):  # noqa: N818  the condition, as the data path names it
    """There is no valid data-path token at this moment. The message says why."""


class MintedCredential:
    """A token that `run` keeps renewed. clock: monotonic seconds. jitter: a number in [0, 1) each time."""

    def __init__(
        self,
        mint: Callable[[], Awaitable[MintedToken]],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mint = mint
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._minted: MintedToken | None = None
        self._usable_until = 0.0
        self._minted_at = 0.0
        self._failure = "no token has been minted yet"
        self._rejected = asyncio.Event()

    def token(self) -> str:
        """Raises CredentialUnavailable."""
        if self._minted is None or self._clock() >= self._usable_until:
            raise CredentialUnavailable(f"no valid data-path token: {self._failure}")
        return self._minted.token

    @property
    def ready(self) -> bool:
        return self._minted is not None and self._clock() < self._usable_until

    def reject(self, token: str) -> None:
        """The API server answered 401 to this token (its signing keys changed): renew it now, not when it is
        due."""
        if self._minted is not None and token == self._minted.token:
            self._rejected.set()

    async def run(self) -> None:
        """Mint and renew until cancelled."""
        failures = 0
        while True:
            failures = 0 if await self._renew() else failures + 1
            if failures:
                pause = min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(failures - 1, 10))
                await self._sleep(pause * (0.5 + 0.5 * self._jitter()))
            else:
                await self._wait_due()

    async def _renew(self) -> bool:
        self._rejected.clear()
        asked_at = self._clock()
        try:
            minted = await self._mint()
        except KubeError as fault:
            if str(fault) != self._failure:
                log.warning("data-path token cannot be minted", extra={"cause": str(fault)})
            self._failure = str(fault)
            return False
        self._minted, self._minted_at = minted, asked_at
        self._usable_until = asked_at + minted.lifetime - SPARE
        self._failure = "the last one has expired"
        log.info("data-path token minted", extra={"expires_in": round(minted.lifetime)})
        return True

    async def _wait_due(self) -> None:
        """Until 80 % of the token's life is over, or it was rejected."""
        due = renew_after(self._minted.lifetime if self._minted else 0.0, self._jitter())
        try:
            async with asyncio.timeout(due):
                await self._rejected.wait()
        except TimeoutError:
            return
        await self._sleep(max(0.0, self._minted_at + REJECTION_PAUSE - self._clock()))


def renew_after(lifetime: float, jitter: float) -> float:
    """Seconds from minting to renewal; a little earlier for some, so that replicas do not ask in step."""
    return max(1.0, lifetime * RENEW_AT * (0.95 + 0.05 * jitter))


class FileCredential:
    """A token from a file, read again when it changes. clock: monotonic seconds."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._file = WatchedFile(path)
        self._clock = clock
        self._checked_at = float("-inf")
        self._token = ""

    def token(self) -> str:
        """Raises CredentialUnavailable naming the file."""
        now = self._clock()
        if now - self._checked_at >= FILE_CHECK or not self._token:
            self._token = self._read()
            self._checked_at = now
        return self._token

    @property
    def ready(self) -> bool:
        try:
            return bool(self.token())
        except CredentialUnavailable:
            return False

    def reject(self, token: str) -> None:
        """The API server answered 401: look at the file again at the next request."""
        if token == self._token:
            self._checked_at = float("-inf")

    async def run(self) -> None:
        """Nothing to renew: whoever writes the file does that."""

    def _read(self) -> str:
        try:
            token = self._file.read().decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise CredentialUnavailable(f"token file {self._file.path} cannot be read: {fault}") from fault
        if not token or any(character.isspace() for character in token):
            raise CredentialUnavailable(f"token file {self._file.path} holds no token")
        return token
