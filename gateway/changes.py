"""What a mutation asked for, what it found and what it left: for its audit record, as policy wants it, and masked.

Everything is looked at as the agent. Nothing here stands in the way of a request: what cannot be recorded is missing from
the record, which then says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from chaperone.core.body import Decoded, decode
from chaperone.core.masking import STANDARD, Masker, Place, Terms, UnmaskableError
from chaperone.core.masking.recorded import UnrecordableError, recorded_body, recorded_state
from chaperone.core.masking.restoring import Write
from chaperone.core.policy import Policy
from chaperone.core.request import Request
from gateway.gathering import read_object
from gateway.http.answer_copy import AnswerCopy, NoCopyError
from gateway.http.upstream import UpstreamError
from gateway.limits import RunKey
from gateway.masking.choice import place_of
from gateway.services import Gather
from gateway.standing import Standing
from gateway.targets import MOST_OBJECTS, SELECTORS, UNSEEN

log = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024
"""Of one object, or of all objects of one collection, in one record."""
MOST_LISTED = 4 * 1024 * 1024
"""Bytes of a collection that is looked through."""
WITH_BODY = "RequestResponse"
"""The level of a record that holds objects, as audit.k8s.io calls it."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OFF = "Off"
OPAQUE = "it came in a format that only the API server reads"
ASKING = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
"""Groups whose objects are questions: what is created in them is answered, and stored nowhere."""

Look = Callable[[], Any]


class Engine(Protocol):
    """The part of gateway.masking.choice.Engine that is needed here."""

    def masker(self, terms: Terms, run: RunKey) -> Masker: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What was there before. object: None where nothing was, or where it is not known: unknown then says why. items: of
    a collection; truncated: there were more than are here."""

    object: Mapping[str, Any] | None = None
    items: tuple[Mapping[str, Any], ...] | None = None
    truncated: bool = False
    unknown: str = ""


ABSENT = Found()


@dataclass(frozen=True, slots=True)
class ChangeTerms:
    """Whether bodies of writes are recorded, and the states of objects before and after."""

    bodies: bool
    states: bool


def change_terms(policies: Iterable[Policy]) -> ChangeTerms:
    """What one of the policies that govern a caller wants recorded is recorded."""
    wanted = [policy.recording for policy in policies]
    return ChangeTerms(
        bodies=any(each.request_bodies != OFF for each in wanted),
        states=any(each.object_states != OFF for each in wanted),
    )


class Changes:
    """One for each worker. engine: None where nothing can be masked; then nothing is recorded. most: bytes of one
    object."""

    def __init__(self, engine: Engine | None, most: int = MOST_BYTES) -> None:
        self._engine = engine
        self._most = most

    async def observe(
        self,
        request: Request,
        standing: Standing,
        eyes: Gather,
        seen: Mapping[str, Any] | None = None,
        *,
        held: bool = False,
    ) -> Change | None:
        """Just before the mutation is forwarded. seen: the object, where it was read for this request already. held:
        that was some time ago. None: nothing is to be recorded. Raises nothing."""
        terms = change_terms(standing.governed.policies)
        if self._engine is None or not (terms.bodies or terms.states) or not _is_write(request):
            return None
        states = terms.states and not request.dry_run and request.group not in ASKING
        change = self._change(self._engine, request, standing, states=states)
        found = ABSENT
        if states or request.verb == "patch":
            known = seen or request.payload.old_object
            fresh = known is not None and not held and not request.subresource
            found = Found(known) if fresh else await _look(request, eyes)
        if terms.bodies:
            change.body(request, found)
        if states:
            change.before(found)
        return change

    def attempted(self, request: Request, standing: Standing) -> Mapping[str, Any]:
        """The body of a write that was not forwarded. Raises nothing."""
        terms = change_terms(standing.governed.policies)
        if self._engine is None or not terms.bodies or not _is_write(request):
            return {}
        change = self._change(self._engine, request, standing, states=False)
        change.body(request, Found(request.payload.old_object))
        return change.received

    def _change(self, engine: Engine, request: Request, standing: Standing, *, states: bool) -> Change:
        masker = partial(engine.masker, standing.terms or STANDARD, standing.run)
        return Change(place_of(request), masker, self._most, states=states)


class Change:
    """received, completed: what belongs into the first and into the last record of one mutation."""

    __slots__ = ("_masker", "_most", "_place", "copy", "received")

    def __init__(self, place: Place, masker: Callable[[], Masker], most: int, *, states: bool) -> None:
        self._place = place
        self._masker = masker
        self._most = most
        self.copy = AnswerCopy(most) if states else None
        self.received: dict[str, Any] = {}

    def body(self, request: Request, found: Found) -> None:
        raw = request.as_sent or request.body
        if not raw:
            return
        self._put(self.received, "requestObject", lambda: self._body(request, raw, found))
        if request.content_type:
            self.received["requestContentType"] = request.content_type[:100]

    def before(self, found: Found) -> None:
        self._put(self.received, "objectBefore", lambda: self._before(found))
        if "objectBefore" not in self.received:
            self.received["objectBefore"] = _unknown(self.received["unrecorded"]["objectBefore"])

    def completed(self, code: int) -> dict[str, Any]:
        """code: upstream's."""
        fields: dict[str, Any] = {}
        copy = self.copy
        if copy is not None and 200 <= code < 300:
            self._put(fields, "responseObject", lambda: self._state(copy.document()))
        return fields

    def _put(self, fields: dict[str, Any], name: str, look: Look) -> None:
        try:
            value = look()
            self._fit(len(orjson.dumps(value)))
        except Exception as error:  # noqa: BLE001 - it ends in the record
            fields.setdefault("unrecorded", {})[name] = _reason(error)
            return
        fields[name] = value
        if name != "objectBefore" or value["state"] == "Present":
            fields["level"] = WITH_BODY

    def _fit(self, size: int) -> None:
        if size > self._most:
            raise UnrecordableError(f"it is larger than {self._most} bytes")

    def _body(self, request: Request, raw: bytes, found: Found) -> Any:
        self._fit(len(raw))
        decoded = decode(raw, request.content_type, request.verb)
        if not isinstance(decoded, Decoded):
            raise UnrecordableError(OPAQUE if decoded.opaque else f"it cannot be read: {decoded.reason}")
        write = Write(decoded.media, decoded.value, self._place)
        return recorded_body(write, found.object, self._masker())

    def _before(self, found: Found) -> dict[str, Any]:
        if found.unknown:
            return _unknown(found.unknown)
        if found.items is not None:
            return self._collection(found.items, truncated=found.truncated)
        if found.object is None:
            return {"state": "Absent"}
        return {"state": "Present", "object": self._state(found.object)}

    def _collection(self, items: Iterable[Mapping[str, Any]], *, truncated: bool) -> dict[str, Any]:
        """As many of the objects as there is room for."""
        kept: list[dict[str, Any]] = []
        room = self._most - 100
        for item in items:
            state = self._state(item)
            room -= len(orjson.dumps(state)) + 1
            if room < 0:
                truncated = True
                break
            kept.append(state)
        return {"state": "Present", "items": kept, "truncated": truncated}

    def _state(self, document: Mapping[str, Any]) -> dict[str, Any]:
        return recorded_state(document, self._place, self._masker())


