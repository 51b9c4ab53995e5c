"""Every other kind of object, with canaries wherever it can hold one."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from tests.e2e.canary import texts
from tests.e2e.canary.values import BY_NAME, KEYS, TOKENS, URLS, Field
from tests.e2e.canary.workloads import notes, tokens

Object = dict[str, Any]
GROUP = "canary.example"


def _b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def _meta(name: str, namespace: str = "", **more: Any) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def secrets(field: Field, namespace: str) -> list[Object]:
    def secret(name: str, kind: str, data: dict[str, str], **metadata: Any) -> Object:
        encoded = {key: _b64(value) for key, value in data.items()}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _meta(name, namespace, **metadata),
            "type": kind,
            "data": encoded,
        }

    opaque = {
        f"{shape}-of-a-secret": field.plant("Secret: data", shape) for shape in (*BY_NAME, *KEYS, *URLS)
    }
    opaque |= {"ORDINARY": field.plant("Secret: data", "passphrase"), **tokens(field, "Secret: data")}
    docker = texts.docker_config(field, "Secret: dockerconfigjson")
    release = {
        "name": "fake",
        "config": {"db": {"password": field.plant("Secret: a Helm release by hand", "plain")}},
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode(), mtime=0))
    binary = b"\x00\xff\xfe" + field.plant("Secret: binary data", "plain").encode() + b"\x80\x00"
    return [
        secret("opaque", "Opaque", opaque, annotations=notes(field, "Secret: annotations")),
        secret("registry", "kubernetes.io/dockerconfigjson", {".dockerconfigjson": docker}),
        secret("login", "kubernetes.io/basic-auth", {"username": "robot", "password": field.plant("Secret: basic-auth")}),
        secret("ssh", "kubernetes.io/ssh-auth", {"ssh-privatekey": field.plant("Secret: ssh-auth", "openssh")}),
        secret("tls", "kubernetes.io/tls", {"tls.crt": "not a certificate", "tls.key": field.plant("Secret: tls", "pem")}),
        secret("sh.helm.release.v1.fake.v1", "helm.sh/release.v1", {"release": packed.decode()}, labels={"owner": "helm"}),
        secret("files", "Opaque", {name: write(field, f"Secret: {name}") for name, write in texts.CONFIG_FILES.items()}),
        {"apiVersion": "v1", "kind": "Secret", "metadata": _meta("binary", namespace), "data": {"blob": _b64(binary)}},
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": _meta("frozen", namespace), "immutable": True,
            "stringData": {"pin": field.plant("Secret: immutable", "plain")},
        },
        {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": _meta("token-of-robot", namespace, annotations={"kubernetes.io/service-account.name": "robot"}),
        },
    ]  # fmt: skip


def config_maps(field: Field, namespace: str) -> list[Object]:
    files = {name: write(field, f"ConfigMap: {name}") for name, write in texts.CONFIG_FILES.items()}
    by_name = {f"{shape}_PASSWORD": field.plant("ConfigMap: by key", shape) for shape in BY_NAME}
    ordinary = {**tokens(field, "ConfigMap: ordinary keys"), "level": "info", "motd": "hello"}
    binary = {"dump.bin": _b64(f"dump of {field.plant('ConfigMap: binaryData', 'postgres')}\n")}
    keys = {f"{shape}.txt": field.plant("ConfigMap: private keys", shape) for shape in KEYS}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(name, namespace), **content}
        for name, content in {
            "files": {"data": files},
            "by-name": {"data": by_name},
            "ordinary": {"data": ordinary},
            "binary": {"binaryData": binary},
            "keys": {"data": keys},
        }.items()
    ]


def as_written(field: Field, namespace: str) -> list[Object]:
    """Objects that must not go through an apply, which would write their last-applied annotation anew."""

    def noted(kind: str, name: str, note: str, **content: Any) -> Object:
        annotation = {"kubectl.kubernetes.io/last-applied-configuration": note}
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": _meta(name, namespace, annotations=annotation),
            **content,
        }

    password = field.plant("Secret: last-applied", "password")
    secret = json.dumps({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": password}})
    broken = field.plant("Secret: broken last-applied", "plain")
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"db_password": field.plant("ConfigMap: last-applied")},
    }
    return [
        noted("Secret", "applied", secret, stringData={"password": password}),
        noted("Secret", "broken", f'{{"kind":"Secret","stringData":{{"password":"{broken}"'),
        noted("ConfigMap", "applied", json.dumps(config), data={"level": "info"}),
    ]


def network(field: Field, namespace: str) -> list[Object]:
    def made(api: str, kind: str, **fields: Any) -> Object:
        return {
            "apiVersion": api, "kind": kind,
            "metadata": _meta("canary", namespace, annotations=notes(field, f"{kind}: annotations")), **fields,
        }  # fmt: skip

    rule = {"host": "shop.example", "http": {"paths": [_path()]}}
    scale = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "canary"}
    return [
        made("v1", "Service", spec={"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "canary"}}),
        made("networking.k8s.io/v1", "Ingress", spec={"rules": [rule]}),
        made("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "ingress": [{}]}),
        made("discovery.k8s.io/v1beta1", "EndpointSlice", addressType="IPv4", endpoints=[], ports=[]),
        made("autoscaling/v1", "HorizontalPodAutoscaler", spec={"scaleTargetRef": scale, "maxReplicas": 2}),
        made("policy/v1beta1", "PodDisruptionBudget", spec={"minAvailable": 0, "selector": {"matchLabels": {"app": "canary"}}}),
        made("rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
        made("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=[subject]),
        made("v1", "LimitRange", spec={"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1m"}}]}),
        made("v1", "ResourceQuota", spec={"hard": {"count/jobs.batch": "999"}}),
        made("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "nobody"}),
        made("v1", "PersistentVolumeClaim", spec={
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "canary",
        }),
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": _meta("by-hand", namespace, annotations=notes(field, "Endpoints: annotations"))},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("robot", namespace, annotations=notes(field, "ServiceAccount: annotations"))},
    ]  # fmt: skip


def _path() -> Object:
    return {
        "path": "/",
        "pathType": "Prefix",
        "backend": {"service": {"name": "canary", "port": {"number": 80}}},
    }


def cluster_wide(field: Field, name: str) -> list[Object]:
    driver = {"driver": "csi.example", "volumeHandle": "v-1", "volumeAttributes": {
        "server": "nas.internal", "password": field.plant("PersistentVolume: attributes"),
        "mountOptions": f"user=app,password={field.plant('PersistentVolume: attributes', 'plain')}",
    }}  # fmt: skip
    volume = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": driver,
        "storageClassName": f"{name}-none",
    }
    parameters = {
        "pool": "p1",
        "restuserkey": field.plant("StorageClass: parameters", "plain"),
        "adminPassword": field.plant("StorageClass: parameters"),
    }
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": _meta(name, annotations=notes(field, "PersistentVolume: annotations")), "spec": volume},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": _meta(name), "provisioner": "csi.example", "parameters": parameters},
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": _meta(name), "value": 1,
         "description": f"for jobs of {field.plant('PriorityClass: description', 'gitlab')}"},
    ]  # fmt: skip


def events(field: Field, namespace: str) -> list[Object]:
    def event(name: str, message: str) -> Object:
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": _meta(name, namespace), "type": "Warning", "reason": "Failed",
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "unborn", "namespace": namespace},
            "message": message, "source": {"component": "kubelet"}, "count": 3,
            "firstTimestamp": "2026-01-31T09:00:00Z", "lastTimestamp": "2026-01-31T09:00:00Z",
        }  # fmt: skip

    place = "Event: message"
    return [
        event("pull", f'Failed to pull image: Get "{field.plant(place, "https")}": unauthorized'),
        event(
            "probe",
            f"Readiness probe failed: Authorization: Bearer {field.plant(place, 'plain')} was refused",
        ),
        event(
            "mount",
            f"MountVolume.SetUp failed: mount -o username=app,password={field.plant(place, 'plain')} //nas/x",
        ),
        *(
            event(f"note-{shape}", f"credential {field.plant(place, shape)} is about to expire")
            for shape in TOKENS
        ),
    ]


# Custom resources


def definitions() -> list[Object]:
    """Widgets: anything goes in spec and status; its table shows fields of both."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    known = {"sources": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}
    schema = {"type": "object", "properties": {"spec": {**free, "properties": known}, "status": free}}
    columns = [
        {"name": "Password", "type": "string", "jsonPath": ".spec.db.password"},
        {"name": "Note", "type": "string", "jsonPath": ".spec.note"},
        {"name": "Message", "type": "string", "jsonPath": ".status.conditions[0].message"},
    ]
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}}, "additionalPrinterColumns": columns,
    }  # fmt: skip
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": _meta(f"{plural}.{GROUP}"),
            "spec": {
                "group": GROUP, "scope": "Namespaced", "versions": [version],
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            },
        }
        for kind, plural in (("Widget", "widgets"), ("Release", "releases"))
    ]  # fmt: skip


