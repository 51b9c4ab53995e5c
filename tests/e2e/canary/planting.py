"""Planting: a namespace full of canaries, made by an administrator as people make such things."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.cache import cache_folder
from hack.cluster.tools import helm
from hack.stack.kubectl import Kubectl
from tests.e2e.canary import objects, texts, workloads
from tests.e2e.canary.values import Field
from tests.e2e.waiting import until

NAMESPACE = "canary"
SEED = "canary-1"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.4.2\n",
    "values.yaml": "db: {host: db.internal, password: ''}\nurl: ''\ntoken: ''\nlevel: info\n",
    "templates/secret.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}-db'}\n"
        "stringData: {password: '{{ .Values.db.password }}'}\n"
    ),
    "templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "data: {LOG_LEVEL: '{{ .Values.level }}', DATABASE_URL: '{{ .Values.url }}'}\n"
    ),
    "templates/hook.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-hook', annotations: {helm.sh/hook: post-install}}\n"
        "data: {api_token: '{{ .Values.token }}'}\n"
    ),
    "templates/NOTES.txt": "Log in with {{ .Values.url }}\nand the token {{ .Values.token }}\n",
}


@dataclass(frozen=True)
class Planted:
    field: Field
    namespace: str
    objects: tuple[dict[str, Any], ...]

    @property
    def kinds(self) -> set[str]:
        """Kinds of objects that hold a canary. ControllerRevisions and ReplicaSets are made by the cluster."""
        return {item["kind"] for item in self.objects} | {"ReplicaSet", "ControllerRevision"}


def plant(admin: Kubectl, folder: Path) -> Planted:
    """Everything, and wait until the cluster has made what it makes by itself: pods, tokens, revisions."""
    field = Field(SEED)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    admin.must("a clean namespace", "delete", "namespace", NAMESPACE, "--ignore-not-found")
    admin.apply("making the namespace", [space, *objects.definitions()])
    until("custom resources to be served", lambda: admin.run("get", "widgets,releases", "-A").returncode == 0)
    made = [
        *objects.network(field, NAMESPACE),
        *objects.secrets(field, NAMESPACE),
        *objects.config_maps(field, NAMESPACE),
        *objects.cluster_wide(field, NAMESPACE),
        *objects.custom_resources(field, NAMESPACE),
        *workloads.workloads(field, NAMESPACE),
        *workloads.running_pods(field, NAMESPACE),
        *objects.events(field, NAMESPACE),
    ]
    admin.run("delete", "pv,storageclass,priorityclass", NAMESPACE, "--ignore-not-found")
    admin.apply("planting", made)
    for item in objects.as_written(field, NAMESPACE):
        path = f"/api/v1/namespaces/{NAMESPACE}/{item['kind'].lower()}s"
        admin.must("planting", "create", "--raw", path, "-f", "-", stdin=json.dumps(item))
    _patch(admin, "deployment", "web", workloads.next_revision(field))
    _patch(admin, "crd", f"widgets.{objects.GROUP}", objects.annotated_definition(field), "--type=merge")
    _patch(admin, "widget", "w1", objects.widget_status(field), "--type=merge", "--subresource=status")
    _helm_install(admin, field, folder)
    _apply_as_people_do(admin, field)
    _wait(admin)
    _adopt_tokens(admin, field)
    return Planted(field, NAMESPACE, (space, *objects.definitions(), *made))


def _patch(admin: Kubectl, resource: str, name: str, patch: Mapping[str, Any], *more: str) -> None:
    words = ("patch", resource, name, "-n", NAMESPACE, "-p", json.dumps(patch), *more)
    admin.must(f"patching {resource} {name}", *words)


def _helm_install(admin: Kubectl, field: Field, folder: Path) -> None:
    chart = folder / "shop"
    for name, text in CHART.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    place = "Helm release"
    values = {
        "db": {"password": field.plant(place, "plain")},
        "url": field.plant(place, "postgres"),
        "token": field.plant(place, "github"),
    }
    (folder / "values.yaml").write_text(json.dumps(values))
    program = helm(cache_folder(os.environ))
    command = [
        str(program),
        "install",
        "shop",
        str(chart),
        "-n",
        NAMESPACE,
        "-f",
        str(folder / "values.yaml"),
    ]
    done = subprocess.run(
        command, env=helm_environment(admin, folder), check=False, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr


def helm_environment(kubectl: Kubectl, folder: Path) -> dict[str, str]:
    return {
        **kubectl.environment(),
        "HELM_CACHE_HOME": str(folder),
        "HELM_CONFIG_HOME": str(folder),
        "HELM_DATA_HOME": str(folder),
    }


def _apply_as_people_do(admin: Kubectl, field: Field) -> None:
    """Client-side apply writes the last-applied annotation."""
    place = "applied from a file"
    data = {".env": texts.dotenv(field, place), "admin_password": field.plant(place, "password")}
    applied = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "by-hand", "namespace": NAMESPACE},
        "data": data,
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "by-hand", "namespace": NAMESPACE},
              "stringData": {"password": field.plant(place, "password"), "url": field.plant(place, "mongodb")}}  # fmt: skip
    for item in (applied, secret):
        admin.must("applying from a file", "apply", "-f", "-", stdin=json.dumps(item))


def _wait(admin: Kubectl) -> None:
    def state(name: str, field: str) -> str:
        return admin.run("get", "pod", name, "-n", NAMESPACE, "-o", f"jsonpath={{.status.{field}}}").stdout

    until(
        "the pods to run",
        lambda: all(state(name, "phase") == "Running" for name in ("shell", "talker", "chatter")),
        seconds=180,
    )
    last = "containerStatuses[0].lastState.terminated.message"
    until("the fallen pod to fall again", lambda: state("fallen", last), seconds=120)
    listed = ("get", "controllerrevisions", "-n", NAMESPACE, "-o", "name")
    until("revisions", lambda: len(admin.run(*listed).stdout.split()) >= 2, seconds=60)
    old = ("get", "replicasets", "-n", NAMESPACE, "-o", "name")
    until("two replica sets", lambda: len(admin.run(*old).stdout.split()) >= 2, seconds=60)


def _adopt_tokens(admin: Kubectl, field: Field) -> None:
    """The tokens that the cluster made for service accounts are canaries too."""

    def found() -> list[tuple[str, str]]:
        listing = admin.get("secrets", "-n", NAMESPACE) or {"items": []}
        return [
            (item["metadata"]["name"], base64.b64decode(item["data"]["token"]).decode())
            for item in listing["items"]
            if item.get("type") == "kubernetes.io/service-account-token" and "token" in item.get("data", {})
        ]

    until("the token of a service account", lambda: any(name == "token-of-robot" for name, _ in found()))
    for name, token in found():
        _, body, signature = token.split(".")
        field.adopt(
            f"Secret: service account token {name.rpartition('-')[0]}", "jwt", token, (body[-60:], signature)
        )
