"""The dry run of a held request: the same request, sent so that the API server surely changes nothing.

Whatever is not known to be dry is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from chaperone.core.body import Decoded, decode
from chaperone.core.request import Payload, Request, Unreadable, parse
from gateway.dry_runs import heeds_dry_run
from gateway.preview_looks import Looks, Seen

_DELETES = ("delete", "deletecollection")
_WRITES = ("create", "update", "patch", *_DELETES)


@dataclass(frozen=True, slots=True)
class DryRun:
    """A request that changes nothing."""

    method: str
    target: str
    body: bytes
    content_type: str


def dry_run_of(request: Request) -> DryRun | str:
    """The dry run of a request, or why there is none."""
    if request.is_connect or not request.is_resource or request.verb not in _WRITES:
        return "there is no dry run of it"
    payload, body, content_type = Payload(), request.body, request.content_type
    if request.verb in _DELETES and body:
        decoded = decode(body, content_type, request.verb)
        if not isinstance(decoded, Decoded):
            return "there is no dry run of it: its options cannot be read"
        options: dict[str, Any] = {**(decoded.value or {}), "dryRun": ["All"]}
        payload, body, content_type = Payload(options=options), orjson.dumps(options), "application/json"
    kept = [(key, value) for key, value in request.parameters if key not in ("dryRun", "timeout")]
    target = f"{request.path}?{urlencode([*kept, ('dryRun', 'All')], quote_via=quote)}"
    parsed = parse(request.method, target, content_type=content_type)
    if isinstance(parsed, Unreadable) or not replace(parsed, body=body, payload=payload).dry_run:
        return "there is no dry run of it"
    return DryRun(request.method, target, body, content_type or ("application/json" if body else ""))


async def run(request: Request, looks: Looks) -> Seen | str:
    """The answer to the dry run, or why none was sent."""
    dry = dry_run_of(request)
    if isinstance(dry, str):
        return dry
    if not await heeds_dry_run(request, lambda path: _discovered(path, looks)):
        return "no dry run was made: the API that serves it is not known to heed one"
    return await looks.ask(dry.method, dry.target, body=dry.body, content_type=dry.content_type)


async def _discovered(path: str, looks: Looks) -> Mapping[str, Any] | None:
    return (await looks.get(path)).obj
