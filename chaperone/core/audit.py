"""Audit records: one line of JSON for each stage of a request, close to `audit.k8s.io/v1` Event. Pure:
`now` is given.

A record never holds a token or a body. What strangers wrote stays as it was, but no character of it can
break the line or move a cursor. Fields that say nothing are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import orjson

from chaperone.core.identity import Caller, Identity
from chaperone.core.legible import json_line, visible
from chaperone.core.request import Request, redact_target
from chaperone.core.timestamp import rfc3339_micro
from chaperone.core.url import redact_tokens
from chaperone.core.verdict import Verdict

_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
MAX_TEXT = 512
"""Longest text from strangers in one field, in characters."""


class Stage(Enum):
    """RequestReceived: durable before a mutation is forwarded. ResponseStarted: a stream has opened.
    ResponseComplete: the end, or a refusal. Panic: the gateway itself failed. RecordingRemoved: long after the end of
    a stream, its recording goes.
    """

    RECEIVED = "RequestReceived"
    STARTED = "ResponseStarted"
    COMPLETE = "ResponseComplete"
    PANIC = "Panic"
    REMOVED = "RecordingRemoved"


def record(
    stage: Stage,
    *,
    audit_id: str,
    received_at: float,
    now: float,
    request: Request | None = None,
    method: str = "",
    target: str = "",
    caller: Caller | None = None,
    identity: Identity | None = None,
    verdict: Verdict | None = None,
    source_ips: Sequence[str] = (),
    user_agent: str = "",
    traceparent: str = "",
    reason: str = "",
    code: int | None = None,
    bytes_in: int = 0,
    bytes_out: int = 0,
    durations: Mapping[str, float] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The record of one stage. received_at, now: Unix seconds. method, target: as sent, where there is no
    request because nobody could read it. identity: who is impersonated. reason: why it was refused
    before or beside the verdict. traceparent: the client's (W3C), a hint and no proof. code: of the response,
    when there is one. durations: seconds by part (auth, judge, hold, upstream).
    """
    entry: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": audit_id,
        "stage": stage.value,
        "requestURI": redact_target(target if request is None else request.target),
        "verb": visible(method.lower(), 20) if request is None else request.verb,
        "requestReceivedTimestamp": rfc3339_micro(received_at),
        "stageTimestamp": rfc3339_micro(now),
    }
    if request is not None:
        _add_request(entry, request)
    if caller is not None:
        _add_caller(entry, caller)
    if identity is not None:
        entry["impersonatedUser"] = _user(identity.username, identity.groups)
    if verdict is not None:
        _add_verdict(entry, verdict)
    if code is not None:
        entry["responseStatus"] = {"code": code}
    if bytes_in or bytes_out:
        entry["bytes"] = {"in": bytes_in, "out": bytes_out}
    if durations:
        entry["milliseconds"] = {part: round(seconds * 1000, 3) for part, seconds in durations.items()}
    _add_filled(
        entry,
        (
            ("sourceIPs", list(source_ips)),
            ("userAgent", user_agent[:MAX_TEXT]),
            ("traceparent", traceparent if _TRACEPARENT.fullmatch(traceparent) else ""),
            ("reason", reason[:MAX_TEXT]),
            ("annotations", annotations),
        ),
    )
    return entry


def encode(entry: Mapping[str, Any]) -> bytes:
    """A record as one line, without its line end: control and other unseen characters are JSON escapes, and
    whatever looks like a token is gone. Raises TypeError for what JSON cannot say, surrogates included.
    """
    if isinstance(entry, Encoded):
        return entry.line
    line = orjson.dumps(entry)
    if b"eyJ" in line:
        line = redact_tokens(line.decode()).encode()
    return json_line(line)


