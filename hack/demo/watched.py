"""Chapters about what an agent does not get to see, and about being watched: masked, recorded, stopped, shown."""

import subprocess

from hack.demo.screen import AGENT, APPROVER, chapter, shown, typed
from hack.demo.stage import Story, eventually, output, pending
from hack.stack import up
from hack.stack.kubectl import Kubectl

PASSWORD = "correct-horse-battery-staple"
SETTINGS = f"colour=blue\ndb.password={PASSWORD}\n"
SECOND_RUN = "run-0002"
FILE = "/tmp/shop.properties"  # noqa: S108 - in the pod


def masked(story: Story, number: int) -> None:
    chapter(
        number,
        "Masked: a password that stays where it is",
        "A ConfigMap of the demo holds a password. The agent reads it, changes another line, and writes it back.",
    )
    metadata = {"name": "shop", "namespace": "demo"}
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"app.properties": SETTINGS},
    }
    story.admin.apply("making the shop's settings", [settings])
    agent = story.agent_of(story.editing_run)
    read = story.run(AGENT, agent, "get", "configmap", "shop", "-n", "demo", "-o", "yaml")
    story.check(
        "blue" in read.stdout and PASSWORD not in read.stdout,
        "the agent sees a placeholder in place of the password",
    )
    typed(
        AGENT,
        "kubectl get configmap shop -n demo -o yaml | sed s/blue/green/ | kubectl replace -f -    # …waits",
    )
    waiting = waits(agent, "replace", "-f", "-", stdin=read.stdout.replace("blue", "green"))
    name = pending(story, "shop")
    story.chaperone(APPROVER, story.approver, "show", name, most=60)
    story.chaperone(APPROVER, story.approver, "approve", name)
    shown(AGENT, output(waiting))
    stored = (
        (story.admin.get("configmap", "shop", "-n", "demo") or {}).get("data", {}).get("app.properties", "")
    )
    story.check(
        stored == SETTINGS.replace("blue", "green"),
        "what is stored has the new colour and the old password: the placeholder was put back for what it stands for",
    )


def recorded(story: Story, number: int) -> None:
    """Only where there is a pod to run a command in."""
    chapter(
        number,
        "Recorded: a command in a pod",
        "A command in a pod needs a person here. What it prints is masked on its way, and recorded.",
    )
    story.admin.must(
        "writing a file into the demo's pod",
        *("exec", "web", "-n", "demo", "--", "sh", "-c", f"printf '{SETTINGS}' > {FILE}"),
    )
    command = ("exec", "web", "-n", "demo", "--", "cat", FILE)
    typed(AGENT, f"kubectl {' '.join(command)}    # …waits")
    waiting = waits(story.agent, *command)
    name = pending(story, "web")
    story.chaperone(APPROVER, story.approver, "approve", name, "--reason", "go on")
    printed = output(waiting)
    shown(AGENT, printed)
    story.check(
        "colour=blue" in printed and PASSWORD not in printed,
        "it ran; the password that it printed did not come out",
    )
    kept = eventually(lambda: any(story.layout.recordings.rglob("*.jsonl")))
    story.check(kept, f"the recording is in {story.layout.recordings}, sealed by its digest in the audit")


def stopped(story: Story, number: int) -> None:
    chapter(
        number,
        "Stopped: a run that went astray",
        "Another run of the agent watches. A person ends the run: its stream closes, and it is refused from then on.",
    )
    stray = story.agent_of(SECOND_RUN)
    typed(AGENT, "kubectl get configmaps -n demo --watch    # …")
    watching = waits(stray, "get", "configmaps", "-n", "demo", "--watch")
    name = session_of(story, SECOND_RUN)
    if name:
        story.chaperone(
            APPROVER, story.approver, "sessions", "kill", name, "--reason", "it goes in circles", "--yes"
        )
    story.check(
        bool(name) and eventually(lambda: watching.poll() is not None, seconds=10), "its watch has ended"
    )
    watching.kill()
    watching.communicate()
    done = story.run(AGENT, stray, "get", "configmaps", "-n", "demo")
    story.check(
        done.returncode != 0 and "it goes in circles" in done.stderr,
        "it is refused, and told by whom and why",
    )
    still = story.agent.run("get", "configmaps", "-n", "demo")
    story.check(still.returncode == 0, "the agent's other run goes on")


def in_the_console(story: Story, number: int) -> None:
    chapter(
        number,
        "Watched: the run in the console",
        "People see the same in a browser: what waits, each run's timeline, replay, search, and the switch.",
    )
    name = session_of(story, up.AGENT[2])
    found = story.run(APPROVER, story.approver, "get", "agsess")
    story.check(bool(name) and name in found.stdout, "the run has its AgentSession, with live counts")
    shown(APPROVER, f"{story.stack.console_url}/sessions/{name}")


def waits(who: Kubectl, *arguments: str, stdin: str = "") -> subprocess.Popen[str]:
    """kubectl, begun; its input is given, its output is for later."""
    begun = subprocess.Popen(
        who.command(*arguments),
        env=who.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if begun.stdin is not None:
        begun.stdin.write(stdin)
        begun.stdin.close()
        begun.stdin = None
    return begun


def session_of(story: Story, run: str) -> str:
    """The name of a run's AgentSession, "" when none appears."""
    found: list[str] = []

    def look() -> bool:
        items = (story.admin.get("agsess") or {}).get("items", [])
        found[:] = [item["metadata"]["name"] for item in items if item["spec"].get("run") == run]
        return bool(found)

    eventually(look)
    return found[0] if found else ""
