"""The rights of our own programs, as manifests. Pure. Every program has its own service account, and no
more than this.

The data path's account may impersonate and nothing else: a request whose identity headers were lost is
refused by RBAC. The account that reads policies and writes approvals is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.identity import EXTRA_KEYS, Identity

Manifest = dict[str, Any]

IMPERSONATOR = "chaperone-impersonator"
GATEWAY = "chaperone-gateway"
CONTROLLER = "chaperone-controller"
WEBHOOK = "chaperone-webhook"
CONSOLE = "chaperone-console"
APPROVER = "chaperone-approver"
REQUESTER = "chaperone-requester"
VIEWER = "chaperone-viewer"
SESSION_VIEWER = "chaperone-session-viewer"
SESSION_ENDER = "chaperone-session-ender"

APP_LABELS: Mapping[str, str] = {
    "app.kubernetes.io/name": "kube-chaperone",
    "app.kubernetes.io/part-of": "kube-chaperone",
}

RBAC = "rbac.authorization.k8s.io"
OWN = "chaperone.dev"
READ = ("get", "list", "watch")
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

BINDABLE_ROLES = ("view",)
"""ClusterRoles that policies may hand out through spec.access unless the installation says more."""


@dataclass(frozen=True, slots=True)
class Impersonated:
    """Whom the gateway may become: service accounts as (namespace, name), users and groups by name."""

    accounts: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    users: frozenset[str] = field(default_factory=frozenset)
    groups: frozenset[str] = field(default_factory=frozenset)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted({namespace for namespace, _ in self.accounts}))


def impersonated(identities: Iterable[Identity]) -> Impersonated:
    """Sort the identities that policies hand out by the RBAC resource that guards their impersonation."""
    accounts: set[tuple[str, str]] = set()
    users: set[str] = set()
    groups: set[str] = set()
    for identity in identities:
        account = service_account(identity.username)
        if account is not None:
            accounts.add(account)
        else:
            users.add(identity.username)
        groups.update(identity.groups)
    return Impersonated(frozenset(accounts), frozenset(users), frozenset(groups))


def service_account(username: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's username, or None for any other user."""
    namespace, _, name = username.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    if not username.startswith(SERVICE_ACCOUNT_PREFIX) or not namespace or not name or ":" in name:
        return None
    return namespace, name


def rbac_manifests(
    namespace: str,
    identities: Iterable[Identity],
    *,
    bindable_roles: Sequence[str] = BINDABLE_ROLES,
    token_reviews: bool = False,
    certificate_secret: str = "",
) -> list[Manifest]:
    """ServiceAccounts, roles and bindings of all our programs, and the roles for people: who approve, ask for access,
    look at sessions and end them.

    namespace: where our programs run. identities: whom policies hand out now; the controller keeps the
    impersonator's roles in step from then on. bindable_roles: ClusterRoles that spec.access may name.
    token_reviews: the gateway is configured to ask the API server about tokens of no configured issuer.
    certificate_secret: where the controller keeps the webhook's certificate; "" when it does not.
    """
    return [
        *(_account(namespace, name) for name in (IMPERSONATOR, GATEWAY, CONTROLLER, WEBHOOK, CONSOLE)),
        *impersonator_manifests(namespace, identities),
        *_program(namespace, GATEWAY, _gateway_rules(token_reviews=token_reviews)),
        *_gateway_home(namespace),
        *_program(namespace, CONTROLLER, _controller_rules(bindable_roles)),
        *(_certificate_rights(namespace, certificate_secret) if certificate_secret else ()),
        *_program(namespace, WEBHOOK, _webhook_rules()),
        *_program(namespace, CONSOLE, _console_rules()),
        _cluster_role(APPROVER, _approver_rules()),
        _cluster_role(REQUESTER, _requester_rules()),
        _cluster_role(VIEWER, _viewer_rules()),
        _cluster_role(SESSION_VIEWER, [_rule([OWN], ["agentsessions"], READ)]),
        # The webhook lets people change nothing but spec.terminated, once.
        _cluster_role(SESSION_ENDER, [_rule([OWN], ["agentsessions"], [*READ, "patch"])]),
    ]


