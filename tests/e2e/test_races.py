"""Two gateways, one approval; and what a hold survives: a gateway that ends, an API server that is killed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from hack.cluster import record as records
from hack.cluster.kubeconfig import load_flattened, only_cluster, only_user
from hack.cluster.layout import layout_of
from hack.cluster.pki import write_private
from hack.cluster.processes import MARK, PROC, spawn, start_tick
from hack.stack import people, programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from hack.stack.programs import Program
from tests.e2e.agents import Agents
from tests.e2e.holding import approval_of, approvals_of, decide, held, new_namespace, phase_of
from tests.e2e.two_gateways import second_gateway
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "racers"
API_SERVER = "kube-apiserver"
RACES = 500
AT_ONCE = 4
"""Races that go on at the same time."""


@pytest.fixture(scope="module")
def racer(agents: Agents) -> Kubectl:
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": True}],
        rules=[
            {
                "name": "ask-first",
                "match": {"verbs": ["create", "delete"], "resources": ["configmaps"]},
                "action": "RequireApproval",
            }
        ],
        approval={"holdFor": "90s", "useWithin": "5m"},
        masking={"profile": "Off", "reason": "a test"},
    )
    return agents.kubectl(GROUP)


@pytest.fixture(scope="module")
def second(stack: up.Stack) -> Iterator[tuple[Program, str]]:
    """Another gateway beside the stack's own, and its URL."""
    with second_gateway(stack) as (url, program):
        yield program, url


