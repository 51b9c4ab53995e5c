"""Audit records of a run, read as what it changed: writes with the states of their objects, and what has no states. Pure.

The two records of a mutation belong together: RequestReceived (durable before it was forwarded) with what was found, and
ResponseComplete with what came of it. Where one of them is missing, that is told, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from chaperone.core.changes import Absent, Change, Effect, Present, State, Target, Unknown, Write, fold
from chaperone.core.changes_fields import Object
from chaperone.core.gate import describe
from chaperone.core.kubectl_command import command
from chaperone.core.legible import visible
from chaperone.core.recorded_request import Recorded, read, request_of
from chaperone.core.request import Request

Record = Mapping[str, Any]

RECEIVED, COMPLETE, PANIC = "RequestReceived", "ResponseComplete", "Panic"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
QUESTIONS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
"""Groups whose objects are answered and not kept."""
SCALED = {"": {"replicationcontrollers"}, "apps": {"deployments", "replicasets", "statefulsets"}}
"""By group: what keeps the replicas of its scale in `spec.replicas`. Elsewhere the definition says where."""
WITHOUT_STATE = {
    "exec": "what a command did inside of a pod is not recorded as a change",
    "attach": "what was typed into a process is not recorded as a change",
    "portforward": "what went through the connection is not recorded as a change",
    "proxy": "what the server behind the proxy did is not recorded as a change",
    "eviction": "the pod was told to go",
    "binding": "a pod was put onto a node",
    "token": "a token was made; it is good until it expires",
}
OLDER = (
    "the record does not hold it: recording.objectStates of the policy is Off, or an older gateway wrote it"
)
UNENDED = "how the request ended is not in the records"


class Story(NamedTuple):
    """All that a run did, in order. effects: what changed something and has no states; failed, dry: what changed
    nothing; torn: how many requests have but one of their records."""

    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]
    failed: tuple[Effect, ...]
    dry: tuple[Effect, ...]
    torn: int

    @property
    def writes(self) -> int:
        return sum(len(change.writes) for change in self.changes)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The records of one request. received, ended: {} where there is none."""

    request: Request
    received: Record
    ended: Record

    @property
    def audit_id(self) -> str:
        return str(self._either("auditID") or "")

    @property
    def time(self) -> str:
        return str(self.ended.get("stageTimestamp") or self.received.get("stageTimestamp") or "")

    @property
    def code(self) -> int:
        """0: the record does not say."""
        code = _mapping(self.ended, "responseStatus").get("code")
        return code if isinstance(code, int) else 0

    def _either(self, key: str) -> Any:
        return self.received.get(key) or self.ended.get(key)

    def object(self, key: str) -> Object | None:
        found = self._either(key)
        return found if isinstance(found, Mapping) else None

    def unrecorded(self, key: str) -> str:
        """Why a field is not there."""
        for record in (self.received, self.ended):
            if key in _mapping(record, "unrecorded"):
                return visible(str(_mapping(record, "unrecorded")[key]), 300)
        return OLDER

    @property
    def approval(self) -> str:
        return str(
            _mapping(self.ended, "approval").get("name")
            or _mapping(self.received, "approval").get("name")
            or ""
        )


def read_story(records: Iterable[Record]) -> Story:
    """records: of one run, in the order of their times. Those of reads, and what is no request, are passed over."""
    writes: list[Write] = []
    effects: list[Effect] = []
    failed: list[Effect] = []
    dry: list[Effect] = []
    torn = 0
    for pair in sorted(_pairs(records), key=lambda pair: pair.time):
        torn += bool(_is_torn(pair))
        if pair.code >= 400 and (pair.code < 500 or not pair.received):
            failed.append(_effect(pair, f"answered {pair.code}"))
        elif _is_dry(pair):
            dry.append(_effect(pair, "a dry run"))
        else:
            for found in _read(pair):
                if isinstance(found, Write):
                    writes.append(found)
                else:
                    effects.append(found)
    return Story(fold(writes), tuple(effects), tuple(failed), tuple(dry), torn)


def _pairs(records: Iterable[Record]) -> Iterator[_Pair]:
    found: dict[str, tuple[Request, dict[str, Record]]] = {}
    for record in records:
        stage, request = str(record.get("stage")), request_of(record)
        if stage in (RECEIVED, COMPLETE, PANIC) and isinstance(request, Request) and may_change(request):
            stages = found.setdefault(str(record.get("auditID")), (request, {}))[1]
            stages[RECEIVED if stage == RECEIVED else COMPLETE] = record
    for request, stages in found.values():
        yield _Pair(request, stages.get(RECEIVED, {}), stages.get(COMPLETE, {}))


def may_change(request: Request) -> bool:
    """Whether it is neither a read nor a question that is answered and forgotten."""
    return not request.is_read and request.group not in QUESTIONS


def _is_torn(pair: _Pair) -> bool:
    """Whether one of its records is missing. What is refused before it is forwarded has only an end."""
    return not pair.ended or (not pair.received and pair.code < 400)


def _is_dry(pair: _Pair) -> bool:
    request = pair.request
    if request.verb in ("delete", "deletecollection"):
        options = pair.object("requestObject") or {}
        return request.parameter("dryRun") == "All" or options.get("dryRun") == ["All"]
    return request.dry_run


