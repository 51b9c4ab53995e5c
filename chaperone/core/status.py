"""Answers that API clients understand: `metav1.Status` objects, and messages that a model can act on.

kubectl prints `message`; programs read `reason`, `code` and `details.causes`. Whatever comes from strangers
is escaped. Nothing here says what another caller may not know: the reason of a 401 belongs to the audit
record. Source: apimachinery pkg/apis/meta/v1 types.go (reasons), pkg/api/errors (messages), RFC 9110 and
7234 (headers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.legible import visible
from chaperone.core.request import METHODS, Request
from chaperone.core.verdict import Verdict

MAX_MESSAGE = 4096
MAX_WARNING = 256
"""Longest message, and longest text of one Warning header, in characters."""

REASONS: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""By code, as the API server words them; any other 5xx is InternalError, anything else has no reason."""

_RUN_AGAIN = "Then run exactly the same command again: it finds this approval."
_STOP = "Do not try to reach the same effect in another way."


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of details.causes: a machine-readable reason, the field it is about, a message."""

    reason: str
    message: str
    field: str = ""


def status(
    code: int,
    message: str,
    *,
    reason: str = "",
    request: Request | None = None,
    causes: Sequence[Cause] = (),
    retry_after: int | None = None,
) -> dict[str, Any]:
    """A `metav1.Status` failure. reason: derived from the code as the API server does when "". request: fills
    details.name, group, kind (its resource). retry_after: whole seconds, details.retryAfterSeconds."""
    answer: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": visible(message, MAX_MESSAGE),
        "code": code,
    }
    reason = reason or REASONS.get(code, "InternalError" if code >= 500 else "")
    if reason:
        answer["reason"] = reason
    details = _details(request, causes, retry_after)
    if details:
        answer["details"] = details
    return answer


def headers(answer: Mapping[str, Any], warnings: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """The headers that a Status asks for: Retry-After, WWW-Authenticate, Allow, and one Warning for each
    text.
    """
    code = answer["code"]
    retry_after = answer.get("details", {}).get("retryAfterSeconds")
    fixed = {401: ("WWW-Authenticate", "Bearer"), 405: ("Allow", ", ".join(METHODS))}
    return (
        *([fixed[code]] if code in fixed else []),
        *([("Retry-After", str(retry_after))] if retry_after is not None else []),
        *(("Warning", f"299 - {_quoted(warning)}") for warning in warnings),
    )


def unauthorized(message: str = "") -> dict[str, Any]:
    """401 as the API server words it; the reason goes to the audit record, not to the client."""
    return status(401, message or "Unauthorized")


def denied(request: Request, verdict: Verdict) -> dict[str, Any]:
    """403 for a Deny: who denied (policy and rule), why, the risk rows, and what to do instead."""
    rows = f" Risk {verdict.risk.level.word}: {', '.join(verdict.risk.rows)}." if verdict.risk.rows else ""
    advice = "Ask those who keep the policy, or do what it allows."
    causes = [
        *_named("PolicyDenied", "policy", verdict.policy),
        *_named("RuleDenied", "rule", verdict.rule),
        *(Cause("Risk", finding.reason, finding.row) for finding in verdict.risk.findings),
    ]
    reason = verdict.reason or "the request is denied"
    return status(403, f"{reason}.{rows} {_STOP} {advice}", request=request, causes=causes)


def held(
    request: Request,
    *,
    name: str,
    policy: str,
    required: int,
    hold_left: float,
    approved: int = 0,
    approvers: Sequence[str] = (),
    expires_at: str = "",
    retry_after: int = 1,
) -> dict[str, Any]:
    """A request that waits for people. hold_left: seconds for which the client may still be kept coming:
    429 with retryAfterSeconds (retry_after, but never beyond that time); 0 or less: 403, the client must
    come by itself.

    name: the ApprovalRequest's. approvers: groups and users that the policy names. expires_at: RFC 3339.
    """
    who = f", who must be one of {_list(approvers)}" if approvers else ""
    until = f" It can be approved until {expires_at}." if expires_at else ""
    message = (
        f"{_what(request)} was not executed: it waits for ApprovalRequest {name}, which has {approved} of {required} "
        f"approvals. A person who may approve under AgentPolicy {policy}{who} looks at it with `kubectl get apreq "
        f"{name} -o yaml` and approves it with `{approve_command(name)}`.{until} {_RUN_AGAIN}"
    )
    cause = Cause("ApprovalPending", f"{approved} of {required} approvals", name)
    if hold_left <= 0:
        return status(403, message, request=request, causes=[cause])
    seconds = max(1, min(retry_after, math.ceil(hold_left)))
    return status(429, message, request=request, causes=[cause], retry_after=seconds)


def approve_command(name: str) -> str:
    """The gesture of approving, from any kubectl that knows --subresource."""
    patch = '{"status":{"decision":"Approved"}}'
    return f"kubectl patch apreq {name} --subresource=status --type=merge -p '{patch}'"


def approval_used(request: Request, *, name: str, again_at: str = "") -> dict[str, Any]:
    """403: the approval has been spent. again_at: RFC 3339, when the same command asks for a new one."""
    advice = f"One approval is for one execution: look whether the effect is already there.{_after(again_at)}"
    return _ended(403, request, Cause("ApprovalUsed", "has been used", name), advice)


def approval_denied(
    request: Request, *, name: str, by: str = "", said: str = "", again_at: str = ""
) -> dict[str, Any]:
    """403: a person said no. by, said: who, and in which words (untrusted)."""
    who = f" by {visible(by, 80)}" if by else ""
    words = f": {visible(said, 300)}" if said else ""
    return _ended(
        403, request, Cause("ApprovalDenied", f"was denied{who}{words}", name), f"{_STOP}{_after(again_at)}"
    )


def approval_ended(request: Request, *, name: str, became: str) -> dict[str, Any]:
    """403: it ended while the client waited for it. became: what has become of it, as "was cancelled"."""
    advice = "If the command is still right, run it again to ask for a new approval."
    return _ended(403, request, Cause("ApprovalEnded", became, name), advice)


def approval_withdrawn(request: Request, *, name: str, again_at: str = "") -> dict[str, Any]:
    """403: whoever asked for it has taken it back. again_at: RFC 3339, when the same command asks anew."""
    cause = Cause("ApprovalCancelled", "was cancelled by its requester", name)
    return _ended(403, request, cause, f"Nobody is asked any more.{_after(again_at)}")


def approval_executing(request: Request, *, name: str) -> dict[str, Any]:
    """409: another request spends it at this moment."""
    advice = "Look at the result instead of sending it again."
    return _ended(409, request, Cause("ApprovalExecuting", "is being executed", name), advice)


def approval_unknown(request: Request, *, name: str) -> dict[str, Any]:
    """403: it was claimed, and nobody knows how that ended."""
    advice = (
        "Look at the live object and tell a person, who can delete the ApprovalRequest; nothing is repeated."
    )
    return _ended(
        403, request, Cause("ApprovalUnknown", "was claimed, and its outcome is not known", name), advice
    )


def approval_changed(
    request: Request, *, name: str, reason: str, changed: Sequence[str] = ()
) -> dict[str, Any]:
    """403: what was approved is not what stands now. changed: "request", "target", "policy"."""
    advice = "Look again; if the command is still right, run it again to ask for a new approval."
    causes = [Cause("Changed", reason, field) for field in changed]
    return _ended(403, request, Cause("ApprovalChanged", f"does not serve: {reason}", name), advice, causes)


def _ended(
    code: int, request: Request, cause: Cause, advice: str, more: Sequence[Cause] = ()
) -> dict[str, Any]:
    """cause: its message is what has become of the approval, its field is the approval's name."""
    message = f"{_what(request)} was not executed: ApprovalRequest {cause.field} {cause.message}. {advice}"
    return status(code, message, request=request, causes=[cause, *more])


