"""From path segments to group, version, resource, name and subresource, as the API server's resolver finds
them.

Source of the rules: kubernetes/apiserver pkg/endpoints/request/requestinfo.go. Where that one would go on
with an empty verb or an error in hand, the request is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chaperone.core.url import Unreadable

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

CONNECT_SUBRESOURCES: Mapping[str, tuple[str, ...]] = {
    "pods": ("exec", "attach", "portforward", "proxy"),
    "services": ("proxy",),
    "nodes": ("proxy",),
}

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Place(NamedTuple):
    """Where a request goes, before its query is read.

    proxied: the path goes on behind a proxy, in words of the server there. keeps_slash: a trailing slash is
    part of the meaning: behind a proxy, and outside of /api and /apis, where the API server compares whole
    paths.
    """

    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    namespace: str = ""
    proxied: bool = False
    keeps_slash: bool = False

    @property
    def is_unnamed_get(self) -> bool:
        return self.verb == "get" and self.is_resource and not self.name


def locate(method: str, segments: tuple[str, ...]) -> Place | Unreadable:
    """method: one of METHODS. segments: decoded, none empty. Unreadable where the API server would find no
    resource in a path that promises one, and for names that no object can have.
    """
    root = segments[0] if segments else ""
    least = {"api": 3, "apis": 4}.get(root, 0)
    if not least:
        return _non_resource(method, segments, keeps_slash=True)
    if len(segments) < least:
        return _non_resource(method, segments, keeps_slash=False)
    place = _resource(
        method, segments[1] if root == "apis" else "", segments[least - 2], segments[least - 1 :]
    )
    if isinstance(place, Place) and _holds_percent(segments, place, least):
        return Unreadable(400, "the path is encoded more than once")
    return place


def _non_resource(method: str, segments: tuple[str, ...], *, keeps_slash: bool) -> Place | Unreadable:
    if any("%" in segment for segment in segments):
        return Unreadable(400, "the path is encoded more than once")
    return Place(method.lower(), keeps_slash=keeps_slash)


def _resource(method: str, group: str, version: str, parts: tuple[str, ...]) -> Place | Unreadable:
    """parts: what follows the version; at least one."""
    verb, prefix = _VERBS[method], parts[0]
    if prefix in ("watch", "proxy"):
        if len(parts) < 2:
            return Unreadable(400, f"the path names no resource after /{prefix}")
        if prefix == "watch" and verb != "get":
            return Unreadable(405, "only GET can watch")
        verb, parts = prefix, parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource = parts[0]
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    proxied = verb == "proxy" or (subresource == "proxy" and not group and resource in CONNECT_SUBRESOURCES)
    if verb == "delete" and len(parts) == 1:
        verb = "deletecollection"
    name = parts[1] if len(parts) > 1 else ""
    return Place(verb, True, group, version, resource, name, subresource, namespace, proxied, proxied)


def _holds_percent(segments: tuple[str, ...], place: Place, least: int) -> bool:
    """No name in Kubernetes holds a percent sign; only the path behind a proxy may."""
    if not any("%" in segment for segment in segments):
        return False
    if not place.proxied:
        return True
    words = (place.group, place.version, place.namespace, place.resource, place.name)
    return any("%" in word for word in words)
