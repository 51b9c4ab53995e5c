"""Pods as a cluster lists them: managed fields, volumes with service account tokens, conditions; every eighth with a
secret in its environment.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

SECRET_EVERY = 8


def pods(count: int, seed: int = 7) -> Iterator[bytes]:
    """Each as the API server writes it in a list: compact JSON, keys in its order."""
    chance = random.Random(seed)
    for number in range(count):
        yield as_go(pod(chance, number))


def as_go(document: Any) -> bytes:
    """As Go's encoding/json writes it."""
    raw = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        raw = raw.replace(char, f"\\u{ord(char):04x}")
    return raw.encode()


def pod(chance: random.Random, number: int) -> dict[str, Any]:
    app = chance.choice(("api", "worker", "frontend", "ingest", "billing", "scheduler"))
    name = f"{app}-{_hex(chance, 10)}-{_word(chance, 5)}"
    containers = [_container(chance, app, index) for index in range(chance.choice((1, 1, 2)))]
    if number % SECRET_EVERY == 0:
        containers[0]["env"].append({"name": "DB_PASSWORD", "value": _word(chance, 20)})
    return {
        "metadata": _metadata(chance, app, name),
        "spec": _spec(chance, app, containers),
        "status": _status(chance, containers),
    }


def _metadata(chance: random.Random, app: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "generateName": name.rpartition("-")[0] + "-",
        "namespace": f"team-{chance.randrange(30)}",
        "uid": _uid(chance),
        "resourceVersion": str(chance.randrange(10**8)),
        "creationTimestamp": "2026-03-01T10:00:00Z",
        "labels": {"app.kubernetes.io/name": app, "pod-template-hash": _hex(chance, 10), "tier": "backend"},
        "annotations": {
            "checksum/config": _hex(chance, 64),
            "cni.projectcalico.org/podIP": "10.42.3.7/32",
            "prometheus.io/scrape": "true",
        },
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": name.rpartition("-")[0],
                "uid": _uid(chance),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
        "managedFields": [_managed(chance, "kube-controller-manager"), _managed(chance, "kubelet")],
    }


def _managed(chance: random.Random, manager: str) -> dict[str, Any]:
    mounts: dict[str, Any] = {
        f'k:{{"mountPath":"/data/{n}"}}': {".": {}, "f:mountPath": {}, "f:name": {}} for n in range(3)
    }
    env: dict[str, Any] = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:value": {}} for name in _ENV}
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}, "f:ownerReferences": {".": {}}},
        "f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:env": env, "f:volumeMounts": mounts}}},
        "f:status": {"f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:status": {}}}, "f:hostIP": {}},
    }
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-03-01T10:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


_ENV = ("LOG_LEVEL", "HTTP_PORT", "DATABASE_HOST", "CACHE_TTL", "FEATURE_FLAGS", "REGION", "QUEUE_NAME")


def _container(chance: random.Random, app: str, index: int) -> dict[str, Any]:
    values = {name: f"{_word(chance, 6)}.{app}.svc" for name in _ENV}
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    env.append({"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": f"{app}-api", "key": "token"}}})
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
    return {
        "name": "main" if index == 0 else f"sidecar-{index}",
        "image": f"registry.example.com/{app}:v1.{chance.randrange(40)}.{chance.randrange(9)}",
        "args": ["--listen=:8080", f"--workers={chance.randrange(16)}", "--config", "/etc/app/config.yaml"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": env,
        "resources": {
            "limits": {"cpu": "1", "memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "128Mi"},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app"},
            {
                "name": "kube-api-access-x2x4z",
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            },
        ],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _spec(chance: random.Random, app: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    token = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    ca = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    return {
        "volumes": [
            {"name": "config", "configMap": {"name": f"{app}-config", "defaultMode": 420}},
            {"name": "tls", "secret": {"secretName": f"{app}-tls", "defaultMode": 420}},
            {"name": "kube-api-access-x2x4z", "projected": {"sources": [token, ca], "defaultMode": 420}},
        ],
        "containers": containers,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": app,
        "serviceAccount": app,
        "nodeName": f"ip-10-0-{chance.randrange(256)}-{chance.randrange(256)}.eu-west-1.compute.internal",
        "securityContext": {"runAsNonRoot": True},
        "imagePullSecrets": [{"name": "registry"}],
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        "priority": 0,
        "enableServiceLinks": True,
    }


def _status(chance: random.Random, containers: list[dict[str, Any]]) -> dict[str, Any]:
    conditions = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-03-01T10:00:05Z",
            }
            for kind in conditions
        ],
        "hostIP": "10.0.3.4",
        "podIP": "10.42.3.7",
        "podIPs": [{"ip": "10.42.3.7"}],
        "startTime": "2026-03-01T10:00:00Z",
        "containerStatuses": [
            {
                "name": container["name"],
                "state": {"running": {"startedAt": "2026-03-01T10:00:04Z"}},
                "lastState": {},
                "ready": True,
                "restartCount": 0,
                "image": container["image"],
                "imageID": f"registry.example.com/x@sha256:{_hex(chance, 64)}",
                "containerID": f"containerd://{_hex(chance, 64)}",
                "started": True,
            }
            for container in containers
        ],
        "qosClass": "Burstable",
    }


def _hex(chance: random.Random, length: int) -> str:
    return f"{chance.getrandbits(4 * length):0{length}x}"


def _word(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("bcdfghjklmnpqrstvwxz2456789", k=length))


def _uid(chance: random.Random) -> str:
    text = _hex(chance, 32)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
