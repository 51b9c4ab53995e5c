"""Round trips through a real API server: an agent reads an object with placeholders, edits it, and writes it back by any
of the ways there are. Whatever it edits, every secret that it did not set itself is byte-identical afterwards.

The same edits are made to the masked object, by the agent, and to the true one, by the test; the write must lead to the
second. CHAPERONE_ROUND_TRIPS sets how many are made (500 by default).
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaperone.core.masking.restoring_search import placeholders
from hack.stack import objects, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.line import APPLY, JSON, MERGE, STEPS, STRATEGIC, Line
from tests.e2e.planted import widgets

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
GROUP = "round-trips"
TRIPS = int(os.environ.get("CHAPERONE_ROUND_TRIPS", "500"))
BY_KUBECTL = max(1, TRIPS // 25)
Object = dict[str, Any]
Edit = Callable[[Object], object]

_number = itertools.count()


# Random objects, each with secrets

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40).map(
    "Zq7".__add__
)
"""Quotes, backslashes, braces and dollars among them; and never a number or a word that is no secret."""
PLAIN_WORDS = st.from_regex(r"Zq7[A-Za-z0-9_.-]{6,40}", fullmatch=True)
TEXTS = st.one_of(WORDS, st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text), PLAIN_WORDS)
BYTES = st.one_of(TEXTS.map(str.encode), st.binary(min_size=1, max_size=60))
KEYS = st.lists(
    st.from_regex(r"[a-z][a-z0-9._-]{0,10}[a-z0-9]", fullmatch=True), min_size=1, max_size=5, unique=True
)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@st.composite
def secrets(draw: st.DrawFn) -> Object:
    keys = draw(KEYS)
    return {"apiVersion": "v1", "kind": "Secret", "data": {key: b64(draw(BYTES)) for key in keys}}


@st.composite
def config_maps(draw: st.DrawFn) -> Object:
    password, other = draw(PLAIN_WORDS), draw(WORDS)
    files = {
        "app.properties": f"port=8080\ndb.password={password}\nmode=fast\n",
        "app.json": json.dumps(
            {"port": 1, "db": {"user": "app", "password": other}}, indent=draw(st.sampled_from([None, 2]))
        ),
        "app.yaml": yaml.safe_dump({"port": 1, "db": {"password": other, "user": "app"}}),
        ".env": f"MODE=fast\nAPI_TOKEN={password}\n",
        "url": f"postgres://app:{password}@db.example:5432/x",
        "color": "red",
    }
    chosen = draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=4, unique=True))
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": {name: files[name] for name in {"url", *chosen}}}


@st.composite
def deployments(draw: st.DrawFn) -> Object:
    variables = [{"name": "MODE", "value": "fast"}]
    names = st.lists(st.sampled_from(["DB_PASSWORD", "API_TOKEN", "CLIENT_SECRET"]), min_size=1, unique=True)
    variables += [{"name": name, "value": draw(WORDS)} for name in draw(names)]
    container = {
        "name": "app",
        "image": "registry.example/app:1",
        "args": ["serve", f"--password={draw(PLAIN_WORDS)}", "--verbose"],
        "env": draw(st.permutations(variables)),
    }
    labels = {"app": "trip"}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


@st.composite
def custom_resources(draw: st.DrawFn) -> Object:
    spec = {
        "size": draw(st.integers(-(10**17), 10**17)),
        "db": {"host": "db.example", "password": draw(WORDS), "ratio": draw(st.sampled_from([1, 2]))},
        "users": [{"name": name, "password": draw(WORDS)} for name in ("ann", "bob")],
        "values": yaml.safe_dump({"replicas": 1, "auth": {"rootPassword": draw(WORDS)}}),
    }
    return {"apiVersion": "restoring.example/v1", "kind": "Widget", "spec": spec}


PATHS = {
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Widget": "/apis/restoring.example/v1/namespaces/{}/widgets",
}

# Random edits, which mean the same in the masked object and in the true one


def label(document: Object) -> None:
    document["metadata"].setdefault("labels", {})["edited"] = "yes"


def annotate(document: Object) -> None:
    document["metadata"].setdefault("annotations", {})["note"] = 'a "note"'


def add(document: Object) -> None:
    if document["kind"] == "Secret":
        document["data"]["zz-new"] = b64(b"set by the agent")
    elif document["kind"] == "ConfigMap":
        document["data"]["zz-new"] = "plain text"
    elif document["kind"] == "Deployment":
        container(document)["env"].append({"name": "ZZ_NEW", "value": "plain"})
    else:
        document["spec"]["zzNew"] = {"deep": [1, 2.5, True, "x"]}


def edit_beside(document: Object) -> None:
    """Something in the middle of what holds secrets."""
    if document["kind"] == "ConfigMap":
        document["data"] = {
            name: text.replace("8080", "9090")
            .replace("fast", "slow")
            .replace("app:", "srv:")
            .replace('"user": "app"', '"user": "srv"')
            for name, text in document["data"].items()
        }
    elif document["kind"] == "Deployment":
        container(document)["args"][0] = "run"
        container(document)["image"] = "registry.example/app:2"
    elif document["kind"] == "Widget":
        document["spec"]["values"] = document["spec"]["values"].replace("replicas: 1", "replicas: 3")
        document["spec"]["size"] = 7


def set_secret(document: Object) -> None:
    """A new value, really set by the agent."""
    if document["kind"] == "Secret":
        document["data"][min(document["data"])] = b64(b"a new value of the agent's")
    elif document["kind"] == "Deployment":
        for each in [each for each in container(document)["env"] if each["name"] != "MODE"][:1]:
            each["value"] = "new-value-of-the-agent"
    elif document["kind"] == "Widget":
        document["spec"]["db"]["password"] = "new-value-of-the-agent"


def drop(document: Object) -> None:
    """A key left out is a key deleted."""
    if document["kind"] in ("Secret", "ConfigMap") and len(document["data"]) > 1:
        del document["data"][min(document["data"])]
    elif document["kind"] == "Widget":
        del document["spec"]["users"][0]
    elif document["kind"] == "Deployment":
        container(document)["env"].pop()


def reorder(document: Object) -> None:
    if document["kind"] == "Widget":
        document["spec"]["users"].reverse()
    elif document["kind"] == "Deployment":
        container(document)["env"].reverse()


def container(document: Object) -> Any:
    return document["spec"]["template"]["spec"]["containers"][0]


EDITS: dict[str, Edit] = {
    edit.__name__: edit for edit in (label, annotate, add, edit_beside, set_secret, drop, reorder)
}
ADDING = frozenset({"label", "annotate", "add", "edit_beside", "set_secret"})
"""What a patch that only names what it sets can say."""

# Ways to write


class ConflictError(Exception):
    """A controller has written the object meanwhile: whoever gets this reads it again."""


@dataclass(frozen=True)
class Trip:
    """One object on its way. seen: as the agent has read it; wanted: the same, edited."""

    line: Line
    path: str
    seen: Object
    wanted: Object

    def send(self, body: Any, content_type: str, query: str = "") -> None:
        method = "PUT" if content_type in (JSON, "application/yaml") else "PATCH"
        said = self.line.send(method, self.path + query, body, content_type)
        if said.code == 409 and "placeholder" not in said.message:
            raise ConflictError
        assert said.code < 300, (
            f"{method} was answered {said.code}: {said.body.decode(errors='replace')[:2000]}"
        )


def put(trip: Trip) -> None:
    trip.send(trip.wanted, JSON)


def put_yaml(trip: Trip) -> None:
    trip.send(yaml.safe_dump(trip.wanted, allow_unicode=False).encode(), "application/yaml")


def merge(trip: Trip) -> None:
    trip.send(merge_patch(trip.seen, trip.wanted), MERGE)


def merge_whole(trip: Trip) -> None:
    """Everything, changed or not."""
    trip.send(
        trip.wanted
        | {
            "metadata": {
                key: value
                for key, value in trip.wanted["metadata"].items()
                if key in ("labels", "annotations")
            }
        },
        MERGE,
    )


def strategic(trip: Trip) -> None:
    """Lists of named things whole: they are merged by name."""
    trip.send(
        {key: value for key, value in trip.wanted.items() if key in ("data", "spec")}
        | {
            "metadata": {
                key: value
                for key, value in trip.wanted["metadata"].items()
                if key in ("labels", "annotations")
            }
        },
        STRATEGIC,
    )


def steps(trip: Trip) -> None:
    patch = jsonpatch.JsonPatch.from_diff(trip.seen, trip.wanted, optimization=False)
    trip.send([step for step in patch.patch if step["op"] not in ("move", "copy")], STEPS)


def apply_json(trip: Trip) -> None:
    trip.send(applied(trip.wanted), APPLY, "?fieldManager=agent&force=true")


def apply_yaml(trip: Trip) -> None:
    trip.send(yaml.safe_dump(applied(trip.wanted)).encode(), APPLY, "?fieldManager=agent&force=true")


def applied(document: Object) -> Object:
    kept = {
        key: value for key, value in document["metadata"].items() if key in ("name", "labels", "annotations")
    }
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": kept}


def merge_patch(before: Any, after: Any) -> Any:
    patch: Object = {}
    for key in before.keys() | after.keys():
        if key not in after:
            patch[key] = None
        elif isinstance(before.get(key), dict) and isinstance(after[key], dict):
            if inner := merge_patch(before[key], after[key]):
                patch[key] = inner
        elif before.get(key) != after[key] or key not in before:
            patch[key] = after[key]
    return patch


WAYS: dict[str, tuple[Callable[[Trip], None], frozenset[str], frozenset[str]]] = {
    "PUT": (put, frozenset(EDITS), frozenset(PATHS)),
    "PUT in YAML": (put_yaml, frozenset(EDITS), frozenset(PATHS)),
    "merge patch": (merge, frozenset(EDITS), frozenset(PATHS)),
    "merge patch of everything": (merge_whole, ADDING | {"reorder"}, frozenset(PATHS)),
    "strategic merge patch": (strategic, ADDING, frozenset(PATHS) - {"Widget"}),
    "JSON patch": (steps, frozenset(EDITS), frozenset(PATHS)),
    "apply": (apply_json, ADDING, frozenset(PATHS)),
    "apply in YAML": (apply_yaml, ADDING, frozenset(PATHS)),
}


@dataclass(frozen=True)
class Ground:
    """Where the trips are made."""

    agent: Line
    admin: Line
    kubectl: Kubectl
    namespace: str


@pytest.fixture(scope="module")
def ground(stack: up.Stack, admin: Kubectl, agents: Agents) -> Iterator[Ground]:
    admin.apply("making widgets", [widgets()])
    agents.govern(
        GROUP,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        recording={"streams": "Off"},
    )
    kubectl = agents.kubectl(GROUP)
    made = Ground(Line(kubectl.kubeconfig), Line(admin.kubeconfig), kubectl, f"trips-{uuid.uuid4().hex[:8]}")
    made.admin.must("POST", "/api/v1/namespaces", objects.namespace(made.namespace))
    yield made
    made.admin.send("DELETE", f"/api/v1/namespaces/{made.namespace}")


@given(data=st.data())
@settings(
    max_examples=TRIPS,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    derandomize=bool(os.environ.get("CI")),
)
def test_every_secret_survives(ground: Ground, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(PATHS)))
    way = data.draw(st.sampled_from([name for name, (_, _, kinds) in WAYS.items() if kind in kinds]))
    write, may, _ = WAYS[way]
    edits = data.draw(st.lists(st.sampled_from(sorted(may)), max_size=4, unique=True))
    document = data.draw(MAKE[kind])
    path = planted(ground, document)
    expected = written(ground, path, write, edits)
    compare(ground.admin.must("GET", path), expected, f"{way} of a {kind} with {edits}")
    ground.admin.must("DELETE", path)


MAKE = {
    "Secret": secrets(),
    "ConfigMap": config_maps(),
    "Deployment": deployments(),
    "Widget": custom_resources(),
}


def planted(ground: Ground, document: Object) -> str:
    """The path of a new object."""
    base = PATHS[document["kind"]].format(ground.namespace)
    name = f"trip-{next(_number)}"
    ground.admin.must("POST", base, {**document, "metadata": {"name": name}})
    return f"{base}/{name}"


def read(ground: Ground, path: str) -> tuple[Object, Object]:
    """(as the agent sees it, as it is)."""
    seen, true = (without_fields(line.must("GET", path)) for line in (ground.agent, ground.admin))
    assert placeholders(json.dumps(seen).encode()), "nothing was masked"
    return seen, true


def written(ground: Ground, path: str, write: Callable[[Trip], None], edits: list[str]) -> Object:
    """What the write has to lead to. Controllers write as well: then it is read and written again."""
    for _ in range(10):
        seen, true = read(ground, path)
        try:
            write(Trip(ground.agent, path, seen, edited(seen, edits)))
        except ConflictError:
            continue
        return edited(true, edits)
    raise AssertionError("a controller was always faster")


def without_fields(document: Object) -> Object:
    document["metadata"].pop("managedFields", None)
    return document


def edited(document: Object, edits: list[str]) -> Object:
    out = copy.deepcopy(document)
    for name in edits:
        EDITS[name](out)
    return out


def compare(after: Object, expected: Object, told: str) -> None:
    assert not placeholders(json.dumps(after).encode()), f"{told}: a placeholder was stored"
    assert content(after) == content(expected), told
    assert own(after) == own(expected), told


def own(document: Object) -> Any:
    """Labels and annotations, without those of controllers."""
    parts = [document["metadata"].get(part) or {} for part in ("labels", "annotations")]
    return [{key: value for key, value in part.items() if "kubernetes.io/" not in key} for part in parts]


def meaning(name: str, text: str) -> Any:
    """A document that was edited may quote a value in another way; all other texts are compared by their bytes."""
    return yaml.safe_load(text) if name.endswith(("json", "yaml")) else text


def content(document: Object) -> Any:
    """What may hold secrets. The order of an environment is the server's business where it merges by name."""
    if document["kind"] == "Secret":
        return document["data"]
    if document["kind"] == "ConfigMap":
        return {name: meaning(name, text) for name, text in document["data"].items()}
    if document["kind"] == "Widget":
        return document["spec"] | {"values": meaning("yaml", document["spec"]["values"])}
    kept = container(document)
    return kept["args"], kept["image"], sorted((each["name"], each["value"]) for each in kept["env"])


