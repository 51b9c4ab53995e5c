"""Audit records of the data path as plain values: a superset of `audit.k8s.io/v1` Event. No body, no token.

Stages: RequestReceived (durable before a mutation), ResponseStarted (a stream that is open), ResponseComplete (the
end, or a refusal).
"""

from __future__ import annotations

from typing import Any

from chaperone.core.identity import Caller
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.http.framing import Head, readable

RECEIVED = "RequestReceived"
STARTED = "ResponseStarted"
COMPLETE = "ResponseComplete"
MOST_TARGET = 2048


def request_record(
    *,
    stage: str,
    audit_id: str,
    received_at: float,
    now: float,
    peer: str,
    head: Head | None,
    caller: Caller | None = None,
    request: Request | None = None,
    verdict: Verdict | None = None,
    impersonated: str = "",
) -> dict[str, Any]:
    """What is known of a request at one stage. Times are Unix seconds."""
    record: dict[str, Any] = {
        "stage": stage,
        "auditID": audit_id,
        "requestReceivedTimestamp": received_at,
        "stageTimestamp": now,
        "sourceIPs": [peer],
    }
    if head is not None:
        record["method"] = head.method
        record["userAgent"] = head.user_agent
    if request is not None:
        record["requestURI"] = request.target[:MOST_TARGET]
        record["verb"] = request.verb
        if request.is_resource:
            record["objectRef"] = object_ref(request)
    elif head is not None:
        record["requestURI"] = shown_target(head.target)
    if caller is not None:
        record["user"] = {"username": caller.username, "groups": list(caller.groups)}
        record["agent"] = {
            "issuer": caller.issuer,
            "subject": caller.subject,
            "run": caller.run,
            "model": caller.model,
            "agent": caller.agent,
        }
    if impersonated:
        record["impersonatedUser"] = {"username": impersonated}
    if verdict is not None:
        record["decision"] = decision(verdict)
    return record


def object_ref(request: Request) -> dict[str, str]:
    fields = {
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
        "apiGroup": request.group,
        "apiVersion": request.version,
    }
    return {key: value for key, value in fields.items() if value}


def decision(verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {
        "action": verdict.action.word,
        "policy": verdict.policy,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "policies": list(verdict.policies),
        "risk": {"level": verdict.risk.level.word, "rows": list(verdict.risk.rows)},
    }
    if verdict.would is not None and verdict.would is not verdict.action:
        said["would"] = verdict.would.word
    if verdict.approval_uid:
        said["approval"] = {"uid": verdict.approval_uid, "name": verdict.approval_name}
    return said


def shown_target(target: str) -> str:
    """A target that nobody could read, for the record: without its query, which may hold a token."""
    path, mark, _ = target.partition("?")
    return readable(path[:MOST_TARGET].encode("latin-1", "replace")) + ("?[redacted]" if mark else "")
