"""Held requests in tests: places to act in, clients that wait, the approvals they wait for, and people who decide."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hack.stack import objects, people
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.waiting import until


def new_namespace(admin: Kubectl, prefix: str) -> str:
    """Its name, which no other test has."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    admin.apply("making a namespace", [objects.namespace(name)])
    return name


def person_who_asks(layout: Layout, admin: Kubectl, name: str) -> Kubectl:
    """May ask for access under any policy, and approve what others ask for."""
    path = layout.kubeconfig(name)
    people.write_person(admin, path, f"{name}@example.com", [objects.APPROVERS])
    binding = {
        "apiVersion": f"{objects.RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{name}-requests"},
        "roleRef": {"kind": "ClusterRole", "apiGroup": objects.RBAC, "name": "chaperone-requester"},
        "subjects": [{"kind": "User", "apiGroup": objects.RBAC, "name": f"{name}@example.com"}],
    }
    admin.apply(f"letting {name} ask", [binding])
    return Kubectl(path)


@contextmanager
def waiting(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A client in the background, killed at the end if it still runs."""
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def held(kubectl: Kubectl, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with waiting(kubectl.command(*arguments), kubectl.environment()) as process:
        yield process


def approvals_of(admin: Kubectl, target: str, *, run: str = "") -> list[dict[str, Any]]:
    """All approvals whose request names the target, or lies in it."""
    found = []
    for item in (admin.get("apreq") or {"items": []})["items"]:
        asked = item["spec"].get("request") or {}
        named = target in (asked.get("name"), asked.get("namespace"))
        if named and (not run or item["spec"]["requester"].get("run") == run):
            found.append(dict(item))
    return found


def approval_of(admin: Kubectl, target: str, *, phase: str = "Pending", run: str = "") -> dict[str, Any]:
    """The approval for a target that is in this phase; waits for it."""

    def find() -> dict[str, Any] | None:
        known = approvals_of(admin, target, run=run)
        return next((item for item in known if phase_of(item) == phase), None)

    return until(f"an approval for {target} in phase {phase}", find) or {}


def phase_of(approval: Mapping[str, Any]) -> str:
    return str(approval.get("status", {}).get("phase", "Pending"))


def decide(person: Kubectl, name: str, decision: str) -> subprocess.CompletedProcess[str]:
    status = json.dumps({"status": {"decision": decision}})
    return person.run("patch", "apreq", name, "--subresource=status", "--type=merge", "-p", status)
