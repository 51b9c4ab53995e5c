"""Who may change an AgentSession: the gateway keeps it, people may only throw the switch
`spec.terminated`. Pure.

Operations and fields are those of the AdmissionReview's request. RBAC has already said yes to the caller;
this narrows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.review import ALLOWED, Answer, denied

Obj = Mapping[str, Any]


def check_session(request: Obj, *, gateway: str, guarded: frozenset[str]) -> Answer:
    """gateway: username of its control account. guarded: usernames that policies hand out; they may change
    nothing."""
    username = str(request["userInfo"].get("username", ""))
    if username in guarded:
        return denied("sessions are not for agents to change")
    if username == gateway:
        return ALLOWED if request["operation"] != "UPDATE" else _stays_terminated(request)
    if request["operation"] == "CREATE" or request.get("subResource"):
        return denied("only the gateway makes sessions and keeps their status; people set spec.terminated")
    if request["operation"] == "DELETE":
        return ALLOWED
    return _only_the_switch(request)


def _only_the_switch(request: Obj) -> Answer:
    old, new = _spec(request.get("oldObject")), _spec(request.get("object"))
    changed = sorted(key for key in {*old, *new} - {"terminated"} if old.get(key) != new.get(key))
    if changed:
        fields = ", ".join(f"spec.{key}" for key in changed)
        return denied(f"{fields} cannot be changed: of a session only spec.terminated is for people")
    return _stays_terminated(request)


def _stays_terminated(request: Obj) -> Answer:
    """A run that was ended stays ended: a new run gets a new session."""
    was, stays = (
        _spec(request.get("oldObject")).get("terminated"),
        _spec(request.get("object")).get("terminated"),
    )
    if was is True and stays is not True:
        return denied("spec.terminated cannot be taken back: start a new run instead")
    return ALLOWED


def _spec(obj: object) -> Obj:
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    return spec if isinstance(spec, Mapping) else {}
