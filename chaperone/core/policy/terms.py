"""The parts of a policy that are plain values: its faults, its rights, its terms, and what this version can do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

from chaperone.core.policy.globs import Globs, globs
from chaperone.core.verdict import Action


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
    max_grant: float = 28800.0
    """Longest access grant; 0: none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """spec.limits; None: unlimited. Requests per second and streams are per run; durations in seconds."""

    requests_per_second: float | None = None
    burst: int | None = None
    concurrent_streams: int | None = None
    mutations_per_run: int | None = None
    max_run_duration: float | None = None


@dataclass(frozen=True, slots=True)
class Exemption:
    """One entry of spec.masking.exempt: a place that stays as it is, and why. kind: as written, a kind or its plural.
    path: a path class as reports show it, `*` and `?` as in globs. namespaces: globs; None: everywhere, and in objects
    that have none."""

    kind: str
    path: str
    reason: str
    api_group: str = ""
    namespaces: tuple[str, ...] | None = None

    def covers(self, path_class: str) -> bool:
        """True for the value at the path, and for all below it."""
        return _below(self.path).match(path_class)

    def reaches(self, namespace: str) -> bool:
        """namespace: "" for objects that have none."""
        return self.namespaces is None or globs(self.namespaces).match(namespace)

    def same_place(self, other: Exemption) -> bool:
        """True when both say the same of the same place, be it for other reasons."""
        return replace(self, reason="") == replace(other, reason="")


@lru_cache(maxsize=1024)
def _below(path: str) -> Globs:
    return globs((path, f"{path}.*", f"{path}[*"))


@dataclass(frozen=True, slots=True)
class Masking:
    """spec.masking. profile: Standard, Strict or Off; keys, patterns (RE2), exempt: additions, as written.
    reason: why masking is off."""

    profile: str = "Standard"
    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    exempt: tuple[Exemption, ...] = ()
    reason: str = ""

    @property
    def is_off(self) -> bool:
        return self.profile == "Off"

    @property
    def is_strict(self) -> bool:
        return self.profile == "Strict"


@dataclass(frozen=True, slots=True)
class Recording:
    """spec.recording. streams: Required, BestEffort or Off; request_bodies, object_states: Masked or Off."""

    streams: str = "BestEffort"
    stdin: bool = False
    request_bodies: str = "Masked"
    object_states: str = "Masked"


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """error: the rule's expression could not be evaluated; a rule that would allow is then skipped, one that
    would hold or deny counts as matched and turns to Deny."""

    name: str
    action: Action
    message: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this gateway is set to do. What it is not, a policy cannot get by omission: the gate denies what would have to
    be recorded."""

    recording: bool = True


CAPABLE = Capabilities()


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """What the risk catalogue needs to know of this installation and this cluster."""

    guard_namespace: str = "kube-chaperone"
    sensitive_namespaces: frozenset[str] = frozenset({"kube-system", "kube-public", "kube-node-lease"})
    admin_roles: frozenset[str] = frozenset({"cluster-admin", "admin"})
    scale_factor: float = 2.0
    bulk_body_bytes: int = 1024 * 1024
    cloud_role_annotations: frozenset[str] = field(
        default=frozenset(
            {
                "eks.amazonaws.com/role-arn",
                "iam.gke.io/gcp-service-account",
                "azure.workload.identity/client-id",
            }
        )
    )
    privileged_accounts: frozenset[tuple[str, str]] | None = None
    """(namespace, name) of service accounts that a powerful role reaches; None: not looked up (undetermined)."""
    powerful_roles: frozenset[tuple[str, str]] | None = None
    """(namespace or "", name) of Roles and ClusterRoles that hold `powerful-role`; None: not looked up."""
