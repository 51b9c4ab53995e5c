"""Ten thousand requests of fifty runs, a gateway killed in between: the record is whole, and nobody can change it unseen."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from chaperone.core.chain_check import Kind
from chaperone.store.engine import store_url
from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from chaperone.store.verification import verify
from hack.cluster.errors import ClusterError
from hack.cluster.pki import write_private
from hack.demo.stage import PLUGIN
from hack.stack import objects, programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.ports import free_port
from hack.stack.programs import Program
from tests.e2e.agents import Agents
from tests.e2e.two_gateways import token
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster

GROUP = "chained"
NAMESPACE = "chained"
NAME = "gateway-chained"
RUNS = [f"run-chained-{number}" for number in range(50)]
REQUESTS = 10_000
MUTATIONS = 0.2
AT_ONCE = 16
UNWRITTEN = 2.0
"""Seconds before the kill in which the record of an answered read may still have been in memory."""


@dataclass(frozen=True)
class Asked:
    """One request. key: where it appears in its record; code 0: nobody knows what became of it; at: monotonic seconds."""

    key: str
    run: str
    mutation: bool
    code: int
    at: float


@dataclass
class Story:
    """What the clients saw, and what the gateway wrote down."""

    store: Path
    asked: list[Asked] = field(default_factory=list)
    killed_at: float = 0.0
    half_way: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, asked: Asked) -> None:
        self.asked.append(asked)
        if len(self.asked) == REQUESTS // 2:
            self.half_way.set()

    def records(self) -> list[Mapping[str, Any]]:
        opened, found, cursor = open_store(str(self.store)), [], ""
        try:
            while True:
                page = opened.search(Query(), limit=1000, cursor=cursor)
                found += [item.record for item in page.records]
                cursor = page.cursor
                if not cursor:
                    return found
        finally:
            opened.close()


@pytest.fixture(scope="module")
def gateway(stack: up.Stack, agents: Agents) -> Iterator[tuple[Program, str, Path]]:
    """One of our own with two workers on one store: (program, URL, store)."""
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": True}],
        rules=[{"name": "all", "match": {"verbs": ["*"]}, "action": "Allow"}],
        masking={"profile": "Off", "reason": "a test"},
        limits={"requestsPerSecond": 10_000, "burst": 10_000, "mutationsPerRun": 100_000},
    )
    layout, port, health = stack.layout, free_port(), free_port()
    store = layout.directory / "audit-chained" / "audit.db"
    settings = yaml.safe_load(layout.config("gateway").read_text())
    settings["listen"]["port"], settings["health"]["port"], settings["workers"] = port, health, 2
    settings["audit"] = {"store": f"sqlite:///{store}", "writer": NAME, "checkpointRecords": 500}
    write_private(layout.config(NAME), yaml.safe_dump(settings).encode())
    program = Program(
        NAME, ("-m", "gateway", "--config", str(layout.config(NAME))), f"http://127.0.0.1:{health}/readyz"
    )
    programs.start(layout, program)
    programs.wait_well(layout, program)
    yield program, f"https://127.0.0.1:{port}", store
    programs.stop(layout, program)


@pytest.fixture(scope="module")
def story(stack: up.Stack, gateway: tuple[Program, str, Path], admin: Kubectl) -> Story:
    """Told once; the gateway has ended in order at its end."""
    program, url, store = gateway
    admin.apply("making a namespace", [objects.namespace(NAMESPACE)])
    told = Story(store)
    asyncio.run(_tell(stack, program, url, told))
    programs.stop(stack.layout, program)
    return told


async def _tell(stack: up.Stack, program: Program, url: str, told: Story) -> None:
    chosen = random.Random(5)
    plan = [(number, chosen.choice(RUNS), chosen.random() < MUTATIONS) for number in range(REQUESTS)]
    tokens = {run: token(stack.layout, GROUP, run) for run in RUNS}
    todo = iter(plan)
    context = ssl.create_default_context(cafile=str(stack.layout.ca_file))
    connector = aiohttp.TCPConnector(ssl=context, limit=AT_ONCE)
    async with aiohttp.ClientSession(url, connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_client(session, todo, tokens, told))
        await told.half_way.wait()
        told.killed_at = time.monotonic()
        await asyncio.to_thread(programs.restart, stack.layout, program, kill=True)


async def _client(
    session: aiohttp.ClientSession,
    todo: Iterator[tuple[int, str, bool]],
    tokens: Mapping[str, str],
    told: Story,
) -> None:
    for number, run, mutation in todo:
        headers = {"Authorization": f"Bearer {tokens[run]}"}
        while True:
            try:
                key, code = await (_create if mutation else _read)(session, number, headers)
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.1)
                continue
            told.tell(Asked(key, run, mutation, code, time.monotonic()))
            break


async def _create(session: aiohttp.ClientSession, number: int, headers: Mapping[str, str]) -> tuple[str, int]:
    name = f"made-{number}"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(number)}}
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps?fieldManager={name}"
    return path, await _code(session.post(path, json=body, headers=headers))


async def _read(session: aiohttp.ClientSession, number: int, headers: Mapping[str, str]) -> tuple[str, int]:
    path = f"/api/v1/namespaces/{NAMESPACE}?n={number}"
    return path, await _code(session.get(path, headers=headers))


async def _code(asking: Any) -> int:
    """0: the connection was lost after the request had been sent."""
    try:
        async with asking as answer:
            await answer.read()
            return int(answer.status)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientError, OSError):
        return 0


def test_the_gateway_was_killed_amid_requests(story: Story) -> None:
    codes = Counter(asked.code for asked in story.asked)
    assert len(story.asked) == REQUESTS
    assert codes[0] > 0, "the kill met no request"
    assert codes[200] + codes[201] > REQUESTS * 0.9
    assert {asked.run for asked in story.asked} == set(RUNS)


def test_every_forwarded_mutation_has_its_record(story: Story, stack: up.Stack, admin: Kubectl) -> None:
    """Known from the objects that there are, and from the API server's own log, by its id."""
    records = story.records()
    received = {
        str(record["requestURI"]): record for record in records if record["stage"] == "RequestReceived"
    }
    made = admin.get("configmaps", "-n", NAMESPACE)["items"]
    names = {item["metadata"]["name"] for item in made if item["metadata"]["name"].startswith("made-")}
    assert len(names) > REQUESTS * MUTATIONS * 0.8
    assert {uri.partition("fieldManager=")[2] for uri in received} >= names
    assert {asked.key for asked in story.asked if asked.code == 201} <= received.keys()
    runs = {asked.key: asked.run for asked in story.asked}
    assert all(record["run"] == runs[uri] for uri, record in received.items())
    ids = {str(record["auditID"]) for record in received.values()}
    log = stack.layout.cluster / "audit.log"
    if not log.exists():
        return
    events = [
        json.loads(line)
        for line in log.read_text().splitlines()
        if f"/namespaces/{NAMESPACE}/configmaps" in line
    ]
    forwarded = {
        event["auditID"] for event in events if event["verb"] == "create" and "impersonatedUser" in event
    }
    assert len(forwarded) >= len(names)
    assert forwarded <= ids


