"""All objects of one kind, kept by list and watch in a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import Listing, Obj, WatchEvent

log = logging.getLogger(__name__)


class Source(Protocol):
    """What a cache needs of an Api."""

    def list(self, path: str) -> Listing: ...

    def watch(self, path: str, resource_version: str) -> Iterator[WatchEvent]: ...


@dataclass
class Cache:
    """Every object of one collection, as last heard from the API server.

    on_change is called in the cache's thread with all objects after the first list and every change, never
    concurrently; while it raises, the cache grows old. `age` is what decides whether it may still be
    believed.
    """

    source: Source
    path: str
    on_change: Callable[[tuple[Obj, ...]], None]
    clock: Callable[[], float] = time.monotonic
    pause: float = 1.0
    _heard: float | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"cache {self.path}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does at the next event or the end of the current watch."""
        self._stopping.set()

    def age(self) -> float:
        """Seconds since the API server last confirmed this state; infinite before the first list."""
        return float("inf") if self._heard is None else self.clock() - self._heard

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.follow()
            except (RefusedError, UnreachableError) as error:
                log.warning("cache of %s lost its watch, listing again: %s", self.path, error)
            except Exception:
                log.exception("cache of %s failed, listing again", self.path)
            self._stopping.wait(self.pause)

    def follow(self) -> None:
        """List, then watch until the watch is lost, its history is gone, or the cache is stopped."""
        asked = self.clock()
        listing = self.source.list(self.path)
        objects = {_key(obj): obj for obj in listing.items}
        self._publish(objects, asked)
        version = listing.resource_version
        while not self._stopping.is_set():
            asked = self.clock()
            for event in self.source.watch(self.path, version):
                if event.type == "ERROR":
                    return
                version = str(event.object["metadata"]["resourceVersion"])
                self._apply(event, objects)
                if self._stopping.is_set():
                    return
            # Ended in order: up to the moment this watch was asked for, nothing had been missed.
            self._heard = max(self._heard or asked, asked)

    def _apply(self, event: WatchEvent, objects: dict[tuple[str, str], Obj]) -> None:
        now = self.clock()
        if event.type == "BOOKMARK":
            self._heard = now
            return
        if event.type == "DELETED":
            objects.pop(_key(event.object), None)
        else:
            objects[_key(event.object)] = event.object
        self._publish(objects, now)

    def _publish(self, objects: Mapping[tuple[str, str], Obj], heard: float) -> None:
        self.on_change(tuple(objects.values()))
        self._heard = heard


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])
