"""What a run changed, as lines for people and as plain data for programs. Pure; everything strangers wrote is legible.

Lines carry a kind, which a terminal may colour; without colours they say the same. The output is bounded, and what was
left out is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from chaperone.core.changes import Change, Effect, Net, Write
from chaperone.core.changes_fields import (
    ABSENT,
    LAST_APPLIED,
    FieldChange,
    named,
    spelled,
    told,
    with_values,
)
from chaperone.core.changes_recorded import Story
from chaperone.core.legible import visible
from chaperone.core.preview_diff import difference

MOST_OBJECTS = 200
"""Objects that are shown with their differences; of more there is only the number."""
MOST_FIELDS = 40
"""Fields that are listed of one object."""
MOST_EFFECTS = 100
MOST_VALUE = 120
"""Characters of one value in a list of fields."""


class Tone(Enum):
    """What a line is."""

    PLAIN = "plain"
    TITLE = "title"
    QUIET = "quiet"
    ADDED = "added"
    REMOVED = "removed"
    WARNING = "warning"


class Line(NamedTuple):
    text: str
    tone: Tone = Tone.PLAIN


def story_lines(story: Story) -> Iterator[Line]:
    """All of it: objects, then what has no states, then what changed nothing."""
    shown = [change for change in story.changes if change.net not in (Net.SAME, Net.PASSING)]
    for change in shown[:MOST_OBJECTS]:
        yield from change_lines(change)
        yield Line("")
    if len(shown) > MOST_OBJECTS:
        more = len(shown) - MOST_OBJECTS
        yield Line(
            f"… and {more} more objects: name one with --object, or have all with -o json", Tone.WARNING
        )
    for change in story.changes:
        if change not in shown:
            yield Line(f"{change.target.words}: {change.net.value}", Tone.QUIET)
    yield from _effects("also done, with no state of an object to compare:", story.effects)
    for count, what in ((len(story.failed), "refused or failed"), (len(story.dry), "dry runs")):
        if count:
            yield Line(f"{count} writes changed nothing: {what}", Tone.QUIET)


def change_lines(change: Change) -> Iterator[Line]:
    """One object: what came of it, by which requests, its fields, its difference."""
    yield Line(f"{change.target.words}: {change.net.value}", Tone.TITLE)
    for write in change.writes[:MOST_FIELDS]:
        yield Line(f"  {_request(write)}", Tone.QUIET)
    if change.why:
        yield Line(f"  {visible(change.why, 600)}", Tone.WARNING)
    for remark in change.remarks:
        yield Line(f"  {visible(remark, 600)}", Tone.WARNING)
    if change.others:
        yield Line(
            f"  changed by somebody else in between, and not shown: {named(map(spelled, change.others))}",
            Tone.WARNING,
        )
    for field in field_lines(change):
        yield Line(f"  {field}")
    yield from _difference(change)


def field_lines(change: Change) -> Iterator[str]:
    """`spec.replicas: 3 -> 0`, one line a field."""
    listed = 0
    for name, field in told(change.fields):
        listed += 1
        if listed <= MOST_FIELDS:
            yield f"{name}: {shown_value(field.before)} -> {shown_value(field.after)}"
    if listed > MOST_FIELDS:
        yield f"… and {listed - MOST_FIELDS} more fields"


def shown_value(value: Any) -> str:
    """As JSON, on one line; a text without quotes where nothing else could be meant."""
    if value is ABSENT:
        return "(none)"
    if isinstance(value, str) and value and visible(value) == value and json.dumps(value) == f'"{value}"':
        return visible(value, MOST_VALUE)
    return visible(json.dumps(value, ensure_ascii=False, sort_keys=True), MOST_VALUE)


def _request(write: Write) -> str:
    approved = f", approved as {write.approval}" if write.approval else ""
    return visible(f"{write.time}  {write.verb}  {write.code or '-'}  {write.audit_id}{approved}", 400)


def _difference(change: Change) -> Iterator[Line]:
    if change.before is None and change.after is None:
        return
    if change.net is Net.UNKNOWN and (change.before is None or change.after is None):
        yield Line("  only one of its states is known", Tone.WARNING)
        return
    yield from difference_lines(change.before, change.after, status=change.target.subresource == "status")


def difference_lines(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, *, status: bool = False
) -> Iterator[Line]:
    """A unified diff of two states that were masked before, None for none."""
    found = difference(_without_copy(before), _without_copy(after), status=status, masked=True)
    for line in found.text.splitlines():
        yield Line(f"  {line}", _tone(line))


def _without_copy(obj: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """kubectl's copy of what was applied would show every change twice."""
    return None if obj is None else with_values(obj, {LAST_APPLIED: ABSENT})


def _tone(line: str) -> Tone:
    if line.startswith(("---", "+++", "@@")):
        return Tone.QUIET
    return {"+": Tone.ADDED, "-": Tone.REMOVED}.get(line[:1], Tone.PLAIN)


def _effects(title: str, effects: Sequence[Effect]) -> Iterator[Line]:
    if effects:
        yield Line(title, Tone.TITLE)
    for effect in effects[:MOST_EFFECTS]:
        yield Line(f"  {visible(effect.time, 40)}  {visible(effect.what, 400)}  ({visible(effect.why, 300)})")
    if len(effects) > MOST_EFFECTS:
        yield Line(f"  … and {len(effects) - MOST_EFFECTS} more", Tone.WARNING)


# For programs


def story_data(run: str, story: Story) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "run": run,
        "changes": [change_data(change) for change in story.changes],
        "effects": [_effect(effect) for effect in story.effects],
        "failed": [_effect(effect) for effect in story.failed],
        "dryRuns": [_effect(effect) for effect in story.dry],
        "requestsWithMissingRecords": story.torn,
    }


def change_data(change: Change) -> dict[str, Any]:
    """before, after: the object without and with what the run did; null where there was none, or it is not known."""
    return {
        "object": change.target._asdict() | {"uid": change.uid},
        "change": change.net.value,
        "why": change.why,
        "remarks": list(change.remarks),
        "fields": [_field(spelled(path), field) for path, field in change.fields.items()],
        "changedByOthers": [spelled(path) for path in change.others],
        "before": change.before,
        "after": change.after,
        "requests": [_write(write) for write in change.writes],
    }


def _field(path: str, field: FieldChange) -> dict[str, Any]:
    """A side that has no such field is left out."""
    sides = {"before": field.before, "after": field.after}
    return {"path": path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def _write(write: Write) -> dict[str, Any]:
    return {
        "auditID": write.audit_id,
        "time": write.time,
        "verb": write.verb,
        "subresource": write.target.subresource or ("scale" if write.partial else ""),
        "code": write.code,
        "approval": write.approval,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {"auditID": effect.audit_id, "time": effect.time, "what": effect.what, "why": effect.why}
