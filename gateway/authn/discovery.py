"""Fetching an issuer's keys: its discovery document, then the key set that the document names.

The only addresses asked are the configured one and the one in its document; nothing from a token gets here.
Sources: OpenID Connect Discovery 1.0, sections 4 and 4.3; RFC 9111 for max-age.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp

from chaperone.core.authentication import Issuer
from chaperone.core.token import read_object
from gateway.authn.keys import KeyRing, KeySetError, read_key_set

MAX_DOCUMENT = 512 * 1024
MAX_REDIRECTS = 3
TIMEOUT = 10.0
SHORTEST_AGE, LONGEST_AGE = 300.0, 86400.0
"""Seconds for which a key set counts as fresh, whatever the issuer says."""

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age\s*=\s*"?(\d{1,9})', re.IGNORECASE)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """ring: the keys. max_age: seconds until they should be fetched again."""

    ring: KeyRing
    max_age: float


FetchKeys = Callable[[], Awaitable[FetchedKeys]]


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    cache_control: str


def key_fetcher(issuer: Issuer, tls: ssl.SSLContext) -> FetchKeys:
    """A function that fetches this issuer's keys, verifying its servers with `tls`. It raises KeySetError."""

    async def fetch() -> FetchedKeys:
        try:
            return await _fetch(issuer, tls)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KeySetError(
                f"the issuer {issuer.url} cannot be reached: {str(error) or 'timeout'}"
            ) from error

    return fetch


async def _fetch(issuer: Issuer, tls: ssl.SSLContext) -> FetchedKeys:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, force_close=True),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    ) as session:
        document = await _get(session, issuer.document_url)
        keys = await _get(session, key_set_url(document.body, issuer.url))
    return FetchedKeys(read_key_set(keys.body, issuer.algorithms), freshness(keys.cache_control))


def key_set_url(document: bytes, issuer_url: str) -> str:
    """`jwks_uri` of a discovery document that speaks for this issuer. Raises KeySetError."""
    try:
        fields = read_object(document)
    except ValueError as error:
        raise KeySetError(f"the discovery document of {issuer_url} is unreadable: {error}") from None
    if fields.get("issuer") != issuer_url:
        raise KeySetError(f"the discovery document of {issuer_url} speaks for another issuer")
    url = fields.get("jwks_uri")
    if not isinstance(url, str) or not _is_https(url):
        raise KeySetError(f"the discovery document of {issuer_url} has no https jwks_uri")
    return url


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and url.isprintable()
        )
    except ValueError:
        return False


def freshness(cache_control: str) -> float:
    """Seconds from a Cache-Control header, between 5 minutes and a day."""
    matched = _MAX_AGE.search(cache_control)
    return min(max(float(matched[1]) if matched else 0.0, SHORTEST_AGE), LONGEST_AGE)


async def _get(session: aiohttp.ClientSession, url: str) -> _Page:
    """One document. Redirects are followed on the same origin only, so the TLS check stays the same one."""
    origin = _origin(url)
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status == 200:
                cache_control = ",".join(answer.headers.getall("Cache-Control", []))
                return _Page(await _bounded(answer), cache_control)
            if answer.status not in _REDIRECTS:
                raise KeySetError(f"{url} answers {answer.status}")
            target = urljoin(url, answer.headers.get("Location", ""))
        if _origin(target) != origin:
            raise KeySetError(f"{url} redirects to another host")
        url = target
    raise KeySetError(f"{url} redirects in circles")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or 443
    except ValueError:
        return "", None, None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_DOCUMENT:
            raise KeySetError(f"{answer.url} is longer than {MAX_DOCUMENT} bytes")
    return bytes(body)
