"""Taking back what one has asked for: only one's own, only in time, and nothing else in the same write."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from chaperone.core import approval as life
from chaperone.core import withdrawal
from chaperone.core.guard import Refused, Writer, check_update, stamp_review
from chaperone.core.identity import Caller
from chaperone.core.timestamp import rfc3339
from tests.core.policies import Obj

NOW = 1_800_000_000.0
SAID = "taken back by its requester"
CALLER = Caller(issuer="https://issuer.example", subject="agent", username="ci:agent", run="run-1")
AGENTS = {
    "username": CALLER.username,
    "issuer": CALLER.issuer,
    "subject": CALLER.subject,
    "run": CALLER.run,
}


def stored(
    phase: str = "Pending", *, kind: str = "Access", requester: Obj | None = None, **status: Any
) -> Obj:
    """A person's request for access."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": "it", "uid": "uid-1", "resourceVersion": "7"},
        "spec": {
            "type": kind,
            "requester": requester or {"username": "bob"},
            "digest": "sha256:" + "a" * 64,
            "policy": {"name": "p", "generation": 3},
            "required": 1,
            "expiresAt": rfc3339(NOW + 600),
        },
        "status": {"phase": phase, **status},
    }


def patched(obj: Obj, **status: Any) -> Obj:
    return {**copy.deepcopy(obj), "status": {**copy.deepcopy(obj["status"]), **status}}


def stamped(old: Obj, username: str = "bob", **status: Any) -> Obj:
    new = patched(old, decision="Cancelled", **status)
    operations = stamp_review(old, new, username, NOW, subresource="status")
    assert not isinstance(operations, Refused), operations.reason
    result: Obj = jsonpatch.apply_patch(new, list(operations))
    return result


def checked(
    old: Obj, new: Obj, username: str = "bob", now: float = NOW, writer: Writer = Writer.PERSON
) -> str:
    return check_update(old, new, writer, username, now, subresource="status")


APPROVED: Obj = {"type": "Approved", "status": "True", "lastTransitionTime": rfc3339(NOW - 60)}


@pytest.mark.parametrize(
    "old", [stored(), stored("Approved", conditions=[APPROVED]), stored(decision="Cancelled")]
)
def test_a_person_takes_back_a_request_for_access(old: Obj) -> None:
    new = stamped(old, decisionReason="not needed\x1b")
    assert new["status"].keys() == {"phase", "conditions"}
    assert new["status"]["phase"] == "Cancelled"
    assert new["status"]["conditions"][-1] == {
        "type": "Cancelled",
        "status": "True",
        "reason": "Withdrawn",
        "message": f"{SAID}: not needed\\x1b",
        "lastTransitionTime": rfc3339(NOW),
    }
    assert len(new["status"]["conditions"]) == 1 + len(old["status"].get("conditions", []))
    assert checked(old, new) == ""
    assert life.read(new).decided_at == NOW


def test_the_longest_reason_there_is_is_accepted_as_it_was_stamped() -> None:
    old = stored()
    new = stamped(old, decisionReason="x" * 2000)
    assert len(new["status"]["conditions"][0]["message"]) < 1100
    assert checked(old, new) == ""


NOBODY: dict[str, tuple[Obj, str, Any, str]] = {
    # sentence: (stored, who, reason, part of the refusal)
    "an approver": (stored(), "alice", "", "only by who has asked"),
    "nobody known": (stored(requester={"username": "x"}), "", "", "only by who has asked"),
    "reason is no text": (stored(), "bob", 3, "must be a string"),
    "a held request of an agent": (stored(kind="Request"), "bob", "", "through the gateway"),
    "an agent's access, straight": (stored(requester=AGENTS), CALLER.username, "", "through the gateway"),
    "an agent's access, without issuer": (
        stored(requester={"username": "bob", "run": "run-1"}),
        "bob",
        "",
        "through the gateway",
    ),
    **{
        f"one that is {phase}": (stored(phase), "bob", "", f"is {phase}: it can no longer be cancelled")
        for phase in ("Executing", "Executed", "Failed", "Unknown", "Denied", "Expired", "Cancelled")
    },
}


