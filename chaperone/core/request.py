"""What a client asks, in the API server's own terms.

`parse` is the only place where a path and a query are read. Policy, audit and the upstream request are all built
from its result, so they cannot disagree. It must never guess: what two parsers could read differently is refused.
Source of the rules: kubernetes/apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Object = Mapping[str, Any]
"""A decoded Kubernetes object (JSON)."""


class Origin(Enum):
    """Where a request was seen. Some risks are only visible at the gateway."""

    GATEWAY = "gateway"
    ADMISSION = "admission"


@dataclass(frozen=True, slots=True)
class Payload:
    """What a request would store or remove, as far as it is known.

    object: the resulting object: the body of a create, the outcome of an update or a patch. None: there is none.
    old_object: the live object before the request. None: there is none (or it is not needed).
    options: the DeleteOptions (or other options object) from the body. None: there are none.
    undetermined: which of "object", "oldObject", "options" exist but could not be read. A condition that needs one
    of them counts as matched (reference: risk catalogue, section 1).
    """

    object: Object | None = None
    old_object: Object | None = None
    options: Object | None = None
    undetermined: frozenset[str] = frozenset()


NO_PAYLOAD = Payload()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the API server's request-info resolver would call it.

    verb: get, list, watch, create, update, patch, delete, deletecollection, proxy (deprecated prefix form); for a
    non-resource request the lower-case HTTP method.
    path: the canonical percent-encoded path: judged, recorded and sent upstream, byte for byte.
    query: the canonical query without "?"; parameters: the same, decoded, in order.
    upgrade: "" or the protocol asked for in lower case: "websocket" or "spdy/3.1".
    """

    method: str
    verb: str
    path: str
    query: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    upgrade: str = ""
    content_type: str = ""
    body: bytes = b""
    payload: Payload = field(default=NO_PAYLOAD)
    origin: Origin = Origin.GATEWAY

    @property
    def target(self) -> str:
        """Path and query as they go into the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def full_resource(self) -> str:
        """Resource with its subresource, as RBAC writes it: "deployments/scale"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def is_connect(self) -> bool:
        """True for what admission calls CONNECT: exec, attach, port-forward and the proxy subresources."""
        return self.subresource in CONNECT_SUBRESOURCES.get(self.resource, ()) and not self.group

    @property
    def is_read(self) -> bool:
        """True when the request can change nothing: only these may be forwarded before their audit record."""
        if self.is_connect or self.verb == "proxy":
            return False
        return self.verb in ("get", "list", "watch") if self.is_resource else self.verb in ("get", "head")

    def parameter(self, key: str) -> str | None:
        """The first value of a query parameter (the API server reads the first), or None."""
        return next((value for name, value in self.parameters if name == key), None)

    @property
    def dry_run(self) -> bool:
        return self.parameter("dryRun") == "All"


CONNECT_SUBRESOURCES: Mapping[str, tuple[str, ...]] = {
    "pods": ("exec", "attach", "portforward", "proxy"),
    "services": ("proxy",),
    "nodes": ("proxy",),
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A request that cannot be brought into one form that everybody reads alike. Answer: this status code."""

    code: int
    reason: str


def parse(method: str, target: str, *, upgrade: str = "", content_type: str = "") -> Request | Unreadable:
    """Read a request line into a Request.

    method: as sent. target: the raw request target (origin form), still percent-encoded.
    upgrade: the upgrade protocol that the connection layer has verified, in lower case, or "".
    Returns Unreadable(400 | 401 | 405, reason) for what must be refused; never raises.
    """
    raise NotImplementedError
