"""What a run did to a real cluster is told from its records, and taken back through the gateway."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from hack.stack import objects, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import waiting
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
TAG = uuid.uuid4().hex[:6]
"""A stack may be used again: names and runs are new every time."""
SHOP, LOST, MADE, SHARED = (f"{name}-{TAG}" for name in ("shop", "lost", "made", "shared"))
ADMIN = [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}]
ALL = {"name": "all", "match": {"verbs": ["*"]}, "action": "Allow"}
PASSWORD, USER = "c0rrect-h0rse-battery", "bob-the-user"


@pytest.fixture(scope="module")
def crew(stack: up.Stack, agents: Agents) -> Iterator[Agents]:
    """undo-agents do, undo-menders undo; undo-careful may delete nothing and make nothing without a person."""
    agents.govern("undo-agents", access=ADMIN, rules=[ALL])
    agents.govern("undo-menders", access=ADMIN, rules=[ALL])
    no = {
        "name": "no-deletes",
        "match": {"verbs": ["delete"]},
        "action": "Deny",
        "message": "nothing is deleted here",
    }
    ask = {
        "name": "ask",
        "match": {"verbs": ["create"], "resources": ["configmaps"]},
        "action": "RequireApproval",
    }
    agents.govern("undo-careful", access=ADMIN, rules=[no, ask, ALL], approval={"holdFor": "60s"})
    stack.admin.apply("making a namespace", [objects.namespace(SHOP)])
    yield agents
    for name in (SHOP, LOST, MADE, SHARED):
        stack.admin.run("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def ask(stack: up.Stack) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`chaperone sessions …` as somebody, with the gateway's own audit store."""

    def run(kubectl: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
            env=environment(stack, kubectl),
        )

    return run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "chaperone.cli", "sessions", *arguments]


def environment(stack: up.Stack, kubectl: Kubectl) -> Mapping[str, str]:
    return {**kubectl.environment(), "CHAPERONE_AUDIT_STORE": str(stack.layout.audit_store)}


@pytest.fixture(scope="module")
def told(ask: Any, admin: Kubectl) -> Callable[[str, int], dict[str, dict[str, Any]]]:
    """The changes of a run by `resource/name`, as soon as so many objects are on the record."""

    def changes(run: str, count: int) -> dict[str, dict[str, Any]]:
        def look() -> Any:
            done = ask(admin, "diff", run, "-o", "json")
            data = json.loads(done.stdout) if done.returncode == 0 else {}
            whole = data and not data["requestsWithMissingRecords"] and len(data["changes"]) >= count
            return data["changes"] if whole else None

        found = until(f"{count} changed objects of {run} on the record", look, every=0.5)
        return {f"{each['object']['resource']}/{each['object']['name']}": each for each in found}

    return changes


def conf(
    name: str, namespace: str = SHOP, labels: Mapping[str, str] | None = None, **data: str
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": "shop:1", "env": [{"name": "DB_PASSWORD", "value": PASSWORD}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SHOP, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def make(kubectl: Kubectl, *made: Mapping[str, Any]) -> None:
    for each in made:
        kubectl.must(f"making {each['metadata'].get('name')}", "create", "-f", "-", stdin=json.dumps(each))


def state(admin: Kubectl, *kinds: str) -> dict[str, Any]:
    """What people would see, by kind and name, without what servers count."""
    listed = (admin.get(",".join(kinds), "-n", SHOP) or {})["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": plain(each) for each in listed}


def plain(obj: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "labels")
    metadata = {key: value for key, value in obj["metadata"].items() if key in kept and value}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def versions(admin: Kubectl) -> dict[str, str]:
    listed = (admin.get("configmaps,secrets,deployments", "-n", SHOP) or {})["items"]
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in listed
    }


