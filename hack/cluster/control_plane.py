"""The command lines of etcd and the control plane: paths, ports and versions in, words out."""

from hack.cluster.layout import Layout
from hack.cluster.pki import FRONT_PROXY, Pki
from hack.cluster.ports import Ports
from hack.cluster.sources import Binaries

ISSUER = "https://kubernetes.default.svc.cluster.local"
ADMISSION = "NodeRestriction,MutatingAdmissionWebhook,ValidatingAdmissionWebhook"
# All but the node looking at itself every second.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ["system:nodes"]
  verbs: [get]
  resources: [{group: "", resources: [nodes]}]
- level: Metadata
"""


def etcd(layout: Layout, ports: Ports, binaries: Binaries, *, no_fsync: bool) -> list[str]:
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    flags: dict[str, object] = {
        "name": "default",
        "data-dir": layout.etcd,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "snapshot-count": "10000",
    }
    return [binaries["etcd"], *_words(flags), *(["--unsafe-no-fsync"] if no_fsync else [])]


def apiserver(layout: Layout, ports: Ports, binaries: Binaries, pki: Pki) -> list[str]:
    flags: dict[str, object] = {
        "etcd-servers": f"http://127.0.0.1:{ports.etcd}",
        "bind-address": "127.0.0.1",
        "secure-port": ports.apiserver,
        "service-cluster-ip-range": "10.0.0.0/24",
        "cert-dir": pki.folder,
        "tls-cert-file": pki.certificate("apiserver"),
        "tls-private-key-file": pki.key("apiserver"),
        "client-ca-file": pki.certificate("ca"),
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": ADMISSION,
        "allow-privileged": "true",
        "audit-policy-file": layout.config / "audit-policy.yaml",
        "audit-log-path": layout.audit_log,
        "min-request-timeout": "60",
    }
    if binaries.older_than(24):
        flags["insecure-port"] = "0"
    return [
        binaries["kube-apiserver"],
        *_words(flags | _tokens(pki) | _kubelet_client(pki) | _front_proxy(pki)),
    ]


def controller_manager(layout: Layout, ports: Ports, binaries: Binaries, pki: Pki) -> list[str]:
    flags: dict[str, object] = {
        "kubeconfig": layout.kubeconfig("controller-manager"),
        "authentication-kubeconfig": layout.kubeconfig("controller-manager"),
        "authorization-kubeconfig": layout.kubeconfig("controller-manager"),
        "bind-address": "127.0.0.1",
        "secure-port": ports.controller_manager,
        "cert-dir": pki.folder,
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": pki.key("service-account"),
        "root-ca-file": pki.certificate("ca"),
        "cluster-signing-cert-file": pki.certificate("ca"),
        "cluster-signing-key-file": pki.key("ca"),
        "node-monitor-period": "1s",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
    }
    return [binaries["kube-controller-manager"], *_words(flags | _no_plain_port(binaries))]


def scheduler(layout: Layout, ports: Ports, binaries: Binaries, pki: Pki) -> list[str]:
    flags: dict[str, object] = {
        "kubeconfig": layout.kubeconfig("scheduler"),
        "authentication-kubeconfig": layout.kubeconfig("scheduler"),
        "authorization-kubeconfig": layout.kubeconfig("scheduler"),
        "bind-address": "127.0.0.1",
        "secure-port": ports.scheduler,
        "cert-dir": pki.folder,
        "leader-elect": "false",
    }
    return [binaries["kube-scheduler"], *_words(flags | _no_plain_port(binaries))]


def _tokens(pki: Pki) -> dict[str, object]:
    return {
        "service-account-issuer": ISSUER,
        "service-account-key-file": pki.folder / "service-account.pub",
        "service-account-signing-key-file": pki.key("service-account"),
    }


def _kubelet_client(pki: Pki) -> dict[str, object]:
    return {
        "kubelet-client-certificate": pki.certificate("kubelet-client"),
        "kubelet-client-key": pki.key("kubelet-client"),
        "kubelet-certificate-authority": pki.certificate("ca"),
        "kubelet-preferred-address-types": "Hostname",
    }


def _front_proxy(pki: Pki) -> dict[str, object]:
    """Aggregated APIs: what they trust, and what the server shows them."""
    return {
        "requestheader-client-ca-file": pki.certificate("front-proxy-ca"),
        "requestheader-allowed-names": FRONT_PROXY,
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": pki.certificate(FRONT_PROXY),
        "proxy-client-key-file": pki.key(FRONT_PROXY),
    }


def _no_plain_port(binaries: Binaries) -> dict[str, object]:
    """Old servers open an unprotected port unless told not to; new ones do not know the flag."""
    return {"port": "0"} if binaries.older_than(24) else {}


def _words(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
