"""Audit records as rows of a page: what was asked, by whom, what came of it. Everything is a stranger's text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chaperone.core.legible import visible
from chaperone.store.interface import Found

Obj = Mapping[str, Any]

STAGES = {
    "RequestReceived": "received",
    "ResponseStarted": "began",
    "ResponseComplete": "",
    "Panic": "failed",
    "RecordingRemoved": "its recording was removed",
}


def row(found: Found) -> dict[str, str]:
    """One record in words."""
    record = found.record
    return {
        "id": _text(record.get("auditID")),
        "time": clock_time(found.time),
        "stage": STAGES.get(str(record.get("stage")), str(record.get("stage"))),
        "run": _text(record.get("run")),
        "agent": _text(record.get("agent") or _mapping(record, "user").get("username")),
        "verb": _text(record.get("verb")),
        "object": what(record),
        "verdict": _text(record.get("verdict")),
        "risk": _text(_mapping(record, "risk").get("level")),
        "code": _text(_mapping(record, "responseStatus").get("code")),
        "approval": _text(_mapping(record, "approval").get("name")),
        "reason": _text(record.get("verdictReason") or record.get("reason"), 400),
        "masked": str(sum(_mapping(record, "masked").values())) if record.get("masked") else "",
        "recording": _text(_mapping(record, "recording").get("name"), 500),
    }


def what(record: Obj) -> str:
    """`pods/exec "web-0" in "prod"`, or the path where it is no resource."""
    ref = _mapping(record, "objectRef")
    if not ref:
        return _text(str(record.get("requestURI") or "").partition("?")[0], 200)
    kind = "/".join(part for part in (_text(ref.get("resource")), _text(ref.get("subresource"))) if part)
    group = _text(ref.get("apiGroup"))
    name = f' "{_text(ref.get("name"))}"' if ref.get("name") else ""
    place = f' in "{_text(ref.get("namespace"))}"' if ref.get("namespace") else ""
    return (f"{kind}.{group}" if group else kind) + name + place


def clock_time(seconds: float) -> str:
    """2026-01-31 09:00:00.123 UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def _text(value: object, most: int = 253) -> str:
    return "" if value is None else visible(str(value), most)


def _mapping(record: Obj, key: str) -> Obj:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
