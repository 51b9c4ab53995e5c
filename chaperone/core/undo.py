"""How one change of a run is taken back, given what stands there now. Pure: here it is said what to send, and no more.

Nobody else's work is undone. Fields go back where they still are as the run left them; what was created goes only while
it is what was created; what was deleted is made again only where nothing stands. What cannot be the same again is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.changes import Change, Net, Target
from chaperone.core.changes_fields import (
    ABSENT,
    FieldChange,
    Fields,
    Object,
    Path,
    differences,
    is_controllers,
    leaves,
    named,
    placeholders,
    same,
    solid,
    spelled,
    steady,
    value_at,
    with_values,
)
from chaperone.core.undo_creation import Made, Unmakeable, made_again, may_run_again, remade_by

NAMESPACES, DEFINITIONS = ("", "namespaces"), ("apiextensions.k8s.io", "customresourcedefinitions")
GROUND = frozenset(
    {
        ("", "serviceaccounts"),
        ("", "secrets"),
        ("", "configmaps"),
        ("", "persistentvolumes"),
        ("", "persistentvolumeclaims"),
        ("storage.k8s.io", "storageclasses"),
        ("scheduling.k8s.io", "priorityclasses"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "clusterroles"),
    }
)
"""What other objects stand on, and so is made again before them."""
SET_LATER: Mapping[tuple[str, str], tuple[Path, ...]] = {
    ("", "pods"): (("spec", "nodeName"), ("metadata", "annotations")),
    ("", "persistentvolumeclaims"): (("spec", "volumeName"),),
    ("", "persistentvolumes"): (("spec", "claimRef"),),
    ("", "serviceaccounts"): (("secrets",), ("imagePullSecrets",)),
}
"""Fields that the control plane fills in after an object was made."""


@dataclass(frozen=True, slots=True)
class Delete:
    """resource_version: as it was just read, so that what was looked at is what goes."""

    uid: str
    resource_version: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """An update with the live resourceVersion. fields: what goes back, from now to then; left: what cannot, and why."""

    body: Object
    fields: Mapping[Path, FieldChange]
    left: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """body: as it goes to the API server."""

    body: Object
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """There is nothing to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Skip:
    """It is left alone, though it could be done. forceable: when a person insists."""

    why: str
    forceable: bool = False


@dataclass(frozen=True, slots=True)
class Impossible:
    """Nothing can bring it back."""

    why: str


Plan = Delete | Put | Create | Done | Skip | Impossible


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What else has to be known. api_version, kind: of objects whose record says neither. owners: the uids of owners that
    are there. tenants: what others have put into a namespace, or made of a kind; unseen: why that is not known. scale:
    what the run did to the scale of it, where only a definition knows which field that is. force: a person insists."""

    api_version: str = ""
    kind: str = ""
    owners: frozenset[str] = frozenset()
    tenants: Sequence[str] = ()
    unseen: str = ""
    scale: FieldChange | None = None
    force: bool = False


def ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The newest first; what others stand on is made again before them, and goes after them."""
    newest = list(changes)[::-1]
    return tuple(sorted(newest, key=_rank))


def _rank(change: Change) -> int:
    kind = (change.target.group, change.target.resource)
    first, last = {NAMESPACES: 0, DEFINITIONS: 1}.get(kind, 3), {NAMESPACES: 5, DEFINITIONS: 4}.get(kind, 3)
    if change.net is Net.DELETED:
        return 2 if kind in GROUND else first
    return last if change.net is Net.CREATED else 3


def hopeless(change: Change) -> str:
    """Why a change can surely not be taken back, whatever stands there now; "" where that has to be looked at."""
    if change.target.subresource == "status":
        return "a status is what controllers report; they write it anew"
    if change.net is Net.UNKNOWN:
        return change.why
    if change.net is Net.CREATED and not change.uid:
        return f"which object it became is not known: {change.why}"
    if change.net is Net.DELETED and change.before is None:
        return change.why
    return ""


def plan(change: Change, live: Object | None, around: Around) -> Plan:
    """live: what stands there now, None for nothing; of a change of its scale alone, that of the scale."""
    if why := hopeless(change):
        return Impossible(why)
    match change.net:
        case Net.SAME:
            return Done("the run itself put back what it had changed")
        case Net.PASSING:
            return Done("the run itself deleted what it had created")
        case Net.CREATED:
            return _take_away(change, live, around)
        case Net.DELETED:
            return _bring_back(change, live, around)
    return _put_back(change, live)


# What was created


def _take_away(change: Change, live: Object | None, around: Around) -> Plan:
    if live is None:
        return Done("it is gone already")
    if _uid(live) != change.uid:
        return Skip("another object of that name stands there now")
    if _is_going(live):
        return Done("it is being deleted already")
    if not around.force and (why := _since(change, live, around.scale) or _inhabited(around)):
        return Skip(why, forceable=True)
    return Delete(change.uid, str(_metadata(live).get("resourceVersion") or ""))


