"""What people are shown before they decide, from a real API server: kubectl asks, the ApprovalRequest tells."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from hack.stack import objects, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import held
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "previewed"
SECRET = "hunter2-never-to-be-seen"
LABELS = {"app": "web"}


@pytest.fixture(scope="module")
def agent(stack: up.Stack, agents: Agents) -> Kubectl:
    agents.govern(
        GROUP,
        access=[
            {"roleRef": {"kind": "ClusterRole", "name": "coding-agents-namespaces"}, "clusterWide": True},
            {"roleRef": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": True},
        ],
        rules=[
            {
                "name": "ask-first",
                "match": {
                    "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                    "resources": ["*", "*/*"],
                },
                "action": "RequireApproval",
            }
        ],
        approval={"holdFor": "20s"},
        masking={"profile": "Off", "reason": "a test"},
    )
    return agents.kubectl(GROUP)


def deployment(namespace: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "registry.invalid/web:1.0",
        "env": [{"name": "DB_URL", "value": SECRET}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


@pytest.fixture(scope="module")
def place(admin: Kubectl) -> str:
    """A namespace with a deployment of two pods, its budget, a claim and a secret."""
    name = f"shown-{uuid.uuid4().hex[:8]}"
    known = admin.must("asking for the API versions", "api-versions").split()
    budget = "policy/v1" if "policy/v1" in known else "policy/v1beta1"
    admin.apply(
        "making what is to be previewed",
        [
            objects.namespace(name),
            deployment(name),
            {
                "apiVersion": budget,
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "web", "namespace": name},
                "spec": {"minAvailable": 2, "selector": {"matchLabels": LABELS}},
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "keys", "namespace": name},
                "stringData": {"password": SECRET},
            },
        ],
    )
    until("two pods", lambda: len((admin.get("pods", "-n", name) or {"items": []})["items"]) == 2)
    until("the budget to be counted", lambda: "expectedPods" in _status(admin, name))
    return name


def _status(admin: Kubectl, namespace: str) -> dict[str, Any]:
    return dict((admin.get("pdb", "web", "-n", namespace) or {}).get("status", {}))


def preview_of(agent: Kubectl, admin: Kubectl, target: str, *command: str) -> dict[str, Any]:
    """What the people are shown for this command; it is given up afterwards."""
    before = {item["metadata"]["name"] for item in (admin.get("apreq") or {"items": []})["items"]}
    with held(agent, *command):

        def found() -> dict[str, Any] | None:
            items = (admin.get("apreq") or {"items": []})["items"]
            new = [item for item in items if item["metadata"]["name"] not in before]
            mine = [
                item
                for item in new
                if target in (item["spec"]["request"].get(key) for key in ("namespace", "name"))
            ]
            return mine[0] if mine else None

        approval = until(f"an approval for {command}", found) or {}
    shown = approval["spec"]["preview"]
    text = json.dumps(approval)
    assert SECRET not in text
    assert base64.b64encode(SECRET.encode()).decode() not in text
    assert shown["truncated"] is False, shown
    return dict(shown)


def lines(shown: dict[str, Any], sign: str) -> list[str]:
    return [
        line[1:].strip() for line in shown["diff"].splitlines() if line[:1] == sign and line[:3] != sign * 3
    ]


def test_scale_to_zero(agent: Kubectl, admin: Kubectl, place: str) -> None:
    shown = preview_of(agent, admin, place, "scale", "deployment/web", "--replicas=0", "-n", place)
    assert lines(shown, "-") == ["replicas: 2"]
    assert lines(shown, "+") == ["replicas: 0"]
    assert any(line.startswith("pods: 2 would go: web-") for line in shown["affected"])
    assert [line for line in shown["affected"] if line.startswith(f"poddisruptionbudgets {place}/web")]
    assert shown["warnings"] == []


def test_a_new_image(agent: Kubectl, admin: Kubectl, place: str) -> None:
    image = "registry.invalid/web:2.0"
    shown = preview_of(agent, admin, place, "set", "image", "deployment/web", f"web={image}", "-n", place)
    assert lines(shown, "-") == ["image: registry.invalid/web:1.0"]
    assert lines(shown, "+") == [f"image: {image}"]
    assert shown["affected"] == ["pods: 2 would be replaced, for their template changes"]


def test_a_changed_variable_is_changed_and_hidden(agent: Kubectl, admin: Kubectl, place: str) -> None:
    shown = preview_of(agent, admin, place, "set", "env", "deployment/web", f"DB_URL={SECRET}-2", "-n", place)
    assert lines(shown, "-") == ["value: (hidden)"]
    assert lines(shown, "+") == ["value: (hidden, changed)"]


def test_an_apply(agent: Kubectl, admin: Kubectl, place: str, tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    path.write_text(json.dumps(deployment(place) | {"spec": {**deployment(place)["spec"], "replicas": 1}}))
    command = ("apply", "--server-side", "--force-conflicts", "-f", str(path))
    shown = preview_of(agent, admin, place, *command)
    assert (lines(shown, "-"), lines(shown, "+")) == (["replicas: 2"], ["replicas: 1"])
    assert shown["affected"][0].startswith("pods: 2 are there, 1 of them would go: web-")


def test_evicting_a_pod(agent: Kubectl, admin: Kubectl, place: str, tmp_path: Path) -> None:
    pod = admin.get("pods", "-n", place)["items"][0]["metadata"]["name"]
    path = tmp_path / "eviction.json"
    eviction = {
        "apiVersion": "policy/v1beta1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": place},
    }
    path.write_text(json.dumps(eviction))
    target = f"/api/v1/namespaces/{place}/pods/{pod}/eviction"
    shown = preview_of(agent, admin, place, "create", "--raw", target, "-f", str(path))
    assert shown["affected"][0].startswith(f"pods {place}/{pod}: belongs to ReplicaSet web-")
    assert "poddisruptionbudgets" in shown["affected"][1]
    assert admin.get("pod", pod, "-n", place) is not None


def test_deleting_a_deployment(agent: Kubectl, admin: Kubectl, place: str) -> None:
    shown = preview_of(agent, admin, place, "delete", "deployment", "web", "-n", place, "--wait=false")
    assert "kind: Deployment" in lines(shown, "-")
    assert lines(shown, "+") == []
    text = "\n".join(shown["affected"])
    assert "replicasets.apps: 1 would go with it: web-" in text
    assert "pods: 2 would go with it: web-" in text
    assert f"poddisruptionbudgets {place}/web: would be broken" in text


def test_deleting_a_namespace(agent: Kubectl, admin: Kubectl, place: str) -> None:
    """The preview looks at every kind of custom resource: those of other tests would use up its requests."""
    others = [item["metadata"]["name"] for item in (admin.get("crd") or {}).get("items", [])]
    if strange := [name for name in others if not name.endswith(".chaperone.dev")]:
        admin.must("removing kinds of other tests", "delete", "crd", *strange, "--wait=true")
    shown = preview_of(agent, admin, place, "delete", "namespace", place, "--wait=false")
    text = "\n".join(shown["affected"])
    assert "pods: 2 would go: web-" in text
    assert "deployments.apps: 1 would go: web" in text
    assert f"persistentvolumeclaims {place}/data: goes; it is bound to no volume" in text
    assert "secrets: 2 would go" in text or "secrets: 1 would go" in text
    assert "keys" not in text
    going = admin.get("namespace", place)
    assert going["status"]["phase"] == "Active"  # a dry run is dry


def test_deleting_a_collection(agent: Kubectl, admin: Kubectl, place: str) -> None:
    path = f"/api/v1/namespaces/{place}/pods?labelSelector=app%3Dweb"
    shown = preview_of(agent, admin, place, "delete", "--raw", path)
    assert shown["affected"][0] == "pods: 2 would be deleted"
    assert all(line.startswith(f"pods {place}/web-") for line in shown["affected"][1:3])


def test_creating_a_secret(agent: Kubectl, admin: Kubectl, place: str) -> None:
    shown = preview_of(
        agent, admin, place, "create", "secret", "generic", "more", f"--from-literal=a={SECRET}", "-n", place
    )
    assert "a: (hidden)" in lines(shown, "+")
    assert admin.get("secret", "more", "-n", place) is None


def test_what_the_api_server_would_refuse(agent: Kubectl, admin: Kubectl, place: str, tmp_path: Path) -> None:
    other = deployment(place)
    other["spec"]["selector"]["matchLabels"] = other["spec"]["template"]["metadata"]["labels"] = {
        "app": "other"
    }
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other))
    shown = preview_of(agent, admin, place, "replace", "-f", str(path))
    refusal = next(line for line in shown["warnings"] if "would refuse it (422 Invalid)" in line)
    assert refusal.endswith("field is immutable")
