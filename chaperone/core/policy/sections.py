"""The sections of an AgentPolicy that are terms and names: whom, as whom, with which rights, on which terms."""

from __future__ import annotations

import re
from dataclasses import replace

from chaperone.core.expression import Expression, Scope, compile_expression
from chaperone.core.identity import Identity
from chaperone.core.legible import visible
from chaperone.core.policy.fields import Fields
from chaperone.core.policy.globs import Globs, globs, is_glob
from chaperone.core.policy.subjects import Subject
from chaperone.core.policy.terms import Access, ApprovalTerms, Limits, Recording
from chaperone.core.verdict import Action, RiskLevel

STREAM_RECORDINGS = ("Required", "BestEffort", "Off")
OBJECT_RECORDINGS = ("Masked", "Off")
ROLE_KINDS = ("ClusterRole", "Role")
ACTIONS = {"Allow": Action.ALLOW, "RequireApproval": Action.HOLD, "Deny": Action.DENY}
DEFAULTS = {
    RiskLevel.NONE: Action.ALLOW,
    RiskLevel.LOW: Action.ALLOW,
    RiskLevel.MEDIUM: Action.ALLOW,
    RiskLevel.HIGH: Action.HOLD,
    RiskLevel.CRITICAL: Action.DENY,
}
"""NONE cannot be set: what the catalogue finds harmless is left to the narrow rights of the identity."""

_HOUR = 3600.0
_DAY = 24 * _HOUR
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
SUBDOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
ROLE = re.compile(r"(?!\.{1,2}\Z)[^/%\s]{1,253}")
PRINCIPAL = re.compile(r"(?!system:)[!-~]{1,253}")
_CONTROL_PLANE = "kube-system"


def expression(fields: Fields, scope: Scope) -> Expression | None:
    text = fields.text("expression")
    if not text:
        return None
    compiled = compile_expression(text, scope=scope)
    if isinstance(compiled, str):
        fields.fault("expression", compiled)
        return None
    return compiled


def patterns(fields: Fields, key: str) -> Globs | None:
    """A list of globs. None: the field was left out."""
    texts = fields.texts(key)
    return None if texts is None else globs(texts)


# Whom


def read_subjects(spec: Fields) -> tuple[Subject, ...]:
    before = len(spec.faults)
    subjects = tuple([_subject(fields) for fields in spec.children("subjects")])
    if not subjects and len(spec.faults) == before:
        spec.fault("subjects", "needs at least one entry: a policy without subjects governs nobody")
    return subjects


def _subject(fields: Fields) -> Subject:
    subject = Subject(
        issuer=fields.text("issuer"),
        usernames=patterns(fields, "usernames"),
        groups=patterns(fields, "groups"),
        expression=expression(fields, Scope.SUBJECT),
    )
    fields.close()
    if is_glob(subject.issuer):
        fields.fault("issuer", "is compared as it stands: write the issuer's full URL, without wildcards")
    if subject == Subject() and not any(fault.path.startswith(fields.path) for fault in fields.faults):
        fields.fault("", "is empty and would match everybody: set issuer, usernames, groups or expression")
    return subject


# As whom


def read_identity(spec: Fields) -> Identity | None:
    """None where there is a fault."""
    fields = spec.child("identity")
    before = len(fields.faults)
    account, user = fields.has("serviceAccount"), fields.has("user")
    identity = _service_account(fields.child("serviceAccount")) if account else None
    name = fields.name(
        "user", PRINCIPAL, 'a user name: visible ASCII without spaces, not beginning with "system:"'
    )
    groups = fields.texts("groups") or ()
    for index, group in enumerate(groups):
        if not PRINCIPAL.fullmatch(group):
            fields.fault(
                f"groups[{index}]", 'is not a group: visible ASCII without spaces, no "system:" at the start'
            )
    fields.close()
    if account == user:
        fields.fault("", "must be either a serviceAccount, or a user (with groups, if it has any)")
    elif account and groups:
        fields.fault(
            "groups", "only go with a user: the API server adds the groups of a service account itself"
        )
    if len(fields.faults) > before:
        return None
    return identity or Identity(name, groups)