def _since(change: Change, live: Object, scale: FieldChange | None) -> str:
    """What others have changed since; "" for nothing. Without a recorded state nobody can tell."""
    if change.after is None:
        return f"whether it was changed since is not known: {change.why}"
    later = SET_LATER.get((change.target.group, change.target.resource), ())
    foreign = [
        path
        for path, (was, now) in solid(differences(steady(change.after), steady(live))).items()
        if not is_controllers(path)
        and not _is_scale(path, FieldChange(was, now), scale)
        and path[:2] != ("metadata", "finalizers")
        and not any(path[: len(each)] == each for each in later)
    ]
    return f"others have changed it since: {named(map(spelled, foreign))}" if foreign else ""


def _is_scale(path: Path, field: FieldChange, scale: FieldChange | None) -> bool:
    """Whether a difference is what the run did by the subresource scale."""
    return scale is not None and path[0] == "spec" and all(map(same, field, scale))


def _inhabited(around: Around) -> str:
    if around.unseen:
        return f"what others have in it cannot be seen: {around.unseen}"
    return f"others have put into it what would go with it: {named(around.tenants)}" if around.tenants else ""


# What was changed


def _put_back(change: Change, live: Object | None) -> Plan:
    if live is None:
        return Skip("it was deleted since, by somebody else")
    if change.uid and _uid(live) and _uid(live) != change.uid:
        return Skip("another object of that name stands there now")
    if _is_going(live):
        return Impossible("it is being deleted")
    kept = placeholders(live)
    back: dict[Path, FieldChange] = {}
    conflicts: list[str] = []
    left: list[str] = []
    for path, (before, after) in change.fields.items():
        now = _now(live, path, change.fields)
        if same(now, before):
            continue
        if bool(placeholders(now)) is not bool(placeholders(after)):
            conflicts.append(
                f"{spelled(path)} (masked for only one of you and the run, so nobody can compare it)"
            )
        elif not same(now, after):
            conflicts.append(spelled(path))
        elif placeholders(before) - kept:
            left.append(f"{spelled(path)} held a masked value, which is not in the record")
        else:
            back[path] = FieldChange(now, before)
    if conflicts:
        return Skip(f"changed since by somebody else: {named(conflicts)}")
    if not back:
        return Impossible("; ".join(left)) if left else Done("it is as it was before the run")
    return _put(change, live, back, left)


def _now(live: Object, path: Path, fields: Fields) -> Any:
    """What stands there. A mapping in the place of an empty one, or of fields that the run made of it, is none itself."""
    now = value_at(live, path)
    if not (now and isinstance(now, Mapping)):
        return now
    of_the_run = {} in fields[path] or all((*path, *below) in fields for below in leaves(now))
    return ABSENT if of_the_run else now


def _put(change: Change, live: Object, back: Mapping[Path, FieldChange], left: Sequence[str]) -> Put:
    body = with_values(live, {path: field.after for path, field in back.items()})
    metadata = {key: value for key, value in _metadata(body).items() if key != "managedFields"}
    remarks = ("it stays the new object, with a new uid",) if change.net is Net.REPLACED else ()
    return Put({**body, "metadata": metadata}, back, tuple(left), remarks)


# What was deleted


def _bring_back(change: Change, live: Object | None, around: Around) -> Plan:
    before = change.before or {}
    if owner := remade_by(change.target, before):
        return Done(f"its controller makes it again: {owner}")
    made = made_again(change.target, _typed(before, around), around.owners)
    if live is not None:
        return _there_again(change.target, live, made, around)
    if isinstance(made, Unmakeable):
        return Impossible(made.why)
    if not around.force and (why := may_run_again(before)):
        return Skip(why, forceable=True)
    return Create(made.body, made.remarks)


def _there_again(target: Target, live: Object, made: Made | Unmakeable, around: Around) -> Plan:
    if _is_going(live):
        return Skip("its deletion is not over; run this again when it is gone")
    again = made_again(target, _typed(live, around), around.owners)
    differing = [
        path
        for path, (was, now) in solid(differences(made.body, again.body)).items()
        if not (placeholders(was) and placeholders(now))
        and not _is_scale(path, FieldChange(now, was), around.scale)
    ]
    if not differing:
        return Done("it is there again, as it was")
    return Skip(f"one of that name is there again, and differs: {named(map(spelled, differing))}")


def _typed(obj: Object, around: Around) -> Object:
    """Items of lists do not say what they are."""
    return {
        **obj,
        "apiVersion": obj.get("apiVersion") or around.api_version,
        "kind": obj.get("kind") or around.kind,
    }


# What they share


def _metadata(obj: Object) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _uid(obj: Object) -> str:
    return str(_metadata(obj).get("uid") or "")


def _is_going(obj: Object) -> bool:
    return bool(_metadata(obj).get("deletionTimestamp"))
