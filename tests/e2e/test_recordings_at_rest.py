"""Recordings in an object store, from a real exec to their end: played in a terminal and in the console, held, changed,
lost, pruned, verified. A server of the S3 protocol keeps them, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml
from obstore.store import S3Store
from playwright.sync_api import expect

from chaperone.core.recording_seal import Match, match, seal_of
from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from chaperone.store.recording_objects import ABANDONED, ObjectRecordings
from chaperone.store.recording_store import Recordings, digest_of
from hack.s3_server import client_environment, new_bucket, s3_server
from hack.stack import programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.agents import Agents
from tests.e2e.streaming import SPDY_FIRST, STARS, TOKEN, terminal
from tests.e2e.test_console import ALICE, Login, browser, login  # noqa: F401  fixtures
from tests.e2e.test_exec_masking import PROMPT, WAYS, run
from tests.e2e.test_recording import EVERYTHING
from tests.e2e.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.pods]

RUN = "run-at-rest"
PROGRAMS = ("gateway", "console")


@dataclass(frozen=True)
class Kept:
    """Where this stack keeps its records and recordings meanwhile."""

    server: ExitStack
    store: str
    place: str
    environment: Mapping[str, str]
    bucket: S3Store

    @property
    def recordings(self) -> Recordings:
        return ObjectRecordings(self.bucket)

    def told(self, run: str = RUN) -> list[Mapping[str, Any]]:
        """Records that name a recording, oldest first."""
        audit = open_store(self.store)
        try:
            found = audit.search(Query(run=run), limit=1000).records
        finally:
            audit.close()
        return [entry.record for entry in found if "recording" in entry.record][::-1]

    def chaperone(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "chaperone.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={
                **os.environ,
                **self.environment,
                "CHAPERONE_AUDIT_STORE": self.store,
                "CHAPERONE_RECORDINGS": self.place,
            },
        )


@pytest.fixture(scope="module")
def kept(stack: up.Stack, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Gateway and console with an audit store of their own and recordings in a bucket, as long as this file runs."""
    before = {name: layout.config(name).read_text() for name in PROGRAMS}
    with ExitStack() as server:
        endpoint = server.enter_context(s3_server())
        bucket, folder = new_bucket(endpoint), tmp_path_factory.mktemp("at-rest")
        found = Kept(
            server,
            f"sqlite:///{folder / 'audit.db'}",
            f"s3://{bucket}/kept/recordings",
            client_environment(endpoint),
            S3Store(
                bucket,
                prefix="kept/recordings",
                endpoint=endpoint,
                region="us-east-1",
                access_key_id="test",
                secret_access_key="test",
                client_options={"allow_http": True},
            ),
        )
        settings = {name: yaml.safe_load(text) for name, text in before.items()}
        settings["gateway"]["audit"] = {"store": found.store}
        settings["gateway"]["recordings"] = {"path": found.place, "retention": "90d"}
        settings["console"]["records"] = {"store": found.store, "recordings": found.place}
        _restart(stack, {name: yaml.safe_dump(each) for name, each in settings.items()}, found.environment)
        try:
            yield found
        finally:
            _restart(stack, before, {})


def _restart(stack: up.Stack, settings: Mapping[str, str], environment: Mapping[str, str]) -> None:
    for name, text in settings.items():
        stack.layout.config(name).write_text(text)
        programs.restart(stack.layout, _program(stack, name, environment))


def _program(stack: up.Stack, name: str, environment: Mapping[str, str]) -> programs.Program:
    known = stack.program(name)
    return replace(known, environment={**known.environment, **environment})


@pytest.fixture(scope="module")
def agent(kept: Kept, agents: Agents) -> Kubectl:
    agents.govern("at-rest", **EVERYTHING, recording={"streams": "Required"})
    return agents.kubectl("at-rest", run=RUN)


def ended(kept: Kept, after: int, run_id: str = RUN) -> Mapping[str, Any]:
    return until("the record of the stream", lambda: kept.told(run_id)[after:])[-1]


def name_of(record: Mapping[str, Any]) -> str:
    return str(record["recording"]["name"])


