"""The policies of a cluster, and what the risk catalogue wants to know of its roles."""

from __future__ import annotations

from chaperone.cli.approvals import refused_without_kind
from chaperone.core.policy import PolicySet, RiskSettings, policy_set
from chaperone.core.rights import survey
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import (
    AGENT_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Api,
)


def policies_in(api: Api) -> PolicySet:
    """As a gateway with default settings knows them. Raises FailedError where the cluster has no such kind, KubeError."""
    with refused_without_kind("AgentPolicies"):
        objects = api.list(AGENT_POLICIES.path()).items
    return policy_set(objects, _risk_settings(api))


def _risk_settings(api: Api) -> RiskSettings:
    """Whoever may not read roles is told of undetermined risks instead, as a gateway that may not."""
    try:
        lists = [
            api.list(resource.path()).items
            for resource in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
        ]
    except RefusedError:
        return RiskSettings()
    found = survey(*lists)
    return RiskSettings(powerful_roles=found.powerful_roles, privileged_accounts=found.privileged_accounts)
