"""Recordings of real streams: byte for byte what was shown, sealed in the audit, whatever fails (rows ST-09, ST-11)."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.recording.reading import What
from chaperone.store.interface import Query
from hack.stack import audit, programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.agents import Agents
from tests.e2e.holding import decide, waiting
from tests.e2e.streaming import (
    SPDY_FIRST,
    STARS,
    TOKEN,
    WebSocketExec,
    kept,
    last_record,
    records_of,
    terminal,
)
from tests.e2e.test_exec_masking import PROMPT, WAYS, exec_path, run
from tests.e2e.test_held_clients import exec_approval
from tests.e2e.test_interactive import read_until
from tests.e2e.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.pods]

RUN = "run-recorded"
EVERYTHING: dict[str, Any] = {
    "access": [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
    "rules": [{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
}


@pytest.fixture(scope="module")
def agent(agents: Agents) -> Kubectl:
    agents.govern("recorded", **EVERYTHING, recording={"streams": "Required"})
    return agents.kubectl("recorded", run=RUN)


@pytest.fixture(scope="module")
def relaxed(agents: Agents) -> Kubectl:
    agents.govern("best-effort", **EVERYTHING, recording={"streams": "BestEffort", "stdin": True})
    return agents.kubectl("best-effort", run="run-best-effort")


@WAYS
def test_a_terminal_with_resizes_replays_byte_for_byte(
    agent: Kubectl, layout: Layout, pod_namespace: str, way: dict[str, str]
) -> None:
    before = len(records_of(layout, RUN))
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh", way=way) as screen:
        screen.wait_for(PROMPT)
        screen.type("stty size; printf '\\033[1;32mgr\\303\\274n \\342\\202\\254\\033[0m\\n'\r")
        screen.wait_for("grün €".encode())
        screen.resize(120, 40)
        screen.type("sleep 0.5; stty size\r")
        screen.wait_for(b"40 120")
        screen.resize(90, 20)
        screen.type(f"sleep 0.5; stty size; echo {TOKEN}; exit 5\r")
        assert screen.wait() == 5
    record = last_record(layout, RUN, after=before)
    recording = kept(layout, record)
    assert bytes(screen.shown).startswith(recording.data())
    assert b"20 90" in recording.data()
    assert STARS.encode() in recording.data()
    assert TOKEN.encode() not in recording.raw
    sizes = [moment.size for moment in recording.moments if moment.what is What.RESIZE]
    assert sizes[0] == (100, 30)
    assert (120, 40) in sizes
    assert sizes[-1] == (90, 20)
    assert record["recording"]["exitCode"] == 5
    assert record["recording"]["name"].endswith(".cast")
    assert recording.moments[-1].code == 5
    assert recording.data(What.INPUT) == b""


def test_the_header_names_run_pod_and_command(agent: Kubectl, layout: Layout, pod_namespace: str) -> None:
    record = last_record(layout, RUN)
    head = json.loads(kept(layout, record).raw.splitlines()[0])
    assert head["version"] == 2
    assert head["command"] == "sh"
    about = head["chaperone"]
    assert (about["namespace"], about["pod"], about["container"]) == (pod_namespace, "shell", "main")
    assert (about["kind"], about["run"], about["policy"]) == ("exec", RUN, "recorded")
    assert about["auditID"] == record["auditID"]


@WAYS
def test_a_command_without_a_terminal_has_a_transcript(
    agent: Kubectl, layout: Layout, pod_namespace: str, way: dict[str, str]
) -> None:
    before = len(records_of(layout, RUN))
    script = "echo out; echo err >&2; head -c 100000 /dev/zero; exit 9"
    done = run(agent, way, "exec", "-n", pod_namespace, "shell", "--", "sh", "-c", script)
    record = last_record(layout, RUN, after=before)
    recording = kept(layout, record)
    assert recording.data(source="stdout") == done.stdout == b"out\n" + bytes(100000)
    assert recording.data(source="stderr") == b"err\n"
    assert recording.moments[-1].code == record["recording"]["exitCode"] == 9
    assert record["stream"]["bytes"]["stdout"] == 100004
    assert record["recording"]["name"].endswith(".jsonl")


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "base64.channel.k8s.io"])
def test_a_websocket_client_is_recorded_alike(
    agent: Kubectl, layout: Layout, stack: up.Stack, pod_namespace: str, protocol: str
) -> None:
    before = len(records_of(layout, RUN))
    sized = "until stty size 2>/dev/null | grep '44 133'; do sleep 0.1; done"  # the node sizes terminals in its own time
    path = exec_path(pod_namespace, f"read x; {sized}; echo got $x", tty="true", stdin="true")
    client = WebSocketExec(layout, agent, stack.gateway_url, path.replace("&stderr=true", ""), protocol)
    client.send(4, b'{"Width":133,"Height":44}')
    client.send(0, b"hello\n")
    said = client.read_to_end()
    client.close()
    recording = kept(layout, last_record(layout, RUN, after=before))
    assert recording.data() == said.of(1)
    assert b"44 133\r\ngot hello\r\n" in recording.data()
    assert (133, 44) in [moment.size for moment in recording.moments]


def test_stdin_is_recorded_where_policy_says_so(relaxed: Kubectl, layout: Layout, pod_namespace: str) -> None:
    typed, before = f"one\nkey {TOKEN}\n".encode(), len(records_of(layout, "run-best-effort"))
    done = run(
        relaxed,
        {},
        "exec",
        "-i",
        "-n",
        pod_namespace,
        "shell",
        "--",
        "sh",
        "-c",
        "cat > /dev/null",
        stdin=typed,
    )
    assert done.returncode == 0, done.stderr
    recording = kept(layout, last_record(layout, "run-best-effort", after=before))
    assert recording.data(What.INPUT) == f"one\nkey {STARS}\n".encode()


@WAYS
def test_without_masking_what_passes_is_only_read(
    agents: Agents, layout: Layout, pod_namespace: str, way: dict[str, str]
) -> None:
    off = {"profile": "Off", "reason": "a test of streams that are recorded as they are"}
    agents.govern("unmasked", **EVERYTHING, masking=off, recording={"streams": "BestEffort"})
    agent = agents.kubectl("unmasked", run="run-unmasked")
    before = len(records_of(layout, "run-unmasked"))
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh", way=way) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"echo {TOKEN} shown; exit 6\r")
        assert screen.wait() == 6
    record = last_record(layout, "run-unmasked", after=before)
    recording = kept(layout, record)
    assert bytes(screen.shown).startswith(recording.data())
    assert f"{TOKEN} shown\r\n".encode() in recording.data()
    assert record["recording"]["exitCode"] == 6
    assert "masked" not in record


def test_kubectl_chaperone_replay_plays_it(layout: Layout, agent: Kubectl, pod_namespace: str) -> None:
    before = len(records_of(layout, RUN))
    run(agent, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", "seen again")
    record = last_record(layout, RUN, after=before)
    path = Path(layout.recordings) / record["recording"]["name"]
    command = [sys.executable, "-m", "chaperone.cli", "replay", str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "seen again\n"


def test_an_approved_exec_names_its_approval(
    agents: Agents, admin: Kubectl, approver: Kubectl, layout: Layout, pod_namespace: str
) -> None:
    asks = {"name": "ask", "match": {"resources": ["pods/exec"]}, "action": "RequireApproval"}
    agents.govern(
        "recorded-if-approved",
        access=EVERYTHING["access"],
        rules=[asks, *EVERYTHING["rules"]],
        approval={"holdFor": "60s"},
        recording={"streams": "Required"},
    )
    run_id, word = f"run-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    patient = agents.kubectl("recorded-if-approved", run=run_id)
    command = patient.command("exec", "-n", pod_namespace, "shell", "--", "echo", word)
    with waiting(command, patient.environment()) as process:
        name = exec_approval(admin, word)["metadata"]["name"]
        assert list(Path(layout.recordings).rglob("*.part")) == []
        decide(approver, name, "Approved")
        output, _ = process.communicate(timeout=60)
    assert word in output
    recording = kept(layout, last_record(layout, run_id))
    assert recording.opening.about["approval"] == name
    assert recording.data() == f"{word}\n".encode()


# What fails


@pytest.fixture
def without_store(layout: Layout) -> Iterator[None]:
    """A file stands where the folder of recordings was."""
    folder = Path(layout.recordings)
    aside = folder.with_name("recordings-aside")
    folder.rename(aside)
    folder.touch()
    yield
    folder.unlink()
    aside.rename(folder)


@WAYS
@pytest.mark.usefixtures("without_store")
def test_st09_what_must_be_recorded_is_refused_without_a_store(
    agent: Kubectl, admin: Kubectl, pod_namespace: str, way: dict[str, str]
) -> None:
    done = run(agent, way, "exec", "-n", pod_namespace, "shell", "--", "touch", "unrecorded")
    assert done.returncode != 0
    assert b"recorded" in done.stderr
    looked = admin.run("exec", "-n", pod_namespace, "shell", "--", "ls", "unrecorded")
    assert "No such file" in looked.stderr


@pytest.mark.usefixtures("without_store")
def test_st09_best_effort_goes_on_and_the_record_tells(
    relaxed: Kubectl, layout: Layout, pod_namespace: str
) -> None:
    before = len(records_of(layout, "run-best-effort"))
    done = run(relaxed, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", TOKEN)
    assert done.stdout == f"{STARS}\n".encode()
    record = last_record(layout, "run-best-effort", after=before)
    assert record["recording"]["state"] == "failed"
    assert record["recording"]["exitCode"] == 0


def test_a_gateway_that_is_killed_leaves_a_recording_up_to_its_end(
    agent: Kubectl, layout: Layout, stack: up.Stack, pod_namespace: str
) -> None:
    """It is sealed when the gateway starts again, and recorded as cut off."""
    command = agent.command("exec", "-n", pod_namespace, "shell", "--", "sh", "-c", "echo before; sleep 600")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**agent.environment(), **SPDY_FIRST}
    )
    assert process.stdout
    read_until(process.stdout.fileno(), b"before\n")
    (part,) = until("the recording to be written", lambda: _parts(layout, b"before"))
    programs.restart(layout, stack.program("gateway"), kill=True)
    process.communicate(timeout=60)
    audit_id = part.name.split(".")[0]
    (record,) = until("the record of the cut", lambda: _records(layout, audit_id))
    assert record["stage"] == "Panic"
    assert record["run"] == RUN
    recording = kept(layout, record)
    assert recording.data() == b"before\n"
    assert not part.exists()


def test_a_gateway_that_stops_seals_its_recordings_and_says_why(
    agent: Kubectl, layout: Layout, stack: up.Stack, pod_namespace: str
) -> None:
    before = len(records_of(layout, RUN))
    command = agent.command("exec", "-n", pod_namespace, "shell", "--", "sh", "-c", "echo before; sleep 600")
    environment = {**agent.environment(), **SPDY_FIRST}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        read_until(process.stdout.fileno(), b"before\n")
        programs.restart(layout, stack.program("gateway"))
        _, errors = process.communicate(timeout=60)
    assert b"the gateway ended this stream: the gateway is stopping" in errors
    record = last_record(layout, RUN, after=before)
    recording = kept(layout, record)
    assert record["recording"]["state"] == "sealed"
    assert recording.data() == b"before\n"
    assert record["reason"] == "the gateway is stopping"


def _parts(layout: Layout, wanted: bytes) -> list[Path]:
    return [
        part
        for part in Path(layout.recordings).rglob("*.part")
        if wanted in part.read_bytes().split(b"\n", 1)[1]
    ]


def _records(layout: Layout, audit_id: str) -> list[Mapping[str, Any]]:
    """Those that tell of a recording."""
    every = audit.records(layout, Query(run=RUN))
    return [record for record in every if record["auditID"] == audit_id and "recording" in record]
