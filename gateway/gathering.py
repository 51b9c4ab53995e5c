"""What must be known before a request can be judged: its body, the live object, the outcome of a patch.

Everything is looked up as the agent (impersonated), so the gateway never learns, and never tells, what the agent may
not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from chaperone.core.body import Undecodable, decode
from chaperone.core.gate import Needs
from chaperone.core.request import Payload, Request, Unreadable, parse
from gateway.dry_runs import heeds_dry_run
from gateway.http.forwarding import own_request
from gateway.http.pool import Pool
from gateway.http.upstream import UpstreamConnection, UpstreamError
from gateway.refusal import refusal
from gateway.services import Credential, Fetched, Gather

MOST_ANSWER_BYTES = 8 * 1024 * 1024
NO_DRY_RUN = "does not support dry run"
"""In the API server's message when an admission webhook has side effects
(kubernetes/apiserver pkg/admission/plugin/webhook/errors)."""


class DryRunRefusedError(Exception):
    """The API server would refuse the request; its answer is the final one. answer: as it came."""

    def __init__(self, answer: Fetched) -> None:
        super().__init__(f"the dry run was answered {answer.code}")
        self.answer = answer


class Collected:
    """Receiver that gathers one answer into a future."""

    __slots__ = ("_body", "_future", "_limit", "_size")

    def __init__(self, future: asyncio.Future[Fetched], limit: int) -> None:
        self._future = future
        self._limit = limit
        self._body: list[bytes] = []
        self._size = 0

    def received(self, upstream: UpstreamConnection, pieces: list[bytes], complete: bool) -> None:
        self._body.extend(pieces)
        self._size += sum(map(len, pieces))
        if self._size > self._limit:
            upstream.abort()
            self.lost(UpstreamError("the API server's answer is larger than what can be looked at"))
        elif complete and not self._future.done():
            content_type = next(iter(_values(upstream, b"content-type")), "")
            warnings = _values(upstream, b"warning")
            self._future.set_result(Fetched(upstream.code, content_type, b"".join(self._body), warnings))

    def upgraded(self, upstream: UpstreamConnection, _early: bytes) -> None:
        upstream.abort()
        self.lost(UpstreamError("the API server switched protocols without being asked"))

    def lost(self, error: UpstreamError) -> None:
        if not self._future.done():
            self._future.set_exception(error)


def _values(upstream: UpstreamConnection, name: bytes) -> tuple[str, ...]:
    return tuple([value.decode("latin-1") for key, value in upstream.headers if key.lower() == name])


@dataclass(frozen=True, slots=True)
class AgentEyes:
    """Requests of the gateway's own, made as the agent. Implements services.Gather."""

    pool: Pool
    credential: Credential
    identity: bytes
    new_id: Callable[[], str]

    async def fetch(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        content_type: str = "",
        limit: int = MOST_ANSWER_BYTES,
    ) -> Fetched:
        """Raises UpstreamError; ValueError when the target cannot be read or there is no identity."""
        request = parse(method, target, content_type=content_type)
        if isinstance(request, Unreadable):
            raise ValueError(request.reason)  # noqa: TRY004 - about the target, not its type
        data = own_request(
            replace(request, body=body),
            host=self.pool.settings.host_header,
            identity=self.identity,
            token=self.credential.token(),
            audit_id=self.new_id(),
        )
        try:
            return await self._ask(data, limit, self.pool.take() or await self.pool.connect())
        except UpstreamError as error:
            if not error.untouched or method != "GET":
                raise
        return await self._ask(data, limit, await self.pool.connect())

    async def _ask(self, data: bytes, limit: int, upstream: UpstreamConnection) -> Fetched:
        future: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        upstream.ask(
            data, Collected(future, limit), patience=self.pool.settings.first_byte_seconds, no_body=False
        )
        try:
            return await future
        except asyncio.CancelledError:
            upstream.abort()
            raise