def _service_account(fields: Fields) -> Identity:
    namespace = fields.name("namespace", LABEL, "the name of a namespace")
    name = fields.name("name", SUBDOMAIN, "the name of a service account")
    fields.require("namespace")
    fields.require("name")
    fields.close()
    if namespace == _CONTROL_PLANE:
        fields.fault(
            "namespace", "is the control plane's: give agents an account in a namespace of their own"
        )
    return Identity(f"system:serviceaccount:{namespace}:{name}")


# With which rights


def read_access(spec: Fields) -> tuple[Access, ...]:
    return tuple([_grant(fields) for fields in spec.children("access")])


def _grant(fields: Fields) -> Access:
    fields.require("roleRef")
    role = fields.child("roleRef")
    kind = role.choice("kind", ROLE_KINDS, "ClusterRole")
    name = role.name("name", ROLE, "the name of a role")
    role.require("kind")
    role.require("name")
    role.close()
    namespaces = fields.texts("namespaces") or ()
    cluster_wide = fields.flag("clusterWide")
    fields.close()
    for index, namespace in enumerate(namespaces):
        if not LABEL.fullmatch(namespace):
            fields.fault(
                f"namespaces[{index}]", f'"{visible(namespace, 80)}" is not a namespace (no wildcards here)'
            )
    if cluster_wide == bool(fields.has("namespaces")):
        fields.fault("", "must name its namespaces, or say clusterWide: true, and not both")
    if cluster_wide and kind == "Role":
        fields.fault(
            "roleRef.kind", "is Role, which lives in one namespace: a clusterWide grant needs a ClusterRole"
        )
    return Access(kind, name, namespaces)


# On which terms


def read_defaults(spec: Fields) -> dict[RiskLevel, Action]:
    fields = spec.child("defaults")
    words = {action: word for word, action in ACTIONS.items()}
    chosen = dict(DEFAULTS)
    for level in (RiskLevel.CRITICAL, RiskLevel.HIGH, RiskLevel.MEDIUM, RiskLevel.LOW):
        chosen[level] = ACTIONS[fields.choice(level.word, tuple(ACTIONS), words[DEFAULTS[level]])]
    fields.close()
    return chosen


def read_approval(spec: Fields) -> ApprovalTerms:
    fields = spec.child("approval")
    approvers = fields.child("approvers")
    default = ApprovalTerms()
    hold_for = fields.seconds("holdFor", least=0, most=_HOUR)
    max_grant = fields.seconds("maxGrant", least=0, most=8 * _HOUR)
    terms = ApprovalTerms(
        required=fields.whole("required", least=1, most=16) or default.required,
        approver_groups=approvers.texts("groups", empty=True) or (),
        approver_users=approvers.texts("users", empty=True) or (),
        hold_for=default.hold_for if hold_for is None else hold_for,
        expire_after=fields.seconds("expireAfter", least=1, most=7 * _DAY) or default.expire_after,
        use_within=fields.seconds("useWithin", least=1, most=_DAY) or default.use_within,
        self_approval=fields.flag("selfApproval"),
        max_grant=default.max_grant if max_grant is None else max_grant,
    )
    approvers.close()
    fields.close()
    if terms.hold_for > terms.expire_after:
        fields.fault(
            "holdFor", "is longer than expireAfter: the request would be dead while its client still waits"
        )
    return terms


def read_limits(spec: Fields) -> Limits:
    fields = spec.child("limits")
    limits = Limits(
        requests_per_second=fields.number("requestsPerSecond", least=0.01, most=1_000_000),
        burst=fields.whole("burst", least=1, most=1_000_000),
        concurrent_streams=fields.whole("concurrentStreams", least=0, most=1_000_000),
        mutations_per_run=fields.whole("mutationsPerRun", least=0),
        max_run_duration=fields.seconds("maxRunDuration", least=1, most=365 * _DAY),
    )
    fields.close()
    return limits


def read_recording(spec: Fields) -> Recording:
    fields = spec.child("recording")
    default = Recording()
    recording = replace(
        default,
        streams=fields.choice("streams", STREAM_RECORDINGS, default.streams),
        stdin=fields.flag("stdin"),
        request_bodies=fields.choice("requestBodies", OBJECT_RECORDINGS, default.request_bodies),
        object_states=fields.choice("objectStates", OBJECT_RECORDINGS, default.object_states),
    )
    fields.close()
    return recording
