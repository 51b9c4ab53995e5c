"""The settings files of the product's programs for a stack on one machine."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chaperone.kube.rbac import IMPERSONATOR
from hack.cluster.kubeconfig import load_flattened, only_cluster
from hack.cluster.pki import write_private
from hack.stack import pki
from hack.stack.layout import NAMESPACE, Layout

AUDIENCE = "kube-chaperone"
CONSOLE_CLIENT = "kube-chaperone-console"


def write_all(layout: Layout, ports: Mapping[str, int], *, external: bool) -> None:
    """gateway.yaml, webhook.yaml, controller.yaml and the issuers' authentication.yaml."""
    _write(layout.config("authentication"), _authentication(layout, ports))
    _write(layout.config("gateway"), _gateway(layout, ports, external=external))
    _write(layout.config("webhook"), _webhook(layout, ports, external=external))
    _write(layout.config("controller"), _controller(layout, ports, external=external))
    _write(layout.config("people"), _people(layout, ports))
    _write(layout.config("console"), _console(layout, ports, external=external))


def issuer_url(ports: Mapping[str, int]) -> str:
    return f"https://127.0.0.1:{ports['issuer']}"


def console_url(ports: Mapping[str, int]) -> str:
    return f"https://127.0.0.1:{ports['console']}"


def _authentication(layout: Layout, ports: Mapping[str, int]) -> dict[str, Any]:
    issuer = {
        "url": issuer_url(ports),
        "audiences": [AUDIENCE],
        "certificateAuthority": layout.ca_file.read_text(),
    }
    mappings = {
        "username": {"claim": "sub", "prefix": ""},
        "groups": {"claim": "groups", "prefix": ""},
    }
    run = {"run": {"claim": "run"}, "model": {"claim": "model"}, "agent": {"claim": "agent"}}
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": mappings, "run": run}],
    }


def _gateway(layout: Layout, ports: Mapping[str, int], *, external: bool) -> dict[str, Any]:
    files = pki.server_files(layout, "gateway")
    return {
        "cluster": only_cluster(load_flattened(layout.admin_kubeconfig))["server"],
        "authentication": str(layout.config("authentication")),
        "guardNamespace": NAMESPACE,
        "drain": "5s",
        "listen": {
            "address": "127.0.0.1",
            "port": ports["gateway"],
            "certificate": str(files.certificate),
            "key": str(files.key),
        },
        "upstream": {"kubeconfig": str(layout.kubeconfig("gateway")), "relaxX509Strict": external},
        "control": {"kubeconfig": str(layout.kubeconfig("gateway"))},
        "dataPath": {"namespace": NAMESPACE, "name": IMPERSONATOR},
        "audit": {"store": f"sqlite:///{layout.audit_store}"},
        "recordings": {"path": str(layout.recordings)},
        "health": {"address": "127.0.0.1", "port": ports["gateway-health"]},
    }


def _webhook(layout: Layout, ports: Mapping[str, int], *, external: bool) -> dict[str, Any]:
    files = pki.server_files(layout, "webhook")
    return {
        "guardNamespace": NAMESPACE,
        "listen": {
            "address": "127.0.0.1",
            "port": ports["webhook"],
            "certificate": str(files.certificate),
            "key": str(files.key),
        },
        "kubernetes": {"kubeconfig": str(layout.kubeconfig("webhook")), "relaxX509Strict": external},
    }


def _controller(layout: Layout, ports: Mapping[str, int], *, external: bool) -> dict[str, Any]:
    return {
        "guardNamespace": NAMESPACE,
        "resync": "30s",
        "probe": {"address": "127.0.0.1", "port": ports["controller-health"]},
        "kubernetes": {"kubeconfig": str(layout.kubeconfig("controller")), "relaxX509Strict": external},
    }


def _people(layout: Layout, ports: Mapping[str, int]) -> dict[str, Any]:
    """At whom people log in to the console: the same development issuer, another audience."""
    issuer = {
        "url": issuer_url(ports),
        "audiences": [CONSOLE_CLIENT],
        "certificateAuthority": layout.ca_file.read_text(),
    }
    mappings = {"username": {"claim": "email", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": mappings}],
    }


def _console(layout: Layout, ports: Mapping[str, int], *, external: bool) -> dict[str, Any]:
    files = pki.server_files(layout, "console")
    if not layout.cookie_key.exists():
        write_private(layout.cookie_key, secrets.token_bytes(32))
    return {
        "url": console_url(ports),
        "cluster": only_cluster(load_flattened(layout.admin_kubeconfig))["server"],
        "guardNamespace": NAMESPACE,
        "cookieKey": str(layout.cookie_key),
        "login": {"issuer": str(layout.config("people")), "clientId": CONSOLE_CLIENT},
        "listen": {
            "address": "127.0.0.1",
            "port": ports["console"],
            "certificate": str(files.certificate),
            "key": str(files.key),
        },
        "kubernetes": {"kubeconfig": str(layout.kubeconfig("console")), "relaxX509Strict": external},
        "records": {
            "store": f"sqlite:///{layout.audit_store}",
            "recordings": str(layout.recordings),
        },
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_private(path, yaml.safe_dump(dict(document), sort_keys=False).encode())
