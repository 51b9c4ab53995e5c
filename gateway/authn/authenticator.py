"""Who is calling: the one entry of this package. A token in, a caller or a refusal out; nothing else leaves it.

A JWT is verified with the keys of the issuer it names, if that one is configured, and by nobody else: no other
authenticator is tried after a refusal. Only a token of no configured issuer is put to the API server, where the
configuration asks for that. Nothing is guessed and nothing raised: an error is a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from chaperone.core.authentication import Issuer
from chaperone.core.caller import map_caller
from chaperone.core.identity import Caller
from chaperone.core.policy import Fault
from chaperone.core.token import (
    MAX_TOKEN_BYTES,
    Refused,
    Unverified,
    check_claims,
    read_token,
    unauthenticated,
)
from chaperone.kube.watched_file import WatchedFile
from gateway.authn.cache import CALLER_SECONDS, TokenCache
from gateway.authn.discovery import FetchKeys, key_fetcher
from gateway.authn.issuers_file import ConfigurationError, IssuersFile, read_issuers
from gateway.authn.keys import Verifier
from gateway.authn.keyset import UNAVAILABLE, KeySet
from gateway.authn.review import ReviewApi, TokenReviewer

log = logging.getLogger(__name__)

MAX_WAITING = 256
"""Requests of one worker that may wait for an issuer or for the API server at the same time."""
MAX_SHOWN = 120
"""Characters of an unverified issuer in an audit record."""
RELOAD_EVERY = 5.0
"""Seconds between two looks at the issuers file."""

CHANGED = Refused(503, "the gateway is reading its configuration: try again", "the issuers file was replaced")
BUSY = Refused(503, "too many tokens are being verified: try again", "too many verifications are waiting")

Fetcher = Callable[[Issuer, IssuersFile], FetchKeys]


@dataclass(frozen=True, slots=True)
class Trusted:
    """One configured issuer with its keys."""

    issuer: Issuer
    keys: KeySet


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of looking at the issuers file: taken over, or faults, and then the old one stays in force."""

    changed: bool = False
    faults: tuple[Fault, ...] = ()


def _fetch_over_https(issuer: Issuer, file: IssuersFile) -> FetchKeys:
    return key_fetcher(issuer, file.tls[issuer.url])