# A smaller share by kubectl itself


def must(ground: Ground, *arguments: str, editor: str = "") -> None:
    environment = {**ground.kubectl.environment(), **({"KUBE_EDITOR": editor} if editor else {})}
    command = ground.kubectl.command(*arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if "the object has been modified" in done.stderr:
        raise ConflictError
    assert done.returncode == 0, f"kubectl {arguments}: {done.stdout}{done.stderr}"


def by_apply(ground: Ground, file: Path, _path: str) -> None:
    """Twice: the second time the annotation of the first is there, with its placeholders."""
    must(ground, "apply", "-f", str(file))
    must(ground, "apply", "-f", str(file))


def by_server_side_apply(ground: Ground, file: Path, _path: str) -> None:
    must(ground, "apply", "--server-side", "--force-conflicts", "-f", str(file))


def by_replace(ground: Ground, file: Path, _path: str) -> None:
    must(ground, "replace", "-f", str(file))


def by_edit(ground: Ground, file: Path, path: str) -> None:
    """The editor puts the file in place of what it was given."""
    resource, name = path.rsplit("/", 2)[1:]
    # With its group: other tests of the same cluster have Widgets of their own.
    full = f"{resource}.restoring.example" if resource == "widgets" else resource
    must(ground, "edit", full, name, "-n", ground.namespace, editor=f"cp {file}")


KUBECTL_WAYS = {
    "apply": by_apply,
    "apply --server-side": by_server_side_apply,
    "replace": by_replace,
    "edit": by_edit,
}


@given(data=st.data())
@settings(
    max_examples=BY_KUBECTL, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
def test_every_secret_survives_kubectl(
    ground: Ground, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind = data.draw(st.sampled_from(sorted(PATHS)))
    way = data.draw(st.sampled_from(sorted(KUBECTL_WAYS)))
    edits = data.draw(st.lists(st.sampled_from(sorted(ADDING)), min_size=1, max_size=3, unique=True))
    path = planted(ground, data.draw(MAKE[kind]))
    file = tmp_path_factory.mktemp("trip") / "object.yaml"

    def write(trip: Trip) -> None:
        wanted = trip.wanted
        if "apply" in way:
            wanted = applied(wanted)
            wanted["metadata"]["namespace"] = ground.namespace
        file.write_text(yaml.safe_dump(wanted, allow_unicode=False))
        KUBECTL_WAYS[way](ground, file, path)

    expected = written(ground, path, write, edits)
    after = ground.admin.must("GET", path)
    last = (
        after["metadata"].get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", "")
    )
    assert not any(value in last for value in values_of(expected)), "a value was stored in last-applied"
    compare(after, expected, f"kubectl {way} of a {kind} with {edits}")
    ground.admin.must("DELETE", path)


def values_of(document: Object) -> list[str]:
    """What the agent has not set itself."""
    if document["kind"] != "Secret":
        return []
    return [value for value in document["data"].values() if b"agent" not in base64.b64decode(value)]
