"""The data path's audit records: what an exchange knows, in the words of `chaperone.core.audit`. No body, no token.

Stages: RequestReceived (durable before a mutation), ResponseStarted (a stream that is open), ResponseComplete (the
end, or a refusal).
"""

from __future__ import annotations

from typing import Any

from chaperone.core import audit
from chaperone.core.audit import Stage
from chaperone.core.identity import Caller, Identity
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.http.framing import Head

RECEIVED = Stage.RECEIVED
STARTED = Stage.STARTED
COMPLETE = Stage.COMPLETE


def request_record(
    *,
    stage: Stage,
    audit_id: str,
    received_at: float,
    now: float,
    peer: str,
    head: Head | None,
    caller: Caller | None = None,
    request: Request | None = None,
    verdict: Verdict | None = None,
    identity: Identity | None = None,
    forwarded_at: float = 0.0,
    code: int | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """What is known of a request at one stage. Times are Unix seconds; forwarded_at 0.0: it was not."""
    return audit.record(
        stage,
        audit_id=audit_id,
        received_at=received_at,
        now=now,
        request=request,
        method=head.method if head is not None else "",
        target=head.target if head is not None else "",
        caller=caller,
        identity=identity,
        verdict=verdict,
        source_ips=(peer,),
        user_agent=head.user_agent if head is not None else "",
        traceparent=traceparent(head) if head is not None else "",
        reason=reason,
        code=code,
        durations=_durations(received_at, forwarded_at, now),
    )


def traceparent(head: Head) -> str:
    """The client's trace context (W3C), "" when it sent none."""
    for name, value in head.forwarded:
        if name == b"traceparent":
            return value.decode("latin-1")
    return ""


def _durations(received_at: float, forwarded_at: float, now: float) -> dict[str, float]:
    """decide: until it was forwarded or refused, waiting for people included; upstream: from then on."""
    if not forwarded_at:
        return {"decide": now - received_at}
    return {"decide": forwarded_at - received_at, "upstream": now - forwarded_at}