def annotated_definition(field: Field) -> Object:
    """A merge patch for the CRD of widgets."""
    return {"metadata": {"annotations": notes(field, "CustomResourceDefinition: annotations")}}


def custom_resources(field: Field, namespace: str) -> list[Object]:
    place = "custom resource"
    widget = {
        "note": f"see {field.plant(f'{place}: printed column', 'https')}",
        "db": {"host": "db", "password": field.plant(f"{place}: printed column", "plain")},
        "auth": [{"clientSecret": field.plant(f"{place}: nested key", "uuid"), "clientId": "shop"}],
        "env": [{"name": "API_TOKEN", "value": field.plant(f"{place}: name and value", "hex")}],
        "sources": [
            field.plant(f"{place}: set of strings", "https"),
            f"token={field.plant(f'{place}: set of strings', 'gitlab')}",
        ],
        "backup": {
            "s3": {
                "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "secretAccessKey": field.plant(f"{place}: nested key", "aws"),
            }
        },
        "privateKey": field.plant(f"{place}: nested key", "pem-pkcs8"),
    }
    release = {
        "values": texts.yaml(field, f"{place}: text of values"),
        "valuesJSON": texts.json_text(field, f"{place}: text of values"),
        "script": texts.script(field, f"{place}: text of values"),
        "parameters": [{"name": "admin.password", "value": field.plant(f"{place}: name and value")}],
    }
    return [
        {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": _meta("w1", namespace), "spec": widget},
        {"apiVersion": f"{GROUP}/v1", "kind": "Release", "metadata": _meta("r1", namespace), "spec": release},
    ]  # fmt: skip


def widget_status(field: Field) -> Object:
    """A merge patch for /status of widget w1."""
    message = f"cannot log in at {field.plant('custom resource: condition message', 'postgres')}: refused"
    return {"status": {"conditions": [{"type": "Ready", "status": "False", "message": message}]}}
