"""Who may change an AgentSession: the gateway makes it and keeps its status, the controller ends and deletes it, people
may only throw the switch `spec.terminated`, once and for good. Who threw it is stamped. Pure.

Operations and fields are those of the AdmissionReview's request. RBAC has already said yes to the caller;
this narrows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core.identity import check_name
from chaperone.core.timestamp import rfc3339, unix_seconds
from chaperone.settings.webhook import AccountSettings
from webhook.review import ALLOWED, Answer, denied

Obj = Mapping[str, Any]

SWITCH = ("terminated", "terminatedReason", "terminatedBy", "terminatedAt")
MAX_SKEW = 60.0
"""Seconds between the stamp and its validation."""


def stamp(request: Obj, now: float, *, console: str = "") -> Answer:
    """The mutating answer: who throws the switch, and when. console: the account that says for whom it does."""
    if request["operation"] != "UPDATE" or request.get("subResource") or not _is_thrown(request):
        return ALLOWED
    stamped = {"terminatedBy": _thrower(request, console), "terminatedAt": rfc3339(now)}
    patch = [{"op": "add", "path": f"/spec/{name}", "value": value} for name, value in stamped.items()]
    return Answer(allowed=True, patch=patch)


def check_session(request: Obj, *, accounts: AccountSettings, guarded: frozenset[str], now: float) -> Answer:
    """The validating answer. guarded: usernames that policies hand out; they may change nothing."""
    username = _username(request)
    if username in guarded:
        return denied("sessions are not for agents to change")
    if username == accounts.gateway:
        return _gateway(request)
    if username == accounts.controller:
        return _controller(request)
    return _person(request, now, accounts.console)


def _gateway(request: Obj) -> Answer:
    if request["operation"] == "CREATE":
        thrown = [name for name in SWITCH if _spec(request.get("object")).get(name)]
        return denied(f"a session begins without spec.{thrown[0]}") if thrown else ALLOWED
    if request.get("subResource") == "status":
        return ALLOWED
    return denied("the gateway makes sessions and keeps their status; it neither changes nor deletes them")


def _controller(request: Obj) -> Answer:
    if request["operation"] == "DELETE" or request.get("subResource") == "status":
        return ALLOWED
    return denied("the controller ends and deletes sessions; it does not change them")


def _person(request: Obj, now: float, console: str) -> Answer:
    if request["operation"] == "CREATE" or request.get("subResource"):
        return denied("only the gateway makes sessions and keeps their status; people set spec.terminated")
    if request["operation"] == "DELETE":
        return _deletion(request)
    old, new = _spec(request.get("oldObject")), _spec(request.get("object"))
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if old.get("terminated") is True and changed:
        return denied("spec.terminated cannot be taken back, nor changed: start a new run instead")
    if foreign := [f"spec.{key}" for key in changed if key not in SWITCH]:
        return denied(
            f"{', '.join(foreign)} cannot be changed: of a session only spec.terminated is for people"
        )
    return _throw(request, new, now, console) if changed else ALLOWED


def _deletion(request: Obj) -> Answer:
    """Deleting the session of a run would let a terminated run in again. A caller without runs needs a way back."""
    spec = _spec(request.get("oldObject"))
    if spec.get("terminated") is True and spec.get("run"):
        return denied(
            "a terminated session keeps its run out; the controller deletes it when its time is over"
        )
    return ALLOWED


def _throw(request: Obj, spec: Obj, now: float, console: str) -> Answer:
    if spec.get("terminated") is not True:
        given = [f"spec.{name}" for name in SWITCH[1:] if spec.get(name)]
        return denied(f"{', '.join(given)} goes together with spec.terminated: true") if given else ALLOWED
    thrower = _thrower(request, console)
    if spec.get("terminatedBy", thrower) != thrower:
        return denied("spec.terminatedBy is stamped: leave it out")
    if _username(request) == console and (
        fault := check_name(thrower) if thrower != console else "is the console's own"
    ):
        return denied(
            f"the console ends runs for people who have logged in: the name in spec.terminatedBy {fault}"
        )
    return (
        ALLOWED
        if _is_about(spec.get("terminatedAt"), now)
        else denied("spec.terminatedAt is stamped: leave it out")
    )


def _thrower(request: Obj, console: str) -> str:
    """The writer; for the console, whom it names. It has asked RBAC about that person before."""
    username = _username(request)
    if not console or username != console:
        return username
    return str(_spec(request.get("object")).get("terminatedBy") or username)


def _is_thrown(request: Obj) -> bool:
    old, new = _spec(request.get("oldObject")), _spec(request.get("object"))
    return new.get("terminated") is True and old.get("terminated") is not True


def _is_about(time: object, now: float) -> bool:
    if time is None:
        return True
    try:
        return abs(unix_seconds(str(time)) - now) <= MAX_SKEW
    except ValueError:
        return False


def _username(request: Obj) -> str:
    return str(request["userInfo"].get("username") or "")


def _spec(obj: object) -> Obj:
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    return spec if isinstance(spec, Mapping) else {}