@WAYS
def test_a_real_terminal_is_kept_and_replayed_from_the_bucket(
    kept: Kept, agent: Kubectl, pod_namespace: str, way: dict[str, str]
) -> None:
    before = len(kept.told())
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh", way=way) as screen:
        screen.wait_for(PROMPT)
        pieces = [
            each["path"] for batch in obstore.list(kept.bucket) for each in batch if ".part/" in each["path"]
        ]
        assert pieces, "its header is in the store before anything is asked of the pod"
        screen.type(f"echo kept-in-the-bucket {TOKEN}; exit 3\r")
        assert screen.wait() == 3
    record = ended(kept, before)
    found = kept.recordings.stored(name_of(record))
    assert found.is_sealed
    assert match(seal_of([record], name_of(record)), *digest_of(found.chunks))[0] is Match.SEALED
    played = kept.chaperone("replay", name_of(record))
    assert played.returncode == 0, played.stderr
    assert f"kept-in-the-bucket {STARS}\n" in played.stdout
    assert TOKEN not in played.stdout
    assert "are those in the audit record" in played.stderr
    by_id = kept.chaperone("replay", str(record["auditID"]))
    assert by_id.stdout == played.stdout
    by_address = kept.chaperone("replay", f"{kept.place}/{name_of(record)}")
    assert by_address.stdout == played.stdout


def test_a_run_is_told_in_order_with_its_recordings(kept: Kept, agent: Kubectl, pod_namespace: str) -> None:
    run(agent, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", "a command of the run")
    until("its record", lambda: name_of(kept.told()[-1]).endswith(".jsonl"))
    told = kept.chaperone("sessions", "replay", RUN, "--speed", "0")
    assert told.returncode == 0, told.stderr
    assert told.stdout.index("kept-in-the-bucket") < told.stdout.index("a command of the run")


def test_the_console_plays_it_from_the_bucket(
    kept: Kept,
    agent: Kubectl,
    pod_namespace: str,
    login: Login,  # noqa: F811
) -> None:
    before = len(kept.told())
    with terminal(agent, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh") as screen:
        screen.wait_for(PROMPT)
        screen.type("echo seen-in-the-browser; exit\r")
        screen.wait()
    name = name_of(ended(kept, before))
    page = login(ALICE, path=f"/recordings/{name}")
    page.goto(page.url.split("/recordings")[0].rstrip("/") + f"/recordings/{name}")
    expect(page.get_by_role("note")).to_contain_text("are those in the audit record")
    player = page.locator("#player")
    expect(player.locator(".ap-term, .ap-terminal").first).to_be_visible(timeout=15_000)
    player.click()
    expect(player).to_contain_text("seen-in-the-browser", timeout=20_000)


def test_what_a_killed_gateway_left_is_sealed_with_its_run(
    kept: Kept, agent: Kubectl, stack: up.Stack, pod_namespace: str
) -> None:
    command = agent.command("exec", "-n", pod_namespace, "shell", "--", "sh", "-c", "echo before; sleep 600")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**agent.environment(), **SPDY_FIRST}
    )
    assert process.stdout
    assert process.stdout.readline() == b"before\n"
    programs.restart(stack.layout, _program(stack, "gateway", kept.environment), kill=True)
    process.communicate(timeout=60)
    assert list(kept.recordings.cut_off(time.time())) == [], "another gateway might still write it"
    (cut,) = kept.recordings.cut_off(time.time() + ABANDONED + 1)
    assert cut.about["run"] == RUN
    assert cut.about["pod"] == "shell"
    assert digest_of(kept.recordings.stored(cut.name).chunks) == (cut.length, cut.sha256)


