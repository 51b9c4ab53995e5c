"""Notices to people: what has happened to an ApprovalRequest that they should hear of, and in which words. Pure.

What was told is on the object itself, in an annotation, so that a restart neither forgets a notice nor repeats it. The
words of strangers are made visible, bounded, and robbed of what chat programs would turn into a mention or a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chaperone.core import access
from chaperone.core import approval as approvals
from chaperone.core.approval import GRANT, Approval, Phase, tally
from chaperone.core.legible import visible
from chaperone.core.policy.globs import Globs
from chaperone.core.status import approve_command
from chaperone.core.timestamp import rfc3339, unix_seconds

Object = Mapping[str, Any]

NOTIFIED = "chaperone.dev/notified"
"""Annotation: the events of this object that people were told of, separated by commas."""
MOST_ROWS = 8
MOST_LINES = 30
MOST_TEXT = 300
MOST_LINE = 160
"""Risk rows, lines of a diff, characters of a word or a reason, and of a line of a diff."""

_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all|team)\b)", re.IGNORECASE)
_MARKUP = str.maketrans({"<": "‹", ">": "›", "`": "ʼ", "\u2028": " ", "\u2029": " "})


class Event(Enum):
    """What people may be told of."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    EXECUTED = "executed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    GRANT_STARTED = "grant-started"
    GRANT_ENDED = "grant-ended"


EVENTS = tuple(event.value for event in Event)


@dataclass(frozen=True, slots=True)
class Happened:
    """at: Unix seconds."""

    event: Event
    at: float


