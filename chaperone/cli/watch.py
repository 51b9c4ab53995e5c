"""`watch`: what is pending, kept current. A table on a terminal, one line for each change in a pipe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from chaperone.cli import approval_words as words
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.screen import console, live_table, say
from chaperone.core.legible import visible
from chaperone.kube.cache import Source
from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import APPROVAL_REQUESTS

PAUSE = 2.0
"""Seconds before a lost watch is taken up again."""

Object = Mapping[str, Any]


@dataclass
class Pending:
    """What waits for people, as last heard. Read by the screen's thread while the watch changes it."""

    objects: dict[str, Object] = field(default_factory=dict)
    trouble: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self, items: Sequence[Object]) -> Iterator[Object]:
        """Take a whole list in; what of it is new."""
        there = {str(words.field(obj, "metadata.name")) for obj in items}
        with self._lock:
            for name in self.objects.keys() - there:
                del self.objects[name]
        yield from (obj for obj in items if self.take("ADDED", obj))

    def take(self, event: str, obj: Object) -> bool:
        """Take a change in; is there something to tell about it?"""
        name = str(words.field(obj, "metadata.name"))
        waits = event != "DELETED" and words.phase(obj) == "Pending"
        with self._lock:
            before = self.objects.get(name)
            if waits:
                self.objects[name] = obj
            else:
                self.objects.pop(name, None)
        if before is None or not waits:
            return waits or before is not None
        return words.count(before) != words.count(obj)

    def rows(self, now: float) -> list[list[str]]:
        with self._lock:
            return [words.row(obj, now) for obj in self.objects.values()]


def watch(*, cluster: ClusterFlags) -> None:
    """Follow what is pending until Ctrl-C: a live table, or a line for each change when piped."""
    api = cluster.connect()
    screen = console()
    try:
        if screen.is_terminal:
            _live(api)
        else:
            _lines(api)
    except KeyboardInterrupt:
        return


_LEFT_OUT = frozenset({"PHASE", "AGE"})
"""Of the columns, on a terminal: all of it is pending, and when it expires matters more than its age."""


def _shown(cells: Sequence[str]) -> list[str]:
    return [cell for cell, column in zip(cells, words.COLUMNS, strict=True) if column not in _LEFT_OUT]


def _live(api: Source) -> None:
    pending = Pending()

    def draw() -> RenderableType:
        rows = [_shown(row) for row in pending.rows(time.time())]
        if pending.trouble:
            return Text(visible(pending.trouble), style="red")
        return live_table(_shown(words.COLUMNS), rows) if rows else Text("nothing is pending", style="dim")

    with Live(get_renderable=draw, console=console(), refresh_per_second=1, redirect_stderr=False):
        for _ in follow(api, pending):
            pass


def _lines(api: Source) -> None:
    for obj in follow(api, Pending()):
        cells = words.row(obj, time.time())
        say("   ".join(cell or "-" for cell in cells))


def follow(api: Source, pending: Pending, pause: float = PAUSE) -> Iterator[Object]:
    """Each object of which there is something new, for ever. The first list has to succeed (KubeError); later troubles
    are shown and outlived. Each watch ends after a while, and a new list makes up for what it may have missed."""
    first = True
    while True:
        try:
            listing = api.list(APPROVAL_REQUESTS.path())
            yield from pending.renew(listing.items)
            first, pending.trouble = False, ""
            for event in api.watch(APPROVAL_REQUESTS.path(), listing.resource_version):
                if event.type == "ERROR":
                    break
                if event.type != "BOOKMARK" and pending.take(event.type, event.object):
                    yield event.object
            time.sleep(min(pause, 1.0))  # a server that ends every watch at once is not asked without end
        except (RefusedError, UnreachableError) as error:
            if first:
                raise
            pending.trouble = f"the cluster does not answer, trying again: {error}"
            time.sleep(pause)
