"""What an agent must not learn from writing: from dry runs, errors, conflicts, selectors, approvals and last-applied."""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.masking.restoring_search import placeholders
from gateway.guesses import MOST_GUESSES
from hack.stack import up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import approval_of, approvals_of, decide, phase_of
from tests.e2e.line import APPLY, MERGE, STEPS, STRATEGIC, Line, Said
from tests.e2e.planted import (
    ENV,
    JOB,
    LAST_APPLIED,
    PASSWORD,
    PLANTED,
    SECRET,
    WEB,
    WIDGET,
    Scene,
    b64,
    widgets,
)
from tests.e2e.waiting import until
from tests.e2e.write_rows import env_patch

pytestmark = pytest.mark.cluster
GROUP = "curious"
ASKING = "asking"
WRONG = "Wr0ng-guess-000000000"


@pytest.fixture(scope="module")
def governed(admin: Kubectl, agents: Agents) -> Agents:
    admin.apply("making widgets", [widgets()])
    ask = {
        "name": "ask",
        "match": {"verbs": ["update", "patch"], "resources": ["secrets"]},
        "action": "RequireApproval",
    }
    rest = {"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}
    access = [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}]
    agents.govern(GROUP, access=access, rules=[rest], recording={"streams": "Off"})
    agents.govern(
        ASKING, access=access, rules=[ask, rest], recording={"streams": "Off"}, approval={"holdFor": "60s"}
    )
    return agents


def kubectl_of(agents: Agents, group: str = GROUP) -> Kubectl:
    """An agent that nothing is known of yet."""
    return agents.kubectl(group, run=f"run-{uuid.uuid4().hex[:8]}")


def made(governed: Agents, admin: Kubectl) -> Iterator[Scene]:
    agent = kubectl_of(governed).kubeconfig
    scene = Scene(Line(agent), Line(admin.kubeconfig), f"oracles-{uuid.uuid4().hex[:8]}")
    scene.make()
    yield scene
    scene.admin.send("DELETE", f"/api/v1/namespaces/{scene.namespace}")


@pytest.fixture(scope="module")
def still(governed: Agents, admin: Kubectl) -> Iterator[Scene]:
    """Objects that nobody changes."""
    yield from made(governed, admin)


@pytest.fixture
def scene(governed: Agents, admin: Kubectl) -> Iterator[Scene]:
    yield from made(governed, admin)


def assert_hidden(raw: bytes | str) -> None:
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
    for value in PLANTED:
        assert value not in text
        assert b64(value) not in text


# Dry runs


def env_of(scene: Scene, value: str) -> Any:
    return env_patch(scene, {"name": "DB_PASSWORD", "value": value})


def whole(scene: Scene, value: str) -> Any:
    return scene.changed(SECRET, lambda it: it["data"].update(password=b64(value)))


DRY: dict[str, tuple[str, Callable[[Scene, str], Any], str]] = {
    "a merge patch of a Secret": (SECRET, lambda s, v: {"data": {"password": b64(v)}}, MERGE),
    "a strategic merge patch of a Secret": (SECRET, lambda s, v: {"data": {"password": b64(v)}}, STRATEGIC),
    "stringData": (SECRET, lambda s, v: {"stringData": {"password": v}}, MERGE),
    "a JSON patch of a Secret": (
        SECRET,
        lambda s, v: [{"op": "replace", "path": "/data/password", "value": b64(v)}],
        STEPS,
    ),
    "a PUT of a Secret": (SECRET, whole, "application/json"),
    "an apply of a Secret": (
        SECRET,
        lambda s, v: {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db"},
            "data": {"password": b64(v)},
        },
        APPLY,
    ),
    "an environment variable": (WEB, env_of, STRATEGIC),
    "a field of a custom resource": (WIDGET, lambda s, v: {"spec": {"db": {"password": v}}}, MERGE),
}


