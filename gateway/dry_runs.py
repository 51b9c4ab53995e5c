"""Who heeds `dryRun=All`: to send a dry run to somebody who does not is to execute the request.

Kubernetes' own storage layer does, for built-in kinds and custom resources alike. A server that stands behind the API
server (an aggregated one) may never have heard of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chaperone.core.request import Request

_BUILT_IN = frozenset({"", "apps", "autoscaling", "batch", "policy"}) | {
    f"{group}.k8s.io"
    for group in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "networking",
        "node",
        "rbac.authorization",
        "scheduling",
        "storage",
    )
}
"""Groups that the API server itself serves, in every supported version."""


async def heeds_dry_run(
    request: Request, discover: Callable[[str], Awaitable[Mapping[str, Any] | None]]
) -> bool:
    """Whether a dry run of the request surely changes nothing. discover: fetches a discovery document by its path.

    Only Kubernetes' own storage layer publishes the hash of a resource's storage version. What a subresource of some
    other server does is not known, but for the two that every custom resource may have.
    """
    if request.group in _BUILT_IN:
        return True
    if request.subresource not in ("", "status", "scale"):
        return False
    resources = (await discover(f"/apis/{request.group}/{request.version}") or {}).get("resources")
    return any(
        isinstance(entry, dict)
        and entry.get("name") == request.resource
        and bool(entry.get("storageVersionHash"))
        for entry in (resources if isinstance(resources, list) else [])
    )
