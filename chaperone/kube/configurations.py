"""The webhook configurations of this product, built from plain values. Pure: nothing here talks to a cluster.

Three objects, each removable alone (deleting one is the break-glass, and no webhook can prevent it):

- `chaperone-approvals` (mutating): turns a person's `status.decision` into a stamped review, completes a
  person's request for access, and stamps who terminates a session.
- `chaperone-own-kinds` (validating): guards approvals, policies and sessions. Fails closed: nobody else is
  affected.
- `chaperone-agent-guard` (validating): gated writes of agents' identities. From Kubernetes 1.28 the server
  itself keeps everybody else away (matchConditions), so it covers every write and fails closed. Older
  servers cannot filter by user and would send everybody's requests: there it sees only the gated kinds, and
  fails open.

Never `*/*`, never leases, events or reviews: a slow webhook on leases stops the control plane.
Source of the matching rules: kubernetes/apiserver pkg/admission/plugin/webhook/predicates/rules.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.kube.rbac import APP_LABELS, GATEWAY, SERVICE_ACCOUNT_PREFIX, rbac_manifests

__all__ = [
    "AGENT_GUARD",
    "GUARDED_FROM",
    "Reach",
    "guard_conditions",
    "rbac_manifests",
    "webhook_configurations",
]

Manifest = dict[str, Any]

APPROVALS = "chaperone-approvals"
OWN_KINDS = "chaperone-own-kinds"
AGENT_GUARD = "chaperone-agent-guard"

GUARDED_FROM = (1, 28)
"""The first server on which matchConditions are on by default. Older ones drop the field without a word."""

OWN_TIMEOUT = 5
GUARD_TIMEOUT = 5
OPEN_GUARD_TIMEOUT = 2
"""Seconds, on servers where everybody's writes wait for the guard: well below what leader elections bear."""
FREQUENT_TIMEOUT = 1
"""Seconds, the least that there is, for what kubelets and controllers write all the time, and for our own pods."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Set by the server from 1.21 on. On 1.20 our own namespace has to carry it, or its guard sees nothing."""

WRITES = ("CREATE", "UPDATE", "DELETE")
CHANGES = ("CREATE", "UPDATE")
OWN_RESOURCES = ("agentpolicies", "approvalrequests", "agentsessions")
RBAC = "rbac.authorization.k8s.io"
CONNECT_RESOURCES = (
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/proxy",
    "services/proxy",
    "nodes/proxy",
)
CORE_SUBRESOURCES = (
    "namespaces/finalize",
    "pods/binding",
    "pods/ephemeralcontainers",
    "pods/eviction",
    "pods/resize",
    "serviceaccounts/token",
)
NAMESPACED_CONNECT = tuple(name for name in CONNECT_RESOURCES if not name.startswith("nodes/"))
TEMPLATED = ("deployments", "daemonsets", "statefulsets", "replicasets")
HOME_RESOURCES = (
    "configmaps",
    "endpoints",
    "limitranges",
    "persistentvolumeclaims",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "serviceaccounts",
    "services",
)


@dataclass(frozen=True, slots=True)
class Reach:
    """How the API server reaches the webhook: by URL, or by a Service (namespace, name, port). Exactly
    one."""

    url: str | None = None
    service: tuple[str, str, int] | None = None
    ca_bundle: bytes = b""

    def client_config(self, path: str) -> Manifest:
        """The clientConfig of one webhook. Raises ValueError when not exactly one way is given."""
        if (self.url is None) == (self.service is None):
            raise ValueError(
                "give either url or service: the API server needs exactly one way to the webhook"
            )
        bundle = {"caBundle": base64.b64encode(self.ca_bundle).decode()} if self.ca_bundle else {}
        if self.service is None:
            return {"url": f"{(self.url or '').rstrip('/')}{path}", **bundle}
        namespace, name, port = self.service
        return {"service": {"namespace": namespace, "name": name, "port": port, "path": path}, **bundle}


def webhook_configurations(
    *,
    url: str | None,
    service: tuple[str, str, int] | None,
    ca_bundle: bytes,
    server_version: tuple[int, int],
    identities: Iterable[str],
    namespace: str = "kube-chaperone",
) -> list[Manifest]:
    """The three configurations, ready to apply.

    ca_bundle: PEM; b"" when the system's roots sign the certificate. identities: the usernames that
    policies hand out (the controller keeps them in step). namespace: our own.
    """
    reach = Reach(url, service, ca_bundle)
    guard = (
        [_closed_guard(reach, identities)]
        if server_version >= GUARDED_FROM
        else _open_guards(reach, namespace)
    )
    return [
        _configuration("MutatingWebhookConfiguration", APPROVALS, [_stamp(reach), _stamp_sessions(reach)]),
        _configuration(
            "ValidatingWebhookConfiguration", OWN_KINDS, _own_kinds(reach, namespace, server_version)
        ),
        _configuration("ValidatingWebhookConfiguration", AGENT_GUARD, guard),
    ]


