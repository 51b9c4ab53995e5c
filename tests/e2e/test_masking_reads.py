"""Reads of a real cluster through the gateway: every representation masked, live where it has to be, counted, and of use."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from hack.cluster import pods
from hack.stack import audit, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.waiting import until
from tests.e2e.wire import MERGE, Reply, Wire, wire

pytestmark = [pytest.mark.cluster, pytest.mark.pods]

GROUP = "mask-readers"
SPACE = "mask-reads"
PASSWORD = "Re4d-password-4d1f9a"
ENV = "Re4d-env-77ac01b2"
LINE = "Re4d-line-c4b1e0d9f2"
SLOW = "Re4d-slow-0f9e8d7c6b"
PLANTED = (PASSWORD, ENV, LINE, SLOW)
MARK = "masked-"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
MANY = 150


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass(frozen=True)
class Agent:
    kubectl: Kubectl
    wire: Wire

    def sees(self, *arguments: str) -> str:
        """What kubectl prints, which must hold nothing that was planted."""
        done = self.kubectl.run(*arguments)
        assert done.returncode == 0, done.stderr
        clean(done.stdout + done.stderr)
        return done.stdout

    def get(self, path: str, **headers: str) -> Reply:
        reply = self.wire.send("GET", path, **headers)
        clean(reply.body.decode("utf-8", "replace") + str(dict(reply.headers)))
        return reply


def clean(text: str) -> None:
    found = [value for value in PLANTED if value in text or b64(value)[:-4] in text]
    assert not found, f"{found} in {text[:2000]}"


@pytest.fixture(scope="module")
def agent(stack: up.Stack, agents: Agents, admin: Kubectl) -> Iterator[Agent]:
    if not stack.cluster.has_node:
        pytest.skip(f"this cluster has no node of ours to run test pods on: {stack.cluster.why_no_node}")
    admin.apply("planting secrets", list(_objects()))
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        masking={"profile": "Standard"},
        recording={"streams": "Off"},
    )
    kubectl = agents.kubectl(GROUP)
    until("the talker to talk", lambda: LINE in admin.run("logs", "-n", SPACE, "talker").stdout, seconds=120)
    yield Agent(kubectl, wire(stack.layout, kubectl, stack.gateway_url))
    admin.run("delete", "namespace", SPACE, "--wait=false")


def _objects() -> Iterator[dict[str, Any]]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    secret = {"data": {"password": b64(PASSWORD)}, "type": "Opaque"}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": SPACE}, **secret}
    for number in range(MANY):
        data = {"app.env": f"DB_PASSWORD={PASSWORD}\n", "padding": "ordinary words " * 60}
        meta = {"name": f"config-{number}", "namespace": SPACE, "labels": {"many": "yes"}}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
    talk = (
        f"echo first; echo password={LINE}; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.5; "
        f"printf 'password=Re4d-sl'; sleep 0.4; echo ow-0f9e8d7c6b; done"
    )
    talker = pods.pod("talker", SPACE, ["sh", "-c", talk])
    talker["spec"]["containers"][0]["env"] = [{"name": "API_TOKEN", "value": ENV}]
    yield talker


# Objects


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "secret", "db", "-o", "yaml"),
        ("get", "secret/db", "-o", "json"),
        ("get", "secrets", "-o", "jsonpath={.items[*].data}"),
        ("get", "secret", "db", "-o", "jsonpath={.data.password}"),
        ("get", "secret,configmap", "-o", "yaml"),
        ("get", "pod", "talker", "-o", "yaml"),
        ("describe", "pod", "talker"),
        ("get", "configmaps", "-o", "yaml", "--chunk-size=7"),
        ("get", "pods", "-o", "custom-columns=E:.spec.containers[*].env[*].value"),
    ],
)
def test_objects_are_masked_however_they_are_asked_for(agent: Agent, arguments: tuple[str, ...]) -> None:
    shown = agent.sees(*arguments, "-n", SPACE)
    assert MARK in shown or b64(MARK)[:8] in shown


def test_a_masked_secret_is_still_base64_and_the_rest_is_there(agent: Agent) -> None:
    secret = json.loads(agent.sees("get", "secret", "db", "-n", SPACE, "-o", "json"))
    assert base64.b64decode(secret["data"]["password"]).startswith(MARK.encode())
    assert (secret["type"], secret["metadata"]["name"]) == ("Opaque", "db")


def test_tables_and_their_widest_form(agent: Agent) -> None:
    assert "talker" in agent.sees("get", "pods", "-n", SPACE, "-o", "wide")
    for include in ("None", "Metadata", "Object"):
        path = f"/api/v1/namespaces/{SPACE}/configmaps?includeObject={include}"
        table = agent.get(path, Accept=TABLE).document
        assert (table["kind"], len(table["rows"]) >= MANY) == ("Table", True)


def test_partial_metadata(agent: Agent) -> None:
    found = agent.get(f"/api/v1/namespaces/{SPACE}/secrets", Accept=PARTIAL).document
    assert found["kind"] == "PartialObjectMetadataList"


# Lists and representations


@pytest.mark.parametrize("query", ["", "?pretty=true", "?limit=50"])
def test_a_long_list_is_whole_and_masked(agent: Agent, query: str) -> None:
    reply = agent.get(f"/api/v1/namespaces/{SPACE}/configmaps{query}")
    items = reply.document["items"]
    assert len(items) == 50 if query == "?limit=50" else len(items) >= MANY
    masked = [item for item in items if item["metadata"]["name"].startswith("config-")]
    assert all(item["data"]["app.env"].startswith(f"DB_PASSWORD={MARK}") for item in masked)
    assert reply.headers["Chaperone-Masked"] in ("streaming", f"{len(masked)}; rules=environment-line")


@pytest.mark.parametrize("path", ["pods", "pods/talker"])
@pytest.mark.parametrize("query", ["", "?pretty=true"])
def test_kinds_of_fixed_shape_are_masked_indented_or_not(agent: Agent, path: str, query: str) -> None:
    shown = agent.get(f"/api/v1/namespaces/{SPACE}/{path}{query}").body.decode()
    assert MARK in shown


def test_a_continued_list(agent: Agent) -> None:
    path, seen = f"/api/v1/namespaces/{SPACE}/configmaps?labelSelector=many%3Dyes&limit=40", 0
    token = ""
    while True:
        document = agent.get(path + (f"&continue={token}" if token else "")).document
        seen += len(document["items"])
        token = document["metadata"].get("continue", "")
        if not token:
            break
    assert seen == MANY


@pytest.mark.parametrize(
    "asked", ["application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", "*/*"]
)
@pytest.mark.parametrize("path", ["secrets/db", "secrets"])
def test_other_representations_are_answered_in_json(agent: Agent, asked: str, path: str) -> None:
    reply = agent.get(f"/api/v1/namespaces/{SPACE}/{path}", Accept=asked)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.document["kind"] in ("Secret", "SecretList")


def test_gzip(agent: Agent) -> None:
    reply = agent.get(f"/api/v1/namespaces/{SPACE}/configmaps", Accept_Encoding="gzip")
    assert reply.headers["Content-Encoding"] == "gzip"
    body = gzip.decompress(reply.body)
    clean(body.decode())
    assert len(json.loads(body)["items"]) >= MANY


def test_discovery_and_openapi_are_as_they_were(agent: Agent, admin: Kubectl) -> None:
    assert agent.sees("api-resources") == admin.run("api-resources").stdout
    assert (
        agent.sees("explain", "pod.spec.containers.env")
        == admin.run("explain", "pod.spec.containers.env").stdout
    )
    assert "Chaperone-Masked" not in agent.get("/openapi/v2").headers


def test_the_same_value_in_two_objects_has_two_placeholders(agent: Agent) -> None:
    items = agent.get(f"/api/v1/namespaces/{SPACE}/configmaps").document["items"]
    shown = {item["data"]["app.env"] for item in items if item["metadata"]["name"].startswith("config-")}
    assert len(shown) == MANY
    again = agent.get(f"/api/v1/namespaces/{SPACE}/configmaps").document["items"]
    assert shown == {
        item["data"]["app.env"] for item in again if item["metadata"]["name"].startswith("config-")
    }


# Watches


def test_a_watch_shows_changes_at_once_and_masked(agent: Agent, admin: Kubectl) -> None:
    command = agent.kubectl.command(
        "get", "secret", "db", "-n", SPACE, "-w", "-o", "yaml", "--output-watch-events"
    )
    with subprocess.Popen(
        command, env=agent.kubectl.environment(), stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        _read_until(watching, "ADDED")
        admin.must("labelling", "label", "secret", "db", "-n", SPACE, "seen=yes", "--overwrite")
        seen = _read_until(watching, "MODIFIED")
        watching.terminate()
    clean(seen)


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    seen = ""
    while word not in seen:
        line = process.stdout.readline()
        assert line, f"it ended without {word}: {seen}"
        seen += line
    return seen


# Logs


def test_logs_are_masked(agent: Agent) -> None:
    shown = agent.sees("logs", "talker", "-n", SPACE)
    assert shown.startswith(f"first\npassword={MARK}")
    assert "tick 1" in shown
    assert "tick" in agent.sees("logs", "talker", "-n", SPACE, "--tail=20")
    assert "tick" in agent.sees("logs", "talker", "-n", SPACE, "--since=10s", "--timestamps")


def test_a_secret_that_a_limit_cuts_is_not_shown(agent: Agent) -> None:
    path = f"/api/v1/namespaces/{SPACE}/pods/talker/log?limitBytes="
    for limit in range(len("first\n"), len(f"first\npassword={LINE}\n") + 3):
        shown = agent.get(f"{path}{limit}").body.decode()
        assert LINE[:4] not in shown, (limit, shown)


def test_followed_logs_are_live_and_masked(agent: Agent) -> None:
    command = agent.kubectl.command("logs", "-f", "talker", "-n", SPACE, "--tail=1")
    with subprocess.Popen(
        command, env=agent.kubectl.environment(), stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        ticks: list[float] = []
        while len(ticks) < 4:
            line = following.stdout.readline()
            assert line
            clean(line)
            if line.startswith("tick"):
                ticks.append(time.monotonic())
        following.terminate()
    assert ticks[3] - ticks[1] > 0.5, "they all came at once"


# What is no object of the API


def test_what_a_kubelet_answers_is_denied_to_all(agent: Agent, admin: Kubectl) -> None:
    node = admin.must("the node", "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    assert agent.get(f"/api/v1/nodes/{node}/proxy/pods").code == 403


def test_paths_of_no_resource_are_masked_as_text(agent: Agent) -> None:
    metrics = agent.get("/metrics")
    assert (metrics.code, b"# TYPE" in metrics.body) == (200, True)
    assert metrics.headers["Chaperone-Masked"]
    assert agent.get("/debug/pprof/heap").code == 406


def _container(agent: Agent) -> str:
    pod = json.loads(agent.sees("get", "pod", "talker", "-n", SPACE, "-o", "json"))
    name: str = pod["spec"]["containers"][0]["name"]
    return name


# Errors


def test_errors_that_quote_the_object_are_masked(agent: Agent) -> None:
    env = [{"name": "API_TOKEN", "value": "another"}]
    change = {"spec": {"containers": [{"name": _container(agent), "env": env}]}}
    strategic = "application/strategic-merge-patch+json"
    path = f"/api/v1/namespaces/{SPACE}/pods/talker"
    reply = agent.wire.send("PATCH", path, json.dumps(change), strategic)
    assert reply.code == 422
    clean(reply.body.decode())
    assert MARK in reply.document["message"]
    bad = agent.wire.send(
        "PATCH", f"/api/v1/namespaces/{SPACE}/secrets/db", '{"data":{"password":"!"}}', MERGE
    )
    assert bad.code >= 400
    clean(bad.body.decode())


# Counting


def test_what_was_masked_is_counted_in_header_record_and_metrics(agent: Agent, stack: up.Stack) -> None:
    reply = agent.get(f"/api/v1/namespaces/{SPACE}/secrets/db")
    number, _, rules = reply.headers["Chaperone-Masked"].partition("; rules=")
    assert (number, bool(rules)) == ("1", True)
    audit_id = reply.headers["Audit-Id"]
    record = until("the record of the read", lambda: _record(stack, audit_id))
    assert record["masked"] == {rules: 1}
    assert f'chaperone_gateway_masked_values_total{{rule="{rules}"}}' in _metrics(stack)


def test_a_long_answer_has_its_counts_in_its_last_record(agent: Agent, stack: up.Stack) -> None:
    reply = agent.get(f"/api/v1/namespaces/{SPACE}/configmaps")
    record = until("the last record", lambda: _record(stack, reply.headers["Audit-Id"]))
    assert sum(record["masked"].values()) >= MANY


def test_nothing_of_ours_holds_what_was_planted(agent: Agent, stack: up.Stack) -> None:
    clean(_metrics(stack))
    for path in stack.layout.log("gateway").parent.glob("*"):
        clean(path.read_text(errors="replace"))


def _metrics(stack: up.Stack) -> str:
    with urllib.request.urlopen(stack.metrics_url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def _record(stack: up.Stack, audit_id: str) -> Mapping[str, Any]:
    """The last one of the request; nothing while it is not there."""
    found = [record for record in audit.records(stack.layout) if record["auditID"] == audit_id]
    return next((record for record in found if record["stage"] == "ResponseComplete"), {})
