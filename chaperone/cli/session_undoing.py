"""The steps of an undo: look at what stands there, plan, send, and plan again when somebody was faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, assert_never

from chaperone.cli.session_gateway import Gateway, Kind, WaitingError
from chaperone.core.changes import Change, Net, Target
from chaperone.core.changes_fields import Object, named, spelled, told, with_values
from chaperone.core.changes_shown import Line, difference_lines, shown_value
from chaperone.core.legible import visible
from chaperone.core.undo import (
    DEFINITIONS,
    NAMESPACES,
    Around,
    Create,
    Delete,
    Done,
    Impossible,
    Plan,
    Put,
    Skip,
    hopeless,
    plan,
)
from chaperone.kube.errors import KubeError, RefusedError, UnreachableError
from chaperone.kube.official import Resource

TRIES = 5
"""Plans of one object, when each time somebody else was faster."""
PAUSE = 1.0
SERVED_WITHIN = 30
"""Looks, one each PAUSE (seconds), for a kind whose definition has just been made again."""
REPLICAS = ("spec", "replicas")
ALWAYS_THERE = frozenset(
    {
        ("", "serviceaccounts", "default"),
        ("", "configmaps", "kube-root-ca.crt"),
        ("", "configmaps", "openshift-service-ca.crt"),
    }
)
"""What every namespace has without anybody's doing."""
NOT_COUNTED = frozenset(
    {("", "events"), ("events.k8s.io", "events"), ("", "endpoints"), ("metrics.k8s.io", "pods")}
)


