"""The built-in kinds that live in no namespace, by (group, resource).

So that a list of nodes is not taken for a list over all namespaces. `namespaces` are left out on purpose: a list of
them reaches each of them. Kinds of custom resources are not known here.
Source: kubernetes/kubernetes api/openapi-spec (paths without a namespace parameter).
"""

from __future__ import annotations

_BY_GROUP = {
    "": ("nodes", "persistentvolumes", "componentstatuses"),
    "admissionregistration.k8s.io": (
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "apiregistration.k8s.io": ("apiservices",),
    "certificates.k8s.io": ("certificatesigningrequests", "clustertrustbundles"),
    "chaperone.dev": ("agentpolicies", "approvalrequests", "agentsessions"),
    "flowcontrol.apiserver.k8s.io": ("flowschemas", "prioritylevelconfigurations"),
    "metrics.k8s.io": ("nodes",),
    "networking.k8s.io": ("ingressclasses", "ipaddresses", "servicecidrs"),
    "node.k8s.io": ("runtimeclasses",),
    "policy": ("podsecuritypolicies",),
    "rbac.authorization.k8s.io": ("clusterroles", "clusterrolebindings"),
    "resource.k8s.io": ("deviceclasses", "resourceslices"),
    "scheduling.k8s.io": ("priorityclasses",),
    "storage.k8s.io": (
        "csidrivers",
        "csinodes",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    ),
    "storagemigration.k8s.io": ("storageversionmigrations",),
}

CLUSTER_SCOPED = frozenset(
    (group, resource) for group, resources in _BY_GROUP.items() for resource in resources
)
