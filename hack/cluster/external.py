"""A cluster that the user names: checked and remembered, never started, changed or stopped."""

import json
import os
import ssl
from base64 import b64decode
from pathlib import Path

import yaml

from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.kubeconfig import load_flattened, only_cluster
from hack.cluster.layout import Layout
from hack.cluster.model import Cluster, Log
from hack.cluster.pki import write_private
from hack.cluster.record import Record, load, save
from hack.cluster.stack import dead_components
from hack.cluster.tools import kubectl

SECONDS = 30


def adopt(layout: Layout, kubeconfig: Path, log: Log, *, kind_cluster: str = "") -> Cluster:
    """Copy its kubeconfig to the folder. Raises ClusterError when it is not reachable with all rights."""
    _refuse_folder_in_use(layout)
    config = load_flattened(kubeconfig)
    layout.directory.mkdir(parents=True, exist_ok=True)
    write_private(layout.admin_kubeconfig, yaml.safe_dump(config, sort_keys=False).encode())
    server = only_cluster(config)["server"]
    log(f"checking the cluster at {server} (a few seconds)")
    version = _version(layout.admin_kubeconfig, kubeconfig)
    _check_rights(layout.admin_kubeconfig, kubeconfig)
    layout.ca_file.write_bytes(_authority(config))
    why = _why_no_node(layout.admin_kubeconfig)
    record = Record(
        server=server,
        version=version,
        asked_node=True,
        has_node=not why,
        external=True,
        why_no_node=why,
        complete=True,
        kind_cluster=kind_cluster or _kind_cluster_of(layout),
    )
    save(record, layout.record)
    return record.cluster(layout)


def _refuse_folder_in_use(layout: Layout) -> None:
    record = load(layout.record)
    if record and record.processes and len(dead_components(layout, record)) < len(record.processes):
        raise ClusterError(
            f"another cluster runs in {layout.directory}: stop it first, or give another --dir"
        )


def _kind_cluster_of(layout: Layout) -> str:
    record = load(layout.record)
    return record.kind_cluster if record else ""


def _version(copy: Path, original: Path) -> str:
    answer = _ask(copy, ["get", "--raw", "/version"], original)
    version = json.loads(answer).get("gitVersion", "")
    return str(version)


def _check_rights(copy: Path, original: Path) -> None:
    remedy = f"use the kubeconfig of a cluster administrator instead of {original}"
    answer = run(
        [*_kubectl(copy), "auth", "can-i", "*", "*", "--all-namespaces"],
        doing=f"checking the rights of {original}",
        remedy=remedy,
        seconds=SECONDS,
    )
    if not answer.strip().startswith("yes"):
        raise ClusterError(f"{original} may not do everything in its cluster: {remedy}")


def _authority(config: dict[str, object]) -> bytes:
    """The cluster's own authority, else those that this machine trusts."""
    data = only_cluster(config).get("certificate-authority-data")
    if data:
        return b64decode(data)
    trusted = ssl.get_default_verify_paths().cafile
    return Path(trusted).read_bytes() if trusted and Path(trusted).exists() else b""


def _why_no_node(copy: Path) -> str:
    nodes = json.loads(_ask(copy, ["get", "nodes", "-o", "json"], copy))["items"]
    ready = [
        node
        for node in nodes
        for condition in node.get("status", {}).get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    return "" if ready else "the cluster has no ready node"


def _ask(copy: Path, words: list[str], original: Path) -> str:
    return run(
        [*_kubectl(copy), *words],
        doing=f"reaching the cluster of {original}",
        remedy=f"check that `kubectl --kubeconfig {original} {' '.join(words)}` works",
        seconds=SECONDS,
    )


def _kubectl(kubeconfig: Path) -> list[str]:
    return [str(kubectl(os.environ)), "--kubeconfig", str(kubeconfig), "--request-timeout=10s"]
