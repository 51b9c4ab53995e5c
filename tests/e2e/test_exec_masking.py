"""What pods print through exec, attach, cp and a terminal: no secret reaches the client, nothing else changes (rows SM-*)."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.stack import up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from hack.stack.ports import free_port
from tests.e2e.agents import Agents
from tests.e2e.streaming import (
    PIECES,
    SPDY_FIRST,
    STARS,
    TOKEN,
    WebSocketExec,
    own_record,
    terminal,
)
from tests.e2e.test_interactive import fetch, read_until, running
from tests.e2e.test_python_client import api_of, conversation, forwarded
from tests.e2e.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.pods]

PROTOCOLS = ["", "channel.k8s.io", "base64.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"]
"""What a kubelet of 1.20 serves."""
PROMPT = b"# "
WAYS = pytest.mark.parametrize("way", [{}, SPDY_FIRST], ids=["websocket-first", "spdy"])


@pytest.fixture(scope="module", autouse=True)
def governed(agents: Agents) -> None:
    agents.govern(
        "masked-streams",
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        masking={"profile": "Standard"},
        recording={"streams": "Required"},
    )


@pytest.fixture(scope="module")
def agent(agents: Agents) -> Kubectl:
    return agents.kubectl("masked-streams")


@dataclass(frozen=True)
class Lone:
    """The agent in a run that no other test has, so that its records are those of one test."""

    kubectl: Kubectl
    run: str


@pytest.fixture
def lone(agents: Agents) -> Lone:
    own = f"run-lone-{secrets.token_hex(4)}"
    return Lone(agents.kubectl("masked-streams", run=own), own)


def run(
    agent: Kubectl, way: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = agent.command(*arguments)
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={**agent.environment(), **way},
    )


def exec_path(namespace: str, command: str, **options: str) -> str:
    query = [("command", word) for word in ("sh", "-c", command)]
    query += list({"container": "main", "stdout": "true", "stderr": "true", **options}.items())
    return f"/api/v1/namespaces/{namespace}/pods/shell/exec?{urllib.parse.urlencode(query)}"


@WAYS
def test_sm07_what_a_command_prints(agent: Kubectl, pod_namespace: str, way: dict[str, str]) -> None:
    script = f"echo plain; printf 'A={TOKEN}\\0B=b\\n'; echo {TOKEN} >&2; exit 7"
    done = run(agent, way, "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", script)
    assert done.stdout == f"plain\nA={STARS}\0B=b\n".encode()
    assert done.stderr.splitlines()[0] == STARS.encode()
    assert done.returncode == 7


@WAYS
def test_sm07_a_secret_in_pieces(agent: Kubectl, pod_namespace: str, way: dict[str, str]) -> None:
    done = run(agent, way, "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", PIECES)
    shown = done.stdout.decode()
    assert len(shown) == len(TOKEN) + 1
    assert set(shown[len("ghp_") :].strip()) == {"*"}


@WAYS
def test_a_secret_typed_into_a_terminal_is_not_shown(
    agent: Kubectl, pod_namespace: str, way: dict[str, str]
) -> None:
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh", way=way) as screen:
        screen.wait_for(PROMPT)
        screen.type(f'X={TOKEN}; echo "<$X>"; echo ${{#X}} characters; exit 4\r')
        assert screen.wait() == 4
    assert TOKEN.encode() not in screen.shown
    assert b"<" + STARS.encode() + b">" in screen.shown
    assert b"%d characters" % len(TOKEN) in screen.shown


def test_a_prompt_is_shown_at_once(agent: Kubectl, pod_namespace: str) -> None:
    """It does not end its line, and somebody waits for it."""
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh") as screen:
        screen.wait_for(PROMPT)
        screen.type("printf 'Go on? '; read answer; echo you said $answer; exit\r")
        screen.wait_for(b"Go on? ")
        screen.type("yes\r")
        assert screen.wait() == 0
    assert b"you said yes" in screen.shown


def test_attach(agent: Kubectl, pod_namespace: str) -> None:
    with running(agent.command("attach", "-i", "-n", pod_namespace, "echo"), agent.environment()) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"before {TOKEN} after\n".encode())
        process.stdin.flush()
        shown = read_until(process.stdout.fileno(), b"after\n")
    assert shown.endswith(f"before {STARS} after\n".encode())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sm09_over_websocket_it_is_the_same(
    agent: Kubectl, layout: Layout, stack: up.Stack, pod_namespace: str, protocol: str
) -> None:
    script = f"read line; echo got $line; {PIECES}; echo {TOKEN} >&2; exit 3"
    path = exec_path(pod_namespace, script, stdin="true")
    client = WebSocketExec(layout, agent, stack.gateway_url, path, protocol)
    client.send(0, b"hello\n")
    said = client.read_to_end()
    client.close()
    assert said.of(1).startswith(b"got hello\n")
    assert said.of(2) == STARS.encode() + b"\n"
    assert TOKEN[6:].encode() not in said.of(1) + said.of(3)
    assert len(said.of(1)) == len(f"got hello\n{TOKEN}\n")
    if "v4" in protocol:
        assert json.loads(said.of(3))["details"]["causes"][0]["message"] == "3"


@WAYS
def test_sm08_cp_from_a_pod_keeps_lengths(
    agent: Kubectl, admin: Kubectl, pod_namespace: str, tmp_path: Path, way: dict[str, str]
) -> None:
    make = f"mkdir -p /tmp/cp && cd /tmp/cp && printf 'key: {TOKEN}\\n' > note && head -c 300000 /dev/urandom > noise"
    admin.must("making files", "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", make)
    target = tmp_path / "copied"
    done = run(agent, way, "cp", f"{pod_namespace}/shell:/tmp/cp", str(target))
    assert done.returncode == 0, done.stderr
    assert (target / "note").read_text() == f"key: {STARS}\n"
    assert (target / "noise").stat().st_size == 300000


@WAYS
def test_cp_to_a_pod_arrives_as_it_is(
    agent: Kubectl, admin: Kubectl, pod_namespace: str, tmp_path: Path, way: dict[str, str]
) -> None:
    source = tmp_path / "upload"
    source.write_bytes(f"key: {TOKEN}\n".encode() + os.urandom(1_000_000))
    done = run(agent, way, "cp", str(source), f"{pod_namespace}/shell:/tmp/uploaded")
    assert done.returncode == 0, done.stderr
    sizes = "wc -c < /tmp/uploaded; head -n 1 /tmp/uploaded"
    told = admin.must("looking at it", "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", sizes)
    assert told.split("\n")[:2] == [str(source.stat().st_size), f"key: {TOKEN}"]


@WAYS
def test_port_forward_is_opaque_and_counted(
    lone: Lone, layout: Layout, pod_namespace: str, way: dict[str, str]
) -> None:
    port = free_port()
    command = lone.kubectl.command("port-forward", "-n", pod_namespace, "pod/web", f"{port}:18099")
    with running(command, {**lone.kubectl.environment(), **way}) as process:
        for _ in range(3):
            text = until("an answer", lambda: fetch(f"http://127.0.0.1:{port}/index.html"))
            assert text == "from-the-pod\n"
        process.terminate()
        process.wait(20)
    record = own_record(layout, lone.run, "portforward")
    assert record["stream"]["ports"]["18099"] > 3 * len("from-the-pod\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_python_client_talks_and_forwards(lone: Lone, layout: Layout, pod_namespace: str) -> None:
    """It types in text messages, and forwards ports over channels instead of a tunnel."""
    api = api_of(lone.kubectl)
    assert conversation(api, pod_namespace) == "hello"
    assert forwarded(api, pod_namespace) == b"from-the-pod\n"
    record = own_record(layout, lone.run, "portforward")
    assert record["stream"]["protocol"] == "WebSocket v4.channel.k8s.io"
    assert record["stream"]["ports"]["18099"] > len("from-the-pod\n")
    assert own_record(layout, lone.run)["stream"]["bytes"]["stdin"] == len("hello\n")


def test_masked_counts_are_on_the_record_and_no_secret_is(
    lone: Lone, layout: Layout, pod_namespace: str
) -> None:
    run(lone.kubectl, {}, "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", PIECES)
    record = own_record(layout, lone.run)
    assert sum(record["masked"].values()) >= 1
    assert TOKEN not in json.dumps(record)


def test_st11_kubectl_prints_why_a_stream_was_ended(
    agents: Agents, admin: Kubectl, layout: Layout, pod_namespace: str
) -> None:
    doomed_run = f"run-doomed-{secrets.token_hex(4)}"
    doomed = agents.kubectl("masked-streams", run=doomed_run)
    command = doomed.command("exec", "-n", pod_namespace, "shell", "--", "sh", "-c", "echo up; sleep 600")
    environment = {**doomed.environment(), **SPDY_FIRST}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        read_until(process.stdout.fileno(), b"up\n")
        terminate(admin, doomed_run)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"the gateway ended this stream" in errors
    record = own_record(layout, doomed_run)
    assert record["recording"]["state"] == "sealed"
    assert record["reason"]


def terminate(admin: Kubectl, doomed_run: str) -> None:
    (name,) = until("its session", lambda: _sessions(admin, doomed_run))
    ended = '{"spec":{"terminated":true}}'
    admin.must("terminating", "patch", "agentsession", name, "--type=merge", "-p", ended)


def _sessions(admin: Kubectl, run_id: str) -> list[str]:
    items = (admin.get("agentsessions") or {"items": []})["items"]
    return [item["metadata"]["name"] for item in items if item["spec"].get("run") == run_id]


def test_st11_a_websocket_client_is_told_on_the_error_channel(
    agents: Agents, admin: Kubectl, layout: Layout, stack: up.Stack, pod_namespace: str
) -> None:
    doomed_run = f"run-doomed-{secrets.token_hex(4)}"
    doomed = agents.kubectl("masked-streams", run=doomed_run)
    client = WebSocketExec(
        layout, doomed, stack.gateway_url, exec_path(pod_namespace, "echo up; sleep 600"), "v4.channel.k8s.io"
    )
    client.wait_for(b"up\n")
    terminate(admin, doomed_run)
    status = json.loads(client.read_to_end().of(3))
    client.close()
    assert (status["kind"], status["status"]) == ("Status", "Failure")
    assert status["message"].startswith("the gateway ended this stream: ")
