"""A cluster full of popular software and without one secret: made from the facts in tests/data/masking/clean.

Every string knows what it is: texts of the kinds in `PUBLIC` must never be masked, whatever else may happen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.core.masking.clean_values import Known, Mill, Sort

FACTS = Path(__file__).parents[2] / "data" / "masking" / "clean" / "charts.yaml"
Object = dict[str, Any]


_NAMED = frozenset(
    {"name", "namespace", "secretName", "key", "image", "kind", "serviceAccountName", "existingSecret"}
)


def corpus() -> dict[str, list[Object]]:
    """Objects by project."""
    facts = yaml.safe_load(FACTS.read_text())
    return {project: list(_objects(project, fact, Mill(project))) for project, fact in facts.items()}


def _objects(project: str, fact: Object, mill: Mill) -> Iterator[Object]:
    made = [
        _account(project, fact, mill),
        _role(project),
        _binding(project),
        _service(project),
        _config(project, fact, mill),
        _authority(mill),
        _lease(project, mill),
        _webhook(project, mill),
        *_workloads(project, fact, mill),
        *_events(project, mill),
    ]
    custom = [_custom(item, number, mill) for number, item in enumerate(fact.get("objects", ()))]
    for item in (*made, *custom):
        yield _as_stored(project, item, mill)


def _custom(item: Object, number: int, mill: Mill) -> Object:
    """The fact with its fillers filled."""
    filled = _filled(item, mill)
    filled.pop("cluster", None)
    return {**filled, "metadata": {"name": f"example-{number}"}}


def _filled(value: Any, mill: Mill) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, mill) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, mill) for item in value]
    return mill.fill(value) if isinstance(value, str) else value


# What every project has


def _account(project: str, fact: Object, mill: Mill) -> Object:
    token = f"{project}-token-{mill.suffix(5)}"
    named = [{"name": name} for name in (token, *fact.get("secrets", ()))]
    metadata = {"name": project, "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}
    return {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": named,
        "imagePullSecrets": [{"name": f"{project}-dockercfg-{mill.suffix(5)}"}],
    }  # fmt: skip


def _role(project: str) -> Object:
    rules = [
        {
            "apiGroups": [""],
            "resources": ["secrets", "configmaps", "serviceaccounts/token"],
            "verbs": ["get", "list", "create"],
        },
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [f"{project}-webhook-ca"],
            "verbs": ["update"],
        },
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"{project}-secret-reader"},
        "rules": rules,
    }


def _binding(project: str) -> Object:
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": f"{project}-secret-reader",
    }
    subjects = [{"kind": "ServiceAccount", "name": project, "namespace": project}]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"{project}-token-creator"},
        "roleRef": role, "subjects": subjects,
    }  # fmt: skip


def _service(project: str) -> Object:
    spec = {
        "clusterIP": "10.96.17.4", "selector": {"app": project}, "sessionAffinity": "None",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": "https"}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": project}, "spec": spec}


def _config(project: str, fact: Object, mill: Mill) -> Object:
    data = {key: mill.fill(value) for key, value in fact.get("config", {"log-level": "info"}).items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{project}-config"}, "data": data}


def _authority(mill: Mill) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt"},
        "data": {"ca.crt": mill.fill("%certificate%")},
    }


def _lease(project: str, mill: Mill) -> Object:
    holder = f"{project}-{mill.suffix(10)}-{mill.suffix(5)}_{mill.uid()}"
    spec = {
        "holderIdentity": Known(holder, Sort.UID),
        "leaseDurationSeconds": 15,
        "renewTime": "2026-01-31T09:00:00.123456Z",
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": f"{project}-leader"},
        "spec": spec,
    }


def _webhook(project: str, mill: Mill) -> Object:
    service = {"name": project, "namespace": project, "path": "/mutate", "port": 443}
    hook = {
        "name": f"hook.{project}.example",
        "clientConfig": {"caBundle": mill.fill("%certificate-base64%"), "service": service},
        "sideEffects": "None",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": project},
        "webhooks": [hook],
    }


def _events(project: str, mill: Mill) -> Iterator[Object]:
    pod = f"{project}-{mill.suffix(10)}-{mill.suffix(5)}"
    messages = (
        f"Successfully assigned {project}/{pod} to node-1",
        f'Container image "registry.example/{project}@sha256:{mill.hex(64)}" already present on machine',
        f'MountVolume.SetUp failed for volume "tls" : secret "{project}-tls" not found',
        "Readiness probe failed: HTTP probe failed with statuscode: 401",
        f"Created new replica set {project}-{mill.suffix(10)}, revision {mill.hex(40)}",
        f"Error: couldn't find key password in Secret {project}/{project}-db",
    )
    for number, message in enumerate(messages):
        involved = {"kind": "Pod", "name": pod, "namespace": project, "uid": Known(mill.uid(), Sort.UID)}
        yield {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{pod}.{mill.hex(16)}"}, "reason": "Noted", "type": "Normal",
            "message": Known(message, Sort.DIGEST) if number in (1, 4) else message, "involvedObject": involved,
        }  # fmt: skip


def _workloads(project: str, fact: Object, mill: Mill) -> Iterator[Object]:
    template = _template(project, fact, mill)
    yield {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": project, "annotations": {"deployment.kubernetes.io/revision": "3"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": project}}, "template": template},
        "status": {"conditions": [{"type": "Progressing", "status": "True", "message": f'ReplicaSet "{project}-{mill.suffix(10)}" has successfully progressed.'}]},
    }  # fmt: skip
    yield {
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": f"{project}-{mill.suffix(10)}", "labels": {
            "controller-revision-hash": Known(mill.suffix(10), Sort.CHECKSUM)}},
        "data": {"spec": {"template": {**template, "$patch": "replace"}}}, "revision": 3,
    }  # fmt: skip
    yield _pod(project, template, mill)


def _template(project: str, fact: Object, mill: Mill) -> Object:
    plain = [{"name": name, "value": mill.fill(value)} for name, value in fact.get("env", {}).items()]
    refs = [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": dict(zip(("name", "key"), place.split("/"), strict=True))},
        }
        for name, place in fact.get("refs", {}).items()
    ]
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTPS"}, "periodSeconds": 10}
    mounts = [
        {"name": f"secret-{name}", "mountPath": f"/etc/secrets/{name}", "readOnly": True}
        for name in fact.get("secrets", ())
    ]
    token = {"serviceAccountToken": {"audience": "api", "expirationSeconds": 3607, "path": "token"}}
    volumes = [
        {"name": f"secret-{name}", "secret": {"secretName": name, "defaultMode": 420}}
        for name in fact.get("secrets", ())
    ]
    container = {
        "name": project, "image": mill.fill(fact["image"]), "args": [mill.fill(word) for word in fact.get("args", ())],
        "env": [*plain, *refs], "livenessProbe": probe, "volumeMounts": mounts,
        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    annotations = {key: mill.fill(value) for key, value in fact.get("annotations", {}).items()}
    annotations.setdefault("checksum/config", mill.fill("%sha256%"))
    spec = {
        "containers": [container], "serviceAccountName": project, "automountServiceAccountToken": True,
        "volumes": [*volumes, {"name": f"kube-api-access-{mill.suffix(5)}", "projected": {"sources": [token]}}],
        "imagePullSecrets": [{"name": "registry"}],
    }  # fmt: skip
    return {
        "metadata": {
            "labels": {"app": project, "pod-template-hash": Known(mill.suffix(10), Sort.CHECKSUM)},
            "annotations": annotations,
        },
        "spec": spec,
    }


def _pod(project: str, template: Object, mill: Mill) -> Object:
    image = f"registry.example/{project}@sha256:{mill.hex(64)}"
    state = {
        "name": project, "ready": True, "containerID": Known(f"containerd://{mill.hex(64)}", Sort.DIGEST), "imageID": Known(image, Sort.DIGEST),
        "state": {"running": {"startedAt": "2026-01-31T09:00:00Z"}},
    }  # fmt: skip
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{project}-{mill.suffix(10)}",
        "uid": Known(mill.uid(), Sort.UID),
    }
    metadata = {
        **template["metadata"],
        "name": f"{project}-{mill.suffix(10)}-{mill.suffix(5)}",
        "ownerReferences": [owner],
    }
    status = {
        "phase": "Running",
        "containerStatuses": [state],
        "hostIP": "10.0.0.7",
        "podIP": "10.244.1.7",
        "qosClass": "Burstable",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**template["spec"], "nodeName": "node-1"},
        "status": status,
    }


def _as_stored(project: str, item: Object, mill: Mill) -> Object:
    """With all that the API server adds."""
    whole = _filled(item, mill)
    metadata = whole["metadata"]
    metadata.setdefault("annotations", {})["kubectl.kubernetes.io/last-applied-configuration"] = (
        json.dumps(_plain(item)) + "\n"
    )
    metadata |= {
        "namespace": project, "uid": Known(mill.uid(), Sort.UID), "resourceVersion": str(int(mill.hex(7), 16)), "generation": 3,
        "creationTimestamp": "2026-01-31T09:00:00Z", "managedFields": [_managed(whole)],
    }  # fmt: skip
    named: Object = _with_names(whole)
    return named


def _managed(item: Object) -> Object:
    fields: dict[str, Object] = {
        f"f:{key}": {} for key in item if key not in ("apiVersion", "kind", "metadata")
    }
    return {
        "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": item["apiVersion"], "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:checksum/config": {}}}, **fields, 'k:{"name":"token"}': {".": {}}},
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _with_names(value: Any, key: str = "") -> Any:
    """Strings that name something become names, unless they are more than that."""
    if isinstance(value, dict):
        return {name: _with_names(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_names(item) for item in value]
    named = (
        isinstance(value, str)
        and not isinstance(value, Known)
        and (key in _NAMED or key.endswith(("SecretName", "Namespace")))
    )
    return Known(value, Sort.NAME) if named else value


def fingerprint(objects: Mapping[str, list[Object]]) -> str:
    """To see that the corpus is the same on every machine."""
    return hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()
