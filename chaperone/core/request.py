"""What a client asks, in the API server's own terms.

`parse` is the only place where a path and a query are read. Policy, audit and the upstream request are all
built from its result, so they cannot disagree. It must never guess: what two parsers could read differently
is refused. Source of the rules: kubernetes/apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from chaperone.core.legible import visible
from chaperone.core.resource_path import CONNECT_SUBRESOURCES, METHODS, Place, locate
from chaperone.core.selection import ambiguity, asks_watch, selected_name
from chaperone.core.url import Unreadable, canonical_path, read_path, read_query, redact_target

__all__ = [
    "CONNECT_SUBRESOURCES",
    "METHODS",
    "NO_PAYLOAD",
    "Object",
    "Origin",
    "Payload",
    "Request",
    "Unreadable",
    "parse",
    "redact_target",
]

UPGRADES = ("", "websocket", "spdy/3.1")

Object = Mapping[str, Any]
"""A decoded Kubernetes object (JSON)."""


class Origin(Enum):
    """Where a request was seen. Some risks are only visible at the gateway."""

    GATEWAY = "gateway"
    ADMISSION = "admission"


@dataclass(frozen=True, slots=True)
class Payload:
    """What a request would store or remove, as far as it is known.

    object: the resulting object: the body of a create, the outcome of an update or a patch. None: none.
    old_object: the live object before the request. None: there is none (or it is not needed).
    options: the DeleteOptions (or other options object) from the body. None: there are none.
    undetermined: which of "object", "oldObject", "options" exist but could not be read. A condition that
    needs one of them counts as matched.
    """

    object: Object | None = None
    old_object: Object | None = None
    options: Object | None = None
    undetermined: frozenset[str] = frozenset()


NO_PAYLOAD = Payload()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the API server's request-info resolver would call it.

    verb: get, list, watch, create, update, patch, delete, deletecollection, proxy (deprecated prefix form);
    for a non-resource request the lower-case HTTP method.
    path: the canonical percent-encoded path: judged, recorded and sent upstream, byte for byte.
    query: the canonical query without "?"; parameters: the same, decoded, in order.
    as_sent: the body with the placeholders of masked values, where `body` has the values; b"" where it had none.
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
    as_sent: bytes = b""
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
        """True when the request can change nothing: only these may be forwarded before their audit record.

        An upgraded connection carries words both ways; only those of a watch and of a log are known to be
        reads.
        """
        if self.is_connect or self.verb == "proxy":
            return False
        if self.upgrade and self.verb != "watch" and (self.group, self.full_resource) != ("", "pods/log"):
            return False
        return self.verb in ("get", "list", "watch") if self.is_resource else self.verb in ("get", "head")

    def parameter(self, key: str) -> str | None:
        """The first value of a query parameter (the API server reads the first), or None."""
        return next((value for name, value in self.parameters if name == key), None)

    @property
    def dry_run(self) -> bool:
        """True when the API server will change nothing although the request is a write.

        A delete with a body takes its options from the body alone and ignores the query; what cannot be
        read is no dry run.
        """
        if self.is_connect or not self.is_resource or self.full_resource in WITHOUT_DRY_RUN:
            return False
        if self.verb in ("delete", "deletecollection") and self.body:
            return self.payload.options is not None and self.payload.options.get("dryRun") == ["All"]
        return self.verb in ("create", "update", "patch", "delete", "deletecollection") and (
            self.parameter("dryRun") == "All"
        )


WITHOUT_DRY_RUN = frozenset({"serviceaccounts/token"})
"""Writes that act in full even when asked for a dry run: a token that was minted is a token."""


def parse(method: str, target: str, *, upgrade: str = "", content_type: str = "") -> Request | Unreadable:
    """Read a request line into a Request.

    method: as sent. target: the raw request target (origin form), still percent-encoded.
    upgrade: the upgrade protocol that the connection layer has verified, in lower case, or "".
    Returns Unreadable(400 | 401 | 405, reason) for what must be refused; never raises.
    """
    if method not in METHODS:
        return Unreadable(405, f"method {visible(method, 20)!r} is not one of {', '.join(METHODS)}")
    if upgrade not in UPGRADES:
        return Unreadable(400, f"upgrade to {visible(upgrade, 40)!r} is not known")
    raw_path, _, raw_query = target.partition("?")
    path = read_path(raw_path)
    if isinstance(path, Unreadable):
        return path
    place = locate(method, path.segments)
    if isinstance(place, Unreadable):
        return place
    query = read_query(raw_query, multiline=place.proxied)
    if isinstance(query, Unreadable):
        return query
    named = _name_in_query(place, query.parameters)
    if isinstance(named, Unreadable):
        return named
    verb, name = named
    return Request(
        method=method,
        verb=verb,
        path=canonical_path(path.segments, slash=path.slash and place.keeps_slash),
        query=query.canonical,
        parameters=query.parameters,
        is_resource=place.is_resource,
        group=place.group,
        version=place.version,
        resource=place.resource,
        subresource=place.subresource,
        namespace=place.namespace,
        name=name,
        upgrade=upgrade,
        content_type=content_type,
    )


def _name_in_query(place: Place, parameters: tuple[tuple[str, str], ...]) -> tuple[str, str] | Unreadable:
    """Verb and name after the query has had its say: it makes a get without a name a list or a watch, and a
    field selector can name the one object of either.
    """
    if not parameters:
        return ("list" if place.is_unnamed_get else place.verb), place.name
    ambiguous = None if place.proxied else ambiguity(parameters)
    if ambiguous:
        return ambiguous
    if not place.is_unnamed_get:
        return place.verb, place.name
    selected = selected_name(parameters)
    if isinstance(selected, Unreadable):
        return selected
    return ("watch" if asks_watch(parameters) else "list"), selected
