"""Hundreds of secrets all over a cluster, and no way to read one of them through the gateway.

An agent whose policy allows it everything reads the cluster in every way that kubectl, helm, the Python client and bare HTTP
know. Every byte that reaches it is searched for every secret, in every form; so is all that our own programs keep.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hack.cluster.cache import cache_folder
from hack.cluster.tools import helm, helm3, old_kubectl
from hack.stack import people, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.canary import kubectl_ways, other_ways, texts
from tests.e2e.canary.needles import Needles
from tests.e2e.canary.planting import NAMESPACE, Planted, plant
from tests.e2e.canary.tap import Conversation, Tap, tapped
from tests.e2e.canary.unwrapping import contents, opened
from tests.e2e.canary.values import Canary
from tests.e2e.canary.ways import MASKS, Expect, Reader, Way

pytestmark = [pytest.mark.cluster, pytest.mark.pods]

GROUP, HELD = "canary", "canary-held"
EVERYTHING = {"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}
ADMIN = [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}]
JWT = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{16,}\.[\w-]{40,}")
Leak = tuple[Canary, str]

WAYS = [
    *kubectl_ways.gets(), *kubectl_ways.describes(), *kubectl_ways.others(), *kubectl_ways.streams(),
    *other_ways.charts(), *other_ways.python(), *other_ways.wires(),
]  # fmt: skip


@pytest.fixture(scope="module")
def planted(stack: up.Stack, admin: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    if not stack.cluster.has_node:
        pytest.skip(f"this cluster has no node of ours to run test pods on: {stack.cluster.why_no_node}")
    return plant(admin, tmp_path_factory.mktemp("planting"))


@pytest.fixture(scope="module")
def needles(planted: Planted) -> Needles:
    return Needles(planted.field.canaries)


@pytest.fixture(scope="module")
def tap(stack: up.Stack) -> Iterator[Tap]:
    with tapped(stack.layout, stack.ports["gateway"]) as tap:
        yield tap


@pytest.fixture(scope="module")
def agent(stack: up.Stack, agents: Agents, tap: Tap, planted: Planted) -> Kubectl:
    """May do everything but what no policy allows; masking is Standard."""
    assert planted.field.canaries
    agents.govern(
        GROUP,
        access=ADMIN,
        rules=[EVERYTHING],
        masking={"profile": "Standard"},
        recording={"streams": "BestEffort"},
    )
    path = stack.layout.kubeconfig(f"agent-{GROUP}-tapped")
    people.write_agent(stack.layout, path, tap.url, subject="canary-agent", groups=[GROUP], run="run-canary")
    return Kubectl(path)


@pytest.fixture
def reader(agent: Kubectl, tmp_path: Path) -> Reader:
    cache = cache_folder(os.environ)
    programs = {"helm-4": helm(cache), "helm-3": helm3(cache), "kubectl-1.20": old_kubectl(cache)}
    return Reader(agent, NAMESPACE, tmp_path, programs)


@pytest.fixture(scope="module")
def ledger() -> Iterator[dict[str, list[Leak]]]:
    """Leaks by way; at the end a table of them, for `-s` and for a failing run."""
    found: dict[str, list[Leak]] = {}
    yield found
    table: dict[tuple[str, str], list[str]] = defaultdict(list)
    for way, held in found.items():
        for canary, form in held:
            table[canary.place, f"{canary.shape} ({form})"].append(way)
    for (place, what), ways in sorted(table.items()):
        print(f"LEAK {place} | {what} | {len(ways)} ways, such as {'; '.join(ways[:3])}")


def leaks(needles: Needles, haystacks: Iterable[bytes]) -> list[Leak]:
    """Each canary once."""
    found: dict[str, Leak] = {}
    for haystack in haystacks:
        for text in (haystack, *opened(haystack)):
            for canary, form in needles.found(text):
                found.setdefault(canary.name, (canary, form))
    return sorted(found.values(), key=lambda leak: leak[0].name)


def told(found: list[Leak]) -> str:
    """A table for people: how many of which shape leak from which place. Never the value."""
    places: dict[str, list[str]] = defaultdict(list)
    for canary, form in found:
        places[canary.place].append(f"{canary.shape} ({form})")
    return f"{len(found)} canaries: " + "; ".join(
        f"{place}: {', '.join(what)}" for place, what in places.items()
    )


def foreign_tokens(talks: list[Conversation], haystacks: Iterable[bytes]) -> set[bytes]:
    """Whatever looks like a token and is not the one that the client itself sent."""
    own = b"".join(bytes(talk.sent) for talk in talks)
    return {token[:12] for haystack in haystacks for token in JWT.findall(haystack) if token not in own}


# The canaries are really there


def test_there_are_enough_of_them(planted: Planted) -> None:
    assert len(planted.field.canaries) >= 300
    assert len(planted.field.places) >= 40
    assert len(planted.kinds) >= 20


def test_every_one_of_them_can_be_read_without_the_gateway(
    planted: Planted, needles: Needles, admin: Kubectl
) -> None:
    """So that a search which finds nothing means something."""
    lines = [
        f"get {kubectl_ways.NAMESPACED} -n {NAMESPACE} -o json",
        f"get {kubectl_ways.GLOBAL} -o json",
        f"logs talker -n {NAMESPACE}",
        f"logs chatter -n {NAMESPACE}",
        f"logs fallen -n {NAMESPACE} --previous",
        *(f"exec -n {NAMESPACE} shell -- cat /tmp/canary/{name}" for name in (*texts.CONFIG_FILES, "id_rsa")),
    ]
    outputs = [admin.run(*line.split(" ")).stdout.encode() for line in lines]
    seen = {canary.name for canary, _ in leaks(needles, outputs)}
    assert [(item.name, item.place) for item in planted.field.canaries if item.name not in seen] == []


# No way to read one


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_canary_reaches_the_client(
    way: Way, reader: Reader, tap: Tap, needles: Needles, ledger: dict[str, list[Leak]]
) -> None:
    tap.take()
    code, output = way.act(reader)
    talks = tap.take()
    wire = [content for talk in talks for content in contents(bytes(talk.received))]
    found = leaks(needles, [*wire, output, reader.files()])
    if found:
        ledger[way.name] = found
    assert not found, told(found)
    assert not foreign_tokens(talks, [*wire, output])
    assert wire, "nothing came over the wire: this way proves nothing"
    check_expectation(way, code, [*wire, output])


def check_expectation(way: Way, code: int, haystacks: list[bytes]) -> None:
    said = haystacks[-1][-600:]
    if way.expect is Expect.MASKED:
        assert code == 0, said
        assert any(mask in haystack for haystack in haystacks for mask in MASKS), "nothing was masked in it"
    elif way.expect is Expect.DONE:
        assert code == 0, said
    elif way.expect is Expect.REFUSED:
        assert code != 0, said


# Nor do our own programs keep one


def test_what_people_are_shown_of_a_held_request_holds_none(
    stack: up.Stack, agents: Agents, admin: Kubectl, needles: Needles, planted: Planted
) -> None:
    hold = {
        "name": "writes",
        "match": {"verbs": ["update", "patch", "delete", "create"]},
        "action": "RequireApproval",
    }
    agents.govern(
        HELD, access=ADMIN, rules=[hold, EVERYTHING], approval={"holdFor": "1s"}, masking={"profile": "Standard"},
        recording={"streams": "BestEffort"},
    )  # fmt: skip
    held = agents.kubectl(HELD)
    where = ("-n", planted.namespace)
    attempts = [
        ("delete", "secret", "opaque", *where),
        ("delete", "deployment", "web", *where),
        ("delete", "configmap", "files", *where),
        ("label", "secret", "files", "seen=yes", *where),
        ("annotate", "configmap", "by-name", "seen=yes", *where),
        ("set", "env", "deployment/web", "LOG_LEVEL=debug", *where),
        ("patch", "widget", "w1", "--type=merge", "-p", '{"spec":{"level":"debug"}}', *where),
        ("exec", "shell", *where, "--", "env"),
    ]
    said = [held.run(*attempt) for attempt in attempts]
    answers = [(done.stdout + done.stderr).encode() for done in said]
    requests = admin.run("get", "approvalrequests", "-o", "json").stdout.encode()
    assert requests.count(HELD.encode()) >= len(attempts) - 1
    found = leaks(needles, [*answers, requests])
    assert not found, told(found)


def test_no_canary_in_what_our_programs_keep(
    stack: up.Stack, admin: Kubectl, needles: Needles, planted: Planted
) -> None:
    """Logs, audit, recordings, whatever else there is in files; metrics; our objects in the cluster."""
    assert planted.field.canaries
    kept = dict(files_of_ours(stack))
    assert any("gateway.log" in name for name in kept)
    assert any(b"run-canary" in content for content in kept.values()), "the audit was not looked at"
    kinds = "approvalrequests,agentsessions,agentpolicies"
    kept["our objects"] = admin.run("get", kinds, "-o", "json").stdout.encode()
    with urllib.request.urlopen(stack.metrics_url, timeout=30) as answer:
        kept["metrics"] = answer.read()
    found = {name: told(held) for name, content in kept.items() if (held := leaks(needles, [content]))}
    assert not found, "\n".join(f"{name}: {what}" for name, what in found.items())


def files_of_ours(stack: up.Stack) -> Iterator[tuple[str, bytes]]:
    """Everything below the stack's folder but the cluster itself, and the credentials that tests have made there."""
    layout = stack.layout
    for path in sorted(layout.directory.rglob("*")):
        if path.is_file() and path.suffix != ".kubeconfig" and not path.is_relative_to(layout.cluster):
            yield str(path.relative_to(layout.directory)), path.read_bytes()
