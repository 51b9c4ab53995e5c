"""What a run changed: its recorded writes, folded to one net change for each object. Pure.

A change is made of the fields that the run itself has changed. What others changed in between is seen as the difference
between one write's result and what the next one found; it is named, and no part of the run's change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from chaperone.core.changes_fields import (
    FieldChange,
    Fields,
    Object,
    Path,
    differences,
    is_controllers,
    same,
    steady,
    with_values,
)
from chaperone.core.legible import visible

UNSEEN = "what was there when it was deleted is not recorded"


class Target(NamedTuple):
    """An object, or what a subresource of it holds. namespace "": of the whole cluster."""

    group: str
    version: str
    resource: str
    namespace: str
    name: str
    subresource: str = ""

    @property
    def kind(self) -> str:
        """`deployments.apps`, `nodes/status`."""
        group = f".{self.group}" if self.group else ""
        return f"{self.resource}{group}" + (f"/{self.subresource}" if self.subresource else "")

    @property
    def words(self) -> str:
        """`deployments.apps shop/web`, legible."""
        place = f"{self.namespace}/" if self.namespace else ""
        return visible(f"{self.kind} {place}{self.name}", 600)


@dataclass(frozen=True, slots=True)
class Present:
    """object: as it was recorded, masked."""

    object: Object


@dataclass(frozen=True, slots=True)
class Absent:
    """There was none."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """reason: why the record does not say, in words."""

    reason: str


State = Present | Absent | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One recorded request that wrote one object. time: RFC 3339, of its end. uid: "" where no state has one.
    partial: of scale, whose states hold nothing but `spec.replicas`. approval: the ApprovalRequest it was let through by.
    """

    audit_id: str
    time: str
    verb: str
    target: Target
    before: State
    after: State
    uid: str = ""
    code: int = 0
    approval: str = ""
    partial: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """A request that changed something of which there is no state, or one that changed nothing. what, why: in words."""

    audit_id: str
    time: str
    what: str
    why: str


class Net(Enum):
    """What came of an object in the end."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    REPLACED = "replaced"
    PASSING = "created and deleted"
    SAME = "as before"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one run did to one object.

    before, after: the object without and with the run's change, None where there was none or it is not known; uid:
    of the latest one. fields: what the run changed, for CHANGED and REPLACED. others: what somebody else changed between
    the run's writes. why: of UNKNOWN. scaled: by nothing but its subresource scale.
    """

    target: Target
    net: Net
    before: Object | None = None
    after: Object | None = None
    uid: str = ""
    fields: Fields = field(default_factory=dict)
    others: tuple[Path, ...] = ()
    writes: tuple[Write, ...] = ()
    why: str = ""
    scaled: bool = False
    remarks: tuple[str, ...] = ()


def fold(writes: Iterable[Write]) -> tuple[Change, ...]:
    """One change for each object, in the order in which they were last written. writes: in their order."""
    found: dict[tuple[str, ...], list[Write]] = {}
    for write in writes:
        place = write.target
        key = (place.group, place.resource, place.subresource, place.namespace, place.name)
        found[key] = [*found.pop(key, ()), write]
    return _told_apart([net_change(each) for each in found.values()])


def net_change(writes: Sequence[Write]) -> Change:
    """Of one object, at least one write."""
    known = _inferred(_widened(writes))
    made = Change(
        target=known[-1].target,
        net=Net.UNKNOWN,
        uid=_uid_of(known[-1].after) or _uid_of(known[-1].before) or known[-1].uid,
        others=tuple(_between(known)),
        writes=tuple(writes),
        scaled=all(write.partial for write in known),
        remarks=tuple(dict.fromkeys(remark for write in known for remark in write.remarks)),
    )
    if fault := _taken_over(known):
        return replace(made, why=fault)
    match known[0].before, known[-1].after:
        case Absent(), Absent():
            return replace(made, net=Net.PASSING)
        case Absent(), Present(latest):
            return replace(made, net=Net.CREATED, after=latest)
        case Absent(), Unknown(reason):
            return replace(made, net=Net.CREATED, why=reason)
        case Unknown(reason), Absent():
            return replace(made, net=Net.DELETED, why=reason)
        case Present(), Absent():
            return _deleted(made, known)
        case Present(), Present(latest) if _was_away(known):
            return _replaced(made, known, latest)
    return _changed(made, known)


# States that other writes tell


def _widened(writes: Sequence[Write]) -> list[Write]:
    """What a write of the scale found and left, as states of the whole object where another write tells these."""
    wide = list(writes)
    for order in (range(len(wide)), range(len(wide) - 1, -1, -1)):
        latest: State = Unknown("")
        for at in order:
            write = wide[at]
            if write.partial and isinstance(latest, Present):
                states = [_overlaid(latest.object, state) for state in (write.before, write.after)]
                write = wide[at] = replace(write, before=states[0], after=states[1], partial=False)
            if not write.partial:
                latest = write.after if order.step > 0 else write.before
    return wide


def _overlaid(whole: Object, part: State) -> State:
    if not isinstance(part, Present):
        return part
    return Present(
        with_values(whole, {path: change.after for path, change in differences({}, part.object).items()})
    )


