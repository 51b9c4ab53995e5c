"""The policies in use are the cluster's, or nothing is judged; what cannot be read of RBAC stays undetermined."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaperone.core.policy import RiskSettings
from chaperone.kube.mirror import MirrorTerms
from gateway import snapshot as module
from gateway.snapshot import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, POLICIES, PolicySnapshot
from tests.gateway.test_holds import policy_object
from tests.kube.fake_api import FakeApi

QUICK = MirrorTerms(page=2, watch_seconds=1, silence=1.0, backoff_first=0.01, backoff_most=0.05)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110  about a server elsewhere
        await asyncio.sleep(0.005)


def policy(name: str, **spec: Any) -> dict[str, Any]:
    obj = copy.deepcopy(policy_object())
    obj["metadata"] = {"name": name}
    obj["spec"].update(spec)
    return obj


@asynccontextmanager
async def following(api: FakeApi, max_age: float = 60.0) -> AsyncIterator[PolicySnapshot]:
    async with api.connect() as connection, asyncio.TaskGroup() as group:
        snapshot = PolicySnapshot(
            connection,
            risk_settings=RiskSettings(guard_namespace="guard"),
            max_age=max_age,
            clock=time.monotonic,
            jitter=lambda: 0.5,
            terms=QUICK,
            rights_pause=0.02,
        )
        task = group.create_task(snapshot.run())
        try:
            yield snapshot
        finally:
            task.cancel()


def names(snapshot: PolicySnapshot) -> list[str]:
    return [found.name for found in snapshot.policies.policies]


def test_nothing_is_fresh_before_the_first_list_and_then_all_of_it_is_there() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            for name in "cab":
                api.put(POLICIES.path, policy(name))
            api.down = True
            async with following(api) as snapshot:
                await until(lambda: "503" in snapshot.missing)
                assert not snapshot.fresh
                assert snapshot.policies.policies == ()
                api.down = False
                await until(lambda: snapshot.fresh)
                await until(lambda: names(snapshot) == ["a", "b", "c"])
                assert snapshot.policies.risk_settings.guard_namespace == "guard"
                assert snapshot.missing == ""

    run(scenario)


def test_a_change_is_taken_over_and_bumps_the_generation() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(POLICIES.path, policy("a"))
            async with following(api) as snapshot:
                await until(lambda: names(snapshot) == ["a"])
                before = snapshot.generation
                api.put(POLICIES.path, policy("b"))
                await until(lambda: names(snapshot) == ["a", "b"])
                assert snapshot.generation > before
                before = snapshot.generation
                api.remove(POLICIES.path, "a")
                await until(lambda: names(snapshot) == ["b"])
                assert snapshot.generation > before

    run(scenario)


def test_a_status_update_compiles_nothing_and_changes_nothing() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(POLICIES.path, policy("a"))
            api.put(POLICIES.path, policy("b"))
            async with following(api) as snapshot:
                await until(lambda: names(snapshot) == ["a", "b"])
                await until(lambda: snapshot.policies.risk_settings.powerful_roles is not None)
                policies, generation = snapshot.policies, snapshot.generation
                stored = api.get(POLICIES.path, "a")
                assert stored is not None
                api.put(POLICIES.path, {**stored, "status": {"conditions": []}})
                api.put(POLICIES.path, policy("c"))
                await until(lambda: len(names(snapshot)) == 3)
                assert snapshot.generation == generation + 1
                assert snapshot.policies.policies[0] is policies.policies[0]

    run(scenario)


def test_a_policy_that_does_not_compile_is_broken_not_absent() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(
                POLICIES.path, policy("a", rules=[{"name": "x", "match": {"verbs": 3}, "action": "Maybe"}])
            )
            async with following(api) as snapshot:
                await until(lambda: len(snapshot.policies.broken) == 1)
                assert snapshot.policies.broken[0].name == "a"
                api.put(POLICIES.path, policy("a"))
                await until(lambda: names(snapshot) == ["a"])
                assert snapshot.policies.broken == ()

    run(scenario)


def test_should_compiling_ever_raise_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        async with FakeApi().serve() as api:
            api.put(POLICIES.path, policy("a"))
            async with following(api) as snapshot:
                await until(lambda: snapshot.fresh and names(snapshot) == ["a"])

                def explode(_obj: Any) -> Any:
                    raise RuntimeError("a fault of ours")

                with monkeypatch.context() as patched:
                    patched.setattr(module, "compile_policy", explode)
                    api.put(POLICIES.path, policy("b"))
                    await until(lambda: not snapshot.fresh)
                    assert "could not be compiled" in snapshot.missing
                api.put(POLICIES.path, policy("c"))
                await until(lambda: snapshot.fresh)
                assert names(snapshot) == ["a", "b", "c"]

    run(scenario)


def test_an_outage_ends_freshness_after_the_longest_age() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(POLICIES.path, policy("a"))
            async with following(api, max_age=1.5) as snapshot:
                await until(lambda: names(snapshot) == ["a"])
                api.down = True
                await until(lambda: not snapshot.fresh)
                assert names(snapshot) == ["a"]
                api.down = False
                await until(lambda: snapshot.fresh)

    run(scenario)


def test_rbac_is_surveyed_for_the_risk_catalogue() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
            api.put(CLUSTER_ROLES.path, {"metadata": {"name": "root"}, "rules": rules})
            api.put(CLUSTER_ROLES.path, {"metadata": {"name": "reader"}, "rules": []})
            async with following(api) as snapshot:
                await until(
                    lambda: snapshot.policies.risk_settings.powerful_roles == frozenset({("", "root")})
                )
                generation = snapshot.generation
                api.put(
                    CLUSTER_ROLE_BINDINGS.path,
                    {
                        "metadata": {"name": "bound"},
                        "roleRef": {
                            "apiGroup": "rbac.authorization.k8s.io",
                            "kind": "ClusterRole",
                            "name": "root",
                        },
                        "subjects": [{"kind": "ServiceAccount", "namespace": "ops", "name": "deployer"}],
                    },
                )
                await until(
                    lambda: (
                        snapshot.policies.risk_settings.privileged_accounts
                        == frozenset({("ops", "deployer")})
                    )
                )
                assert snapshot.generation > generation

    run(scenario)


def test_rbac_that_may_not_be_read_stays_undetermined_and_policies_work() -> None:
    async def scenario() -> None:
        async with FakeApi(forbidden={"clusterrolebindings"}).serve() as api:
            api.put(POLICIES.path, policy("a"))
            async with following(api) as snapshot:
                await until(lambda: names(snapshot) == ["a"])
                await asyncio.sleep(0.2)
                assert snapshot.fresh
                assert snapshot.policies.risk_settings.powerful_roles is None
                assert snapshot.policies.risk_settings.privileged_accounts is None

    run(scenario)