@pytest.mark.parametrize("what", DRY)
@pytest.mark.parametrize("accept", ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"])
def test_a_dry_run_says_the_same_of_a_right_and_of_a_wrong_guess(
    still: Scene, what: str, accept: str
) -> None:
    path, body, content_type = DRY[what]
    method = "PUT" if content_type == "application/json" else "PATCH"
    query = "?dryRun=All" + ("&fieldManager=x&force=true" if content_type == APPLY else "")
    answers = []
    for guess in (
        {SECRET: PASSWORD, WEB: ENV, WIDGET: still.true[WIDGET]["spec"]["db"]["password"]}[path],
        WRONG,
    ):
        said = still.agent.send(
            method, still.at(path) + query, body(still, guess), content_type, Accept=accept
        )
        assert said.code == 200, said.body
        answers.append(told(said, guess))
    assert answers[0] == answers[1]
    assert (
        still.admin.must("GET", still.at(path))["metadata"]["resourceVersion"]
        == still.true[path]["metadata"]["resourceVersion"]
    )


def told(said: Said, guess: str) -> tuple[str, dict[str, str]]:
    """An answer without the guess itself, and without what differs between any two answers."""
    headers = {
        name: value
        for name, value in said.headers.items()
        if name not in ("Date", "Audit-Id", "Content-Length")
    }
    text = said.body.decode().replace(b64(guess), "GUESS").replace(guess, "GUESS")
    return re.sub(r'"time":"[^"]*"', '"time":""', text), headers


# Errors


def test_an_error_that_quotes_the_object_quotes_no_secret(still: Scene, governed: Agents) -> None:
    stranger = Line(kubectl_of(governed).kubeconfig)
    for path, body, content_type in (
        (
            JOB,
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "other"}]}}}},
            STRATEGIC,
        ),
        (WEB, {"spec": {"selector": {"matchLabels": {"app": "other"}}}}, MERGE),
        (WEB, {"spec": {"template": {"spec": {"containers": [{"name": "app", "ports": "x"}]}}}}, STRATEGIC),
        (SECRET, {"type": "other"}, MERGE),
        (SECRET, {"data": 7}, MERGE),
    ):
        for query in ("", "?dryRun=All"):
            said = stranger.send("PATCH", still.at(path) + query, body, content_type)
            assert said.code in (400, 422, 500), said.body
            assert_hidden(said.body)


def test_a_conflict_tells_the_field_and_no_value(still: Scene) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"password": b64(WRONG)},
    }
    said = still.agent.send("PATCH", f"{still.at(SECRET)}?fieldManager=x", body, APPLY)
    assert said.code == 409
    assert ".data.password" in said.message
    assert_hidden(said.body)


# Guesses


def test_guesses_come_to_an_end(scene: Scene, admin: Kubectl) -> None:
    codes = [
        scene.agent.send(
            "PATCH", f"{scene.at(SECRET)}?dryRun=All", {"data": {"password": b64(f"guess-{number}")}}, MERGE
        ).code
        for number in range(MOST_GUESSES + 3)
    ]
    assert codes == [200] * MOST_GUESSES + [403] * 3
    said = scene.agent.send("PATCH", scene.at(SECRET), {"data": {"password": b64("guess-x")}}, MERGE)
    assert "cannot be found out by trying" in said.message
    assert scene.admin.must("GET", scene.at(SECRET))["data"] == scene.true[SECRET]["data"]


# Selectors


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/apis/restoring.example/v1/widgets?fieldSelector=spec.db.password%3Dguess", 403),
        (
            "/apis/restoring.example/v1/widgets?watch=1&timeoutSeconds=1&fieldSelector=spec.db.password!%3Dguess",
            403,
        ),
        ("/apis/restoring.example/v1/widgets?fieldSelector=metadata.name%3Dw", 200),
        ("/api/v1/secrets?fieldSelector=type%3DOpaque,metadata.name%3Ddb,metadata.namespace!%3Dx", 200),
    ],
)
def test_a_selector_on_a_masked_field_is_refused(still: Scene, path: str, code: int) -> None:
    said = still.agent.send("GET", path)
    assert said.code == code, said.body
    assert_hidden(said.body)


# kubectl