@pytest.mark.parametrize(("old", "username", "reason", "why"), NOBODY.values(), ids=NOBODY)
def test_it_is_not_taken_back(old: Obj, username: str, reason: Any, why: str) -> None:
    new = patched(old, decision="Cancelled", decisionReason=reason)
    refused = stamp_review(old, new, username, NOW, subresource="status")
    assert isinstance(refused, Refused)
    assert why in refused.reason


def by_hand(**changes: Any) -> Obj:
    """As stamped, with something else in its condition."""
    new = stamped(stored())
    new["status"]["conditions"][0].update(changes)
    return new


WRITTEN: dict[str, tuple[Obj, Obj, str, str]] = {
    # sentence: (stored, written, who, part of the refusal)
    "by another": (stored(), stamped(stored()), "alice", "only by who has asked"),
    "an agent's": (
        stored(requester=AGENTS),
        patched(stored(requester=AGENTS), phase="Cancelled"),
        "bob",
        "gateway",
    ),
    "the phase alone": (
        stored(),
        patched(stored(), phase="Cancelled"),
        "bob",
        "only through status.decision",
    ),
    "with a review": (
        stored(),
        patched(stamped(stored()), approvals="1/1"),
        "bob",
        "only through status.decision",
    ),
    "with another reason": (stored(), by_hand(reason="Reviewed"), "bob", "only through status.decision"),
    "in other words": (stored(), by_hand(message="denied by alice"), "bob", "only through status.decision"),
    "in too many words": (
        stored(),
        by_hand(message=SAID + "x" * 2000),
        "bob",
        "only through status.decision",
    ),
    "at another time": (stored(), by_hand(lastTransitionTime=rfc3339(NOW - 3600)), "bob", "at another time"),
    "without a condition's time": (stored(), by_hand(lastTransitionTime=""), "bob", "at another time"),
    "not stamped": (stored(), patched(stored(), decision="Cancelled"), "bob", "nothing was decided"),
    "one that lasts": (
        stored("Executing"),
        patched(stored("Executing"), **stamped(stored())["status"]),
        "bob",
        "is Executing",
    ),
}


@pytest.mark.parametrize(("old", "new", "username", "why"), WRITTEN.values(), ids=WRITTEN)
def test_what_was_not_stamped_so_is_refused(old: Obj, new: Obj, username: str, why: str) -> None:
    assert why in checked(old, new, username)


def test_the_gateway_cancels_exactly_what_it_read() -> None:
    old = stored(kind="Request", requester=AGENTS)
    patch = withdrawal.cancel(old, life.read(old), NOW)
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert patch["status"]["conditions"][0]["message"] == SAID
    new = patched(old, **patch["status"])
    assert checked(old, new, "gateway", writer=Writer.GATEWAY) == ""
    assert checked(old, new, "bob")


@pytest.mark.parametrize(
    "other",
    [
        replace(CALLER, issuer="other"),
        replace(CALLER, subject="other"),
        replace(CALLER, username="other"),
        replace(CALLER, run="other"),
    ],
    ids=["issuer", "subject", "username", "run"],
)
def test_another_run_is_another_requester(other: Caller) -> None:
    approval = life.read(stored(requester=AGENTS))
    assert withdrawal.asked_by(approval, CALLER)
    assert not withdrawal.asked_by(approval, other)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ({"status": {"decision": "Cancelled"}}, ""),
        ({"status": {"decision": "Cancelled", "decisionReason": "no"}}, "no"),
        ({"status": {"decision": "Cancelled", "decisionReason": None}}, None),
        ({"status": {"decision": "Approved"}}, None),
        ({"status": {"decisionReason": "no"}}, None),
        ({"status": {"decision": "Cancelled", "phase": "Approved"}}, None),
        ({"status": {"decision": "Cancelled"}, "spec": {}}, None),
        ({"status": None}, None),
        ([], None),
    ],
)
def test_the_gesture_is_that_and_nothing_else(patch: object, reason: str | None) -> None:
    assert withdrawal.read_gesture(patch) == reason


def test_a_withdrawal_is_known_before_and_after_the_stamp() -> None:
    before = stored()["status"]
    for after in ({**before, "decision": "Cancelled"}, {**before, "phase": "Cancelled"}):
        assert withdrawal.is_one(before, after)
    cancelled = {"phase": "Cancelled"}
    for left, right in ((before, before), (before, {"decision": "Denied"}), (cancelled, cancelled)):
        assert not withdrawal.is_one(left, right)