def guard_conditions(identities: Iterable[str]) -> list[Manifest]:
    """matchConditions that let only agents' requests through to the guard (CEL over the AdmissionRequest).

    An agent is whoever carries one of our extras (the gateway adds them) or logs in as an identity that a
    policy hands out. Users such as `system:kube-scheduler` are never listed: a policy cannot put the
    control plane under guard.
    """
    return [
        {"name": "agents-only", "expression": _agents_only(identities)},
        {"name": "never-leases-events-reviews", "expression": NEVER},
    ]


NEVER = (
    "!(request.resource.group == 'coordination.k8s.io'"
    " || request.resource.group == 'authentication.k8s.io'"
    " || request.resource.group == 'authorization.k8s.io'"
    " || request.resource.group == 'events.k8s.io'"
    " || (request.resource.group == '' && request.resource.resource == 'events'))"
)


def guardable(identities: Iterable[str]) -> list[str]:
    """The usernames that the guard may match, sorted: no control plane component among them."""
    return sorted({name for name in identities if name and not _is_control_plane(name)})


def _is_control_plane(username: str) -> bool:
    return username.startswith("system:") and not username.startswith("system:serviceaccount:")


def _agents_only(identities: Iterable[str]) -> str:
    """A JSON string is a CEL string: usernames are quoted by it, whatever they hold."""
    names = json.dumps(guardable(identities))
    return (
        f"request.userInfo.username in {names}"
        " || (has(request.userInfo.extra)"
        " && request.userInfo.extra.exists(key, key.startsWith('chaperone.dev/')))"
    )


def _configuration(kind: str, name: str, webhooks: Sequence[Manifest]) -> Manifest:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": dict(APP_LABELS)},
        "webhooks": list(webhooks),
    }


def _webhook(name: str, client_config: Manifest, rules: Sequence[Manifest], **more: Any) -> Manifest:
    return {
        "name": f"{name}.chaperone.dev",
        "clientConfig": client_config,
        "rules": list(rules),
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": OWN_TIMEOUT,
        **more,
    }


def _rule(groups: Sequence[str], resources: Sequence[str], operations: Sequence[str] = WRITES) -> Manifest:
    return {
        "apiGroups": list(groups),
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": list(resources),
        "scope": "*",
    }


def _own(resources: Sequence[str], operations: Sequence[str] = WRITES) -> Manifest:
    return _rule(["chaperone.dev"], resources, operations)


def _stamp(reach: Reach) -> Manifest:
    rules = [
        _own(["approvalrequests"], ["CREATE"]),
        _own(["approvalrequests", "approvalrequests/status"], ["UPDATE"]),
    ]
    return _webhook("stamp", reach.client_config("/mutate-approval"), rules, reinvocationPolicy="Never")


def _stamp_sessions(reach: Reach) -> Manifest:
    rules = [_own(["agentsessions"], ["UPDATE"])]
    return _webhook("stamp-sessions", reach.client_config("/mutate-session"), rules)


def _own_kinds(reach: Reach, namespace: str, server_version: tuple[int, int]) -> list[Manifest]:
    """The gateway writes the status of every active session all the time: where the server can tell, it is not asked."""
    kinds = {
        "approvals": ("/validate-approval", ["approvalrequests", "approvalrequests/status"]),
        "policies": ("/validate-policy", ["agentpolicies", "agentpolicies/status"]),
        "sessions": ("/validate-session", ["agentsessions", "agentsessions/status"]),
    }
    spared = [{"name": "not-the-counts-of-the-gateway", "expression": _not_counts(namespace)}]
    more = {"sessions": {"matchConditions": spared}} if server_version >= GUARDED_FROM else {}
    return [
        _webhook(name, reach.client_config(path), [_own(resources)], **more.get(name, {}))
        for name, (path, resources) in kinds.items()
    ]


def _not_counts(namespace: str) -> str:
    gateway = json.dumps(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{GATEWAY}")
    return (
        "!(has(request.subResource) && request.subResource == 'status'"
        f" && request.userInfo.username == {gateway})"
    )


def _closed_guard(reach: Reach, identities: Iterable[str]) -> Manifest:
    """Every write of an agent: policies may gate any kind, custom resources included, so rules name none."""
    rules = [
        _rule(["*"], ["*"]),
        _rule(["*"], ["*/scale", "*/status"], CHANGES),
        _rule([""], CORE_SUBRESOURCES, CHANGES),
        _rule(["certificates.k8s.io"], ["certificatesigningrequests/approval"], ["UPDATE"]),
        _rule([""], CONNECT_RESOURCES, ["CONNECT"]),
    ]
    return _webhook(
        "guard",
        reach.client_config("/guard"),
        rules,
        timeoutSeconds=GUARD_TIMEOUT,
        matchConditions=guard_conditions(identities),
    )


def _open_guards(reach: Reach, namespace: str) -> list[Manifest]:
    """For servers that cannot filter by user: every kind that a row of the risk catalogue names, but for what
    is never matched (leases, events) and what only kubelets write without end (the status of pods).

    Our own namespace has a webhook to itself, so that the others never wait for a webhook that is starting.
    """
    terms: Mapping[str, Any] = {"failurePolicy": "Ignore", "timeoutSeconds": OPEN_GUARD_TIMEOUT}
    quick: Mapping[str, Any] = {**terms, "timeoutSeconds": FREQUENT_TIMEOUT}
    config = reach.client_config("/guard")
    elsewhere, home = _namespaces("NotIn", namespace), _namespaces("In", namespace)
    return [
        _webhook("guard-cluster", config, _gated_cluster_kinds(), **terms),
        _webhook("guard-namespaced", config, _gated_namespaced_kinds(), namespaceSelector=elsewhere, **terms),
        _webhook("guard-frequent", config, _frequent_kinds(), namespaceSelector=elsewhere, **quick),
        _webhook("guard-home", config, _home_kinds(), namespaceSelector=home, **quick),
    ]


def _namespaces(operator: str, namespace: str) -> Manifest:
    return {"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": operator, "values": [namespace]}]}


