"""What real clients do while they are held, when people decide, and when nobody does: kubectl, helm, the Python client.

docs/holding.md tells people the same.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from hack.cluster.cache import cache_folder
from hack.cluster.tools import helm
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import approval_of, approvals_of, decide, held, new_namespace, phase_of, waiting
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "patient"
HASTY = "hasty"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\n",
    "values.yaml": "word: one\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: tiny}
data: {word: {{ .Values.word | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tiny}
spec:
  replicas: 0
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}}
    spec: {containers: [{name: c, image: tiny}]}
""",
}


def govern(agents: Agents, group: str, **approval: str) -> None:
    agents.govern(
        group,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[
            {
                "name": "ask-first",
                "match": {
                    "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                    "resources": ["configmaps"],
                    "expression": "request.namespace.startsWith('asking-')",
                },
                "action": "RequireApproval",
            },
            {
                "name": "ask-before-removal",
                "match": {"verbs": ["delete"], "resources": ["deployments"]},
                "action": "RequireApproval",
            },
            {
                "name": "ask-before-exec",
                "match": {"resources": ["pods/exec"]},
                "action": "RequireApproval",
            },
            {"name": "all-else", "match": {"verbs": ["*"]}, "action": "Allow"},
        ],
        approval={"useWithin": "5m", **approval},
        masking={"profile": "Off", "reason": "a test"},
        recording={"streams": "Off"},
    )


@pytest.fixture(scope="module")
def patient(agents: Agents) -> Kubectl:
    govern(agents, GROUP, holdFor="60s")
    return agents.kubectl(GROUP)


@pytest.fixture(scope="module")
def hasty(agents: Agents) -> Kubectl:
    """Held for two seconds only."""
    govern(agents, HASTY, holdFor="2s")
    return agents.kubectl(HASTY)


@pytest.fixture
def asking(admin: Kubectl) -> str:
    """A namespace in which a change of a ConfigMap is held; it has the ConfigMaps a and b."""
    name = new_namespace(admin, "asking")
    for each in ("a", "b"):
        admin.must("making a config map", "create", "configmap", each, "-n", name, "--from-literal=x=1")
    return name


class Approving:
    """A person who approves whatever is asked in one namespace."""

    def __init__(self, admin: Kubectl, approver: Kubectl, target: str) -> None:
        self._admin, self._approver, self._target = admin, approver, target
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.approved: list[dict[str, Any]] = []

    def __enter__(self) -> Approving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        known = set()
        while not self._stop.wait(0.2):
            for item in approvals_of(self._admin, self._target):
                name = item["metadata"]["name"]
                if phase_of(item) != "Pending" or name in known:
                    continue
                if decide(self._approver, name, "Approved").returncode == 0:
                    known.add(name)
                    self.approved.append(item)


def names(admin: Kubectl, namespace: str) -> list[str]:
    found = [item["metadata"]["name"] for item in admin.get("configmaps", "-n", namespace)["items"]]
    return [name for name in found if name != "kube-root-ca.crt"]


# kubectl


MERGE, STRATEGIC, STEPS = '{"data":{"x":"5"}}', '{"data":{"x":"6"}}', '[{"op":"remove","path":"/data/x"}]'
FILES = {"apply": "2", "server-side apply": "3", "replace": "4"}
"""The value of x in the file that each sends."""
WAYS: dict[str, tuple[str, ...]] = {
    "create": ("create", "configmap", "c"),
    "apply": ("apply", "-f", "-"),
    "server-side apply": ("apply", "--server-side", "--force-conflicts", "-f", "-"),
    "replace": ("replace", "-f", "-"),
    "merge": ("patch", "configmap", "a", "--type=merge", "-p", MERGE),
    "strategic": ("patch", "configmap", "a", "--type=strategic", "-p", STRATEGIC),
    "json": ("patch", "configmap", "a", "--type=json", "-p", STEPS),
    "label": ("label", "configmap", "a", "asked=yes"),
    "delete": ("delete", "configmap", "b"),
}


