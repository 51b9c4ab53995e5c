"""The dry run of a held request: the same request, sent so that the API server surely changes nothing.

Whatever is not known to be dry is not sent: servers behind the API server (aggregated ones) may not know `dryRun` and
would execute it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from chaperone.core.body import Decoded, decode
from chaperone.core.request import Payload, Request, Unreadable, parse
from gateway.preview_looks import Looks, Seen

_BUILT_IN = frozenset(
    {"", "apps", "autoscaling", "batch", "extensions", "policy"}
    | {
        f"{group}.k8s.io"
        for group in (
            "admissionregistration",
            "apiextensions",
            "apiregistration",
            "certificates",
            "coordination",
            "discovery",
            "events",
            "flowcontrol.apiserver",
            "internal.apiserver",
            "networking",
            "node",
            "rbac.authorization",
            "resource",
            "scheduling",
            "storage",
            "storagemigration",
        )
    }
)
"""Groups that the API server itself serves."""
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
    if request.group not in _BUILT_IN and not await _is_stored(request, looks):
        return "no dry run was made: the API that serves it is not known to heed one"
    return await looks.ask(dry.method, dry.target, body=dry.body, content_type=dry.content_type)


async def _is_stored(request: Request, looks: Looks) -> bool:
    """Whether the resource is kept by Kubernetes' own storage layer, which heeds dry runs: only that one publishes
    the hash of its storage version in the discovery document."""
    if request.subresource not in ("", "status", "scale"):
        return False
    found = await looks.get(f"/apis/{request.group}/{request.version}")
    resources = (found.obj or {}).get("resources")
    return any(
        isinstance(entry, dict)
        and entry.get("name") == request.resource
        and bool(entry.get("storageVersionHash"))
        for entry in (resources if isinstance(resources, list) else [])
    )
