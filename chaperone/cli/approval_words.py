"""ApprovalRequests in words for a terminal: one row, or the whole story. Pure; objects in, text out.

Nearly everything in an ApprovalRequest comes from an agent or from the cluster, so all of it is made visible first, and
text of several lines stands behind a margin, so that it cannot pass for a line of ours.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaperone.core.gate import describe
from chaperone.core.legible import visible
from chaperone.core.request import Request
from chaperone.core.timestamp import unix_seconds

Object = Mapping[str, Any]
Line = tuple[str, str]
"""Text, and its style for a terminal."""

COLUMNS = (
    "NAME",
    "PHASE",
    "RISK",
    "AGENT",
    "VERB",
    "RESOURCE",
    "NAMESPACE",
    "OBJECT",
    "APPROVALS",
    "EXPIRES",
    "AGE",
)
WIDE_COLUMNS = (*COLUMNS, "REQUESTER", "RUN", "POLICY", "RULE")
MAX_CELL = 253
MAX_LINES = 400
"""Lines of one block of untrusted text; `-o json` has the rest."""
MARGIN = "  | "
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def field(obj: Object, path: str) -> Any:
    """What stands at a dotted path, or None: an object in the cluster may be older or newer than this program."""
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text(obj: Object, path: str, limit: int = MAX_CELL) -> str:
    value = field(obj, path)
    return "" if value is None else visible(str(value), limit)


def texts(obj: Object, path: str) -> list[str]:
    value = field(obj, path)
    return [visible(str(item), 1024) for item in value] if isinstance(value, list) else []


def phase(obj: Object) -> str:
    return text(obj, "status.phase") or "Pending"


def count(obj: Object) -> str:
    """Approvals given and required: "0/1"."""
    return text(obj, "status.approvals") or f"0/{text(obj, 'spec.required') or '1'}"


# One row


def row(obj: Object, now: float, *, wide: bool = False) -> list[str]:
    """The cells under COLUMNS, or WIDE_COLUMNS."""
    cells = [
        text(obj, "metadata.name"),
        phase(obj),
        text(obj, "spec.risk.level"),
        text(obj, "spec.requester.agent"),
        *_asked_cells(obj),
        count(obj),
        deadline(obj, now),
        age(obj, now),
    ]
    if wide:
        cells += [
            text(obj, f"spec.{path}")
            for path in ("requester.username", "requester.run", "policy.name", "policy.rule")
        ]
    return cells


def _asked_cells(obj: Object) -> list[str]:
    if text(obj, "spec.type") == "Access":
        namespaces = ",".join(texts(obj, "spec.access.namespaces"))
        return ["access", _role(obj), visible(namespaces, MAX_CELL), text(obj, "spec.access.duration")]
    resource = "/".join(
        part for part in (text(obj, "spec.request.resource"), text(obj, "spec.request.subresource")) if part
    )
    group = text(obj, "spec.request.apiGroup")
    return [
        text(obj, "spec.request.verb"),
        (f"{resource}.{group}" if group else resource) or text(obj, "spec.request.path"),
        text(obj, "spec.request.namespace"),
        text(obj, "spec.request.name"),
    ]


def _role(obj: Object) -> str:
    return f"{text(obj, 'spec.access.roleRef.kind').lower()}/{text(obj, 'spec.access.roleRef.name')}"


_DEADLINES = {
    "Pending": "spec.expiresAt",
    "Approved": "status.useBefore",
    "Executing": "status.grant.expiresAt",
}


def deadline(obj: Object, now: float) -> str:
    """Until when something can happen to it: "12m", "over", or "" when nothing can any more."""
    path = _DEADLINES.get(phase(obj))
    at = _moment(obj, path) if path else None
    if at is None:
        return ""
    return span(at - now) if at > now else "over"


def age(obj: Object, now: float) -> str:
    at = _moment(obj, "metadata.creationTimestamp")
    return "" if at is None else span(max(0.0, now - at))


def span(seconds: float) -> str:
    """As kubectl counts: 45s, 12m, 5h, 3d."""
    for size, unit, until in ((1, "s", 120), (60, "m", 120 * 60), (3600, "h", 48 * 3600)):
        if seconds < until:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86400)}d"


def _moment(obj: Object, path: str) -> float | None:
    try:
        return unix_seconds(str(field(obj, path)))
    except ValueError:
        return None


# What is asked


def asked(obj: Object) -> str:
    """`delete of namespaces "dev"`, or the rights of a grant, in one line."""
    if text(obj, "spec.type") == "Access":
        where = ", ".join(texts(obj, "spec.access.namespaces"))
        return visible(f"the rights of {_role(obj)} in {where} for {text(obj, 'spec.access.duration')}", 1024)
    resource = text(obj, "spec.request.resource")
    return describe(
        Request(
            method="",
            verb=text(obj, "spec.request.verb"),
            path=text(obj, "spec.request.path", 1024),
            is_resource=bool(resource),
            group=text(obj, "spec.request.apiGroup"),
            resource=resource,
            subresource=text(obj, "spec.request.subresource"),
            namespace=text(obj, "spec.request.namespace"),
            name=text(obj, "spec.request.name"),
        )
    )


def by_whom(obj: Object) -> str:
    """The user, with agent and run where the token told them."""
    named = [f"{word} {value}" for word in ("agent", "run") if (value := text(obj, f"spec.requester.{word}"))]
    return text(obj, "spec.requester.username") + (f" ({', '.join(named)})" if named else "")


# The whole story


def story(obj: Object, now: float, program: str) -> Iterator[Line]:
    """All that somebody who decides should see. program: how this program is called, for the commands at the end."""
    yield f"{text(obj, 'metadata.name')}: {phase(obj)}, {count(obj)} approvals", "bold"
    yield "", ""
    yield from _pairs(facts(obj, now))
    yield from _told(
        "the requester's own words, which nobody has checked", text(obj, "spec.reason", 1024).split("\n")
    )
    yield from _told("risk", texts(obj, "spec.risk.reasons"))
    yield from _preview(obj)
    yield from _told("reviews", list(reviews(obj)))
    yield from _commands(obj, program)


def facts(obj: Object, now: float) -> Iterator[tuple[str, str]]:
    """What it is about, as (word, value); a value may be ""."""
    yield "asks for", asked(obj)
    query = text(obj, "spec.request.query", 2048)
    yield "request", text(obj, "spec.request.path", 2048) + (f"?{query}" if query else "")
    yield "command", " ".join(shlex.quote(word) for word in texts(obj, "spec.request.command"))
    yield "asked by", by_whom(obj)
    yield "rights for", text(obj, "spec.access.identity")
    yield "groups", ", ".join(texts(obj, "spec.requester.groups"))
    yield "issuer", text(obj, "spec.requester.issuer")
    yield "policy", _under(obj)
    yield "risk", text(obj, "spec.risk.level")
    left = deadline(obj, now)
    yield (
        "expires",
        f"{text(obj, 'spec.expiresAt')} ({left} left)" if phase(obj) == "Pending" and left else "",
    )
    yield "use before", text(obj, "status.useBefore") if phase(obj) == "Approved" else ""
    yield "lasts until", text(obj, "status.grant.expiresAt")
    yield "claimed by", text(obj, "status.claimedBy")
    yield "executed", _execution(obj)
    yield "target uid", text(obj, "spec.target.uid")
    yield "digest", text(obj, "spec.digest")


def _under(obj: Object) -> str:
    rule = text(obj, "spec.policy.rule")
    return f"{text(obj, 'spec.policy.name')} (rule {rule})" if rule else text(obj, "spec.policy.name")


def _execution(obj: Object) -> str:
    parts = (("answer", "code"), ("at", "time"), ("audit id", "auditID"))
    return ", ".join(
        f"{word} {value}" for word, key in parts if (value := text(obj, f"status.execution.{key}"))
    )


def reviews(obj: Object) -> Iterator[str]:
    """Each person's word, in one line."""
    entries = field(obj, "status.reviews")
    for entry in entries if isinstance(entries, list) else ():
        said = text(entry, "reason", 1024)
        yield f"{text(entry, 'decision')} by {text(entry, 'username')} at {text(entry, 'time')}" + (
            f': "{said}"' if said else ""
        )


