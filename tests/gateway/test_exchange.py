"""One request's life: what is forwarded, what is refused, and what the audit log knows of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import NoReturn

import pytest

from chaperone.core import status
from chaperone.core.approval import Approval, Phase, Review
from chaperone.core.masking import Echo
from chaperone.core.policy import policy_set
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.asking import Asking
from gateway.services import Answer, Gather, Spend
from gateway.standing import Standing
from tests.gateway.filters import PassingFilter
from tests.gateway.stage import (
    AGENT,
    CREDENTIAL,
    DENY_SECRETS,
    HOLD_DELETES,
    PODS,
    TOKEN,
    Stage,
    play,
    policy,
    request,
)
from tests.gateway.upstream import CHUNKED, Seen, Upstream, chunks, reply

CONFIG_MAPS = "/api/v1/namespaces/dev/configmaps"
CONFIG_MAP = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}'


def test_an_allowed_read_goes_up_as_the_agent_and_comes_back_as_it_is() -> None:
    async def scene(stage: Stage) -> None:
        reply = await (await stage.connect()).get(PODS + "?limit=5", "Accept: application/json", "X-Other: 1")
        assert (reply.code, reply.body) == (200, b'{"kind":"PodList"}')
        (seen,) = stage.upstream.requests
        assert (seen.method, seen.target) == ("GET", PODS + "?limit=5")
        assert seen.value("Authorization") == f"Bearer {CREDENTIAL}"
        assert seen.value("Impersonate-User") == "system:serviceaccount:agents:coder"
        assert seen.value("Accept") == "application/json"
        assert "x-other" not in seen.names
        assert TOKEN.encode() not in stage.upstream.received
        (record,) = stage.audit.records
        assert record["auditID"] == seen.value("Audit-ID")
        assert record["run"] == AGENT.run
        assert record["responseStatus"] == {"code": 200}

    play(scene)


def test_keep_alive_serves_many_requests_over_one_connection_each_side() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(5):
            assert (await client.get()).code == 200
        assert stage.upstream.connections == 1
        assert len(stage.upstream.requests) == 5

    play(scene)


def test_a_request_without_a_token_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(f"GET {PODS} HTTP/1.1\r\nHost: g\r\n\r\n")
        assert reply.status["code"] == 401
        stage.assert_untouched()
        (record,) = stage.audit.records
        assert record["responseStatus"]["code"] == 401

    play(scene)


def test_an_uncached_token_waits_for_the_issuer() -> None:
    async def scene(stage: Stage) -> None:
        stage.authenticator.cached_already = False
        assert (await stage.exchange(request())).code == 200
        assert stage.authenticator.asked == 1

    play(scene)


# Refusals


def test_a_denied_request_never_reaches_the_api_server() -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(request("/api/v1/namespaces/dev/secrets/a"))
        assert "no secrets" in reply.status["message"]
        assert reply.code == 403
        stage.assert_untouched()
        (record,) = stage.audit.records
        assert record["verdict"] == "Deny"
        assert record["objectRef"]["resource"] == "secrets"
        assert stage.metrics.observed == [("get", "Deny", 403)]

    play(scene, policies=(DENY_SECRETS,))


UNREADABLE_PATHS = [
    "//api/v1/pods", "/api/../api/v1/pods", "/api/v1/%2e%2e/pods", "/api/v1/namespaces/a%2Fb/pods", "/api/v1;x=y/pods",
    "/api/v1/pods%00", "/api\\v1/pods", "/api/v1/%252e%252e/pods", "/api/v1/namespaces//pods", "/api/v1/./pods",
    "/api/v1/pods#x", "/api/v1/pods%zz",
]  # fmt: skip


@pytest.mark.parametrize("path", UNREADABLE_PATHS)
def test_pa01_a_path_that_two_readers_could_take_differently_is_refused(path: str) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(path))).status["code"] == 400
        stage.assert_untouched()
        assert len(stage.audit.records) == 1

    play(scene)


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "MKCOL", "PURGE", "LINK", "SOURCE"])
def test_pa08_other_methods_are_never_forwarded(method: str) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(method=method))).status["code"] in (400, 403, 405)
        stage.assert_untouched()

    play(scene)


def test_an_agent_without_a_policy_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 403
        stage.assert_untouched()

    play(scene, caller=replace(AGENT, groups=("others",)))


def test_stale_policies_decide_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.snapshot.fresh = False
        assert (await stage.exchange(request())).status["code"] == 503
        stage.assert_untouched()

    play(scene)


def test_a_new_generation_of_policies_counts_at_once() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.get("/api/v1/namespaces/dev/secrets/a")).code == 200
        stage.snapshot.policies = policy_set([DENY_SECRETS])
        stage.snapshot.generation += 1
        assert (await client.get("/api/v1/namespaces/dev/secrets/a")).code == 403

    play(scene)


def test_requests_per_second_of_a_run_are_limited() -> None:
    limited = policy(
        {"name": "all", "match": {}, "action": "Allow"}, limits={"requestsPerSecond": 1, "burst": 2}
    )

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        replies = [await client.get() for _ in range(4)]
        assert [reply.code for reply in replies] == [200, 200, 429, 429]
        assert replies[-1].values("retry-after") == ["1"]
        stage.authenticator.caller = replace(AGENT, run="another")
        assert (await client.get()).code == 200
        assert len(stage.upstream.requests) == 3

    play(scene, policies=(limited,))


@pytest.mark.parametrize("where", ["authenticator", "snapshot"])
def test_hd11_whatever_breaks_is_answered_and_nothing_goes_up(where: str) -> None:
    def broken(*_args: object) -> NoReturn:
        raise RuntimeError("broken")

    async def scene(stage: Stage) -> None:
        if where == "authenticator":
            stage.authenticator.cached = broken  # type: ignore[method-assign, assignment]
        else:
            stage.snapshot.policies = None  # type: ignore[assignment]
        assert (await stage.exchange(request())).status["code"] == 500
        stage.assert_untouched()

    play(scene)


@pytest.mark.parametrize("raw", [request(), request("/api/v1/namespaces/dev/secrets/a")])
@pytest.mark.parametrize("cached", [True, False])
def test_hd11_even_metrics_that_break_leave_nobody_waiting(raw: bytes, *, cached: bool) -> None:
    def broken(*_args: object) -> NoReturn:
        raise RuntimeError("broken")

    async def scene(stage: Stage) -> None:
        stage.authenticator.cached_already = cached
        stage.metrics.observe = broken  # type: ignore[method-assign, assignment]
        stage.metrics.upstream_error = broken  # type: ignore[method-assign, assignment]
        await stage.upstream.stop()
        client = await stage.connect()
        await client.send(raw)
        assert await client.rest() == b""

    play(scene, policies=(DENY_SECRETS,))


# Mutations and their records


def test_a_mutation_goes_up_after_its_record_is_durable() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert [record["stage"] for record in stages[0].audit.durable_records] == ["RequestReceived"]
        writer.write(reply(201))

    stages: list[Stage] = []

    async def scene(stage: Stage) -> None:
        stages.append(stage)
        assert (await stage.exchange(request(CONFIG_MAPS, method="POST", body=CONFIG_MAP))).code == 201
        (before,), (after,) = stage.audit.durable_records, stage.audit.records
        assert before["auditID"] == after["auditID"] == stage.upstream.requests[0].value("audit-id")
        assert after["responseStatus"] == {"code": 201}
        assert stage.upstream.requests[0].body == CONFIG_MAP

    play(scene, upstream=Upstream(answer))


@pytest.mark.parametrize("raw", [request(CONFIG_MAPS, method="POST", body=b"{}"), request()])
def test_op02_without_an_audit_log_nothing_is_executed_and_no_answer_is_shown(raw: bytes) -> None:
    async def scene(stage: Stage) -> None:
        stage.audit.down = True
        reply = await stage.exchange(raw)
        assert reply.status["code"] == 503
        assert b"PodList" not in reply.body
        assert "POST" not in [seen.method for seen in stage.upstream.requests]

    play(scene)


def test_a_body_that_is_not_what_it_says_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        for body in (b"{", b'{"a":1,"a":2}', b"[]", b"\xff"):
            assert (await stage.exchange(request(CONFIG_MAPS, method="POST", body=body))).status[
                "code"
            ] == 400
        stage.assert_untouched()

    play(scene)


# Gathering


NO_BIG_SCALE = policy(
    {
        "name": "scale-to-zero",
        "match": {
            "verbs": ["patch"],
            "resources": ["deployments"],
            "expression": "object.spec.replicas == 0",
        },
        "action": "Deny",
    },
    {"name": "all", "match": {}, "action": "Allow"},
)
DEPLOYMENT = "/apis/apps/v1/namespaces/dev/deployments/web"


def patch(body: bytes) -> bytes:
    raw = request(DEPLOYMENT, method="PATCH", body=body)
    return raw.replace(b"application/json", b"application/merge-patch+json")


def deployment(replicas: int) -> bytes:
    return (
        b'{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"dev","uid":"u"},'
        b'"spec":{"replicas":%d,"template":{"spec":{"containers":[]}}}}' % replicas
    )


@pytest.mark.parametrize(("outcome", "code"), [(0, 403), (3, 200)])
def test_a_patch_is_judged_by_what_would_come_of_it(outcome: int, code: int) -> None:
    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200, deployment(outcome if "dryRun=All" in seen.target else 5)))

    async def scene(stage: Stage) -> None:
        body = b'{"spec":{"replicas":%d}}' % outcome
        assert (await stage.exchange(patch(body))).code == code
        real = [
            seen for seen in stage.upstream.requests if seen.method == "PATCH" and "dryRun" not in seen.target
        ]
        assert len(real) == (code == 200)
        dry = [seen for seen in stage.upstream.requests if "dryRun=All" in seen.target]
        assert [seen.body for seen in dry] == [body]
        assert {seen.value("impersonate-user") for seen in stage.upstream.requests} == {
            "system:serviceaccount:agents:coder"
        }

    play(scene, policies=(NO_BIG_SCALE,), upstream=Upstream(answer))


def pods_of(*, privileged: bool) -> bytes:
    container = {"name": "c", "image": "nginx", "securityContext": {"privileged": privileged}}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    metadata = {"name": "web", "namespace": "dev"}
    return json.dumps(
        {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata, "spec": spec}
    ).encode()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("privileged", "code"), [(True, 403), (False, 200)])
def test_a_body_in_protobuf_is_judged_by_what_the_api_server_reads_in_it(
    method: str, privileged: bool, code: int
) -> None:
    body = b"k8s\x00 whatever it says"
    target = DEPLOYMENT if method == "PUT" else DEPLOYMENT.removesuffix("/web")

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200, pods_of(privileged=privileged)))

    async def scene(stage: Stage) -> None:
        raw = request(target, method=method, body=body)
        raw = raw.replace(b"application/json", b"application/vnd.kubernetes.protobuf")
        assert (await stage.exchange(raw)).code == code
        writes = [seen for seen in stage.upstream.requests if seen.method == method]
        assert [seen.body for seen in writes] == [body] * len(writes)
        assert [("dryRun=All" in seen.target) for seen in writes] == [True, False][: 1 + (code == 200)]
        assert writes[0].value("accept") == "application/json"
        assert writes[0].value("content-type") == "application/vnd.kubernetes.protobuf"

    privileged_first = "object.spec.template.spec.containers[0].securityContext.privileged"
    rules = (
        {"name": "no", "match": {"expression": privileged_first}, "action": "Deny"},
        {"name": "all", "match": {}, "action": "Allow"},
    )
    play(scene, policies=(policy(*rules),), upstream=Upstream(answer))


def test_protobuf_for_a_server_that_may_execute_dry_runs_is_never_tried() -> None:
    target = "/apis/metrics.example.com/v1/namespaces/dev/things"

    async def scene(stage: Stage) -> None:
        raw = request(target, method="POST", body=b"k8s\x00x")
        await stage.exchange(raw.replace(b"application/json", b"application/vnd.kubernetes.protobuf"))
        assert not [seen for seen in stage.upstream.requests if "dryRun" in seen.target]

    by_object = policy(
        {
            "name": "x",
            "match": {"resources": ["things"], "expression": "object.spec.x == 1"},
            "action": "Deny",
        },
        {"name": "all", "match": {}, "action": "Allow"},
    )
    play(scene, policies=(by_object,), upstream=Upstream(reply(200, b'{"resources":[]}')))


def test_what_the_dry_run_is_refused_the_client_is_refused_as_it_is() -> None:
    refused = b'{"kind":"Status","status":"Failure","code":422,"message":"replicas: must be >= 0"}'

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(422, refused) if "dryRun" in seen.target else reply(200, deployment(5)))

    async def scene(stage: Stage) -> None:
        got = await stage.exchange(patch(b'{"spec":{"replicas":-1}}'))
        assert (got.code, got.body) == (422, refused)
        assert all(seen.method == "GET" or "dryRun" in seen.target for seen in stage.upstream.requests)

    play(scene, policies=(NO_BIG_SCALE,), upstream=Upstream(answer))


def test_a_webhook_without_dry_run_leaves_the_outcome_open_and_an_open_outcome_is_denied() -> None:
    message = b'{"kind":"Status","status":"Failure","code":400,"message":"admission webhook \\"x\\" does not support dry run"}'

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(400, message) if "dryRun" in seen.target else reply(200, deployment(5)))

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(patch(b'{"spec":{"replicas":3}}'))).status["code"] == 403

    play(scene, policies=(NO_BIG_SCALE,), upstream=Upstream(answer))


# Holds


DELETE = request(PODS + "/a", method="DELETE")


def approval(request_: Request) -> Approval:
    assert request_.verb == "delete"
    return Approval(
        name="delete-pod-a",
        uid="uid-approval",
        resource_version="5",
        digest="sha256:0",
        phase=Phase.EXECUTING,
        policy="agents",
        policy_generation=1,
        required=1,
        requester=AGENT.username,
        issuer=AGENT.issuer,
        run=AGENT.run,
        created_at=0.0,
        expires_at=9e9,
        decided_at=1.0,
        use_before=9e9,
        reviews=(Review(username="person", decision="Approved", digest="sha256:0"),),
    )


async def approve(request_: Request, _gather: Gather) -> Spend:
    return Spend(approval(request_))


def test_a_spent_approval_travels_as_an_extra_and_is_finished() -> None:
    async def scene(stage: Stage) -> None:
        stage.holds.decision = approve
        assert (await stage.exchange(DELETE)).code == 200
        (seen,) = [seen for seen in stage.upstream.requests if seen.method == "DELETE"]
        assert seen.value("Impersonate-Extra-chaperone.dev%2Fapproval") == "uid-approval"
        assert seen.value("Impersonate-Extra-chaperone.dev%2Fapproval-name") == "delete-pod-a"
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 200)])
        assert stage.audit.durable_records[0]["approval"]["uid"] == "uid-approval"

    play(scene, policies=(HOLD_DELETES,))


def test_a_hold_that_is_not_approved_is_answered_as_the_holds_say() -> None:
    async def answer(_request: Request, _gather: Gather) -> Answer:
        document = status.status(429, "waits for approval delete-pod-a", retry_after=15)
        return Answer(429, document, (("Retry-After", "15"),))

    async def scene(stage: Stage) -> None:
        stage.holds.decision = answer
        client = await stage.connect()
        await client.send(DELETE)
        got = await client.reply()
        assert (got.status["code"], got.values("retry-after")) == (429, ["15"])
        assert (await client.get()).code == 200
        assert [seen.method for seen in stage.upstream.requests if seen.method != "GET"] == []

    play(scene, policies=(HOLD_DELETES,))


def test_a_spent_approval_that_does_not_fit_is_still_refused_and_finished() -> None:
    async def wrong(request_: Request, _gather: Gather) -> Spend:
        return Spend(replace(approval(request_), policy="another"))

    async def scene(stage: Stage) -> None:
        stage.holds.decision = wrong
        assert (await stage.exchange(DELETE)).status["code"] == 403
        assert [seen for seen in stage.upstream.requests if seen.method == "DELETE"] == []
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 403)])

    play(scene, policies=(HOLD_DELETES,))


def test_ht08_nothing_is_executed_for_a_client_that_went_while_it_was_held() -> None:
    async def wait(_request: Request, _gather: Gather) -> Spend:
        await asyncio.sleep(60)
        raise AssertionError

    async def scene(stage: Stage) -> None:
        stage.holds.decision = wait
        client = await stage.connect()
        await client.send(DELETE)
        await stage.settle(lambda: bool(stage.holds.asked))
        client.abort()
        await stage.settle(lambda: stage.holds.cancelled == 1)
        assert [seen for seen in stage.upstream.requests if seen.method == "DELETE"] == []
        assert stage.holds.finished == []
        assert stage.audit.records[-1]["responseStatus"]["code"] == 499
        assert stage.audit.durable_records == []

    play(scene, policies=(HOLD_DELETES,))


def test_a_claimed_approval_is_carried_through_when_the_client_goes_at_that_moment() -> None:
    async def claim(request_: Request, _gather: Gather) -> Spend:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return Spend(approval(request_))
        raise AssertionError

    async def scene(stage: Stage) -> None:
        stage.holds.decision = claim
        client = await stage.connect()
        await client.send(DELETE)
        await stage.settle(lambda: bool(stage.holds.asked))
        client.abort()
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 200)])
        assert [seen.method for seen in stage.upstream.requests if seen.method != "GET"] == ["DELETE"]

    play(scene, policies=(HOLD_DELETES,))


def test_a_claimed_approval_is_carried_through_when_the_client_goes_after_it_was_sent() -> None:
    release = asyncio.Event()

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.method == "DELETE":
            await release.wait()
        writer.write(reply(200, b"x" * 500_000))

    async def scene(stage: Stage) -> None:
        stage.holds.decision = approve
        client = await stage.connect()
        await client.send(DELETE)
        await stage.upstream.until(lambda: "DELETE" in [seen.method for seen in stage.upstream.requests])
        client.abort()
        await stage.settle(lambda: not stage.server.front.connections)
        release.set()
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 200)])

    play(scene, policies=(HOLD_DELETES,), upstream=Upstream(answer))


def test_an_approved_request_whose_answer_is_lost_has_an_unknown_outcome() -> None:
    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.method == "DELETE":
            writer.transport.abort()
        else:
            writer.write(reply())

    async def scene(stage: Stage) -> None:
        stage.holds.decision = approve
        assert (await stage.exchange(DELETE)).status["code"] == 502
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 0)])

    play(scene, policies=(HOLD_DELETES,), upstream=Upstream(answer))


def test_holds_may_look_at_the_cluster_as_the_agent() -> None:
    async def look(request_: Request, gather: Gather) -> Answer:
        found = await gather.fetch("GET", request_.path)
        assert (found.code, found.content_type) == (200, "application/json")
        dry = await gather.fetch("DELETE", request_.path + "?dryRun=All")
        return Answer(403, status.status(403, f"{found.code} {dry.code}"))

    async def scene(stage: Stage) -> None:
        stage.holds.decision = look
        assert (await stage.exchange(DELETE)).status["message"] == "200 200"
        for seen in stage.upstream.requests:
            assert seen.value("impersonate-user") == "system:serviceaccount:agents:coder"
            assert "impersonate-extra-chaperone.dev%2fapproval" not in seen.names

    play(scene, policies=(HOLD_DELETES,))


# The choke point


class Redact(PassingFilter):
    def ask(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [(b"Accept", b"application/json"), *(one for one in headers if one[0] != b"Accept")]

    def head(self, code: int, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [*headers, (b"X-Masked", str(code).encode())]

    def data(self, piece: bytes) -> bytes:
        if b"explode" in piece:
            raise ValueError("cannot be masked")
        return piece.replace(b"secret", b"***")

    def end(self) -> bytes:
        return b"!"


def redact(_request: Request, _standing: Standing, _verdict: Verdict, _echo: Echo | None) -> Redact:
    return Redact()


def test_a_filter_sees_every_answer_before_the_client() -> None:
    async def scene(stage: Stage) -> None:
        got = await stage.exchange(request(PODS, "Accept: application/vnd.kubernetes.protobuf"))
        assert (got.code, got.body, got.values("x-masked")) == (200, b"a *** value!", ["200"])
        assert (got.values("content-length"), got.values("x-whole")) == (["12"], ["yes"])
        assert stage.upstream.requests[0].values("accept") == ["application/json"]

    play(scene, upstream=Upstream(reply(200, b"a secret value")), choose_filter=redact)


def test_a_filter_that_fails_withholds_the_answer() -> None:
    async def scene(stage: Stage) -> None:
        got = await stage.exchange(request())
        assert got.status["code"] == 502
        assert b"explode" not in got.body

    play(scene, upstream=Upstream(reply(200, b"explode")), choose_filter=redact)


def test_a_filter_that_fails_in_the_middle_breaks_the_answer_off() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b"fine", end=False))
        await gone_on.wait()
        writer.write(chunks(b"explode"))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        _, headers = await client.head()
        assert ("X-Whole", "no") in headers
        assert await client.piece() == b"fine"
        gone_on.set()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")

    gone_on = asyncio.Event()
    play(scene, upstream=Upstream(answer), choose_filter=redact)


class Patient(Redact):
    """Lets go of nothing before the end."""

    def __init__(self) -> None:
        super().__init__()
        self.held = b""

    def data(self, piece: bytes) -> bytes:
        self.held += super().data(piece)
        return b""

    def end(self) -> bytes:
        return self.held


def test_what_fails_before_its_first_byte_was_let_go_is_a_plain_error() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b"fine", end=False))
        await writer.drain()
        writer.write(chunks(b"explode"))

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 502
        assert [(one["stage"], one["responseStatus"]["code"]) for one in stage.audit.records] == [
            ("ResponseComplete", 502)
        ]

    play(scene, upstream=Upstream(answer), choose_filter=lambda *_: Patient())


class Hesitant(Patient):
    """Lets go of what it holds after a moment of silence, once."""

    def __init__(self) -> None:
        super().__init__()
        self.patience = 0.01

    def idle(self) -> bytes:
        self.patience, held, self.held = 0.0, self.held, b""
        return held


def test_what_is_held_back_is_let_go_after_a_silence() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b"a secret", end=False))
        await gone_on.wait()
        writer.write(chunks(b"!"))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        await client.head()
        assert await client.piece() == b"a ***"
        gone_on.set()
        assert [piece async for piece in client.pieces()] == [b"!"]

    gone_on = asyncio.Event()
    play(scene, upstream=Upstream(answer), choose_filter=lambda *_: Hesitant())


class Counting(Redact):
    def data(self, piece: bytes) -> bytes:
        self.counts["a-rule"] = self.counts.get("a-rule", 0) + piece.count(b"secret")
        return super().data(piece)


@pytest.mark.parametrize("long", [False, True])
def test_what_was_masked_is_recorded(long: bool) -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not long:
            writer.write(reply(200, b"secret"))
            return
        writer.write(CHUNKED + chunks(b"secret", end=False))
        await gone_on.wait()
        writer.write(chunks(b"secret"))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        await client.head()
        gone_on.set()
        stages = ["ResponseStarted", "ResponseComplete"] if long else ["ResponseComplete"]
        await stage.settle(lambda: [one["stage"] for one in stage.audit.records] == stages)
        assert stage.audit.records[-1]["masked"] == {"a-rule": 2 if long else 1}
        assert stage.metrics.masked_values == {"a-rule": 2 if long else 1}

    gone_on = asyncio.Event()
    play(scene, upstream=Upstream(answer), choose_filter=lambda *_: Counting())


def test_a_filter_also_sees_a_refused_upgrade_and_a_refused_dry_run() -> None:
    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fails = "dryRun" in seen.target or "upgrade" in seen.names
        writer.write(reply(422, b"quotes a secret") if fails else reply(200, deployment(5)))

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(patch(b'{"spec":{"replicas":0}}'))).body == b"quotes a ***!"
        raw = request(PODS + "/a/exec?command=sh", "Connection: Upgrade", "Upgrade: SPDY/3.1", method="POST")
        assert (await stage.exchange(raw)).body == b"quotes a ***!"

    play(scene, policies=(NO_BIG_SCALE,), upstream=Upstream(answer), choose_filter=redact)


def test_a_filter_that_fails_to_ask_sends_nothing() -> None:
    class Broken(Redact):
        def ask(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
            raise ValueError(headers)

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 500
        stage.assert_untouched()

    play(scene, choose_filter=lambda *_: Broken())


def test_an_answer_of_the_holds_that_cannot_be_written_ends_the_connection() -> None:
    async def answer(_request: Request, _gather: Gather) -> Answer:
        return Answer(403, {"kind": "Status"}, (("X-Bad", "a\r\nb"),))

    async def scene(stage: Stage) -> None:
        stage.holds.decision = answer
        client = await stage.connect()
        await client.send(DELETE)
        assert await client.rest() == b""

    play(scene, policies=(HOLD_DELETES,))


def test_reads_over_websocket_are_refused_for_nothing_would_filter_them() -> None:
    headers = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: a",
        "Sec-WebSocket-Version: 13",
    )

    async def scene(stage: Stage) -> None:
        for target in (PODS + "?watch=1", PODS + "/a/log?follow=1", PODS):
            assert (await stage.exchange(request(target, *headers))).status["code"] == 400
        stage.assert_untouched()

    play(scene)


def test_id12_a_token_in_the_query_is_refused_and_not_recorded() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request("/api/v1/pods?access_token=sesame"))).status["code"] == 401
        stage.assert_untouched()
        assert "sesame" not in str(stage.audit.records)

    play(scene)


def test_what_a_client_says_of_its_hold_reaches_the_holds_and_nobody_else() -> None:
    async def scene(stage: Stage) -> None:
        stage.holds.decision = approve
        words = ("Chaperone-Hold: never", "Chaperone-Reason: clean up", "User-Agent: Helm/4.1.4")
        assert (await stage.exchange(request(f"{PODS}/web", *words, method="DELETE"))).code == 200
        assert stage.holds.askings == [Asking(hold="never", reason="clean up", user_agent="Helm/4.1.4")]
        assert b"chaperone-hold" not in bytes(stage.upstream.received).lower()
        assert b"clean up" not in bytes(stage.upstream.received)

    play(scene, policies=(HOLD_DELETES,))