@dataclass(frozen=True, slots=True)
class Interest:
    """What one target wants to hear of; empty means everything. risks: levels, as in spec.risk.level."""

    events: frozenset[Event] = frozenset()
    policies: Globs | None = None
    risks: frozenset[str] = frozenset()

    def covers(self, obj: Object, event: Event) -> bool:
        spec = _mapping(obj.get("spec"))
        policy = str(_mapping(spec.get("policy")).get("name") or "")
        level = str(_mapping(spec.get("risk")).get("level") or "none")
        return (
            (not self.events or event in self.events)
            and (self.policies is None or self.policies.match(policy))
            and (not self.risks or level in self.risks)
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """title: one line. body: plain text."""

    title: str
    body: str


# What has happened


def happened(obj: Object) -> tuple[Happened, ...]:
    """What people should have heard of this object by now, in order. Raises ValueError when it cannot be read.

    What is over is not told any more: that something waits, once it is decided; that a grant began, once it has ended.
    """
    approval = approvals.read(obj)
    made, decided = approval.created_at, approval.decided_at
    match approval.phase:
        case Phase.PENDING:
            return (Happened(Event.PENDING, made),)
        case Phase.APPROVED:
            return (Happened(Event.APPROVED, decided),)
        case Phase.EXPIRED:
            return (Happened(Event.EXPIRED, approval.use_before or approval.expires_at),)
        case Phase.CANCELLED:
            return (Happened(Event.CANCELLED, max(made, decided)),)
        case Phase.DENIED:
            denied = Happened(Event.DENIED, _since(obj, Phase.DENIED, decided))
            return (denied, *_grant_end(obj, approval))
        case Phase.EXECUTING:
            begun = approval.type == GRANT
            return (
                Happened(Event.APPROVED, decided),
                *([Happened(Event.GRANT_STARTED, decided)] if begun else []),
            )
        case _:
            return (Happened(Event.APPROVED, decided), *_outcome(obj, approval))


def _outcome(obj: Object, approval: Approval) -> tuple[Happened, ...]:
    """Executed, Failed or Unknown."""
    event = Event(approval.phase.value.lower())
    if approval.type != GRANT:
        return (Happened(event, approval.executed_at or approval.decided_at),)
    failed = Happened(Event.FAILED, _since(obj, Phase.FAILED, approval.decided_at))
    return (*([failed] if event is Event.FAILED else []), *_grant_end(obj, approval))


def _grant_end(obj: Object, approval: Approval) -> tuple[Happened, ...]:
    """Once its bindings are gone."""
    ended = str(_grant(obj).get("endedAt") or "")
    if not approval.grant_expires_at or not ended:
        return ()
    return (Happened(Event.GRANT_ENDED, unix_seconds(ended)),)


def _since(obj: Object, phase: Phase, otherwise: float) -> float:
    for item in _mapping(obj.get("status")).get("conditions") or ():
        if item.get("type") == phase.value and item.get("lastTransitionTime"):
            return unix_seconds(str(item["lastTransitionTime"]))
    return otherwise


def untold(obj: Object, now: float, max_age: float) -> tuple[Event, ...]:
    """What is still to be told, in order. max_age: seconds after which it is no news any more. Raises ValueError."""
    known = told(obj)
    return tuple(
        each.event for each in happened(obj) if each.event.value not in known and now - each.at < max_age
    )


def told(obj: Object) -> frozenset[str]:
    text = _mapping(_mapping(obj.get("metadata")).get("annotations")).get(NOTIFIED)
    return frozenset(text.split(",")) if isinstance(text, str) and text else frozenset()


def mark_told(known: Iterable[str], event: Event) -> dict[str, Any]:
    """The merge patch that says so; in the order of the events, whoever writes it."""
    words = {*known, event.value}
    return {"metadata": {"annotations": {NOTIFIED: ",".join(word for word in EVENTS if word in words)}}}


# In which words


def notice(obj: Object, event: Event, console_url: str = "") -> Notice:
    """console_url: where the web console is, "" where there is none. Raises ValueError when obj cannot be read."""
    approval = approvals.read(obj)
    spec, status = _mapping(obj.get("spec")), _mapping(obj.get("status"))
    level = str(_mapping(spec.get("risk")).get("level") or "")
    what = _what(approval)
    lines = [
        f"What: {what}",
        f"Who: {tame(approval.requester)}{_named(' (agent {})', approval.agent)}",
        *_line("Run", approval.run),
        f"Policy: {tame(approval.policy)}{_named(', rule {}', approval.rule)}",
        *_risk_lines(spec, level),
        *_line("Their reason (untrusted)", spec.get("reason")),
        *_event_lines(approval, event, status),
        *(_asking_lines(approval, spec) if event is Event.PENDING else []),
        *([f"Open: {console_url.rstrip('/')}/approvals/{approval.name}"] if console_url else []),
    ]
    shown = f" [{level}]" if level and level != "none" else ""
    return Notice(tame(f"{_HEADLINES[event]}: {what}{shown}", 200), "\n".join(lines))


_HEADLINES = {
    Event.PENDING: "Approval needed",
    Event.APPROVED: "Approved",
    Event.DENIED: "Denied",
    Event.EXPIRED: "Expired",
    Event.CANCELLED: "Withdrawn",
    Event.EXECUTED: "Executed",
    Event.FAILED: "Failed",
    Event.UNKNOWN: "Outcome unknown, a person must look",
    Event.GRANT_STARTED: "Access granted",
    Event.GRANT_ENDED: "Access ended",
}


def tame(text: object, limit: int = MOST_TEXT) -> str:
    """The words of a stranger: visible, bounded, no mention of everybody, no markup of links."""
    return _MENTION.sub("(at)", visible(str(text), limit)).translate(_MARKUP)


def _what(approval: Approval) -> str:
    if approval.type == GRANT:
        rights = access.rights_of(approval)
        whom = tame((approval.access or {}).get("identity") or approval.requester)
        asked = "rights that cannot be read" if isinstance(rights, access.Unreadable) else tame(rights)
        return f"{asked}, to {whom}"
    request = approval.request or {}
    resource = "/".join(str(request[key]) for key in ("resource", "subresource") if request.get(key))
    place = "/".join(str(request[key]) for key in ("namespace", "name") if request.get(key))
    return " ".join(tame(word) for word in (request.get("verb"), resource, place) if word)


def _named(form: str, word: str) -> str:
    return form.format(tame(word)) if word else ""


def _line(name: str, value: object) -> list[str]:
    return [f"{name}: {tame(value)}"] if value else []


def _risk_lines(spec: Object, level: str) -> list[str]:
    reasons = _mapping(spec.get("risk")).get("reasons") or []
    more = [f"  … and {len(reasons) - MOST_ROWS} more"] if len(reasons) > MOST_ROWS else []
    rows = [f"  {tame(reason)}" for reason in reasons[:MOST_ROWS]]
    return [f"Risk: {tame(level)}", *rows, *more] if level or rows else []


def _event_lines(approval: Approval, event: Event, status: Object) -> list[str]:
    match event:
        case Event.APPROVED | Event.DENIED:
            return [
                f"{review.decision} by {tame(review.username)}{_named(': {}', review.reason)}"
                for review in approval.reviews
            ]
        case Event.EXECUTED | Event.UNKNOWN | Event.FAILED:
            execution = _mapping(status.get("execution"))
            condition = next(
                (
                    item.get("message")
                    for item in status.get("conditions") or ()
                    if item.get("type") == "Failed"
                ),
                "",
            )
            return [
                *_line("Why", condition),
                *_line("The API server answered", execution.get("code")),
                *_line("Audit id", execution.get("auditID")),
            ]
        case Event.GRANT_STARTED:
            revoke = approve_command(approval.name).replace("Approved", "Denied")
            return [f"Until: {rfc3339(approval.grant_expires_at)}", "Take it back:", revoke]
        case Event.GRANT_ENDED:
            return _line("At", _grant({"status": status}).get("endedAt"))
        case _:
            return []


def _asking_lines(approval: Approval, spec: Object) -> list[str]:
    """What is needed to decide, and how it is done."""
    command = approve_command(approval.name)
    return [
        f"Approvals: {tally(approval).approved} of {approval.required}",
        *([f"Expires: {rfc3339(approval.expires_at)}"] if approval.expires_at else []),
        *_preview_lines(_mapping(spec.get("preview"))),
        "Approve:",
        command,
        "Deny:",
        command.replace("Approved", "Denied"),
    ]


def _preview_lines(preview: Object) -> list[str]:
    affected = [str(item) for item in preview.get("affected") or ()]
    gone = ", ".join(affected[:MOST_ROWS]) + (
        f" and {len(affected) - MOST_ROWS} more" if len(affected) > MOST_ROWS else ""
    )
    diff = _excerpt(str(preview.get("diff") or "").splitlines())
    return [
        *_line("Also affected", gone),
        *(["Change (untrusted):", *diff] if diff else []),
    ]


def _excerpt(lines: Sequence[str]) -> list[str]:
    shown = [f"  {tame(line, MOST_LINE)}" for line in lines[:MOST_LINES]]
    return [*shown, f"  … and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else shown


def _grant(obj: Object) -> Object:
    return _mapping(_mapping(obj.get("status")).get("grant"))


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}
