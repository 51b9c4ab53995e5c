"""Pods, and everything that makes pods, with canaries wherever a pod can hold one."""

from __future__ import annotations

import json
import shlex
from typing import Any

from hack.cluster import pods
from tests.e2e.canary import texts
from tests.e2e.canary.values import BY_NAME, TOKENS, URLS, Field

Object = dict[str, Any]
IDLE = ["sleep", "2147483647"]


def notes(field: Field, place: str) -> dict[str, str]:
    """Three that give something away, and one that does not."""
    settings = {"user": "app", "password": field.plant(place, "password"), "level": "info"}
    return {
        "canary.example/source": field.plant(place, "https"),
        "canary.example/note": f"deployed with {field.plant(place, 'github')} by ci",
        "canary.example/settings": json.dumps(settings),
        "canary.example/team": "shop",
    }


def environment(field: Field, place: str) -> list[Object]:
    named = (
        "DB_PASSWORD",
        "API_TOKEN",
        "CLIENT_SECRET",
        "ENCRYPTION_KEY_PASSPHRASE",
        "ADMIN_PASSWD",
        "APIKEY",
    )
    return [
        {"name": "LOG_LEVEL", "value": "info"},
        *(
            {"name": name, "value": field.plant(place, shape)}
            for name, shape in zip(named, BY_NAME, strict=False)
        ),
        {"name": "DATABASE_URL", "value": field.plant(place, "postgres")},
        {"name": "CI", "value": field.plant(place, "gitlab")},
    ]


def arguments(field: Field, place: str) -> list[str]:
    return [
        "--listen=:8080",
        f"--db-password={field.plant(place, 'password')}",
        "--api-key",
        field.plant(place, "hex"),
        f"--redis={field.plant(place, 'redis')}",
        f"--header=Authorization: Bearer {field.plant(place, 'plain')}",
    ]


def shell_line(field: Field, place: str) -> str:
    return (
        f"PGPASSWORD={field.plant(place, 'plain')} psql -h db -c 'select 1'; "
        f"curl -H 'X-Api-Key: {field.plant(place, 'plain')}' https://api.example; "
        f"mysql --password={field.plant(place, 'plain')} -e 'select 1'; "
        f"git clone {field.plant(place, 'https')}"
    )


def pod_spec(field: Field, place: str) -> Object:
    """Never scheduled; canaries in every corner of it."""
    header = {"name": "Authorization", "value": field.plant(f"{place}: probe", "basic")}
    web = {
        "name": "web",
        "image": "registry.example/shop:1.4.2",
        "command": ["/shop"],
        "args": arguments(field, f"{place}: args"),
        "env": environment(field, f"{place}: env"),
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "httpHeaders": [header]}},
        "readinessProbe": {"exec": {"command": ["sh", "-c", shell_line(field, f"{place}: probe")]}},
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", shell_line(field, f"{place}: hook")]}}},
    }
    prepare = {
        "name": "prepare",
        "image": "registry.example/tool@sha256:" + "ab" * 32,
        "command": ["sh", "-c", shell_line(field, f"{place}: init container")],
        "env": [{"name": "VAULT_TOKEN", "value": field.plant(f"{place}: init container", "vault")}],
    }
    return {
        "nodeSelector": {"canary.example/nowhere": "true"},
        "initContainers": [prepare],
        "containers": [web],
        "automountServiceAccountToken": False,
    }


def template(field: Field, place: str, *, restart: str = "Always") -> Object:
    metadata = {"labels": {"app": "canary"}, "annotations": notes(field, f"{place}: template")}
    return {"metadata": metadata, "spec": {**pod_spec(field, place), "restartPolicy": restart}}


def small_template(field: Field, place: str, *, restart: str = "Always") -> Object:
    container = {
        "name": "main",
        "image": "registry.example/tool:2",
        "env": environment(field, f"{place}: env"),
    }
    container["args"] = arguments(field, f"{place}: args")
    spec = {
        "nodeSelector": {"canary.example/nowhere": "true"},
        "containers": [container],
        "restartPolicy": restart,
    }
    return {"metadata": {"labels": {"app": "canary"}}, "spec": spec}


