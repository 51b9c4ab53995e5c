"""All objects of one resource, kept in memory by list and watch, with an honest answer to "how old is this?".

Works from Kubernetes 1.20 on: paged list, then watches of bounded length with bookmarks; 410 or a broken line
means a new list. A watch is short (`watch_seconds`), so a server that is silently gone shows within a minute
and a half even where it sends no bookmarks. What was read stays readable while the server is away; `age`
tells the reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from chaperone.kube.connection import Connection
from chaperone.kube.errors import KubeError, RefusedError, UnreachableError

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
OnChange = Callable[[str, Object | None], None]
"""Called with a key and the new object, or None when it is gone. Runs in the event loop: must be short."""


class MirrorOverflowError(KubeError):
    """The cluster has more objects of a kind than this program is willing to hold."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as its URL names it. group "" is the core group; always mirrored across all namespaces."""

    group: str
    version: str
    plural: str

    @property
    def path(self) -> str:
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/{self.plural}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTerms:
    """How a mirror behaves. All times in seconds.

    page: objects asked for at a time. max_objects: more than this is an error, not a slow death.
    watch_seconds: length of one watch. silence: this long without a byte beyond the watch's own length is a
    dead link.
    backoff_first, backoff_most: pause after a failure, doubled each time, then scattered by the jitter.
    """

    page: int = 500
    max_objects: int = 50_000
    watch_seconds: int = 45
    silence: float = 15.0
    backoff_first: float = 0.5
    backoff_most: float = 20.0