def _gated_cluster_kinds() -> list[Manifest]:
    return [
        _rule([RBAC], ["clusterroles", "clusterrolebindings"], CHANGES),
        _rule([""], ["namespaces", "persistentvolumes"], WRITES),
        _rule([""], ["namespaces/finalize", "namespaces/status"], CHANGES),
        _rule([""], ["nodes"], ["UPDATE", "DELETE"]),
        _rule([""], ["nodes/proxy"], ["CONNECT"]),
        _rule(["apiregistration.k8s.io"], ["apiservices"], WRITES),
        _rule(["apiextensions.k8s.io"], ["customresourcedefinitions"], WRITES),
        _rule(["certificates.k8s.io"], ["certificatesigningrequests"], ["CREATE"]),
        _rule(
            ["certificates.k8s.io"],
            ["certificatesigningrequests/approval", "certificatesigningrequests/status"],
            ["UPDATE"],
        ),
        _rule(["scheduling.k8s.io"], ["priorityclasses"], WRITES),
        _rule(["storage.k8s.io"], ["storageclasses"], ["DELETE"]),
        _rule(["snapshot.storage.k8s.io"], ["volumesnapshotcontents", "volumesnapshotclasses"], WRITES),
        _own([f"{kind}{subresource}" for kind in OWN_RESOURCES for subresource in ("", "/status")]),
    ]


def _gated_namespaced_kinds() -> list[Manifest]:
    return [
        _rule([RBAC], ["roles", "rolebindings"], CHANGES),
        _rule([""], ["serviceaccounts/token", "pods/eviction", "pods/binding", "bindings"], ["CREATE"]),
        _rule([""], ["pods/ephemeralcontainers", "pods/resize"], ["UPDATE"]),
        _rule([""], NAMESPACED_CONNECT, ["CONNECT"]),
        _rule([""], ["pods", "secrets", "services", "replicationcontrollers", "podtemplates"], WRITES),
        _rule([""], ["configmaps"], ["DELETE"]),
        _rule([""], ["persistentvolumeclaims", "resourcequotas", "limitranges"], ["UPDATE", "DELETE"]),
        _rule([""], ["serviceaccounts"], CHANGES),
        _rule(["apps"], TEMPLATED, WRITES),
        _rule(["*"], ["*/scale"], ["UPDATE"]),
        _rule(["batch"], ["jobs", "cronjobs"], WRITES),
        _rule(["networking.k8s.io"], ["networkpolicies"], ["UPDATE", "DELETE"]),
        _rule(["networking.k8s.io", "extensions"], ["ingresses"], CHANGES),
        _rule(["policy"], ["poddisruptionbudgets"], ["UPDATE", "DELETE"]),
        _rule(["snapshot.storage.k8s.io"], ["volumesnapshots"], WRITES),
    ]


def _frequent_kinds() -> list[Manifest]:
    return [
        _rule([""], ["configmaps"], CHANGES),
        _rule([""], ["nodes/status", "services/status"], ["UPDATE"]),
    ]


def _home_kinds() -> list[Manifest]:
    """Whatever is ours: every write of an agent here is denied, so every kind is listed."""
    return [
        _rule([""], HOME_RESOURCES, WRITES),
        _rule([""], ["serviceaccounts/token", "pods/eviction", "pods/binding", "bindings"], ["CREATE"]),
        _rule([""], ["pods/ephemeralcontainers", "pods/resize"], ["UPDATE"]),
        _rule([""], NAMESPACED_CONNECT, ["CONNECT"]),
        _rule(["apps"], [*TEMPLATED, "controllerrevisions"], WRITES),
        _rule(["*"], ["*/scale"], ["UPDATE"]),
        _rule(["batch"], ["jobs", "cronjobs"], WRITES),
        _rule([RBAC], ["roles", "rolebindings"], WRITES),
        _rule(["networking.k8s.io", "extensions"], ["networkpolicies", "ingresses"], WRITES),
        _rule(["policy"], ["poddisruptionbudgets"], WRITES),
        _rule(["autoscaling"], ["horizontalpodautoscalers"], WRITES),
    ]