def test_a_run_is_told_and_taken_back(
    stack: up.Stack, crew: Agents, admin: Kubectl, ask: Any, told: Any
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": SHOP},
        "stringData": {"password": PASSWORD, "user": USER},
    }
    col = {"tier": "old"}
    make(admin, secret, deployment("web"), deployment("api"))
    make(admin, conf("conf", a="1", b="1"), conf("theirs", a="1"), conf("gone", k="v"))
    make(admin, *(conf(f"old-{number}", labels=col, n=str(number)) for number in range(3)))
    admin.must("scaling", "scale", "deploy/web", "--replicas=2", "-n", SHOP)
    kinds = ("configmaps", "secrets", "deployments")
    before = state(admin, *kinds)

    run = f"run-undo-{TAG}"
    agent = crew.kubectl("undo-agents", run=run)

    def does(*arguments: str, stdin: str = "") -> None:
        agent.must("acting", *arguments, "-n", SHOP, stdin=stdin)

    pod = until("the pods of web", lambda: admin.get("pods", "-n", SHOP, "-l", "app=web")["items"])[0][
        "metadata"
    ]["name"]
    does("delete", "pod", pod, "--wait=false")
    does("scale", "deploy/web", "--replicas=0")
    does("set", "image", "deploy/web", "main=shop:2")
    does("label", "deploy", "api", "team=red", "app=other", "--overwrite")
    does("patch", "cm", "conf", "--type=merge", "-p", '{"data":{"a":"2","c":"new"}}')
    edited = {**environment(stack, agent), "KUBE_EDITOR": "sed -i 's/  b: .*/  b: \"edited\"/'"}
    subprocess.run(
        agent.command("edit", "cm", "conf", "-n", SHOP), check=True, env=edited, capture_output=True
    )
    does("patch", "cm", "theirs", "--type=merge", "-p", '{"data":{"a":"2","b":"2"}}')
    does("patch", "secret", "db", "--type=merge", "-p", '{"stringData":{"extra":"made-by-the-run"}}')
    does("apply", "-f", "-", stdin=json.dumps(conf("made", x="y")))
    does("create", "-f", "-", stdin=json.dumps({**conf("x"), "metadata": {"generateName": "named-"}}))
    does("delete", "cm", "gone")
    does("delete", "--raw", f"/api/v1/namespaces/{SHOP}/configmaps?labelSelector=tier%3Dold")
    does("patch", "cm", "conf", "--type=merge", "-p", '{"data":{"a":"9"}}', "--dry-run=server")
    did = state(admin, *kinds)
    admin.must(
        "interfering", "patch", "cm", "theirs", "-n", SHOP, "--type=merge", "-p", '{"data":{"b":"theirs"}}'
    )

    # told
    changes = told(run, 12)
    named = next(name for name in changes if name.startswith("configmaps/named-"))
    assert {name: each["change"] for name, each in changes.items()} == {
        f"pods/{pod}": "deleted",
        "deployments/web": "changed",
        "deployments/api": "changed",
        "configmaps/conf": "changed",
        "configmaps/theirs": "changed",
        "secrets/db": "changed",
        "configmaps/made": "created",
        named: "created",
        "configmaps/gone": "deleted",
        **{f"configmaps/old-{number}": "deleted" for number in range(3)},
    }
    text = ask(admin, "diff", run).stdout
    for line in (
        "spec.replicas: 2 -> 0",
        "spec.template.spec.containers[name=main].image: shop:1 -> shop:2",
        "metadata.labels.team: (none) -> red",
        "data.a: 1 -> 2",
        "data.b: 1 -> edited",
        "1 writes changed nothing: dry runs",
    ):
        assert line in text, line
    for secret_text in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), "made-by-the-run"):
        assert secret_text not in text
    one = ask(admin, "diff", run, "--object", f"apps/deployments/{SHOP}/web").stdout
    assert "deployments.apps" in one
    assert "configmaps" not in one

    # a dry run changes nothing, and says what would come back
    mender = crew.kubectl("undo-menders", run=f"run-mend-{TAG}")
    counted = versions(admin)
    dry = ask(mender, "undo", run, "--dry-run")
    assert versions(admin) == counted
    assert dry.returncode == 1, "one object would be skipped"
    assert "would be restored" in dry.stdout
    assert "-  a: '2'" in dry.stdout
    assert "+  a: '1'" in dry.stdout
    assert "this was a dry run: nothing was changed" in dry.stdout

    # for real
    undone = ask(mender, "undo", run, "--yes")
    after = state(admin, *kinds)
    assert undone.returncode == 1
    assert f"configmaps {SHOP}/theirs" in undone.stdout
    assert "changed since by somebody else: data.b" in undone.stdout
    assert "not everything was restored: 1 skipped" in undone.stderr
    assert "its controller makes it again: ReplicaSet web-" in undone.stdout
    assert after.pop("ConfigMap/theirs")["data"] == {"a": "2", "b": "theirs"}
    del before["ConfigMap/theirs"]
    assert after == before, undone.stdout
    assert did["Secret/db"]["data"].keys() == {"password", "user", "extra"}
    assert after["Secret/db"]["data"]["password"] == base64.b64encode(PASSWORD.encode()).decode()
    env = after["Deployment/web"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "DB_PASSWORD", "value": PASSWORD}]

    # once more: there is nothing left to do
    again = ask(
        mender,
        "undo",
        run,
        "--yes",
        "--object",
        f"configmaps/{SHOP}/gone",
        "--object",
        f"configmaps/{SHOP}/conf",
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing to do") == 4

    # and the undo is on the record itself
    changes = told(f"run-mend-{TAG}", 10)
    assert changes["configmaps/made"]["change"] == "deleted"
    assert changes["configmaps/gone"]["change"] == "created"
    assert changes["deployments/web"]["change"] == "changed"
    (fields,) = [changes["configmaps/conf"]["fields"]]
    assert {"path": "data.a", "before": "2", "after": "1"} in fields


def test_what_a_policy_denies_is_told_and_what_it_holds_is_waited_for(
    crew: Agents, admin: Kubectl, approver: Kubectl, ask: Any, told: Any
) -> None:
    run = f"run-held-{TAG}"
    agent = crew.kubectl("undo-agents", run=run)
    make(admin, conf("held-gone", k="v"))
    make(agent, conf("denied", x="y"))
    agent.must("deleting", "delete", "cm", "held-gone", "-n", SHOP)
    told(run, 2)
    careful = crew.kubectl("undo-careful", run=f"run-careful-{TAG}")
    dry = ask(careful, "undo", run, "--dry-run")
    assert (dry.returncode, admin.get("cm", "held-gone", "-n", SHOP)) == (1, None)
    assert "a person has to approve it" in dry.stdout

    at_once = ask(careful, "undo", run, "--yes", "--no-wait")
    assert at_once.returncode == 1
    assert "refused" in at_once.stdout
    assert "nothing is deleted here" in at_once.stdout
    (approval,) = re.findall(r"ApprovalRequest (\S+); run this again when it is approved", at_once.stdout)
    assert "1 refused, 1 waiting for approval" in at_once.stderr
    assert admin.get("cm", "denied", "-n", SHOP)
    assert admin.get("apreq", approval)["spec"]["reason"] == f"undo of run {run}"

    with waiting(command("undo", run, "--yes"), environment(crew.stack, careful)) as process:
        assert process.stdout
        line = next(line for line in process.stdout if "held" in line)
        assert f"waiting for ApprovalRequest {approval}" in line
        patch = '{"status":{"decision":"Approved"}}'
        approver.must(
            "approving", "patch", "apreq", approval, "--subresource=status", "--type=merge", "-p", patch
        )
        rest = process.communicate(timeout=120)[0]
        assert process.returncode == 1, "the other one is refused still"
    assert f"configmaps {SHOP}/held-gone" in rest
    assert (admin.get("cm", "held-gone", "-n", SHOP) or {}).get("data") == {"k": "v"}


def test_namespaces_come_before_what_is_in_them_and_go_after_it(
    crew: Agents, admin: Kubectl, ask: Any, told: Any
) -> None:
    run = f"run-grounds-{TAG}"
    agent = crew.kubectl("undo-agents", run=run)
    make(admin, objects.namespace(LOST), conf("inside", LOST, k="v"))
    agent.must("deleting", "delete", "cm", "inside", "-n", LOST)
    agent.must("deleting", "delete", "namespace", LOST)
    make(agent, objects.namespace(MADE), conf("mine", MADE, k="v"))
    make(agent, objects.namespace(SHARED))
    make(admin, conf("theirs", SHARED, k="v"))
    told(run, 5)
    mender = crew.kubectl("undo-menders", run=f"run-grounds-mend-{TAG}")
    dry = ask(mender, "undo", run, "--dry-run")
    assert f"after namespaces {LOST}, so it was not tried" in dry.stdout
    assert admin.get("namespace", LOST) is None

    undone = ask(mender, "undo", run, "--yes")
    assert (
        "others have put into it what would go with it: configmaps theirs (--force insists)" in undone.stdout
    )
    assert (undone.returncode, admin.get("cm", "theirs", "-n", SHARED)["data"]) == (1, {"k": "v"})
    assert (admin.get("cm", "inside", "-n", LOST) or {}).get("data") == {"k": "v"}
    until("the new namespace to go", lambda: admin.get("namespace", MADE) is None)

    forced = ask(mender, "undo", run, "--yes", "--force")
    assert forced.returncode == 0, forced.stdout + forced.stderr
    until("the shared namespace to go", lambda: admin.get("namespace", SHARED) is None)


def test_what_cannot_be_restored_is_told(crew: Agents, admin: Kubectl, ask: Any, told: Any) -> None:
    run = f"run-hopeless-{TAG}"
    agent = crew.kubectl("undo-agents", run=run)
    for name in ("went", "overwritten"):
        secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "namespace": SHOP}}
        make(admin, {**secret, "stringData": {"password": PASSWORD}})
    agent.must("deleting", "delete", "secret", "went", "-n", SHOP)
    new = '{"stringData":{"password":"something-quite-new"}}'
    agent.must("overwriting", "patch", "secret", "overwritten", "-n", SHOP, "--type=merge", "-p", new)
    agent.must("asking for a token", "create", "token", "default", "-n", SHOP)
    told(run, 2)
    mender = crew.kubectl("undo-menders", run=f"run-hopeless-mend-{TAG}")
    undone = ask(mender, "undo", run, "--yes")
    assert undone.returncode == 0, "all that could be restored was"
    assert (
        "its secrets were masked before they were recorded, and went with it: data.password" in undone.stdout
    )
    assert "data.password held a masked value, which is not in the record" in undone.stdout
    assert "serviceaccounts/token" in undone.stdout
    assert admin.get("secret", "went", "-n", SHOP) is None
    kept = admin.get("secret", "overwritten", "-n", SHOP)["data"]["password"]
    assert base64.b64decode(kept).decode() == "something-quite-new"


def test_an_undo_goes_through_the_gateway_or_not_at_all(
    crew: Agents, admin: Kubectl, ask: Any, told: Any
) -> None:
    run = f"run-direct-{TAG}"
    make(crew.kubectl("undo-agents", run=run), conf("direct", x="y"))
    told(run, 1)
    refused = ask(admin, "undo", run, "--yes")
    assert refused.returncode == 2
    assert "does not point at a chaperone gateway" in refused.stderr
    assert admin.get("cm", "direct", "-n", SHOP)
    asked = ask(crew.kubectl("undo-menders"), "undo", run)
    assert asked.returncode == 2
    assert "give --yes, or --dry-run" in asked.stderr
    unknown = ask(crew.kubectl("undo-menders"), "undo", f"{run}-not", "--yes")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
