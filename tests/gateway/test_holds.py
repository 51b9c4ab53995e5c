"""Holds: people decide, one request runs once, and whatever goes wrong in between ends in a refusal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from chaperone.core import gate
from chaperone.core.approval import WITHDRAWN_FOR, Phase
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy, PolicySet, policy_set
from chaperone.core.request import Request, parse
from chaperone.core.timestamp import rfc3339
from chaperone.core.verdict import Action, Verdict
from chaperone.kube.approvals import APPROVALS, ApprovalStore
from chaperone.kube.connection import Connection
from chaperone.kube.mirror import MirrorTerms
from gateway.asking import PLAIN, Asking
from gateway.claims import Claims
from gateway.held import HoldTerms
from gateway.holds import HoldLoop
from gateway.http.upstream import UpstreamError
from gateway.metrics import GatewayMetrics
from gateway.presence import Presence
from gateway.services import Answer, Fetched, Gather, Spend
from gateway.withdrawal import Withdrawals, may_withdraw, reason_to_withdraw
from tests.kube.fake_api import FakeApi, LostAnswer

CALLER = Caller(issuer="https://issuer.example", subject="agent", username="ci:agent", run="run-1")
DEAD_AFTER = 45.0
QUICK = MirrorTerms(watch_seconds=2, silence=1.0, backoff_first=0.01, backoff_most=0.05)
TARGET_PATH = "/apis/apps/v1/namespaces/prod/deployments/web"
LEASES = "/apis/coordination.k8s.io/v1/leases"


def policy_object(generation: int = 1, **approval: Any) -> dict[str, Any]:
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "careful", "uid": "policy-1", "generation": generation, "resourceVersion": "1"},
        "spec": {
            "mode": "Enforce",
            "subjects": [{"usernames": ["ci:*"]}],
            "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
            "rules": [
                {
                    "name": "ask",
                    "match": {"verbs": ["delete", "deletecollection", "create", "patch", "update"]},
                    "action": "RequireApproval",
                },
                {"name": "exec", "match": {"resources": ["pods/exec"]}, "action": "RequireApproval"},
            ],
            "recording": {"streams": "Off"},
            "approval": {"required": 1, "holdFor": "60s", **approval},
        },
    }


@dataclass
class Policies:
    """A snapshot that says what it is told."""

    policies: PolicySet
    generation: int = 1
    fresh: bool = True

    @property
    def only(self) -> Policy:
        return self.policies.policies[0]


@dataclass
class Eyes:
    """The live object as the agent sees it."""

    uid: str = "deployment-1"
    generation: int = 3
    version: str = "77"
    code: int = 200
    server: str = "v1.20.2"
    uids: tuple[str, ...] = ("a", "b")
    page: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(
        self, method: str, target: str, *, body: bytes = b"", content_type: str = "", limit: int = 0
    ) -> Fetched:
        self.asked.append(f"{method} {target}")
        if self.code == 0:
            raise UpstreamError("no answer")
        if target == "/version":
            return Fetched(200, "application/json", json.dumps({"gitVersion": self.server}).encode())
        if "limit=500" in target:
            listed = [{"metadata": {"uid": uid, "resourceVersion": "1"}} for uid in self.uids]
            return Fetched(self.code, "", json.dumps({"metadata": self.page, "items": listed}).encode())
        metadata: dict[str, Any] = {"uid": self.uid, "resourceVersion": self.version}
        if self.generation:
            metadata["generation"] = self.generation
        return Fetched(self.code, "application/json", json.dumps({"metadata": metadata}).encode())


@dataclass
class Gateway:
    """One gateway process: its holds, and what they rest on. passed: seconds, for its presence alone."""

    store: ApprovalStore
    claims: Claims
    holds: HoldLoop
    presence: Presence
    snapshot: Policies
    metrics: GatewayMetrics
    eyes: Eyes
    passed: list[float]

    async def decide(
        self, request: Request, caller: Caller = CALLER, eyes: Eyes | None = None, asking: Asking = PLAIN
    ) -> Spend | Answer:
        policies = self.snapshot.policies
        verdict = gate.judge(request, caller, policies, None, time.time())
        assert verdict.action is Action.HOLD
        policy, eyes = self.snapshot.only, eyes or self.eyes
        return await self.holds.decide(request, caller, verdict, policy, eyes, asking=asking)


def request_of(
    method: str = "DELETE", path: str = TARGET_PATH, body: bytes = b"", content_type: str = ""
) -> Request:
    request = parse(method, path, content_type=content_type)
    assert isinstance(request, Request)
    return replace(request, body=body)


DELETE = request_of()


def run(test: Callable[[], Coroutine[Any, Any, None]], seconds: float = 60) -> None:
    asyncio.run(asyncio.wait_for(test(), seconds))


def api() -> FakeApi:
    return FakeApi(clock=lambda: rfc3339(time.time()))


@asynccontextmanager
async def gateway(
    server: FakeApi,
    name: str = "gw-0",
    nonce: str = "a",
    *,
    policy: dict[str, Any] | None = None,
    **terms: Any,
) -> AsyncIterator[Gateway]:
    async with (
        server.connect() as connection,
        gateway_on(connection, name, nonce, policy=policy, **terms) as made,
    ):
        yield made


@asynccontextmanager
async def gateway_on(
    connection: Connection,
    name: str,
    nonce: str = "a",
    *,
    policy: dict[str, Any] | None = None,
    namespace: str = "default",
    **terms: Any,
) -> AsyncIterator[Gateway]:
    async with asyncio.TaskGroup() as group:
        store = ApprovalStore(connection, clock=time.monotonic, jitter=lambda: 0.5, terms=QUICK)
        passed = [0.0]
        presence = Presence(
            connection,
            namespace=namespace,
            lease=name,
            nonce=nonce,
            clock=lambda: passed[0],
            wall=time.time,
            dead_after=DEAD_AFTER,
        )
        claims = Claims(store, presence, wall=time.time, jitter=lambda: 0.0)
        snapshot = Policies(policy_set([policy or policy_object()]))
        metrics = GatewayMetrics()
        holds = HoldLoop(
            store,
            claims,
            snapshot,
            metrics,
            terms=HoldTerms(cluster="test", **{"connect_step": terms.get("step", 10.0), **terms}),
            wall=time.time,
            clock=time.monotonic,
            preview=no_preview,
        )
        task = group.create_task(store.run())
        await store.mirror.wait_ready()
        try:
            yield Gateway(store, claims, holds, presence, snapshot, metrics, Eyes(), passed)
        finally:
            task.cancel()


async def no_preview(
    _request: Request, verdict: Verdict, _gather: Gather, *, clock: Callable[[], float]
) -> dict[str, Any]:
    return {"warnings": [f"under rule {verdict.rule}"]}


async def filed(server: FakeApi, count: int = 1) -> str:
    """The name of the newest approval, once so many are there."""
    while len(server.names(APPROVALS.path)) < count:  # noqa: ASYNC110  about a server elsewhere
        await asyncio.sleep(0.005)
    return max(
        server.names(APPROVALS.path),
        key=lambda name: int(state(server, name)["metadata"]["uid"].split("-")[1]),
    )


def state(server: FakeApi, name: str) -> dict[str, Any]:
    obj = server.get(APPROVALS.path, name)
    assert obj is not None
    return obj


def phase(server: FakeApi, name: str) -> str:
    return str((state(server, name).get("status") or {}).get("phase"))


def decide(
    server: FakeApi, name: str, decision: str = "Approved", *, use_within: float = 600, **status: Any
) -> None:
    """What a person, the stamping webhook and the controller make of it together."""
    obj = state(server, name)
    review = {
        "username": "alice",
        "decision": decision,
        "digest": obj["spec"]["digest"],
        "time": rfc3339(time.time()),
        "reason": "not on a Friday",
    }
    server.put(
        APPROVALS.path,
        {
            **obj,
            "status": {
                "phase": decision,
                "reviews": [review],
                "useBefore": rfc3339(time.time() + use_within),
                **status,
            },
        },
    )


async def decided(
    gw: Gateway, server: FakeApi, name: str, decision: str = "Approved", *, use_within: float = 600
) -> None:
    """`decide`, and the gateway has heard of it."""
    decide(server, name, decision, use_within=use_within)
    version = state(server, name)["metadata"]["resourceVersion"]
    while (gw.store.seen(name) or {}).get("metadata", {}).get("resourceVersion") != version:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def message(answer: Spend | Answer) -> str:
    assert isinstance(answer, Answer)
    return str(answer.status["message"])


def test_an_approved_request_is_spent_and_its_outcome_written() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            spec = state(server, name)["spec"]
            assert spec["target"] == {"uid": "deployment-1", "generation": 3}
            assert spec["request"]["verb"] == "delete"
            assert spec["requester"]["username"] == "ci:agent"
            assert spec["preview"] == {"warnings": ["under rule ask"]}
            assert not waiting.done()
            decide(server, name)
            spend = await waiting
            assert isinstance(spend, Spend)
            assert spend.approval.name == name
            assert phase(server, name) == "Executing"
            assert state(server, name)["status"]["claimedBy"].startswith("gw-0/a/")
            await gw.holds.finish(spend.approval, 200, "audit-1")
            assert phase(server, name) == "Executed"
            assert state(server, name)["status"]["execution"]["auditID"] == "audit-1"
            assert gw.claims.open == 0

    run(scenario)


def test_a_retry_finds_the_same_approval_on_any_replica() -> None:
    async def scenario() -> None:
        async with (
            api().serve() as server,
            gateway(server, step=0.1) as first,
            gateway(server, "gw-1", step=0.1) as second,
        ):
            answer = await first.decide(DELETE)
            assert isinstance(answer, Answer)
            assert (answer.code, dict(answer.headers)["Retry-After"]) == (429, "1")
            name = await filed(server)
            assert name in message(answer)
            assert "kubectl patch apreq" in message(answer)
            assert "same command" in message(answer)
            await decided(second, server, name)
            assert isinstance(await second.decide(DELETE), Spend)
            assert server.names(APPROVALS.path) == [name]

    run(scenario)


def test_when_the_longest_wait_is_over_the_answer_is_final_and_a_later_approval_still_counts() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, policy=policy_object(holdFor="0s")) as gw:
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "Retry-After" not in dict(answer.headers)
            assert "waits for ApprovalRequest" in message(answer)
            await decided(gw, server, await filed(server))
            assert isinstance(await gw.decide(DELETE), Spend)

    run(scenario)


def test_a_denial_is_final_and_says_who_and_why() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            decide(server, name, "Denied")
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "by alice: not on a Friday" in message(answer)
            again = await gw.decide(DELETE)
            assert isinstance(again, Answer)
            assert again.code == 403
            assert server.names(APPROVALS.path) == [name]

    run(scenario)


def test_ap_01_a_used_approval_is_not_used_again() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            spend = await gw.decide(DELETE)
            assert isinstance(spend, Spend)
            busy = await gw.decide(DELETE)
            assert isinstance(busy, Answer)
            assert busy.code == 409
            await gw.holds.finish(spend.approval, 200, "audit-1")
            used = await gw.decide(DELETE)
            assert isinstance(used, Answer)
            assert used.code == 403
            assert "used" in message(used)

    run(scenario)


@pytest.mark.parametrize(
    ("request_", "caller"),
    [
        (request_of(path=TARGET_PATH + "?propagationPolicy=Orphan"), CALLER),
        (request_of(body=b'{"gracePeriodSeconds":0}', content_type="application/json"), CALLER),
        (request_of(path=TARGET_PATH.replace("web", "api")), CALLER),
        (DELETE, replace(CALLER, run="run-2")),
        (DELETE, replace(CALLER, subject="other", username="ci:other")),
    ],
)
def test_ap_02_and_03_another_request_run_or_requester_needs_another_approval(
    request_: Request, caller: Caller
) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            await decided(gw, server, await filed(server))
            answer = await gw.decide(request_, caller)
            assert isinstance(answer, Answer)
            assert answer.code == 429
            assert len(server.names(APPROVALS.path)) == 2

    run(scenario)


def test_ap_02_a_changed_target_needs_another_approval() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            await decided(gw, server, await filed(server))
            for changed in (Eyes(generation=4), Eyes(uid="deployment-2"), Eyes(generation=0)):
                answer = await gw.decide(DELETE, eyes=changed)
                assert isinstance(answer, Answer)
                assert answer.code == 429

    run(scenario)


def test_a_status_update_of_the_target_does_not_void_the_approval() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE, eyes=Eyes(version="77"))
            await decided(gw, server, await filed(server))
            assert isinstance(await gw.decide(DELETE, eyes=Eyes(version="99")), Spend)

    run(scenario)


def test_ap_10_a_target_that_changes_at_the_last_moment_is_noticed() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            gw.eyes.generation = 4
            decide(server, name)
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "generation 3, now" in message(answer)
            assert phase(server, name) == "Approved"

    run(scenario)


@pytest.mark.parametrize("objects", [[policy_object(generation=2)], []])
def test_ap_10_a_policy_that_changed_or_went_is_noticed(objects: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            gw.snapshot.policies = policy_set(objects)
            decide(server, name)
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "AgentPolicy careful has been changed" in message(answer)
            assert phase(server, name) == "Approved"

    run(scenario)


def test_a_second_policy_that_came_meanwhile_and_denies_is_obeyed() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            stricter = policy_object()
            stricter["metadata"] = {**stricter["metadata"], "name": "freeze", "uid": "policy-2"}
            stricter["spec"]["rules"] = [{"name": "no", "match": {"verbs": ["delete"]}, "action": "Deny"}]
            gw.snapshot.policies = policy_set([policy_object(), stricter])
            decide(server, name)
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert phase(server, name) == "Approved"

    run(scenario)


def test_policies_that_are_no_longer_fresh_spend_nothing() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            gw.snapshot.fresh = False
            decide(server, name)
            assert isinstance(await waiting, Answer)
            assert phase(server, name) == "Approved"

    run(scenario)


def test_ap_10_an_approval_is_not_used_after_its_time() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.2) as gw:
            await gw.decide(DELETE)
            first = await filed(server)
            await decided(gw, server, first, use_within=-1)
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 429
            assert len(server.names(APPROVALS.path)) == 2
            assert phase(server, first) == "Approved"

    run(scenario)


def test_an_approval_with_too_few_people_is_not_enough_whatever_its_phase_says() -> None:
    async def scenario() -> None:
        policy = policy_object(required=2)
        async with api().serve() as server, gateway(server, policy=policy, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert phase(server, name) == "Approved"

    run(scenario)


def test_ap_04_two_replicas_race_200_times_and_each_time_exactly_one_spends() -> None:
    async def scenario() -> None:
        async with (
            api().serve() as server,
            gateway(server, "gw-0") as first,
            gateway(server, "gw-1") as second,
        ):
            for number in range(200):
                request = request_of(path=f"{TARGET_PATH}-{number}")
                async with asyncio.TaskGroup() as group:
                    one = group.create_task(first.decide(request))
                    two = group.create_task(second.decide(request))
                    name = await filed(server, number + 1)
                    decide(server, name)
                results = [one.result(), two.result()]
                spent = [result for result in results if isinstance(result, Spend)]
                assert len(spent) == 1, number
                refused = next(result for result in results if isinstance(result, Answer))
                assert refused.code == 409
                assert state(server, name)["status"]["claimedBy"] == spent[0].approval.claimed_by

    run(scenario, 240)


def test_many_waiters_in_one_process_spend_once() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(gw.decide(DELETE)) for _ in range(20)]
                name = await filed(server)
                await asyncio.sleep(0.1)
                decide(server, name)
            assert sum(isinstance(task.result(), Spend) for task in tasks) == 1
            assert server.names(APPROVALS.path) == [name]

    run(scenario)


def test_ap_05_a_gateway_killed_between_claim_and_outcome_leaves_unknown_never_a_second_run() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, "gw-1", step=0.1) as survivor:
            async with gateway(server, "gw-0", step=0.1) as victim:
                await victim.presence.renew()
                await victim.decide(DELETE)
                name = await filed(server)
                await decided(victim, server, name)
                assert isinstance(await victim.decide(DELETE), Spend)
                while not (survivor.store.seen(name) or {}).get("status", {}).get("claimedBy"):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                await survivor.presence.renew()
                await survivor.claims.sweep()
                assert phase(server, name) == "Executing"
                await victim.presence.renew()
                await survivor.presence.renew()
                await survivor.claims.sweep()
                assert phase(server, name) == "Executing"
            # The victim is gone without a word.
            survivor.passed[0] += 2 * DEAD_AFTER
            await survivor.claims.sweep()
            assert phase(server, name) == "Executing", "who cannot keep its own lease judges nobody"
            await survivor.presence.renew()
            await survivor.claims.sweep()
            assert phase(server, name) == "Unknown"
            answer = await survivor.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "outcome is not known" in message(answer)

    run(scenario)


def test_a_restarted_worker_gives_up_what_its_predecessor_claimed_at_once() -> None:
    async def scenario() -> None:
        async with api().serve() as server:
            async with gateway(server, "gw-0", "before", step=0.1) as victim:
                await victim.presence.renew()
                await victim.decide(DELETE)
                name = await filed(server)
                await decided(victim, server, name)
                assert isinstance(await victim.decide(DELETE), Spend)
            async with gateway(server, "gw-0", "after") as heir:
                await heir.presence.renew()
                await heir.claims.sweep()
                assert phase(server, name) == "Unknown"

    run(scenario)


def test_an_execution_that_takes_long_is_left_alone_while_its_gateway_lives() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            spend = await gw.decide(DELETE)
            assert isinstance(spend, Spend)
            gw.passed[0] += 2 * DEAD_AFTER
            await gw.claims.sweep()
            assert phase(server, name) == "Executing"
            await gw.holds.finish(spend.approval, 200, "a")
            await gw.claims.sweep()
            assert phase(server, name) == "Executed"

    run(scenario)


def test_an_outcome_is_written_through_an_outage() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw, asyncio.TaskGroup() as group:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            spend = await gw.decide(DELETE)
            assert isinstance(spend, Spend)
            server.down = True
            finishing = group.create_task(gw.holds.finish(spend.approval, 200, "a"))
            await asyncio.sleep(0.3)
            assert not finishing.done()
            assert gw.claims.open == 1
            server.down = False
            await finishing
            assert phase(server, name) == "Executed"

    run(scenario)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(200, "Executed"), (101, "Executed"), (409, "Failed"), (503, "Unknown"), (0, "Unknown")],
)
def test_the_outcome_is_what_the_answer_says(code: int, expected: str) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            spend = await gw.decide(DELETE)
            assert isinstance(spend, Spend)
            await gw.holds.finish(spend.approval, code, "a")
            assert phase(server, name) == expected

    run(scenario)


@pytest.mark.parametrize("lost", [LostAnswer(), web.HTTPBadGateway()])
def test_a_claim_whose_answer_is_lost_is_found_to_be_ours(lost: Exception) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            await decided(gw, server, name)
            server.after_write = _lose_once(server, lost)
            spend = await gw.decide(DELETE)
            assert isinstance(spend, Spend)
            assert spend.approval.phase is Phase.EXECUTING

    run(scenario)


def _lose_once(server: FakeApi, lost: Exception) -> Callable[[str, str], None]:
    def lose(method: str, _path: str) -> None:
        if method == "PATCH":
            server.after_write = None
            raise lost

    return lose


def test_a_client_that_goes_while_it_waits_executes_nothing() -> None:
    """HT-08."""

    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(gw.decide(DELETE))
                name = await filed(server)
                waiting.cancel()
            decide(server, name)
            await asyncio.sleep(0.1)
            assert phase(server, name) == "Approved"

    run(scenario)


def test_a_client_that_goes_during_the_claim_executes_nothing_and_the_claim_is_given_up() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(gw.decide(DELETE))
                name = await filed(server)
                while "approvals" not in (state(server, name).get("status") or {}):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

                def go(method: str, path: str) -> None:
                    if method == "PATCH" and path.endswith("/status"):
                        server.before_write = None
                        waiting.cancel()

                server.before_write = go
                decide(server, name)
            assert waiting.cancelled()
            assert phase(server, name) == "Executing"
            while (gw.store.seen(name) or {})["status"]["phase"] != "Executing":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await gw.claims.sweep()
            assert phase(server, name) == "Failed"
            assert gw.claims.open == 0

    run(scenario)


def test_ap_15_without_a_store_nothing_passes() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            server.down = True
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 503
            assert dict(answer.headers)["Retry-After"] == "5"
            server.down = False
            await gw.decide(DELETE)
            await decided(gw, server, await filed(server))
            server.down = True
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 503

    run(scenario)


def test_ap_15_a_store_that_goes_while_we_wait_passes_nothing() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            await filed(server)
            await asyncio.sleep(0.1)
            server.down = True
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 503

    run(scenario)


@pytest.mark.parametrize(
    ("eyes", "code"),
    [(Eyes(code=404), 404), (Eyes(code=403), 403), (Eyes(code=500), 503), (Eyes(code=0), 503)],
)
def test_what_cannot_be_looked_at_is_not_held(eyes: Eyes, code: int) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            answer = await gw.decide(DELETE, eyes=eyes)
            assert isinstance(answer, Answer)
            assert answer.code == code
            assert server.names(APPROVALS.path) == []

    run(scenario)


def test_the_object_is_looked_at_never_its_subresource() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(request_of("POST", "/api/v1/namespaces/prod/pods/web-0/eviction"))
            await gw.decide(
                request_of("PATCH", "/api/v1/namespaces/prod/status", b"{}", "application/merge-patch+json")
            )
            await gw.decide(request_of("POST", "/api/v1/namespaces/prod/pods", b"{}", "application/json"))
            assert gw.eyes.asked == ["GET /api/v1/namespaces/prod/pods/web-0", "GET /api/v1/namespaces/prod"]

    run(scenario)


def test_too_many_waiters_are_turned_away() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, waiting=1) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            await filed(server)
            answer = await gw.decide(request_of(path=TARGET_PATH + "-2"))
            assert isinstance(answer, Answer)
            assert answer.code == 503
            waiting.cancel()

    run(scenario)


def test_holds_work_while_the_mirror_cannot_be_trusted() -> None:
    """Watches fail, plain reads and writes work: slower, but not wrong."""

    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            server.expire_watches = 10_000
            server.end_watches()
            while not gw.store.mirror.failure:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            decide(server, name)
            assert isinstance(await waiting, Spend)

    run(scenario)


def test_a_client_that_asks_to_be_told_at_once_is_and_its_exact_repeat_runs() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw:
            asking = Asking(hold="never", reason="the disk is full\x1b[2J")
            answer = await gw.decide(DELETE, asking=asking)
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "Retry-After" not in dict(answer.headers)
            name = await filed(server)
            assert name in message(answer)
            assert name in dict(answer.headers)["Warning"]
            assert state(server, name)["spec"]["reason"] == "the disk is full\\x1b[2J"
            await decided(gw, server, name)
            assert isinstance(await gw.decide(DELETE, asking=asking), Spend)

    run(scenario)


def test_a_client_with_a_time_of_its_own_is_told_before_it_gives_up() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw:
            answer = await gw.decide(request_of(path=f"{TARGET_PATH}?timeout=100ms"))
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "waits for ApprovalRequest" in message(answer)
            await decided(gw, server, await filed(server))
            assert isinstance(await gw.decide(DELETE), Spend), "the timeout is no part of what was approved"

    run(scenario)


def test_an_exec_that_the_server_would_not_upgrade_is_sent_to_spdy_before_anybody_is_asked() -> None:
    async def scenario() -> None:
        path = "/api/v1/namespaces/prod/pods/web-0/exec?command=sh"
        websocket = parse("GET", path, upgrade="websocket")
        assert isinstance(websocket, Request)
        asking = Asking(subprotocols=("v5.channel.k8s.io",))
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            answer = await gw.decide(websocket, asking=asking)
            assert isinstance(answer, Answer)
            assert answer.code == 400
            assert server.names(APPROVALS.path) == []
            gw.eyes.server = "v1.30.1-gke.5"
            assert isinstance(await gw.decide(websocket, asking=asking), Answer)
            assert len(server.names(APPROVALS.path)) == 1

    run(scenario)


COLLECTION = "/api/v1/namespaces/prod/configmaps?labelSelector=app%3Dweb&propagationPolicy=Orphan"


def test_a_deletecollection_is_one_approval_for_the_objects_that_are_there() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            request = request_of(path=COLLECTION)
            await gw.decide(request)
            listed = "GET /api/v1/namespaces/prod/configmaps?labelSelector=app%3Dweb&limit=500"
            assert gw.eyes.asked == [listed]
            name = await filed(server)
            assert set(state(server, name)["spec"]["target"]) == {"stateSHA256"}
            await decided(gw, server, name)
            grown = await gw.decide(request, eyes=Eyes(uids=("a", "b", "c")))
            assert isinstance(grown, Answer)
            assert grown.code == 429, "an object more is another approval"
            assert len(server.names(APPROVALS.path)) == 2
            assert isinstance(await gw.decide(request, eyes=Eyes(uids=("b", "a"))), Spend)

    run(scenario)


def test_an_object_that_comes_while_a_deletecollection_is_held_voids_the_approval() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(request_of(path=COLLECTION)))
            name = await filed(server)
            gw.eyes.uids = ("a", "b", "new")
            decide(server, name)
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "the objects have been changed since" in message(answer)
            assert phase(server, name) == "Approved"

    run(scenario)


@pytest.mark.parametrize(
    ("eyes", "code"),
    [
        (Eyes(page={"continue": "more"}), 403),
        (Eyes(code=403), 403),
        (Eyes(uids=("",)), 503),
        (Eyes(code=500), 503),
    ],
    ids=["too many", "unseen", "without uid", "unanswered"],
)
def test_a_collection_that_cannot_be_looked_at_is_not_held(eyes: Eyes, code: int) -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            answer = await gw.decide(request_of(path=COLLECTION), eyes=eyes)
            assert isinstance(answer, Answer)
            assert answer.code == code
            assert server.names(APPROVALS.path) == []

    run(scenario)


def test_a_gateway_that_ends_asks_its_waiters_to_come_again() -> None:
    async def scenario() -> None:
        async with (
            api().serve() as server,
            gateway(server) as gw,
            gateway(server, "gw-1") as other,
            asyncio.TaskGroup() as group,
        ):
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            gw.holds.let_go()
            answer = await waiting
            assert isinstance(answer, Answer)
            assert (answer.code, dict(answer.headers)["Retry-After"]) == (429, "5")
            elsewhere = group.create_task(other.decide(DELETE))
            decide(server, name)
            assert isinstance(await elsewhere, Spend)

    run(scenario)


def test_a_request_that_is_taken_back_ends_the_wait_and_asks_nobody_anew() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            desk = Withdrawals(gw.store, wall=time.time)
            take_back = request_of("PATCH", f"{APPROVALS.path}/{name}/status")
            for stranger in (replace(CALLER, run="run-2"), replace(CALLER, subject="x")):
                assert (await desk.withdraw(take_back, stranger)).code == 404
            assert phase(server, name) != "Cancelled"
            done = await desk.withdraw(take_back, CALLER, "not needed\x1b")
            assert done.code == 200
            [condition] = done.status["status"]["conditions"]
            assert (condition["type"], condition["reason"]) == ("Cancelled", "Withdrawn")
            assert condition["message"] == "taken back by its requester: not needed\\x1b"
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert f"ApprovalRequest {name} was cancelled" in message(answer)
            between_two_tries = await gw.decide(DELETE)
            assert isinstance(between_two_tries, Answer)
            assert between_two_tries.code == 403
            assert "the same command asks for a new approval" in message(between_two_tries)
            assert server.names(APPROVALS.path) == [name]
            assert (await desk.withdraw(take_back, CALLER)).code == 409
            absent = request_of("PATCH", f"{APPROVALS.path}/absent/status")
            assert (await desk.withdraw(absent, CALLER)).code == 404

    run(scenario)


def test_some_time_after_it_was_taken_back_the_same_request_asks_anew() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            clock, long_before = server.clock, rfc3339(time.time() - 3600)
            server.clock = lambda: long_before
            await gw.decide(DELETE)
            server.clock = clock
            name = await filed(server)
            long_ago = Withdrawals(gw.store, wall=lambda: time.time() - WITHDRAWN_FOR - 1)
            take_back = request_of("PATCH", f"{APPROVALS.path}/{name}/status")
            assert (await long_ago.withdraw(take_back, CALLER)).code == 200
            answer = await gw.decide(DELETE)
            assert isinstance(answer, Answer)
            assert answer.code == 429
            assert len(server.names(APPROVALS.path)) == 2

    run(scenario)


def test_what_is_claimed_is_not_taken_back() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server, step=0.1) as gw:
            await gw.decide(DELETE)
            name = await filed(server)
            decide(server, name)
            take_back = request_of("PATCH", f"{APPROVALS.path}/{name}/status")
            desk = Withdrawals(gw.store, wall=time.time)

            def claimed_meanwhile(_method: str, _path: str) -> None:
                server.before_write = None
                obj = state(server, name)
                server.put(APPROVALS.path, {**obj, "status": {**obj["status"], "phase": "Executing"}})

            server.before_write = claimed_meanwhile
            assert (await desk.withdraw(take_back, CALLER)).code == 409
            assert phase(server, name) == "Executing"
            server.down = True
            assert (await desk.withdraw(take_back, CALLER)).code == 503

    run(scenario)


@pytest.mark.parametrize(
    ("body", "content_type", "query", "expected"),
    [
        (b'{"status":{"decision":"Cancelled"}}', "application/merge-patch+json", "", ""),
        (
            b'{"status":{"decision":"Cancelled","decisionReason":"no"}}',
            "application/merge-patch+json",
            "",
            "no",
        ),
        (b'{"status":{"decision":"Approved"}}', "application/merge-patch+json", "", None),
        (b'{"status":{"decision":"Cancelled","phase":"x"}}', "application/merge-patch+json", "", None),
        (b'{"status":{"decision":"Cancelled"}}', "application/strategic-merge-patch+json", "", None),
        (b'{"status":{"decision":"Cancelled"}}', "application/merge-patch+json", "?dryRun=All", None),
        (b"{", "application/merge-patch+json", "", None),
    ],
)
def test_only_the_gesture_takes_back(
    body: bytes, content_type: str, query: str, expected: str | None
) -> None:
    request = request_of("PATCH", f"{APPROVALS.path}/apr-1/status{query}", content_type=content_type)
    assert may_withdraw(request)
    assert reason_to_withdraw(request, body) == expected
    assert not may_withdraw(request_of("PATCH", f"{APPROVALS.path}/apr-1"))


def test_an_approval_that_runs_out_while_it_is_waited_for_ends_the_wait() -> None:
    async def scenario() -> None:
        async with api().serve() as server, gateway(server) as gw, asyncio.TaskGroup() as group:
            waiting = group.create_task(gw.decide(DELETE))
            name = await filed(server)
            obj = state(server, name)
            server.put(
                APPROVALS.path, {**obj, "spec": {**obj["spec"], "expiresAt": rfc3339(time.time() - 1)}}
            )
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.code == 403
            assert "ran out before it was used" in message(answer)
            assert server.names(APPROVALS.path) == [name]

    run(scenario)
