"""The chapters. Each types real commands, shows their real output, and checks what must have happened."""

import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hack.cluster import pods
from hack.cluster.errors import ClusterError
from hack.demo.screen import ADMIN, AGENT, APPROVER, ATTACKER, Voice, chapter, shown, typed, verdict
from hack.stack import objects, people, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout

VICTIM = "old-experiment"
APPROVE = '{"status":{"decision":"Approved"}}'
HOLD_SECONDS = 90.0


class Story:
    """What the chapters share: the stack, the people's kubectl, and the list of what went wrong."""

    def __init__(self, stack: up.Stack) -> None:
        self.stack = stack
        self.layout: Layout = stack.layout
        self.admin = stack.admin
        self.agent = Kubectl(stack.layout.agent_kubeconfig)
        self.approver = Kubectl(stack.layout.approver_kubeconfig)
        self.wrong: list[str] = []

    def run(self, voice: Voice, kubectl: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
        typed(voice, "kubectl " + " ".join(_quoted(word) for word in arguments))
        done = kubectl.run(*arguments)
        shown(voice, done.stdout + done.stderr)
        return done

    def check(self, ok: bool, text: str) -> None:
        verdict(ok, text)
        if not ok:
            self.wrong.append(text)

    def audit(self) -> list[dict[str, Any]]:
        """Every audit record of the gateway so far, oldest first."""
        lines = [
            line
            for path in sorted(self.layout.audit.glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return sorted(
            (json.loads(line) for line in lines),
            key=lambda record: str(record.get("requestReceivedTimestamp")),
        )

    def exists(self, *arguments: str) -> bool:
        return self.admin.get(*arguments) is not None


def tell(stack: up.Stack) -> list[str]:
    """All chapters in order; what went wrong comes back (empty: nothing)."""
    story = Story(stack)
    _set_the_scene(story)
    chapters: list[Callable[[Story, int], None]] = [
        _who_am_i,
        _allowed,
        _blocked,
        _held_and_approved,
        _replayed,
        _round_the_gateway,
        _forged,
        _on_the_record,
    ]
    for number, tell_chapter in enumerate(chapters, 1):
        tell_chapter(story, number)
    return story.wrong


def _set_the_scene(story: Story) -> None:
    """A workload to look at, a namespace to delete."""
    scene: list[dict[str, Any]] = [objects.namespace(VICTIM), _config(VICTIM, "notes", {"todo": "clean up"})]
    if story.stack.cluster.has_node:
        scene.append(pods.pod("web", "demo"))
    else:
        scene.append(_config("demo", "web", {"colour": "blue"}))
    story.admin.apply("setting the scene", scene)
    if story.stack.cluster.has_node:
        story.admin.must(
            "waiting for the demo's pod",
            "wait",
            "--for=condition=Ready",
            "pod/web",
            "-n",
            "demo",
            "--timeout=90s",
        )


def _who_am_i(story: Story, number: int) -> None:
    chapter(
        number,
        "Who am I",
        "The agent holds one thing: a token of its own issuer, which names its model run. No cluster credential.",
    )
    claims = _claims(story.layout.agent_kubeconfig)
    typed(AGENT, "cat agent.kubeconfig   # the token's claims")
    shown(AGENT, json.dumps({key: claims.get(key) for key in ("iss", "sub", "groups", "run")}))
    done = story.run(AGENT, story.agent, "auth", "can-i", "list", "pods", "-n", "demo")
    story.check(
        done.stdout.strip() == "yes",
        "the gateway took the token; the cluster answered to the agent's narrow identity",
    )
    record = _last(story.audit(), lambda record: "selfsubjectaccessreviews" in str(record.get("requestURI")))
    seen = _seen_by_the_server(story, str(record.get("auditID"))) or record.get("impersonatedUser") or {}
    shown(
        AGENT,
        f"the API server saw: {json.dumps({key: seen[key] for key in ('username', 'extra') if key in seen})}",
    )
    story.check(
        seen.get("username") == "system:serviceaccount:agents:coder",
        "impersonated: the service account that the policy names, with run, agent and policy as extras",
    )


def _seen_by_the_server(story: Story, audit_id: str) -> dict[str, Any]:
    """The impersonated user in the API server's own audit log; empty where the log is not ours to read."""
    log = story.layout.cluster / "audit.log"
    lines = log.read_text().splitlines() if log.exists() else []
    events = (json.loads(line) for line in lines if audit_id in line)
    return next((event["impersonatedUser"] for event in events if "impersonatedUser" in event), {})


def _allowed(story: Story, number: int) -> None:
    chapter(
        number,
        "Allowed: looking around",
        "A read that the policy allows goes straight through, byte for byte.",
    )
    kind = "pods" if story.stack.cluster.has_node else "configmaps"
    done = story.run(AGENT, story.agent, "get", kind, "-n", "demo")
    story.check(done.returncode == 0 and "web" in done.stdout, f"the agent may list {kind}")


def _blocked(story: Story, number: int) -> None:
    chapter(
        number,
        "Blocked: the control plane's secrets",
        "Reading a Secret of kube-system is critical (R08). Nobody is asked: it is refused.",
    )
    done = story.run(AGENT, story.agent, "get", "secrets", "-n", "kube-system")
    story.check(done.returncode != 0 and "R08" in done.stderr, "refused, with the policy and the risk named")


def _held_and_approved(story: Story, number: int) -> None:
    chapter(
        number,
        "Held: deleting a namespace",
        "The command waits. In a second pane, a person looks at the request and approves it with plain kubectl.",
    )
    typed(AGENT, f"kubectl delete namespace {VICTIM} --wait=false    # …waits")
    waiting = subprocess.Popen(
        story.agent.command("delete", "namespace", VICTIM, "--wait=false"),
        env=story.agent.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    name = _pending(story)
    story.check(story.exists("namespace", VICTIM), "nothing has happened yet: the namespace is still there")
    story.run(APPROVER, story.approver, "get", "apreq", name)
    story.run(
        APPROVER,
        story.approver,
        "patch",
        "apreq",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        APPROVE,
    )
    shown(AGENT, _output(waiting))
    story.check(waiting.returncode == 0, "the waiting command went on and succeeded")
    phase = _eventually(lambda: _phase(story, name) == "Executed")
    shown(APPROVER, story.approver.run("get", "apreq", name).stdout)
    story.check(phase, "the approval is spent: Executed")
    story.check(_eventually(lambda: _is_going(story, VICTIM)), "the namespace goes")


def _output(waiting: subprocess.Popen[str]) -> str:
    try:
        return waiting.communicate(timeout=HOLD_SECONDS)[0]
    except subprocess.TimeoutExpired:
        waiting.kill()
        return waiting.communicate()[0] + f"(still waiting after {HOLD_SECONDS:.0f} s)"


def _replayed(story: Story, number: int) -> None:
    chapter(
        number,
        "Replayed: the same approval again",
        "The namespace is made anew. Yesterday's approval was for another object, once: it is worth nothing.",
    )
    _eventually(lambda: not story.exists("namespace", VICTIM), seconds=60)
    story.admin.apply("making the namespace anew", [objects.namespace(VICTIM)])
    arguments = ("delete", "namespace", VICTIM, "--wait=false", "--request-timeout=4s")
    done = story.run(AGENT, story.agent, *arguments)
    story.check(done.returncode != 0, "held again: the old approval does not open the door")
    story.check(not _is_going(story, VICTIM), "the new namespace is untouched")


def _round_the_gateway(story: Story, number: int) -> None:
    chapter(
        number,
        "Round the gateway: the service account's own token",
        "Suppose the agent got hold of a token of the identity that the gateway impersonates, and goes straight to the API server.",
    )
    path = story.layout.kubeconfig("stolen")
    people.write_account(story.admin, path, "coder", namespace="agents")
    done = story.run(ATTACKER, Kubectl(path), "delete", "namespace", VICTIM, "--wait=false")
    story.check(
        done.returncode != 0 and "denied the request" in done.stderr,
        "the admission webhook refuses it: there is no approval behind it",
    )
    story.check(not _is_going(story, VICTIM), "the namespace is untouched")


def _forged(story: Story, number: int) -> None:
    chapter(
        number,
        "Forged: a token with another signature",
        "The claims say platform-admins; the signature is not the issuer's.",
    )
    path = story.layout.kubeconfig("forged")
    _write_forged(story, path)
    done = story.run(ATTACKER, Kubectl(path), "get", "pods", "-n", "demo")
    story.check(
        done.returncode != 0 and "must be logged in" in done.stderr,
        "401: not one byte reached the cluster",
    )


def _on_the_record(story: Story, number: int) -> None:
    chapter(number, "On the record", "Every request of the run, with its verdict, in the gateway's audit.")
    run = up.AGENT[2]
    rows = [
        _row(record)
        for record in story.audit()
        if run in json.dumps(record) and record.get("stage") == "ResponseComplete"
    ]
    typed(ADMIN, "tail audit/*.jsonl   # as a table")
    shown(ADMIN, "\n".join(["CODE VERDICT VERB     OBJECT", *rows[-10:]]))
    story.check(
        any("Hold" in row or "Deny" in row for row in rows),
        "allowed, held and denied requests of the run are all there",
    )


def _row(record: dict[str, Any]) -> str:
    target = record.get("objectRef") or {}
    parts = [target.get("namespace"), target.get("resource"), target.get("name")]
    where = "/".join(str(part) for part in parts if part) or str(record.get("requestURI"))
    code = (record.get("responseStatus") or {}).get("code", "")
    return f"{code:<4} {record.get('verdict', ''):<7} {record.get('verb', ''):<8} {where}"


def _pending(story: Story) -> str:
    """The name of the request that waits. Raises ClusterError when none appears."""
    found: list[str] = []

    def look() -> bool:
        listed = (story.admin.get("apreq") or {}).get("items", [])
        found[:] = [item["metadata"]["name"] for item in listed if _waits_for(item, VICTIM)]
        return bool(found)

    if not _eventually(look):
        raise ClusterError("no ApprovalRequest appeared for the held command; see the gateway's log")
    return found[-1]


def _waits_for(item: dict[str, Any], name: str) -> bool:
    return bool(
        item.get("status", {}).get("phase") == "Pending" and item["spec"]["request"].get("name") == name
    )


def _phase(story: Story, name: str) -> str:
    return str((story.admin.get("apreq", name) or {}).get("status", {}).get("phase"))


def _is_going(story: Story, namespace: str) -> bool:
    found = story.admin.get("namespace", namespace)
    return found is None or "deletionTimestamp" in found["metadata"]


def _eventually(check: Callable[[], bool], *, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.2)
    return False


def _config(namespace: str, name: str, content: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}


def _claims(kubeconfig: Path) -> dict[str, Any]:
    payload = people.token_of(kubeconfig).split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _write_forged(story: Story, path: Path) -> None:
    """The agent's own token with other groups, under the old signature."""
    header, _, signature = people.token_of(story.layout.agent_kubeconfig).split(".")
    claims = {**_claims(story.layout.agent_kubeconfig), "groups": ["platform-admins", *up.AGENT[1]]}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    cluster = {
        "server": story.stack.gateway_url,
        "certificate-authority-data": base64.b64encode(story.layout.ca_file.read_bytes()).decode(),
    }
    people.write_kubeconfig(path, cluster, {"token": f"{header}.{payload}.{signature}"})


def _last(records: list[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return next((record for record in reversed(records) if wanted(record)), {})


def _quoted(word: str) -> str:
    return f"'{word}'" if any(character in word for character in ' {}"') else word
