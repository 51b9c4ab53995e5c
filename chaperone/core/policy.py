"""AgentPolicy: from an object to a compiled policy, or to faults with their field paths. Compiled once, asked often.

A policy that does not compile never widens: whom it governs is refused (BrokenPolicy), and when even that cannot be
read, everybody is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.identity import Caller, Identity
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Mode, RiskLevel


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a policy: where (`spec.rules[2].match.expression`) and what, with the remedy."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """One entry of spec.access. namespaces empty means cluster-wide."""

    role_kind: str
    role_name: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """spec.approval with defaults filled in. Durations in seconds."""

    required: int = 1
    approver_groups: tuple[str, ...] = ()
    approver_users: tuple[str, ...] = ()
    hold_for: float = 120.0
    expire_after: float = 3600.0
    use_within: float = 600.0
    self_approval: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """spec.limits; None: unlimited. Requests per second and streams are per run; durations in seconds."""

    requests_per_second: float | None = None
    burst: int | None = None
    concurrent_streams: int | None = None
    mutations_per_run: int | None = None
    max_run_duration: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled AgentPolicy. Rules, subjects and expressions are compiled forms private to this module."""

    name: str
    uid: str
    generation: int
    mode: Mode
    identity: Identity
    access: tuple[Access, ...]
    defaults: Mapping[RiskLevel, Action]
    approval: ApprovalTerms
    limits: Limits
    masking_profile: str  # Standard, Strict, Off
    recording_streams: str  # Required, BestEffort, Off

    def governs(self, caller: Caller) -> bool:
        """True when a subject matches. An expression that fails to evaluate counts as a match (fail closed)."""
        raise NotImplementedError

    def first_match(self, request: Request, caller: Caller) -> RuleMatch | None:
        """The first rule that matches, in order. Called for every request: index by verb and resource."""
        raise NotImplementedError

    def needs_object(self, request: Request) -> bool:
        """Could any rule that may match this request read `object` or `oldObject`?"""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """error: the rule's expression could not be evaluated; a rule that would allow is then skipped, one that would
    hold or deny counts as matched and turns to Deny."""

    name: str
    action: Action
    message: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class BrokenPolicy:
    """A policy that is in the cluster and does not compile. It denies all whom it (possibly) governs."""

    name: str
    generation: int
    faults: tuple[Fault, ...]

    def governs(self, caller: Caller) -> bool:
        """By its subjects where these can be read, otherwise True."""
        raise NotImplementedError


def compile_policy(obj: Mapping[str, Any]) -> Policy | BrokenPolicy:
    """Compile an AgentPolicy object; every fault is named at once, none raises."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """What the risk catalogue needs to know of this installation and this cluster (reference, section 2)."""

    guard_namespace: str = "kube-chaperone"
    sensitive_namespaces: frozenset[str] = frozenset({"kube-system", "kube-public", "kube-node-lease"})
    admin_roles: frozenset[str] = frozenset({"cluster-admin", "admin"})
    scale_factor: float = 2.0
    bulk_body_bytes: int = 1024 * 1024
    cloud_role_annotations: frozenset[str] = frozenset(
        {"eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account", "azure.workload.identity/client-id"}
    )
    privileged_accounts: frozenset[tuple[str, str]] | None = None
    """(namespace, name) of service accounts that a powerful role reaches; None: not looked up (undetermined)."""
    powerful_roles: frozenset[tuple[str, str]] | None = None
    """(namespace or "", name) of Roles and ClusterRoles that hold `powerful-role`; None: not looked up."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Every policy of the cluster at one moment, and what the risk catalogue needs to know beside them."""

    policies: tuple[Policy, ...] = ()
    broken: tuple[BrokenPolicy, ...] = ()
    risk_settings: RiskSettings = field(default_factory=RiskSettings)

    def governing(self, caller: Caller) -> tuple[tuple[Policy, ...], tuple[BrokenPolicy, ...]]:
        return (
            tuple(policy for policy in self.policies if policy.governs(caller)),
            tuple(policy for policy in self.broken if policy.governs(caller)),
        )


def policy_set(objects: Iterable[Mapping[str, Any]], risk_settings: RiskSettings | None = None) -> PolicySet:
    """Compile all AgentPolicy objects of a cluster."""
    raise NotImplementedError