def workloads(field: Field, namespace: str) -> list[Object]:
    """None of them ever runs a pod."""
    selector = {"selector": {"matchLabels": {"app": "canary"}}}

    def made(api: str, kind: str, name: str, spec: Object) -> Object:
        metadata = {
            "name": name,
            "namespace": namespace,
            "annotations": notes(field, f"{kind}: annotations"),
        }
        return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}

    job = {"template": small_template(field, "Job", restart="Never"), "parallelism": 0}
    cron = {"template": small_template(field, "CronJob", restart="Never")}
    service = {**selector, "serviceName": "canary", "replicas": 0}
    return [
        made("v1", "Pod", "unborn", pod_spec(field, "Pod")),
        made("apps/v1", "Deployment", "web", {**selector, "replicas": 0, "template": template(field, "Deployment")}),
        made("apps/v1", "StatefulSet", "db", {**service, "template": small_template(field, "StatefulSet")}),
        made("apps/v1", "DaemonSet", "agent", {**selector, "template": small_template(field, "DaemonSet")}),
        made("batch/v1", "Job", "migrate", job),
        made("batch/v1beta1", "CronJob", "nightly", {"schedule": "0 3 1 1 *", "suspend": True, "jobTemplate": {"spec": cron}}),
        made("v1", "ReplicationController", "old", {
            "replicas": 0, "selector": {"app": "canary"}, "template": small_template(field, "ReplicationController"),
        }),
        {
            "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "shape", "namespace": namespace},
            "template": small_template(field, "PodTemplate"),
        },
    ]  # fmt: skip


def next_revision(field: Field) -> Object:
    """A strategic merge patch of Deployment `web`: its old template lives on in a ReplicaSet."""
    container = {
        "name": "web",
        "env": [{"name": "DB_PASSWORD", "value": field.plant("Deployment: second revision")}],
    }
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def running_pods(field: Field, namespace: str) -> list[Object]:
    """Pods that really run: `shell` (files, environment, a token), `talker` (logs), `fallen` (a termination message and
    the log of its last life), `chatter` (a log that goes on)."""
    shell = pods.pod("shell", namespace, service_account_token=True)
    container = shell["spec"]["containers"][0]
    files = {name: write(field, f"file in a pod: {name}") for name, write in texts.CONFIG_FILES.items()}
    files["id_rsa"] = field.plant("file in a pod: id_rsa", "openssh")
    written = "; ".join(f"printf %s {shlex.quote(text)} > /tmp/canary/{name}" for name, text in files.items())
    container["command"] = ["sh", "-c", f"mkdir -p /tmp/canary; {written}; sleep 2147483647"]
    container["env"] = environment(field, "environment of a running pod")
    container["envFrom"] = [{"secretRef": {"name": "opaque"}}]
    container["volumeMounts"] = [{"name": "all", "mountPath": "/etc/canary", "readOnly": True}]
    shell["spec"]["volumes"] = [{"name": "all", "secret": {"secretName": "opaque"}}]
    talker = pods.pod("talker", namespace)
    say = shlex.quote(texts.lines_of_log(field, "log of a pod"))
    talker["spec"]["containers"][0]["command"] = ["sh", "-c", f"printf '%s\\n' {say}; sleep 2147483647"]
    fallen = pods.pod("fallen", namespace)
    message = shlex.quote(f"cannot reach {field.plant('termination message', 'postgres')}")
    last = shlex.quote(texts.lines_of_log(field, "log of a pod's last life"))
    fallen["spec"]["containers"][0]["command"] = [
        "sh", "-c", f"printf '%s\\n' {last}; printf %s {message} > /dev/termination-log; exit 1",
    ]  # fmt: skip
    chatter = pods.pod("chatter", namespace)
    again = shlex.quote(f"ping {field.plant('log that goes on', 'github')} pong")
    chatter["spec"]["containers"][0]["command"] = ["sh", "-c", f"while true; do echo {again}; sleep 1; done"]
    return [shell, talker, fallen, chatter]


def tokens(field: Field, place: str) -> dict[str, str]:
    """One of each shape that is known wherever it stands."""
    return {
        f"t{at}": f"see {field.plant(place, shape)} for more" for at, shape in enumerate((*TOKENS, *URLS))
    }
