"""Audit records read back: what was asked, by whom, and at which risk. Pure.

A record has no body and no claims of the token; whoever judges it again must say what that leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chaperone.core import risk as catalogue
from chaperone.core.identity import Caller
from chaperone.core.request import Payload, Request, Unreadable, parse
from chaperone.core.risk.catalogue import ROWS_BY_ID
from chaperone.core.verdict import Action, Risk

Record = Mapping[str, Any]

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
"""Verbs of resources, and the method each is sent with."""
STORED = "application/merge-patch+json"
"""Of a patch only the verb matters here; the record does not say which form it had."""
ACTIONS = {action.word: action for action in Action}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request that was judged. decided: Hold also where an approval was spent for it, for without it it was held."""

    audit_id: str
    time: str
    request: Request
    caller: Caller
    risk: Risk
    decided: Action
    policy: str
    rule: str
    code: int


def read(record: Record) -> Recorded | str:
    """The request of a record that ends one (ResponseComplete), or why there is none to judge."""
    if record.get("stage") != "ResponseComplete":
        return "it is not the last record of its request"
    decided = ACTIONS.get(str(record.get("verdict")))
    user = _mapping(record, "user")
    if decided is None or not user:
        return "it was refused before a policy was asked"
    request = request_of(record)
    if isinstance(request, Unreadable):
        return f"its request cannot be read: {request.reason}"
    policy = _mapping(record, "policy")
    return Recorded(
        audit_id=str(record.get("auditID") or ""),
        time=str(record.get("requestReceivedTimestamp") or ""),
        request=request,
        caller=_caller(record, user),
        risk=_risk(record),
        decided=Action.HOLD if _mapping(record, "approval") and decided is Action.ALLOW else decided,
        policy=str(policy.get("name") or ""),
        rule=str(policy.get("rule") or ""),
        code=int(_mapping(record, "responseStatus").get("code") or 0),
    )


def request_of(record: Record) -> Request | Unreadable:
    """The request of any record, without its body."""
    verb = str(record.get("verb") or "")
    upgrade = str(record.get("upgrade") or "")
    if upgrade:
        method = "GET" if upgrade == "websocket" else "POST"
    else:
        method = METHODS.get(verb, "") if "objectRef" in record else verb.upper()
    content_type = STORED if method == "PATCH" else "application/json"
    read = parse(method, str(record.get("requestURI") or ""), upgrade=upgrade, content_type=content_type)
    if isinstance(read, Unreadable):
        return read
    return replace(read, payload=Payload(undetermined=frozenset({"object", "oldObject", "options"})))


def _caller(record: Record, user: Record) -> Caller:
    groups = user.get("groups")
    return Caller(
        issuer=str(user.get("issuer") or ""),
        subject=str(user.get("subject") or ""),
        username=str(user.get("username") or ""),
        groups=tuple(map(str, groups)) if isinstance(groups, list) else (),
        run=str(record.get("run") or ""),
        model=str(record.get("model") or ""),
        agent=str(record.get("agent") or ""),
    )


def _risk(record: Record) -> Risk:
    rows = _mapping(record, "risk").get("rows")
    known = (row for row in (rows if isinstance(rows, list) else []) if row in ROWS_BY_ID)
    return Risk(tuple(catalogue.finding(row) for row in known))


def _mapping(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