def _details(request: Request | None, causes: Sequence[Cause], retry_after: int | None) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if request is not None:
        words = {"name": request.name, "group": request.group, "kind": request.resource}
        details.update({key: visible(value) for key, value in words.items() if value})
    if causes:
        details["causes"] = [_cause(cause) for cause in causes]
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    return details


def _cause(cause: Cause) -> dict[str, str]:
    entry = {"reason": cause.reason, "message": visible(cause.message, MAX_MESSAGE)}
    return {**entry, "field": visible(cause.field)} if cause.field else entry


def _named(reason: str, field: str, name: str) -> list[Cause]:
    return [Cause(reason, name, field)] if name else []


def _what(request: Request) -> str:
    """`delete of deployments.apps "web" in namespace "shop"`."""
    if not request.is_resource:
        return f"{request.verb} of {request.path}"
    group = f".{request.group}" if request.group else ""
    name = f' "{visible(request.name, 253)}"' if request.name else ""
    lives_in_itself = request.resource == "namespaces" and not request.group
    place = (
        f' in namespace "{visible(request.namespace, 253)}"'
        if request.namespace and not lives_in_itself
        else ""
    )
    return f"{request.verb} of {request.full_resource}{group}{name}{place}"


def _list(names: Sequence[str]) -> str:
    shown = [visible(name, 80) for name in names[:10]]
    return ", ".join([*shown, f"{len(names) - 10} more"] if len(names) > 10 else shown)


def _after(moment: str) -> str:
    return f" After {moment} the same command asks for a new approval." if moment else ""


def _quoted(text: str) -> str:
    """A quoted-string of RFC 9110, in visible ASCII."""
    ascii_only = visible(text, MAX_WARNING).encode("ascii", "backslashreplace").decode()
    escaped = ascii_only.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
