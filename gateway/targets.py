"""What a held request is about, looked at as the agent: which live object, in which state, on what kind of server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlencode

import orjson

from chaperone.core.approval import Target, collection_of, target_of
from chaperone.core.approval_target import NO_TARGET
from chaperone.core.request import Request
from gateway.http.upstream import UpstreamError
from gateway.services import Fetched, Gather

UNSEEN = frozenset({401, 403, 405})
SELECTORS = ("labelSelector", "fieldSelector")
MOST_OBJECTS = 500
"""Of a collection that is approved as one."""
APPLY = "application/apply-patch"
_VERSION = re.compile(r"v([0-9]{1,4})\.([0-9]{1,4})\.", re.ASCII)


class Untargeted(Enum):
    """Why there is no target to approve."""

    GONE = "the object is not there"
    UNSEEN = "the agent may not read the object"
    TOO_MANY = "a collection of more objects than people can look at"


async def observe(request: Request, gather: Gather) -> Target | Untargeted:
    """The named object, never its subresource (some of these do things when they are read); all objects of a collection
    that is to be deleted. NO_TARGET where the request names none, or creates it. Raises UpstreamError when there is no
    answer."""
    if request.verb == "deletecollection":
        return await _observe_collection(request, gather)
    path = object_path(request)
    if not path:
        return NO_TARGET
    answer = await gather.fetch("GET", path)
    if answer.code == 404:
        return NO_TARGET if _may_create(request) else Untargeted.GONE
    if answer.code in UNSEEN:
        return Untargeted.UNSEEN
    return _known(target_of(_looked_at(answer)))


async def _observe_collection(request: Request, gather: Gather) -> Target | Untargeted:
    """What would be deleted at this moment; what is created afterwards is not part of it and voids the approval."""
    kept = [(key, value) for key, value in request.parameters if key in SELECTORS]
    answer = await gather.fetch("GET", f"{request.path}?{urlencode([*kept, ('limit', str(MOST_OBJECTS))])}")
    if answer.code in UNSEEN:
        return Untargeted.UNSEEN
    found = _looked_at(answer)
    items, metadata = found.get("items"), found.get("metadata")
    if not isinstance(items, list) or not isinstance(metadata, dict):
        raise UpstreamError("the objects cannot be looked at: the answer is not a list", code=503)
    if metadata.get("continue"):
        return Untargeted.TOO_MANY
    return _known(collection_of(items))


def _looked_at(answer: Fetched) -> Mapping[str, Any]:
    if answer.code != 200:
        raise UpstreamError(f"what it is about cannot be looked at: code {answer.code}", code=503)
    return _decoded(answer.body)


def _known(target: Target | None) -> Target:
    if target is None:
        raise UpstreamError("what it is about cannot be looked at: no uid or no version", code=503)
    return target


async def server_version(request: Request, gather: Gather) -> tuple[int, int] | None:
    """(major, minor) of the API server, asked for upgrades alone; None when it is not told. Raises UpstreamError."""
    if not request.upgrade:
        return None
    answer = await gather.fetch("GET", "/version")
    text = _decoded(answer.body).get("gitVersion") if answer.code == 200 else None
    found = _VERSION.match(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def object_path(request: Request) -> str:
    """The canonical path of the named object, "" when the request names none."""
    if not (request.is_resource and request.name) or request.verb == "proxy":
        return ""
    parts = request.path.split("/")
    before_resource = 4 if request.group else 3
    if request.namespace and request.resource != "namespaces":
        before_resource += 2
    return "/".join(parts[: before_resource + 2])


def _may_create(request: Request) -> bool:
    """An update or an apply of what is not there may create it."""
    return request.verb == "update" or (
        request.verb == "patch" and request.content_type.lower().startswith(APPLY)
    )


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        obj = orjson.loads(body)
    except orjson.JSONDecodeError:
        obj = None
    if not isinstance(obj, dict):
        raise UpstreamError("the object cannot be looked at: the answer is not an object", code=503)
    return obj