@pytest.fixture(scope="module")
def at_second(stack: up.Stack, second: tuple[Program, str], racer: Kubectl) -> Kubectl:
    """The same agent and run at the other gateway."""
    path = stack.layout.kubeconfig("agent-at-second")
    config = yaml.safe_load(racer.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = second[1]
    write_private(path, yaml.safe_dump(config).encode())
    return Kubectl(path)


@pytest.fixture
def restart_second(stack: up.Stack, second: tuple[Program, str]) -> Callable[..., None]:
    return partial(programs.restart, stack.layout, second[0])


@pytest.fixture
def place(admin: Kubectl) -> str:
    """A namespace with the ConfigMap a."""
    name = new_namespace(admin, "race")
    admin.must("making a config map", "create", "configmap", "a", "-n", name)
    return name


# Two gateways race


class Racing:
    """The agent at two gateways, and a person, on connections that stay open."""

    def __init__(
        self, session: aiohttp.ClientSession, layout: Layout, agent: Kubectl, urls: list[str]
    ) -> None:
        self._session = session
        self._urls = urls
        self._agent_tls = ssl.create_default_context(cafile=str(layout.ca_file))
        self._agent = {"Authorization": f"Bearer {people.token_of(agent.kubeconfig)}"}
        self._server = only_cluster(load_flattened(layout.approver_kubeconfig))["server"]
        self._person_tls = client_tls(layout.approver_kubeconfig)

    async def create(self, url: str, namespace: str, race: int, **headers: str) -> tuple[int, Any]:
        """Each execution makes another object, so none can hide behind another."""
        metadata = {"generateName": f"r{race}-", "labels": {"race": str(race)}}
        async with self._session.post(
            f"{url}/api/v1/namespaces/{namespace}/configmaps",
            json={"metadata": metadata},
            headers={**self._agent, **headers},
            ssl=self._agent_tls,
        ) as answer:
            return answer.status, await answer.json()

    async def approve(self, name: str) -> None:
        async with self._session.patch(
            f"{self._server}/apis/chaperone.dev/v1alpha1/approvalrequests/{name}/status",
            json={"status": {"decision": "Approved"}},
            headers={"Content-Type": "application/merge-patch+json"},
            ssl=self._person_tls,
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def race(self, namespace: str, number: int) -> None:
        code, told = await self.create(
            self._urls[number % 2], namespace, number, **{"Chaperone-Hold": "never"}
        )
        assert code == 403, told
        name = told["details"]["causes"][0]["field"]
        if number % 3:  # both come when it is approved; otherwise both wait for it already
            await self.approve(name)
            both = await asyncio.gather(*(self.create(url, namespace, number) for url in self._urls))
        else:
            async with asyncio.TaskGroup() as group:
                waiting = [group.create_task(self.create(url, namespace, number)) for url in self._urls]
                await asyncio.sleep(0.05)
                await self.approve(name)
            both = [task.result() for task in waiting]
        codes = sorted(code for code, _ in both)
        assert codes in ([201, 403], [201, 409]), both
        refused = next(told for code, told in both if code != 201)
        assert refused["details"]["causes"][0]["reason"] in ("ApprovalUsed", "ApprovalExecuting"), refused


def client_tls(kubeconfig: Path) -> ssl.SSLContext:
    """The client certificate of a person."""
    loaded = load_flattened(kubeconfig)
    ca = base64.b64decode(only_cluster(loaded)["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    user = only_user(loaded)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for kind in ("client-certificate-data", "client-key-data"):
            files.append(Path(folder) / kind)
            write_private(files[-1], base64.b64decode(user[kind]))
        context.load_cert_chain(files[0], files[1])
    return context


@pytest.mark.timeout(1500)  # 500 races take four to five minutes on two busy cores
def test_two_gateways_race_for_an_approval_and_exactly_one_executes(
    stack: up.Stack, racer: Kubectl, second: tuple[Program, str], admin: Kubectl, place: str
) -> None:
    async def all_races() -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession() as session:
            racing = Racing(session, stack.layout, racer, [stack.gateway_url, second[1]])

            async def one(number: int) -> None:
                async with limit:
                    await racing.race(place, number)

            async with asyncio.TaskGroup() as group:
                for number in range(RACES):
                    group.create_task(one(number))

    asyncio.run(all_races())
    made = admin.get("configmaps", "-n", place, "-l", "race")["items"]
    numbers = [int(item["metadata"]["labels"]["race"]) for item in made]
    assert sorted(numbers) == list(range(RACES))
    until(
        "every outcome to be written",
        lambda: {phase_of(item) for item in approvals_of(admin, place)} == {"Executed"},
    )


# What a hold survives


def test_a_rolling_restart_loses_no_held_request(
    at_second: Kubectl, restart_second: Callable[..., None], admin: Kubectl, approver: Kubectl, place: str
) -> None:
    """The client waits at a gateway that ends; it comes again by itself, and finds its approval where it comes to."""
    with held(at_second, "delete", "configmap", "a", "-n", place) as process:
        name = approval_of(admin, place)["metadata"]["name"]
        restart_second(kill=False)
        decide(approver, name, "Approved")
        output, _ = process.communicate(timeout=90)
    if process.returncode:
        # It came again before the new one listened: the same command, by hand.
        done = at_second.run("delete", "configmap", "a", "-n", place)
        assert done.returncode == 0, (output, done.stderr)
    assert approval_of(admin, place, phase="Executed")["metadata"]["name"] == name


def test_a_killed_gateway_does_not_end_the_hold_of_the_other(
    racer: Kubectl, restart_second: Callable[..., None], admin: Kubectl, approver: Kubectl, place: str
) -> None:
    with held(racer, "delete", "configmap", "a", "-n", place) as process:
        name = approval_of(admin, place)["metadata"]["name"]
        restart_second(kill=True)
        decide(approver, name, "Approved")
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert approval_of(admin, place, phase="Executed")["status"]["claimedBy"]


def test_an_api_server_that_is_killed_and_comes_back_ends_no_hold(
    stack: up.Stack, racer: Kubectl, admin: Kubectl, approver: Kubectl, place: str
) -> None:
    if stack.cluster.external:
        pytest.skip("this is not a cluster whose API server may be killed")
    with held(racer, "delete", "configmap", "a", "-n", place) as process:
        name = approval_of(admin, place)["metadata"]["name"]
        kill_api_server(stack, admin)
        until("the approval to be taken", lambda: decide(approver, name, "Approved").returncode == 0)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert admin.get("configmap", "a", "-n", place) is None
    assert approval_of(admin, place, phase="Executed")["metadata"]["name"] == name


def kill_api_server(stack: up.Stack, admin: Kubectl) -> None:
    """SIGKILL, and the same command line again in the same surroundings, in the cluster's record as before, until it
    answers: one that ends while starting is started once more."""
    place = layout_of(stack.layout.cluster)
    known = records.load(place.record)
    assert known is not None
    pid = known.processes[API_SERVER].pid
    argv = (PROC / str(pid) / "cmdline").read_bytes().decode().split("\0")[:-1]
    words = (PROC / str(pid) / "environ").read_bytes().decode().split("\0")
    environment = dict(word.partition("=")[::2] for word in words if word)
    assert argv, "the command line of the API server"
    os.kill(pid, signal.SIGKILL)
    until("the API server to be gone", lambda: start_tick(pid) is None)
    started: list[int] = []

    def is_back() -> bool:
        if not started or start_tick(started[-1]) is None:
            again = spawn(argv, log_file=place.log(API_SERVER), mark=environment[MARK], env=environment)
            records.save(replace(known, processes={**known.processes, API_SERVER: again}), place.record)
            started.append(again.pid)
        return admin.run("get", "--raw", "/readyz").returncode == 0

    until("the API server to be back", is_back, seconds=150, every=0.5)
