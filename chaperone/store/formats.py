"""Audit records in the words of others: OCSF API Activity, OpenTelemetry logs, syslog. Pure; nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from chaperone.core.chain import Sealed
from chaperone.core.legible import json_line
from chaperone.core.timestamp import unix_seconds
from chaperone.store.briefs import shortened

OCSF_VERSION = "1.5.0"
"""Names change between versions of OCSF: this one is pinned, and said in every event."""
API_ACTIVITY = 6003
ACTIVITIES = {
    "create": 1,
    "get": 2,
    "list": 2,
    "watch": 2,
    "update": 3,
    "patch": 3,
    "delete": 4,
    "deletecollection": 4,
}
OTHER = 99
SEVERITIES = {"critical": 5, "high": 4, "medium": 3, "low": 2}
INFORMATIONAL = 1
ALLOWED, DENIED = 1, 2
SYSLOG_AUDIT = 13
SYSLOG_INFO, SYSLOG_WARNING = 6, 4
ENTERPRISE = "chaperone@32473"
"""Of the structured data; 32473 is the number that RFC 5612 keeps for such use."""
LONGEST_MESSAGE = 8192
"""Bytes of a syslog message: what RFC 5425 asks receivers to take, and what they take unless told otherwise."""
LONGEST_PARAMETER = 256
OTEL_INFO, OTEL_WARN = 9, 13


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record on its way out. id: writer and sequence; whoever gets it twice knows it by that. line: the record as text,
    which is the stored one but for briefs."""

    id: str
    sealed: Sealed
    record: Mapping[str, Any]
    line: bytes

    def brief(self) -> Outgoing:
        """For those who take no large messages: without its long fields, which `omitted` names with their bytes."""
        record = shortened(self.record)
        return replace(self, record=record, line=json_line(orjson.dumps(record)))


def outgoing(sealed: Sealed) -> Outgoing:
    """A stored record that is no JSON any more goes out as one that says so: what comes behind it is not held up."""
    link = sealed.link
    line = sealed.line
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = {"reason": "the stored record is no JSON any more: run `chaperone audit verify`"}
        line = orjson.dumps(record)
    return Outgoing(f"{link.writer}/{link.sequence}", sealed, record, line)


def ocsf(item: Outgoing) -> dict[str, Any]:
    """An event of class API Activity (6003). What OCSF has no name for is below `unmapped`."""
    record = item.record
    activity = ACTIVITIES.get(_text(record, "verb"), OTHER)
    user = _map(record, "user")
    code = _map(record, "responseStatus").get("code")
    return {
        "class_uid": API_ACTIVITY,
        "class_name": "API Activity",
        "category_uid": 6,
        "category_name": "Application Activity",
        "activity_id": activity,
        "type_uid": API_ACTIVITY * 100 + activity,
        "severity_id": SEVERITIES.get(_text(_map(record, "risk"), "level"), INFORMATIONAL),
        "time": _milliseconds(record),
        "metadata": {
            "version": OCSF_VERSION,
            "profiles": ["security_control"],
            "product": {"name": "kube-chaperone", "vendor_name": "kube-chaperone"},
            "uid": item.id,
            "correlation_uid": _text(record, "auditID"),
        },
        "actor": {
            "user": {
                "name": _text(user, "username"),
                "uid": _text(user, "subject"),
                "domain": _text(user, "issuer"),
                "groups": [{"name": str(name)} for name in user.get("groups") or ()],
            },
            "session": {"uid": _text(record, "run")},
        },
        "api": {
            "operation": _text(record, "verb"),
            "service": {"name": "kubernetes"},
            "version": _text(_map(record, "objectRef"), "apiVersion"),
            "request": {"uid": _text(record, "auditID"), **_data(record, "requestObject")},
            "response": {"code": code if isinstance(code, int) else 0, **_data(record, "responseObject")},
        },
        "src_endpoint": {"ip": str(next(iter(record.get("sourceIPs") or ()), ""))},
        "http_request": {
            "user_agent": _text(record, "userAgent"),
            "url": {"path": _text(record, "requestURI")},
        },
        "action_id": DENIED if _refused(record) else ALLOWED,
        "status_id": 1 if isinstance(code, int) and code < 400 else 2,
        "status_code": str(code or ""),
        "status_detail": _text(record, "verdictReason") or _text(record, "reason"),
        "policy": {"name": _text(_map(record, "policy"), "name")},
        "resources": _resources(_map(record, "objectRef")),
        "unmapped": {
            key: record[key]
            for key in (
                "stage",
                "agent",
                "model",
                "verdict",
                "risk",
                "approval",
                "masked",
                "recording",
                "objectBefore",
                "unrecorded",
                "omitted",
                "chain",
            )
            if key in record
        },
    }