def _inferred(writes: list[Write]) -> list[Write]:
    """Where a state is not known, the neighbour's is the next best, and it is said so."""
    for at in range(len(writes) - 1):
        one, other = writes[at], writes[at + 1]
        if isinstance(one.after, Unknown) and not isinstance(other.before, Unknown):
            said = (
                f"what request {one.audit_id} left is not recorded; what the next one found is taken for it"
            )
            writes[at] = replace(one, after=other.before, remarks=(*one.remarks, said))
        elif isinstance(other.before, Unknown) and not isinstance(one.after, Unknown):
            said = f"what request {other.audit_id} found is not recorded; what the one before left is taken for it"
            writes[at + 1] = replace(other, before=one.after, remarks=(*other.remarks, said))
    return writes


def _steps(writes: Sequence[Write]) -> Iterator[tuple[State, State]]:
    """What each write left, and what the next one found."""
    return ((one.after, other.before) for one, other in pairwise(writes))


def _between(writes: Sequence[Write]) -> dict[Path, None]:
    """What somebody else changed between the run's writes."""
    seen: dict[Path, None] = {}
    for left, found in _steps(writes):
        if isinstance(left, Present) and isinstance(found, Present):
            seen.update(dict.fromkeys(_fields(writes[0].target, left.object, found.object)))
    return {path: None for path in seen if not is_controllers(path)}


def _taken_over(writes: Sequence[Write]) -> str:
    """Why what became of the object is not the run's own doing; "" when it is."""
    for left, found in _steps(writes):
        if isinstance(found, Present) and (isinstance(left, Absent) or _other_uid(left, found)):
            return "somebody else made it anew between two writes of the run"
    return ""


def _other_uid(one: State, other: State) -> bool:
    uids = {_uid_of(one), _uid_of(other)} - {""}
    return len(uids) > 1


def _uid_of(state: State) -> str:
    metadata = state.object.get("metadata") if isinstance(state, Present) else None
    return str(metadata.get("uid") or "") if isinstance(metadata, Mapping) else ""


def _was_away(writes: Sequence[Write]) -> bool:
    return any(isinstance(write.after, Absent) or isinstance(write.before, Absent) for write in writes)


def _versions(writes: Sequence[Write]) -> str:
    """Why its states cannot be compared; "" when they can."""
    versions = sorted({write.target.version for write in writes})
    if len(versions) == 1:
        return ""
    return f"it was written in several versions of its kind ({', '.join(versions)}), which cannot be compared"


# What the run itself did


def _fields(target: Target, before: Object, after: Object) -> dict[Path, FieldChange]:
    status = target.subresource == "status"
    found = differences(steady(before, status=status), steady(after, status=status))
    return {path: change for path, change in found.items() if not status or path[:1] == ("status",)}


def _hidden(writes: Iterable[Write]) -> list[Unknown]:
    return [state for write in writes for state in (write.before, write.after) if isinstance(state, Unknown)]


def _own(writes: Iterable[Write]) -> dict[Path, FieldChange]:
    """The fields that the writes changed, from the first value before to the last after."""
    own: dict[Path, FieldChange] = {}
    for write in writes:
        if isinstance(write.before, Present) and isinstance(write.after, Present):
            for path, change in _fields(write.target, write.before.object, write.after.object).items():
                own[path] = FieldChange(own.get(path, change).before, change.after)
    return {path: change for path, change in sorted(own.items()) if not same(*change)}


def _undone(writes: Sequence[Write]) -> Object | None:
    """The object as it was when it first went, without what the run had changed before; where not all of that is known,
    as the run first found it."""
    away = next((at for at, write in enumerate(writes) if isinstance(write.after, Absent)), 0)
    first, last = writes[0].before, writes[away].before
    if _versions(writes) or not isinstance(last, Present):
        return None
    if isinstance(first, Present) and _hidden(writes[:away]):
        return first.object
    return with_values(last.object, {path: change.before for path, change in _own(writes[:away]).items()})


def _deleted(made: Change, writes: Sequence[Write]) -> Change:
    before = _undone(writes)
    why = "" if before is not None else _versions(writes) or UNSEEN
    return replace(made, net=Net.DELETED, before=before, why=why)


def _replaced(made: Change, writes: Sequence[Write], latest: Object) -> Change:
    before = _undone(writes)
    if before is None:
        return replace(made, after=latest, why=_versions(writes) or UNSEEN)
    fields = _fields(made.target, before, latest)
    return replace(made, net=Net.REPLACED, before=before, after=latest, fields=fields)


def _changed(made: Change, writes: Sequence[Write]) -> Change:
    first, last = writes[0].before, writes[-1].after
    hidden = [
        state for write in writes for state in (write.before, write.after) if isinstance(state, Unknown)
    ]
    why = hidden[0].reason if hidden else _versions(writes)
    if why or not isinstance(first, Present):
        before = first.object if isinstance(first, Present) else None
        return replace(made, before=before, after=last.object if isinstance(last, Present) else None, why=why)
    fields = _own(writes)
    after = with_values(first.object, {path: change.after for path, change in fields.items()})
    net = Net.CHANGED if fields else Net.SAME
    return replace(made, net=net, before=first.object, after=after, fields=fields)


def _told_apart(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Where one object was written under two names of its kind, both say so."""
    names: dict[str, list[Target]] = {}
    for change in changes:
        if change.uid and not change.target.subresource:
            names.setdefault(change.uid, []).append(change.target)
    return tuple(
        replace(each, remarks=(*each.remarks, *_also(each, names.get(each.uid, [])))) for each in changes
    )


def _also(change: Change, targets: Sequence[Target]) -> list[str]:
    others = [target.words for target in targets if target != change.target]
    return [
        f"the same object was written as {words} too" for words in others if not change.target.subresource
    ]
