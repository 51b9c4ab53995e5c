"""What the chapters share: who types what, looking at the cluster and the audit, and waiting."""

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hack.cluster import pods
from hack.cluster.errors import ClusterError
from hack.demo.screen import Voice, shown, typed, verdict
from hack.stack import audit, configs, people, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout

VICTIM = "old-experiment"
PRODUCTION = "production"
PLUGIN = Path(sys.executable).parent / "kubectl-chaperone"
HOLD_SECONDS = 90.0
SETTLE = 1.0
"""Seconds within which the gateway has written the records of reads."""


class Story:
    """What the chapters share: the stack, the people's kubectl, and the list of what went wrong."""

    def __init__(self, stack: up.Stack) -> None:
        self.stack = stack
        self.layout: Layout = stack.layout
        self.admin = stack.admin
        self.agent = Kubectl(stack.layout.agent_kubeconfig)
        self.approver = Kubectl(stack.layout.approver_kubeconfig)
        self.second = Kubectl(stack.layout.second_approver_kubeconfig)
        self.editing_run = f"run-{secrets.token_hex(3)}"
        """Of its own each time: the audit of an earlier demo may still be there."""
        self.wrong: list[str] = []

    def agent_of(self, run: str) -> Kubectl:
        """The agent's kubectl, in another run of its model."""
        path = self.layout.kubeconfig(run)
        subject, groups = up.AGENT[:2]
        issuer = configs.issuer_url(self.stack.ports)
        arguments = ("--issuer-url", issuer, "--agent", subject)
        url = self.stack.gateway_url
        people.write_agent(
            self.layout, path, url, subject=subject, groups=groups, run=run, arguments=arguments
        )
        return Kubectl(path)

    def run(self, voice: Voice, kubectl: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
        typed(voice, "kubectl " + " ".join(quoted(word) for word in arguments))
        done = kubectl.run(*arguments)
        shown(voice, done.stdout + done.stderr)
        return done

    def chaperone(
        self, voice: Voice, who: Kubectl, *arguments: str, most: int = 14
    ) -> subprocess.CompletedProcess[str]:
        typed(voice, "kubectl chaperone " + " ".join(quoted(word) for word in arguments))
        done = subprocess.run(
            [str(PLUGIN), *arguments],
            env=who.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        shown(voice, done.stdout + done.stderr, most=most)
        return done

    def check(self, ok: bool, text: str) -> None:
        verdict(ok, text)
        if not ok:
            self.wrong.append(text)

    def audit(self) -> list[Mapping[str, Any]]:
        """Every audit record of the gateway so far, oldest first; those of reads are written a moment later."""
        time.sleep(SETTLE)
        return audit.records(self.layout)

    def exists(self, *arguments: str) -> bool:
        return self.admin.get(*arguments) is not None


def seen_by_the_server(story: Story, audit_id: str) -> dict[str, Any]:
    """The impersonated user in the API server's own audit log; empty where the log is not ours to read."""
    log = story.layout.cluster / "audit.log"
    lines = log.read_text().splitlines() if log.exists() else []
    events = (json.loads(line) for line in lines if audit_id in line)
    return next((event["impersonatedUser"] for event in events if "impersonatedUser" in event), {})


def pending_access(story: Story) -> str:
    """The name of the request for access that waits. Raises ClusterError when there is none."""
    listed = (story.admin.get("apreq") or {}).get("items", [])
    found = [
        item["metadata"]["name"] for item in listed if item["spec"]["type"] == "Access" and is_pending(item)
    ]
    if not found:
        raise ClusterError("no ApprovalRequest of type Access appeared; see the gateway's log")
    return str(found[-1])


def replicas(story: Story) -> int:
    found = story.admin.get("deployment", "checkout", "-n", PRODUCTION) or {}
    return int(found.get("spec", {}).get("replicas", -1))


def output(waiting: subprocess.Popen[str]) -> str:
    try:
        return waiting.communicate(timeout=HOLD_SECONDS)[0]
    except subprocess.TimeoutExpired:
        waiting.kill()
        return waiting.communicate()[0] + f"(still waiting after {HOLD_SECONDS:.0f} s)"


def pending(story: Story, target: str = VICTIM) -> str:
    """The name of the request that waits. Raises ClusterError when none appears."""
    found: list[str] = []

    def look() -> bool:
        listed = (story.admin.get("apreq") or {}).get("items", [])
        found[:] = [item["metadata"]["name"] for item in listed if waits_for(item, target)]
        return bool(found)

    if not eventually(look):
        raise ClusterError("no ApprovalRequest appeared for the held command; see the gateway's log")
    return found[-1]


def waits_for(item: dict[str, Any], name: str) -> bool:
    return is_pending(item) and item["spec"].get("request", {}).get("name") == name


def is_pending(item: dict[str, Any]) -> bool:
    return bool(item.get("status", {}).get("phase") == "Pending")


def phase(story: Story, name: str) -> str:
    return str((story.admin.get("apreq", name) or {}).get("status", {}).get("phase"))


def is_going(story: Story, namespace: str) -> bool:
    found = story.admin.get("namespace", namespace)
    return found is None or "deletionTimestamp" in found["metadata"]


def eventually(check: Callable[[], bool], *, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.2)
    return False


def config(namespace: str, name: str, content: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}


def deployment(namespace: str, name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "main",
        "image": "localhost/busybox:1",
        "imagePullPolicy": "Never",
        "command": list(pods.FOR_EVER),
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def claims_in(kubeconfig: Path) -> dict[str, Any]:
    payload = people.token_of(kubeconfig).split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def write_forged(story: Story, path: Path) -> None:
    """The agent's own token with other groups, under the old signature."""
    header, _, signature = people.token_of(story.layout.agent_kubeconfig).split(".")
    claims = {**claims_in(story.layout.agent_kubeconfig), "groups": ["platform-admins", *up.AGENT[1]]}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    cluster = {
        "server": story.stack.gateway_url,
        "certificate-authority-data": base64.b64encode(story.layout.ca_file.read_bytes()).decode(),
    }
    people.write_kubeconfig(path, cluster, {"token": f"{header}.{payload}.{signature}"})


def last(records: list[Mapping[str, Any]], wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    return next((record for record in reversed(records) if wanted(record)), {})


def quoted(word: str) -> str:
    return f"'{word}'" if any(character in word for character in ' {}"') else word
