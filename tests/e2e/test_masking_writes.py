"""Placeholders that come back in writes, on a real API server: resolved to what they stand for, or refused; never stored.

Each row is one write of an agent that has read the objects before. After it the administrator looks: every planted
value is still there to the byte (unless the row is there to change it), no placeholder was stored, and no planted value
was in any byte of any answer.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chaperone.core.masking.restoring_search import placeholders
from hack.stack import up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.line import Line, Said
from tests.e2e.planted import EVERY, PLANTED, SECRET, Scene, b64, unb64, widgets
from tests.e2e.write_rows import REFUSED, RESOLVED, Row

pytestmark = pytest.mark.cluster
GROUP = "writers"


@pytest.fixture(scope="module")
def lines(stack: up.Stack, admin: Kubectl, agents: Agents) -> tuple[Line, Line]:
    admin.apply("making widgets", [widgets()])
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        recording={"streams": "Off"},
    )
    return Line(agents.kubectl(GROUP).kubeconfig), Line(admin.kubeconfig)


@pytest.fixture
def scene(lines: tuple[Line, Line]) -> Iterator[Scene]:
    agent, admin = lines
    made = Scene(agent, admin, f"restoring-{uuid.uuid4().hex[:8]}")
    made.make()
    yield made
    admin.send("DELETE", f"/api/v1/namespaces/{made.namespace}")


@pytest.mark.parametrize("row", RESOLVED, ids=lambda row: row.name)
def test_a_write_is_resolved(scene: Scene, row: Row) -> None:
    said = row.by(scene)
    assert said.code == row.code, said.body.decode(errors="replace")[:1500]
    check(scene, row, said)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_a_write_is_refused(scene: Scene, row: Row) -> None:
    if row.before is not None:
        row.before(scene)
    said = row.by(scene)
    assert said.code == row.code, said.body.decode(errors="replace")[:1500]
    assert said.document["kind"] == "Status"
    assert row.words in said.message
    check(scene, row, said)


def check(scene: Scene, row: Row, said: Said) -> None:
    """What the administrator finds afterwards, and what the agent was told."""
    after = {path: scene.admin.must("GET", scene.at(path)) for path in EVERY}
    stored = json.dumps(after)
    assert not placeholders(stored.encode()), "a placeholder was stored"
    for value in PLANTED:
        assert value.encode() not in said.body
        assert b64(value).encode() not in said.body
        if value not in row.gone:
            assert any(form in stored for form in (value, b64(value))), f"{value} was lost"
    for path in EVERY:
        if path != row.path:
            assert spoken(after[path]) == spoken(scene.true[path]) or row.before is not None
    for text in row.new:
        assert text in json.dumps(after[row.path])
    kept = scene.true[SECRET]["data"].items()
    lost = {key for key, value in kept if after[SECRET]["data"].get(key) != value}
    assert {unb64(scene.true[SECRET]["data"][key]).decode() for key in lost} == set(row.gone)


def spoken(document: Any) -> Any:
    """What people say of an object; controllers say the rest."""
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}
