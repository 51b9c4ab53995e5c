"""Agents ask for access: the gateway files the request in its own name; and closes what was open when a grant ends.

Of what the agent sends, the role, the namespaces, the duration and the reason count, nothing else: who asks comes from
the verified token, and who gets the rights from the policy. Every other write of our own kinds goes on to be judged, and
is denied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chaperone.core import access, status
from chaperone.core import approval as approvals
from chaperone.core.approval import GRANT, TERMINAL, Approval, Phase
from chaperone.core.body import Decoded, decode
from chaperone.core.gate import Governance
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Verdict
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.errors import KubeError
from gateway.limits import Stream
from gateway.passage import Passage
from gateway.refusal import refusal
from gateway.services import Answer, Draft, Snapshot

log = logging.getLogger(__name__)

MOST_OPEN = 16
"""Requests for access of one run that may wait or last at the same time."""
MOST_ATTEMPTS = 100
"""Requests for the same access, one after the other, that may be kept in the cluster."""
LATER = 5
"""Seconds, in Retry-After, when something on our side must recover first."""


def asks_for_access(request: Request) -> bool:
    """May this be a request for access? Its body says whether it is one."""
    return request.verb == "create" and (request.group, request.full_resource) == (
        "chaperone.dev",
        "approvalrequests",
    )


class AccessDesk:
    """Takes requests for access. wall: Unix seconds."""

    def __init__(self, store: ApprovalStore, snapshot: Snapshot, *, wall: Callable[[], float]) -> None:
        self._store = store
        self._snapshot = snapshot
        self._wall = wall

    def draft(self, request: Request, body: bytes, caller: Caller, governed: Governance) -> Draft | None:
        """What is to be filed; None when the body asks for something else. Raises RefusalError for what cannot be
        asked for."""
        decoded = decode(body, request.content_type)
        if not isinstance(decoded, Decoded):
            raise refusal(decoded.code, decoded.reason, request)
        obj = decoded.value
        if not isinstance(obj, dict) or not access.is_access(obj):
            return None
        if request.parameter("dryRun") is not None:
            raise refusal(400, "a request for access cannot be made as a dry run", request)
        rights, reason = access.read_rights(obj["spec"].get("access")), obj["spec"].get("reason") or ""
        policy = access.governing_policy(governed.policies)
        if policy is None or isinstance(rights, access.Unreadable) or not isinstance(reason, str):
            why = rights.reason if isinstance(rights, access.Unreadable) else "needs spec.reason to be a text"
            raise refusal(400, f"not filed: the request {why}", request)
        if refused := access.refused_rights(rights, policy, self._snapshot.policies.risk_settings):
            raise refusal(403, f"not filed: the request {refused}", request)
        spec = access.agents_spec(rights, caller, policy, reason=reason, now=self._wall())
        return Draft(spec, caller, request, _verdict(policy, governed))

    async def file(self, draft: Draft) -> Answer:
        """The request as it is in the cluster: 201 when it was made, 200 when the same one still stands."""
        try:
            return self._too_many(draft) or await self._file(draft)
        except (KubeError, ValueError) as fault:
            log.warning("a request for access cannot be filed", extra={"cause": str(fault)})
            message = "not filed: requests for access cannot be read or written now; try again"
            return _refused(503, message, draft.request, retry_after=LATER)

    async def _file(self, draft: Draft) -> Answer:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            name = access.access_name(draft.spec["digest"], attempt)
            metadata = {"name": name}
            obj = {
                "apiVersion": "chaperone.dev/v1alpha1",
                "kind": "ApprovalRequest",
                "metadata": metadata,
                "spec": dict(draft.spec),
            }
            known = self._store.seen(name) or await self._store.get(name)
            if known is None:
                made = await self._store.create(obj)
                if made is not None:
                    return await self._counted(made, draft)
                known = await self._store.get(name)
            if known is not None and _still_stands(known, draft):
                return Answer(200, known)
        message = "not filed: too many ended requests for this access are kept; ask again when these are gone"
        return _refused(429, message, draft.request, retry_after=60)

    async def _counted(self, made: dict[str, Any], draft: Draft) -> Answer:
        """With the count of approvals, for whoever lists them; nothing depends on it."""
        patch = approvals.uncounted(int(draft.spec["required"]))
        try:
            made = await self._store.patch_status(made["metadata"]["name"], patch) or made
        except KubeError as fault:
            log.warning("the count of approvals could not be shown", extra={"cause": str(fault)})
        return Answer(201, made)

    def _too_many(self, draft: Draft) -> Answer | None:
        asked = draft.spec["requester"]
        standing = sum(
            1
            for obj in self._store.mirror.objects.values()
            if access.is_access(obj) and _is_open(obj) and (obj.get("spec") or {}).get("requester") == asked
        )
        if standing < MOST_OPEN:
            return None
        message = f"not filed: {MOST_OPEN} requests for access of this run are open; wait until one has ended"
        return _refused(429, message, draft.request, retry_after=60)


def _verdict(policy: Policy, governed: Governance) -> Verdict:
    """For the audit: nothing was judged, the request is only filed."""
    return Verdict(
        action=Action.ALLOW,
        policy=policy.name,
        policy_generation=policy.generation,
        rule=access.RULE,
        reason="a request for access is filed; people decide",
        policies=tuple(each.name for each in governed.policies),
        would=Action.ALLOW,
    )


def _refused(code: int, message: str, request: Request, *, retry_after: int) -> Answer:
    document = status.status(code, message, request=request, retry_after=retry_after)
    return Answer(code, document, status.headers(document))


def _still_stands(obj: Mapping[str, Any], draft: Draft) -> bool:
    return _is_open(obj) and (obj.get("spec") or {}).get("digest") == draft.spec["digest"]


def _is_open(obj: Mapping[str, Any]) -> bool:
    phase = (obj.get("status") or {}).get("phase") or Phase.PENDING.value
    return phase not in {ended.value for ended in TERMINAL}


# The end of a grant


class GrantWatch:
    """Closes what a grant has opened, when it ends. streams: all that are open in this worker."""

    def __init__(self, streams: Callable[[], Iterable[Stream]]) -> None:
        self._streams = streams
        self._living: dict[str, tuple[str, frozenset[str]]] = {}

    def changed(self, name: str, obj: Mapping[str, Any] | None) -> None:
        """Called with every change of an approval; None: it is gone."""
        scope = None if obj is None else living_scope(obj)
        if scope is not None:
            self._living[name] = scope
        elif (ended := self._living.pop(name, None)) is not None:
            count = self._close(*ended)
            log.info("a grant has ended", extra={"approval": name, "closed_streams": count})

    def _close(self, identity: str, namespaces: frozenset[str]) -> int:
        """A binding is for an identity, so whichever of its runs has a stream open there loses it."""
        open_there = [
            stream
            for stream in tuple(self._streams())
            if isinstance(stream, Passage) and stream.scope[0] == identity and stream.scope[1] in namespaces
        ]
        for stream in open_there:
            stream.close("the access that was granted for a time has ended")
        return len(open_there)


def living_scope(obj: Mapping[str, Any]) -> tuple[str, frozenset[str]] | None:
    """(identity, namespaces) of a grant that lasts; None for everything else."""
    try:
        approval: Approval = approvals.read(obj)
    except ValueError:
        return None
    if approval.type != GRANT or approval.phase is not Phase.EXECUTING:
        return None
    rights = access.rights_of(approval)
    namespaces = frozenset() if isinstance(rights, access.Unreadable) else frozenset(rights.namespaces)
    return str((approval.access or {}).get("identity") or ""), namespaces
