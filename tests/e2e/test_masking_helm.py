"""helm through the gateway: its releases are Secrets full of secrets, and it writes them back, in protobuf.

What it makes of values that it is given works. What it makes of a release that it has read is refused.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.masking.restoring_search import placeholders
from hack.cluster.cache import cache_folder
from hack.cluster.tools import helm, helm3
from hack.stack import objects
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents

pytestmark = pytest.mark.cluster
GROUP = "helmsmen"
PASSWORD = 'Pl4nted "helm" pass-9f3c7e'
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\n",
    "values.yaml": "word: one\n",
    "templates/secret.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "data: {password: {{ .Values.password | b64enc }}}\n"
    ),
    "templates/configmap.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "data: {word: {{ .Values.word }}, db.password: {{ .Values.password | quote }}}\n"
    ),
}


@dataclass(frozen=True)
class Ship:
    """helm of an agent and of the administrator, with one chart that is installed in one namespace."""

    agent: Kubectl
    admin: Kubectl
    folder: Path
    namespace: str
    program: Path

    def helm(self, who: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{home}_HOME": str(self.folder) for home in ("CACHE", "CONFIG", "DATA")}
        command = [str(self.program), *arguments, "-n", self.namespace]
        environment = {**who.environment(), **homes}
        return subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True, timeout=180
        )

    @property
    def chart(self) -> str:
        return str(self.folder / "shop")

    @property
    def values(self) -> str:
        return str(self.folder / "given.json")

    def stored(self, kind: str) -> Any:
        return self.admin.get(kind, "shop", "-n", self.namespace)["data"]

    def releases(self) -> list[dict[str, Any]]:
        """As they are, the oldest first."""
        items = self.admin.get("secrets", "-l", "owner=helm", "-n", self.namespace)["items"]
        packed = [base64.b64decode(base64.b64decode(item["data"]["release"])) for item in items]
        return sorted(
            (json.loads(gzip.decompress(raw)) for raw in packed), key=lambda release: int(release["version"])
        )


@pytest.fixture(params=[helm3, helm], ids=["3.17", "4"])
def ship(agents: Agents, admin: Kubectl, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ship]:
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        recording={"streams": "Off"},
    )
    made = Ship(
        agents.kubectl(GROUP, run=f"run-{uuid.uuid4().hex[:8]}"),
        admin,
        tmp_path,
        f"helm-{uuid.uuid4().hex[:8]}",
        request.param(cache_folder(os.environ)),
    )
    for name, text in CHART.items():
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_text(text)
    Path(made.values).write_text(json.dumps({"password": PASSWORD}))
    admin.apply("making a namespace", [objects.namespace(made.namespace)])
    done = made.helm(admin, "install", "shop", made.chart, "-f", made.values)
    assert done.returncode == 0, done.stderr
    yield made
    admin.run("delete", "namespace", made.namespace, "--wait=false")


def test_an_upgrade_with_all_its_values_works_and_leaves_the_old_release_as_it_was(ship: Ship) -> None:
    (before,) = ship.releases()
    done = ship.helm(ship.agent, "upgrade", "shop", ship.chart, "-f", ship.values, "--set", "word=two")
    assert done.returncode == 0, done.stderr
    assert ship.stored("configmap") == {"word": "two", "db.password": PASSWORD}
    assert base64.b64decode(ship.stored("secret")["password"]).decode() == PASSWORD
    old, new = ship.releases()
    assert old == before
    assert (new["info"]["status"], new["config"]["password"]) == ("deployed", PASSWORD)
    assert not placeholders(json.dumps(ship.releases()))
    again = ship.helm(ship.agent, "upgrade", "shop", ship.chart, "-f", ship.values, "--set", "word=three")
    assert again.returncode == 0, again.stderr
    assert ship.stored("configmap") == {"word": "three", "db.password": PASSWORD}


@pytest.mark.parametrize(
    "command",
    [("upgrade", "shop", "CHART", "--reuse-values", "--set", "word=two"), ("rollback", "shop", "1")],
)
def test_what_makes_a_release_out_of_masked_values_is_refused_in_words(
    ship: Ship, command: tuple[str, ...]
) -> None:
    again = ship.helm(ship.agent, "upgrade", "shop", ship.chart, "-f", ship.values, "--set", "word=again")
    assert again.returncode == 0, again.stderr
    before = ship.releases()
    done = ship.helm(ship.agent, *(word.replace("CHART", ship.chart) for word in command))
    assert done.returncode != 0
    assert "placeholders of masked values" in done.stderr
    assert "give them again" in done.stderr
    assert [release["config"] for release in ship.releases()] == [release["config"] for release in before]
    assert not placeholders(json.dumps(ship.releases()))
    assert base64.b64decode(ship.stored("secret")["password"]).decode() == PASSWORD


def test_an_agent_can_uninstall(ship: Ship) -> None:
    done = ship.helm(ship.agent, "uninstall", "shop")
    assert done.returncode == 0, done.stderr
    assert ship.releases() == []
    assert ship.admin.get("secret", "shop", "-n", ship.namespace) is None