def test_client_side_apply_leaves_placeholders_in_its_annotation_and_nowhere_else(
    scene: Scene, governed: Agents, tmp_path: Path
) -> None:
    kubectl = kubectl_of(governed)
    space = ("-n", scene.namespace)
    file = tmp_path / "secret.yaml"
    read = kubectl.must("reading", "get", "secret", "db", "-o", "yaml", *space)
    document = yaml.safe_load(read)
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp"):
        document["metadata"].pop(key, None)
    for color in ("red", "blue"):
        document["metadata"]["labels"] = {"color": color}
        file.write_text(yaml.safe_dump(document))
        kubectl.must("applying", "apply", "-f", str(file), *space)
    stored = scene.admin.must("GET", scene.at(SECRET))
    assert stored["data"] == scene.true[SECRET]["data"]
    last = stored["metadata"]["annotations"].pop(LAST_APPLIED)
    assert placeholders(last)
    assert_hidden(last)
    assert not placeholders(json.dumps(stored))
    del document["data"]["token"]
    file.write_text(yaml.safe_dump(document))
    kubectl.must("applying with a key less", "apply", "-f", str(file), *space)
    kept = {key: value for key, value in scene.true[SECRET]["data"].items() if key != "token"}
    assert scene.admin.must("GET", scene.at(SECRET))["data"] == kept


def test_what_kubectl_does_with_a_deployment_keeps_its_secrets(scene: Scene, governed: Agents) -> None:
    kubectl = kubectl_of(governed)
    space = ("-n", scene.namespace)
    for command in (
        ("set", "env", "deployment/web", "MODE=slow"),
        ("set", "image", "deployment/web", "app=registry.example/app:2"),
        ("label", "deployment", "web", "a=b"),
        ("annotate", "deployment", "web", "a=b"),
        ("scale", "deployment", "web", "--replicas=0"),
        ("patch", "deployment", "web", "-p", '{"spec":{"minReadySeconds":3}}'),
        ("rollout", "restart", "deployment/web"),
    ):
        said = kubectl.must("changing a deployment", *command, *space)
        assert_hidden(said)
    stored = scene.admin.must("GET", scene.at(WEB))
    container = stored["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == scene.true[WEB]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"name": "DB_PASSWORD", "value": ENV} in container["env"]
    assert not placeholders(json.dumps(stored))


# People who decide


def test_an_approval_shows_no_value_and_is_found_by_the_same_placeholders(
    scene: Scene, governed: Agents, admin: Kubectl, approver: Kubectl, stack: up.Stack
) -> None:
    agent = kubectl_of(governed, ASKING)
    line = Line(agent.kubeconfig)
    seen = line.must("GET", scene.at(SECRET))
    patch = {"data": {"password": seen["data"]["password"]}, "metadata": {"labels": {"by": "agent"}}}
    said = line.send("PATCH", scene.at(SECRET), patch, MERGE, Chaperone_Hold="never")
    assert said.code == 403, said.body
    (approval,) = approvals_of(admin, scene.namespace)
    shuffled = dict(reversed(patch.items()))
    line.send("PATCH", scene.at(SECRET), shuffled, MERGE, Chaperone_Hold="never")
    assert [item["metadata"]["name"] for item in approvals_of(admin, scene.namespace)] == [
        approval["metadata"]["name"]
    ]
    other = copy.deepcopy(patch)
    other["data"]["password"] = b64(PASSWORD)
    assert line.send("PATCH", scene.at(SECRET), other, MERGE, Chaperone_Hold="never").code == 403
    assert len(approvals_of(admin, scene.namespace)) == 2
    assert_hidden(json.dumps(approvals_of(admin, scene.namespace)))
    name = approval["metadata"]["name"]
    assert decide(approver, name, "Approved").returncode == 0
    until("the approval", lambda: phase_of(admin.get("apreq", name) or {}) == "Approved")
    assert line.send("PATCH", scene.at(SECRET), patch, MERGE, Chaperone_Hold="never").code == 200
    until(
        "the outcome", lambda: phase_of(admin.get("apreq", approval["metadata"]["name"]) or {}) == "Executed"
    )
    stored = scene.admin.must("GET", scene.at(SECRET))
    assert stored["data"] == scene.true[SECRET]["data"]
    assert stored["metadata"]["labels"] == {"by": "agent"}
    assert approval_of(admin, scene.namespace, phase="Pending")


def test_neither_logs_nor_records_hold_a_value(still: Scene, stack: up.Stack) -> None:
    """What was restored in all the tests before this one."""
    still.agent.must("PUT", still.at(SECRET), still.seen[SECRET])
    for file in [*stack.layout.directory.glob("logs/*"), *stack.layout.directory.glob("audit/*")]:
        assert_hidden(file.read_bytes())
