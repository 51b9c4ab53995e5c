"""The gateway as `sessions undo` needs it: is it one, what stands there, and writes that may have to wait for people.

Everything goes out with the caller's own credential, so policies, approvals, masking and the audit apply as to any other
request of theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.faults import WrongUsageError
from chaperone.core.legible import visible
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import Api, Obj, Resource

HOLD, REASON = "Chaperone-Hold", "Chaperone-Reason"
PENDING = "ApprovalPending"
PATIENCE = 120.0
"""Seconds that one answer may take; longer than a gateway keeps a held request at a time (holds.connectStep)."""
PAUSE = 1.0


class WaitingError(Exception):
    """A write waits for people. name: of its ApprovalRequest."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it waits for ApprovalRequest {name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Kind:
    """What discovery says of a resource."""

    resource: Resource
    api_version: str
    kind: str
    namespaced: bool
    listable: bool = False


class Gateway:
    """waits: whether a held write is waited for, as long as the gateway keeps its clients."""

    def __init__(
        self, cluster: ClusterFlags, *, reason: str, waits: bool, tell: Callable[[str], None]
    ) -> None:
        """Raises WrongUsageError where the kubeconfig points at something else than a gateway."""
        if not is_gateway(cluster):
            raise WrongUsageError(
                "this kubeconfig does not point at a chaperone gateway. An undo goes through one, so that policies, "
                "approvals and the audit apply to it: give --kubeconfig, or --context, of a caller whom an AgentPolicy "
                "governs"
            )
        said = (REASON, reason)
        self._quick = cluster.connect(timeout=PATIENCE, sent=[(HOLD, "never"), said])
        self._patient = cluster.connect(timeout=PATIENCE, sent=[said])
        self._waits = waits
        self._tell = tell
        self._kinds: dict[str, Mapping[str, Kind] | None] = {}

    # Reading

    def find(self, path: str) -> Obj | None:
        return self._quick.find(path)

    def kind(self, group: str, version: str, resource: str) -> Kind | None:
        """None where the API server does not serve it."""
        return (self.kinds(group, version) or {}).get(resource)

    def kind_named(self, api_version: str, kind: str) -> Kind | None:
        """By the name of the kind, as references between objects have it."""
        group, _, version = api_version.rpartition("/")
        found = (self.kinds(group, version) or {}).values()
        return next((each for each in found if each.kind == kind), None)

    def kinds(self, group: str, version: str) -> Mapping[str, Kind] | None:
        """By resource; None where the version is not served."""
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if self._kinds.get(path) is None:
            document = self._quick.find(path)
            self._kinds[path] = None if document is None else _kinds(document, group, version)
        return self._kinds[path]

    def forget_kinds(self) -> None:
        """After a definition was made again."""
        self._kinds.clear()

    def namespaced_kinds(self) -> tuple[Kind, ...]:
        """All that a namespace can hold, each in the version that the API server prefers."""
        groups = self._quick.get("/apis").get("groups") or []
        versions = [("", "v1"), *(_preferred(group) for group in groups)]
        found = [kind for group, version in versions for kind in (self.kinds(group, version) or {}).values()]
        return tuple(kind for kind in found if kind.namespaced and kind.listable)

    def items(self, path: str) -> tuple[Obj, ...]:
        return self._quick.list(path).items

    # Writing

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool) -> Obj:
        return self._sent(lambda api: api.create(path, body, dry_run=dry_run), waits=not dry_run)

    def replace(self, path: str, body: Mapping[str, Any], *, dry_run: bool) -> Obj:
        return self._sent(lambda api: api.replace(path, body, dry_run=dry_run), waits=not dry_run)

    def delete(self, path: str, *, uid: str, resource_version: str, dry_run: bool) -> None:
        """With what belongs to it, in the background, as kubectl does."""
        options = {"propagationPolicy": "Background", **({"dryRun": ["All"]} if dry_run else {})}

        def call(api: Api) -> Obj:
            api.delete(path, uid=uid, resource_version=resource_version, options=options)
            return {}

        self._sent(call, waits=not dry_run)

    def _sent(self, call: Callable[[Api], Obj], *, waits: bool) -> Obj:
        """Asked at once first, so that a person can be told what there is to approve. Raises WaitingError when nobody
        has decided in the time for which the gateway keeps its clients, RefusedError, UnreachableError."""
        try:
            return call(self._quick)
        except RefusedError as error:
            name = pending(error)
            if not name:
                raise
        if not (waits and self._waits):
            raise WaitingError(name)
        self._tell(
            f"held: waiting for ApprovalRequest {name}; `kubectl chaperone show {name}` tells about it"
        )
        while True:
            try:
                return call(self._patient)
            except RefusedError as error:
                if not pending(error):
                    raise
                if error.code != 429:
                    raise WaitingError(name) from error
                time.sleep(PAUSE)


def pending(error: RefusedError) -> str:
    """The ApprovalRequest that a refused write waits for, "" when it waits for none."""
    return next((visible(field, 253) for reason, field in error.causes if reason == PENDING), "")


def is_gateway(cluster: ClusterFlags) -> bool:
    """A gateway refuses a word to itself that it does not know; an API server passes over the header, or over the
    request. Raises UnreachableError."""
    try:
        cluster.connect(sent=[(HOLD, "are-you-there")]).get("/version")
    except RefusedError as error:
        return error.code == 400 and HOLD in error.message
    return False


def _kinds(document: Mapping[str, Any], group: str, version: str) -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}
    for entry in document.get("resources") or []:
        name, kind = str(entry.get("name")), str(entry.get("kind"))
        if "/" not in name:
            found[name] = Kind(
                Resource(group, version, name),
                f"{group}/{version}" if group else version,
                kind,
                bool(entry.get("namespaced")),
                "list" in (entry.get("verbs") or []),
            )
    return found


def _preferred(group: Mapping[str, Any]) -> tuple[str, str]:
    return str(group.get("name")), str((group.get("preferredVersion") or {}).get("version"))
