"""Mirror, holds, leases and minted tokens against a real API server with the real CustomResourceDefinitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.timestamp import rfc3339
from chaperone.kube.approvals import APPROVALS, ApprovalStore
from chaperone.kube.connection import Connection
from chaperone.kube.endpoint import Endpoint, from_kubeconfig
from chaperone.kube.errors import RefusedError
from chaperone.kube.mirror import Mirror, MirrorTerms, Resource
from chaperone.kube.tokens import mint_token
from gateway.services import Answer, Spend
from hack.cluster import ClusterError, start, stop
from tests.gateway.test_holds import Gateway, gateway_on, policy_object, request_of

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MAPS = Resource("", "v1", "configmaps")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("kube")
    try:
        cluster = start(folder / "cluster", node=False)
    except ClusterError as error:
        pytest.skip(f"no API server: {error}")
    try:
        found = from_kubeconfig(cluster.admin_kubeconfig)
        asyncio.run(install(found))
        yield found
    finally:
        stop(cluster.directory)


async def install(endpoint: Endpoint) -> None:
    async with Connection(endpoint) as api:
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            await api.post(DEFINITIONS, definition)
        while True:
            try:
                await api.get(APPROVALS.path)
            except RefusedError:
                await asyncio.sleep(0.2)
            else:
                return


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110  about a server elsewhere
        await asyncio.sleep(0.02)


@asynccontextmanager
async def two_gateways(
    endpoint: Endpoint, run_name: str
) -> AsyncIterator[tuple[Gateway, Gateway, Connection]]:
    policy = policy_object()
    async with (
        Connection(endpoint) as api,
        gateway_on(api, f"{run_name}-0", policy=policy) as first,
        gateway_on(api, f"{run_name}-1", policy=policy) as second,
    ):
        yield first, second, api


async def approve(api: Connection, name: str) -> None:
    obj = await api.get(f"{APPROVALS.path}/{name}")
    review = {
        "username": "alice",
        "decision": "Approved",
        "digest": obj["spec"]["digest"],
        "time": rfc3339(time.time()),
    }
    status = {"phase": "Approved", "reviews": [review], "useBefore": rfc3339(time.time() + 600)}
    await api.merge_patch(f"{APPROVALS.path}/{name}/status", {"status": status})


def test_a_mirror_follows_pages_changes_and_bookmarks(endpoint: Endpoint) -> None:
    async def scenario() -> None:
        async with Connection(endpoint) as api, asyncio.TaskGroup() as group:
            for number in range(7):
                await create_map(api, f"page-{number}")
            mirror = Mirror(
                api,
                MAPS,
                clock=time.monotonic,
                jitter=lambda: 0.5,
                terms=MirrorTerms(page=3, watch_seconds=3),
            )
            task = group.create_task(mirror.run())
            await mirror.wait_ready()
            assert {f"default/page-{number}" for number in range(7)} <= mirror.objects.keys()
            await create_map(api, "later")
            await until(lambda: "default/later" in mirror.objects)
            await api.call("DELETE", "/api/v1/namespaces/default/configmaps/later")
            await until(lambda: "default/later" not in mirror.objects)
            await asyncio.sleep(7)  # two watches end and begin again
            assert mirror.failure == ""
            await until(lambda: mirror.age < 3)
            task.cancel()

    run(scenario)


async def create_map(api: Connection, name: str) -> None:
    await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": name}, "data": {}})


def test_a_token_is_minted_and_works(endpoint: Endpoint) -> None:
    async def scenario() -> None:
        async with Connection(endpoint) as api:
            await api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "carrier"}})
            minted = await mint_token(api, "default", "carrier", 600)
            assert minted.lifetime >= 600
        bearer = Endpoint(
            server=endpoint.server,
            source="test",
            ca_file=endpoint.ca_file,
            ca=endpoint.ca,
            token=minted.token,
        )
        async with Connection(bearer) as carrier:
            with pytest.raises(RefusedError, match="system:serviceaccount:default:carrier") as caught:
                await carrier.get("/api/v1/namespaces/default/secrets")
            assert caught.value.code == 403

    run(scenario)


def test_two_gateways_race_and_each_time_exactly_one_spends(endpoint: Endpoint) -> None:
    async def scenario() -> None:
        async with two_gateways(endpoint, "race") as (first, second, api):
            for number in range(15):
                request = request_of(path=f"/apis/apps/v1/namespaces/prod/deployments/race-{number}")
                before = set(first.store.mirror.objects)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(gw.decide(request)) for gw in (first, second)]
                    await until(lambda before=before: bool(set(first.store.mirror.objects) - before))  # type: ignore[misc]
                    (name,) = set(first.store.mirror.objects) - before
                    await approve(api, name)
                results = [task.result() for task in tasks]
                (spend,) = [result for result in results if isinstance(result, Spend)]
                (refused,) = [result for result in results if isinstance(result, Answer)]
                assert refused.code == 409
                winner = first if spend.approval.claimed_by.startswith("race-0/") else second
                await winner.holds.finish(spend.approval, 200, "audit-1")
                stored = await api.get(f"{APPROVALS.path}/{name}")
                assert stored["status"]["phase"] == "Executed"
                assert stored["status"]["execution"]["auditID"] == "audit-1"
                assert stored["spec"]["target"] == {"uid": "deployment-1", "generation": 3}

    run(scenario)


def test_a_claim_of_a_gateway_without_a_lease_becomes_unknown(endpoint: Endpoint) -> None:
    async def scenario() -> None:
        async with two_gateways(endpoint, "kill") as (victim, survivor, api):
            await survivor.presence.renew()
            await survivor.presence.renew()
            request = request_of(path="/apis/apps/v1/namespaces/prod/deployments/killed")
            before = set(victim.store.mirror.objects)
            async with asyncio.TaskGroup() as group:
                deciding = group.create_task(victim.decide(request))
                await until(lambda: bool(set(victim.store.mirror.objects) - before))
                (name,) = set(victim.store.mirror.objects) - before
                await approve(api, name)
            assert isinstance(deciding.result(), Spend)
            store: ApprovalStore = survivor.store
            await until(lambda: (store.seen(name) or {}).get("status", {}).get("phase") == "Executing")
            await survivor.presence.renew()
            await survivor.claims.sweep()
            assert (await api.get(f"{APPROVALS.path}/{name}"))["status"]["phase"] == "Unknown"

    run(scenario)