def test_the_chains_verify(story: Story) -> None:
    checked = verify(str(story.store))
    found = checked.verification
    assert found.is_good, found.faults[:3]
    assert len(found.chains) == 2
    assert all(chain.closed and not chain.unsigned for chain in found.chains)
    assert sum(chain.records for chain in found.chains) == len(story.records())


def test_the_counts_agree(story: Story) -> None:
    """Nothing twice, nothing made up; what is missing are reads whose records the kill met in memory."""
    complete = [record for record in story.records() if record["stage"] == "ResponseComplete"]
    recorded = Counter(
        str(record["requestURI"]) for record in complete if f"/{NAMESPACE}" in str(record["requestURI"])
    )
    answered = {asked.key: asked for asked in story.asked if asked.code}
    assert set(recorded) <= {asked.key for asked in story.asked}
    assert {key for key, count in recorded.items() if count > 1} == set()
    missing = [asked for key, asked in answered.items() if key not in recorded]
    window = (story.killed_at - UNWRITTEN, story.killed_at + UNWRITTEN)
    assert all(window[0] <= asked.at <= window[1] for asked in missing)
    of_runs = Counter(str(record["run"]) for record in complete if record["requestURI"] in answered)
    told = Counter(asked.run for asked in answered.values())
    assert sum(told.values()) - sum(of_runs.values()) == len(missing)
    opened = open_store(str(story.store))
    tallied = sum(tally.count for tally in opened.counts(0, time.time() + 60, 3600))
    opened.close()
    assert tallied == len(complete)


def test_the_command_line_says_so_and_finds_what_is_changed(story: Story, tmp_path: Path) -> None:
    copy = tmp_path / "audit.db"
    with sqlite3.connect(story.store) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    assert _verify(copy).returncode == 0
    with sqlite3.connect(copy) as database:
        place, line = database.execute("SELECT id, line FROM records LIMIT 1 OFFSET 500").fetchone()
        changed = line.replace(b'"verdict":"Allow"', b'"verdict":"Audit"')
        assert changed != line
        database.execute("UPDATE records SET line = ?, verdict = 'Audit' WHERE id = ?", (changed, place))
    done = _verify(copy)
    assert done.returncode == 1
    assert f"{Kind.EDITED.value}: " in done.stderr
    assert f"record {place % (1 << 40)}:" in done.stderr


def _verify(store: Path) -> subprocess.CompletedProcess[str]:
    command = [str(PLUGIN), "audit", "verify", str(store)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_search_tells_a_run_from_all_others(story: Story) -> None:
    opened = open_store(str(story.store))
    page = until("the records of a run", lambda: opened.timeline(RUNS[7], limit=1000))
    opened.close()
    assert len(page.records) > 100
    assert {found.record["run"] for found in page.records} == {RUNS[7]}
    assert store_url(str(story.store)).database == str(story.store)


def test_a_second_gateway_of_the_same_name_does_not_serve(
    stack: up.Stack, gateway: tuple[Program, str, Path]
) -> None:
    """Two writers of one chain would tear it: the later one ends, and says what to change; the first one goes on."""
    layout, (first, _, store) = stack.layout, gateway
    programs.start(layout, first)
    programs.wait_well(layout, first)
    settings = yaml.safe_load(layout.config(NAME).read_text())
    settings["listen"]["port"], settings["health"]["port"], settings["workers"] = free_port(), free_port(), 1
    twin = Program(
        f"{NAME}-twin",
        ("-m", "gateway", "--config", str(layout.config(f"{NAME}-twin"))),
        f"http://127.0.0.1:{settings['health']['port']}/readyz",
    )
    write_private(layout.config(twin.name), yaml.safe_dump(settings).encode())
    programs.start(layout, twin)
    try:
        with pytest.raises(
            ClusterError, match=rf"(?s)ended while starting.*another process writes as {NAME}-0"
        ):
            programs.wait_well(layout, twin)
    finally:
        programs.stop(layout, twin)
    programs.wait_well(layout, first)
    programs.stop(layout, first)
    checked = verify(str(store)).verification
    assert checked.is_good, checked.faults[:3]
    assert all(chain.closed for chain in checked.chains)
