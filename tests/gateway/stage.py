"""Everything around the data path, faked: callers, policies, holds, audit, metrics; and a raw client."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from chaperone.core.approval import Approval
from chaperone.core.identity import Caller
from chaperone.core.policy import Capabilities, Policy, PolicySet, policy_set
from chaperone.core.request import Request
from chaperone.core.token import Refused
from chaperone.core.verdict import Verdict
from gateway.asking import PLAIN, Asking
from gateway.http.limits import HttpLimits
from gateway.http.pool_settings import UpstreamSettings
from gateway.limits import RunLimits
from gateway.restoring import Engine
from gateway.server import Server, ServerSettings
from gateway.services import (
    AccessDesk,
    Answer,
    ChooseFilter,
    Gather,
    OpenTap,
    Runs,
    Services,
    Spend,
    UnkeptRuns,
    Withdraw,
    no_filter,
    no_tap,
)
from tests.gateway.upstream import Headers, Upstream

TOKEN = "agent-token"
CREDENTIAL = "data-path-credential"
AUTH = f"Authorization: Bearer {TOKEN}\r\n"
PODS = "/api/v1/namespaces/dev/pods"

AGENT = Caller(
    issuer="https://issuer.example",
    subject="sub-1",
    username="repo:acme/app",
    groups=("agents",),
    run="run-7",
)


def policy(*rules: Mapping[str, Any], name: str = "agents", **spec: Any) -> dict[str, Any]:
    """An AgentPolicy for AGENT."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "mode": "Enforce",
            "subjects": [{"groups": ["agents"]}],
            "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
            "rules": list(rules),
            "defaults": {"critical": "Deny", "high": "Allow", "medium": "Allow", "low": "Allow"},
            "masking": {"profile": "Off", "reason": "a test"},
            "recording": {"streams": "Off"},
            **spec,
        },
    }


ALLOW_ALL = policy({"name": "all", "match": {}, "action": "Allow"})
DENY_SECRETS = policy(
    {"name": "no-secrets", "match": {"resources": ["secrets"]}, "action": "Deny", "message": "no secrets"},
    {"name": "all", "match": {}, "action": "Allow"},
)
HOLD_DELETES = policy(
    {"name": "deletes", "match": {"verbs": ["delete"]}, "action": "RequireApproval"},
    {"name": "all", "match": {}, "action": "Allow"},
)


@dataclass
class FakeAuthenticator:
    """TOKEN is AGENT. cached_already False: the first look-up has to wait."""

    caller: Caller = AGENT
    cached_already: bool = True
    gate: asyncio.Event | None = None
    asked: int = 0

    def cached(self, token: str) -> Caller | None:
        return self.caller if self.cached_already and token == TOKEN else None

    async def authenticate(self, token: str) -> Caller | Refused:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        return self.caller if token == TOKEN else Refused(401, "the bearer token was not accepted", "unknown")


@dataclass
class FakeSnapshot:
    policies: PolicySet
    generation: int = 1
    fresh: bool = True


