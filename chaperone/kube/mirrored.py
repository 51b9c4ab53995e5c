"""Objects of one kind in the API: mirrored for those who must know at once, read and written directly by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaperone.kube.connection import Connection
from chaperone.kube.errors import RefusedError
from chaperone.kube.mirror import Mirror, MirrorTerms, Object, OnChange, Resource


class MirroredStore:
    """`run` keeps the mirror. keep: makes an object smaller before it is mirrored. clock: monotonic seconds; jitter: a
    number in [0, 1) each time. on_change: told of every change, and of what is gone (None)."""

    def __init__(
        self,
        connection: Connection,
        resource: Resource,
        *,
        keep: Callable[[Object], Object],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_change: OnChange | None,
        terms: MirrorTerms | None,
    ) -> None:
        self._connection = connection
        self._path = resource.path
        self.mirror = Mirror(
            connection, resource, clock=clock, jitter=jitter, on_change=on_change, keep=keep, terms=terms
        )

    async def run(self) -> None:
        await self.mirror.run()

    async def get(self, name: str) -> dict[str, Any] | None:
        """As the API has it now; None when there is none. Raises KubeError."""
        try:
            return await self._connection.get(f"{self._path}/{name}")
        except RefusedError as refused:
            if refused.not_found:
                return None
            raise

    async def create(self, obj: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored object, or None when one of that name is already there. Raises KubeError."""
        try:
            return await self._connection.post(self._path, obj)
        except RefusedError as refused:
            if refused.already_exists:
                return None
            raise

    async def merge_status(self, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """The new object. Raises KubeError; after UnreachableError it may have been written."""
        return await self._connection.merge_patch(f"{self._path}/{name}/status", patch)
