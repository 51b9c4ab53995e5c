"""From AgentPolicy objects to compiled policies, or to all of their faults at once. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaperone.core.policy.compiled import BrokenPolicy, Policy, PolicySet
from chaperone.core.policy.fields import Fields
from chaperone.core.policy.masking_section import read_masking
from chaperone.core.policy.rule_section import read_rules
from chaperone.core.policy.sections import (
    read_access,
    read_approval,
    read_defaults,
    read_identity,
    read_limits,
    read_recording,
    read_subjects,
)
from chaperone.core.policy.terms import CAPABLE, Capabilities, Fault, RiskSettings
from chaperone.core.verdict import Action, Mode, RiskLevel

API_VERSION = "chaperone.dev/v1alpha1"
KIND = "AgentPolicy"
MODES = tuple(mode.value for mode in Mode)


def compile_policy(obj: Mapping[str, Any], capabilities: Capabilities = CAPABLE) -> Policy | BrokenPolicy:
    """Compile an AgentPolicy object; every fault is named at once, none raises. capabilities: of the gateway that
    is to enforce it, for the warnings."""
    faults: list[Fault] = []
    name, uid, generation, spec = _open(obj, faults)
    before = len(faults)
    subjects = read_subjects(spec)
    readable = len(faults) == before
    identity = read_identity(spec)
    warnings: list[Fault] = []
    masking, recording = read_masking(spec), read_recording(spec)
    mode = spec.choice("mode", MODES, Mode.ENFORCE.value)
    access, defaults, approval = read_access(spec), read_defaults(spec), read_approval(spec)
    limits, rules = read_limits(spec), read_rules(spec, warnings)
    spec.close()
    if faults or identity is None:
        return BrokenPolicy(name, generation, tuple(faults), subjects if readable else None, identity)
    return Policy(
        name=name,
        uid=uid,
        generation=generation,
        mode=Mode(mode),
        identity=identity,
        access=access,
        defaults=defaults,
        approval=approval,
        limits=limits,
        masking_profile=masking.profile,
        recording_streams=recording.streams,
        masking=masking,
        recording=recording,
        subjects=subjects,
        rules=rules,
        warnings=(
            *_lacking(recording.streams, capabilities),
            *_lenient(defaults),
            *warnings,
        ),
    )


def policy_set(
    objects: Iterable[Mapping[str, Any]],
    risk_settings: RiskSettings | None = None,
    capabilities: Capabilities = CAPABLE,
) -> PolicySet:
    """Compile all AgentPolicy objects of a cluster; ordered by name, so that nothing depends on their order."""
    compiled = sorted([compile_policy(obj, capabilities) for obj in objects], key=lambda policy: policy.name)
    return PolicySet(
        policies=tuple(policy for policy in compiled if isinstance(policy, Policy)),
        broken=tuple(policy for policy in compiled if isinstance(policy, BrokenPolicy)),
        risk_settings=risk_settings or RiskSettings(),
        capabilities=capabilities,
    )


def _open(obj: object, faults: list[Fault]) -> tuple[str, str, int, Fields]:
    """Name, uid, generation and spec. A name that cannot be read is "", so that the fault is still told."""
    top = Fields(obj, "", faults)
    top.choice("apiVersion", (API_VERSION,), API_VERSION)
    top.choice("kind", (KIND,), KIND)
    top.require("spec")
    metadata = top.child("metadata")
    metadata.require("name")
    name, uid = metadata.text("name"), metadata.text("uid")
    generation = metadata.whole("generation", least=0, most=2**63 - 1) or 0
    spec = top.child("spec")
    top.ignore("status")
    top.close()
    return name, uid, generation, spec


def _lacking(streams: str, capabilities: Capabilities) -> list[Fault]:
    """What the policy asks for, be it by default, and this gateway is set not to do."""
    found = []
    if streams == "Required" and not capabilities.recording:
        what = (
            "is Required, and this gateway is set to record nothing: exec, attach and port-forward are denied. To "
            'have them unrecorded, set it to "Off"; to have them recorded, give the gateway a recordings.path'
        )
        found.append(Fault("spec.recording.streams", what))
    return found


def _lenient(defaults: Mapping[RiskLevel, Action]) -> list[Fault]:
    if defaults[RiskLevel.CRITICAL] is not Action.ALLOW:
        return []
    what = "is Allow: whatever no rule matches may take over or destroy the cluster, as far as RBAC lets it"
    return [Fault("spec.defaults.critical", what)]
