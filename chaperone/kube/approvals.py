"""ApprovalRequests in the API: mirrored for finding and waiting, read and written directly for deciding.

The mirror says when to look; what is then done rests on the API's own answer and on compare-and-swap by
resourceVersion. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chaperone.kube.connection import Connection
from chaperone.kube.errors import RefusedError
from chaperone.kube.mirror import MirrorTerms, Object, OnChange, Resource
from chaperone.kube.mirrored import MirroredStore

APPROVALS = Resource("chaperone.dev", "v1alpha1", "approvalrequests")


class ApprovalStore(MirroredStore):
    """Whoever waits for an approval is told of its changes."""

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        terms: MirrorTerms | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        """on_change: told of every change of every approval."""
        super().__init__(
            connection,
            APPROVALS,
            keep=without_bulk,
            clock=clock,
            jitter=jitter,
            on_change=self._changed,
            terms=terms,
        )
        self._on_change = on_change
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def changes(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the mirror sees this object change; whoever waits clears it."""
        event = asyncio.Event()
        self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[name]
            events.discard(event)
            if not events:
                del self._waiting[name]

    def seen(self, name: str) -> Object | None:
        """As last mirrored, without its bulk; None when it is not there (yet)."""
        return self.mirror.objects.get(name)

    async def patch_status(self, name: str, patch: Mapping[str, Any]) -> dict[str, Any] | None:
        """Merge into the status: the new object, or None when the patch names a resourceVersion at which the object
        no longer is (somebody was first). Raises KubeError; after UnreachableError it may have been written."""
        try:
            return await self.merge_status(name, patch)
        except RefusedError as refused:
            if refused.conflict:
                return None
            raise

    def _changed(self, key: str, obj: Object | None) -> None:
        for event in self._waiting.get(key, ()):
            event.set()
        if self._on_change is not None:
            self._on_change(key, obj)


def without_bulk(obj: Object) -> Object:
    """What thirty days of requests may cost in memory: no body, no preview, no managed fields."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key != "preview"}
    request = spec.get("request")
    if isinstance(request, dict):
        spec["request"] = {key: value for key, value in request.items() if key != "body"}
    return {**obj, "metadata": metadata, "spec": spec}