class Ended(StrEnum):
    """What came of one change."""

    RESTORED = "restored"
    IN_PART = "restored in part"
    WOULD = "would be restored"
    WOULD_IN_PART = "would be restored in part"
    NOTHING = "nothing to do"
    IMPOSSIBLE = "cannot be restored"
    SKIPPED = "skipped"
    REFUSED = "refused"
    WAITING = "waiting for approval"
    FAILED = "failed"

    @property
    def is_fine(self) -> bool:
        """Whether all that could be done was done."""
        return self not in (Ended.SKIPPED, Ended.REFUSED, Ended.WAITING, Ended.FAILED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """why: in words. lines: what came back, or would. is_new: it was made again."""

    target: Target
    ended: Ended
    why: str = ""
    lines: tuple[Line, ...] = ()
    is_new: bool = False


class Undoing:
    """changes: all of the run, in the order in which they are undone. tell: says something while it goes on."""

    def __init__(
        self,
        gateway: Gateway,
        changes: Sequence[Change],
        *,
        force: bool,
        dry_run: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._force = force
        self._dry_run = dry_run
        self._tell = tell
        self._made = {
            (c.target.group, c.target.resource, c.target.namespace, c.target.name): c.uid for c in changes
        }
        self._scales = {
            _main(c.target): c.fields.get(REPLICAS) for c in changes if c.target.subresource == "scale"
        }
        self._deleted = {_main(change.target) for change in changes if change.net is Net.DELETED}
        self._missing = {change.target for change in changes if change.net is Net.DELETED}

    def look(self, change: Change) -> Plan:
        """What is to be done as things stand now. Raises KubeError."""
        if hopeless(change) or change.net in (Net.SAME, Net.PASSING):
            return plan(change, None, Around())
        if self._ground(change) is not None:
            return (
                plan(change, None, Around(force=self._force))
                if change.net is Net.DELETED
                else Put({}, change.fields)
            )
        kind = self._kind(change.target)
        if kind is None and change.net is Net.CREATED:
            return Done("it is gone, and so is its kind")
        if kind is None:
            return Impossible(
                f"the cluster does not serve {change.target.kind} in version {change.target.version}"
            )
        live = self._gateway.find(_path(change))
        if live is not None and not _metadata(live).get("deletionTimestamp"):
            self._missing.discard(change.target)
        if change.target.subresource and _main(change.target) in self._deleted:
            change = replace(change, uid="")  # of the object that stands there again
        return plan(change, live, self._around(change, kind, live))

    def preview(self, change: Change) -> Plan:
        """The same for a person, who sees the others too when one cannot be looked at. Raises nothing."""
        try:
            return self.look(change)
        except KubeError as error:
            message = error.message if isinstance(error, RefusedError) else ""
            return Skip(f"it cannot be looked at: {_line(message or str(error))}")

    def undo(self, change: Change) -> Outcome:
        """Raises nothing but what ends the whole undo: an answer that never came is told as failed."""
        try:
            return self._undo(change)
        except WaitingError as held:
            words = f"ApprovalRequest {held.name}; run this again when it is approved"
            if self._dry_run:
                words = f"a person has to approve it (and held this dry run too: ApprovalRequest {held.name})"
            return Outcome(change.target, Ended.WAITING, words)
        except RefusedError as error:
            ended = Ended.REFUSED if error.code in (401, 403) else Ended.FAILED
            return Outcome(change.target, ended, f"{error.code}: {_line(error.message or str(error))}")
        except UnreachableError as error:
            return Outcome(
                change.target, Ended.FAILED, f"{_line(str(error))}; it may have been done: run this again"
            )
        except KubeError as error:
            return Outcome(change.target, Ended.FAILED, _line(str(error)))

    def _undo(self, change: Change) -> Outcome:
        for tries in range(TRIES):
            planned = self.look(change)
            if (ground := self._ground(change)) is not None and isinstance(planned, Create | Put):
                return self._without(change, ground)
            try:
                return self._act(change, planned)
            except RefusedError as error:
                if error.code != 409 or tries == TRIES - 1:
                    raise
                self._tell("somebody else was faster; looking again")
        raise AssertionError("the last try returns or raises")

    def _act(self, change: Change, planned: Plan) -> Outcome:
        match planned:
            case Done(why):
                return Outcome(change.target, Ended.NOTHING, why)
            case Impossible(why):
                return Outcome(change.target, Ended.IMPOSSIBLE, why)
            case Skip(why, forceable):
                return Outcome(change.target, Ended.SKIPPED, f"{why} (--force insists)" if forceable else why)
            case Delete(uid, version):
                self._gateway.delete(_path(change), uid=uid, resource_version=version, dry_run=self._dry_run)
                return self._ended(change, planned, change.after, None)
            case Put(body):
                answer = self._gateway.replace(_path(change), body, dry_run=self._dry_run)
                return self._ended(change, planned, _now(body, planned), answer)
            case Create(body):
                place = change.target
                collection = _resource(place).path(namespace=place.namespace)
                answer = self._gateway.create(collection, body, dry_run=self._dry_run)
                self._is_there_again(change)
                return self._ended(change, planned, None, answer)
            case _:
                assert_never(planned)

    def _ended(
        self, change: Change, planned: Delete | Put | Create, before: Object | None, after: Object | None
    ) -> Outcome:
        left = planned.left if isinstance(planned, Put) else ()
        whole, part = (Ended.WOULD, Ended.WOULD_IN_PART) if self._dry_run else (Ended.RESTORED, Ended.IN_PART)
        words = "; ".join([_deed(planned), *left, *planned.remarks])
        lines = tuple(difference_lines(before, after))
        return Outcome(change.target, part if left else whole, words, lines, isinstance(planned, Create))

    # What has to be known

    def _ground(self, change: Change) -> Target | None:
        """What an object needs, and the run has deleted: its namespace, its definition; of a scale, the object."""
        place = change.target
        needed = (
            (*NAMESPACES, "", place.namespace),
            (*DEFINITIONS, "", f"{place.resource}.{place.group}"),
            (place.group, place.resource, place.namespace, place.name),
        )
        others = (each for each in self._missing if each != place)
        return next(
            (each for each in others if (each.group, each.resource, each.namespace, each.name) in needed),
            None,
        )

    def _without(self, change: Change, ground: Target) -> Outcome:
        if self._dry_run:
            return Outcome(change.target, Ended.WOULD, f"after {ground.words}, so it was not tried")
        return Outcome(change.target, Ended.SKIPPED, f"{ground.words} is not there")

    def _is_there_again(self, change: Change) -> None:
        if self._dry_run:
            return
        self._missing.discard(change.target)
        if (change.target.group, change.target.resource) == DEFINITIONS:
            self._gateway.forget_kinds()

    def _kind(self, place: Target) -> Kind | None:
        """Waits for one whose definition was made again a moment ago."""
        definition = (*DEFINITIONS, "", f"{place.resource}.{place.group}")
        for _ in range(SERVED_WITHIN if definition in self._made and not self._dry_run else 1):
            kind = self._gateway.kind(place.group, place.version, place.resource)
            if kind is not None:
                return kind
            self._gateway.forget_kinds()
            time.sleep(PAUSE)
        return None

    def _around(self, change: Change, kind: Kind, live: Object | None) -> Around:
        owners: frozenset[str] = frozenset()
        tenants: tuple[str, ...] = ()
        unseen = ""
        if change.net is Net.DELETED:
            owners = frozenset(self._owners(change))
        elif change.net is Net.CREATED and live is not None and not self._force:
            tenants, unseen = self._tenants(change.target, live)
        return Around(
            api_version=kind.api_version,
            kind=kind.kind,
            owners=owners,
            tenants=tenants,
            unseen=unseen,
            scale=self._scales.get(_main(change.target)),
            force=self._force,
        )

    def _owners(self, change: Change) -> Iterator[str]:
        """The uids of its owners that are there."""
        metadata = (change.before or {}).get("metadata") or {}
        for owner in metadata.get("ownerReferences") or []:
            kind = self._gateway.kind_named(str(owner.get("apiVersion")), str(owner.get("kind")))
            if kind is None:
                continue
            namespace = change.target.namespace if kind.namespaced else ""
            found = self._gateway.find(kind.resource.path(str(owner.get("name")), namespace=namespace))
            if found is not None and found["metadata"].get("uid") == owner.get("uid"):
                yield str(owner["uid"])

    def _tenants(self, place: Target, live: Object) -> tuple[tuple[str, ...], str]:
        """(what others have in a namespace or of a kind, why that cannot be seen)."""
        try:
            if (place.group, place.resource) == NAMESPACES:
                return tuple(self._inhabitants(place.name)), ""
            if (place.group, place.resource) == DEFINITIONS:
                return tuple(self._specimens(live)), ""
        except RefusedError as error:
            return (), _line(error.message or str(error))
        return (), ""

    def _inhabitants(self, namespace: str) -> Iterator[str]:
        for kind in self._gateway.namespaced_kinds():
            group, plural = kind.resource.group, kind.resource.plural
            if (group, plural) not in NOT_COUNTED:
                yield from self._others(kind.resource, namespace)

    def _specimens(self, definition: Object) -> Iterator[str]:
        spec: Any = definition.get("spec") or {}
        version = next((each["name"] for each in spec.get("versions") or [] if each.get("served")), "")
        resource = Resource(
            str(spec.get("group")), str(version), str((spec.get("names") or {}).get("plural"))
        )
        return self._others(resource, "")

    def _others(self, resource: Resource, namespace: str) -> Iterator[str]:
        """What the run did not make, and nothing else owns."""
        for item in self._gateway.items(resource.path(namespace=namespace)):
            metadata = item.get("metadata") or {}
            name, place = str(metadata.get("name")), str(metadata.get("namespace") or "")
            made = self._made.get((resource.group, resource.plural, place, name))
            automatic = (resource.group, resource.plural, name) in ALWAYS_THERE
            token = item.get("type") == "kubernetes.io/service-account-token"
            if not (made or automatic or token or metadata.get("ownerReferences")):
                yield f"{resource.plural} {name}"


def plan_lines(change: Change, planned: Plan) -> Iterator[str]:
    """What is going to be done, and what not."""
    words = change.target.words
    match planned:
        case Delete():
            yield f"delete    {words}"
        case Create(_, remarks):
            yield f"create    {words}"
            yield from (f"          {remark}" for remark in remarks)
        case Put(_, fields, left, remarks):
            yield f"put back  {words}"
            for name, field in told(fields):
                yield f"          {name}: {shown_value(field.before)} -> {shown_value(field.after)}"
            yield from (f"          {remark}" for remark in (*left, *remarks))
        case Done(why):
            yield f"nothing   {words}: {why}"
        case Skip(why, forceable):
            yield f"skip      {words}: {why}" + (" (--force insists)" if forceable else "")
        case Impossible(why):
            yield f"cannot    {words}: {why}"
        case _:
            assert_never(planned)


def _deed(planned: Delete | Put | Create) -> str:
    match planned:
        case Delete():
            return "deleted"
        case Create():
            return "made again"
        case Put(_, fields):
            return f"put back {named(map(spelled, fields))}"


def _now(body: Object, planned: Put) -> Object:
    """The object as it is, from the one that is sent."""
    return with_values(body, {path: field.before for path, field in planned.fields.items()})


def _main(place: Target) -> Target:
    return place._replace(subresource="", version="")


def _metadata(obj: Object) -> Object:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _resource(place: Target) -> Resource:
    return Resource(place.group, place.version, place.resource)


def _path(change: Change) -> str:
    place = change.target
    subresource = "scale" if change.scaled else place.subresource
    return _resource(place).path(place.name, namespace=place.namespace, subresource=subresource)


def _line(text: str) -> str:
    return visible(" ".join(text.split()), 1000)
