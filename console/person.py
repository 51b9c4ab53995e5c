"""Who has logged in, as the signed session cookie remembers it. Nothing in the cookie is secret; nobody can change it."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

PERSON = "person"
CSRF = "csrf"


@dataclass(frozen=True, slots=True)
class Person:
    """username and groups: as RBAC knows them. since, seen: Unix seconds of the login and of the last request."""

    username: str
    groups: tuple[str, ...]
    since: float
    seen: float


def remember(cookie: MutableMapping[str, Any], person: Person) -> None:
    """A new login, with a CSRF token of its own."""
    cookie.clear()
    cookie[CSRF] = secrets.token_urlsafe(32)
    cookie[PERSON] = {
        "username": person.username,
        "groups": list(person.groups),
        "since": person.since,
        "seen": person.seen,
    }


def recall(cookie: MutableMapping[str, Any], now: float, *, longest: float, idle: float) -> Person | None:
    """The person, unless the login has become too old or has not been used for too long. longest, idle: seconds."""
    kept = cookie.get(PERSON)
    if not isinstance(kept, dict):
        return None
    try:
        person = Person(
            str(kept["username"]), tuple(map(str, kept["groups"])), float(kept["since"]), float(kept["seen"])
        )
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 <= now - person.since < longest or not now - person.seen < idle:
        return None
    return person


def touch(cookie: MutableMapping[str, Any], now: float, *, every: float) -> None:
    """Note that the login is used; at most once in `every` seconds, so that not each answer sets a cookie."""
    kept = cookie.get(PERSON)
    if isinstance(kept, dict) and now - float(kept["seen"]) >= every:
        cookie[PERSON] = {**kept, "seen": now}
