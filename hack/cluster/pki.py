"""The files of one cluster's keys and certificates, and the kubeconfigs made from them."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from hack.cluster.certificates import Authority, KeyPair, issue, new_authority, new_signing_key
from hack.cluster.kubeconfig import client_kubeconfig
from hack.cluster.layout import Layout

SERVICE_ADDRESS = "10.0.0.1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
API_HOSTS = (*LOOPBACK, SERVICE_ADDRESS, "kubernetes", "kubernetes.default", "kubernetes.default.svc")
FRONT_PROXY = "front-proxy-client"
CLIENTS = {
    "admin": ("kubernetes-admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "node": ("system:node:localhost", ("system:nodes",)),
}


@dataclass(frozen=True)
class Pki:
    """Paths only; `NAME.crt` and `NAME.key` for each pair."""

    folder: Path

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def write_pki(layout: Layout, server: str, name: str) -> Pki:
    """Make a fresh authority and all it signs; also ca.crt and the kubeconfigs. Only we may read the keys."""
    pki = Pki(layout.pki)
    ca = new_authority("kube-chaperone-test-ca")
    _write_pair(pki, "ca", ca.pair)
    _write_front_proxy(pki)
    _write_pair(pki, "apiserver", issue(ca, "kube-apiserver", hosts=API_HOSTS))
    _write_pair(pki, "kubelet", issue(ca, "localhost", hosts=LOOPBACK))
    _write_pair(pki, "kubelet-client", issue(ca, "kube-apiserver-client", organizations=("system:masters",)))
    private, public = new_signing_key()
    write_private(pki.key("service-account"), private)
    write_private(pki.folder / "service-account.pub", public)
    layout.ca_file.write_bytes(ca.pair.certificate)
    _write_clients(layout, pki, ca, server=server, name=name)
    return pki


def write_private(path: Path, content: bytes) -> None:
    """Write a file only its owner can read, in a folder made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _write_front_proxy(pki: Pki) -> None:
    ca = new_authority("kube-chaperone-test-front-proxy-ca")
    _write_pair(pki, "front-proxy-ca", ca.pair)
    _write_pair(pki, FRONT_PROXY, issue(ca, FRONT_PROXY))


def _write_clients(layout: Layout, pki: Pki, ca: Authority, *, server: str, name: str) -> None:
    for user, (common_name, organizations) in CLIENTS.items():
        pair = issue(ca, common_name, organizations=organizations)
        _write_pair(pki, user, pair)
        config = client_kubeconfig(server, ca.pair.certificate, pair, name=name, user=user)
        path = layout.admin_kubeconfig if user == "admin" else layout.kubeconfig(user)
        write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def _write_pair(pki: Pki, name: str, pair: KeyPair) -> None:
    write_private(pki.certificate(name), pair.certificate)
    write_private(pki.key(name), pair.key)
