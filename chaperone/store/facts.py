"""What of a record is searched by, taken out of its fields. Always storable, whatever strangers wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from chaperone.core.audit import Encoded, Stage
from chaperone.core.chain import Sealed
from chaperone.core.legible import visible
from chaperone.core.timestamp import unix_seconds
from chaperone.core.url import REDACTED
from chaperone.store.briefs import LARGE, brief_of

LONGEST = 253
REMEMBERED = 8192
MARK = REDACTED.encode()
"""In a line from which a token was taken: the record as it was before must not get into a column."""
NOBODY = ("", "", "", "", "")
ENDED = (Stage.COMPLETE.value, Stage.PANIC.value)


class Facts(NamedTuple):
    """The columns of one record but its id, its caller's number and its line. caller: run, agent, model, issuer,
    username; at: microseconds since 1970; brief: of a large record."""

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
    brief: bytes | None = None

    @property
    def ended(self) -> bool:
        """Whether this record ends a request, and is counted."""
        return self.stage in ENDED


class FactFinder:
    """Facts of records as they are written; what repeated records share is looked at once."""

    def __init__(self) -> None:
        self._shared: dict[int, tuple[Mapping[str, Any], tuple[Any, ...]]] = {}

    def of_batch(self, batch: Sequence[Sealed]) -> list[Facts]:
        return [self._of(sealed) for sealed in batch]

    def _of(self, sealed: Sealed) -> Facts:
        record, line = sealed.record, sealed.line
        if isinstance(record, Encoded):
            known = self._shared.get(id(record.like))
            if known is None or known[0] is not record.like:
                known = self._remember(record)
            facts = Facts._make((round(record.now * 1_000_000), record.audit_id, *known[1]))
        else:
            facts = _of_line(line, record)
        return facts._replace(brief=brief_of(line)) if len(line) > LARGE else facts

    def _remember(self, record: Encoded) -> tuple[Mapping[str, Any], tuple[Any, ...]]:
        """What differs between repeated records holds no token, so that one of them tells of all."""
        if len(self._shared) >= REMEMBERED:
            self._shared.clear()
        known = self._shared[id(record.like)] = (record.like, _of_line(record.line, record.like)[2:])
        return known


def _of_line(line: bytes, record: Mapping[str, Any] | None) -> Facts:
    return facts_of(orjson.loads(line) if record is None or MARK in line else record)


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
    return _legible(value) if isinstance(value, str) and value else ""


@lru_cache(maxsize=REMEMBERED)
def _legible(text: str) -> str:
    return visible(text, LONGEST)


def _resource(reference: Mapping[str, Any]) -> str:
    resource, group, sub = (word(reference.get(key)) for key in ("resource", "apiGroup", "subresource"))
    full = f"{resource}.{group}" if group else resource
    return f"{full}/{sub}" if sub else full


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _micro(value: object) -> int:
    """Of a time as records carry it, and of any other RFC 3339."""
    text = str(value)
    if len(text) == len("2026-01-31T09:00:00.000000Z") and text[19] == "." and text[26] == "Z":
        second, fraction = _second(text[:19]), text[20:26]
        if second and fraction.isdecimal() and fraction.isascii():
            return second + int(fraction)
    try:
        return round(unix_seconds(text) * 1_000_000)
    except ValueError:
        return 0


@lru_cache(maxsize=64)
def _second(text: str) -> int:
    """Microseconds; 0 for what is no time."""
    try:
        return round(unix_seconds(f"{text}Z")) * 1_000_000
    except ValueError:
        return 0