@dataclass
class FakeAudit:
    records: list[dict[str, Any]] = field(default_factory=list)
    durable_records: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False

    def write(self, record: Mapping[str, Any]) -> None:
        if self.down:
            raise OSError("the queue is full")
        self.records.append(dict(record))

    async def durable(self, record: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise OSError("the disk is full")
        self.durable_records.append(dict(record))


@dataclass
class FakeMetrics:
    observed: list[tuple[str, str, int]] = field(default_factory=list)
    open_streams: int = 0
    upstream_errors: list[str] = field(default_factory=list)
    masked_values: dict[str, int] = field(default_factory=dict)
    recordings: list[str] = field(default_factory=list)

    def observe(self, verb: str, verdict: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.observed.append((verb, verdict, code))

    def connections(self, count: int) -> None:
        """Not looked at."""

    def upstream_error(self, reason: str) -> None:
        self.upstream_errors.append(reason)

    def streams(self, count: int) -> None:
        self.open_streams = count

    def recording(self, state: str) -> None:
        self.recordings.append(state)

    def masked(self, counts: Mapping[str, int]) -> None:
        for rule, count in counts.items():
            self.masked_values[rule] = self.masked_values.get(rule, 0) + count


@dataclass
class FakeCredential:
    value: str = CREDENTIAL
    rejected: list[str] = field(default_factory=list)

    def token(self) -> str:
        if not self.value:
            raise RuntimeError("no token has been minted")
        return self.value

    def reject(self, token: str) -> None:
        self.rejected.append(token)


Decide = Callable[[Request, Gather], Awaitable[Spend | Answer]]


@dataclass
class FakeHolds:
    """decision: what comes of every hold; it may wait."""

    decision: Decide | None = None
    asked: list[Request] = field(default_factory=list)
    askings: list[Asking] = field(default_factory=list)
    cancelled: int = 0
    finished: list[tuple[str, int]] = field(default_factory=list)

    async def decide(
        self,
        request: Request,
        caller: Caller,
        verdict: Verdict,
        policy: Policy,
        gather: Gather,
        *,
        asking: Asking = PLAIN,
    ) -> Spend | Answer:
        assert verdict.policy == policy.name
        self.askings.append(asking)
        self.asked.append(request)
        assert self.decision is not None
        try:
            return await self.decision(request, gather)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def finish(self, approval: Approval, code: int, audit_id: str) -> None:
        assert audit_id
        self.finished.append((approval.name, code))


@dataclass
class Reply:
    code: int
    headers: Headers
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def status(self) -> dict[str, Any]:
        """The body as a metav1.Status of the same code."""
        document: dict[str, Any] = json.loads(self.body)
        assert document["kind"] == "Status"
        assert document["code"] == self.code
        assert document["status"] == "Failure"
        return document


class Client:
    """Raw bytes to the gateway, and replies read strictly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self.writer.drain()

    async def get(self, target: str = PODS, *headers: str, method: str = "GET") -> Reply:
        await self.send(request(target, *headers, method=method))
        return await self.reply(method)

    async def head(self) -> tuple[int, Headers]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        assert first.startswith("HTTP/1.1 ")
        parts = [line.partition(": ") for line in lines]
        return int(first.split(" ")[1]), [(name, value) for name, _, value in parts]

    async def reply(self, method: str = "GET") -> Reply:
        code, headers = await self.head()
        reply = Reply(code, headers, b"")
        if method == "HEAD" or code in (204, 304) or code < 200:
            return reply
        if lengths := reply.values("content-length"):
            reply.body = await asyncio.wait_for(self.reader.readexactly(int(lengths[0])), 20)
        elif reply.values("transfer-encoding") == ["chunked"]:
            reply.body = b"".join([piece async for piece in self.pieces()])
        else:
            reply.body = await asyncio.wait_for(self.reader.read(), 20)
        return reply

    async def piece(self) -> bytes:
        size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 20), 16)
        data = await asyncio.wait_for(self.reader.readexactly(size + 2), 20)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def pieces(self) -> Any:
        while data := await self.piece():
            yield data

    async def rest(self) -> bytes:
        """Everything until the gateway closes; a reset counts as an end."""
        try:
            return await asyncio.wait_for(self.reader.read(), 20)
        except (ConnectionError, ssl.SSLError):
            return b""

    def stop_reading(self) -> None:
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def abort(self) -> None:
        self.writer.transport.abort()


def request(target: str = PODS, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {TOKEN}", *headers]
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@dataclass
class Stage:
    upstream: Upstream
    authenticator: FakeAuthenticator
    snapshot: FakeSnapshot
    audit: FakeAudit
    metrics: FakeMetrics
    credential: FakeCredential
    holds: FakeHolds
    server: Server
    client_tls: ssl.SSLContext | None = None
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection(
            *self.server.address,
            ssl=self.client_tls,
            server_hostname="localhost" if self.client_tls else None,
            limit=1 << 20,
        )
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def exchange(self, raw: bytes | str) -> Reply:
        """One request on a connection of its own."""
        client = await self.connect()
        await client.send(raw)
        text = raw if isinstance(raw, str) else raw.decode("latin-1")
        return await client.reply(text.split(" ", 1)[0])

    async def settle(self, condition: Callable[[], bool]) -> None:
        """Wait until something on this side has happened."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - nothing in production code tells a test
                await asyncio.sleep(0.005)

    def assert_untouched(self) -> None:
        """Not one byte has reached the API server."""
        assert bytes(self.upstream.received) == b""
        assert self.upstream.requests == []


Scene = Callable[[Stage], Awaitable[None]]


def play(
    scene: Scene,
    *,
    policies: tuple[Mapping[str, Any], ...] = (ALLOW_ALL,),
    upstream: Upstream | None = None,
    limits: HttpLimits | None = None,
    upstream_settings: Mapping[str, Any] | None = None,
    caller: Caller = AGENT,
    choose_filter: ChooseFilter = no_filter,
    open_tap: OpenTap = no_tap,
    server_tls: Mapping[str, Any] | None = None,
    client_tls: ssl.SSLContext | None = None,
    drain: float = 5.0,
    access: AccessDesk | None = None,
    withdrawals: Withdraw | None = None,
    run_limits: RunLimits | None = None,
    records: bool = False,
    runs: Runs | None = None,
    masking: Engine | None = None,
) -> None:
    """Run one scene: a gateway with fakes around it, and a recording upstream behind it."""

    async def run() -> None:
        recording = upstream or Upstream()
        await recording.start()
        compiled = policy_set(policies, capabilities=Capabilities(recording=records))
        assert not compiled.broken, compiled.broken
        authenticator, snapshot = FakeAuthenticator(caller), FakeSnapshot(compiled)
        audit, metrics, credential, holds = FakeAudit(), FakeMetrics(), FakeCredential(), FakeHolds()
        services = Services(
            authenticator=authenticator,
            snapshot=snapshot,
            holds=holds,
            audit=audit,
            metrics=metrics,
            credential=credential,
            limits=run_limits or RunLimits(),
            runs=runs or UnkeptRuns(),
            access=access,
            withdrawals=withdrawals,
            choose_filter=choose_filter,
            masking=masking,
            open_tap=open_tap,
        )
        settings = ServerSettings(
            upstream=UpstreamSettings(host="127.0.0.1", port=recording.port, **(upstream_settings or {})),
            limits=limits or HttpLimits(),
            drain=drain,
            **(server_tls or {}),
        )
        server = Server(services, settings)
        await server.start()
        stage = Stage(
            recording, authenticator, snapshot, audit, metrics, credential, holds, server, client_tls
        )
        try:
            async with asyncio.timeout(60):
                await scene(stage)
        finally:
            for client in stage.clients:
                client.abort()
            await server.stop(0.0)
            await recording.stop()
        assert server.front.body_bytes == 0
        assert services.limits.open_streams == 0

    uvloop.run(run())
