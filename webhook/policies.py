"""Writes of AgentPolicies: what does not compile is not stored; nobody hands out an identity to himself.
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaperone.core.guard import check_policy
from chaperone.core.policy import Capabilities, Fault
from chaperone.settings.webhook import AccountSettings
from webhook.review import ALLOWED, Answer, denied

Obj = Mapping[str, Any]


def validate(request: Obj, accounts: AccountSettings, guarded: frozenset[str]) -> Answer:
    """The answer to one write of a policy or of its status. guarded: usernames that policies hand out."""
    username = str(request["userInfo"].get("username", ""))
    if username in guarded:
        return denied("policies are not for agents to change")
    if request.get("subResource") == "status":
        if username == accounts.controller:
            return ALLOWED
        return denied(f"the status of a policy is written by the controller alone ({accounts.controller})")
    if request["operation"] == "DELETE":
        return ALLOWED
    return _compiled(request)


def _compiled(request: Obj) -> Answer:
    obj = request.get("object")
    if not isinstance(obj, Mapping):
        return denied("the review holds no policy", code=400, reason="BadRequest")
    if _is_repair_of_metadata(request, obj):
        return ALLOWED
    faults, warnings = check_policy(obj, Capabilities())
    if faults:
        name = str(request.get("name") or "")
        return denied(
            f"AgentPolicy {name!r} has {len(faults)} fault(s): {told(faults)}",
            code=422,
            reason="Invalid",
            causes=[(fault.path, fault.message) for fault in faults],
        )
    return Answer(allowed=True, warnings=[f"{fault.path}: {fault.message}" for fault in warnings])


def _is_repair_of_metadata(request: Obj, obj: Obj) -> bool:
    """A spec that is already stored stays storable: a finalizer of a policy from before an upgrade must
    come off."""
    old = request.get("oldObject")
    return (
        request["operation"] == "UPDATE" and isinstance(old, Mapping) and old.get("spec") == obj.get("spec")
    )


def told(faults: Sequence[Fault]) -> str:
    """All faults in one line, by their paths."""
    return "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
