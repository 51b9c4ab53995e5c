"""A real API server with our kinds, our rights, and the webhook and the controller as real programs in
front of it.

Each program logs in as its own service account with the rights of `rbac_manifests` and nothing more.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

from chaperone.core.identity import Identity
from chaperone.kube.configurations import webhook_configurations
from chaperone.kube.official import APPROVAL_REQUESTS, SERVICE_ACCOUNTS, Api, connect
from chaperone.kube.rbac import APPROVER, CONTROLLER, GATEWAY, WEBHOOK, rbac_manifests
from hack.cluster import Cluster
from hack.cluster.certificates import issue, new_authority

ROOT = Path(__file__).parents[2]
HOME = "kube-chaperone"
KUBECTL = Path(sys.executable).with_name("kubectl")
CODER = "system:serviceaccount:agents:coder"
WAIT = 60.0
"""Seconds that anything may take on a slow machine before the test gives up on it."""


@dataclass
class Real:
    """The cluster and what runs in front of it."""

    cluster: Cluster
    folder: Path
    api: Api

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """kubectl as the administrator; `--as` and `--as-group` make it somebody else."""
        command = [str(KUBECTL), f"--kubeconfig={self.cluster.admin_kubeconfig}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT, check=False)

    def apply(self, *documents: dict[str, Any], validate: str = "false") -> None:
        done = self.kubectl("apply", f"--validate={validate}", "-f", "-", stdin=yaml.safe_dump_all(documents))
        assert done.returncode == 0, done.stderr

    def decide(
        self, name: str, user: str, decision: str = "Approved", *groups: str
    ) -> subprocess.CompletedProcess[str]:
        """The approve gesture of the documentation."""
        patch = json.dumps({"status": {"decision": decision}})
        return self.patch(name, user, patch, *groups)

    def patch(self, name: str, user: str, patch: str, *groups: str) -> subprocess.CompletedProcess[str]:
        """Any merge patch of a request's status."""
        who = [f"--as={user}", *(f"--as-group={group}" for group in groups)]
        return self.kubectl(*who, "patch", "apreq", name, "--subresource=status", "--type=merge", "-p", patch)

    def token(self, namespace: str, name: str) -> str:
        """A token of a service account, minted by TokenRequest."""
        path = SERVICE_ACCOUNTS.path(name, namespace=namespace, subresource="token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self.api.create(path, body)["status"]["token"])

    def as_account(self, namespace: str, name: str) -> Api:
        """The API as that service account itself, with its own token."""
        return connect(str(self.kubeconfig(namespace, name)))

    def kubeconfig(self, namespace: str, name: str) -> Path:
        document = yaml.safe_load(self.cluster.admin_kubeconfig.read_text())
        document["users"][0]["user"] = {"token": self.token(namespace, name)}
        path = self.folder / f"{namespace}-{name}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.api.get(APPROVAL_REQUESTS.path(name))["status"])

    def hold(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create an ApprovalRequest as the gateway does, with its account."""
        return self.as_account(HOME, GATEWAY).create(APPROVAL_REQUESTS.path(), request_object(name, **spec))


def request_object(name: str, **spec: Any) -> dict[str, Any]:
    """A held deletion of namespace dev."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name},
        "spec": {
            "type": "Request",
            "requester": {
                "username": "agent-1",
                "issuer": "https://issuer",
                "subject": "sub-1",
                "run": "run-1",
            },
            "request": {
                "verb": "delete",
                "apiVersion": "v1",
                "resource": "namespaces",
                "namespace": "dev",
                "name": "dev",
                "path": "/api/v1/namespaces/dev",
            },
            "digest": "sha256:" + "d" * 64,
            "policy": {"name": "coders", "generation": 1, "rule": "namespaces"},
            "risk": {"level": "critical", "reasons": ["R22: deletes everything inside"]},
            "required": 1,
            "expiresAt": "2099-01-01T00:00:00Z",
            **spec,
        },
    }


POLICY: dict[str, Any] = {
    "apiVersion": "chaperone.dev/v1alpha1",
    "kind": "AgentPolicy",
    "metadata": {"name": "coders"},
    "spec": {
        "subjects": [{"groups": ["ai-agents"]}],
        "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
        "access": [{"roleRef": {"kind": "ClusterRole", "name": "view"}, "namespaces": ["dev", "staging"]}],
        "rules": [
            {
                "name": "namespaces",
                "match": {"verbs": ["delete"], "resources": ["namespaces"]},
                "action": "RequireApproval",
            }
        ],
    },
}


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for something that comes about by itself."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


@contextmanager
def set_up(cluster: Cluster, folder: Path) -> Iterator[Real]:
    """Kinds, rights, both programs, webhook configurations, the policy."""
    real = Real(cluster, folder, connect(str(cluster.admin_kubeconfig)))
    _install(real)
    port, health = free_port(), free_port()
    authority = _certificate(folder)
    _write(folder / "webhook.yaml", _webhook_settings(real, port))
    _write(folder / "controller.yaml", _controller_settings(real, health))
    with running("webhook", folder), running("controller", folder):
        until("the webhook is ready", lambda: _answers(f"https://127.0.0.1:{port}/readyz", authority))
        until("the controller is alive", lambda: _answers(f"http://127.0.0.1:{health}/healthz", None))
        real.apply(
            *webhook_configurations(
                url=f"https://127.0.0.1:{port}",
                service=None,
                ca_bundle=authority.read_bytes(),
                server_version=real.api.server_version(),
                identities=[CODER],
                namespace=HOME,
            )
        )
        until("the webhooks are in force", lambda: not _may_make_requests(real))
        real.apply(POLICY)
        until("the webhook knows the policy", lambda: _is_guarded(real))
        yield real


def _install(real: Real) -> None:
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (HOME, "agents", "dev")
    ]
    kinds = [
        document
        for path in sorted((ROOT / "crds").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    real.apply(*namespaces, *(kind for kind in kinds if kind))
    names = [f"crd/{name}.chaperone.dev" for name in ("agentpolicies", "approvalrequests", "agentsessions")]
    done = real.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    assert done.returncode == 0, done.stderr
    real.apply(*rbac_manifests(HOME, [Identity(CODER)]))
    # The agent's own rights: far too wide on purpose, so that only the webhook stands in its way.
    real.apply(
        _binding(
            "coder-admin", "cluster-admin", {"kind": "ServiceAccount", "namespace": "agents", "name": "coder"}
        )
    )
    for group in ("oncall", "ai-agents"):
        subject = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}
        real.apply(_binding(f"{group}-approves", APPROVER, subject))
    real.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coder", "namespace": "agents"}}
    )