def impersonator_manifests(namespace: str, identities: Iterable[Identity]) -> list[Manifest]:
    """The impersonator's roles, naming exactly these identities.

    A service account is named in a Role of its own namespace, because a ClusterRole would also cover
    accounts of the same name elsewhere. Users, groups and extras have no namespace: they are in the
    ClusterRole.
    """
    whom = impersonated(identities)
    return [
        _cluster_role(IMPERSONATOR, impersonator_cluster_rules(whom)),
        _cluster_binding(namespace, IMPERSONATOR),
        *(
            manifest
            for home in whom.namespaces
            for manifest in (
                _role(home, IMPERSONATOR, impersonator_namespace_rules(whom, home)),
                _binding(home, IMPERSONATOR, namespace),
            )
        ),
    ]


def impersonator_cluster_rules(whom: Impersonated) -> list[Manifest]:
    """Users and groups by name; every extra key that the gateway may send, with any value."""
    rules = [
        _rule([""], [resource], ["impersonate"], names)
        for resource, names in (("users", sorted(whom.users)), ("groups", sorted(whom.groups)))
        if names  # without resourceNames a rule would mean: any
    ]
    extras = [f"userextras/{key}" for key in EXTRA_KEYS]
    return [*rules, _rule(["authentication.k8s.io"], extras, ["impersonate"])]


def impersonator_namespace_rules(whom: Impersonated, namespace: str) -> list[Manifest]:
    """The service accounts of one namespace, by name; no rule at all where there is none."""
    names = sorted(name for home, name in whom.accounts if home == namespace)
    return [_rule([""], ["serviceaccounts"], ["impersonate"], names)] if names else []


def _gateway_rules(*, token_reviews: bool) -> list[Manifest]:
    reviews = [_rule(["authentication.k8s.io"], ["tokenreviews"], ["create"])] if token_reviews else []
    return [
        _rule([OWN], ["agentpolicies"], READ),
        # The risk catalogue asks which accounts and roles are powerful.
        _rule([RBAC], ["roles", "clusterroles", "rolebindings", "clusterrolebindings"], READ),
        _rule([OWN], ["approvalrequests"], [*READ, "create"]),
        _rule([OWN], ["approvalrequests/status"], ["get", "patch", "update"]),
        _rule([OWN], ["agentsessions"], [*READ, "create"]),
        _rule([OWN], ["agentsessions/status"], ["get", "patch", "update"]),
        *reviews,
    ]


def _gateway_home(namespace: str) -> list[Manifest]:
    """What the gateway does in our own namespace only."""
    name = f"{GATEWAY}-home"
    rules = [
        # It mints the data path's credential: tokens of the impersonator, of no other account.
        _rule([""], ["serviceaccounts/token"], ["create"], [IMPERSONATOR]),
        # It shows by a Lease that it is alive, and looks at those of other gateways before it gives up
        # their claims.
        _rule(["coordination.k8s.io"], ["leases"], ["get", "create", "patch", "delete"]),
    ]
    return [_role(namespace, name, rules), _binding(namespace, name, namespace, account=GATEWAY)]


def _controller_rules(bindable_roles: Sequence[str]) -> list[Manifest]:
    return [
        _rule([OWN], ["agentpolicies"], READ),
        _rule([OWN], ["agentpolicies/status"], ["get", "patch", "update"]),
        # Expiry and retention of approvals; an annotation says what people have been told of them.
        _rule([OWN], ["approvalrequests"], [*READ, "patch", "delete"]),
        _rule([OWN], ["approvalrequests/status"], ["get", "patch", "update"]),
        # Sessions go idle, end, and are deleted when their time is over.
        _rule([OWN], ["agentsessions"], [*READ, "delete"]),
        _rule([OWN], ["agentsessions/status"], ["get", "patch", "update"]),
        # spec.access: bindings, only to roles that may be handed out. Without `bind` on a role its binding
        # is refused.
        _rule(
            [RBAC], ["rolebindings", "clusterrolebindings"], [*READ, "create", "update", "patch", "delete"]
        ),
        # A role that is to be granted for a time is looked at before.
        _rule([RBAC], ["clusterroles"], ["get"]),
        _rule([RBAC], ["clusterroles"], ["bind"], sorted({*bindable_roles, IMPERSONATOR})),
        _rule([""], ["serviceaccounts"], [*READ, "create"]),
        _rule([""], ["namespaces"], READ),
        # The impersonator's roles. `escalate` is confined to the one name: the controller hands out a
        # right that it does not hold. Creating needs no name: roles are created empty, then filled.
        _rule([RBAC], ["roles"], [*READ, "create"]),
        _rule([RBAC], ["roles", "clusterroles"], ["get", "update", "patch", "escalate"], [IMPERSONATOR]),
        _rule([RBAC], ["roles"], ["bind", "delete"], [IMPERSONATOR]),
        # The guard's matchConditions. Not `create`: whoever deleted the configuration broke the glass on
        # purpose.
        _rule(
            ["admissionregistration.k8s.io"],
            ["validatingwebhookconfigurations"],
            ["get", "update", "patch"],
            ["chaperone-agent-guard"],
        ),
        _rule(
            ["admissionregistration.k8s.io"],
            ["validatingadmissionpolicies"],
            ["get", "update"],
            ["chaperone-agents", "chaperone-home", "chaperone-leases"],
        ),
    ]


