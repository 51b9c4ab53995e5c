"""A program of ours that writes for a person who has logged in to it: the console, when somebody decides there. Pure.

The console cannot become that person for the API server (a right to impersonate anybody would be the whole cluster).
It writes with its own account and names the person in `status.onBehalfOf`. Only its account may, only with a decision,
and from there on the write counts as the person's: every rule and RBAC itself are asked about the person. The field
stays on the object, so that the stamped review can be checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.identity import check_name

FIELD = "onBehalfOf"
MOST_GROUPS = 512

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why the write is refused; a sentence's end: "ApprovalRequest X …"."""

    reason: str


def for_the_person(review: Obj, console: str) -> Obj | Unusable:
    """The review as if the person whom the console names had written it, without the field; any other review as it is.

    review: the `request` of an AdmissionReview on an ApprovalRequest. console: username of the console's account.
    """
    old, new = _status(review.get("oldObject")), _status(review.get("object"))
    is_console = bool(console) and _mapping(review.get("userInfo")).get("username") == console
    if not is_console:
        if old.get(FIELD) != new.get(FIELD) and review.get("operation") in ("CREATE", "UPDATE"):
            return Unusable(f"has a field status.{FIELD} that only the console writes")
        return _without_field(review)
    if review.get("operation") != "UPDATE" or review.get("subResource") != "status":
        return Unusable("is for people to change: the console only passes on their decisions")
    person = _person(new.get(FIELD))
    if isinstance(person, Unusable):
        return person
    return {**_without_field(review), "userInfo": person}


def _person(value: object) -> dict[str, Any] | Unusable:
    """The userInfo of the named person."""
    named = _mapping(value)
    username, groups = named.get("username"), named.get("groups") or []
    if not isinstance(username, str) or not isinstance(groups, list) or len(groups) > MOST_GROUPS:
        return Unusable(f"needs status.{FIELD} with the username and the groups of the person who decides")
    for name in (username, *groups):
        if not isinstance(name, str) or (fault := check_name(name)):
            return Unusable(
                f"cannot be decided on behalf of a name that {fault if isinstance(name, str) else 'is no text'}"
            )
    return {"username": username, "groups": [*groups, "system:authenticated"]}


def _without_field(review: Obj) -> Obj:
    return {
        **review,
        **{
            key: _stripped(review[key])
            for key in ("object", "oldObject")
            if isinstance(review.get(key), Mapping)
        },
    }


def _stripped(obj: Obj) -> Obj:
    status = obj.get("status")
    if not isinstance(status, Mapping) or FIELD not in status:
        return obj
    return {**obj, "status": {key: value for key, value in status.items() if key != FIELD}}


def _status(obj: object) -> Obj:
    return _mapping(_mapping(obj).get("status"))


def _mapping(value: object) -> Obj:
    return value if isinstance(value, Mapping) else {}