def test_what_somebody_changed_or_took_away_is_found_everywhere(
    kept: Kept,
    agent: Kubectl,
    pod_namespace: str,
    login: Login,  # noqa: F811
) -> None:
    before = len(kept.told())
    for word in ("changed", "taken"):
        run(agent, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", f"was-{word}")
    changed, taken = until("both records", lambda: kept.told()[before + 1 :] and kept.told()[before:])
    good = {
        name_of(each): bytes(obstore.get(kept.bucket, name_of(each)).bytes()) for each in (changed, taken)
    }
    obstore.put(kept.bucket, name_of(changed), good[name_of(changed)].replace(b"was-changed", b"was-CHANGED"))
    obstore.delete(kept.bucket, name_of(taken))
    played = kept.chaperone("replay", name_of(changed))
    assert played.returncode == 1
    assert "NOT what the audit record sealed" in played.stderr
    missed = kept.chaperone("replay", name_of(taken))
    assert missed.returncode == 1
    assert "MISSING" in missed.stderr
    verified = kept.chaperone("audit", "verify", kept.store, "--recordings", kept.place, "--json")
    assert verified.returncode == 1
    faults = [each for each in json.loads(verified.stdout)["recordings"]["findings"] if each["fault"]]
    assert {(each["kind"], each["name"]) for each in faults} == {
        ("Changed", name_of(changed)),
        ("Missing", name_of(taken)),
    }
    page = login(ALICE)
    root = page.url.split("/approvals")[0].rstrip("/")
    page.goto(f"{root}/recordings/{name_of(changed)}")
    expect(page.get_by_role("note")).to_contain_text("NOT what the audit record sealed")
    page.goto(f"{root}/recordings/{name_of(taken)}")
    expect(page.locator("main")).to_contain_text("MISSING")
    for name, content in good.items():
        obstore.put(kept.bucket, name, content)
    assert kept.chaperone("audit", "verify", kept.store, "--recordings", kept.place).returncode == 0


def test_held_pruned_and_verified(
    kept: Kept,
    agents: Agents,
    agent: Kubectl,
    pod_namespace: str,
    login: Login,  # noqa: F811
) -> None:
    held = agents.kubectl("at-rest", run="run-held")
    run(held, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", "kept for the court")
    stays = name_of(ended(kept, 0, "run-held"))
    goes = [name_of(each) for each in kept.told() if each["stage"] == "ResponseComplete"]
    assert goes
    done = kept.chaperone("audit", "hold", "run-held", "--reason", "case 7", "--by", "legal")
    assert done.returncode == 0, done.stderr
    time.sleep(2.1)  # the store counts whole seconds
    key = Path(kept.store.removeprefix("sqlite:///")).with_name("audit.key")
    pruned = kept.chaperone(
        "audit", "prune", "--older-than", "1s", "--signing-key", str(key), "--recordings", kept.place
    )
    assert pruned.returncode == 0, pruned.stderr
    assert "recordings; 1 under legal hold were kept" in pruned.stdout
    left = [each.name.text for day in kept.recordings.days() for each in kept.recordings.sealed(day)]
    assert left == [stays]
    gone = kept.chaperone("replay", goes[0])
    assert gone.returncode == 1
    assert "it was removed by retention on" in gone.stderr
    played = kept.chaperone("replay", stays)
    assert (played.returncode, played.stdout) == (0, "kept for the court\n")
    verified = kept.chaperone("audit", "verify", kept.store, "--recordings", kept.place)
    assert verified.returncode == 0, verified.stderr
    assert "1 as they were sealed" in verified.stdout
    assert "removed by retention" in verified.stdout
    page = login(ALICE)
    page.goto(page.url.split("/approvals")[0].rstrip("/") + f"/recordings/{goes[0]}")
    expect(page.locator("main")).to_contain_text("removed by retention on")


def test_without_its_store_nothing_is_shown_and_nothing_unrecorded_happens(
    kept: Kept,
    agent: Kubectl,
    admin: Kubectl,
    pod_namespace: str,
    login: Login,  # noqa: F811
) -> None:
    """The last of this file: the server is not started again."""
    run(agent, {}, "exec", "-n", pod_namespace, "shell", "--", "echo", "last")
    name = name_of(ended(kept, len(kept.told()) - 1))
    kept.server.close()
    refused = run(agent, {}, "exec", "-n", pod_namespace, "shell", "--", "touch", "unrecorded-at-rest")
    assert refused.returncode != 0
    assert b"recorded" in refused.stderr
    assert (
        "No such file"
        in admin.run("exec", "-n", pod_namespace, "shell", "--", "ls", "unrecorded-at-rest").stderr
    )
    played = kept.chaperone("replay", name)
    assert (played.returncode, played.stdout) == (1, "")
    assert f"the recording {name} cannot be read" in played.stderr
    verified = kept.chaperone("audit", "verify", kept.store, "--recordings", kept.place)
    assert verified.returncode == 1
    assert "tampered" not in verified.stderr
    page = login(ALICE)
    page.goto(page.url.split("/approvals")[0].rstrip("/") + f"/recordings/{name}")
    expect(page.locator("main")).to_contain_text("store of recordings does not answer")
