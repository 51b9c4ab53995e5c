"""Making the cluster so: gather what is there, let the pure modules decide, act. Every act can be repeated.

One pass never stops at the first object that resists: what failed is told in that policy's status or in
the log, and the next pass tries again. Blocking; the operator runs it in a worker thread, one pass at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from chaperone.core import approval as approvals
from chaperone.core.approval import Approval
from chaperone.core.identity import Identity
from chaperone.core.policy import BrokenPolicy, Policy, compile_policy
from chaperone.core.session import RunKey, Session
from chaperone.core.session_lifetimes import Lifetimes
from chaperone.kube.admission_policies import OF_AGENTS, POLICIES_FROM
from chaperone.kube.configurations import AGENT_GUARD
from chaperone.kube.errors import KubeError, RefusedError
from chaperone.kube.identities import named_identities
from chaperone.kube.official import (
    AGENT_POLICIES,
    APPROVAL_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    VALIDATING_WEBHOOKS,
    Listing,
    Obj,
    Resource,
)
from chaperone.kube.rbac import IMPERSONATOR, service_account
from chaperone.settings.controller import ControllerSettings
from controller import bindings as standing_rights
from controller.bindings import POLICY_LABEL, Place, place_of, policy_label
from controller.certificate_keeping import CertificateKeeper
from controller.conditions import Standing, policy_status
from controller.grants import Grants
from controller.guardianship import (
    RoleChanges,
    admission_policy_change,
    empty_role,
    guard_change,
    role_changes,
)
from controller.lifetimes import Due, due, expiry
from controller.sessions import REASON, SessionKeeper, cancellation, loses_grant

log = logging.getLogger(__name__)

Compiled = Policy | BrokenPolicy

_RUN_OVER = "the run that asked for it was terminated"

ADMISSION_POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`."""

    def list(self, path: str, **query: str) -> Listing: ...
    def find(self, path: str) -> Obj | None: ...
    def create(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj: ...
    def delete(self, path: str, *, uid: str = "", resource_version: str = "") -> None: ...
    def server_version(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """All policies of one pass: as they are in the cluster, and compiled."""

    objects: Mapping[str, Obj]
    compiled: Mapping[str, Compiled]
    namespaces: frozenset[str]

    @property
    def sound(self) -> tuple[Policy, ...]:
        return tuple(policy for policy in self.compiled.values() if isinstance(policy, Policy))


class Reconciler:
    """All that the controller does to the cluster. clock: Unix seconds."""

    def __init__(self, cluster: Cluster, settings: ControllerSettings, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._grants = Grants(cluster, settings.guard_namespace, clock)
        self._sessions = SessionKeeper(cluster, lifetimes_of(settings), clock)
        self._terminated: Mapping[RunKey, Session] = {}
        self._certificates = CertificateKeeper(
            cluster, settings.certificates, settings.guard_namespace, clock
        )

    def resync(self) -> dict[str, Approval]:
        """One pass over everything. Returns the approvals by name, for the agenda. Raises KubeError when
        the cluster cannot even be listed."""
        gathered = self._gather()
        managed = self._settings.managed
        standings = self._bind(gathered) if managed.bindings else {}
        for name, policy in gathered.compiled.items():
            self._write_status(gathered.objects[name], policy, standings.get(name))
        if managed.impersonator:
            self._attempt("the impersonator's roles", lambda: self._keep_impersonator(gathered))
        if managed.guard:
            self._attempt("the agent guard", lambda: self._keep_guard(gathered.objects.values()))
            self._attempt(
                "the admission policies", lambda: self._keep_admission_policies(gathered.objects.values())
            )
        if self._settings.certificates.manage:
            self._attempt("the webhook's certificate", self._certificates.keep)
        self._attempt("sweeping the sessions", self._sweep_sessions)
        return self._sweep_approvals()

    def look_at(self, name: str) -> None:
        """One approval whose deadline has passed, or whose grant asks for something."""
        obj = self._cluster.find(APPROVAL_REQUESTS.path(name))
        approval = None if obj is None else self._end_by_clock(obj)
        if obj is not None and approval is not None:
            self._tend(obj, approval)

    def _gather(self) -> Gathered:
        objects = {obj["metadata"]["name"]: obj for obj in self._cluster.list(AGENT_POLICIES.path()).items}
        namespaces = {
            namespace["metadata"]["name"]
            for namespace in self._cluster.list(NAMESPACES.path()).items
            if not namespace["metadata"].get("deletionTimestamp")
        }
        compiled = {name: compile_policy(obj) for name, obj in objects.items()}
        return Gathered(objects, compiled, frozenset(namespaces))

    # Standing rights

    def _bind(self, gathered: Gathered) -> dict[str, Standing]:
        """Bring all bindings to what policies ask for; what each policy has got, and what is in its way."""
        problems: dict[str, list[str]] = {name: [] for name in gathered.compiled}
        wanted: dict[Place, tuple[str, Obj]] = {}
        for policy in gathered.sound:
            problems[policy.name] += self._keep_account(policy, gathered.namespaces)
            for manifest in standing_rights.desired_bindings(policy):
                place = place_of(manifest)
                if place.namespace and place.namespace not in gathered.namespaces:
                    problems[policy.name].append(
                        f"namespace {place.namespace} does not exist: create it, or take it out of spec.access"
                    )
                else:
                    wanted[place] = (policy.name, manifest)
        in_place = self._apply(wanted, self._live_bindings(), problems, _settled(gathered))
        return {
            name: Standing(tuple(in_place.get(name, ())), tuple(dict.fromkeys(problems[name])))
            for name in gathered.compiled
        }

    def _apply(
        self,
        wanted: Mapping[Place, tuple[str, Obj]],
        live: tuple[Obj, ...],
        problems: Mapping[str, list[str]],
        settled: frozenset[str],
    ) -> dict[str, list[Place]]:
        changes = standing_rights.changes(
            (manifest for _, manifest in wanted.values()), live, settled=settled
        )
        failed: set[Place] = set()
        for manifest, act in (
            *((manifest, self._create_binding) for manifest in changes.create),
            *((manifest, self._replace_binding) for manifest in changes.update),
        ):
            place = place_of(manifest)
            problem = self._try(partial(act, manifest))
            if problem:
                failed.add(place)
                problems[wanted[place][0]].append(_binding_problem(place, manifest, problem))
        for obj in changes.delete:
            self._attempt(f"pruning {place_of(obj)}", partial(self._delete, obj))
        return _by_policy(wanted, failed)

    def _live_bindings(self) -> tuple[Obj, ...]:
        return (
            *self._cluster.list(ROLE_BINDINGS.path(), labelSelector=POLICY_LABEL).items,
            *self._cluster.list(CLUSTER_ROLE_BINDINGS.path(), labelSelector=POLICY_LABEL).items,
        )

    def _create_binding(self, manifest: Obj) -> None:
        self._cluster.create(place_of(manifest).collection, manifest)

    def _replace_binding(self, manifest: Obj) -> None:
        self._cluster.replace(place_of(manifest).path, manifest)

    def _delete(self, obj: Obj) -> None:
        metadata = obj["metadata"]
        self._cluster.delete(
            place_of(obj).path,
            uid=str(metadata.get("uid") or ""),
            resource_version=metadata.get("resourceVersion", ""),
        )

    def _keep_account(self, policy: Policy, namespaces: frozenset[str]) -> list[str]:
        """Make the policy's service account where it is missing. Never deleted, never changed."""
        account = service_account(policy.identity.username)
        if account is None:
            return []
        namespace, name = account
        if namespace not in namespaces:
            return [f"namespace {namespace} of service account {name} does not exist: create it"]
        problem = self._try(lambda: self._create_account(policy, namespace, name))
        return [f"service account {namespace}/{name} cannot be made: {problem}"] if problem else []

    def _create_account(self, policy: Policy, namespace: str, name: str) -> None:
        if self._cluster.find(SERVICE_ACCOUNTS.path(name, namespace=namespace)) is None:
            manifest = standing_rights.account_manifest(policy, namespace, name)
            self._cluster.create(SERVICE_ACCOUNTS.path(namespace=namespace), manifest)
            log.info("made service account %s/%s for policy %s", namespace, name, policy.name)

    # Status

    def _write_status(self, obj: Obj, policy: Compiled, standing: Standing | None) -> None:
        before = obj.get("status") or {}
        status = policy_status(policy, standing, before, self._clock())
        if all(before.get(key) == value for key, value in status.items()):
            return
        name = str(obj["metadata"]["name"])
        patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}, "status": status}
        path = AGENT_POLICIES.path(name, subresource="status")
        self._attempt(f"the status of policy {name}", lambda: self._cluster.merge(path, patch))

    # Whom the gateway may become, and whom the webhook guards

    def _keep_impersonator(self, gathered: Gathered) -> None:
        cluster_role = self._cluster.find(CLUSTER_ROLES.path(IMPERSONATOR))
        if cluster_role is None:
            log.warning(
                "ClusterRole %s is missing: install our RBAC manifests (the chart has them)", IMPERSONATOR
            )
            return
        changes = role_changes(
            (policy.identity for policy in gathered.sound),
            self._settings.guard_namespace,
            cluster_role=cluster_role,
            roles=self._named_by_namespace(ROLES.path()),
            bindings=self._named_by_namespace(ROLE_BINDINGS.path()),
            namespaces=gathered.namespaces,
        )
        self._change_roles(changes)

    def _change_roles(self, changes: RoleChanges) -> None:
        if changes.cluster_rules is not None:
            self._cluster.merge(CLUSTER_ROLES.path(IMPERSONATOR), {"rules": list(changes.cluster_rules)})
        for namespace, rules in (changes.rules or {}).items():
            if self._cluster.find(ROLES.path(IMPERSONATOR, namespace=namespace)) is None:
                role = empty_role(namespace, self._settings.guard_namespace)
                self._cluster.create(ROLES.path(namespace=namespace), role)
            self._cluster.merge(ROLES.path(IMPERSONATOR, namespace=namespace), {"rules": list(rules)})
        for binding in changes.bind:
            self._cluster.create(place_of(binding).collection, binding)
        for namespace in changes.retire:
            self._cluster.delete(ROLE_BINDINGS.path(IMPERSONATOR, namespace=namespace))
            self._cluster.delete(ROLES.path(IMPERSONATOR, namespace=namespace))

    def _named_by_namespace(self, path: str) -> dict[str, Obj]:
        listing = self._cluster.list(path, fieldSelector=f"metadata.name={IMPERSONATOR}")
        return {obj["metadata"]["namespace"]: obj for obj in listing.items}

    def _keep_guard(self, policies: Iterable[Obj]) -> None:
        path = VALIDATING_WEBHOOKS.path(AGENT_GUARD)
        live = self._cluster.find(path)
        if live is None:
            log.warning(
                "the agent guard %s is not installed: direct writes of agents are not refused", AGENT_GUARD
            )
            return
        identities: frozenset[Identity] = named_identities(policies)
        change = guard_change(live, identities, self._cluster.server_version())
        if change is not None:
            self._cluster.replace(path, change)
            log.info("the agent guard now names %d identities", len(identities))

    def _keep_admission_policies(self, policies: Iterable[Obj]) -> None:
        """On servers that have them; one that somebody has deleted stays deleted."""
        if self._cluster.server_version() < POLICIES_FROM:
            return
        identities = named_identities(policies)
        for name in OF_AGENTS:
            path = ADMISSION_POLICIES.path(name)
            live = self._cluster.find(path)
            change = None if live is None else admission_policy_change(live, identities)
            if change is not None:
                self._cluster.replace(path, change)
                log.info("the admission policy %s now names %d identities", name, len(identities))

    # Sessions and approvals

    def _sweep_sessions(self) -> None:
        self._terminated = self._sessions.sweep()

    def _sweep_approvals(self) -> dict[str, Approval]:
        found: dict[str, Approval] = {}
        for obj in self._cluster.list(APPROVAL_REQUESTS.path()).items:
            approval = self._end_by_clock(obj)
            if approval is not None:
                found[approval.name] = approval
                self._tend(obj, approval)
        if self._settings.managed.grants:
            self._attempt("sweeping the bindings of grants", self._grants.sweep)
        return found

    def _tend(self, obj: Obj, approval: Approval) -> None:
        patch = cancellation(obj, approval, self._terminated, self._clock())
        if patch:
            path = APPROVAL_REQUESTS.path(approval.name, subresource="status")
            self._attempt(f"cancelling approval {approval.name}", lambda: self._cluster.merge(path, patch))
        elif loses_grant(approval, self._terminated):
            self._attempt(
                f"ending grant {approval.name}", lambda: self._grants.end(obj, approval, REASON, _RUN_OVER)
            )
        elif self._settings.managed.grants:
            self._attempt(f"grant {approval.name}", lambda: self._grants.tend(obj, approval))

    def _end_by_clock(self, obj: Obj) -> Approval | None:
        """Do what the clock asks for, and return the approval as read; None when it cannot be read."""
        name = str(obj["metadata"]["name"])
        try:
            approval = approvals.read(obj)
        except ValueError as error:
            log.error("approval %s cannot be read and is left alone: %s", name, error)  # noqa: TRY400
            return None
        what = due(approval, self._clock(), self._settings.retention.approvals)
        if what is Due.EXPIRE:
            path = APPROVAL_REQUESTS.path(name, subresource="status")
            self._attempt(f"expiring approval {name}", lambda: self._cluster.merge(path, expiry(approval)))
        elif what is Due.DELETE:
            seen = {"uid": approval.uid, "resource_version": approval.resource_version}
            delete = partial(self._cluster.delete, APPROVAL_REQUESTS.path(name), **seen)
            self._attempt(f"deleting ended approval {name}", delete)
        return approval

    # Acting

    def _try(self, act: Callable[[], object]) -> str:
        """ "" when it was done, otherwise what the API server said."""
        try:
            act()
        except RefusedError as error:
            return error.message or str(error)
        except KubeError as error:
            return str(error)
        return ""

    def _attempt(self, what: str, act: Callable[[], object]) -> None:
        problem = self._try(act)
        if problem:
            log.warning("%s: not done, will be tried again: %s", what, problem)


def lifetimes_of(settings: ControllerSettings) -> Lifetimes:
    ours, kept = settings.sessions, settings.retention
    return Lifetimes(
        idle_after=ours.idle_after,
        end_after=ours.end_after,
        keep_ended=kept.sessions,
        keep_terminated=kept.terminated_sessions,
        most=ours.most,
    )


def _settled(gathered: Gathered) -> frozenset[str]:
    broken = (name for name, policy in gathered.compiled.items() if isinstance(policy, BrokenPolicy))
    return frozenset(policy_label(name) for name in broken)


def _by_policy(wanted: Mapping[Place, tuple[str, Obj]], failed: set[Place]) -> dict[str, list[Place]]:
    result: dict[str, list[Place]] = {}
    for place, (policy, _) in wanted.items():
        if place not in failed:
            result.setdefault(policy, []).append(place)
    return result


def _binding_problem(place: Place, manifest: Obj, problem: str) -> str:
    role = f"{manifest['roleRef']['kind']} {manifest['roleRef']['name']}"
    remedy = "let the controller bind that role (its ClusterRole, verb bind), or take it out of spec.access"
    return f"{place} to {role} cannot be made: {problem}; {remedy}"
