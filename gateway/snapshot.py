"""The cluster's policies as this gateway knows them: compiled, numbered, and never older than they may be.

Policies are mirrored and compiled once for each (uid, generation), so that a status that the controller writes costs
nothing. RBAC is mirrored beside them for the risk catalogue; where it cannot be read, that part stays "not looked up"
and the catalogue counts it as undetermined. The data path asks `fresh` first and refuses when it is False.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from chaperone.core.policy import (
    CAPABLE,
    BrokenPolicy,
    Capabilities,
    Policy,
    PolicySet,
    RiskSettings,
    compile_policy,
)
from chaperone.core.rights import survey
from chaperone.kube.connection import Connection
from chaperone.kube.mirror import Mirror, MirrorTerms, Object, Resource

log = logging.getLogger(__name__)

POLICIES = Resource("chaperone.dev", "v1alpha1", "agentpolicies")
RBAC = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = (
    Resource(RBAC, "v1", plural)
    for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
)
RIGHTS_PAUSE = 1.0
"""Seconds that changes of roles and bindings are gathered for before they are surveyed once."""
RIGHTS_CHECK = 15.0
"""Seconds between two looks at the age of the mirrored RBAC."""

Compiled = Policy | BrokenPolicy
AnyPolicy = TypeVar("AnyPolicy", Policy, BrokenPolicy)


class PolicySnapshot:
    """`run` keeps it. clock: monotonic seconds; jitter: a number in [0, 1) each time; max_age: seconds. capabilities: of
    this gateway, as it is set up."""

    def __init__(
        self,
        connection: Connection,
        *,
        risk_settings: RiskSettings,
        max_age: float,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        capabilities: Capabilities = CAPABLE,
        terms: MirrorTerms | None = None,
        rights_pause: float = RIGHTS_PAUSE,
    ) -> None:
        self.policies = PolicySet(risk_settings=risk_settings, capabilities=capabilities)
        self.generation = 0
        self._max_age = max_age
        self._rights_pause = rights_pause
        self._compiled: dict[tuple[str, str], Compiled] = {}
        self._dirty = False
        self._stuck = False
        self._rights_changed = asyncio.Event()
        self._policies = Mirror(
            connection, POLICIES, clock=clock, jitter=jitter, on_change=self._policy_changed, terms=terms
        )
        self._rbac = {
            resource: Mirror(
                connection,
                resource,
                clock=clock,
                jitter=jitter,
                on_change=self._right_changed,
                keep=_rights_only,
                terms=terms,
            )
            for resource in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
        }

    @property
    def fresh(self) -> bool:
        """False before the first complete list, and when the API server has not confirmed it for too long."""
        return not self._stuck and self._policies.age <= self._max_age

    @property
    def age(self) -> float:
        """Seconds since the API server last confirmed the policies; infinite before the first list."""
        return self._policies.age

    @property
    def missing(self) -> str:
        """Why it is not fresh, for an operator; "" when it is."""
        if self.fresh:
            return ""
        if self._stuck:
            return "agentpolicies could not be compiled; the log has the error"
        why = self._policies.failure or "the first list is not complete"
        return f"agentpolicies are not known or older than {self._max_age:g} s: {why}"

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._policies.run())
            for mirror in self._rbac.values():
                group.create_task(mirror.run())
            group.create_task(self._keep_rights())

    # Policies

    def _policy_changed(self, _key: str, _obj: Object | None) -> None:
        """A list brings many changes at once: compile once, before anything else runs in the loop."""
        if not self._dirty:
            self._dirty = True
            asyncio.get_running_loop().call_soon(self._rebuild)

    def _rebuild(self) -> None:
        """Should compiling ever raise, the policies in use are no longer the cluster's: then nothing may be judged."""
        self._dirty = False
        self._stuck = True
        compiled: dict[tuple[str, str], Compiled] = {}
        for obj in self._policies.objects.values():
            key = _compile_key(obj)
            compiled[key] = self._compiled.get(key) or _compile(obj, self.policies.capabilities)
        if compiled.keys() != self._compiled.keys():
            self._publish(
                replace(
                    self.policies,
                    policies=_sorted(found for found in compiled.values() if isinstance(found, Policy)),
                    broken=_sorted(found for found in compiled.values() if isinstance(found, BrokenPolicy)),
                )
            )
        self._compiled = compiled
        self._stuck = False

    def _publish(self, policies: PolicySet) -> None:
        self.policies = policies
        self.generation += 1
        log.info(
            "policies changed",
            extra={
                "generation": self.generation,
                "policies": len(policies.policies),
                "broken": [policy.name for policy in policies.broken],
            },
        )

    # Rights

    def _right_changed(self, _key: str, _obj: Object | None) -> None:
        self._rights_changed.set()

    async def _keep_rights(self) -> None:
        for mirror in self._rbac.values():
            await mirror.wait_ready()
        self._survey()
        while True:
            try:
                async with asyncio.timeout(RIGHTS_CHECK):
                    await self._rights_changed.wait()
                await asyncio.sleep(self._rights_pause)
            except TimeoutError:
                pass
            self._rights_changed.clear()
            self._survey()

    def _survey(self) -> None:
        """None where a part of RBAC is not known or too old: half a survey would call powerful accounts harmless."""
        roles = accounts = None
        if all(mirror.age <= self._max_age for mirror in self._rbac.values()):
            found = survey(*(mirror.objects.values() for mirror in self._rbac.values()))
            roles, accounts = found.powerful_roles, found.privileged_accounts
        before = self.policies.risk_settings
        after = replace(before, powerful_roles=roles, privileged_accounts=accounts)
        if after != before:
            self._publish(replace(self.policies, risk_settings=after))


def _compile(obj: Object, capabilities: Capabilities) -> Compiled:
    compiled = compile_policy(obj, capabilities)
    if isinstance(compiled, BrokenPolicy):
        log.warning(
            "policy does not compile; whom it governs is refused",
            extra={
                "policy": compiled.name,
                "faults": [f"{fault.path}: {fault.message}" for fault in compiled.faults],
            },
        )
    return compiled


def _compile_key(obj: Object) -> tuple[str, str]:
    """The generation changes with the spec alone; a server that keeps none gives the resourceVersion."""
    metadata = obj["metadata"]
    generation = metadata.get("generation")
    version = f"g{generation}" if generation else f"r{metadata.get('resourceVersion')}"
    return str(metadata.get("uid") or metadata["name"]), version


def _sorted(policies: Iterable[AnyPolicy]) -> tuple[AnyPolicy, ...]:
    return tuple(sorted(policies, key=lambda policy: policy.name))


def _rights_only(obj: Object) -> Mapping[str, object]:
    """What the survey reads, and no more: a large cluster has thousands of these."""
    metadata = obj["metadata"]
    small = {
        key: metadata[key] for key in ("name", "namespace", "labels", "resourceVersion") if key in metadata
    }
    kept = {key: obj[key] for key in ("rules", "aggregationRule", "roleRef", "subjects") if key in obj}
    return {"metadata": small, **kept}