class Encoded(Mapping[str, Any]):
    """A record that is a line already; it is only read again when somebody looks into it. like: the record of which it
    differs in nothing but its id and its times; now: Unix seconds of its stage."""

    __slots__ = ("audit_id", "like", "line", "now")

    def __init__(self, line: bytes, like: Mapping[str, Any], audit_id: str, now: float) -> None:
        self.line = line
        self.like = like
        self.audit_id = audit_id
        self.now = now

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[str, Any]:
        entry: dict[str, Any] = orjson.loads(self.line)
        return entry


class Repeated:
    """The records of requests that differ only in their id, their times and their milliseconds: whatever else is in
    them is encoded once. Made from the record of one of them. Raises as `encode` does, and ValueError for a record
    without durations.
    """

    __slots__ = ("_entry", "_pieces")

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self._entry = entry
        rest = dict(entry)
        if not rest.pop("milliseconds", None):
            raise ValueError("a record that is to be repeated has durations")
        for varying in ("auditID", "requestReceivedTimestamp", "stageTimestamp"):
            del rest[varying]
        shared = encode({key: rest.pop(key) for key in ("kind", "apiVersion", "level")}).decode()
        self._pieces = (
            f'{shared[:-1]},"auditID":"',
            '","requestReceivedTimestamp":"',
            '","stageTimestamp":"',
            f'",{encode(rest).decode()[1:-1]},"milliseconds":{{"decide":',
        )

    def record(self, audit_id: str, received_at: float, forwarded_at: float, now: float) -> Encoded:
        """audit_id: nothing but hexadecimal digits and dashes. Times in Unix seconds."""
        first, second, third, fourth = self._pieces
        received, done = rfc3339_micro(received_at), rfc3339_micro(now)
        decide, upstream = (forwarded_at - received_at) * 1000, (now - forwarded_at) * 1000
        line = f'{first}{audit_id}{second}{received}{third}{done}{fourth}{decide:.3f},"upstream":{upstream:.3f}}}}}'
        return Encoded(line.encode(), self._entry, audit_id, now)


def _add_caller(entry: dict[str, Any], caller: Caller) -> None:
    user = _user(caller.username, caller.groups)
    user["issuer"], user["subject"] = caller.issuer, caller.subject
    entry["user"] = user
    _add_filled(entry, (("run", caller.run), ("agent", caller.agent), ("model", caller.model)))


def _user(username: str, groups: Sequence[str]) -> dict[str, Any]:
    return {"username": username, "groups": list(groups)} if groups else {"username": username}


def _add_request(entry: dict[str, Any], request: Request) -> None:
    if request.upgrade:
        entry["upgrade"] = request.upgrade
    if not request.is_resource:
        return
    entry["objectRef"] = reference = {"resource": request.resource, "apiVersion": request.version}
    _add_filled(
        reference,
        (
            ("apiGroup", request.group),
            ("namespace", request.namespace),
            ("name", request.name),
            ("subresource", request.subresource),
        ),
    )


def _add_verdict(entry: dict[str, Any], verdict: Verdict) -> None:
    entry["verdict"] = verdict.action.word
    if verdict.would is not None and verdict.would is not verdict.action:
        entry["would"] = verdict.would.word
    if verdict.policy:
        entry["policy"] = {
            "name": verdict.policy,
            "generation": verdict.policy_generation,
            "rule": verdict.rule,
        }
    if verdict.masking_profile:
        entry["maskingProfile"] = verdict.masking_profile
    if len(verdict.policies) > 1:
        entry["policies"] = list(verdict.policies)
    if verdict.reason:
        entry["verdictReason"] = verdict.reason[: 4 * MAX_TEXT]
    if verdict.risk.findings:
        entry["risk"] = {"level": verdict.risk.level.word, "rows": list(verdict.risk.rows)}
    if verdict.approval_uid:
        entry["approval"] = {"name": verdict.approval_name, "uid": verdict.approval_uid}


def _add_filled(entry: dict[str, Any], fields: tuple[tuple[str, Any], ...]) -> None:
    """Each field that says something."""
    entry.update([field for field in fields if field[1]])
