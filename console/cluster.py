"""The console's view of the cluster: our own kinds, read fresh for each page, and the two things that it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from chaperone.core.on_behalf import FIELD
from chaperone.kube.official import AGENT_POLICIES, AGENT_SESSIONS, APPROVAL_REQUESTS, Listing, Obj
from console.person import Person

CACHED = {"resourceVersion": "0"}
"""Lists come from the API server's memory, for many open pages; they may be a moment behind, single objects are not."""
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

    def __init__(self, api: Api) -> None:
        self.api = api

    def approvals(self) -> tuple[Obj, ...]:
        """The newest first."""
        return _newest_first(self.api.list(APPROVAL_REQUESTS.path(), **CACHED).items)

    def approval(self, name: str) -> Obj | None:
        return self.api.find(APPROVAL_REQUESTS.path(name)) if NAME.fullmatch(name) else None

    def policies(self) -> tuple[Obj, ...]:
        """By name."""
        items = self.api.list(AGENT_POLICIES.path(), **CACHED).items
        return tuple(sorted(items, key=lambda item: str(item["metadata"]["name"])))

    def policy(self, name: str) -> Obj | None:
        return self.api.find(AGENT_POLICIES.path(name)) if NAME.fullmatch(name) else None

    def sessions(self) -> tuple[Obj, ...]:
        """The newest first."""
        return _newest_first(self.api.list(AGENT_SESSIONS.path(), **CACHED).items)

    def session(self, name: str) -> Obj | None:
        return self.api.find(AGENT_SESSIONS.path(name)) if NAME.fullmatch(name) else None

    def decide(self, name: str, person: Person, decision: str, reason: str) -> Obj:
        """Pass on the person's decision; the webhook asks whether they may, and stamps it."""
        status = {
            "decision": decision,
            "decisionReason": reason[:MOST_REASON] or None,
            FIELD: {"username": person.username, "groups": list(person.groups)},
        }
        return self.api.merge(APPROVAL_REQUESTS.path(name, subresource="status"), {"status": status})

    def end_session(self, name: str, person: Person, reason: str) -> Obj:
        """Throw a session's switch; the webhook stamps when, and takes from us by whom."""
        spec = {"terminated": True, "terminatedReason": reason[:MOST_REASON], "terminatedBy": person.username}
        return self.api.merge(AGENT_SESSIONS.path(name), {"spec": spec})


def _newest_first(items: tuple[Obj, ...]) -> tuple[Obj, ...]:
    """Those of one second by name: a page that is asked for again must not turn its rows round."""

    def place(item: Obj) -> tuple[str, str]:
        return str(item["metadata"].get("creationTimestamp") or ""), str(item["metadata"]["name"])

    return tuple(sorted(items, key=place, reverse=True))
