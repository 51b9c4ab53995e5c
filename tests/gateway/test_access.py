"""Agents ask for access: what is filed is the gateway's, and what a grant has opened is closed with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from chaperone.core import gate
from chaperone.core.access import Rights, agents_spec, build_access_request, read_rights
from chaperone.core.policy import Policy, PolicySet, compile_policy, policy_set
from chaperone.core.request import Request, parse
from chaperone.kube.approvals import APPROVALS, ApprovalStore
from chaperone.kube.mirror import MirrorTerms
from gateway import access as desk_module
from gateway.access import MOST_OPEN, AccessDesk, GrantWatch, asks_for_access, living_scope
from gateway.limits import RunLimits
from gateway.refusal import RefusalError
from gateway.services import Answer, Draft
from tests.gateway.stage import AGENT, ALLOW_ALL, FakeSnapshot, Stage, play, policy, request
from tests.gateway.test_tunnel import echo, opened
from tests.gateway.upstream import Upstream
from tests.kube.fake_api import FakeApi

FILE = "/apis/chaperone.dev/v1alpha1/approvalrequests"
NOW = 1_800_000_000.0
QUICK = MirrorTerms(watch_seconds=2, silence=1.0, backoff_first=0.01, backoff_most=0.05)
IDENTITY = "system:serviceaccount:agents:coder"


def asked(**changes: Any) -> dict[str, Any]:
    fields = {"role": "edit", "namespaces": ["dev"], "lasting": "30m", "reason": "a broken release"}
    return build_access_request(**{**fields, **changes})


def parsed(target: str = FILE, method: str = "POST") -> Request:
    found = parse(method, target)
    assert isinstance(found, Request)
    return found


class Office:
    """A desk with an API server behind it."""

    def __init__(self, api: FakeApi, store: ApprovalStore, *policies: Any) -> None:
        self.api = api
        self.store = store
        self.policies = policy_set(policies or (ALLOW_ALL,))
        self.desk = AccessDesk(store, FakeSnapshot(self.policies), wall=lambda: NOW)

    def draft(self, obj: Any, target: str = FILE) -> Draft | None:
        body = obj if isinstance(obj, bytes) else json.dumps(obj).encode()
        return self.desk.draft(parsed(target), body, AGENT, gate.governance(AGENT, self.policies))

    async def file(self, **changes: Any) -> Answer:
        draft = self.draft(asked(**changes))
        assert draft is not None
        return await self.desk.file(draft)

    async def mirrored(self, condition: Callable[[Mapping[str, Any]], bool]) -> None:
        """Until the mirror is that far."""
        async with asyncio.timeout(10):
            while not condition(self.store.mirror.objects):  # noqa: ASYNC110 - nothing in production code tells a test
                await asyncio.sleep(0.01)

    def end(self, name: str, phase: str = "Denied") -> None:
        obj = self.api.get(APPROVALS.path, name)
        assert obj is not None
        self.api.put(APPROVALS.path, {**obj, "status": {"phase": phase}})


@asynccontextmanager
async def office(*policies: Any) -> AsyncIterator[Office]:
    async with FakeApi().serve() as api, api.connect() as connection:
        store = ApprovalStore(
            connection, clock=asyncio.get_running_loop().time, jitter=lambda: 0.5, terms=QUICK
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(store.run())
            await store.mirror.wait_ready()
            yield Office(api, store, *policies)
            task.cancel()


def _phase(obj: Any) -> str:
    return str(((obj or {}).get("status") or {}).get("phase") or "")


def test_which_requests_may_ask() -> None:
    assert asks_for_access(parsed())
    for method, target in (
        ("GET", FILE),
        ("PUT", f"{FILE}/one"),
        ("DELETE", f"{FILE}/one"),
        ("PATCH", f"{FILE}/one/status"),
        ("POST", "/apis/chaperone.dev/v1alpha1/agentpolicies"),
        ("POST", "/apis/other.dev/v1/approvalrequests"),
    ):
        assert not asks_for_access(parsed(target, method)), target


def test_filed_in_the_gateways_words() -> None:
    async def scene() -> None:
        async with office() as here:
            obj = asked()
            obj["metadata"] = {"name": "mine", "annotations": {"a": "b"}, "finalizers": ["x"]}
            obj["spec"] |= {"requester": {"username": "alice"}, "required": 1, "policy": {"name": "other"}}
            obj["spec"]["access"]["identity"] = "alice"
            obj["status"] = {"phase": "Approved"}
            draft = here.draft(obj)
            assert draft is not None
            answer = await here.desk.file(draft)
            assert answer.code == 201
            made = answer.status
            assert made["metadata"]["name"].startswith("access-")
            assert "finalizers" not in made["metadata"]
            assert made["spec"]["requester"]["username"] == AGENT.username
            assert made["spec"]["requester"]["run"] == "run-7"
            assert made["spec"]["access"]["identity"] == IDENTITY
            assert made["spec"]["policy"]["name"] == "agents"
            assert made["status"]["approvals"] == "0/1"
            assert made["status"].get("phase", "Pending") == "Pending"

    asyncio.run(scene())


def test_asking_again_finds_the_same_until_it_has_ended() -> None:
    async def scene() -> None:
        async with office() as here:
            first = (await here.file()).status["metadata"]["name"]
            again = await here.file(reason="other words")
            assert (again.code, again.status["metadata"]["name"]) == (200, first)
            here.end(first)
            await here.mirrored(lambda objects: _phase(objects.get(first)) == "Denied")
            second = await here.file()
            assert (second.code, second.status["metadata"]["name"]) == (201, f"{first}-2")

    asyncio.run(scene())


def test_one_run_cannot_flood_the_cluster() -> None:
    async def scene() -> None:
        async with office() as here:
            for number in range(MOST_OPEN):
                assert (await here.file(lasting=f"{number + 1}m")).code == 201
            await here.mirrored(lambda objects: len(objects) == MOST_OPEN)
            refused = await here.file(lasting="2h")
            assert refused.code == 429
            assert len(here.api.names(APPROVALS.path)) == MOST_OPEN

    asyncio.run(scene())


def test_an_api_server_that_is_away_is_said_so() -> None:
    async def scene() -> None:
        async with office() as here:
            here.api.down = True
            answer = await here.file()
            assert answer.code == 503
            assert answer.status["kind"] == "Status"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        (b"{", 400, "JSON"),
        (asked(namespaces=["*"]), 400, "namespaces"),
        (asked(lasting="soon"), 400, "duration"),
        (asked(role="cluster-admin"), 403, "never granted"),
        (asked(namespaces=["kube-system"]), 403, "kube-system"),
        (asked(lasting="9h"), 403, "at most"),
        ({**asked(), "spec": {**asked()["spec"], "reason": 7}}, 400, "spec.reason"),
    ],
)
def test_what_cannot_be_asked_for(body: Any, code: int, why: str) -> None:
    async def scene() -> None:
        async with office() as here:
            with pytest.raises(RefusalError) as refused:
                here.draft(body)
            assert refused.value.code == code
            assert why in refused.value.document["message"]
            assert here.api.names(APPROVALS.path) == []

    asyncio.run(scene())


def test_a_policy_may_give_no_access_and_a_dry_run_is_none() -> None:
    async def scene() -> None:
        async with office(policy(approval={"maxGrant": "0s"})) as here:
            with pytest.raises(RefusalError, match="does not give"):
                here.draft(asked())
        async with office() as here:
            with pytest.raises(RefusalError, match="dry run"):
                here.draft(asked(), f"{FILE}?dryRun=All")
            for other in ({}, {"spec": {"type": "Request"}}, {"spec": 7}):
                assert here.draft(other) is None

    asyncio.run(scene())


# Through the data path


class FakeDesk:
    """Files what it is given; nothing is stored."""

    def __init__(self) -> None:
        self.filed: list[Draft] = []
        snapshot = FakeSnapshot(PolicySet())
        self.real = AccessDesk(None, snapshot, wall=lambda: NOW)  # type: ignore[arg-type]

    def draft(self, asked_for: Request, body: bytes, caller: Any, governed: Any) -> Draft | None:
        return self.real.draft(asked_for, body, caller, governed)

    async def file(self, draft: Draft) -> Answer:
        self.filed.append(draft)
        return Answer(201, {"kind": "ApprovalRequest", "metadata": {"name": "access-1"}})


def post(body: Any) -> bytes:
    return request(FILE, method="POST", body=json.dumps(body).encode())


def test_it_never_reaches_the_api_server_as_the_agent() -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(post(asked()))
        assert answer.code == 201
        assert json.loads(answer.body)["metadata"]["name"] == "access-1"
        stage.assert_untouched()
        assert len(desk.filed) == 1
        (before,) = stage.audit.durable_records
        assert before["stage"] == "RequestReceived"
        (after,) = stage.audit.records
        assert after["responseStatus"]["code"] == 201

    play(scene, access=desk)


def test_nothing_is_filed_without_its_record() -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        stage.audit.down = True
        assert (await stage.exchange(post(asked()))).code == 503
        assert desk.filed == []

    play(scene, access=desk)


@pytest.mark.parametrize("body", [{}, {"spec": {"type": "Request"}}, {"kind": "AgentPolicy"}])
def test_every_other_write_of_approvals_is_denied(body: Any) -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(post(body))
        assert answer.code == 403
        assert "R26" in answer.status["message"]
        assert (await stage.exchange(request(FILE, method="POST"))).code == 403
        stage.assert_untouched()
        assert desk.filed == []

    play(scene, access=desk)


# The end of a grant


def grant(phase: str = "Executing", namespaces: tuple[str, ...] = ("dev",)) -> dict[str, Any]:
    rights, compiled = (
        read_rights(asked(namespaces=list(namespaces))["spec"]["access"]),
        compile_policy(ALLOW_ALL),
    )
    assert isinstance(rights, Rights)
    assert isinstance(compiled, Policy)
    spec = agents_spec(rights, AGENT, compiled, reason="", now=NOW)
    return {"metadata": {"name": "g", "uid": "u"}, "spec": spec, "status": {"phase": phase}}


def test_what_lives() -> None:
    assert living_scope(grant()) == (IDENTITY, frozenset({"dev"}))
    assert living_scope(grant("Approved")) is None
    assert living_scope({"spec": {}}) is None
    assert living_scope({**grant(), "spec": {**grant()["spec"], "type": "Request"}}) is None


@pytest.mark.parametrize("last", [grant("Executed"), grant("Denied"), None])
def test_open_streams_of_the_identity_end_with_the_grant(last: Any) -> None:
    limits = RunLimits()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        watch = GrantWatch(limits.every_stream)
        watch.changed("other", grant(namespaces=("test",)))
        watch.changed("other", None)
        watch.changed("g", grant())
        watch.changed("never-begun", grant("Denied"))
        await client.send(b"still here")
        assert await asyncio.wait_for(client.reader.readexactly(10), 10) == b"STILL HERE"
        watch.changed("g", last)
        await client.rest()
        await stage.settle(lambda: limits.open_streams == 0)
        await stage.settle(
            lambda: any(record.get("responseStatus", {}).get("code") == 101 for record in stage.audit.records)
        )
        assert "granted for a time has ended" in json.dumps(stage.audit.records)

    play(scene, upstream=Upstream(echo), run_limits=limits)


# What goes wrong on the way


def test_somebody_files_the_same_at_the_same_time() -> None:
    async def scene() -> None:
        async with office() as here:
            draft = here.draft(asked())
            assert draft is not None
            first, second = await asyncio.gather(here.desk.file(draft), here.desk.file(draft))
            assert sorted((first.code, second.code)) == [200, 201]
            assert first.status["metadata"]["name"] == second.status["metadata"]["name"]

    asyncio.run(scene())


def test_the_count_is_only_for_show(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with office() as here:

            def refuse(method: str, path: str) -> None:
                if method == "PATCH":
                    raise web.HTTPForbidden

            here.api.before_write = refuse
            assert (await here.file()).code == 201
            assert "could not be shown" in caplog.text

    asyncio.run(scene())


def test_too_many_ended_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MOST_ATTEMPTS", 1)

    async def scene() -> None:
        async with office() as here:
            first = (await here.file()).status["metadata"]["name"]
            here.end(first)
            await here.mirrored(lambda objects: _phase(objects.get(first)) == "Denied")
            assert (await here.file()).code == 429

    asyncio.run(scene())
