"""A cluster that the user names: checked and remembered, never started, changed or stopped."""

import json
import os
import ssl
from base64 import b64decode
from pathlib import Path

import yaml

from hack.cluster.api import is_ready
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.kubeconfig import load_flattened, only_cluster
from hack.cluster.layout import Layout
from hack.cluster.model import Cluster, Log
from hack.cluster.pki import write_private
from hack.cluster.record import Record, load, save
from hack.cluster.tools import kubectl

SECONDS = 30


def adopt(layout: Layout, kubeconfig: Path, log: Log, *, kind_cluster: str = "") -> Cluster:
    """Copy its kubeconfig to the folder. Raises ClusterError when it is not reachable with all rights."""
    config = load_flattened(kubeconfig)
    server = only_cluster(config)["server"]
    log(f"checking the cluster at {server} (a few seconds)")
    version = str(json.loads(_ask(kubeconfig, ["get", "--raw", "/version"])).get("gitVersion", ""))
    _check_rights(kubeconfig)
    why = _why_no_node(kubeconfig)
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
    layout.ca_file.write_bytes(_authority(config))
    write_private(layout.admin_kubeconfig, yaml.safe_dump(config, sort_keys=False).encode())
    return record.cluster(layout)


def _kind_cluster_of(layout: Layout) -> str:
    record = load(layout.record)
    return record.kind_cluster if record else ""


def _check_rights(kubeconfig: Path) -> None:
    remedy = f"use the kubeconfig of a cluster administrator instead of {kubeconfig}"
    answer = run(
        [*_kubectl(kubeconfig), "auth", "can-i", "*", "*", "--all-namespaces"],
        doing=f"checking the rights of {kubeconfig}",
        remedy=remedy,
        seconds=SECONDS,
    )
    if not answer.strip().startswith("yes"):
        raise ClusterError(f"{kubeconfig} may not do everything in its cluster: {remedy}")


def _authority(config: dict[str, object]) -> bytes:
    """The cluster's own authority, else those that this machine trusts."""
    data = only_cluster(config).get("certificate-authority-data")
    if data:
        return b64decode(data)
    trusted = ssl.get_default_verify_paths().cafile
    return Path(trusted).read_bytes() if trusted and Path(trusted).exists() else b""


def _why_no_node(kubeconfig: Path) -> str:
    nodes = json.loads(_ask(kubeconfig, ["get", "nodes", "-o", "json"]))["items"]
    return "" if any(is_ready(node) for node in nodes) else "the cluster has no ready node"


def _ask(kubeconfig: Path, words: list[str]) -> str:
    return run(
        [*_kubectl(kubeconfig), *words],
        doing=f"reaching the cluster of {kubeconfig}",
        remedy=f"check that `kubectl --kubeconfig {kubeconfig} {' '.join(words)}` works",
        seconds=SECONDS,
    )


def _kubectl(kubeconfig: Path) -> list[str]:
    return [str(kubectl(os.environ)), "--kubeconfig", str(kubeconfig), "--request-timeout=10s"]
