"""What a held request is about, looked at as the agent: which live object, in which state, on what kind of server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import orjson

from chaperone.core.approval import Target, target_of
from chaperone.core.request import Request
from gateway.http.upstream import UpstreamError
from gateway.services import Gather

NO_TARGET = Target()
APPLY = "application/apply-patch"
_DIGITS = re.compile(r"[0-9]{1,4}", re.ASCII)
"""Of "20+", as some providers write it."""


class Untargeted(Enum):
    """Why there is no target to approve."""

    GONE = "the object is not there"
    UNSEEN = "the agent may not read the object"


async def observe(request: Request, gather: Gather) -> Target | Untargeted:
    """The named object, never its subresource (some of these do things when they are read). NO_TARGET where the
    request names none, or creates it. Raises UpstreamError when there is no answer."""
    path = object_path(request)
    if not path:
        return NO_TARGET
    answer = await gather.fetch("GET", path)
    if answer.code == 404:
        return NO_TARGET if _may_create(request) else Untargeted.GONE
    if answer.code in (401, 403, 405):
        return Untargeted.UNSEEN
    if answer.code != 200:
        raise UpstreamError(
            f"the object cannot be looked at: the API server answered {answer.code}", code=503
        )
    target = target_of(_decoded(answer.body))
    if target is None:
        raise UpstreamError("the object cannot be looked at: it has no uid or no version", code=503)
    return target


async def server_version(request: Request, gather: Gather) -> tuple[int, int] | None:
    """(major, minor) of the API server, asked for upgrades alone; None when it is not told. Raises UpstreamError."""
    if not request.upgrade:
        return None
    answer = await gather.fetch("GET", "/version")
    found = _decoded(answer.body) if answer.code == 200 else {}
    numbers = [_DIGITS.match(str(found.get(part))) for part in ("major", "minor")]
    major, minor = [int(number[0]) if number else 0 for number in numbers]
    return (major, minor) if major else None


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
