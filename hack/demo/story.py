"""The chapters. Each types real commands, shows their real output, and checks what must have happened."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import yaml

from hack.cluster import pods
from hack.demo import undone, watched
from hack.demo.screen import ADMIN, AGENT, APPROVER, ATTACKER, SECOND, chapter, shown, typed
from hack.demo.stage import (
    PRODUCTION,
    VICTIM,
    Story,
    claims_in,
    config,
    deployment,
    eventually,
    is_going,
    last,
    output,
    pending,
    pending_access,
    phase,
    replicas,
    seen_by_the_server,
    write_forged,
)
from hack.stack import objects, people, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "production.yaml"
GRANT_SECONDS = 20
APPROVE = '{"status":{"decision":"Approved"}}'


def tell(stack: up.Stack) -> list[str]:
    """All chapters in order; what went wrong comes back (empty: nothing)."""
    story = Story(stack)
    _set_the_scene(story)
    chapters: list[Callable[[Story, int], None]] = [
        _who_am_i,
        _allowed,
        _blocked,
        _held_and_approved,
        _two_people,
        _for_a_time,
        _replayed,
        _round_the_gateway,
        _forged,
        watched.masked,
        undone.undone,
        *([watched.recorded] if stack.cluster.has_node else []),
        watched.stopped,
        _on_the_record,
        watched.in_the_console,
    ]
    for number, tell_chapter in enumerate(chapters, 1):
        tell_chapter(story, number)
    return story.wrong


def _set_the_scene(story: Story) -> None:
    """A workload to look at, a namespace to delete."""
    scene: list[dict[str, Any]] = [objects.namespace(name) for name in (VICTIM, PRODUCTION, "staging")]
    scene.append(config(VICTIM, "notes", {"todo": "clean up"}))
    scene += [deployment(PRODUCTION, "checkout"), *yaml.safe_load_all(EXAMPLE.read_text())]
    if story.stack.cluster.has_node:
        scene.append(pods.pod("web", "demo"))
    else:
        scene.append(config("demo", "web", {"colour": "blue"}))
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
    claims = claims_in(story.layout.agent_kubeconfig)
    typed(AGENT, "cat agent.kubeconfig   # the token's claims")
    shown(AGENT, json.dumps({key: claims.get(key) for key in ("iss", "sub", "groups", "run")}))
    done = story.run(AGENT, story.agent, "auth", "can-i", "list", "pods", "-n", "demo")
    story.check(
        done.stdout.strip() == "yes",
        "the gateway took the token; the cluster answered to the agent's narrow identity",
    )
    record = last(story.audit(), lambda record: "selfsubjectaccessreviews" in str(record.get("requestURI")))
    seen = seen_by_the_server(story, str(record.get("auditID"))) or record.get("impersonatedUser") or {}
    shown(
        AGENT,
        f"the API server saw: {json.dumps({key: seen[key] for key in ('username', 'extra') if key in seen})}",
    )
    story.check(
        seen.get("username") == "system:serviceaccount:agents:coder",
        "impersonated: the service account that the policy names, with run, agent and policy as extras",
    )


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
    name = pending(story)
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
    shown(AGENT, output(waiting))
    story.check(waiting.returncode == 0, "the waiting command went on and succeeded")
    spent = eventually(lambda: phase(story, name) == "Executed")
    shown(APPROVER, story.approver.run("get", "apreq", name).stdout)
    story.check(spent, "the approval is spent: Executed")
    story.check(eventually(lambda: is_going(story, VICTIM)), "the namespace goes")


def _two_people(story: Story, number: int) -> None:
    chapter(
        number,
        "Two people: production",
        "A second policy asks for two people there. They see what would happen before they decide.",
    )
    up.wait_for_agent(story.layout.agent_kubeconfig, f"/apis/apps/v1/namespaces/{PRODUCTION}/deployments")
    typed(AGENT, f"kubectl scale deployment checkout --replicas=0 -n {PRODUCTION}    # …waits")
    waiting = subprocess.Popen(
        story.agent.command("scale", "deployment", "checkout", "--replicas=0", "-n", PRODUCTION),
        env=story.agent.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    name = pending(story, "checkout")
    seen = story.chaperone(APPROVER, story.approver, "show", name, most=60)
    story.check(
        "replicas" in seen.stdout, "the preview shows the change, made by a server-side dry run as the agent"
    )
    story.chaperone(APPROVER, story.approver, "approve", name, "--reason", "nobody shops at night")
    story.check(replicas(story) == 1 and waiting.poll() is None, "one of two: the command still waits")
    story.chaperone(SECOND, story.second, "approve", name)
    shown(AGENT, output(waiting))
    story.check(waiting.returncode == 0 and replicas(story) == 0, "two of two: it is done")


def _for_a_time(story: Story, number: int) -> None:
    chapter(
        number,
        "For a time: rights that end by themselves",
        f"The agent asks for rights in staging; people grant them for {GRANT_SECONDS} seconds.",
    )
    can_i = ("auth", "can-i", "create", "configmaps", "-n", "staging")
    story.check(story.run(AGENT, story.agent, *can_i).stdout.strip() == "no", "not now")
    terms = (
        "--role",
        "edit",
        "-n",
        "staging",
        "--for",
        f"{GRANT_SECONDS}s",
        "--reason",
        "repair the settings",
    )
    story.chaperone(AGENT, story.agent, "request-access", *terms)
    name = pending_access(story)
    for voice, person in ((APPROVER, story.approver), (SECOND, story.second)):
        story.chaperone(voice, person, "approve", name)
    allowed = eventually(lambda: story.agent.run(*can_i).stdout.strip() == "yes", seconds=GRANT_SECONDS - 2)
    shown(AGENT, f"$ kubectl {' '.join(can_i)}\n{'yes' if allowed else 'no'}")
    story.check(allowed, "granted: a RoleBinding in staging, and nowhere else")
    ended = eventually(lambda: story.agent.run(*can_i).stdout.strip() == "no", seconds=GRANT_SECONDS + 40)
    story.run(APPROVER, story.approver, "get", "apreq", name)
    story.check(ended, "gone when the time was over")


def _replayed(story: Story, number: int) -> None:
    chapter(
        number,
        "Replayed: the same approval again",
        "The namespace is made anew. Yesterday's approval was for another object, once: it is worth nothing.",
    )
    eventually(lambda: not story.exists("namespace", VICTIM), seconds=60)
    story.admin.apply("making the namespace anew", [objects.namespace(VICTIM)])
    arguments = ("delete", "namespace", VICTIM, "--wait=false", "--request-timeout=4s")
    done = story.run(AGENT, story.agent, *arguments)
    story.check(done.returncode != 0, "held again: the old approval does not open the door")
    story.check(not is_going(story, VICTIM), "the new namespace is untouched")


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
    story.check(not is_going(story, VICTIM), "the namespace is untouched")


def _forged(story: Story, number: int) -> None:
    chapter(
        number,
        "Forged: a token with another signature",
        "The claims say platform-admins; the signature is not the issuer's.",
    )
    path = story.layout.kubeconfig("forged")
    write_forged(story, path)
    done = story.run(ATTACKER, Kubectl(path), "get", "pods", "-n", "demo")
    story.check(
        done.returncode != 0 and "must be logged in" in done.stderr,
        "401: not one byte reached the cluster",
    )


def _on_the_record(story: Story, number: int) -> None:
    chapter(
        number,
        "On the record",
        "Every request of the run, with its verdict, in a signed chain: nobody changes it unseen.",
    )
    store, run = str(story.layout.audit), up.AGENT[2]
    search = ("audit", "search", "--store", store, "--run", run, "--limit", "10")
    found = story.chaperone(ADMIN, story.admin, *search)
    verdicts = {str(record.get("verdict")) for record in story.audit() if record.get("run") == run}
    story.check(
        found.returncode == 0 and "Allow" in verdicts and len(verdicts & {"Hold", "Deny"}) > 0,
        "allowed, held and denied requests of the run are all there",
    )
    verified = story.chaperone(ADMIN, story.admin, "audit", "verify", store)
    story.check(verified.returncode == 0, "no record was edited, removed, moved or added")
