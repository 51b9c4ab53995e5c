"""Following what is pending: each change told once, troubles outlived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from chaperone.cli.watch import Pending, follow
from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import Listing, WatchEvent
from tests.cli.objects import Obj, approval

Step = BaseException | list[Obj]


class Source:
    """Lists and watches from a script; an exception in it is raised in its turn."""

    def __init__(self, lists: list[Step], watches: list[list[WatchEvent] | Exception]) -> None:
        self.lists = lists
        self.watches = watches

    def list(self, path: str) -> Listing:
        step = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(step, BaseException):
            raise step
        return Listing(tuple(step), "5")

    def watch(self, path: str, resource_version: str) -> Iterator[WatchEvent]:
        if not self.watches:
            raise KeyboardInterrupt
        step = self.watches.pop(0)
        if isinstance(step, Exception):
            raise step
        yield from step


def counted(name: str, count: str, phase: str = "Pending") -> Obj:
    obj = approval(name, phase=phase)
    obj["status"]["approvals"] = count
    return obj


def told(source: Source, pending: Pending | None = None) -> list[tuple[str, str, str]]:
    """Name, phase and count of everything that is told until the script ends."""
    found: list[tuple[str, str, str]] = []
    with suppress(KeyboardInterrupt):
        found.extend(
            (obj["metadata"]["name"], obj["status"]["phase"], obj["status"]["approvals"])
            for obj in follow(source, pending or Pending(), pause=0.0)
        )
    return found


def test_what_is_pending_is_told_and_then_what_changes() -> None:
    events = [
        WatchEvent("ADDED", counted("b", "0/2")),
        WatchEvent("MODIFIED", counted("b", "0/2")),
        WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        WatchEvent("MODIFIED", counted("b", "1/2")),
        WatchEvent("MODIFIED", counted("b", "2/2", "Approved")),
        WatchEvent("MODIFIED", counted("b", "2/2", "Executed")),
        WatchEvent("DELETED", counted("a", "0/1")),
        WatchEvent("ADDED", counted("c", "0/1", "Denied")),
    ]
    source = Source([[counted("a", "0/1"), counted("old", "1/1", "Executed")], []], [events])
    assert told(source) == [
        ("a", "Pending", "0/1"),
        ("b", "Pending", "0/2"),
        ("b", "Pending", "1/2"),
        ("b", "Approved", "2/2"),
        ("a", "Pending", "0/1"),
    ]


def test_a_lost_watch_is_taken_up_again_and_nothing_is_told_twice() -> None:
    a, b = counted("a", "0/1"), counted("b", "0/1")
    lost: list[list[WatchEvent] | Exception] = [
        UnreachableError("cut"),
        [WatchEvent("ERROR", {"code": 410})],
        RefusedError("watch", 500),
        [],
    ]
    source = Source([[a], [a], UnreachableError("still away"), [a, b]], lost)
    pending = Pending()
    assert told(source, pending) == [("a", "Pending", "0/1"), ("b", "Pending", "0/1")]
    assert pending.trouble == ""


def test_what_vanished_meanwhile_is_no_longer_shown() -> None:
    pending = Pending()
    assert told(Source([[counted("a", "0/1")], []], [[]]), pending)
    assert pending.rows(0.0) == []


def test_trouble_is_shown_while_it_lasts() -> None:
    pending = Pending()
    source = Source([[], UnreachableError("no route"), KeyboardInterrupt()], [UnreachableError("cut")])
    assert told(source, pending) == []
    assert "trying again: no route" in pending.trouble


def test_a_first_list_that_fails_ends_it() -> None:
    with pytest.raises(RefusedError):
        next(follow(Source([RefusedError("list", 403, "Forbidden", "no")], []), Pending(), pause=0.0))