def _binding(name: str, role: str, subject: dict[str, Any]) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def _certificate(folder: Path) -> Path:
    authority = new_authority("webhook-test-ca")
    pair = issue(authority, "webhook", hosts=("127.0.0.1",))
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tls-ca.crt").write_bytes(authority.pair.certificate)
    return folder / "tls-ca.crt"


def _webhook_settings(real: Real, port: int) -> dict[str, Any]:
    return {
        "listen": {
            "address": "127.0.0.1",
            "port": port,
            "certificate": str(real.folder / "tls.crt"),
            "key": str(real.folder / "tls.key"),
        },
        "kubernetes": {"kubeconfig": str(real.kubeconfig(HOME, WEBHOOK))},
    }


def _controller_settings(real: Real, health: int) -> dict[str, Any]:
    return {
        "resync": "2s",
        "probe": {"port": health},
        "kubernetes": {"kubeconfig": str(real.kubeconfig(HOME, CONTROLLER))},
    }


@contextmanager
def running(program: str, folder: Path) -> Iterator[None]:
    """`python -m PROGRAM --config FOLDER/PROGRAM.yaml`, ended by SIGTERM; it must then end well."""
    log = (folder / f"{program}.log").open("ab")
    command = [sys.executable, "-m", program, "--config", str(folder / f"{program}.yaml")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield
        assert process.poll() is None, (folder / f"{program}.log").read_text()[-4000:]
    finally:
        process.terminate()
        process.wait(WAIT)
        log.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document))


def _answers(url: str, authority: Path | None) -> bool:
    with urllib3.PoolManager(ca_certs=str(authority) if authority else None, retries=False) as pool:
        try:
            return pool.request("GET", url, timeout=5.0).status == 200
        except (urllib3.exceptions.HTTPError, OSError):
            return False


def _may_make_requests(real: Real) -> bool:
    """The administrator may, until the webhook stands in front of our kinds."""
    probe = yaml.safe_dump(request_object("probe"))
    return (
        real.kubectl("create", "--dry-run=server", "--validate=false", "-f", "-", stdin=probe).returncode == 0
    )


def _is_guarded(real: Real) -> bool:
    return real.kubectl(f"--as={CODER}", "delete", "namespace", "dev", "--dry-run=server").returncode != 0
