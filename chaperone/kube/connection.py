"""Calls to one API server with one credential: JSON in, JSON out, every failure as a KubeError.

Redirects are never followed and proxies from the environment never used: the credential goes to the
configured server only. Renewed token, CA and certificate files are picked up without a restart.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from chaperone import __version__
from chaperone.kube.endpoint import Bearer, Endpoint
from chaperone.kube.errors import KubeError, RefusedError, UnreachableError
from chaperone.kube.lines import split_lines

Query = Sequence[tuple[str, str]]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class Connection:
    """One API server, one account. Use as an async context manager, inside the loop that will use it.

    timeout: seconds for one call from start to end. max_answer: bytes of one answer or one watch line that we
    are willing to hold.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 10.0,
        relax_x509_strict: bool = False,
        max_answer: int = 64 * 1024 * 1024,
        user_agent: str = f"kube-chaperone/{__version__}",
    ) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._relax = relax_x509_strict
        self._max_answer = max_answer
        self._bearer = Bearer(endpoint)
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | bool = True
        self._tls_stamps: object = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": self._user_agent, "Accept": JSON},
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=100, limit_per_host=100),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        timeout: float | None = None,  # noqa: ASYNC109  the deadline is handed to aiohttp, which cancels the socket
    ) -> dict[str, Any]:
        """The decoded JSON object of a 2xx answer. Raises RefusedError, UnreachableError or EndpointError."""
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout)
        headers = {"Content-Type": content_type} if body is not None else {}
        data = orjson.dumps(body) if body is not None else None
        async with self._send(method, path, query=query, data=data, headers=headers, limit=limit) as answer:
            raw = await self._read(answer, f"{method} {path}")
            if answer.status >= 300:
                raise _refusal(f"{method} {path}", answer.status, raw)
            return _object(f"{method} {path}", raw)

    async def get(self, path: str, *, query: Query = ()) -> dict[str, Any]:
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.call("POST", path, body=body)

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.call("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def watch(
        self, path: str, *, query: Query = (), silence: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch, as they come, until the server ends it. silence: seconds without a byte
        after which the connection counts as dead. Raises RefusedError, UnreachableError (also for a line that
        is not JSON)."""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=silence)
        async with self._send("GET", path, query=query, limit=limit) as answer:
            if answer.status >= 300:
                raise _refusal(f"WATCH {path}", answer.status, await self._read(answer, f"WATCH {path}"))
            try:
                async for line in split_lines(answer.content.iter_any(), self._max_answer):
                    yield _object(f"WATCH {path}", line)
            except ValueError as fault:
                raise UnreachableError(f"WATCH {path}: {fault}") from fault

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        *,
        limit: aiohttp.ClientTimeout,
        query: Query = (),
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("Connection is used outside its context")
        sent = dict(headers or {})
        if token := self._bearer.token():
            sent["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.request(
                method,
                self.endpoint.server + path,
                params=list(query),
                data=data,
                headers=sent,
                ssl=self._context(),
                timeout=limit,
                allow_redirects=False,
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise UnreachableError(
                f"{method} {path}: no answer from {self.endpoint.server}: {_words(fault)}"
            ) from fault

    def _context(self) -> ssl.SSLContext | bool:
        """A new context when a file changed; connections that are open live on with the old one."""
        if not self.endpoint.is_tls:
            return True
        stamps = self.endpoint.stamps()
        if stamps != self._tls_stamps:
            self._tls = self.endpoint.tls(relax_x509_strict=self._relax)
            self._tls_stamps = stamps
        return self._tls

    async def _read(self, answer: aiohttp.ClientResponse, request: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > self._max_answer:
                raise UnreachableError(f"{request}: the answer is larger than {self._max_answer} bytes")
            parts.append(part)
        return b"".join(parts)


def _object(request: str, raw: bytes) -> dict[str, Any]:
    try:
        decoded = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UnreachableError(f"{request}: the answer is not JSON; is this an API server?") from None
    if not isinstance(decoded, dict):
        raise UnreachableError(f"{request}: the answer is not a JSON object; is this an API server?")
    return decoded


def _refusal(request: str, code: int, raw: bytes) -> KubeError:
    try:
        status = _object(request, raw)
    except UnreachableError:
        status = {}
    return RefusedError(
        request, code, str(status.get("reason") or ""), str(status.get("message") or "")[:1000]
    )


def _words(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