class Authenticator:
    """Verifies bearer tokens. `run` must be running beside it: it fetches keys and follows the file.

    path: the issuers file; ConfigurationError or OSError when it cannot be used now. api: where token reviews
    go; needed when the file asks for them. clock: Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        api: ReviewApi | None = None,
        clock: Callable[[], float] = time.time,
        fetcher: Fetcher = _fetch_over_https,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._file = WatchedFile(path)
        self._api = api
        self._clock = clock
        self._fetcher = fetcher
        self._max_waiting = max_waiting
        self._waiting = 0
        self._cache = TokenCache(clock)
        self._trusted: dict[str, Trusted] = {}
        self._reviewer: TokenReviewer | None = None
        self._workers: dict[KeySet, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._complaint: tuple[Fault, ...] = ()
        self._contents = self._file.read()
        self._take(self._parse(self._contents))

    # --- every request

    def cached(self, token: str) -> Caller | None:
        """The caller of a token verified before and still valid; the same object while it is cached."""
        return self._cache.caller(token)

    async def authenticate(self, token: str) -> Caller | Refused:
        """Verify a token. Never raises but for its own cancellation."""
        if not token or len(token) > MAX_TOKEN_BYTES:
            return unauthenticated("the token is empty or too long")
        configuration = self._cache.configuration
        try:
            known = self._cache.caller(token) or self._cache.refusal(token)
            result = known or await self._decide(token, configuration)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here is a refusal, never a caller
            # No traceback: it could show the token.
            log.error("a token could not be verified: %s", type(error).__name__)  # noqa: TRY400
            return unauthenticated(f"the verification failed: {type(error).__name__}")
        return result if configuration == self._cache.configuration else CHANGED

    async def _decide(self, token: str, configuration: int) -> Caller | Refused:
        """Exactly one authenticator is asked. What is shaped like a JWT and is none is refused by all."""
        if token.count(".") != 2:
            return await self._review(token)
        decoded = read_token(token)
        if isinstance(decoded, Refused):
            self._cache.refuse(token, decoded, configuration=configuration)
            return decoded
        trusted = self._trusted.get(decoded.issuer)
        if trusted is None:
            return await self._review(token, decoded.issuer)
        key = trusted.keys.find(decoded.algorithm, decoded.key_id)
        if key is None and decoded.algorithm in trusted.issuer.algorithms:
            key = await self._wait_for_key(decoded, trusted.keys)
            if isinstance(key, Refused):
                return key  # not remembered: the key may be there in a moment
        result = self._prove(decoded, key, trusted)
        if isinstance(result, Refused):
            self._cache.refuse(token, result, configuration=configuration)
        else:
            self._cache.keep(
                token, result, configuration=configuration, keys=trusted.keys, seconds=CALLER_SECONDS
            )
        return result

    async def _wait_for_key(self, decoded: Unverified, keys: KeySet) -> Verifier | Refused:
        if self._waiting >= self._max_waiting:
            return (
                BUSY
                if keys.ring is None
                else unauthenticated("the token's key is unknown (many wait for it)")
            )
        self._waiting += 1
        try:
            return await keys.find_newer(decoded.algorithm, decoded.key_id)
        finally:
            self._waiting -= 1

    def _prove(
        self, decoded: Unverified, key: Verifier | Refused | None, trusted: Trusted
    ) -> Caller | Refused:
        issuer = trusted.issuer
        if decoded.algorithm not in issuer.algorithms or key is None:
            return unauthenticated("the token's algorithm is not allowed for its issuer")
        if isinstance(key, Refused):
            return key
        if not key.verify(decoded.signing_input, decoded.signature):
            trusted.keys.ask()  # an issuer that reuses a key id for another key
            return unauthenticated("the signature is wrong")
        fault = check_claims(
            decoded.claims,
            issuer=issuer.url,
            audiences=issuer.audiences,
            leeway=issuer.leeway,
            now=self._clock(),
        )
        return fault or map_caller(issuer, decoded.claims)

    async def _review(self, token: str, issuer: str = "") -> Caller | Refused:
        if self._reviewer is None:
            named = f"the token's issuer {issuer[:MAX_SHOWN]!a}" if issuer else "it is no JWT: its issuer"
            return unauthenticated(f"{named} is not configured")
        if self._waiting >= self._max_waiting:
            return BUSY
        self._waiting += 1
        try:
            return await self._reviewer.review(token)
        finally:
            self._waiting -= 1

    # --- configuration

    async def run(self) -> None:
        """Fetch keys and follow the issuers file until cancelled. The caller owns the task."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._staff()
                while True:
                    await asyncio.sleep(RELOAD_EVERY)
                    await self.reload()
        finally:
            self._group = None
            self._workers.clear()

    async def reload(self) -> Reload:
        """Look at the issuers file. A bad one changes nothing; it is logged once, not at every look."""
        try:
            contents = await asyncio.to_thread(self._file.read)
            if contents == self._contents:
                self._complaint = ()
                return Reload()
            file = self._parse(contents)
        except OSError as error:
            return self._stay((Fault("", f"cannot be read: {error.strerror or error}"),))
        except ConfigurationError as error:
            return self._stay(error.faults)
        self._contents, self._complaint = contents, ()
        self._take(file)
        self._staff()
        log.info("the issuers file was taken over", extra={"issuers": len(self._trusted)})
        return Reload(changed=True)

    def _stay(self, faults: tuple[Fault, ...]) -> Reload:
        if faults != self._complaint:
            self._complaint = faults
            named = [f"{fault.path} {fault.message}" for fault in faults]
            log.error(
                "the issuers file is unusable; the one read before stays in force",
                extra={"path": str(self._file.path), "faults": named},
            )
        return Reload(faults=faults)

    def _parse(self, contents: bytes) -> IssuersFile:
        file = read_issuers(contents, str(self._file.path))
        if file.configuration.token_review and self._api is None:
            fault = Fault("tokenReview", "needs a connection to the API server, which this gateway lacks")
            raise ConfigurationError(str(self._file.path), [fault])
        return file

    def _take(self, file: IssuersFile) -> None:
        """Put a configuration in force. Issuers whose source of keys is unchanged keep the keys they have."""
        before = self._trusted
        self._trusted = {
            issuer.url: Trusted(issuer, self._keys(issuer, file, before.get(issuer.url)))
            for issuer in file.configuration.issuers
        }
        settings = file.configuration.token_review
        self._reviewer = (
            TokenReviewer(self._api, settings, self._cache, self._clock) if settings and self._api else None
        )
        self._cache.forget()

    def _keys(self, issuer: Issuer, file: IssuersFile, before: Trusted | None) -> KeySet:
        if before and _source(before.issuer) == _source(issuer):
            return before.keys
        return KeySet(issuer.url, self._fetcher(issuer, file), self._clock)

    def _staff(self) -> None:
        """One worker for each key set in force, none for the others."""
        if self._group is None:
            return
        wanted = [trusted.keys for trusted in self._trusted.values()]
        for keys in [keys for keys in self._workers if keys not in wanted]:
            self._workers.pop(keys).cancel()
        for keys in wanted:
            if keys not in self._workers:
                self._workers[keys] = self._group.create_task(keys.keep())

    # --- health

    def key_sets(self) -> Iterable[KeySet]:
        """For metrics and readiness: issuer, generation, fetched_at and last_error of each."""
        return [trusted.keys for trusted in self._trusted.values()]

    def faults(self) -> tuple[str, ...]:
        """Issuers whose tokens cannot be verified now, with the reason."""
        return tuple(
            f"{keys.issuer}: {keys.last_error or UNAVAILABLE.audit_reason}"
            for keys in self.key_sets()
            if keys.ring is None
        )


def _source(issuer: Issuer) -> tuple[object, ...]:
    return issuer.url, issuer.document_url, issuer.certificate_authority, issuer.algorithms
