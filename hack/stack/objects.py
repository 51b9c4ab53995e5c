"""What the product needs in the cluster: kinds, rights, webhook configurations, and the example policy."""

import re
from typing import Any

import yaml

from chaperone.kube.admission_policies import admission_policies
from chaperone.kube.configurations import NAMESPACE_LABEL, webhook_configurations
from chaperone.kube.rbac import APPROVER, CONTROLLER, SESSION_ENDER, VIEWER, rbac_manifests
from hack.cluster.errors import ClusterError
from hack.stack.kubectl import Kubectl
from hack.stack.layout import NAMESPACE, ROOT, Layout

APPROVERS = "platform-oncall"
EXAMPLE = ROOT / "docs" / "examples" / "coding-agents.yaml"
GUARDS = (
    "validatingwebhookconfiguration",
    "mutatingwebhookconfiguration",
    "validatingadmissionpolicybinding",
    "validatingadmissionpolicy",
)
KINDS = ("agentpolicies", "approvalrequests", "agentsessions")
RBAC = "rbac.authorization.k8s.io"


def namespace(name: str) -> dict[str, Any]:
    """With the label that servers before 1.21 do not set by themselves: the guard of our namespace selects by it."""
    metadata = {"name": name, "labels": {NAMESPACE_LABEL: name}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def apply_kinds(admin: Kubectl) -> None:
    """The CustomResourceDefinitions, and waiting until the server serves them."""
    documents = [
        document for path in sorted((ROOT / "crds").glob("*.yaml")) for document in _load(path.read_text())
    ]
    admin.apply("applying the CustomResourceDefinitions", documents, server_side=False)
    names = [f"crd/{kind}.chaperone.dev" for kind in KINDS]
    doing = "waiting for the CustomResourceDefinitions"
    admin.must(doing, "wait", "--for=condition=Established", "--timeout=60s", *names)


def apply_rights(admin: Kubectl) -> None:
    """Our accounts and roles, the approvers' group, and what only a development stack gets."""
    homes = [namespace(name) for name in (NAMESPACE, "agents", "demo")]
    admin.apply("making namespaces", homes)
    admin.apply("applying the roles", rbac_manifests(NAMESPACE, []))
    admin.apply("applying the roles of people", [*_approvers(), *_any_role()])


def apply_webhooks(admin: Kubectl, layout: Layout, url: str, version: str) -> None:
    configurations = webhook_configurations(
        url=url,
        service=None,
        ca_bundle=layout.ca_file.read_bytes(),
        server_version=major_minor(version),
        identities=(),
        namespace=NAMESPACE,
    )
    admin.apply("applying the webhook configurations", configurations)
    policies = admission_policies(server_version=major_minor(version), identities=(), namespace=NAMESPACE)
    if policies:
        admin.apply("applying the admission policies", policies)


def remove_webhooks(admin: Kubectl) -> None:
    """First of all when a stack on somebody's cluster stops: a webhook that nobody answers blocks writes."""
    for kind in GUARDS:  # a server that does not know a kind says so, and that is all
        admin.run("delete", kind, "-l", "app.kubernetes.io/name=kube-chaperone", "--ignore-not-found")


def apply_example(admin: Kubectl) -> None:
    admin.apply(f"applying {EXAMPLE.relative_to(ROOT)}", _load(EXAMPLE.read_text()))


def major_minor(version: str) -> tuple[int, int]:
    """(1, 20) of "v1.20.2"."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        raise ClusterError(f"the cluster says that its version is {version!r}: not a Kubernetes version")
    return int(found[1]), int(found[2])


def _approvers() -> list[dict[str, Any]]:
    """They approve, look at everything, and may end runs."""
    group = {"kind": "Group", "apiGroup": RBAC, "name": APPROVERS}
    roles = (APPROVER, VIEWER, SESSION_ENDER)
    return [_binding(f"{APPROVERS}-{role}", role, [group]) for role in roles]


def approver_binding(account: str) -> dict[str, Any]:
    """For a service account in the place of a person."""
    subject = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": account}
    return _binding(f"{APPROVERS}-{account}", APPROVER, [subject])


def _any_role() -> list[dict[str, Any]]:
    """On a development stack a policy may hand out any role; an installation names the roles instead."""
    name = "chaperone-development-bind"
    rule = {"apiGroups": [RBAC], "resources": ["clusterroles", "roles"], "verbs": ["bind"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}
    return [
        role,
        _binding(name, name, [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": CONTROLLER}]),
    ]


def _binding(name: str, role: str, subjects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _load(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]
