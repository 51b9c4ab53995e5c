"""Kubeconfigs of the people and programs around the gateway: approvers, the agent, our own programs."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hack.cluster.errors import ClusterError
from hack.cluster.kubeconfig import load_flattened, only_cluster, only_user
from hack.cluster.pki import write_private
from hack.stack.kubectl import Kubectl
from hack.stack.layout import NAMESPACE, ROOT, Layout

TOKEN_LIFE = "24h"
SIGN_SECONDS = 20.0


def write_kubeconfig(
    path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any], *, namespace: str = ""
) -> None:
    """A kubeconfig with one context, readable by its owner only."""
    context = {"cluster": "cluster", "user": "user", **({"namespace": namespace} if namespace else {})}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": dict(cluster)}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "chaperone", "context": context}],
        "current-context": "chaperone",
    }
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def write_account(admin: Kubectl, path: Path, account: str, *, namespace: str = NAMESPACE) -> None:
    """A kubeconfig with a token of a service account that lives for a day (TokenRequest)."""
    token = admin.must(
        f"asking for a token of {namespace}/{account}",
        *("create", "token", account, "-n", namespace, f"--duration={TOKEN_LIFE}"),
    )
    write_kubeconfig(path, only_cluster(load_flattened(admin.kubeconfig)), {"token": token.strip()})


def write_person(admin: Kubectl, path: Path, user: str, groups: Sequence[str]) -> None:
    """A kubeconfig with a client certificate for a person, signed by the cluster through a CertificateSigningRequest."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(admin, user, _request(key, user, groups))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credentials = {"client-certificate-data": certificate, "client-key-data": base64.b64encode(pem).decode()}
    write_kubeconfig(path, only_cluster(load_flattened(admin.kubeconfig)), credentials)


def write_agent(
    layout: Layout,
    path: Path,
    gateway_url: str,
    *,
    subject: str,
    groups: Sequence[str],
    run: str,
    namespace: str = "default",
    arguments: Sequence[str] = (),
) -> None:
    """A kubeconfig that points at the gateway and holds nothing but a token of the development issuer."""
    ca = base64.b64encode(layout.ca_file.read_bytes()).decode()
    cluster = {"server": gateway_url, "certificate-authority-data": ca}
    token = agent_token(layout, "--sub", subject, "--groups", ",".join(groups), "--run", run, *arguments)
    write_kubeconfig(path, cluster, {"token": token}, namespace=namespace)


def token_of(kubeconfig: Path) -> str:
    """The bearer token in a kubeconfig."""
    return str(only_user(load_flattened(kubeconfig))["token"])


def agent_token(layout: Layout, *arguments: str) -> str:
    """A token as `hack/issuer.py token` prints it."""
    command = [
        sys.executable,
        str(ROOT / "hack" / "issuer.py"),
        "token",
        "--dir",
        str(layout.issuer),
        *arguments,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ClusterError(f"hack/issuer.py token failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _request(key: ec.EllipticCurvePrivateKey, user: str, groups: Sequence[str]) -> str:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()


def _signed(admin: Kubectl, user: str, request: str) -> str:
    """The certificate (base64 PEM). Raises ClusterError when the cluster does not sign."""
    name = f"chaperone-{user.replace('@', '.')}-{time.time_ns():x}"
    doing = f"getting a client certificate for {user}"
    spec = {
        "request": request,
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    csr = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    }
    admin.must(doing, "create", "-f", "-", stdin=json.dumps(csr))
    admin.must(doing, "certificate", "approve", name)
    deadline = time.monotonic() + SIGN_SECONDS
    while time.monotonic() < deadline:
        certificate = (admin.get("csr", name) or {}).get("status", {}).get("certificate", "")
        if certificate:
            admin.run("delete", "csr", name)
            return str(certificate)
        time.sleep(0.2)
    raise ClusterError(
        f"{doing}: the cluster did not sign {name}; does its controller-manager sign certificates?"
    )