@pytest.mark.parametrize("way", WAYS)
def test_kubectl_waits_and_then_the_user_sees_nothing_but_success(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str, way: str
) -> None:
    metadata = {"name": "a", "namespace": asking}
    file = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": FILES.get(way)}}
    stdin = json.dumps(file) if way in FILES else ""
    with Approving(admin, approver, asking) as person:
        done = patient.run(*WAYS[way], "-n", asking, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert len(person.approved) == 1
    assert approval_of(admin, asking, phase="Executed")
    assert len(approvals_of(admin, asking)) == 1


def test_when_time_runs_out_kubectl_prints_all_that_is_needed(
    hasty: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    command = ("delete", "configmap", "a", "-n", asking)
    refused = hasty.run(*command)
    name = approval_of(admin, asking)["metadata"]["name"]
    assert refused.returncode == 1
    for words in (name, "kubectl patch apreq", "exactly the same command", "0 of 1", f"policy {HASTY}"):
        assert words.lower() in refused.stderr.lower()
    assert f"Warning: held for approval: ApprovalRequest {name}" in refused.stderr
    assert names(admin, asking) == ["a", "b"]
    decide(approver, name, "Approved")
    again = hasty.run(*command)
    assert again.returncode == 0, again.stderr
    assert names(admin, asking) == ["b"]


def test_a_request_timeout_of_kubectl_is_answered_in_time(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    command = ("delete", "configmap", "a", "-n", asking)
    refused = patient.run(*command, "--request-timeout=10s")
    name = approval_of(admin, asking)["metadata"]["name"]
    assert refused.returncode == 1
    assert f"waits for ApprovalRequest {name}" in refused.stderr
    decide(approver, name, "Approved")
    assert patient.run(*command).returncode == 0


def test_delete_all_is_one_approval_for_each_object_one_after_the_other(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    admin.run("delete", "configmap", "kube-root-ca.crt", "-n", asking)
    with held(patient, "delete", "configmaps", "-l", "!never", "-n", asking, "--wait=false") as process:
        first = approval_of(admin, asking)
        assert len(approvals_of(admin, asking)) == 1, "the next one is not sent before this is answered"
        decide(approver, first["metadata"]["name"], "Denied")
        with Approving(admin, approver, asking) as person:
            output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert 'was denied by "' in output or "was denied" in output
    left = first["spec"]["request"]["name"]
    assert left in names(admin, asking)
    assert len(person.approved) >= 1
    assert {"a", "b"} - set(names(admin, asking)) == {"a", "b"} - {left}


def test_deletecollection_is_one_approval_with_its_list(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    path = f"/api/v1/namespaces/{asking}/configmaps?fieldSelector=metadata.name%21%3Dkube-root-ca.crt"
    with held(patient, "delete", "--raw", path) as process:
        found = approval_of(admin, asking)
        assert found["spec"]["request"]["verb"] == "deletecollection"
        assert found["spec"]["target"]["stateSHA256"]
        affected = "\n".join(found["spec"]["preview"].get("affected", []))
        assert "a" in affected
        assert "b" in affected
        decide(approver, found["metadata"]["name"], "Approved")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert names(admin, asking) == []
    assert len(approvals_of(admin, asking)) == 1


def test_deletecollection_does_not_take_what_came_after_the_approval(
    hasty: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    path = f"/api/v1/namespaces/{asking}/configmaps"
    hasty.run("delete", "--raw", path)
    decide(approver, approval_of(admin, asking)["metadata"]["name"], "Approved")
    admin.must("making one more", "create", "configmap", "late", "-n", asking)
    refused = hasty.run("delete", "--raw", path)
    assert refused.returncode == 1
    assert names(admin, asking) == ["a", "b", "late"]
    assert len(approvals_of(admin, asking)) == 2


# exec


@pytest.mark.pods
@pytest.mark.parametrize("websockets", ["true", "false"], ids=["websocket-first", "spdy"])
def test_an_exec_is_one_approval_whichever_way_it_connects(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, pod_namespace: str, websockets: str
) -> None:
    word = uuid.uuid4().hex
    command = patient.command("exec", "-n", pod_namespace, "shell", "--", "echo", word)
    environment = {**patient.environment(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    with waiting(command, environment) as process:
        name = exec_approval(admin, word)["metadata"]["name"]
        status = {"status": {"conditions": [{"type": "example.com/Touched", "status": "True"}]}}
        touched = admin.run(
            *("patch", "pod", "shell", "-n", pod_namespace, "--subresource=status", "--type=merge"),
            *("-p", json.dumps(status)),
        )
        assert touched.returncode == 0, touched.stderr
        decide(approver, name, "Approved")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert word in output
    assert exec_approval(admin, word, "Executed")["status"]["execution"]["code"] == 101
    assert len(exec_approvals(admin, word)) == 1


@pytest.mark.pods
def test_an_exec_that_nobody_approves_in_time_says_how_to_go_on(
    hasty: Kubectl, admin: Kubectl, approver: Kubectl, pod_namespace: str
) -> None:
    word = uuid.uuid4().hex
    command = ("exec", "-n", pod_namespace, "shell", "--", "echo", word)
    refused = hasty.run(*command)
    name = exec_approval(admin, word)["metadata"]["name"]
    assert refused.returncode == 1
    assert f"waits for ApprovalRequest {name}" in refused.stderr
    decide(approver, name, "Approved")
    again = hasty.run(*command)
    assert (again.returncode, again.stdout.strip()) == (0, word), again.stderr


def exec_approvals(admin: Kubectl, word: str) -> list[dict[str, Any]]:
    return [
        item for item in approvals_of(admin, "shell") if word in item["spec"]["request"].get("command", ())
    ]


def exec_approval(admin: Kubectl, word: str, phase: str = "Pending") -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        return next((item for item in exec_approvals(admin, word) if phase_of(item) == phase), None)

    return until(f"an exec in phase {phase}", find) or {}


# the Python client


def python_client(kubectl: Kubectl) -> client.CoreV1Api:
    return client.CoreV1Api(config.new_client_from_config(str(kubectl.kubeconfig)))  # type: ignore[no-untyped-call]


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "POST": lambda api, namespace: api.create_namespaced_config_map(namespace, {"metadata": {"name": "new"}}),
    "PATCH": lambda api, namespace: api.patch_namespaced_config_map("a", namespace, {"data": {"x": "2"}}),
    "PUT": lambda api, namespace: api.replace_namespaced_config_map(
        "a", namespace, {"metadata": {"name": "a"}, "data": {"x": "3"}}
    ),
    "DELETE": lambda api, namespace: api.delete_namespaced_config_map("a", namespace),
}


@pytest.mark.parametrize("method", CALLS)
def test_the_python_client_waits(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str, method: str
) -> None:
    with Approving(admin, approver, asking) as person:
        CALLS[method](python_client(patient), asking)
    assert len(person.approved) == 1
    assert approval_of(admin, asking, phase="Executed")


@pytest.mark.parametrize("method", CALLS)
def test_the_python_client_gets_a_status_when_time_runs_out(
    hasty: Kubectl, admin: Kubectl, asking: str, method: str
) -> None:
    with pytest.raises(client.ApiException) as caught:
        CALLS[method](python_client(hasty), asking)
    assert caught.value.status == 403
    told = json.loads(str(caught.value.body))
    name = approval_of(admin, asking)["metadata"]["name"]
    assert told["details"]["causes"] == [
        {"reason": "ApprovalPending", "message": "0 of 1 approvals", "field": name}
    ]


def test_a_client_that_asks_to_be_told_at_once_is(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    api = python_client(patient)
    api.api_client.set_default_header("Chaperone-Hold", "never")
    api.api_client.set_default_header("Chaperone-Reason", "clean up")
    began = time.monotonic()
    with pytest.raises(client.ApiException) as caught:
        api.delete_namespaced_config_map("a", asking)
    assert time.monotonic() - began < 30, "half of the time for which it would be held"
    found = approval_of(admin, asking)
    assert caught.value.status == 403
    assert found["metadata"]["name"] in json.loads(str(caught.value.body))["message"]
    assert found["spec"]["reason"] == "clean up"
    decide(approver, found["metadata"]["name"], "Approved")
    api.delete_namespaced_config_map("a", asking)
    assert names(admin, asking) == ["b"]


# helm


class Helm:
    """helm bound to one kubeconfig."""

    def __init__(self, program: Path, kubectl: Kubectl, chart: Path) -> None:
        self.program, self.kubectl, self.chart = program, kubectl, chart

    def command(self, *arguments: str) -> list[str]:
        return [str(self.program), *arguments]

    def environment(self) -> dict[str, str]:
        folder = str(self.chart.parent)
        return {**self.kubectl.environment(), "HELM_CACHE_HOME": folder, "HELM_CONFIG_HOME": folder}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )


@pytest.fixture
def helmsman(patient: Kubectl, tmp_path: Path) -> Helm:
    chart = tmp_path / "tiny"
    for name, text in CHART.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Helm(helm(cache_folder({"HOME": str(Path.home())})), patient, chart)


def test_helm_installs_upgrades_and_waits_to_uninstall(
    helmsman: Helm, admin: Kubectl, approver: Kubectl
) -> None:
    namespace = new_namespace(admin, "helm")
    chart = str(helmsman.chart)
    installed = helmsman.run("install", "tiny", chart, "-n", namespace)
    assert installed.returncode == 0, installed.stderr
    upgraded = helmsman.run("upgrade", "tiny", chart, "-n", namespace, "--set", "word=two")
    assert upgraded.returncode == 0, upgraded.stderr
    assert admin.get("configmap", "tiny", "-n", namespace)["data"] == {"word": "two"}
    command = helmsman.command("uninstall", "tiny", "-n", namespace)
    with waiting(command, helmsman.environment()) as process:
        name = approval_of(admin, namespace)["metadata"]["name"]
        assert admin.get("deployment", "tiny", "-n", namespace)
        decide(approver, name, "Approved")
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert admin.get("deployment", "tiny", "-n", namespace) is None


def test_helm_asks_for_the_deployment_again_when_nobody_approved_in_time(
    helmsman: Helm, hasty: Kubectl, admin: Kubectl, approver: Kubectl
) -> None:
    namespace = new_namespace(admin, "helm")
    hurried = Helm(helmsman.program, hasty, helmsman.chart)
    assert hurried.run("install", "tiny", str(helmsman.chart), "-n", namespace).returncode == 0
    refused = hurried.run("uninstall", "tiny", "-n", namespace)
    name = approval_of(admin, namespace)["metadata"]["name"]
    assert refused.returncode == 1
    assert name in refused.stderr
    assert admin.get("deployment", "tiny", "-n", namespace)
    decide(approver, name, "Approved")
    again = hurried.run("uninstall", "tiny", "-n", namespace)
    assert again.returncode == 0, again.stderr
    assert admin.get("deployment", "tiny", "-n", namespace) is None


def test_two_clients_of_one_run_wait_and_exactly_one_executes(
    patient: Kubectl, admin: Kubectl, approver: Kubectl, asking: str
) -> None:
    patch = ("patch", "configmap", "a", "-n", asking, "--type=merge", "-p", '{"data":{"x":"9"}}')
    with ThreadPoolExecutor(2) as pool, Approving(admin, approver, asking) as person:
        both = [pool.submit(patient.run, *patch) for _ in range(2)]
        done = [future.result() for future in both]
    assert sorted(each.returncode for each in done) == [0, 1]
    (refused,) = [each for each in done if each.returncode]
    name = person.approved[0]["metadata"]["name"]
    assert len(person.approved) == 1
    assert name in refused.stderr
    assert "being executed" in refused.stderr or "has been used" in refused.stderr
