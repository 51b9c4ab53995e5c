"""What a policy says of masking, on a real cluster: Off aloud, Strict, keys, patterns and exemptions of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from chaperone.store.interface import Query
from hack.stack import audit, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster

NAMESPACE = "masking-policy"
EVERYTHING = [{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}]
ADMIN = [{"roleRef": {"kind": "ClusterRole", "name": "admin"}, "namespaces": [NAMESPACE]}]
PASSWORD, CODE, TICKET, PUBLIC = (
    "correct-horse-7-battery",
    "zulu-alpha-1",
    "acme-0123456789abcdef",
    "pk-demo-token-77",
)


@pytest.fixture(scope="module", autouse=True)
def objects(admin: Kubectl) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": NAMESPACE},
        "stringData": {"password": PASSWORD},
    }
    data = {"launchCode": CODE, "note": f"see {TICKET} for more", "apiToken": PUBLIC, "level": "info"}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app", "namespace": NAMESPACE},
        "data": data,
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    admin.apply("making what is masked", [space])
    admin.apply("making what is masked", [secret, config])


def govern(agents: Agents, name: str, masking: dict[str, Any]) -> Kubectl:
    agents.govern(name, access=ADMIN, rules=EVERYTHING, masking=masking, recording={"streams": "Off"})
    return agents.kubectl(name)


def read(agent: Kubectl) -> tuple[str, dict[str, str]]:
    """The password of the Secret and the data of the ConfigMap, as this agent sees them."""
    secret = json.loads(agent.must("reading", "get", "secret", "db", "-n", NAMESPACE, "-o", "json"))
    config = json.loads(agent.must("reading", "get", "configmap", "app", "-n", NAMESPACE, "-o", "json"))
    return base64.b64decode(secret["data"]["password"]).decode(), dict(config["data"])


def columns(admin: Kubectl, name: str) -> dict[str, str]:
    header, line = admin.must("looking", "get", "agentpolicy", name).splitlines()
    return dict(zip(header.split(), line.split(), strict=False))


def test_standard_by_default_with_keys_patterns_and_exemptions_of_its_own(
    agents: Agents, admin: Kubectl
) -> None:
    place = {
        "kind": "ConfigMap",
        "namespaces": ["masking-*"],
        "path": "data.apiToken",
        "reason": "a public demo token",
    }
    masking = {"keys": ["launch-code"], "patterns": ["acme-([0-9a-f]{16})"], "exempt": [place]}
    password, data = read(govern(agents, "masking-own", masking))
    assert password.startswith("masked-")
    assert data["launchCode"].startswith("masked-")
    assert data["note"].startswith("see acme-masked-")
    assert data["note"].endswith(" for more")
    assert (data["apiToken"], data["level"]) == (PUBLIC, "info")
    assert columns(admin, "masking-own")["MASKING"] == "Standard"


def test_without_a_masking_section_secrets_are_masked(agents: Agents) -> None:
    agents.govern("masking-none", access=ADMIN, rules=EVERYTHING)
    password, data = read(agents.kubectl("masking-none"))
    assert password.startswith("masked-")
    assert data["apiToken"].startswith("masked-")
    assert (data["launchCode"], data["level"]) == (CODE, "info")


def test_off_is_refused_without_a_reason(agents: Agents, admin: Kubectl) -> None:
    govern(agents, "masking-off", {"profile": "Standard"})
    for masking in ({"profile": "Off"}, {"profile": "Off", "reason": " "}):
        patch = json.dumps({"spec": {"masking": masking}})
        done = admin.run("patch", "agentpolicy", "masking-off", "--type=merge", "-p", patch)
        assert done.returncode == 1
        assert "reason" in done.stderr


def test_off_is_said_in_the_status_and_in_the_audit(stack: up.Stack, agents: Agents, admin: Kubectl) -> None:
    agent = govern(agents, "masking-off", {"profile": "Off", "reason": "a cluster of demos"})
    password, data = read(agent)
    assert (password, data["apiToken"]) == (PASSWORD, PUBLIC)
    assert columns(admin, "masking-off")["MASKING"] == "Off"
    conditions = admin.get("agentpolicy", "masking-off")["status"]["conditions"]
    (said,) = [item for item in conditions if item["type"] == "Masking"]
    assert (said["status"], said["reason"]) == ("False", "Off")
    assert "a cluster of demos" in said["message"]

    def profiles() -> set[str]:
        records = audit.records(stack.layout, Query(run="run-masking-off"))
        found = (record for record in records if record.get("objectRef", {}).get("namespace") == NAMESPACE)
        return {str(record.get("maskingProfile")) for record in found}

    assert "Off" in until("the audit records of the reads", lambda: profiles() & {"Off"})


@pytest.fixture
def running_pod(admin: Kubectl) -> None:
    """In name only: kubectl looks at the phase before it asks for a stream."""
    spec = {"nodeSelector": {"nowhere": "true"}, "containers": [{"name": "main", "image": "none"}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "any", "namespace": NAMESPACE},
        "spec": spec,
    }
    admin.apply("making a pod", [pod])
    running = json.dumps({"status": {"phase": "Running"}})
    words = ("patch", "pod", "any", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", running)
    admin.must("calling it running", *words)


@pytest.mark.usefixtures("running_pod")
def test_strict_denies_what_nobody_can_read(agents: Agents) -> None:
    agent = govern(agents, "masking-strict", {"profile": "Strict"})
    for words in (
        ("exec", "any", "--", "env"),
        ("port-forward", "pod/any", "18080:80"),
        ("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/services/any/proxy/"),
        ("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/any/proxy/"),
    ):
        flags = () if "--raw" in words else ("-n", NAMESPACE)
        done = agent.run(words[0], *flags, *words[1:])
        assert done.returncode == 1, words
        assert "masking is Strict" in done.stderr, words
    assert read(agent)[0].startswith("masked-")


def test_the_strictest_of_two_policies_counts(agents: Agents, admin: Kubectl) -> None:
    govern(agents, "masking-both", {"profile": "Off", "reason": "a test"})
    agent = agents.kubectl("masking-both")
    assert read(agent)[0] == PASSWORD
    policy = admin.get("agentpolicy", "masking-both")
    second = {**policy["spec"], "masking": {"profile": "Standard"}}
    made = {
        "apiVersion": policy["apiVersion"],
        "kind": "AgentPolicy",
        "metadata": {"name": "masking-both-2"},
        "spec": second,
    }
    admin.apply("a second policy for the same agents", [made])
    try:
        assert until("the second policy to count", lambda: read(agent)[0].startswith("masked-"))
    finally:
        admin.must("removing it", "delete", "agentpolicy", "masking-both-2")