def _effect(pair: _Pair, why: str) -> Effect:
    recorded = read(pair.ended)
    what = (
        command(recorded)
        if pair.request.is_connect and isinstance(recorded, Recorded)
        else describe(pair.request)
    )
    return Effect(pair.audit_id, pair.time, visible(what, 600), why)


# What a request did


def _read(pair: _Pair) -> Iterator[Write | Effect]:
    request = pair.request
    if request.is_connect or request.subresource in WITHOUT_STATE:
        yield _effect(pair, WITHOUT_STATE[request.subresource])
    elif not request.is_resource or request.verb not in WRITES:
        yield _effect(pair, "it is no write of an object")
    elif request.subresource not in ("", "scale", "status"):
        yield _effect(pair, f"of the subresource {visible(request.subresource, 100)} no states are recorded")
    elif request.verb == "deletecollection":
        yield from _collection(pair)
    elif not (target := _target(pair)).name:
        yield _effect(pair, "which name the new object got is not recorded")
    else:
        yield _write(pair, target)


def _target(pair: _Pair, name: str = "") -> Target:
    request = pair.request
    namespace = "" if (request.group, request.resource) == ("", "namespaces") else request.namespace
    merged = request.subresource == "scale" and request.resource in SCALED.get(request.group, ())
    return Target(
        request.group,
        request.version,
        request.resource,
        namespace,
        name or request.name or _name(pair.object("responseObject")) or _name(pair.object("requestObject")),
        "" if merged else request.subresource,
    )


def _name(obj: Object | None) -> str:
    return str(_mapping(obj or {}, "metadata").get("name") or "")


def _write(pair: _Pair, target: Target) -> Write:
    before, after = _before(pair), _after(pair)
    uids = (_uid(state.object) for state in (after, before) if isinstance(state, Present))
    partial = pair.request.subresource == "scale"
    made = Write(
        audit_id=pair.audit_id,
        time=pair.time,
        verb=pair.request.verb,
        target=target,
        before=_scale(before) if partial else before,
        after=_scale(after) if partial else after,
        uid=next(uids, ""),
        code=pair.code,
        approval=pair.approval,
        partial=partial,
    )
    return replace(made, remarks=("it goes only when its finalizers are done",)) if _lingers(pair) else made


def _scale(state: State) -> State:
    """Nothing but the replicas."""
    if not isinstance(state, Present):
        return state
    return Present({"spec": {"replicas": _mapping(state.object, "spec").get("replicas", 0)}})


def _lingers(pair: _Pair) -> bool:
    metadata = _mapping(pair.object("responseObject") or {}, "metadata")
    return pair.request.verb == "delete" and bool(metadata.get("finalizers"))


def _before(pair: _Pair) -> State:
    if pair.code == 201 and not pair.request.subresource:
        return Absent()
    said = pair.object("objectBefore")
    if said is None:
        return Unknown(pair.unrecorded("objectBefore"))
    return _state(said)


def _state(said: Object) -> State:
    found = said.get("object")
    match said.get("state"):
        case "Absent":
            return Absent()
        case "Present" if isinstance(found, Mapping):
            return Present(found)
    return Unknown(visible(str(said.get("reason") or "the record does not say"), 300))


def _after(pair: _Pair) -> State:
    if not pair.ended:
        return Unknown(UNENDED)
    if not 200 <= pair.code < 300:
        return Unknown(
            f"the request was answered {pair.code or 'nothing'}, and may have been carried out all the same"
        )
    if pair.request.verb == "delete":
        return Absent()
    answer = pair.object("responseObject")
    if answer is None or answer.get("kind") == "Status":
        return Unknown(pair.unrecorded("responseObject"))
    return Present(answer)


def _collection(pair: _Pair) -> Iterator[Write | Effect]:
    said = pair.object("objectBefore")
    items = (said or {}).get("items")
    if said is None or said.get("state") != "Present" or not isinstance(items, list):
        state = Unknown(pair.unrecorded("objectBefore")) if said is None else _state(said)
        why = state.reason if isinstance(state, Unknown) else "which objects these were is not recorded"
        yield _effect(pair, f"which objects it deleted is not known: {why}")
        return
    if said.get("truncated"):
        yield _effect(pair, f"it deleted more objects than the {len(items)} that are recorded")
    after = _after(pair)
    gone = Absent() if isinstance(after, Present) or 200 <= pair.code < 300 else after
    for item in items:
        if isinstance(item, Mapping) and _name(item):
            yield _item(pair, item, gone)


def _item(pair: _Pair, item: Object, after: State) -> Write:
    namespace = str(_mapping(item, "metadata").get("namespace") or "")
    return Write(
        audit_id=pair.audit_id,
        time=pair.time,
        verb="deletecollection",
        target=_target(pair, _name(item))._replace(namespace=namespace),
        before=Present(item),
        after=after,
        uid=_uid(item),
        code=pair.code,
        approval=pair.approval,
    )


def _uid(obj: Object) -> str:
    return str(_mapping(obj, "metadata").get("uid") or "")


def _mapping(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
