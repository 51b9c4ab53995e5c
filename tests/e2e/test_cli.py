"""`kubectl chaperone` on a real cluster: the walk-throughs of the docs, and what a person can and cannot do with it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hack.stack.kubectl import KUBECTL, Kubectl
from hack.stack.layout import Layout
from tests.cli.walkthrough import blocks, commands, programs, run, write_files
from tests.e2e.agents import Agents
from tests.e2e.holding import new_namespace
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "cli-agents"
DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Plugin:
    """`kubectl chaperone`, found by kubectl itself on the PATH."""

    folder: Path
    kubeconfig: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(KUBECTL), "chaperone", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment(),
        )

    def environment(self, **more: str) -> Mapping[str, str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return {
            "PATH": path,
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "LANG": "C.UTF-8",
            **more,
        }


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs(tmp_path_factory.mktemp("cli") / "bin")


@pytest.fixture(scope="module")
def person(layout: Layout, bin_folder: Path) -> Plugin:
    return Plugin(bin_folder, layout.approver_kubeconfig)


@pytest.fixture(scope="module")
def cli_agents(agents: Agents) -> Agents:
    agents.govern(
        GROUP,
        access=[
            {"roleRef": {"kind": "ClusterRole", "name": "coding-agents-namespaces"}, "clusterWide": True}
        ],
        rules=[
            {
                "name": "ask-first",
                "match": {"verbs": ["delete"], "resources": ["namespaces"]},
                "action": "RequireApproval",
            }
        ],
        approval={"holdFor": "60s", "useWithin": "5m", "maxGrant": "10m"},
    )
    return agents


@contextmanager
def held_delete(cli_agents: Agents, admin: Kubectl, person: Plugin) -> Iterator[tuple[str, str, Any]]:
    """(name of the approval, namespace, the agent's waiting kubectl)."""
    namespace = new_namespace(admin, "cli")
    agent = cli_agents.kubectl(GROUP)
    process = subprocess.Popen(
        agent.command("delete", "namespace", namespace, "--wait=false"),
        env=agent.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield until("the approval to be listed", lambda: named(person, namespace)), namespace, process
    finally:
        process.kill()
        process.communicate()
        admin.run("delete", "namespace", namespace, "--wait=false")


def named(person: Plugin, namespace: str) -> str:
    listed = json.loads(person("list", "-o", "json").stdout)["items"]
    found = [item for item in listed if item["spec"].get("request", {}).get("name") == namespace]
    return str(found[0]["metadata"]["name"]) if found else ""


def test_an_approval_lets_the_waiting_command_go_on(
    cli_agents: Agents, admin: Kubectl, person: Plugin
) -> None:
    with held_delete(cli_agents, admin, person) as (name, namespace, waiting):
        row = next(line for line in person("list").stdout.splitlines() if line.startswith(name))
        assert row.split()[1:8] == ["Pending", "critical", "-", "delete", "namespaces", namespace, namespace]
        assert f'delete of namespaces "{namespace}"' in person("show", name).stdout
        done = person("approve", name, "--reason", "merged")
        assert done.returncode == 0, done.stderr
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output
    until("the result to be written", lambda: "Executed" in person("show", name).stdout.splitlines()[0])
    assert '"merged"' in person("show", name).stdout
    again = person("approve", name)
    assert again.returncode == 1
    assert "is Executed: it can no longer be decided" in again.stderr


def test_a_denial_ends_the_waiting_command_with_its_words(
    cli_agents: Agents, admin: Kubectl, person: Plugin
) -> None:
    with held_delete(cli_agents, admin, person) as (name, _, waiting):
        assert person("deny", name, "--reason", "ask the owners").returncode == 0
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "ask the owners" in output


def test_an_agent_decides_nothing_with_it(
    cli_agents: Agents, admin: Kubectl, person: Plugin, bin_folder: Path
) -> None:
    agent = Plugin(bin_folder, cli_agents.kubectl(GROUP).kubeconfig)
    with held_delete(cli_agents, admin, person) as (name, _, _):
        for command in ("approve", "deny"):
            refused = agent(command, name)
            assert refused.returncode == 1
            assert "Traceback" not in refused.stderr
        assert person("show", name).stdout.startswith(f"{name}: Pending, 0/1")


def test_an_agent_asks_for_rights_and_a_person_grants_and_revokes_them(
    cli_agents: Agents, admin: Kubectl, person: Plugin, bin_folder: Path
) -> None:
    namespace = new_namespace(admin, "cli")
    agent = Plugin(bin_folder, cli_agents.kubectl(GROUP).kubeconfig)
    asked = agent(
        *("request-access", "--role", "view", "--namespace", namespace, "--for", "5m"),
        *("--reason", "look at the roll-out"),
    )
    assert asked.returncode == 0, asked.stderr
    name = asked.stdout.split()[1]
    shown = person("show", name).stdout
    assert f"the rights of clusterrole/view in {namespace} for 5m" in shown
    assert "  | look at the roll-out" in shown
    assert person("approve", name).returncode == 0
    until("the grant to begin", lambda: "Executing" in person("show", name).stdout.splitlines()[0])
    assert f"to revoke   kubectl chaperone deny {name}" in person("show", name).stdout
    assert person("deny", name, "--reason", "seen enough").returncode == 0
    until("the grant to end", lambda: "Denied" in person("show", name).stdout.splitlines()[0])
    refused = agent("request-access", "--role", "cluster-admin", "-n", namespace, "--for", "5m")
    assert refused.returncode == 1
    assert "which is never granted" in refused.stderr


def test_watch_tells_each_change_in_a_pipe(cli_agents: Agents, admin: Kubectl, person: Plugin) -> None:
    command = [str(KUBECTL), "chaperone", "watch"]
    with subprocess.Popen(
        command, env=person.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        with held_delete(cli_agents, admin, person) as (name, _, _):
            person("deny", name)
            lines = (line for line in watching.stdout if line.startswith(name))
            assert next(lines).split()[1] == "Pending"
            assert next(lines).split()[1] == "Denied"
        watching.terminate()


def test_the_approvers_page_is_true(
    cli_agents: Agents, admin: Kubectl, person: Plugin, tmp_path: Path
) -> None:
    with (
        held_delete(cli_agents, admin, person) as (name, _, _),
        held_delete(cli_agents, admin, person) as (other, _, _),
    ):
        walk(DOCS / "approver.md", tmp_path, {"approver": person.environment(NAME=name, OTHER=other)})


def test_the_first_policy_page_is_true(
    layout: Layout, admin: Kubectl, bin_folder: Path, tmp_path: Path
) -> None:
    admin.run("delete", "agpol", "web-agents", "--ignore-not-found")
    environment = Plugin(bin_folder, layout.admin_kubeconfig).environment()
    walk(DOCS / "first-policy.md", tmp_path, {"admin": environment})


def walk(page: Path, folder: Path, people: Mapping[str, Mapping[str, str]]) -> None:
    write_files(page, folder)
    ran = 0
    for block in blocks(page):
        who = block.labels.get("cluster")
        for command in commands(block) if who else ():
            assert run(command, folder, people[str(who)]) == ""
            ran += 1
    assert ran
