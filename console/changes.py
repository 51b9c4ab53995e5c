"""The page of what a run changed, object by object, from before to after: read from its records, masked as these are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from flask import abort, render_template, request, url_for

from chaperone.core import session as runs
from chaperone.core.chain import read_sealed
from chaperone.core.changes import Change, Net
from chaperone.core.changes_fields import named, spelled
from chaperone.core.changes_recorded import Story, read_story
from chaperone.core.changes_shown import Line, Tone, difference_lines, field_lines
from chaperone.core.session import Session
from chaperone.store.interface import AuditStore, Found
from console import audit
from console.guarding import found, require, services, shown
from console.sessions import KIND, ROLE, pages

OBJECTS = 10
"""Objects of one page."""
MOST_RECORDS = 500
MOST_BYTES = 6 * 1024 * 1024
"""Of the records that a page is made of, and that it may take a moment to compare."""
PIECE = 200
MOST_LINES = 400
"""Of one object."""
PATIENCE = 0.15
"""Seconds after which no further object is compared; at least one is."""
MOST_EFFECTS = 100


@pages.get("/<name>/changes")
def changed(name: str) -> str:
    require("get", KIND, name, role=ROLE)
    require("get", audit.KIND, role=ROLE)
    obj = found(services().cluster.session(name), "AgentSession")
    session = runs.read(obj)
    if not session.key[2]:
        abort(404, "this caller names no run: its changes are found in the audit, by its user")
    records, cut = read_writes(audit.the_store(), session, str(obj["spec"]["username"]))
    story = read_story(entry.record for entry in records)
    changes = [change for change in story.changes if change.net not in (Net.SAME, Net.PASSING)]
    start = _start()
    shown_now = _compared(changes[start : start + OBJECTS])
    following = start + len(shown_now)
    return render_template(
        "changes.html",
        name=shown(name),
        run=shown(session.key[2]),
        agent=shown(obj["spec"].get("agent") or obj["spec"]["username"]),
        total=len(changes),
        start=start,
        objects=shown_now,
        following=url_for("sessions.changed", name=name, start=following) if following < len(changes) else "",
        cut=cut,
        edited=sum(not is_intact(entry) for entry in records),
        **_rest(story, len(changes)),
    )


def read_writes(store: AuditStore, session: Session, user: str) -> tuple[list[Found], bool]:
    """The first records of the run's writes, oldest first, and whether there are more than a page is made of."""
    records: list[Found] = []
    size, cursor = 0, ""
    while True:
        page = store.timeline(
            session.key[2], limit=PIECE, after=cursor, issuer=session.key[0], user=user, writes=True
        )
        for entry in page.records:
            size += len(entry.line)
            if len(records) == MOST_RECORDS or (records and size > MOST_BYTES):
                return records, True
            records.append(entry)
        cursor = page.cursor
        if not cursor:
            return records, False


def is_intact(entry: Found) -> bool:
    """Whether the record is what was written, in its place."""
    sealed = read_sealed(entry.line)
    return sealed is not None and sealed.is_intact and sealed.link[:2] == (entry.writer, entry.sequence)


def _start() -> int:
    text = request.args.get("start", "0")
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        abort(400, "start: a number of an object in this list")
    return int(text)


def _compared(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """As many of them as can be compared in time."""
    until, made = time.monotonic() + PATIENCE, list[dict[str, Any]]()
    for change in changes:
        if made and time.monotonic() > until:
            break
        made.append(_object(change))
    return made


def _object(change: Change) -> dict[str, Any]:
    """Its lines are legible; the template escapes them."""
    lines = list(islice(_lines(change), MOST_LINES + 1))
    requests = [
        {"id": shown(write.audit_id), "words": shown(f"{write.verb} {write.time}")}
        for write in change.writes[:OBJECTS]
    ]
    return {
        "title": f"{change.target.words}: {change.net.value}",
        "requests": requests,
        "more_requests": len(change.writes) - len(requests),
        "lines": [(line.text.removeprefix("  "), line.tone.value) for line in lines[:MOST_LINES]],
        "cut": len(lines) > MOST_LINES,
    }


def _lines(change: Change) -> Iterator[Line]:
    for said in (change.why, *change.remarks):
        if said:
            yield Line(shown(said, 600), Tone.WARNING)
    if change.others:
        others = named(map(spelled, change.others))
        yield Line(f"changed by somebody else in between, and not shown: {others}", Tone.WARNING)
    yield from (Line(field) for field in field_lines(change))
    half_known = change.net is Net.UNKNOWN and (change.before is None or change.after is None)
    if not half_known and (change.before, change.after) != (None, None):
        status = change.target.subresource == "status"
        yield from difference_lines(change.before, change.after, status=status)


def _rest(story: Story, changed: int) -> dict[str, Any]:
    """What is no change of an object, in words and numbers."""
    effects = [
        (shown(effect.time), shown(effect.what, 600), shown(effect.why, 300), shown(effect.audit_id))
        for effect in story.effects
    ]
    return {
        "effects": effects[:MOST_EFFECTS],
        "more_effects": max(0, len(effects) - MOST_EFFECTS),
        "unchanged": len(story.changes) - changed,
        "failed": len(story.failed),
        "dry": len(story.dry),
        "torn": story.torn,
    }
