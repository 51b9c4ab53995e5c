"""AgentSessions in the API: mirrored for those who must know at once, written by merge patches. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaperone.kube.connection import Connection
from chaperone.kube.errors import RefusedError
from chaperone.kube.mirror import MirrorTerms, Object, OnChange, Resource
from chaperone.kube.mirrored import MirroredStore

SESSIONS = Resource("chaperone.dev", "v1alpha1", "agentsessions")
TERMS = MirrorTerms(max_objects=200_000, backoff_first=0.1, backoff_most=5.0)
"""A lost watch is taken up again quickly: until then nobody's word to end a run is heard."""
_KEPT = {
    "metadata": ("name", "uid", "resourceVersion", "creationTimestamp"),
    "spec": (
        "issuer",
        "subject",
        "run",
        "startedAt",
        "terminated",
        "terminatedBy",
        "terminatedAt",
        "terminatedReason",
    ),
}


class SessionStore(MirroredStore):
    """All sessions of all runs."""

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_change: OnChange,
        terms: MirrorTerms = TERMS,
    ) -> None:
        super().__init__(
            connection,
            SESSIONS,
            keep=without_bulk,
            clock=clock,
            jitter=jitter,
            on_change=on_change,
            terms=terms,
        )

    async def patch_status(self, name: str, patch: Mapping[str, Any]) -> dict[str, Any] | None:
        """Merge into the status: the new object, or None when there is no such session. Raises KubeError: a conflict
        too, when the patch names a resourceVersion at which the object no longer is."""
        try:
            return await self.merge_status(name, patch)
        except RefusedError as refused:
            if refused.not_found:
                return None
            raise


def without_bulk(obj: Object) -> Object:
    """What months of sessions may cost in memory: who, since when, whether terminated, and the status."""
    small: dict[str, Any] = {}
    for part, names in _KEPT.items():
        fields = obj.get(part) or {}
        small[part] = {name: fields[name] for name in names if name in fields}
    return {**small, "status": obj.get("status") or {}}
