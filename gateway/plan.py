"""What is to be sent for an allowed request, and whether it has an end of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.masking import Echo
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.changes import Change
from gateway.http.framing import Head
from gateway.standing import KnownRead, Standing


@dataclass(slots=True)
class Plan:
    """What is to be sent, decided, and not changed any more. identity: the impersonation headers on the wire. known: of
    a read that was sent before, with the same verdict. echo: what the agent wrote itself at places that are masked.
    steady: what the metadata in its answer is to say, where the API server's own numbers would tell too much. change:
    what is recorded of the objects of a mutation."""

    request: Request
    head: Head
    identity: bytes
    subprotocols: tuple[str, ...]
    standing: Standing
    verdict: Verdict
    audit_id: str
    known: KnownRead | None = None
    echo: Echo | None = None
    steady: Mapping[str, Any] | None = None
    change: Change | None = None


def is_long_running(request: Request) -> bool:
    """Has no limit on its time: watches, followed logs, and all that admission calls CONNECT."""
    if request.verb in ("watch", "proxy") or request.upgrade or request.is_connect:
        return True
    return request.full_resource == "pods/log" and (request.parameter("follow") or "0").lower() not in (
        "0",
        "false",
    )