class Mirror:
    """One resource in memory. `run` keeps it; its owner holds the task.

    clock: monotonic seconds. jitter: a number in [0, 1) each time. keep: makes an object smaller before it is
    stored.
    """

    def __init__(
        self,
        connection: Connection,
        resource: Resource,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_change: OnChange | None = None,
        keep: Callable[[Object], Object] | None = None,
        terms: MirrorTerms | None = None,
    ) -> None:
        self.resource = resource
        self.failure = ""
        """Why the last attempt failed; "" while all is well."""
        self._connection = connection
        self._clock = clock
        self._jitter = jitter
        self._on_change = on_change
        self._keep = keep
        self._terms = terms or MirrorTerms()
        self._objects: dict[str, Object] = {}
        self._version = ""
        self._alive_at: float | None = None
        self._failures = 0
        self._loaded = asyncio.Event()

    @property
    def objects(self) -> Mapping[str, Object]:
        """By key: "name", or "namespace/name"."""
        return self._objects

    @property
    def ready(self) -> bool:
        """True once a complete list was read; stays True while the server is away (see `age`)."""
        return self._loaded.is_set()

    @property
    def age(self) -> float:
        """Seconds since the server last proved that this is its state; infinite before the first list."""
        return float("inf") if self._alive_at is None else self._clock() - self._alive_at

    async def wait_ready(self) -> None:
        await self._loaded.wait()

    async def run(self) -> None:
        """List and watch until cancelled. Failures are logged once each time they change, and retried."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except KubeError as fault:
                self._note(fault)
                await asyncio.sleep(self._pause())

    async def _list(self) -> None:
        found: dict[str, Object] = {}
        query = [("limit", str(self._terms.page))]
        token = ""
        while True:
            page = await self._connection.get(
                self.resource.path, query=[*query, ("continue", token)] if token else query
            )
            version = self._take_page(page, found)
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                break
        self._replace(found)
        self._version = version
        self._proved()
        self._loaded.set()

    def _take_page(self, page: Object, found: dict[str, Object]) -> str:
        """Adds a page's items; returns the list's resourceVersion. Raises UnreachableError for what is no
        list."""
        version = str((page.get("metadata") or {}).get("resourceVersion") or "")
        items = page.get("items")
        if not version or not isinstance(items, list | None):
            raise UnreachableError(f"LIST {self.resource.path}: the answer is not a list")
        for item in items or ():
            found[self._key(item)] = self._small(item)
        self._bound(len(found))
        return version

    async def _watch(self) -> None:
        """One watch. A clean end counts as proof of life only if the watch was not cut short at once."""
        query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(self._terms.watch_seconds)),
        ]
        began = self._clock()
        silence = self._terms.watch_seconds + self._terms.silence
        async with aclosing(
            self._connection.watch(self.resource.path, query=query, silence=silence)
        ) as events:
            async for event in events:
                self._apply(event)
        if self._clock() - began < self._terms.watch_seconds / 2:
            raise UnreachableError(f"WATCH {self.resource.path}: ended early by the server")
        self._proved()

    def _apply(self, event: Object) -> None:
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR":
            status = item if isinstance(item, dict) else {}
            raise RefusedError(
                f"WATCH {self.resource.path}",
                int(status.get("code") or 500),
                str(status.get("reason") or ""),
                str(status.get("message") or ""),
            )
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(item, dict):
            raise BrokenWatchError(f"WATCH {self.resource.path}: event of unknown type {str(kind)[:40]!r}")
        version = str((item.get("metadata") or {}).get("resourceVersion") or "")
        if not version:
            raise BrokenWatchError(f"WATCH {self.resource.path}: {kind} event without a resourceVersion")
        if kind != "BOOKMARK":
            self._store(self._key(item), None if kind == "DELETED" else self._small(item))
        self._version = version
        self._proved()

    def _store(self, key: str, item: Object | None) -> None:
        if item is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = item
            self._bound(len(self._objects))
        self._tell(key, item)

    def _replace(self, found: dict[str, Object]) -> None:
        """Take over a whole list; tell only of what differs."""
        before = self._objects
        self._objects = found
        for key in before.keys() - found.keys():
            self._tell(key, None)
        for key, item in found.items():
            if _version_of(before.get(key)) != _version_of(item):
                self._tell(key, item)

    def _tell(self, key: str, item: Object | None) -> None:
        if self._on_change is not None:
            self._on_change(key, item)

    def _key(self, item: object) -> str:
        metadata = item.get("metadata") if isinstance(item, dict) else None
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise BrokenWatchError(f"{self.resource.path}: an object without a name")
        namespace = metadata.get("namespace")
        return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])

    def _small(self, item: Object) -> Object:
        return self._keep(item) if self._keep else item

    def _bound(self, count: int) -> None:
        if count > self._terms.max_objects:
            raise MirrorOverflowError(
                f"{self.resource}: more than {self._terms.max_objects} objects; delete old ones"
            )

    def _proved(self) -> None:
        self._alive_at = self._clock()
        self._failures = 0
        if self.failure:
            log.info("mirror works again", extra={"resource": str(self.resource)})
            self.failure = ""

    def _note(self, fault: KubeError) -> None:
        """A cut line resumes where it stopped; whatever else we cannot place is read anew from the start."""
        kept = isinstance(fault, UnreachableError) or (
            isinstance(fault, RefusedError) and fault.temporary and not fault.gone
        )
        if not kept:
            self._version = ""
        if isinstance(fault, RefusedError) and fault.gone and not self._failures:
            log.info("mirror lists again", extra={"resource": str(self.resource)})
        elif str(fault) != self.failure:
            log.warning("mirror cannot be read", extra={"resource": str(self.resource), "cause": str(fault)})
        self._failures += 1
        self.failure = str(fault)

    def _pause(self) -> float:
        """Between half and all of the doubled pause, so that replicas do not come back in step."""
        most = min(self._terms.backoff_most, self._terms.backoff_first * 2.0 ** min(self._failures - 1, 10))
        return most * (0.5 + 0.5 * self._jitter())


class BrokenWatchError(KubeError):
    """The stream made no sense: nothing that came with it is trusted to be complete."""


def _version_of(item: Object | None) -> str:
    return str((item.get("metadata") or {}).get("resourceVersion") or "") if item else ""