def _reason(error: Exception) -> str:
    if isinstance(error, UnrecordableError | NoCopyError):
        return str(error)
    if not isinstance(error, UnmaskableError | RecursionError):
        log.error("an object could not be recorded", extra={"cause": type(error).__name__})
    return "it could not be masked and written down"


def _unknown(reason: str) -> dict[str, Any]:
    return {"state": "Unknown", "reason": reason}


def _is_write(request: Request) -> bool:
    return request.is_resource and not request.is_connect and request.verb in WRITES


async def _look(request: Request, eyes: Gather) -> Found:
    """Raises nothing."""
    if request.verb == "create":
        return (
            Found(unknown=f"{request.full_resource} have no state of their own")
            if request.subresource
            else ABSENT
        )
    try:
        if request.verb == "deletecollection":
            return await _collection(request, eyes)
        return await _object(request, eyes)
    except UpstreamError as error:
        return Found(unknown=str(error))


async def _object(request: Request, eyes: Gather) -> Found:
    answer = await eyes.fetch("GET", request.path)
    if answer.code == 404 and not request.subresource:
        return ABSENT
    found = read_object(answer.body) if answer.code == 200 else None
    return Found(found) if found is not None else Found(unknown=_unread(answer.code))


async def _collection(request: Request, eyes: Gather) -> Found:
    selected = [(key, value) for key, value in request.parameters if key in SELECTORS]
    query = urlencode([*selected, ("limit", str(MOST_OBJECTS))])
    answer = await eyes.fetch("GET", f"{request.path}?{query}", limit=MOST_LISTED)
    listed = read_object(answer.body) if answer.code == 200 else None
    items = listed.get("items") if listed is not None else None
    if listed is None or not isinstance(items, list):
        return Found(unknown=_unread(answer.code))
    kind = {"apiVersion": listed.get("apiVersion"), "kind": str(listed.get("kind")).removesuffix("List")}
    more = bool((listed.get("metadata") or {}).get("continue"))
    return Found(items=tuple(kind | item for item in items if isinstance(item, dict)), truncated=more)


def _unread(code: int) -> str:
    return "the agent may not read it" if code in UNSEEN else f"reading it was answered {code}"