async def gather(
    request: Request, needs: Needs, eyes: Gather, live: Mapping[str, Any] | None = None
) -> Request:
    """The request with its payload filled in. live: its object, where it was read a moment ago. Raises RefusalError (400,
    415), DryRunRefusedError, UpstreamError."""
    payload = read_payload(request) if needs.body or request.body else request.payload
    if needs.live and live is not None and not request.subresource:
        payload = replace(payload, old_object=live)
    elif needs.live:
        payload = await _with_live(request, payload, eyes)
    if (needs.result and request.verb in ("update", "patch")) or (
        needs.body and _is_opaque(request, payload)
    ):
        payload = await _with_result(request, payload, eyes)
    return replace(request, payload=payload)


def _is_opaque(request: Request, payload: Payload) -> bool:
    """A whole object in a format that only the API server reads: newer versions of kubectl send protobuf."""
    return (
        request.verb in ("create", "update") and not request.subresource and "object" in payload.undetermined
    )


def read_payload(request: Request) -> Payload:
    """What the body alone says. Raises RefusalError for a body that two readers could take differently."""
    if not request.is_resource or request.is_connect or request.verb == "proxy":
        return request.payload
    decoded = decode(request.body, request.content_type, request.verb)
    place = "options" if request.verb in ("delete", "deletecollection") else "object"
    if isinstance(decoded, Undecodable):
        if not decoded.opaque:
            raise refusal(decoded.code, decoded.reason, request)
        return Payload(undetermined=frozenset({place}))
    if request.verb == "patch":
        return Payload(undetermined=frozenset({"object"}))
    return Payload(options=decoded.value) if place == "options" else Payload(object=decoded.value)


async def _with_live(request: Request, payload: Payload, eyes: Gather) -> Payload:
    live, known = await live_object(request, eyes)
    if known:
        return replace(payload, old_object=live)
    return replace(payload, undetermined=payload.undetermined | {"oldObject"})


async def live_object(request: Request, eyes: Gather) -> tuple[Mapping[str, Any] | None, bool]:
    """(object, True), (None, True) when there is none, (None, False) when it cannot be told.

    A subresource that cannot be read itself (eviction, binding, token) stands for its object.
    """
    if not request.is_resource or not request.name:
        return None, not request.is_resource
    answer = await eyes.fetch("GET", request.path)
    if request.subresource and answer.code in (404, 405):
        answer = await eyes.fetch("GET", request.path.removesuffix(f"/{request.subresource}"))
    if answer.code == 200 and (found := read_object(answer.body)) is not None:
        return found, True
    return None, answer.code == 404


async def _with_result(request: Request, payload: Payload, eyes: Gather) -> Payload:
    if not await heeds_dry_run(request, lambda path: _discovered(path, eyes)):
        return replace(payload, object=None, undetermined=payload.undetermined | {"object"})
    target = request.target if request.parameter("dryRun") else _dry(request)
    answer = await eyes.fetch(
        request.method, target, body=request.body, content_type=request.content_type or "application/json"
    )
    if 200 <= answer.code < 300 and (outcome := read_object(answer.body)) is not None:
        return replace(payload, object=outcome, undetermined=payload.undetermined - {"object"})
    if 400 <= answer.code < 500 and NO_DRY_RUN not in answer.body.decode("utf-8", "replace"):
        raise DryRunRefusedError(answer)
    return replace(payload, object=None, undetermined=payload.undetermined | {"object"})


async def _discovered(path: str, eyes: Gather) -> Mapping[str, Any] | None:
    answer = await eyes.fetch("GET", path)
    return read_object(answer.body) if answer.code == 200 else None


def read_object(body: bytes) -> Mapping[str, Any] | None:
    """An object from the API server itself; None when it is no JSON object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _dry(request: Request) -> str:
    return f"{request.path}?{request.query}&dryRun=All" if request.query else f"{request.path}?dryRun=All"
