"""Placeholders in requests: resolved to the live values of the same object before anything else looks at the body, or
refused. What is judged, dry-run, held and forwarded holds values; what is recorded and hashed is what the agent sent.

The live object is read as the agent: who may not read it has seen no placeholder of it. The decisions are in
`chaperone.core.masking.restoring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from chaperone.core import status
from chaperone.core.body import Decoded, Media, Undecodable, decode, media_of
from chaperone.core.masking import Collect, Masker, Terms, UnmaskableError
from chaperone.core.masking.restoring import (
    Restored,
    Unrestorable,
    Write,
    Written,
    in_target,
    restore,
    selects_secret,
)
from chaperone.core.masking.restoring_body import UnpinnableError, pinned, restored
from chaperone.core.masking.restoring_live import Live, look
from chaperone.core.masking.restoring_patches import Fault, reads_object
from chaperone.core.masking.restoring_search import UnopenableError, may_hold, placeholders
from chaperone.core.request import Request
from chaperone.core.status import Cause
from gateway.gathering import read_object
from gateway.guesses import Guesses
from gateway.http.upstream import UpstreamError
from gateway.limits import RunKey
from gateway.masking.choice import place_of
from gateway.refusal import RefusalError, refusal
from gateway.services import Gather
from gateway.standing import Standing
from gateway.targets import object_path

IN_TARGET = "a placeholder stands in the path or the query; it can only be resolved in the body of a write"
NOT_OF_AN_OBJECT = (
    "a placeholder stands in the body, and this request writes no object whose value it could be"
)
USE_JSON = (
    "the body holds placeholders of masked values, which cannot be resolved in protobuf; write the values themselves "
    "(for helm: give them again, instead of reusing those of a release), or use JSON (application/json)"
)
NO_TRYING = (
    "a dry run of a change to an object with masked values has to be readable; use JSON (application/json)"
)
NO_CBOR = "a body in CBOR cannot be searched for placeholders of masked values; use JSON (application/json)"
SELECTED = (
    "the field selector looks at a field that is masked when it is read, so it could be used to guess the value; select "
    "by another field, or by label"
)
UNSEEN = (
    "you may not read the object, so its values cannot be looked up or tried: neither by a patch that reads them (copy, "
    "move, test) nor by a dry run; write the values themselves"
)
CHANGED = (
    "the secrets of the object have changed while the request was held; read it and send the request again"
)
TOO_DEEP = "the object or the body is nested too deep to be looked through for secrets"
NO_METADATA = (
    "metadata must be an object, so that the write can be bound to the state of the object it was made for"
)
MOST_NAMED = 5
"""Fields that the message of a refusal names; the causes have them all."""


class Engine(Protocol):
    """The part of gateway.masking.choice.Engine that is needed here."""

    def masker(self, terms: Terms, run: RunKey) -> Masker: ...
    def collect(self, run: RunKey) -> Collect: ...


@dataclass(frozen=True, slots=True)
class Restoration:
    """A request as it goes on. sent: as it came. version: of the object that it must find, "" where that does not
    matter. echo: what the agent wrote itself at places that are masked on reading. steady: the metadata to be shown in
    the answer, whatever the API server says; None: as it says. live: the object itself, where it was looked at."""

    request: Request
    sent: Request
    media: Media = Media.JSON
    version: str = ""
    echo: Written = frozenset()
    steady: Mapping[str, Any] | None = None
    live: Mapping[str, Any] | None = field(default=None, repr=False)


class Restorer:
    """One for each worker. engine: None where nothing is ever masked; then every placeholder is refused."""

    def __init__(self, engine: Engine | None = None, guesses: Guesses | None = None) -> None:
        self._engine = engine
        self._guesses = guesses or Guesses()

    def check(self, request: Request, standing: Standing) -> None:
        """What can be told from the head alone. Raises RefusalError."""
        if in_target(request.path, request.parameters):
            raise refusal(422, IN_TARGET, request)
        selector = request.parameter("fieldSelector") if request.is_resource else None
        masker = self._masker(standing) if selector else None
        if selector and masker is not None and selects_secret(selector, place_of(request), masker):
            raise refusal(403, SELECTED, request)

    async def restore(self, request: Request, standing: Standing, eyes: Gather) -> Restoration:
        """The request with its body as it may go on. Raises RefusalError, UpstreamError."""
        if not request.body:
            return Restoration(request, request)
        if not request.is_resource or request.is_connect or request.verb == "proxy":
            return _unresolved(request)
        try:
            if media_of(request.content_type, request.verb) is Media.PROTOBUF:
                return await self._unreadable(request, standing, eyes)
            decoded = self._decoded(request, standing)
            if decoded is None:
                return Restoration(request, request)
            return await self._restored(request, decoded, standing, eyes)
        except (UnmaskableError, RecursionError) as error:
            raise refusal(422, TOO_DEEP, request) from error

    async def bound(
        self, request: Request, done: Restoration, standing: Standing, eyes: Gather, *, held: bool
    ) -> Request:
        """The request bound to the state of the object whose values it holds. held: people were asked meanwhile, so the
        object is looked at again; its values must be the same. Raises RefusalError, UpstreamError."""
        now = await self.restore(done.sent, standing, eyes) if held else done
        if now.request.body != request.body:
            raise refusal(409, CHANGED, request)
        try:
            body = pinned(request.body, done.media, now.version)
        except UnpinnableError as error:
            raise refusal(422, NO_METADATA, request) from error
        return replace(request, body=body)

    def _masker(self, standing: Standing) -> Masker | None:
        if self._engine is None or standing.terms is None:
            return None
        return self._engine.masker(standing.terms, standing.run)

    def _decoded(self, request: Request, standing: Standing) -> Decoded | None:
        """The body, read; None where it needs no look: it holds no placeholder and no secret of its own."""
        media = media_of(request.content_type, request.verb)
        if media in (Media.CBOR, Media.APPLY_CBOR):
            raise refusal(415, NO_CBOR, request)
        is_yaml = media in (Media.YAML, Media.APPLY)
        writes = request.verb in ("create", "update", "patch") and self._masker(standing) is not None
        if not (writes or is_yaml or may_hold(request.body)):
            return None
        decoded = decode(request.body, request.content_type, request.verb)
        if isinstance(decoded, Undecodable):
            raise refusal(decoded.code, decoded.reason, request)
        return decoded

    async def _unreadable(self, request: Request, standing: Standing, eyes: Gather) -> Restoration:
        """A body in protobuf. What it writes where is not known here, so nothing of it can be told from what was there:
        each one to an object with secrets counts as a guess, and none can be tried."""
        if may_hold(request.body) and _found(request):
            raise refusal(415, USE_JSON, request)
        masker = self._masker(standing)
        if masker is not None and request.verb == "update":
            write = Write(Media.PROTOBUF, None, place_of(request))
            live = await self._look(request, write, masker, standing, eyes)
            if live is not None and live.places:
                if request.dry_run:
                    raise refusal(415, NO_TRYING, request)
                self._count(request, live, frozenset({("", request.body)}), standing)
        return Restoration(request, request)

    async def _restored(
        self, request: Request, decoded: Decoded, standing: Standing, eyes: Gather
    ) -> Restoration:
        masker = self._masker(standing)
        write = Write(decoded.media, decoded.value, place_of(request))
        live = None
        if masker is not None and request.verb in ("update", "patch"):
            live = await self._look(request, write, masker, standing, eyes)
        result = restore(write, live, masker)
        if isinstance(result, Unrestorable):
            raise _refused(request, result)
        if live is not None:
            self._count(request, live, result.guesses, standing)
        return Restoration(
            request=_with_body(request, decoded, result),
            sent=request,
            media=decoded.media,
            version=result.version,
            echo=result.echo,
            steady=live.masked.get("metadata") if live is not None and _tries(request, result) else None,
            live=live.document if live is not None else None,
        )

    async def _look(
        self, request: Request, write: Write, masker: Masker, standing: Standing, eyes: Gather
    ) -> Live | None:
        """The live object, read as the agent. Its secrets are known from here on: the API server may quote them."""
        document, seen = await _read(request, eyes)
        if document is None:
            if not seen and (request.dry_run or reads_object(write.media, write.body)):
                raise refusal(403, UNSEEN, request)
            return None
        live = look(document, write.place, masker)
        if self._engine is not None:
            remember = self._engine.collect(standing.run)
            for place in live.places:
                remember(place)
        return live

    def _count(self, request: Request, live: Live, guesses: Written, standing: Standing) -> None:
        if not self._guesses.admit(standing.run, live.uid, guesses):
            raise refusal(
                403,
                f"this run has tried more than {self._guesses.most} different values in masked fields of this object; "
                "they cannot be found out by trying. A person can set the value",
                request,
                reason="too many different values for the masked fields of one object",
            )


async def _read(request: Request, eyes: Gather) -> tuple[Mapping[str, Any] | None, bool]:
    """(object, True); (None, True) where there is none; (None, False) where the agent may not read it."""
    answer = await eyes.fetch("GET", request.path)
    if request.subresource and answer.code in (404, 405):
        answer = await eyes.fetch("GET", object_path(request))
    if answer.code in (404, 401, 403, 405):
        return None, answer.code == 404
    document = read_object(answer.body) if answer.code == 200 else None
    if document is None:
        raise UpstreamError(f"the object to be changed cannot be looked at: code {answer.code}", code=503)
    return document, True


def _unresolved(request: Request) -> Restoration:
    """A body that writes no object: of a proxied server, of a path that is no resource."""
    if may_hold(request.body) and _found(request):
        raise refusal(422, NOT_OF_AN_OBJECT, request)
    return Restoration(request, request)


def _found(request: Request) -> bool:
    try:
        return bool(placeholders(request.body))
    except UnopenableError:
        return True


def _with_body(request: Request, decoded: Decoded, result: Restored) -> Request:
    if result.resolve is None:
        return request
    return replace(request, body=restored(request.body, decoded, result.resolve), as_sent=request.body)


def _tries(request: Request, result: Restored) -> bool:
    """Whether the answer could tell if a value was right, although nothing was written."""
    return request.dry_run and bool(result.guesses)


def _refused(request: Request, result: Unrestorable) -> RefusalError:
    faults = result.faults
    named = "; ".join(_told(fault) for fault in faults[:MOST_NAMED])
    more = f" (and {len(faults) - MOST_NAMED} more)" if len(faults) > MOST_NAMED else ""
    causes = [Cause("FieldValueInvalid", fault.reason, fault.path) for fault in faults]
    message = f"nothing was written, because of placeholders of masked values: {named}{more}"
    document = status.status(result.code, message, request=request, causes=causes)
    fields = ", ".join(fault.path for fault in faults)
    return RefusalError(result.code, document, reason=f"placeholders that cannot be restored: {fields}")


def _told(fault: Fault) -> str:
    return f"{fault.path}: {fault.reason}" if fault.path else fault.reason