def otlp(items: Sequence[Outgoing]) -> dict[str, Any]:
    """A body for OTLP/HTTP's `/v1/logs` (JSON encoding)."""
    scope = {"name": "kube-chaperone.audit"}
    resource = {"attributes": [_attribute("service.name", "kube-chaperone")]}
    logs = [_log_record(item) for item in items]
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": logs}]}]}


def syslog(item: Outgoing, longest: int = LONGEST_MESSAGE) -> bytes:
    """One message of RFC 5424, without framing; the record itself is its text. One that would be longer carries the
    record's brief, and is cut at its end where even that is too long, as section 6.1 has it."""
    message = _message(item)
    if len(message) > longest:
        message = _message(item.brief())
    return message if len(message) <= longest else _cut(message, longest)


def _message(item: Outgoing) -> bytes:
    record, link = item.record, item.sealed.link
    severity = SYSLOG_WARNING if _refused(record) else SYSLOG_INFO
    names = ("auditID", "run", "agent", "verb", "verdict")
    data = "".join(f' {name}="{_parameter(_text(record, name))}"' for name in names if _text(record, name))
    head = (
        f"<{SYSLOG_AUDIT * 8 + severity}>1 {_text(record, 'stageTimestamp') or '-'} {link.writer} kube-chaperone"
        f" {link.sequence} {_text(record, 'stage')[:32] or '-'} [{ENTERPRISE}{data}] "
    )
    return head.encode() + b"\xef\xbb\xbf" + item.line


def _cut(message: bytes, longest: int) -> bytes:
    """Never within a character."""
    return message[:longest].decode(errors="ignore").encode()


def _log_record(item: Outgoing) -> dict[str, Any]:
    record = item.record
    refused = _refused(record)
    named = {
        "gen_ai.agent.id": _text(record, "agent"),
        "gen_ai.conversation.id": _text(record, "run"),
        "gen_ai.request.model": _text(record, "model"),
        "enduser.id": _text(_map(record, "user"), "username"),
        "k8s.namespace.name": _text(_map(record, "objectRef"), "namespace"),
        "url.path": _text(record, "requestURI"),
        "user_agent.original": _text(record, "userAgent"),
        "chaperone.audit_id": _text(record, "auditID"),
        "chaperone.verb": _text(record, "verb"),
        "chaperone.verdict": _text(record, "verdict"),
        "log.record.uid": item.id,
    }
    log: dict[str, Any] = {
        "timeUnixNano": str(_milliseconds(record) * 1_000_000),
        "severityNumber": OTEL_WARN if refused else OTEL_INFO,
        "severityText": "WARN" if refused else "INFO",
        "body": {"stringValue": item.line.decode(errors="replace")},
        "attributes": [_attribute(name, value) for name, value in named.items() if value],
    }
    trace = _text(record, "traceparent").split("-")
    if len(trace) == 4:
        log |= {"traceId": trace[1], "spanId": trace[2]}
    return log


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


def _data(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object as OCSF's requests and responses carry it, where it was recorded."""
    return {"data": record[name]} if name in record else {}


def _resources(reference: Mapping[str, Any]) -> list[dict[str, str]]:
    if not reference:
        return []
    fields = {"type": "resource", "name": "name", "namespace": "namespace", "group": "apiGroup"}
    found = {name: _text(reference, key) for name, key in fields.items() if _text(reference, key)}
    found.pop("group", None)
    return [found]


def _refused(record: Mapping[str, Any]) -> bool:
    return _text(record, "verdict") in ("Deny", "Hold")


def _milliseconds(record: Mapping[str, Any]) -> int:
    try:
        return round(unix_seconds(_text(record, "stageTimestamp")) * 1000)
    except ValueError:
        return 0


def _parameter(text: str) -> str:
    """RFC 5424, 6.3.3."""
    return text[:LONGEST_PARAMETER].replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _map(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _text(record: Mapping[str, Any], key: str) -> str:
    found = record.get(key)
    return found if isinstance(found, str) else ""
