"""The console's view of the cluster: our own kinds, read fresh for each page, and the two things that it writes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chaperone.core.on_behalf import FIELD
from chaperone.kube.official import AGENT_POLICIES, AGENT_SESSIONS, APPROVAL_REQUESTS, Listing, Obj, Resource
from console.person import Person

CACHED = {"resourceVersion": "0"}
"""Lists come from the API server's memory, for many open pages; they may be a moment behind, single objects are not."""
REMEMBERED = 1.0
"""Seconds for which a list is good for everybody; what this console has written itself is seen at once."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
MOST_REASON = 1024


class Api(Protocol):
    """What is used of `chaperone.kube.official.Api`. Every call raises KubeError."""

    def find(self, path: str) -> Obj | None: ...
    def list(self, path: str, **query: str) -> Listing: ...
    def create(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj: ...


class Cluster:
    """Every method raises KubeError; names come from a browser, and one that cannot be a name finds nothing."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self.api = api
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Obj, ...]]] = {}

    def approvals(self) -> tuple[Obj, ...]:
        """The newest first."""
        return _newest_first(self._list(APPROVAL_REQUESTS))

    def approval(self, name: str) -> Obj | None:
        return self.api.find(APPROVAL_REQUESTS.path(name)) if NAME.fullmatch(name) else None

    def policies(self) -> tuple[Obj, ...]:
        """By name."""
        items = self._list(AGENT_POLICIES)
        return tuple(sorted(items, key=lambda item: str(item["metadata"]["name"])))

    def policy(self, name: str) -> Obj | None:
        return self.api.find(AGENT_POLICIES.path(name)) if NAME.fullmatch(name) else None

    def sessions(self) -> tuple[Obj, ...]:
        """The newest first."""
        return _newest_first(self._list(AGENT_SESSIONS))

    def session(self, name: str) -> Obj | None:
        return self.api.find(AGENT_SESSIONS.path(name)) if NAME.fullmatch(name) else None

    def decide(self, name: str, person: Person, decision: str, reason: str) -> Obj:
        """Pass on the person's decision; the webhook asks whether they may, and stamps it."""
        status = {
            "decision": decision,
            "decisionReason": reason[:MOST_REASON] or None,
            FIELD: {"username": person.username, "groups": list(person.groups)},
        }
        return self._write(APPROVAL_REQUESTS.path(name, subresource="status"), {"status": status})

    def end_session(self, name: str, person: Person, reason: str) -> Obj:
        """Throw a session's switch; the webhook stamps when, and takes from us by whom."""
        spec = {"terminated": True, "terminatedReason": reason[:MOST_REASON], "terminatedBy": person.username}
        return self._write(AGENT_SESSIONS.path(name), {"spec": spec})

    def _list(self, kind: Resource) -> tuple[Obj, ...]:
        """One answer for all who ask within REMEMBERED. Nobody waits for another one's question."""
        path, now = kind.path(), self._clock()
        known = self._known.get(path)
        if known is None or now - known[0] >= REMEMBERED:
            known = self._known[path] = (now, self.api.list(path, **CACHED).items)
        return known[1]

    def _write(self, path: str, patch: Mapping[str, Any]) -> Obj:
        try:
            return self.api.merge(path, patch)
        finally:
            self._known.clear()


def _newest_first(items: tuple[Obj, ...]) -> tuple[Obj, ...]:
    """Those of one second by name: a page that is asked for again must not turn its rows round."""

    def place(item: Obj) -> tuple[str, str]:
        return str(item["metadata"].get("creationTimestamp") or ""), str(item["metadata"]["name"])

    return tuple(sorted(items, key=place, reverse=True))
