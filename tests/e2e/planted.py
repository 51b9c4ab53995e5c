"""Objects with planted secrets, as an agent reads them and as they are."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hack.stack import objects
from tests.e2e.line import Line
from tests.e2e.waiting import until

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def b64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def unb64(text: str) -> bytes:
    return base64.b64decode(text)


PASSWORD = "Pl4nted-pass-9f3c7e"
TOKEN = "Pl4nted-token-51d0aa"
SAME = "Pl4nted-same-77be20"
ENV = "Pl4nted-env-c0ffee42"
ARGUMENT = "Pl4nted-argument-6b1f"
FILE = "Pl4nted-file-0d9e8f"
CUSTOM = "Pl4nted-custom-3a5b7c"
BLOB = bytes(range(128, 192))
PLANTED = (PASSWORD, TOKEN, SAME, ENV, ARGUMENT, FILE, CUSTOM)

SECRETS = "/api/v1/namespaces/PLACE/secrets"
SECRET = f"{SECRETS}/db"
OTHER = f"{SECRETS}/other"
FIXED = f"{SECRETS}/fixed"
CONFIG = "/api/v1/namespaces/PLACE/configmaps/conf"
WEB = "/apis/apps/v1/namespaces/PLACE/deployments/web"
JOB = "/apis/batch/v1/namespaces/PLACE/jobs/once"
WIDGET = "/apis/restoring.example/v1/namespaces/PLACE/widgets/w"
EVERY = (SECRET, OTHER, FIXED, CONFIG, WEB, JOB, WIDGET)


def widgets() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.restoring.example"},
        "spec": {
            "group": "restoring.example",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [version],
        },
    }


def planted() -> dict[str, dict[str, Any]]:
    """The objects by their paths."""
    containers = [
        {
            "name": "app",
            "image": "registry.example/app:1",
            "args": ["serve", f"--password={ARGUMENT}"],
            "env": [{"name": "MODE", "value": "fast"}, {"name": "DB_PASSWORD", "value": ENV}],
        }
    ]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    text = f"server.port=8080\ndb.user=app\ndb.password={FILE}\n"
    return {
        SECRET: {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db"},
            "data": {"password": b64(PASSWORD), "token": b64(TOKEN), "same": b64(SAME), "blob": b64(BLOB)},
        },
        OTHER: {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "other"},
            "data": {"password": b64(SAME)},
        },
        FIXED: {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "fixed"},
            "immutable": True,
            "data": {"password": b64(PASSWORD)},
        },
        CONFIG: {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "conf"},
            "data": {"app.properties": text, "color": "red"},
        },
        WEB: {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        },
        JOB: {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "nodeName": "nowhere", "containers": containers}
                }
            },
        },
        WIDGET: {
            "apiVersion": "restoring.example/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {
                "db": {"host": "db.example", "password": CUSTOM},
                "pair": {"name": "TOKEN", "value": CUSTOM},
            },
        },
    }


@dataclass
class Scene:
    """One namespace with the planted objects. seen: as the agent has read them; true: as they are."""

    agent: Line
    admin: Line
    namespace: str
    seen: dict[str, Any] = field(default_factory=dict)
    true: dict[str, Any] = field(default_factory=dict)

    def at(self, path: str) -> str:
        return path.replace("PLACE", self.namespace)

    def read(self) -> None:
        self.seen = {path: self.agent.must("GET", self.at(path)) for path in EVERY}
        self.true = {path: self.admin.must("GET", self.at(path)) for path in EVERY}

    def changed(self, path: str, change: Callable[[Any], object]) -> Any:
        """A copy of what the agent has seen, with a change."""
        document = copy.deepcopy(self.seen[path])
        change(document)
        return document

    def part(self, path: str, *names: str) -> dict[str, Any]:
        """What is sent in a server-side apply: the object without what the server added."""
        document = self.changed(path, lambda it: it["metadata"].pop("managedFields"))
        document["metadata"] = {"name": document["metadata"]["name"]}
        return {key: value for key, value in document.items() if not names or key in (*names, "metadata")} | {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
        }

    def make(self) -> None:
        """The namespace and all objects, at rest; then they are read."""
        self.admin.must("POST", "/api/v1/namespaces", objects.namespace(self.namespace))
        for path, document in planted().items():
            self.admin.must("POST", self.at(path).rsplit("/", 1)[0], document)
        until("the deployment to have come to rest", lambda: is_settled(self.admin.must("GET", self.at(WEB))))
        self.read()


def is_settled(deployment: Any) -> bool:
    return len(deployment.get("status", {}).get("conditions", ())) > 1
