"""ValidatingAdmissionPolicies: the second lock, from Kubernetes 1.30 on. Pure: nothing here talks to a cluster.

They are evaluated inside the API server, so they hold while the webhook is down, slow or deleted. They repeat, of what
the webhook checks, what can be said without looking anything up:

- `chaperone-approvals`, `chaperone-policies`, `chaperone-sessions`: who may write what on our own kinds.
- `chaperone-agents`: what no identity of an agent may ever do: the rows of the risk catalogue that no rule lifts.
- `chaperone-home`: no write of an agent in our own namespace.
- `chaperone-leases`: no write of an agent on the control plane's leases. Fails open: nothing of ours may ever stand in
  the way of a lease.

The control plane's own writes never reach an expression that could fail: agents are told apart in matchConditions. API
servers exempt admission policies themselves: only RBAC and the gateway keep agents from those.
Source: kubernetes/apiserver pkg/admission/plugin/policy; KEP-3488.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaperone.core.approval import ACCESS_TRANSITIONS, GRANT, TERMINAL, TRANSITIONS, Actor, Phase
from chaperone.kube.configurations import NAMESPACE_LABEL, guard_conditions
from chaperone.kube.rbac import APP_LABELS, CONTROLLER, GATEWAY, SERVICE_ACCOUNT_PREFIX

Manifest = dict[str, Any]

POLICIES_FROM = (1, 30)
"""The first server on which they are final and on."""

APPROVALS = "chaperone-approvals"
POLICIES = "chaperone-policies"
SESSIONS = "chaperone-sessions"
AGENTS = "chaperone-agents"
HOME = "chaperone-home"
LEASES = "chaperone-leases"

OF_AGENTS = (AGENTS, HOME, LEASES)
"""Those whose matchConditions name the identities that policies hand out."""

ROWS_HELD: Mapping[str, str] = {
    "R10": f"{AGENTS} (not signers inside roles)",
    "R11": AGENTS,
    "R12": f"{AGENTS} (webhook configurations only)",
    "R13": AGENTS,
    "R25": AGENTS,
    "R26": AGENTS,
    "R27": HOME,
    "R63": LEASES,
}
"""Row of the risk catalogue to the policy that stops it."""

WRITES = ("CREATE", "UPDATE", "DELETE")
OWN = "chaperone.dev"

Rule = tuple[Sequence[str], Sequence[str], Sequence[str], str]
"""API groups, resources, operations, scope."""
Check = tuple[str, str]
"""CEL that must hold, and what is said when it does not."""


def admission_policies(
    *,
    server_version: tuple[int, int],
    identities: Iterable[str],
    namespace: str = "kube-chaperone",
    gateway: str = "",
    controller: str = "",
) -> list[Manifest]:
    """Policies and their bindings, ready to apply; none for servers that have no such kind.

    identities: the usernames that AgentPolicies hand out (the controller keeps them in step). namespace: our own.
    gateway, controller: usernames of our accounts; "" for those of this namespace.
    """
    if server_version < POLICIES_FROM:
        return []
    home = f"{SERVICE_ACCOUNT_PREFIX}{namespace}:"
    ours = _accounts(gateway or f"{home}{GATEWAY}", controller or f"{home}{CONTROLLER}")
    agents = agent_conditions(identities)
    made = [
        _policy(
            APPROVALS, _own("approvalrequests"), _approval_checks(), variables=(*ours, *_APPROVAL_VARIABLES)
        ),
        _policy(POLICIES, _own("agentpolicies"), _POLICY_CHECKS, variables=ours),
        _policy(SESSIONS, _own("agentsessions"), _SESSION_CHECKS, variables=ours),
        _policy(AGENTS, _NEVER, _AGENT_CHECKS, conditions=agents),
        _policy(HOME, _EVERYTHING_AT_HOME, [_HOME_CHECK], conditions=agents, namespaces=[namespace]),
        _policy(
            LEASES,
            [(["coordination.k8s.io"], ["leases"], WRITES, "Namespaced")],
            [_LEASE_CHECK],
            conditions=agents,
            namespaces=["kube-system", "kube-node-lease"],
            failure="Ignore",
        ),
    ]
    return [item for policy in made for item in (policy, _binding(policy["metadata"]["name"]))]


def agent_conditions(identities: Iterable[str]) -> list[Manifest]:
    """matchConditions by which everybody but agents is left alone, as in the webhook that guards agents."""
    return guard_conditions(identities)[:1]


# Our own kinds


def _own(plural: str) -> list[Rule]:
    return [([OWN], [plural, f"{plural}/status"], WRITES, "*")]


def _accounts(gateway: str, controller: str) -> tuple[tuple[str, str], ...]:
    """A JSON string is a CEL string, whatever it holds."""
    return (
        ("gateway", f"request.userInfo.username == {json.dumps(gateway)}"),
        ("controller", f"request.userInfo.username == {json.dumps(controller)}"),
        ("person", "!variables.gateway && !variables.controller"),
        ("status", "has(request.subResource) && request.subResource == 'status'"),
    )


_PENDING = json.dumps(Phase.PENDING.value)

_APPROVAL_VARIABLES = (
    ("updates", "request.operation == 'UPDATE'"),
    (
        "before",
        (
            "request.operation != 'CREATE' && has(oldObject.status) && has(oldObject.status.phase)"
            f" ? oldObject.status.phase : {_PENDING}"
        ),
    ),
    (
        "after",
        (
            "request.operation != 'DELETE' && has(object.status) && has(object.status.phase)"
            f" ? object.status.phase : {_PENDING}"
        ),
    ),
    ("moves", "variables.updates && variables.before != variables.after"),
    ("step", "variables.before + '>' + variables.after"),
    ("access", f"has(object.spec.type) && object.spec.type == {json.dumps(GRANT)}"),
    (
        "said",
        "variables.updates && has(oldObject.status) && has(oldObject.status.reviews) ? oldObject.status.reviews : []",
    ),
    (
        "says",
        "variables.updates && has(object.status) && has(object.status.reviews) ? object.status.reviews : []",
    ),
    ("reviews", "variables.updates && variables.said != variables.says"),
)


def _approval_checks() -> list[Check]:
    return [
        (
            "request.operation != 'CREATE' || variables.gateway || variables.access",
            "only the gateway makes requests for approval",
        ),
        (
            f"request.operation != 'DELETE' || variables.before in {_phases(TERMINAL)}",
            "what was asked and what was said stay until it has ended",
        ),
        (
            "!variables.updates || object.spec == oldObject.spec",
            "the spec is immutable: an approval is for exactly what was asked",
        ),
        (
            (
                "!variables.updates || !has(object.status)"
                " || (!has(object.status.decision) && !has(object.status.decisionReason))"
            ),
            "status.decision was not turned into a review: the webhook that stamps reviews did not see it",
        ),
        (f"!variables.moves || variables.step in {_steps()}", "this account may not take this step"),
        (
            (
                "!variables.reviews || (variables.person && variables.said.filter(r, r.username !="
                " request.userInfo.username) == variables.says.filter(r, r.username != request.userInfo.username))"
            ),
            "people change no review but their own, and programs none",
        ),
        (
            "!variables.reviews || request.userInfo.username != object.spec.requester.username",
            "nobody reviews what they asked for",
        ),
        (
            "!variables.reviews || variables.says.all(r, r.digest == object.spec.digest)",
            "a review is for another digest",
        ),
        (
            (
                f"!variables.moves || !(variables.after in {_phases((Phase.APPROVED, Phase.EXECUTING))})"
                " || (variables.says.filter(r, r.decision == 'Approved').size()"
                " >= (has(object.spec.required) ? object.spec.required : 1)"
                " && !variables.says.exists(r, r.decision == 'Denied'))"
            ),
            "it does not have the approvals that it needs",
        ),
    ]


def _phases(phases: Iterable[Phase]) -> str:
    return json.dumps(sorted(phase.value for phase in phases))


def _steps() -> str:
    """The steps that this writer may take, from the tables of `core.approval`: people by reviewing or cancelling."""
    writers = {
        "gateway": {Actor.GATEWAY},
        "controller": {Actor.CONTROLLER},
        "person": {Actor.REVIEW, Actor.REQUESTER},
    }
    chosen = {
        writer: " : ".join(
            (f"(variables.access ? {_taken(ACCESS_TRANSITIONS, actors)}", f"{_taken(TRANSITIONS, actors)})")
        )
        for writer, actors in writers.items()
    }
    return (
        f"(variables.gateway ? {chosen['gateway']}"
        f" : variables.controller ? {chosen['controller']} : {chosen['person']})"
    )


def _taken(table: Mapping[tuple[Phase, Phase], frozenset[Actor]], actors: set[Actor]) -> str:
    steps = (f"{before.value}>{after.value}" for (before, after), may in table.items() if may & actors)
    return json.dumps(sorted(steps))


_POLICY_CHECKS: list[Check] = [
    (
        "!variables.status || variables.controller",
        "the status of a policy is written by the controller alone",
    )
]

_TERMINATED = "has(oldObject.spec.terminated) && oldObject.spec.terminated"

_SESSION_CHECKS: list[Check] = [
    ("request.operation != 'CREATE' || variables.gateway", "sessions are made by the gateway alone"),
    (
        "!variables.status || !variables.person",
        "the status of a session is written by the gateway and the controller alone",
    ),
    (
        f"request.operation != 'UPDATE' || !({_TERMINATED}) || object.spec == oldObject.spec",
        "a run that was ended stays ended",
    ),
    (
        (
            "request.operation != 'UPDATE' || !has(object.spec.terminatedBy)"
            " || (has(oldObject.spec.terminatedBy) && oldObject.spec.terminatedBy == object.spec.terminatedBy)"
            " || object.spec.terminatedBy == request.userInfo.username"
        ),
        "spec.terminatedBy names somebody else",
    ),
    (
        (
            f"request.operation != 'DELETE' || variables.controller || !({_TERMINATED})"
            " || !has(oldObject.spec.run) || oldObject.spec.run == ''"
        ),
        "a terminated session keeps its run out",
    ),
]


# Agents

_NEVER: list[Rule] = [
    ([OWN], ["*/*"], WRITES, "*"),
    (
        ["admissionregistration.k8s.io"],
        ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        WRITES,
        "*",
    ),
    (
        ["apiextensions.k8s.io"],
        ["customresourcedefinitions", "customresourcedefinitions/status"],
        WRITES,
        "*",
    ),
    (["apiregistration.k8s.io"], ["apiservices", "apiservices/status"], WRITES, "*"),
    (
        ["certificates.k8s.io"],
        ["certificatesigningrequests/approval", "certificatesigningrequests/status"],
        ["UPDATE"],
        "*",
    ),
    ([""], ["nodes/proxy"], ["CONNECT"], "*"),
]

_AGENT_CHECKS: list[Check] = [
    (
        (
            "request.resource.group == 'apiextensions.k8s.io' && !(request.operation == 'DELETE'"
            f" ? oldObject.metadata.name : object.metadata.name).endsWith('.{OWN}')"
        ),
        "no agent may do this: it attacks identity, or the guard itself",
    )
]

_EVERYTHING_AT_HOME: list[Rule] = [
    (["*"], ["*/*"], [*WRITES, "CONNECT"], "Namespaced"),
    ([""], ["namespaces", "namespaces/*"], WRITES, "Cluster"),
]
_HOME_CHECK: Check = ("false", "the guard itself runs in this namespace")
_LEASE_CHECK: Check = ("false", "whoever takes a control plane lease stops the controller that held it")


# Manifests


def _policy(
    name: str,
    rules: Sequence[Rule],
    checks: Sequence[Check],
    *,
    variables: Sequence[tuple[str, str]] = (),
    conditions: Sequence[Manifest] = (),
    namespaces: Sequence[str] = (),
    failure: str = "Fail",
) -> Manifest:
    constraints: Manifest = {
        "matchPolicy": "Equivalent",
        "resourceRules": [_resource_rule(*rule) for rule in rules],
    }
    if namespaces:
        selected = {"key": NAMESPACE_LABEL, "operator": "In", "values": list(namespaces)}
        constraints["namespaceSelector"] = {"matchExpressions": [selected]}
    spec: Manifest = {
        "failurePolicy": failure,
        "matchConstraints": constraints,
        "validations": [
            {"expression": expression, "message": message, "reason": "Forbidden"}
            for expression, message in checks
        ],
    }
    if conditions:
        spec["matchConditions"] = list(conditions)
    if variables:
        spec["variables"] = [{"name": key, "expression": expression} for key, expression in variables]
    return _manifest("ValidatingAdmissionPolicy", name, spec)


def _resource_rule(
    groups: Sequence[str], resources: Sequence[str], operations: Sequence[str], scope: str
) -> Manifest:
    return {
        "apiGroups": list(groups),
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": list(resources),
        "scope": scope,
    }


def _binding(name: str) -> Manifest:
    spec = {"policyName": name, "validationActions": ["Deny"]}
    return _manifest("ValidatingAdmissionPolicyBinding", name, spec)


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": dict(APP_LABELS)},
        "spec": spec,
    }