def _preview(obj: Object) -> Iterator[Line]:
    """Found by a dry run as the agent: words of the cluster and of the agent."""
    yield from _block("body of the request, masked", field(obj, "spec.request.body"))
    yield from _block(
        "what would change, by a dry run (masked, unchecked text)", field(obj, "spec.preview.diff")
    )
    yield from _told("what else would go or change", texts(obj, "spec.preview.affected"))
    yield from _told("warnings of the dry run", texts(obj, "spec.preview.warnings"), "yellow")
    if field(obj, "spec.preview.truncated"):
        yield "the preview is not complete: it was too long to keep", "yellow"


def _commands(obj: Object, program: str) -> Iterator[Line]:
    word = deniable(obj)
    if not word:
        return
    name = shlex.quote(text(obj, "metadata.name"))
    yield "", ""
    if phase(obj) == "Pending":
        yield from _pairs([("to approve", f"{program} approve {name}"), ("or", _plain_patch(name))])
    yield from _pairs([(f"to {word}", f"{program} deny {name} --reason '…'")])


def deniable(obj: Object) -> str:
    """What a denial does now: "deny", "revoke" what was granted, or "" where it is too late for both."""
    if phase(obj) == "Executing" and text(obj, "spec.type") == "Access":
        return "revoke"
    return "deny" if phase(obj) in ("Pending", "Approved") else ""


def _plain_patch(name: str) -> str:
    body = '{"status":{"decision":"Approved"}}'
    return f"kubectl patch apreq {name} --subresource=status --type=merge -p '{body}'"


def _pairs(pairs: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> Iterator[Line]:
    for word, value in pairs:
        if value:
            yield f"{word:<12}{value}", ""


def _told(title: str, lines: Sequence[str], style: str = "") -> Iterator[Line]:
    shown = [line for line in lines if line]
    if shown:
        yield "", ""
        yield f"{title}:", "bold"
        yield from ((MARGIN + line, style) for line in shown)


def _block(title: str, value: object) -> Iterator[Line]:
    """Text of several lines as it is, each behind the margin."""
    if not isinstance(value, str) or not value.strip():
        return
    lines = value.rstrip("\n").split("\n")
    yield "", ""
    yield f"{title}:", "bold"
    for line in lines[:MAX_LINES]:
        yield MARGIN + visible(line, 1024), _DIFF_STYLES.get(line[:1], "")
    if len(lines) > MAX_LINES:
        yield f"{len(lines) - MAX_LINES} more lines; -o json shows all", "yellow"
