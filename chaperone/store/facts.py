"""What of a record is searched by, taken out of its fields. Always storable, whatever strangers wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from chaperone.core.audit import Stage
from chaperone.core.legible import visible
from chaperone.core.timestamp import unix_seconds

LONGEST = 253
NOBODY = ("", "", "", "", "")
ENDED = (Stage.COMPLETE.value, Stage.PANIC.value)


class Facts(NamedTuple):
    """The searched columns of one record but its id, its caller's number and its line; caller: run, agent, model, issuer,
    username. at: microseconds since 1970."""

    at: int
    audit_id: str
    stage: str
    caller: tuple[str, str, str, str, str]
    verb: str
    verdict: str
    risk: str
    code: int
    policy: str
    resource: str
    namespace: str
    name: str

    @property
    def ended(self) -> bool:
        """Whether this record ends a request, and is counted."""
        return self.stage in ENDED


def facts_of(record: Mapping[str, Any]) -> Facts:
    """Fields of another type than expected count as empty: the record itself is kept whole all the same."""
    reference = _mapping(record.get("objectRef"))
    code = _mapping(record.get("responseStatus")).get("code")
    return Facts(
        _micro(record.get("stageTimestamp")),
        word(record.get("auditID")),
        word(record.get("stage")),
        caller_of(record),
        word(record.get("verb")),
        word(record.get("verdict")),
        word(_mapping(record.get("risk")).get("level")),
        code if isinstance(code, int) and 0 <= code < 1000 else 0,
        word(_mapping(record.get("policy")).get("name")),
        _resource(reference),
        word(reference.get("namespace")),
        word(reference.get("name")),
    )


def caller_of(record: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    user = _mapping(record.get("user"))
    if not user:
        return NOBODY
    return (
        word(record.get("run")),
        word(record.get("agent")),
        word(record.get("model")),
        word(user.get("issuer")),
        word(user.get("username")),
    )


def digest_of(caller: tuple[str, ...]) -> str:
    """Tells callers apart; two lists of words never give the same."""
    return hashlib.sha256("\0".join(caller).encode()).hexdigest()


def word(value: object) -> str:
    """A text for a column: legible, bounded, no NUL; "" for what is no text."""
    if not isinstance(value, str) or not value:
        return ""
    if len(value) <= LONGEST and value.isascii() and value.isprintable():
        return value
    return visible(value, LONGEST)


def _resource(reference: Mapping[str, Any]) -> str:
    resource, group, sub = (word(reference.get(key)) for key in ("resource", "apiGroup", "subresource"))
    full = f"{resource}.{group}" if group else resource
    return f"{full}/{sub}" if sub else full


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _micro(value: object) -> int:
    try:
        return round(unix_seconds(str(value)) * 1_000_000)
    except ValueError:
        return 0
