"""Tokens of no configured issuer, put to the API server (TokenReview). Its silence is never a yes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol

from chaperone.core.authentication import TokenReviewSettings
from chaperone.core.identity import Caller
from chaperone.core.reviewed import read_review, review_request
from chaperone.core.token import Refused
from chaperone.kube.errors import KubeError
from gateway.authn.cache import TokenCache

log = logging.getLogger(__name__)

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
REVIEW_SECONDS = 60.0
"""How long a review is believed: a token that is revoked ends within this time."""
TIMEOUT = 5.0
MAX_AT_ONCE = 32

NO_ANSWER = Refused(
    503,
    "the token cannot be verified at the moment: try again",
    "the API server did not answer the token review",
)


class ReviewApi(Protocol):
    """A connection whose account may create tokenreviews.authentication.k8s.io (chaperone.kube.Connection)."""

    def call(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Awaitable[dict[str, Any]]: ...


class TokenReviewer:
    """Reviews each token once at a time; both answers are remembered for a short while."""

    def __init__(
        self,
        api: ReviewApi,
        settings: TokenReviewSettings,
        cache: TokenCache,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._settings = settings
        self._cache = cache
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._flights: dict[bytes, asyncio.Lock] = {}

    async def review(self, token: str) -> Caller | Refused:
        """The token must not be empty. Never raises but for its own cancellation."""
        digest = sha256(token.encode()).digest()
        lock = self._flights.setdefault(digest, asyncio.Lock())
        try:
            async with lock, self._slots:
                return self._cache.caller(token) or self._cache.refusal(token) or await self._ask(token)
        finally:
            if not lock.locked():
                self._flights.pop(digest, None)

    async def _ask(self, token: str) -> Caller | Refused:
        configuration = self._cache.configuration
        try:
            review = await self._api.call(
                "POST", PATH, body=review_request(token, self._settings), timeout=TIMEOUT
            )
        except (KubeError, TimeoutError, OSError) as error:
            log.warning("a token review failed", extra={"error": str(error) or type(error).__name__})
            return NO_ANSWER
        result = read_review(review, token, self._settings)
        if isinstance(result, Refused):
            self._cache.refuse(token, result, configuration=configuration)
        else:
            self._cache.keep(token, result, configuration=configuration, seconds=REVIEW_SECONDS)
        return result