def _certificate_rights(namespace: str, secret: str) -> list[Manifest]:
    """For the controller: one Secret, and the configurations that must trust what is in it."""
    name = f"{CONTROLLER}-certificates"
    configurations = {
        "mutatingwebhookconfigurations": ["chaperone-approvals"],
        "validatingwebhookconfigurations": ["chaperone-own-kinds", "chaperone-agent-guard"],
    }
    rules = [
        _rule(["admissionregistration.k8s.io"], [kind], ["get", "update"], names)
        for kind, names in configurations.items()
    ]
    # A Secret that is not there yet cannot be named in a rule about its creation.
    home = [_rule([""], ["secrets"], ["create"]), _rule([""], ["secrets"], ["get", "update"], [secret])]
    return [
        _cluster_role(name, rules),
        _cluster_binding(namespace, name, account=CONTROLLER),
        _role(namespace, name, home),
        _binding(namespace, name, namespace, account=CONTROLLER),
    ]


def _webhook_rules() -> list[Manifest]:
    return [
        _rule([OWN], ["agentpolicies"], READ),
        _rule([OWN], ["approvalrequests"], ["get"]),
        # The risk catalogue asks which accounts and roles are powerful, as in the gateway.
        _rule([RBAC], ["roles", "clusterroles", "rolebindings", "clusterrolebindings"], READ),
        _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
    ]


def _console_rules() -> list[Manifest]:
    """It shows our own kinds, and passes on what people who have logged in decide: the webhook asks RBAC about them, and
    before it ends a run the console does. It may approve nothing itself."""
    return [
        _rule([OWN], ["agentpolicies", "approvalrequests"], READ),
        _rule([OWN], ["approvalrequests/status"], ["get", "patch"]),
        _rule([OWN], ["agentsessions"], [*READ, "patch"]),
        _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
    ]


def _approver_rules() -> list[Manifest]:
    """For people: see requests, write the decision, and approve under any policy and in any namespace.

    Narrow it in your own role: name policies in resourceNames, or bind it in the namespaces that a team
    looks after.
    """
    return [
        _rule([OWN], ["approvalrequests"], READ),
        _rule([OWN], ["approvalrequests/status"], ["get", "patch"]),
        _rule([OWN], ["approvals"], ["approve"]),
    ]


def _viewer_rules() -> list[Manifest]:
    """For people: look at policies, approvals and runs; in the console also at audit records and recordings, which are
    resources that exist only for RBAC."""
    return [
        _rule([OWN], ["agentpolicies", "approvalrequests", "agentsessions"], READ),
        _rule([OWN], ["auditrecords", "recordings"], ["get", "list"]),
    ]


def _requester_rules() -> list[Manifest]:
    """For people: ask for access under any policy and in any namespace. The webhook lets them make nothing else.

    Narrow it in your own role, as above: the verb request on accessrequests.
    """
    return [
        _rule([OWN], ["approvalrequests"], [*READ, "create"]),
        _rule([OWN], ["accessrequests"], ["request"]),
    ]


def _rule(
    groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()
) -> Manifest:
    rule: Manifest = {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def _account(namespace: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name, namespace)}


def _program(namespace: str, name: str, rules: Sequence[Manifest]) -> list[Manifest]:
    return [_cluster_role(name, rules), _cluster_binding(namespace, name)]


def _cluster_role(name: str, rules: Sequence[Manifest]) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(name),
        "rules": list(rules),
    }


def _role(namespace: str, name: str, rules: Sequence[Manifest]) -> Manifest:
    metadata = _metadata(name, namespace)
    return {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)}


def _cluster_binding(namespace: str, name: str, *, account: str = "") -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [_subject(namespace, account or name)],
    }


def _binding(namespace: str, role: str, home: str, *, account: str = "") -> Manifest:
    """A RoleBinding in `namespace` to our account in `home`, named as its Role."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(role, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [_subject(home, account or role)],
    }


def _subject(namespace: str, name: str) -> Manifest:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def _metadata(name: str, namespace: str = "") -> Manifest:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "labels": dict(APP_LABELS)}
