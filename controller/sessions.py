"""Sessions as time passes and people end them: idle, ended, deleted; and what a terminated run had asked for, cancelled.

Nobody waits on this: gateways obey `spec.terminated` by themselves. Whatever is written here rests on the session that
was read (compare-and-swap): a gateway that writes meanwhile shows that the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chaperone.core import session as sessions
from chaperone.core.approval import GRANT, Approval, Phase
from chaperone.core.session import RunKey, Session
from chaperone.core.session_lifetimes import Due, Lifetimes, due, surplus
from chaperone.core.timestamp import rfc3339
from chaperone.kube.errors import KubeError, RefusedError
from chaperone.kube.official import AGENT_SESSIONS, Listing, Obj

log = logging.getLogger(__name__)

REASON = "RunTerminated"
_SHOWN = {
    Due.IDLE: sessions.Phase.IDLE,
    Due.END: sessions.Phase.ENDED,
    Due.TERMINATE: sessions.Phase.TERMINATED,
}


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`."""

    def list(self, path: str, **query: str) -> Listing: ...
    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj: ...
    def delete(self, path: str, *, uid: str = "", resource_version: str = "") -> None: ...


class SessionKeeper:
    """clock: Unix seconds."""

    def __init__(self, cluster: Cluster, lifetimes: Lifetimes, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._lifetimes = lifetimes
        self._clock = clock

    def sweep(self) -> Mapping[RunKey, Session]:
        """Do what the clock asks for. The runs that are terminated. Raises KubeError when sessions cannot be listed."""
        found = [(sessions.read(obj), obj) for obj in self._cluster.list(AGENT_SESSIONS.path()).items]
        for session, obj in found:
            shown = str((obj.get("status") or {}).get("phase") or "")
            self._act(session, due(session, shown, self._lifetimes, self._clock()))
        for session in surplus((session for session, _ in found), self._lifetimes.most):
            self._act(session, Due.DELETE)
        return {session.key: session for session, _ in found if session.is_terminated}

    def _act(self, session: Session, what: Due) -> None:
        if what is Due.NOTHING:
            return
        try:
            if what is Due.DELETE:
                seen = {"uid": session.uid, "resource_version": session.resource_version}
                self._cluster.delete(AGENT_SESSIONS.path(session.name), **seen)
            else:
                patch = moved(session, _SHOWN[what], self._clock())
                self._cluster.merge(AGENT_SESSIONS.path(session.name, subresource="status"), patch)
            log.info("session %s: %s", session.name, what.value)
        except RefusedError as error:
            if not (error.conflict or error.not_found):
                log.warning("session %s: %s was refused: %s", session.name, what.value, error)
        except KubeError as error:
            log.warning("session %s: %s will be tried again: %s", session.name, what.value, error)


def moved(session: Session, phase: sessions.Phase, now: float) -> dict[str, Any]:
    """The patch of the status: the phase, totals that are right, and entries that nobody writes any more in one."""
    folded = sessions.folded(session, sessions.stale_entries(session, now), now)
    shown = {**session.counts.fields(), "openStreams": session.open_streams(now)}
    status = {**shown, **(folded["status"] if folded else {}), "phase": phase.value}
    return {"metadata": {"resourceVersion": session.resource_version}, "status": status}


def cancellation(
    obj: Obj, approval: Approval, terminated: Mapping[RunKey, Session], now: float
) -> dict[str, Any]:
    """The patch that cancels what a terminated run has asked for and nobody has begun to carry out; empty when there is
    nothing to cancel."""
    session = terminated.get((approval.issuer, approval.subject, approval.run))
    if session is None or approval.phase not in (Phase.PENDING, Phase.APPROVED):
        return {}
    cancelled = Phase.CANCELLED.value
    condition = {
        "type": cancelled,
        "status": "True",
        "reason": REASON,
        "message": f"its run was terminated {session.termination}".strip(),
        "lastTransitionTime": rfc3339(now),
    }
    others = [item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] != cancelled]
    return {
        "metadata": {"resourceVersion": approval.resource_version},
        "status": {"phase": cancelled, "conditions": [*others, condition]},
    }


def loses_grant(approval: Approval, terminated: Mapping[RunKey, Session]) -> bool:
    """Does a terminated run still have rights for a time?"""
    if approval.type != GRANT or approval.phase is not Phase.EXECUTING:
        return False
    return (approval.issuer, approval.subject, approval.run) in terminated
