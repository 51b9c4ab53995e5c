"""The preview of a held request, gathered with the agent's own eyes: dry run, difference, what else it would take.

For gateway.holds, before the ApprovalRequest is created (`chaperone.core.approval.build(..., preview=...)`):

    await preview(request, verdict, gather, clock=time.monotonic) -> the mapping for spec.preview

It raises nothing but CancelledError (the client has gone): what fails becomes a warning. It is bounded in time, in
requests and in size; what was left out for that makes `truncated` true.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core import preview as previews
from chaperone.core.body import Decoded, decode
from chaperone.core.preview import Findings
from chaperone.core.preview_diff import Difference, difference
from chaperone.core.preview_effects import part
from chaperone.core.preview_redaction import hidden_values, marked
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway import preview_dry_run, preview_effects
from gateway.gathering import NO_DRY_RUN
from gateway.preview_looks import LIMITS, Gap, Looks, PreviewLimits, Seen
from gateway.services import Gather
from gateway.targets import object_path

log = logging.getLogger(__name__)

Obj = Mapping[str, Any]
Hide = Callable[[Request, Obj], tuple[Obj, frozenset[str]]]
"""An object as people may see it, and the secrets that it held. May be called in another thread."""


def hide_nothing(_request: Request, obj: Obj) -> tuple[Obj, frozenset[str]]:
    """Leaves all hiding to chaperone.core.preview_redaction."""
    return obj, frozenset()


AS_SENT = "the difference is to the object as it was sent, without what the API server would add"
_WITHOUT_DIFF = ("eviction", "binding", "token")
"""Subresources that are created and whose answer is not the object."""


async def preview(
    request: Request,
    verdict: Verdict,
    gather: Gather,
    *,
    clock: Callable[[], float],
    limits: PreviewLimits = LIMITS,
    hide: Hide = hide_nothing,
) -> Mapping[str, Any]:
    """`spec.preview` for a request that is held for the first time. clock: monotonic seconds."""
    try:
        return previews.spec(await _found(request, Looks(gather, clock, limits), hide))
    except Exception:
        log.exception("a preview could not be made", extra={"policy": verdict.policy, "rule": verdict.rule})
        return previews.spec(Findings(warnings=("the preview could not be made",), truncated=True))


async def _found(request: Request, looks: Looks, hide: Hide) -> Findings:
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_live(request, looks))
        trying = group.create_task(_tried(request, looks))
    live, tried = looking.result(), trying.result()
    whole = _sides(request, live, tried)
    known = live.obj if live is not None else None
    sides, secrets = await asyncio.to_thread(_hidden_sides, request, whole, known, hide)
    shown = await _compared(request, sides, looks) if sides else Difference()
    before = sides.before if sides else known
    effects = await preview_effects.find(request, before, sides.after if sides else None, looks)
    return Findings(
        diff=shown.text,
        warnings=(*_said(request, whole, tried, secrets), *_gaps(request, live), *effects.notes),
        affected=tuple(effects.affected),
        truncated=shown.truncated or effects.incomplete or looks.incomplete,
    )


async def _tried(request: Request, looks: Looks) -> Seen | str:
    """A deletecollection is not tried: each of its objects would go through every admission webhook."""
    if request.verb == "deletecollection":
        return "no dry run is made of a whole collection"
    return await preview_dry_run.run(request, looks)


async def _live(request: Request, looks: Looks) -> Seen | None:
    """The named object as it is; of a scale, the scale itself."""
    path = object_path(request)
    if not path:
        return None
    return await looks.get(f"{path}/scale" if request.subresource == "scale" else path)


@dataclass(frozen=True, slots=True)
class _Sides:
    before: Obj | None
    after: Obj | None


def _sides(request: Request, live: Seen | None, tried: Seen | str) -> _Sides | None:
    """What there is to compare; None: nothing."""
    before = live.obj if live is not None else None
    if request.verb == "delete":
        return _Sides(before, None) if before and not request.subresource else None
    if request.verb not in ("create", "update", "patch") or request.subresource in _WITHOUT_DIFF:
        return None
    after = _result(request, tried)
    if after is None or (live is not None and live.gap not in (None, Gap.ABSENT)):
        return None
    if request.subresource == "scale":
        return _Sides(_with_replicas(before), _with_replicas(after))
    return _Sides(before, after)


def _hidden_sides(
    request: Request, sides: _Sides | None, live: Obj | None, hide: Hide
) -> tuple[_Sides | None, frozenset[str]]:
    """Both sides as they may be shown, and the secrets of both; where there are none to compare, those of the object
    as it is, which a refusal may quote."""
    nothing: tuple[Obj | None, frozenset[str]] = (None, frozenset())
    if sides is None:
        return None, (hide(request, live) if live else nothing)[1]
    before, first = hide(request, sides.before) if sides.before else nothing
    after, second = hide(request, sides.after) if sides.after else nothing
    return _Sides(before, after), first | second


def _result(request: Request, tried: Seen | str) -> Obj | None:
    """The object as it would be: by the dry run, or as it was sent where none could be made; None: not known."""
    if not _was_tried(tried):
        return _sent(request)
    after = tried.obj if isinstance(tried, Seen) else None
    return after if after and after.get("kind") != "Status" else None


def _was_tried(tried: Seen | str) -> bool:
    """Whether the API server went through the whole request."""
    return isinstance(tried, Seen) and tried.code > 0 and NO_DRY_RUN not in str(tried.said.get("message"))


def _with_replicas(scale: Obj | None) -> Obj | None:
    """A Scale that says so when it is for nothing: the API server leaves a zero out."""
    if scale is None:
        return None
    return {**scale, "spec": {"replicas": 0, **(part(scale, "spec") or {})}}


def _sent(request: Request) -> Obj | None:
    """The object in the body, where the request brings a whole one."""
    if request.verb not in ("create", "update"):
        return None
    decoded = decode(request.body, request.content_type, request.verb)
    return decoded.value if isinstance(decoded, Decoded) else None


async def _compared(request: Request, sides: _Sides, looks: Looks) -> Difference:
    """In a thread, for other requests are being served meanwhile."""
    try:
        async with asyncio.timeout(max(looks.seconds_left, 0)):
            return await asyncio.to_thread(_difference, request, sides)
    except TimeoutError:
        return Difference("(the difference could not be made in time)\n", truncated=True)


def _difference(request: Request, sides: _Sides) -> Difference:
    secret = (request.group, request.resource) == ("", "secrets")
    return difference(sides.before, sides.after, secret=secret, status=request.subresource == "status")


def _said(request: Request, sides: _Sides | None, tried: Seen | str, secrets: frozenset[str]) -> list[str]:
    """What the API server said to the dry run, without what it quoted."""
    as_sent = [AS_SENT] if sides and sides.after and not _was_tried(tried) else []
    if isinstance(tried, str):
        return [tried, *as_sent]
    hidden = _hidden(request, sides) | secrets
    lines = [previews.told(text, hidden) for text in previews.read_warnings(tried.warnings)]
    if tried.code >= 400:
        lines.append(previews.refusal(tried.said, tried.code, hidden))
    elif tried.obj is None:
        lines.append("the dry run got no answer")
    return lines + as_sent


def _hidden(request: Request, sides: _Sides | None) -> frozenset[str]:
    secret = (request.group, request.resource) == ("", "secrets")
    decoded = decode(request.body, request.content_type, request.verb)
    known = [decoded.value if isinstance(decoded, Decoded) else None]
    known += [sides.before, sides.after] if sides else []
    return frozenset().union(*(hidden_values(marked(obj, secret=secret)) for obj in known if obj))


def _gaps(request: Request, live: Seen | None) -> list[str]:
    if live is None or live.gap is None or (live.gap is Gap.ABSENT and request.verb != "delete"):
        return []
    return [f"the object itself is {live.gap.value}"]
